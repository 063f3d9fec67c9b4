//! The way out: from a request to a connection of the endpoint that was picked.

pub(crate) mod clusters;
pub mod connect;
pub mod hop;
pub mod pool;
pub mod replay;

use std::sync::Arc;

use crate::mesh::Shared;

/// Sends requests by the policy in force. Made by [`Mesh::client`](crate::Mesh::client).
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}
