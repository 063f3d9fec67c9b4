//! Features of the mesh as tower layers of their own, for services that want one and not the whole.
//!
//! Each decides by the same code as [`Mesh::client`](crate::Mesh::client), without policy files.

mod retry;

pub use retry::{Retry, RetryFuture, RetryLayer};
