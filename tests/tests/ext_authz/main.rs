//! External authorization over sockets: authorizers over HTTP and gRPC, what their answers change, and what becomes of
//! requests of which there is no answer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod failures;
mod grpc;
mod http;
mod scene;
