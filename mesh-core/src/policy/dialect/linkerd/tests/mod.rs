//! Documents in, policies out.

mod profile;
