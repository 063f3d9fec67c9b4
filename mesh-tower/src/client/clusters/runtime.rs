//! One service, subset and port at work.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use mesh_core::decide::cluster::{Cluster, ClusterKey, ClusterSettings, EndpointSpec, EndpointStats};
use mesh_core::decide::health::HealthEvent;
use mesh_core::policy::model::traffic::Limits;
use mesh_core::snapshot::{EndpointAddress, HttpVersion, ResolvedEndpoint, ResolvedTarget};
use mesh_core::time::Timestamp;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Context;
use super::attachment::{Attachment, Label, Make};
use crate::discovery::{ResolveError, Update, follow};
use crate::telemetry::handshakes::Handshakes;
use crate::telemetry::metrics::{Destination, Metrics, Party, Reporter, SeriesGroup, ServiceMetrics};

/// Whether the endpoints are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// DNS has yet to answer, and nothing else can be called.
    Resolving,
    /// They are, be it none.
    Known,
    /// DNS has not given any answer, and this is why.
    Failed(Arc<str>),
}

/// The run-time state of one service, subset and port, with what drives it.
#[derive(Debug)]
pub(crate) struct ClusterRuntime {
    pub(crate) state: Cluster<Attachment>,
    pub(crate) metrics: ServiceMetrics,
    /// Series of requests that no endpoint took.
    pub(crate) unserved: SeriesGroup,
    /// Ejected endpoints that the gauge was told of. The gauge is the service's, which has a cluster for each subset and port.
    ejected: AtomicUsize,
    /// The key as text, for logs.
    pub(crate) name: Arc<str>,
    destination: Destination,
    context: Arc<Context>,
    /// Where names are resolved; without them the endpoints are known.
    readiness: OnceLock<watch::Sender<Readiness>>,
    discovery: Mutex<Discovery>,
    me: Weak<Self>,
}

/// The endpoints as the policy lists them, and who resolves the names among them.
#[derive(Debug, Default)]
struct Discovery {
    /// Of the policy that the parameters come from.
    generation: u64,
    http: HttpVersion,
    /// Where there are names among them: what resolving them changes needs all.
    listed: Vec<ResolvedEndpoint>,
    resolved: BTreeMap<Arc<str>, Vec<IpAddr>>,
    /// How many followers there have been.
    followers: u64,
    following: Option<Following>,
}

#[derive(Debug)]
struct Following {
    /// Which of the cluster's followers it is: what an older one still tells is not for this one.
    number: u64,
    names: Vec<Arc<str>>,
    task: AbortHandle,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ClusterRuntime {
    pub(super) fn new(
        context: &Arc<Context>,
        key: ClusterKey,
        settings: Arc<ClusterSettings>,
        namespace: &str,
    ) -> Arc<Self> {
        let destination = Destination::of_service(&key.service, namespace);
        let metrics = context.metrics.service(&key.service);
        Self::counted(context, key, settings, destination, metrics)
    }

    pub(super) fn passthrough(context: &Arc<Context>, key: ClusterKey) -> Arc<Self> {
        let settings: Arc<ClusterSettings> = Arc::default();
        let endpoint = ResolvedEndpoint::by_host(&key.service, key.port);
        let target = ResolvedTarget::passthrough(key.clone(), Arc::clone(&settings), endpoint);
        let destination = Destination::passthrough();
        // Not by the key, whose service is what a request says.
        let metrics = context.metrics.service(destination.name());
        let cluster = Self::counted(context, key, settings, destination, metrics);
        cluster.configure(target, 0);
        cluster
    }

    fn counted(
        context: &Arc<Context>,
        key: ClusterKey,
        settings: Arc<ClusterSettings>,
        to: Destination,
        metrics: ServiceMetrics,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            metrics,
            unserved: context
                .metrics
                .group(Reporter::Source, &context.us, &Party::unknown(), &to),
            name: key.to_string().into(),
            state: Cluster::new(key, settings),
            ejected: AtomicUsize::new(0),
            destination: to,
            context: Arc::clone(context),
            readiness: OnceLock::new(),
            discovery: Mutex::default(),
            me: me.clone(),
        })
    }

    pub(crate) fn key(&self) -> &ClusterKey {
        self.state.key()
    }

    /// The metrics of the whole mesh.
    pub(super) fn metrics_of_all(&self) -> &Metrics {
        &self.context.metrics
    }

    /// Handshakes with all servers.
    pub(super) fn handshakes(&self) -> &Handshakes {
        &self.context.handshakes
    }

    /// Puts the parameters of a policy in force, unless those of a later one already are: a request that began
    /// before a reload may be the first to dial a port.
    pub(super) fn configure(&self, target: ResolvedTarget, generation: u64) {
        let mut discovery = self.discovery.lock().unwrap_or_else(PoisonError::into_inner);
        if generation < discovery.generation {
            return;
        }
        discovery.generation = generation;
        self.state.configure(target.settings);
        (discovery.http, discovery.listed) = (target.http, target.endpoints);
        let is_asked_anew = self.follow_names(&mut discovery);
        let is_known = discovery.is_known();
        // ORDER: known after there are addresses, and unknown before there are none.
        if !is_known {
            self.wait_for_names(is_asked_anew);
        }
        self.place(&discovery);
        if is_known {
            self.now_known();
        }
        if discovery.following.is_none() {
            discovery.listed = Vec::new();
        }
    }

    /// Resolves exactly the names that the policy lists. Whether they are others than before.
    fn follow_names(&self, discovery: &mut Discovery) -> bool {
        let mut names: Vec<Arc<str>> = discovery
            .listed
            .iter()
            .filter_map(|endpoint| endpoint.name().cloned())
            .collect();
        names.sort_unstable();
        names.dedup();
        discovery.resolved.retain(|name, _| names.contains(name));
        let known = discovery
            .following
            .as_ref()
            .map_or(&[][..], |following| &following.names);
        if *known == *names {
            return false;
        }
        discovery.followers += 1;
        discovery.following = match names.is_empty() {
            true => None,
            false => self.start_following(discovery.followers, names),
        };
        true
    }

    /// Has requests wait for DNS. That names which stay have failed holds until there is an answer.
    fn wait_for_names(&self, is_asked_anew: bool) {
        let readiness = self.readiness.get_or_init(|| watch::Sender::new(Readiness::Resolving));
        readiness.send_if_modified(|readiness| {
            let is_over = is_asked_anew || *readiness == Readiness::Known;
            if is_over {
                *readiness = Readiness::Resolving;
            }
            is_over
        });
    }

    fn now_known(&self) {
        if let Some(readiness) = self.readiness.get() {
            readiness.send_replace(Readiness::Known);
        }
    }

    fn start_following(&self, number: u64, names: Vec<Arc<str>>) -> Option<Following> {
        let (me, resolver) = (self.me.clone(), Arc::clone(&self.context.resolver));
        let task = follow(resolver, names.clone(), move |update| match me.upgrade() {
            Some(cluster) => cluster.resolved(number, update),
            None => ControlFlow::Break(()),
        });
        // Without a runtime there is nobody to send a request either.
        let task = Handle::try_current().ok()?.spawn(task).abort_handle();
        Some(Following { number, names, task })
    }

    /// Takes what the follower of this number has heard.
    pub(super) fn resolved(&self, number: u64, update: Update<'_>) -> ControlFlow<()> {
        let mut discovery = self.discovery.lock().unwrap_or_else(PoisonError::into_inner);
        let following = discovery.following.as_ref();
        // A follower that is ended may be about to tell: what it asked for is what an older policy named.
        if following.is_none_or(|following| following.number != number) {
            return ControlFlow::Break(());
        }
        match update {
            Update::Addresses(addresses) => {
                // A name that is not among them has failed since a reload, or has yet to answer: its last good answer stays.
                let known = addresses.iter().map(|(name, ips)| (Arc::clone(name), ips.clone()));
                discovery.resolved.extend(known);
                self.place(&discovery);
                self.now_known();
            }
            Update::Failed(error) => self.failed(&discovery, error),
        }
        ControlFlow::Continue(())
    }

    fn failed(&self, discovery: &Discovery, error: &ResolveError) {
        if discovery.is_known() {
            // Of another endpoint, or since before a reload.
            tracing::warn!(cluster = %self.name, %error, "what is known so far stays in use");
            return;
        }
        tracing::warn!(cluster = %self.name, %error, "no endpoints");
        if let Some(readiness) = self.readiness.get() {
            readiness.send_replace(Readiness::Failed(error.to_string().into()));
        }
    }

    /// Hands the endpoints to the cluster; those that stay keep their state.
    fn place(&self, discovery: &Discovery) {
        let settings = self.state.settings();
        let make = self.make(&settings.limits);
        // What is removed ends with the last request on it.
        self.state.set_endpoints(
            discovery.addresses(),
            |_, label| Attachment::new(make, label),
            |endpoint, label| endpoint.attachment().update(make, label),
        );
        // An ejected one that is gone does not return.
        self.count_ejected(self.state.ejected());
    }

    pub(super) fn make<'a>(&'a self, limits: &'a Limits) -> Make<'a> {
        Make {
            context: &self.context,
            cluster: &self.me,
            service: &self.destination,
            server_name: &self.key().service,
            limits,
        }
    }

    /// Waits until the endpoints are known, or are known to be unknown.
    pub(crate) async fn ready(&self) -> Readiness {
        let Some(readiness) = self.readiness.get() else {
            return Readiness::Known;
        };
        let mut readiness = readiness.subscribe();
        let known = readiness.wait_for(|readiness| *readiness != Readiness::Resolving).await;
        known.map_or(Readiness::Known, |readiness| readiness.clone())
    }

    /// Whether requests need not wait for DNS.
    pub(crate) fn is_ready(&self) -> bool {
        let readiness = self.readiness.get();
        readiness.is_none_or(|readiness| *readiness.borrow() == Readiness::Known)
    }

    pub(super) fn identity_changed(&self) {
        let settings = self.state.settings();
        let make = self.make(&settings.limits);
        for endpoint in self.state.endpoints() {
            endpoint.attachment().identity_changed(make);
        }
    }

    /// A connection closed: requests that wait at other endpoints may have one now.
    ///
    /// Asked from under the lock of a pool, so the pools are told by a task.
    pub(super) fn connection_released(&self) {
        if self.state.settings().limits.connections.is_none() {
            return;
        }
        let me = self.me.clone();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let endpoints = me.upgrade().map(|cluster| cluster.state.endpoints());
                endpoints
                    .iter()
                    .flatten()
                    .for_each(|endpoint| endpoint.attachment().permit_released());
            });
        }
    }

    pub(super) fn sweep(&self) {
        for event in self.state.sweep(self.context.clock.now()) {
            self.observe(&event);
        }
        // Of two events at a time the older one may have been counted last.
        self.count_ejected(self.state.ejected());
        self.catch_up_with_identity();
        for endpoint in self.state.endpoints() {
            endpoint.attachment().end_expired(&self.context);
        }
    }

    /// An endpoint that was added during a rotation may have missed it.
    fn catch_up_with_identity(&self) {
        let Some(identity) = &self.context.identity else { return };
        let generation = identity.generation();
        let endpoints = self.state.endpoints();
        if endpoints
            .iter()
            .any(|endpoint| endpoint.attachment().is_behind(generation))
        {
            self.identity_changed();
        }
    }

    /// Tells logs and metrics of a change in health.
    pub(crate) fn observe(&self, event: &HealthEvent) {
        match event {
            HealthEvent::Ejected { .. } => {
                self.metrics.ejection();
                tracing::warn!(cluster = %self.name, "{event}");
            }
            _ => tracing::info!(cluster = %self.name, "{event}"),
        }
        self.count_ejected(self.state.ejected());
    }

    /// Tells the gauge by how much it has changed.
    fn count_ejected(&self, now: usize) {
        let before = self.ejected.swap(now, Relaxed);
        if before != now {
            self.metrics.ejected_changed(before, now);
        }
    }

    pub(super) fn describe(&self, now: Timestamp) -> Value {
        let stats = self.state.stats();
        let attachments = self.state.endpoints();
        let endpoints = stats.endpoints.iter().map(|endpoint| {
            let found = attachments.iter().find(|known| known.address() == endpoint.address);
            describe_endpoint(endpoint, found.map(|known| known.attachment()), now)
        });
        let key = self.key();
        json!({
            "service": &*key.service,
            "subset": key.subset.as_deref(),
            "port": key.port,
            "healthy": stats.healthy,
            "panic": stats.is_panicking,
            "requests": { "active": stats.requests.active, "limit": stats.requests.limit, "refused": stats.requests.refused },
            "connections": { "active": stats.connections.active, "limit": stats.connections.limit, "refused": stats.connections.refused },
            "pending": { "active": stats.pending.active, "limit": stats.pending.limit, "refused": stats.pending.refused },
            "retries": { "active": stats.retries.active, "limit": stats.retries.limit, "refused": stats.retries.refused },
            "retry_budget": self.state.budget().balance(now),
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    }
}

impl Drop for ClusterRuntime {
    fn drop(&mut self) {
        self.count_ejected(0);
    }
}

fn describe_endpoint(endpoint: &EndpointStats, attachment: Option<&Attachment>, now: Timestamp) -> Value {
    let returns_in = endpoint.ejected_until.map(|until| until.since(now).as_millis());
    json!({
        "address": endpoint.address.to_string(),
        "weight": endpoint.weight,
        "active": endpoint.active,
        "connections": attachment.map(Attachment::connections),
        "mtls": attachment.map(Attachment::is_mutual_tls),
        "peer": attachment.and_then(Attachment::peer).as_deref(),
        "ejected": endpoint.ejected_until.is_some(),
        "returns_in_ms": returns_in.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
        "ejections": endpoint.ejections,
        "consecutive_5xx": endpoint.consecutive_5xx,
        "consecutive_gateway_errors": endpoint.consecutive_gateway_errors,
    })
}

impl Discovery {
    /// Whether there is an endpoint to call, or nothing to wait for.
    fn is_known(&self) -> bool {
        let is_known =
            |endpoint: &ResolvedEndpoint| endpoint.name().is_none_or(|name| self.resolved.contains_key(name));
        self.listed.is_empty() || self.listed.iter().any(is_known)
    }

    /// Every address, with what the policy says of it; neighbours of whom it says the same share that.
    fn addresses(&self) -> Vec<(EndpointSpec, Arc<Label>)> {
        let mut addresses: Vec<(EndpointSpec, Arc<Label>)> = Vec::with_capacity(self.listed.len());
        for endpoint in &self.listed {
            let label = Label {
                tls: endpoint.tls.clone(),
                http: self.http,
                labels: Arc::clone(&endpoint.labels),
            };
            let label = match addresses.last() {
                Some((_, before)) if **before == label => Arc::clone(before),
                _ => Arc::new(label),
            };
            let ips: &[IpAddr] = match &endpoint.address {
                EndpointAddress::Ip(ip) => std::slice::from_ref(ip),
                EndpointAddress::Name(name) => self.resolved.get(name).map_or(&[], Vec::as_slice),
                _ => &[],
            };
            let specs = ips
                .iter()
                .map(|ip| EndpointSpec::new(SocketAddr::new(*ip, endpoint.port), endpoint.weight));
            addresses.extend(specs.map(|spec| (spec, Arc::clone(&label))));
        }
        addresses
    }
}
