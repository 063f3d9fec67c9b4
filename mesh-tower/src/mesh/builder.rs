use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_core::snapshot::Snapshot;
use mesh_core::workload::Workload;
use mesh_tls::clock::Clock as WallClock;
use mesh_tls::source::{IdentityFiles, IdentitySource};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::admin::Pages;
use super::identity::{self, Identity, Opening};
use super::reload::{self, Compiled};
use super::{BuildError, Mesh, Running, Settings, Shared, Tasks};
use crate::admin::{Admin, AdminOptions};
use crate::client::clusters::Clusters;
use crate::clock::{Clock, Entropy};
use crate::discovery::{Resolve, SystemResolver};
use crate::gateway::Credentials;
use crate::reload::watch::{PolicyFiles, WatchTiming, Watcher};
use crate::server::jwt::Tokens;
use crate::server::plaintext::PlainText;
use crate::telemetry::access_log::AccessLogger;
use crate::telemetry::handshakes::Handshakes;
use crate::telemetry::metrics::{Destination, Metrics, MetricsOptions, Party, ReloadResult, Side};

/// How often idle state is looked at: ejections that end, gauges.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Describes a [`Mesh`]. Everything but the policy has a default.
#[derive(Debug, Default)]
#[must_use]
pub struct MeshBuilder {
    policies: Vec<PathBuf>,
    workload: Workload,
    identity: Option<Identity>,
    admin: AdminChoice,
    metrics: MetricsOptions,
    settings: Settings,
    entropy: Entropy,
    resolver: Option<Arc<dyn Resolve>>,
    wall: WallClock,
}

#[derive(Debug)]
enum AdminChoice {
    On(AdminOptions),
    Off,
}

impl Default for AdminChoice {
    fn default() -> Self {
        Self::On(AdminOptions::default())
    }
}

impl MeshBuilder {
    /// Adds a policy file, or a directory whose `*.yaml`, `*.yml` and `*.json` are read. All together are one policy,
    /// which is watched and reloaded while the mesh runs.
    pub fn policy(mut self, path: impl Into<PathBuf>) -> Self {
        self.policies.push(path.into());
        self
    }

    /// Who this process is: namespace, service account and labels, from whose point of view the policy is read.
    /// Default: namespace and account `default`, no labels. See [`crate::workload::from_env`].
    pub fn workload(mut self, workload: Workload) -> Self {
        self.workload = workload;
        self
    }

    /// The identity for mTLS. Without one, connections that need mTLS fail: nothing falls back to plain text.
    pub fn identity(mut self, source: IdentitySource) -> Self {
        self.identity = Some(Identity::Source(source));
        self
    }

    /// The identity from a directory with `tls.crt`, `tls.key` and `ca.crt`, or in another
    /// [`Layout`](mesh_tls::source::Layout), followed when the files change.
    pub fn identity_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.identity = Some(Identity::Directory(directory.into()));
        self
    }

    /// The identity from files of any names, followed when they change.
    pub fn identity_files(mut self, files: IdentityFiles) -> Self {
        self.identity = Some(Identity::Files(files));
        self
    }

    /// The identity that a SPIFFE Workload API grants, followed as it sends changes.
    #[cfg(feature = "workload-api")]
    pub fn workload_api(mut self, api: mesh_tls::source::workload_api::WorkloadApi) -> Self {
        self.identity = Some(Identity::WorkloadApi(api));
        self
    }

    /// The identity of the [workload](Self::workload), in the trust domain of the policy, from a development authority
    /// that lies in `directory` or is made there. It lasts for `ttl` and renews itself. Not for production: who can
    /// read the directory can be anybody.
    #[cfg(feature = "authority")]
    pub fn development_ca(mut self, directory: impl Into<PathBuf>, ttl: Duration) -> Self {
        self.identity = Some(Identity::Authority(directory.into(), ttl));
        self
    }

    /// Where the admin pages are served. Default: a free port of 127.0.0.1.
    pub fn admin(mut self, options: AdminOptions) -> Self {
        self.admin = AdminChoice::On(options);
        self
    }

    /// Serves no admin pages; metrics are still in [`Mesh::metrics`].
    pub fn without_admin(mut self) -> Self {
        self.admin = AdminChoice::Off;
        self
    }

    /// Limits of the metrics, and a recorder of the application's own.
    pub fn metrics(mut self, options: MetricsOptions) -> Self {
        self.metrics = options;
        self
    }

    /// The folder of the gateways' certificates: `credentialName: shop` is read from `shop/tls.crt` and `shop/tls.key` in it.
    pub fn credentials(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.credentials = Some(directory.into());
        self
    }

    /// A file with the authorities (PEM) of web servers outside of the mesh that the process asks itself, such as those with
    /// the keys of tokens. Default: the system's, or those that `SSL_CERT_FILE` names.
    pub fn web_authorities(mut self, file: impl Into<PathBuf>) -> Self {
        self.settings.web_authorities = Some(file.into());
        self
    }

    /// The wall clock that tokens are judged by. Default: the machine's.
    pub fn wall_clock(mut self, clock: WallClock) -> Self {
        self.wall = clock;
        self
    }

    /// Time for the first bytes and the TLS handshake of a connection that comes in. Default 10 s.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.settings.handshake_timeout = limit;
        self
    }

    /// Time for the head of a request on plain text and at gateways, and for which an idle HTTP/1 connection is kept there; for
    /// HTTP/2, the time for the first request. Default 60 s. Peers with an identity are not hurried.
    pub fn header_timeout(mut self, limit: Duration) -> Self {
        self.settings.header_timeout = limit;
        self
    }

    /// How long, in all, the body of a request may keep its reader waiting for 64 bytes, on plain text and at gateways: then the
    /// body fails and the connection (or the stream) is closed. Default 30 s. Not for gRPC, whose streams may be silent, and not
    /// for peers with an identity.
    pub fn body_timeout(mut self, limit: Duration) -> Self {
        self.settings.body_timeout = limit;
        self
    }

    /// How long answers may wait for a caller that takes nothing, on plain text and at gateways: then the connection is
    /// closed. Default 60 s.
    pub fn send_timeout(mut self, limit: Duration) -> Self {
        self.settings.send_timeout = limit;
        self
    }

    /// Time that open requests get at shutdown. Default 30 s.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.settings.drain_timeout = limit;
        self
    }

    /// How often policy, identity and certificates are looked at, beside the notices of the file system. Default 500 ms.
    pub fn poll(mut self, interval: Duration) -> Self {
        self.settings.poll = interval;
        self
    }

    /// How much of a request's body is kept to send it again, in bytes. Default 64 KiB; larger bodies are not retried.
    pub fn replay_limit(mut self, bytes: usize) -> Self {
        self.settings.replay_limit = bytes;
        self
    }

    /// The randomness of splits, picks and backoffs; a seed makes them repeat. Default: the operating system's.
    pub fn entropy(mut self, entropy: Entropy) -> Self {
        self.entropy = entropy;
        self
    }

    /// Resolves the names of services without endpoints. Default: the system's DNS configuration.
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Reads the policy and starts the mesh.
    ///
    /// # Errors
    ///
    /// [`BuildError`]: a mesh never starts with a policy or an identity that is bad.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time and I/O enabled.
    pub async fn build(self) -> Result<Mesh, BuildError> {
        if self.policies.is_empty() {
            return Err(BuildError::NoPolicy);
        }
        let files = PolicyFiles::new(self.policies.clone());
        let set = reload::read(files.clone()).await?;
        let fingerprint = set.fingerprint;
        let (policies, first) = reload::Policies::new(self.workload).compile(set, 1).await;
        let first = first?;
        let opening = Opening {
            snapshot: &first.snapshot,
            poll: self.settings.poll,
            entropy: &self.entropy,
        };
        let (identity, tasks) = identity::open(self.identity, opening).await?;
        let mut tasks = Tasks(tasks);
        let parts = Parts {
            identity,
            metrics: Metrics::new(self.metrics),
            settings: self.settings,
            entropy: self.entropy,
            resolver: self.resolver.unwrap_or_else(|| Arc::new(SystemResolver::new())),
            wall: self.wall,
        };
        let shared = parts.assemble(&first)?;
        let timing = WatchTiming {
            poll: shared.settings.poll,
            ..WatchTiming::default()
        };
        let watcher = Watcher::start(files, timing, Some(fingerprint));
        let reloads = reload::follow(Arc::downgrade(&shared), watcher, policies);
        tasks.0.push(tokio::spawn(reloads).abort_handle());
        tasks
            .0
            .push(tokio::spawn(housekeeping(Arc::downgrade(&shared))).abort_handle());
        tasks.0.extend(follow_identity(&shared));
        shared.observe_identity();
        let admin = start_admin(self.admin, &shared).await?;
        Ok(Mesh {
            shared,
            running: Arc::new(Running { _tasks: tasks, admin }),
        })
    }
}

/// What a mesh is made of beside its policy.
struct Parts {
    identity: Option<IdentitySource>,
    metrics: Metrics,
    settings: Settings,
    entropy: Entropy,
    resolver: Arc<dyn Resolve>,
    wall: WallClock,
}

impl Parts {
    fn assemble(self, first: &Compiled) -> Result<Arc<Shared>, BuildError> {
        let snapshot = &first.snapshot;
        let us = Party::of_workload(&snapshot.workload, &snapshot.mesh.trust_domain);
        let clock = Clock::new();
        let clusters = Clusters::new(
            self.identity.clone(),
            self.metrics.clone(),
            us.clone(),
            clock,
            Arc::clone(&self.resolver),
        );
        let tokens = Tokens::new(self.wall, self.settings.web_authorities.clone(), self.resolver);
        let access_log = AccessLogger::new(&self.metrics);
        let setting = snapshot.mesh.access_log.as_ref();
        access_log.apply(setting).map_err(BuildError::AccessLog)?;
        let service = own_service(snapshot);
        let plain_text = PlainText::new(Arc::clone(service.host()), self.metrics.clone(), clock);
        let served = self.metrics.peers(us.clone(), service);
        self.metrics.policy().reloaded(ReloadResult::Ok);
        self.metrics.policy().in_force(snapshot.generation, clock.wall());
        let live = clusters.apply(Arc::clone(snapshot));
        let shared = Arc::new(Shared {
            hostname: hostname(),
            live: ArcSwap::from_pointee(live),
            generation: watch::Sender::new(snapshot.generation),
            status: Mutex::new(first.status(clock.wall())),
            identity_metrics: self.identity.as_ref().map(|_| self.metrics.identity()),
            identity: self.identity,
            handshakes: Handshakes::new(self.metrics.clone(), clock, Side::Server),
            metrics: self.metrics,
            us,
            served,
            plain_text,
            access_log,
            clock,
            entropy: self.entropy,
            clusters,
            credentials: Credentials::new(self.settings.credentials.clone(), self.settings.poll),
            settings: self.settings,
            stopping: watch::Sender::new(false),
            tokens,
        });
        shared.tokens.apply(&shared, snapshot);
        Ok(shared)
    }
}

/// What this process is called in the metrics of its callers.
fn own_service(snapshot: &Snapshot) -> Destination {
    let workload = &snapshot.workload;
    let host = format!(
        "{}.{}.svc.{}",
        workload.name, workload.namespace, snapshot.mesh.cluster_domain
    );
    Destination::new(&host, &workload.name, &workload.namespace)
}

/// Holds open connections to what is trusted after each rotation.
fn follow_identity(shared: &Arc<Shared>) -> Option<AbortHandle> {
    let mut changes = shared.identity.as_ref()?.changes();
    let shared = Arc::downgrade(shared);
    let task = tokio::spawn(async move {
        while changes.changed().await.is_ok() {
            let Some(shared) = shared.upgrade() else { return };
            shared.clusters.identity_changed();
        }
    });
    Some(task.abort_handle())
}

async fn housekeeping(shared: std::sync::Weak<Shared>) {
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        let Some(shared) = shared.upgrade() else { return };
        shared.clusters.sweep();
        shared.observe_identity();
        shared.metrics.tokens().oldest(shared.tokens.oldest());
        shared.metrics.run_upkeep();
    }
}

async fn start_admin(choice: AdminChoice, shared: &Arc<Shared>) -> Result<Option<Admin>, BuildError> {
    let AdminChoice::On(options) = choice else {
        return Ok(None);
    };
    let pages = Arc::new(Pages::new(Arc::clone(shared)));
    Admin::start(options, pages).await.map(Some).map_err(BuildError::Admin)
}
/// The name of the machine, as its shell and its kernel tell it; empty where neither does.
fn hostname() -> String {
    let from_kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    std::env::var("HOSTNAME").or_else(|_| from_kernel()).unwrap_or_default()
}
