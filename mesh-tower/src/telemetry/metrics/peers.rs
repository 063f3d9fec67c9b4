//! A server's series by the identity of the peer.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;

use super::Metrics;
use super::labels::{Destination, Party, Reporter};
use super::series::SeriesGroup;

/// What identities past the limit are called, and what is counted together under it.
const OTHER: &str = "__other__";

/// The series of a server: one group for each peer identity, up to a limit; peers past it share a group
/// whose `source_principal` is `__other__`.
#[derive(Debug)]
pub struct PeerGroups {
    metrics: Metrics,
    us: Party,
    service: Destination,
    limit: usize,
    anonymous: SeriesGroup,
    known: ArcSwap<FxHashMap<Arc<str>, SeriesGroup>>,
    adding: Mutex<()>,
    other: OnceLock<SeriesGroup>,
}

impl PeerGroups {
    pub(super) fn new(metrics: Metrics, us: Party, service: Destination, limit: usize) -> Self {
        let anonymous = metrics.group(Reporter::Destination, &Party::unknown(), &us, &service);
        Self {
            metrics,
            us,
            service,
            limit,
            anonymous,
            known: ArcSwap::default(),
            adding: Mutex::new(()),
            other: OnceLock::new(),
        }
    }

    /// The group of a peer: its SPIFFE id as text, `None` for plain text. Takes no lock for a peer that was seen before.
    #[must_use]
    pub fn group(&self, spiffe_id: Option<&str>) -> SeriesGroup {
        match spiffe_id {
            Some(id) => self.group_with(id, || Party::of_peer(id)),
            None => self.anonymous.clone(),
        }
    }

    /// The same where more is known of the peer than its certificate says; `describe` is asked for a new peer only.
    #[must_use]
    pub fn group_with(&self, spiffe_id: &str, describe: impl FnOnce() -> Party) -> SeriesGroup {
        let known = self.known.load();
        if let Some(group) = known.get(spiffe_id) {
            return group.clone();
        }
        if known.len() >= self.limit {
            return self.other();
        }
        self.add(spiffe_id, describe)
    }

    fn add(&self, id: &str, describe: impl FnOnce() -> Party) -> SeriesGroup {
        let _one_at_a_time = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load_full();
        if let Some(group) = known.get(id) {
            return group.clone();
        }
        if known.len() >= self.limit {
            return self.other();
        }
        let group = self.make(&describe());
        let mut all = FxHashMap::clone(&known);
        all.insert(id.into(), group.clone());
        self.known.store(Arc::new(all));
        group
    }

    fn other(&self) -> SeriesGroup {
        self.other
            .get_or_init(|| self.make(&Party::unknown().with_principal(OTHER)))
            .clone()
    }

    fn make(&self, peer: &Party) -> SeriesGroup {
        self.metrics.group(Reporter::Destination, peer, &self.us, &self.service)
    }
}
