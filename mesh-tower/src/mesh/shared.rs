//! What the parts of a mesh share, and what one policy makes of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_core::snapshot::Snapshot;
use mesh_tls::source::IdentitySource;
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use super::status::PolicyStatus;
use crate::client::clusters::{Clusters, TargetRuntime};
use crate::clock::{Clock, Entropy};
use crate::gateway::Credentials;
use crate::server::jwt::Tokens;
use crate::server::plaintext::PlainText;
use crate::telemetry::access_log::AccessLogger;
use crate::telemetry::handshakes::Handshakes;
use crate::telemetry::metrics::{CheckMetrics, IdentityMetrics, Metrics, Party, PeerGroups, SeriesGroup};

/// State that lives as long as the mesh: reloads change what is in it, never the thing itself.
pub(crate) struct Shared {
    /// What is in force now.
    pub(crate) live: ArcSwap<Live>,
    /// The process's identity; without one, nothing that needs mTLS works.
    pub(crate) identity: Option<IdentitySource>,
    /// Present where the identity is.
    pub(crate) identity_metrics: Option<IdentityMetrics>,
    pub(crate) metrics: Metrics,
    /// Handshakes that this process accepts.
    pub(crate) handshakes: Handshakes,
    /// This process in labels of metrics.
    pub(crate) us: Party,
    /// Series of the requests that this process serves.
    pub(crate) served: PeerGroups,
    /// Callers that speak plain text to it.
    pub(crate) plain_text: PlainText,
    pub(crate) access_log: AccessLogger,
    /// The name of the machine.
    pub(crate) hostname: String,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    /// Run-time state of the services that are called; outlives reloads.
    pub(crate) clusters: Clusters,
    /// Certificates of the gateways.
    pub(crate) credentials: Credentials,
    /// Keys of tokens, and tokens that were verified.
    pub(crate) tokens: Tokens,
    pub(crate) settings: Settings,
    /// Set once, when the mesh shuts down: servers drain.
    pub(crate) stopping: watch::Sender<bool>,
    /// The generation in force, for whoever waits for a reload.
    pub(crate) generation: watch::Sender<u64>,
    pub(crate) status: Mutex<PolicyStatus>,
}

impl Shared {
    /// States in the metrics what the identity is now.
    pub(crate) fn observe_identity(&self) {
        if let (Some(identity), Some(metrics)) = (&self.identity, &self.identity_metrics) {
            metrics.observe(&identity.status(), identity.current().clock().now());
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = self.live.load().snapshot.generation;
        f.debug_struct("Shared")
            .field("generation", &generation)
            .finish_non_exhaustive()
    }
}

/// A snapshot with the run-time state that its targets resolve to.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) snapshot: Arc<Snapshot>,
    /// By the index of the snapshot's targets.
    pub(crate) targets: Box<[TargetRuntime]>,
    /// Where requests to a host are counted that reach no cluster, by the names of the virtual hosts.
    pub(crate) refused: FxHashMap<Arc<str>, OnceLock<SeriesGroup>>,
    /// Where checks of the external authorizer are counted, of which a workload has at most one.
    pub(crate) checks: OnceLock<CheckMetrics>,
}

impl Live {
    /// The metrics of the external authorizer of this name.
    pub(crate) fn checks(&self, metrics: &Metrics, name: &str) -> &CheckMetrics {
        self.checks.get_or_init(|| metrics.checks(name))
    }
}

/// Limits and times of the process, from the builder.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// For the first bytes and the handshake of a connection together.
    pub(crate) handshake_timeout: Duration,
    /// Handshakes at a time; further connections wait in the kernel's queue.
    pub(crate) handshakes: usize,
    /// For open requests at shutdown.
    pub(crate) drain_timeout: Duration,
    /// For the head of a request on plain text and from the web.
    pub(crate) header_timeout: Duration,
    /// How long the body of a request may keep its reader waiting, on plain text and from the web.
    pub(crate) body_timeout: Duration,
    /// How long an answer may wait for the peer to take it, on plain text and to the web.
    pub(crate) send_timeout: Duration,
    /// The folder of the gateways' certificates, one folder for each `credentialName`.
    pub(crate) credentials: Option<PathBuf>,
    /// The authorities of web servers outside of the mesh, in a file; the system's, where there is none.
    pub(crate) web_authorities: Option<PathBuf>,
    /// How often files are looked at.
    pub(crate) poll: Duration,
    /// How much of a request's body is kept for a retry, in bytes.
    pub(crate) replay_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            handshakes: 256,
            drain_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(60),
            credentials: None,
            web_authorities: None,
            poll: Duration::from_millis(500),
            replay_limit: crate::client::replay::ReplayBody::DEFAULT_CAP,
        }
    }
}
