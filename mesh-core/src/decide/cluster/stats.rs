//! What the admin page shows of a cluster.

use std::net::SocketAddr;

use super::set::Mode;
use super::{Cluster, Usage};
use crate::time::Timestamp;

/// A cluster at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Its endpoints, in the order of the policy.
    pub endpoints: Vec<EndpointStats>,
    /// Endpoints that are not ejected.
    pub healthy: usize,
    /// Whether so few are healthy that all are used.
    pub is_panicking: bool,
    /// Connections.
    pub connections: Usage,
    /// Requests that wait for a connection.
    pub pending: Usage,
    /// Requests in flight.
    pub requests: Usage,
    /// Retries in flight.
    pub retries: Usage,
}

/// An endpoint at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its weight.
    pub weight: u32,
    /// Requests in flight.
    pub active: u32,
    /// Where it is ejected: the earliest time of its return, which happens at the first sweep after.
    pub ejected_until: Option<Timestamp>,
    /// Ejections since it is known.
    pub ejections: u64,
    /// 5xx and failures to answer, in a row.
    pub consecutive_5xx: u32,
    /// Gateway errors in a row.
    pub consecutive_gateway_errors: u32,
}

impl<T> Cluster<T> {
    /// Endpoints that are ejected now.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.set.load().ejected()
    }

    /// A snapshot for admin pages and tests. Allocates; not for the path of a request.
    #[must_use]
    pub fn stats(&self) -> ClusterStats {
        let settings = self.settings.load();
        let rules = settings.outliers.as_ref();
        let set = self.set.load();
        let endpoints = set.all().iter().map(|endpoint| EndpointStats {
            address: endpoint.address(),
            weight: endpoint.weight(),
            active: endpoint.active(),
            ejected_until: rules.and_then(|rules| endpoint.health().ejected_until(rules)),
            ejections: endpoint.health().ejections(),
            consecutive_5xx: endpoint.health().consecutive_5xx(),
            consecutive_gateway_errors: endpoint.health().consecutive_gateway_errors(),
        });
        ClusterStats {
            endpoints: endpoints.collect(),
            healthy: set.healthy(),
            is_panicking: set.mode() == Mode::Panic,
            connections: self.connections(),
            pending: self.pending(),
            requests: self.requests(),
            retries: self.retries(),
        }
    }
}
