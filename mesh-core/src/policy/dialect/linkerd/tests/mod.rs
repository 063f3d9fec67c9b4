//! Documents in, policies out.

mod policies;
mod profile;
