//! Makes the decisions of `mesh-core` happen: layers, client, server, reload and telemetry.

pub mod admin;
pub mod body;
pub mod client;
pub mod clock;
pub mod discovery;
pub mod gateway;
pub mod layer;
pub mod mesh;
pub mod reload;
pub mod server;
pub mod stream;
pub mod telemetry;
pub mod workload;

pub use body::Body;
pub use mesh::Mesh;
pub use mesh_core as core;
pub use mesh_tls as tls;
