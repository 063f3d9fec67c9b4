//! One endpoint, and the requests that it has in flight.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::decide::health::Health;

/// An endpoint as policy or discovery states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointSpec {
    /// Where it listens; its identity within the cluster.
    pub address: SocketAddr,
    /// Its weight in the balancing, at least 1.
    pub weight: u32,
}

impl EndpointSpec {
    /// An endpoint at `address`. A weight of 0 is 1, as in Istio, where 0 is "not set".
    #[must_use]
    pub const fn new(address: SocketAddr, weight: u32) -> Self {
        let weight = if weight == 0 { 1 } else { weight };
        Self { address, weight }
    }
}

/// An endpoint of a cluster with its state. It is replaced by no update as long as its address stays.
pub struct Endpoint<T> {
    address: SocketAddr,
    weight: AtomicU32,
    active: AtomicU32,
    health: Health,
    attachment: T,
}

impl<T> Endpoint<T> {
    pub(super) fn new(spec: &EndpointSpec, attachment: T) -> Self {
        Self {
            address: spec.address,
            weight: AtomicU32::new(spec.weight),
            active: AtomicU32::new(0),
            health: Health::default(),
            attachment,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its weight.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Relaxed);
    }

    /// Requests in flight.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Its counters and ejections.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// What the driver hung on it.
    #[must_use]
    pub const fn attachment(&self) -> &T {
        &self.attachment
    }
}

impl<T> fmt::Debug for Endpoint<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("weight", &self.weight())
            .field("active", &self.active())
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

/// A request in flight at an endpoint; counted out when dropped.
#[must_use = "the request is counted out when this is dropped"]
pub struct InFlight<T> {
    endpoint: Arc<Endpoint<T>>,
}

impl<T> InFlight<T> {
    pub(super) fn new(endpoint: Arc<Endpoint<T>>) -> Self {
        endpoint.active.fetch_add(1, Relaxed);
        Self { endpoint }
    }

    /// The endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> &Arc<Endpoint<T>> {
        &self.endpoint
    }
}

impl<T> Deref for InFlight<T> {
    type Target = Endpoint<T>;

    fn deref(&self) -> &Self::Target {
        &self.endpoint
    }
}

impl<T> Drop for InFlight<T> {
    fn drop(&mut self) {
        self.endpoint.active.fetch_sub(1, Relaxed);
    }
}

impl<T> fmt::Debug for InFlight<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("endpoint", &self.endpoint).finish()
    }
}
