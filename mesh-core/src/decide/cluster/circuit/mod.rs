//! Limits on connections and requests (Envoy's circuit breakers): permits that are given back when dropped.
//!
//! Lock-free. A new limit holds at once; permits that are out stay out, and none is given until enough came back.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::{Cluster, ClusterSettings};
use crate::policy::model::filter::Fraction;
use crate::policy::model::traffic::RetryConcurrency;
use crate::time::Timestamp;

/// A place within a limit; given back when dropped.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Permit(Arc<Slots>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

/// How far a limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Permits that are out.
    pub active: u32,
    /// How many may be; `None` is no limit.
    pub limit: Option<u32>,
    /// How often one was refused, since the start.
    pub refused: u64,
}

/// Whether an endpoint has a connection already. Complete: it has one or it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostConnections {
    /// It has none: it may always have one, or the limit would starve it (Envoy).
    None,
    /// It has at least one.
    Some,
}

/// Why there is no retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RetryRefusal {
    /// The retry budget is spent.
    #[error("the retry budget is spent")]
    Budget,
    /// As many retries are under way as the policy allows.
    #[error("the limit of parallel retries is reached")]
    Limit,
}

/// No limit.
const UNLIMITED: u32 = u32::MAX;

#[derive(Debug)]
struct Slots {
    active: AtomicU32,
    limit: AtomicU32,
    refused: AtomicU64,
}

impl Slots {
    fn new(limit: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            active: AtomicU32::new(0),
            limit: AtomicU32::new(limit.unwrap_or(UNLIMITED)),
            refused: AtomicU64::new(0),
        })
    }

    fn configure(&self, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(UNLIMITED), Relaxed);
    }

    fn acquire(self: &Arc<Self>) -> Option<Permit> {
        self.acquire_within(self.limit.load(Relaxed))
    }

    fn acquire_within(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        let taken = self
            .active
            .fetch_update(Relaxed, Relaxed, |active| (active < limit).then(|| active + 1));
        if taken.is_err() {
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        Some(Permit(Arc::clone(self)))
    }

    fn acquire_anyway(self: &Arc<Self>) -> Permit {
        self.active.fetch_add(1, Relaxed);
        Permit(Arc::clone(self))
    }

    fn usage(&self) -> Usage {
        let limit = self.limit.load(Relaxed);
        Usage {
            active: self.active.load(Relaxed),
            limit: (limit != UNLIMITED).then_some(limit),
            refused: self.refused.load(Relaxed),
        }
    }
}

/// The four limits of a cluster.
#[derive(Debug)]
pub(super) struct Circuit {
    connections: Arc<Slots>,
    pending: Arc<Slots>,
    requests: Arc<Slots>,
    retries: Arc<Slots>,
    /// Retries at a time by the requests under way: millionths of them in the upper half, the least number in the lower.
    concurrency: AtomicU64,
}

/// No limit by the requests under way: no share is as large.
const ANY_CONCURRENCY: u64 = u64::MAX;

fn packed(concurrency: Option<RetryConcurrency>) -> u64 {
    concurrency.map_or(ANY_CONCURRENCY, |limit| {
        u64::from(limit.share.millionths()) << 32 | u64::from(limit.min)
    })
}

impl Circuit {
    pub(super) fn new(settings: &ClusterSettings) -> Self {
        let limits = &settings.limits;
        Self {
            concurrency: AtomicU64::new(packed(settings.retry_concurrency)),
            connections: Slots::new(limits.connections),
            pending: Slots::new(limits.pending),
            requests: Slots::new(limits.requests),
            retries: Slots::new(limits.retries),
        }
    }

    pub(super) fn configure(&self, settings: &ClusterSettings) {
        let limits = &settings.limits;
        self.concurrency.store(packed(settings.retry_concurrency), Relaxed);
        self.connections.configure(limits.connections);
        self.pending.configure(limits.pending);
        self.requests.configure(limits.requests);
        self.retries.configure(limits.retries);
    }
}

impl Circuit {
    /// A place for one more retry: by the policy's share of the requests under way, else by its limit.
    fn retry(&self) -> Option<Permit> {
        let concurrency = self.concurrency.load(Relaxed);
        if concurrency == ANY_CONCURRENCY {
            return self.retries.acquire();
        }
        // One that waits for a connection has its place among them.
        let under_way = self.requests.active.load(Relaxed);
        let share = u64::from(under_way) * (concurrency >> 32) / u64::from(Fraction::ALL.millionths());
        let least = concurrency & u64::from(u32::MAX);
        self.retries
            .acquire_within(u32::try_from(share.max(least)).unwrap_or(UNLIMITED))
    }
}

impl<T> Cluster<T> {
    /// A place for one more request (`http2MaxRequests`); without one the outcome is an overflow.
    #[must_use]
    pub fn try_request(&self) -> Option<Permit> {
        self.circuit.requests.acquire()
    }

    /// A place for one more request that waits for a connection (`http1MaxPendingRequests`).
    #[must_use]
    pub fn try_pending(&self) -> Option<Permit> {
        self.circuit.pending.acquire()
    }

    /// A place for one more connection (`maxConnections`); without one the request waits for a connection that is there.
    #[must_use]
    pub fn try_connect(&self, host: HostConnections) -> Option<Permit> {
        match host {
            HostConnections::None => Some(self.circuit.connections.acquire_anyway()),
            HostConnections::Some => self.circuit.connections.acquire(),
        }
    }

    /// A place for one more retry (`maxRetries`, or the share of `retryBudget`), paid from the budget.
    ///
    /// # Errors
    ///
    /// [`RetryRefusal`]; then the result of the try before stands, and nothing was taken from the budget.
    pub fn try_retry(&self, now: Timestamp) -> Result<Permit, RetryRefusal> {
        let permit = self.circuit.retry().ok_or(RetryRefusal::Limit)?;
        if self.budget().withdraw(now) {
            Ok(permit)
        } else {
            Err(RetryRefusal::Budget)
        }
    }

    /// How far the limit on connections is used.
    #[must_use]
    pub fn connections(&self) -> Usage {
        self.circuit.connections.usage()
    }

    /// How far the limit on waiting requests is used.
    #[must_use]
    pub fn pending(&self) -> Usage {
        self.circuit.pending.usage()
    }

    /// How far the limit on requests is used.
    #[must_use]
    pub fn requests(&self) -> Usage {
        self.circuit.requests.usage()
    }

    /// How far the limit on retries is used.
    #[must_use]
    pub fn retries(&self) -> Usage {
        self.circuit.retries.usage()
    }
}
