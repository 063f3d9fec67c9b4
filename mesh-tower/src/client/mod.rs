//! The way out: from a request to a connection of the endpoint that was picked.

pub mod connect;
pub mod hop;
pub mod pool;
pub mod replay;
