//! What the end-to-end tests share: policies in a directory, identities from a development CA, servers that count.
//!
//! Everything runs over real sockets on ports that the system gives. Panics here fail a test, which is their purpose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it was skipped"
)]

pub mod agent;
pub mod backend;
pub mod forge;
pub mod issuer;
pub mod key_server;
pub mod process;
pub mod seeds;
pub mod seeds;
pub mod trust;
pub mod wire;
pub mod world;

pub use agent::Agent;
pub use backend::Backend;
pub use issuer::SigningKey;
pub use key_server::{KeyServer, Page};
pub use world::{Answer, World};
