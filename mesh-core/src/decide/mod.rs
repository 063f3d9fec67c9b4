//! One pure question each, asked of a snapshot: which route, which endpoint, another try, allowed or not.

pub mod authz;
pub mod balance;
pub mod cluster;
pub mod deadline;
pub mod health;
pub mod jwt;
pub mod retry;
pub mod route;
pub mod shape;
pub(crate) mod texts;
