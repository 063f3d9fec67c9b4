//! Makes the decisions of `mesh-core` happen: layers, client, server, reload and telemetry.

pub mod admin;
pub mod body;
pub mod client;
pub mod clock;
pub mod reload;
pub mod telemetry;

pub use body::Body;
