//! Makes the decisions of `mesh-core` happen: layers, client, server, reload and telemetry.

pub mod body;
pub mod client;

pub use body::Body;
