//! Metrics of the mesh's own work: reloads, ejections, retries, connections, handshakes.
//!
//! Names are stable, units are Prometheus' base units, and no label value comes from a request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mesh_core::decide::authz::Verdict;
use metrics::{Counter, Gauge, Label};
use rustc_hash::FxHashMap;

use super::connections::ConnectionMetrics;
use super::identity::IdentityMetrics;
use super::registry::Registry;
use super::series::OVERFLOW;
use super::services::ServiceMetrics;
use super::tokens::TokenMetrics;

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadResult {
    /// The new policy is in force.
    Ok,
    /// The new policy was refused; the last good one stays in force.
    Rejected,
}

/// Which end of a connection the mesh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// It connects.
    Client,
    /// It accepts.
    Server,
}

impl Side {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Why the mesh ended what a peer that behaves badly had open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// A handshake took long while others waited for its place.
    SlowHandshake,
    /// The body of a request came too slowly.
    SlowRequest,
    /// Answers were not taken.
    SlowResponse,
    /// Most requests were given up right after they had begun.
    GivenUp,
}

pub(super) struct Operations {
    registry: Arc<Registry>,
    policy: PolicyMetrics,
    tokens: TokenMetrics,
    connections: [Gauge; 2],
    ends: ConnectionMetrics,
    /// By [`Cut`].
    cut: [Counter; 4],
    audited: Counter,
    /// Allowed, denied.
    tried: [Counter; 2],
    budget_exhausted: Counter,
    access_log_dropped: Counter,
    services: Mutex<FxHashMap<Arc<str>, ServiceMetrics>>,
    services_limit: usize,
}

impl Operations {
    pub(super) fn new(registry: Arc<Registry>, services_limit: usize) -> Self {
        describe(&registry);
        super::checks::describe(&registry);
        super::services::describe(&registry);
        announce_build(&registry);
        let sides = ["client", "server"];
        Self {
            policy: PolicyMetrics::new(&registry),
            tokens: TokenMetrics::new(&registry),
            connections: sides.map(|side| registry.gauge("mesh_connections", labels(&[("side", side)]))),
            ends: ConnectionMetrics::new(Arc::clone(&registry)),
            cut: ["slow_handshake", "slow_request", "slow_response", "given_up"]
                .map(|reason| registry.counter("mesh_peers_cut_total", labels(&[("reason", reason)]))),
            audited: registry.counter("mesh_authorization_audited_total", Vec::new()),
            tried: ["allow", "deny"].map(|decision| {
                let labels = labels(&[("decision", decision)]);
                registry.counter("mesh_authorization_trial_total", labels)
            }),
            budget_exhausted: registry.counter("mesh_retry_budget_exhausted_total", Vec::new()),
            access_log_dropped: registry.counter("mesh_access_log_dropped_total", Vec::new()),
            services: Mutex::new(FxHashMap::default()),
            services_limit,
            registry,
        }
    }

    pub(super) fn policy(&self) -> &PolicyMetrics {
        &self.policy
    }

    pub(super) fn identity(&self) -> IdentityMetrics {
        IdentityMetrics::new(&self.registry)
    }

    pub(super) fn tokens(&self) -> &TokenMetrics {
        &self.tokens
    }

    pub(super) fn service(&self, name: &str) -> ServiceMetrics {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = services.get(name) {
            return known.clone();
        }
        let name = if services.len() < self.services_limit {
            name
        } else {
            OVERFLOW
        };
        if let Some(overflow) = services.get(name) {
            return overflow.clone();
        }
        let name: Arc<str> = name.into();
        let service = ServiceMetrics::new(&self.registry, &name, self.budget_exhausted.clone());
        services.insert(name, service.clone());
        service
    }

    /// The metrics of all services.
    pub(super) fn all_services(&self) -> Vec<ServiceMetrics> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.values().cloned().collect()
    }

    pub(super) fn connection(&self, side: Side) -> ConnectionGuard {
        let [client, server] = &self.connections;
        let open = match side {
            Side::Client => client,
            Side::Server => server,
        };
        open.increment(1.0);
        ConnectionGuard(open.clone())
    }

    pub(super) fn ends(&self) -> &ConnectionMetrics {
        &self.ends
    }

    pub(super) fn cut(&self, reason: Cut) {
        let [slow_handshake, slow_request, slow_response, given_up] = &self.cut;
        match reason {
            Cut::SlowHandshake => slow_handshake.increment(1),
            Cut::SlowRequest => slow_request.increment(1),
            Cut::SlowResponse => slow_response.increment(1),
            Cut::GivenUp => given_up.increment(1),
        }
    }

    pub(super) fn audited_request(&self) {
        self.audited.increment(1);
    }

    pub(super) fn tried_request(&self, verdict: Verdict) {
        let [allowed, denied] = &self.tried;
        match verdict {
            Verdict::Allow => allowed.increment(1),
            Verdict::Deny => denied.increment(1),
        }
    }

    pub(super) fn access_log_dropped(&self) -> Counter {
        self.access_log_dropped.clone()
    }
}

fn describe(registry: &Registry) {
    for (name, text) in [
        ("mesh_policy_reloads_total", "Reloads of the policy, by result."),
        (
            "mesh_retry_budget_exhausted_total",
            "Further tries that the retry budget forbade.",
        ),
        (
            "mesh_plaintext_requests_total",
            "Requests that were taken over plain text, by the address of the caller, the service and its port.",
        ),
        (
            "mesh_peers_cut_total",
            "Requests and connections that were ended because of how the peer behaved, by reason.",
        ),
        (
            "mesh_authorization_audited_total",
            "Requests that an AUDIT policy marked.",
        ),
        (
            "mesh_authorization_trial_total",
            "Requests that authorization policies on trial would have decided on, by decision.",
        ),
        (
            "mesh_access_log_dropped_total",
            "Access log lines that were lost: the queue was full or writing failed.",
        ),
    ] {
        registry.describe_counter(name, text);
    }
    for (name, text) in [
        (
            "mesh_policy_generation",
            "Number of the policy in force; it rises with each reload.",
        ),
        (
            "mesh_policy_last_reload_success_timestamp_seconds",
            "When the policy in force was loaded, in Unix time.",
        ),
        ("mesh_connections", "Open connections, by side."),
        ("mesh_build_info", "The version of the mesh."),
        (
            "istio_build",
            "The version of the mesh, where Istio's dashboards look for it.",
        ),
    ] {
        registry.describe_gauge(name, text);
    }
}

fn announce_build(registry: &Registry) {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    registry
        .gauge("mesh_build_info", labels(&[("version", VERSION)]))
        .set(1.0);
    registry
        .gauge("istio_build", labels(&[("component", "proxy"), ("tag", VERSION)]))
        .set(1.0);
}

pub(super) fn labels(pairs: &[(&'static str, &'static str)]) -> Vec<Label> {
    pairs
        .iter()
        .map(|(key, value)| Label::from_static_parts(key, value))
        .collect()
}

/// What reloads did to the policy in force.
#[derive(Clone)]
pub struct PolicyMetrics {
    ok: Counter,
    rejected: Counter,
    generation: Gauge,
    loaded_at: Gauge,
}

impl fmt::Debug for PolicyMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyMetrics").finish_non_exhaustive()
    }
}

impl PolicyMetrics {
    fn new(registry: &Registry) -> Self {
        let reloads = |result| registry.counter("mesh_policy_reloads_total", labels(&[("result", result)]));
        Self {
            ok: reloads("ok"),
            rejected: reloads("rejected"),
            generation: registry.gauge("mesh_policy_generation", Vec::new()),
            loaded_at: registry.gauge("mesh_policy_last_reload_success_timestamp_seconds", Vec::new()),
        }
    }

    /// Counts a load or reload (`mesh_policy_reloads_total`).
    pub fn reloaded(&self, result: ReloadResult) {
        match result {
            ReloadResult::Ok => self.ok.increment(1),
            ReloadResult::Rejected => self.rejected.increment(1),
        }
    }

    /// States which policy is in force, and since when (`mesh_policy_generation` and the timestamp).
    pub fn in_force(&self, generation: u64, since: SystemTime) {
        // Exact up to 2^53 reloads.
        self.generation.set(generation as f64);
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.loaded_at.set(since.as_secs_f64());
    }
}

/// An open connection, counted until it is dropped.
#[must_use = "the connection counts as open for as long as the guard lives"]
pub struct ConnectionGuard(Gauge);

impl fmt::Debug for ConnectionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionGuard")
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
