//! Requests over plain text, by caller.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use metrics::{Counter, Label};
use rustc_hash::FxHashSet;

use super::registry::Registry;
use super::series::OVERFLOW;

const REQUESTS: &str = "mesh_plaintext_requests_total";
/// The address of a caller that nobody has told of.
const UNKNOWN: &str = "unknown";

/// The addresses that have series of their own.
pub(super) struct Plaintext {
    known: Mutex<FxHashSet<(IpAddr, u16)>>,
    limit: usize,
}

/// Counts the requests of one address to one port. Clones share it.
#[derive(Clone)]
pub(crate) struct PlaintextCounter(Counter);

impl fmt::Debug for PlaintextCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlaintextCounter")
    }
}

impl PlaintextCounter {
    pub(crate) fn increment(&self) {
        self.0.increment(1);
    }
}

impl Plaintext {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            known: Mutex::default(),
            limit,
        }
    }

    pub(super) fn counter(
        &self,
        registry: &Registry,
        source: Option<IpAddr>,
        service: &str,
        port: u16,
    ) -> PlaintextCounter {
        let source = match source {
            Some(address) if self.has_series(address, port) => address.to_string(),
            Some(_) => OVERFLOW.to_owned(),
            None => UNKNOWN.to_owned(),
        };
        let labels = vec![
            Label::new("source_address", source),
            Label::new("destination_service", service.to_owned()),
            Label::new("port", port.to_string()),
        ];
        PlaintextCounter(registry.counter(REQUESTS, labels))
    }

    fn has_series(&self, address: IpAddr, port: u16) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&(address, port)) {
            return true;
        }
        known.len() < self.limit && known.insert((address, port))
    }
}
