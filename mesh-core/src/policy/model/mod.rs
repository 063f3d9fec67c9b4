//! What a policy says, whatever dialect it was written in.

pub mod authz;
pub mod gateway;
pub mod identity;
pub mod route;
pub mod service;
pub mod traffic;
