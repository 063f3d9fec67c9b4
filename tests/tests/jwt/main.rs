//! Tokens of requests over sockets: who is let in, what the application sees, and where keys come from.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod keys;
mod places;
mod requests;
mod scene;
