//! The run-time state of the services that are called: what outlives a reload.
//!
//! A snapshot says what a target *is*; a [`ClusterRuntime`] is what happens to it: connections, requests
//! in flight, ejections, budgets. It is found again by its key (service, subset, port) when the policy
//! changes, so a reload changes parameters in place. A target that a policy drops loses its state with its
//! last request.

mod attachment;
mod passthrough;
mod runtime;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_core::decide::cluster::{ClusterKey, ClusterSettings};
use mesh_core::decide::route::Router;
use mesh_core::policy::model::MeshSettings;
use mesh_core::snapshot::{Snapshot, Target, TargetEndpoints};
use mesh_core::time::Timestamp;
use mesh_tls::config::TlsPolicy;
use mesh_tls::source::IdentitySource;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

pub(crate) use attachment::{Attachment, Way};
use passthrough::Passthrough;
pub(crate) use runtime::{ClusterRuntime, Readiness};

use crate::clock::Clock;
use crate::discovery::Resolve;
use crate::mesh::{Live, tls_policy};
use crate::telemetry::handshakes::Handshakes;
use crate::telemetry::metrics::{Metrics, Party, Side};

/// What all clusters of a mesh have in common.
#[derive(Debug)]
pub(crate) struct Context {
    pub(super) identity: Option<IdentitySource>,
    pub(super) metrics: Metrics,
    pub(super) us: Party,
    pub(super) clock: Clock,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) handshakes: Handshakes,
    /// What the policy says of TLS and of connections that are trusted no more.
    pub(super) trust: ArcSwap<Trust>,
}

/// What a policy says of TLS and of connections that are trusted no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    pub(super) tls: TlsPolicy,
    pub(super) drain: Duration,
}

impl Trust {
    fn of(mesh: &MeshSettings) -> Self {
        Self {
            tls: tls_policy(&mesh.tls),
            drain: mesh.live.drain,
        }
    }
}

/// All clusters that are in use.
pub(crate) struct Clusters {
    context: Arc<Context>,
    /// By key; whoever uses a cluster keeps it alive.
    known: Mutex<FxHashMap<ClusterKey, Weak<ClusterRuntime>>>,
    /// Hosts that no policy names.
    passthrough: Mutex<Passthrough>,
}

impl fmt::Debug for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clusters")
            .field("known", &self.known().len())
            .finish_non_exhaustive()
    }
}

impl Clusters {
    pub(crate) fn new(
        identity: Option<IdentitySource>,
        metrics: Metrics,
        us: Party,
        clock: Clock,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        let context = Context {
            handshakes: Handshakes::new(metrics.clone(), clock, Side::Client),
            trust: ArcSwap::default(),
            identity,
            metrics,
            us,
            clock,
            resolver,
        };
        Self {
            context: Arc::new(context),
            known: Mutex::default(),
            passthrough: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, FxHashMap<ClusterKey, Weak<ClusterRuntime>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unnamed(&self) -> MutexGuard<'_, Passthrough> {
        self.passthrough.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is alive.
    fn alive(&self) -> Vec<Arc<ClusterRuntime>> {
        self.known().values().filter_map(Weak::upgrade).collect()
    }

    /// Gives each target of a snapshot its state: that which it had, with the new parameters, or a new one.
    pub(crate) fn apply(&self, snapshot: Arc<Snapshot>) -> Live {
        let alive = self.alive();
        let trust = Trust::of(&snapshot.mesh);
        let before = self.context.trust.swap(Arc::new(trust));
        if before.tls != trust.tls {
            self.identity_changed();
        }
        let dialled = dialled(&alive);
        let targets = snapshot.targets.iter().map(|target| {
            let runtime = TargetRuntime::default();
            let used = dialled.get(&(&*target.service, target.subset.as_deref()));
            let ports = used.into_iter().flatten().copied().chain(target.port);
            // A port that is fixed stays; others were dialled before the reload.
            for port in ports.filter(|port| target.service_port(*port) == *port) {
                self.resolve(&snapshot, target, &runtime, port);
            }
            runtime
        });
        let targets = targets.collect();
        let gateways = snapshot.gateways.iter().flat_map(|gateway| &gateway.ports);
        let routers = gateways.map(|port| &port.router).chain([&*snapshot.outbound]);
        let hosts = routers.flat_map(Router::virtual_hosts);
        let refused = hosts.map(|host| (Arc::clone(&host.name), OnceLock::new())).collect();
        Live {
            snapshot,
            targets,
            refused,
            checks: OnceLock::new(),
        }
    }

    /// The cluster of a target for a dialled port; `None` where the policy does not define the target's subset.
    pub(crate) fn of_target(
        &self,
        snapshot: &Snapshot,
        target: &Target,
        runtime: &TargetRuntime,
        dialled: u16,
    ) -> Option<Arc<ClusterRuntime>> {
        if matches!(target.endpoints, TargetEndpoints::Undefined) {
            return None;
        }
        let port = target.service_port(dialled);
        Some(
            runtime
                .get(port)
                .unwrap_or_else(|| self.resolve(snapshot, target, runtime, port)),
        )
    }

    fn resolve(&self, snapshot: &Snapshot, target: &Target, runtime: &TargetRuntime, port: u16) -> Arc<ClusterRuntime> {
        let resolved = target.resolve(port);
        let cluster = self.find_or_add(&resolved.key, &resolved.settings, &snapshot.workload.namespace);
        cluster.configure(resolved, snapshot.generation);
        runtime.add(port, &cluster);
        cluster
    }

    fn find_or_add(&self, key: &ClusterKey, settings: &Arc<ClusterSettings>, namespace: &str) -> Arc<ClusterRuntime> {
        let mut known = self.known();
        if let Some(cluster) = known.get(key).and_then(Weak::upgrade) {
            return cluster;
        }
        let cluster = ClusterRuntime::new(&self.context, key.clone(), Arc::clone(settings), namespace);
        known.retain(|_, cluster| cluster.strong_count() > 0);
        known.insert(key.clone(), Arc::downgrade(&cluster));
        cluster
    }

    /// The cluster of a host that no policy names, for a request that began `now`: resolved by DNS, in plain text.
    pub(crate) fn passthrough(&self, host: &str, port: u16, now: Timestamp) -> Arc<ClusterRuntime> {
        let key = ClusterKey::new(host, None, port);
        let mut hosts = self.unnamed();
        if let Some(cluster) = hosts.find(&key, now) {
            return cluster;
        }
        let unused = hosts.make_room();
        let cluster = ClusterRuntime::passthrough(&self.context, key.clone());
        hosts.add(key, Arc::clone(&cluster), now);
        drop(hosts);
        drop(unused);
        cluster
    }

    /// Holds connections to the identity and the trust that are in force now.
    pub(crate) fn identity_changed(&self) {
        self.alive().iter().for_each(|cluster| cluster.identity_changed());
    }

    /// Lets ejections end and gauges follow where no request does it, and hosts go that no policy names and nobody calls.
    pub(crate) fn sweep(&self) {
        self.alive().iter().for_each(|cluster| cluster.sweep());
        let unused = self.unnamed().sweep(self.context.clock.now());
        drop(unused);
    }

    /// For the admin page.
    pub(crate) fn describe(&self) -> Value {
        let mut alive = self.alive();
        alive.sort_by(|left, right| left.key().cmp(right.key()));
        let now = self.context.clock.now();
        let services: Vec<Value> = alive.iter().map(|cluster| cluster.describe(now)).collect();
        json!({ "services": services })
    }
}

/// The ports at which clusters are in use, by service and subset.
fn dialled(clusters: &[Arc<ClusterRuntime>]) -> FxHashMap<(&str, Option<&str>), Vec<u16>> {
    let mut dialled: FxHashMap<_, Vec<u16>> = FxHashMap::default();
    for key in clusters.iter().map(|cluster| cluster.key()) {
        let target = (&*key.service, key.subset.as_deref());
        dialled.entry(target).or_default().push(key.port);
    }
    dialled
}

/// The clusters of one target, by port. Reading takes no lock.
#[derive(Debug, Default)]
pub(crate) struct TargetRuntime {
    /// Of the port that was asked for first: most targets have no other.
    first: OnceLock<(u16, Arc<ClusterRuntime>)>,
    by_port: ArcSwap<Vec<(u16, Arc<ClusterRuntime>)>>,
}

impl TargetRuntime {
    fn get(&self, port: u16) -> Option<Arc<ClusterRuntime>> {
        match self.first.get() {
            Some((number, cluster)) if *number == port => Some(Arc::clone(cluster)),
            _ => self.get_other(port),
        }
    }

    #[inline(never)]
    fn get_other(&self, port: u16) -> Option<Arc<ClusterRuntime>> {
        let known = self.by_port.load();
        let found = known.iter().find(|(number, _)| *number == port);
        found.map(|(_, cluster)| Arc::clone(cluster))
    }

    fn add(&self, port: u16, cluster: &Arc<ClusterRuntime>) {
        if self.first.get_or_init(|| (port, Arc::clone(cluster))).0 == port {
            return;
        }
        self.by_port.rcu(|known| {
            let mut known = Vec::clone(known);
            if known.iter().all(|(number, _)| *number != port) {
                known.push((port, Arc::clone(cluster)));
            }
            known
        });
    }
}
