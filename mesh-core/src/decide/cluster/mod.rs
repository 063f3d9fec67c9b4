//! The run-time state of one service, subset and port: its endpoints, their health, its limits, its retry budget.
//!
//! A [`Cluster`] outlives reloads. [`Cluster::configure`] changes parameters in place, [`Cluster::set_endpoints`] compares by
//! address: what stays keeps its counters, ejections, permits and tokens; what is removed and added again starts anew.
//!
//! A request asks for an endpoint ([`Cluster::pick`]), counts itself in ([`Cluster::begin`]) and says how it went
//! ([`Cluster::record`]). Picks read an immutable set of the endpoints that can be used; an ejection, a return or
//! an update builds a new one. On that path there is no lock and no allocation. Time is what the callers say it is:
//! sweeps that fall due are made up for by the next pick or record, so that no background task is needed.
//!
//! ```
//! use mesh_core::decide::cluster::{Cluster, ClusterKey, ClusterSettings, EndpointSpec};
//! use mesh_core::decide::health::Verdict;
//! use mesh_core::random::SplitMix64;
//! use mesh_core::time::Timestamp;
//!
//! let key = ClusterKey::new("orders.default.svc.cluster.local", Some("v2"), 8080);
//! let cluster: Cluster<()> = Cluster::new(key, ClusterSettings::default());
//! let address = "10.0.0.4:8080".parse().unwrap();
//! cluster.set_endpoints(vec![(EndpointSpec::new(address, 1), ())], |_, ()| (), |_, ()| ());
//!
//! let endpoint = cluster.pick(&[], Timestamp::ZERO, &mut SplitMix64::new(1)).unwrap();
//! let in_flight = cluster.begin(endpoint);
//! assert_eq!(in_flight.active(), 1);
//! assert_eq!(cluster.record(&in_flight, Verdict::Success, Timestamp::ZERO), None);
//! ```

mod circuit;
mod endpoint;
mod key;
mod members;
mod set;
mod stats;
#[cfg(test)]
mod tests;

pub use circuit::{HostConnections, Permit, RetryRefusal, Usage};
pub use endpoint::{Endpoint, EndpointSpec, InFlight};
pub use key::{ClusterKey, ClusterSettings};
pub use members::EndpointChanges;
pub use set::PickError;
pub use stats::{ClusterStats, EndpointStats};

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::balance::Position;
use super::health::{HealthEvent, Thresholds, Verdict};
use super::retry::Budget;
use crate::random::Rng;
use crate::time::Timestamp;
use circuit::Circuit;
use set::EndpointSet;

/// The run-time state of one service, subset and port.
///
/// `T` is what the driver hangs on each endpoint: its connection pool, its metric handles.
pub struct Cluster<T> {
    key: ClusterKey,
    settings: ArcSwap<ClusterSettings>,
    set: ArcSwap<EndpointSet<T>>,
    position: Arc<Position>,
    thresholds: Thresholds,
    /// Whether the policy lists the statuses that are errors: few do, so that others need no look at the settings.
    has_listed_errors: AtomicBool,
    /// When the next sweep is due, in nanoseconds; 0 before the first use, the end of time without outlier detection.
    due: AtomicU64,
    /// Guards changes of the set and of ejections.
    watch: Mutex<Watch>,
    /// Lets one caller of `set_endpoints` in at a time, without holding up ejections while it makes attachments.
    update: Mutex<()>,
    circuit: Circuit,
    budget: Budget,
}

/// What only the slow path knows.
#[derive(Debug, Default)]
struct Watch {
    /// The last sweep, or the first use.
    last_sweep: Option<Timestamp>,
    /// Events that no call has returned yet.
    events: VecDeque<HealthEvent>,
}

impl<T> Cluster<T> {
    /// A cluster without endpoints.
    #[must_use]
    pub fn new(key: ClusterKey, settings: impl Into<Arc<ClusterSettings>>) -> Self {
        let settings: Arc<ClusterSettings> = settings.into();
        let thresholds = Thresholds::default();
        thresholds.configure(settings.outliers.as_ref());
        Self {
            key,
            set: ArcSwap::from_pointee(EndpointSet::empty()),
            position: Arc::default(),
            thresholds,
            due: AtomicU64::new(settings.outliers.as_ref().map_or(u64::MAX, |_| 0)),
            watch: Mutex::default(),
            update: Mutex::default(),
            has_listed_errors: AtomicBool::new(settings.lists_errors()),
            circuit: Circuit::new(&settings),
            budget: Budget::new(settings.budget),
            settings: ArcSwap::new(settings),
        }
    }

    /// Its stable identity.
    #[must_use]
    pub const fn key(&self) -> &ClusterKey {
        &self.key
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> Arc<ClusterSettings> {
        self.settings.load_full()
    }

    /// The budget of its retries: deposit with every first try, withdraw through [`Cluster::try_retry`].
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Picks the endpoint for the next try, in O(1).
    ///
    /// Endpoints in `tried` are avoided as long as there are others (Envoy's `previous_hosts`): after up to five further
    /// picks the first endpoint in order is taken that was not tried, and a tried one only where all were.
    ///
    /// # Errors
    ///
    /// [`PickError`], where there is no endpoint or none that can be used.
    pub fn pick(
        &self,
        tried: &[std::net::SocketAddr],
        now: Timestamp,
        rng: &mut dyn Rng,
    ) -> Result<Arc<Endpoint<T>>, PickError> {
        self.keep_time(now);
        self.set.load().pick(tried, rng)
    }

    /// Counts a request in at `endpoint`, until the returned value is dropped.
    pub fn begin(&self, endpoint: Arc<Endpoint<T>>) -> InFlight<T> {
        InFlight::new(endpoint)
    }

    /// What a response of this status says about its endpoint.
    #[must_use]
    pub fn verdict(&self, status: http::StatusCode) -> Verdict {
        if !self.has_listed_errors.load(Relaxed) {
            return Verdict::from_status(status);
        }
        let settings = self.settings.load();
        let listed = settings.outliers.as_ref().map(|rules| rules.error_codes.as_slice());
        Verdict::from_listed_status(status, listed.unwrap_or_default())
    }

    /// Says what a result tells about `endpoint`; returns the ejection, or the refusal of one, that follows from it.
    ///
    /// Events of other endpoints that come to light (a return, a panic) wait for [`Cluster::sweep`].
    pub fn record(&self, endpoint: &Endpoint<T>, verdict: Verdict, now: Timestamp) -> Option<HealthEvent> {
        self.keep_time(now);
        endpoint.health().count(verdict, &self.thresholds)?;
        self.eject(endpoint, now)
    }

    /// Makes up for the sweeps that are due, and returns the events that no call has returned yet, oldest first.
    ///
    /// Not needed for endpoints to return: picks and records do that. Without it nobody hears of it.
    pub fn sweep(&self, now: Timestamp) -> Vec<HealthEvent> {
        self.keep_time(now);
        self.watch().events.drain(..).collect()
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        // A panic elsewhere leaves nothing half done here: the state is counters and a list of events.
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One comparison, unless a sweep is due.
    #[inline]
    fn keep_time(&self, now: Timestamp) {
        if now.as_nanos() >= self.due.load(Relaxed) {
            self.sweep_now(now);
        }
    }
}

impl<T> fmt::Debug for Cluster<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("key", &self.key.to_string())
            .field("endpoints", &self.set.load().all().len())
            .finish_non_exhaustive()
    }
}
