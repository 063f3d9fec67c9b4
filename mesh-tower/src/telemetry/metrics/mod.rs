//! Metrics: Istio's request metrics with all their labels, and a few of the mesh's own.
//!
//! A request with 25 labels that are looked up at run time costs microseconds; a handle costs
//! nanoseconds. So the labels that are known before a request (who calls, who answers) are resolved
//! once into a [`SeriesGroup`], for an endpoint at the client side and for a peer identity at the
//! server side. What a request adds (code, flags, protocol) picks a pair of handles in that group.
//!
//! No label value comes from a request's host, path or headers, and the number of series is bounded:
//! past the limits, requests are counted in a series whose `destination_service_name` is
//! `__overflow__`, and `mesh_metric_series_overflow_total` says how many were.
//!
//! ```
//! use std::time::Duration;
//! use mesh_core::workload::Workload;
//! use mesh_tower::telemetry::metrics::{
//!     Destination, Metrics, MetricsOptions, Party, Protocol, Reporter, RequestRecord,
//! };
//!
//! let metrics = Metrics::new(MetricsOptions::default());
//! let us = Party::of_workload(&Workload::new("shop", "web"), "cluster.local");
//! let orders = metrics.group(
//!     Reporter::Source,
//!     &us,
//!     &Party::unknown(),
//!     &Destination::of_host("orders.shop.svc.cluster.local", "shop"),
//! );
//! orders.record(&RequestRecord::new(Protocol::Http, 200, Duration::from_millis(3)));
//! assert!(metrics.render().contains(r#"destination_service_name="orders""#));
//! ```
//!
//! # Memory
//!
//! Requests are counted in place: a series takes some 200 bytes, beside what its group keeps of caller and destination.
//! Of the histogram of external authorizers the exporter keeps raw samples until they are folded into buckets. That happens
//! at each scrape and in [`Metrics::spawn_upkeep`], which has to run where nobody scrapes.

mod checks;
mod connections;
mod exposition;
mod identity;
mod labels;
mod operations;
mod peers;
mod plaintext;
mod registry;
mod series;
mod services;
mod tally;
#[cfg(test)]
mod tests;
mod tokens;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::task::JoinHandle;

pub use checks::{CheckMetrics, CheckResult};
pub use connections::{EndReason, HandshakeResult};
pub use identity::IdentityMetrics;
pub use labels::{Destination, Party, Protocol, Reporter, SecurityPolicy};
pub use operations::{ConnectionGuard, Cut, PolicyMetrics, ReloadResult, Side};
pub use peers::PeerGroups;
pub(crate) use plaintext::PlaintextCounter;
pub use series::{RequestRecord, SeriesGroup};
pub use services::{RetryResult, ServiceMetrics};
pub use tokens::TokenMetrics;

use operations::Operations;
use plaintext::Plaintext;
use registry::Registry;
use series::{Budget, Family};

/// The upper bounds of the buckets of `istio_request_duration_milliseconds`, Envoy's defaults; `+Inf` follows.
pub const DURATION_BUCKETS_MS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// A recorder of the user's own, which gets all that the mesh records.
pub type UserRecorder = Arc<dyn metrics::Recorder + Send + Sync>;

/// How much is recorded, and where to.
#[derive(Clone)]
#[non_exhaustive]
pub struct MetricsOptions {
    /// A second receiver beside `/metrics`. Default none.
    pub recorder: Option<UserRecorder>,
    /// The most combinations of caller and destination, and the most of their series. Default 2000, as OpenTelemetry has it.
    pub series_limit: usize,
    /// The most combinations of code, flags and protocol for one caller and destination. Default 64.
    pub codes_limit: usize,
    /// The most peer identities that a server tells apart. Default 200.
    pub peers_limit: usize,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self {
            recorder: None,
            series_limit: 2_000,
            codes_limit: 64,
            peers_limit: 200,
        }
    }
}

impl fmt::Debug for MetricsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsOptions")
            .field("recorder", &self.recorder.as_ref().map(|_| ".."))
            .field("series_limit", &self.series_limit)
            .field("codes_limit", &self.codes_limit)
            .field("peers_limit", &self.peers_limit)
            .finish()
    }
}

/// The metrics of one mesh. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Arc<Registry>,
    budget: Arc<Budget>,
    operations: Operations,
    plaintext: Plaintext,
    groups: Mutex<FxHashMap<Arc<Family>, SeriesGroup>>,
    /// Where requests are counted once there are too many series, by reporter.
    overflow: [SeriesGroup; 2],
    options: MetricsOptions,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(MetricsOptions::default())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics of their own: no global recorder is installed or used.
    #[must_use]
    pub fn new(options: MetricsOptions) -> Self {
        let registry = Arc::new(Registry::new(options.recorder.clone()));
        let operations = Operations::new(Arc::clone(&registry), options.series_limit);
        let budget = Arc::new(Budget::new(&registry, &options));
        let overflow = [Reporter::Source, Reporter::Destination].map(|reporter| {
            let family = Arc::new(Family::overflow(reporter));
            SeriesGroup::new(Arc::clone(&registry), Arc::clone(&budget), family, None)
        });
        Self {
            inner: Arc::new(Inner {
                overflow,
                registry,
                budget,
                operations,
                plaintext: Plaintext::new(options.peers_limit),
                groups: Mutex::new(FxHashMap::default()),
                options,
            }),
        }
    }

    /// The series of requests from `source` to `destination`. The same arguments give the same group.
    ///
    /// Takes a lock and may allocate: ask once per endpoint or peer and keep the answer.
    #[must_use]
    pub fn group(&self, reporter: Reporter, source: &Party, destination: &Party, service: &Destination) -> SeriesGroup {
        let family = Family::new(reporter, source, destination, service);
        let mut groups = self.inner.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = groups.get(&family) {
            return known.clone();
        }
        let overflow = self.overflow_group(reporter);
        if groups.len() >= self.inner.options.series_limit {
            return overflow;
        }
        let family = Arc::new(family);
        let (registry, budget) = (Arc::clone(&self.inner.registry), Arc::clone(&self.inner.budget));
        let group = SeriesGroup::new(registry, budget, Arc::clone(&family), Some(overflow));
        groups.insert(family, group.clone());
        group
    }

    /// The group in which requests are counted that are past the limits.
    #[must_use]
    pub(super) fn overflow_group(&self, reporter: Reporter) -> SeriesGroup {
        let [source, destination] = &self.inner.overflow;
        match reporter {
            Reporter::Source => source.clone(),
            Reporter::Destination => destination.clone(),
        }
    }

    /// The groups of a server, by the identity of the peer.
    #[must_use]
    pub fn peers(&self, us: Party, service: Destination) -> PeerGroups {
        PeerGroups::new(self.clone(), us, service, self.inner.options.peers_limit)
    }

    /// What a reload does to the policy in force.
    #[must_use]
    pub fn policy(&self) -> &PolicyMetrics {
        self.inner.operations.policy()
    }

    /// The metrics of the process's identity; made anew at each call.
    #[must_use]
    pub fn identity(&self) -> IdentityMetrics {
        self.inner.operations.identity()
    }

    /// The operational metrics of the service `name`. Takes a lock: ask once and keep the answer.
    #[must_use]
    pub fn service(&self, name: &str) -> ServiceMetrics {
        self.inner.operations.service(name)
    }

    /// Counts an open connection for as long as the guard lives (`mesh_connections`).
    pub fn connection(&self, side: Side) -> ConnectionGuard {
        self.inner.operations.connection(side)
    }

    /// Counts what was ended because of how the peer behaved (`mesh_peers_cut_total`).
    pub fn cut(&self, reason: Cut) {
        self.inner.operations.cut(reason);
    }

    /// Counts a TLS handshake (`mesh_tls_handshakes_total`, `mesh_tls_resumptions_total`).
    pub fn handshake(&self, side: Side, result: HandshakeResult) {
        self.inner.operations.ends().handshake(side, result);
    }

    /// Counts a connection or a request that a change of policy or trust ended (`mesh_connections_ended_total`).
    pub fn ended(&self, side: Side, reason: EndReason) {
        self.inner.operations.ends().ended(side, reason);
    }

    /// The counter of the requests that a server takes over plain text from an address (`mesh_plaintext_requests_total`);
    /// addresses past the limit of peers are counted together. Takes a lock: ask once a connection.
    pub(crate) fn plaintext(&self, source: Option<IpAddr>, service: &str, port: u16) -> PlaintextCounter {
        self.inner
            .plaintext
            .counter(&self.inner.registry, source, service, port)
    }

    /// Counts a request that an `AUDIT` policy marked (`mesh_authorization_audited_total`).
    pub fn audited_request(&self) {
        self.inner.operations.audited_request();
    }

    /// Counts what policies on trial decide (`mesh_authorization_trial_total`).
    pub fn tried_request(&self, verdict: mesh_core::decide::authz::Verdict) {
        self.inner.operations.tried_request(verdict);
    }

    /// What becomes of tokens, and of their keys.
    #[must_use]
    pub fn tokens(&self) -> &TokenMetrics {
        self.inner.operations.tokens()
    }

    /// The metrics of the external authorizer `name`. Takes a lock: ask once and keep the answer.
    #[must_use]
    pub fn checks(&self, name: &str) -> CheckMetrics {
        CheckMetrics::new(&self.inner.registry, name)
    }

    /// A counter for the access log to count lost lines with (`mesh_access_log_dropped_total`).
    pub(crate) fn access_log_dropped(&self) -> metrics::Counter {
        self.inner.operations.access_log_dropped()
    }

    /// Everything recorded so far, in Prometheus' text exposition format 0.0.4.
    ///
    /// Takes milliseconds where there are many series: call it off the runtime's threads.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.inner.registry.render();
        services::write(&mut text, &self.inner.operations.all_services());
        exposition::write(&mut text, &self.all_groups());
        text
    }

    fn all_groups(&self) -> Vec<SeriesGroup> {
        let groups = self.inner.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.values().chain(&self.inner.overflow).cloned().collect()
    }

    /// Folds the raw samples of histograms into their buckets, which frees their memory.
    pub fn run_upkeep(&self) {
        self.inner.registry.run_upkeep();
    }

    /// Runs [`Metrics::run_upkeep`] at every `interval`, off the runtime's threads, until all clones are gone or the task is aborted.
    ///
    /// Five seconds bound the samples of 10 000 checks a second to 400 KiB.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn_upkeep(&self, interval: Duration) -> JoinHandle<()> {
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(inner) = weak.upgrade() else { return };
                // A panic of the exporter ends one upkeep, not the task.
                let _ = tokio::task::spawn_blocking(move || inner.registry.run_upkeep()).await;
            }
        })
    }
}
