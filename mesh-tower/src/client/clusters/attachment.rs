//! What hangs on each endpoint: its connections and its metric series.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use arc_swap::ArcSwap;
use http::Version;
use mesh_core::decide::cluster::{HostConnections, Permit};
use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_core::policy::model::Labels;
use mesh_core::policy::model::traffic::Limits;
use mesh_core::snapshot::{EndpointTls, HttpVersion};
use mesh_tls::config::Alpn;
use mesh_tls::peer::PeerIdentity;
use mesh_tls::source::IdentitySource;
use mesh_tls::verify::ExpectedPeer;

use super::Context;
use super::runtime::ClusterRuntime;
use crate::client::connect::{self, ConnectError, ConnectOptions, Keepalive, Peer, TlsTarget};
use crate::client::pool::{self, ConnectionPermits, Http2Keepalive, Pool, PoolConfig};
use crate::telemetry::metrics::{Destination, EndReason, Party, Reporter, RequestRecord, SeriesGroup, Side};

/// What a policy says of an endpoint beside its address.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Label {
    pub(super) tls: EndpointTls,
    pub(super) http: HttpVersion,
    pub(super) labels: Arc<Labels>,
}

impl Label {
    /// Whether a request of this version travels, or may travel, by HTTP/2.
    fn speaks_http2(&self, version: Version) -> bool {
        match self.http {
            HttpVersion::Http1 => false,
            HttpVersion::Http2 => true,
            _ => self.tls != EndpointTls::Plain || version == Version::HTTP_2,
        }
    }
}

/// How a request gets to an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) pool: Pool,
    /// Whether it travels, or may travel, by HTTP/2.
    pub(crate) speaks_http2: bool,
}

/// Why an endpoint cannot be connected to at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPool {
    #[error("the policy asks for mTLS, and this process has no identity")]
    NoIdentity,
    #[error("TLS cannot be configured: {0}")]
    Tls(String),
}

/// Connections and series of one endpoint.
#[derive(Debug)]
pub(crate) struct Attachment {
    pools: ArcSwap<Pools>,
    /// Under what the policy first said of the endpoint, which mostly is all that it ever says.
    first_series: SeriesGroup,
    /// Once that has changed.
    series: OnceLock<ArcSwap<SeriesGroup>>,
    /// The generation of the identity that new connections use.
    identity: AtomicU64,
    /// Held while pools are made or changed, so that what was read last is what stays.
    turn: Mutex<()>,
}

/// The connections as the policy in force wants them. Of many endpoints, few are called: pools are made with their first use.
#[derive(Debug)]
struct Pools {
    label: Arc<Label>,
    main: OnceLock<Pool>,
    /// HTTP/2 in plain text, for requests that are HTTP/2 where the policy leaves the version open.
    http2: OnceLock<Pool>,
}

/// What a pool is made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Make<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) cluster: &'a Weak<ClusterRuntime>,
    pub(super) service: &'a Destination,
    pub(super) server_name: &'a str,
    pub(super) limits: &'a Limits,
}

impl Attachment {
    pub(super) fn new(make: Make<'_>, label: Arc<Label>) -> Self {
        Self {
            first_series: series(make, &label),
            series: OnceLock::new(),
            identity: AtomicU64::default(),
            pools: ArcSwap::from_pointee(Pools::new(label)),
            turn: Mutex::default(),
        }
    }

    /// Follows the policy: connections stay wherever what they were opened for stays the same.
    pub(super) fn update(&self, make: Make<'_>, label: Arc<Label>) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = self.pools.load();
        if pools.label == label {
            return pools.configure(make.limits);
        }
        self.count_under(series(make, &label));
        let is_same_peer = pools.label.tls == label.tls;
        if is_same_peer && pools.label.http == label.http {
            pools.configure(make.limits);
            return self.pools.store(Arc::new(pools.under(label)));
        }
        let ends = !is_same_peer && pools.is_used();
        let expected = ends.then(|| tls_target(make, &label));
        // The last use of the old ones closes their connections.
        self.pools.store(Arc::new(Pools::new(label)));
        if let Some(expected) = expected {
            // Handshakes that are under way are judged by what is expected now.
            if let Ok(Some(tls)) = expected {
                pools.each(|pool| _ = pool.set_tls(&tls.config));
            }
            pools.each(|pool| end(make.context, EndReason::Identity, pool, |_| true));
        }
    }

    /// The way for a request of this version to the endpoint, which is one of `cluster`.
    pub(crate) fn way(&self, version: Version, of: (&ClusterRuntime, SocketAddr)) -> Result<Way, NoPool> {
        let pools = self.pools.load();
        match pools.place(version).0.get() {
            Some(pool) => Ok(pools.way(pool, version)),
            None => self.first_way(version, of),
        }
    }

    #[cold]
    #[inline(never)]
    fn first_way(&self, version: Version, (cluster, address): (&ClusterRuntime, SocketAddr)) -> Result<Way, NoPool> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // ORDER: all of it is read in turn, so that whatever changes it is in force, or finds the pool.
        let (pools, settings) = (self.pools.load(), cluster.state.settings());
        let make = cluster.make(&settings.limits);
        if !pools.is_used() {
            // Read before the pool is made: at worst it is looked at once too often.
            self.identity.store(generation(make.context), Ordering::Relaxed);
        }
        let (place, http) = pools.place(version);
        if let Some(pool) = place.get() {
            return Ok(pools.way(pool, version));
        }
        let tls = tls_target(make, &pools.label)?;
        let config = config(make.limits, http);
        let permits = Permits(Weak::clone(make.cluster));
        let pool = place.get_or_init(|| Pool::new(address, tls, config, permits));
        Ok(pools.way(pool, version))
    }

    /// Counts a request that the endpoint has had, under what the policy says of it by now.
    pub(crate) fn record(&self, request: &RequestRecord) {
        match self.series.get() {
            None => self.first_series.record(request),
            Some(series) => series.load().record(request),
        }
    }

    fn count_under(&self, series: SeriesGroup) {
        let series = Arc::new(series);
        let now = self.series.get_or_init(|| ArcSwap::new(Arc::clone(&series)));
        now.store(series);
    }

    /// Uses the identity in force for new connections, and ends those to peers that are trusted no more.
    pub(super) fn identity_changed(&self, make: Make<'_>) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = self.pools.load();
        let (Some(pool), Some(identity)) = (pools.main.get(), &make.context.identity) else {
            return;
        };
        let current = identity.current();
        self.identity.store(current.generation(), Ordering::Relaxed);
        if let Ok(tls) = tls_target(make, &pools.label) {
            let _ = tls.is_some_and(|tls| pool.set_tls(&tls.config));
        }
        let bundles = current.bundles().under(make.context.trust.load().tls.revocation);
        let is_refused = |peer: &PeerIdentity| peer.verify_again(&bundles, current.clock()).is_err();
        end(make.context, EndReason::NotTrusted, pool, |peer| {
            peer.identity.as_ref().is_some_and(is_refused)
        });
    }

    /// Ends connections to peers whose certificate has expired.
    pub(super) fn end_expired(&self, context: &Context) {
        let pools = self.pools.load();
        if let (Some(pool), Some(identity), true) = (pools.main.get(), &context.identity, self.is_mutual_tls()) {
            let now = identity.current().clock().now();
            let is_over = |peer: &PeerIdentity| peer.not_after() < now;
            end(context, EndReason::NotTrusted, pool, |peer| {
                peer.identity.as_ref().is_some_and(is_over)
            });
        }
    }

    /// Whether new connections would use an older identity than this one.
    pub(super) fn is_behind(&self, generation: u64) -> bool {
        let pools = self.pools.load();
        let is_made = pools.main.get().is_some();
        is_made && pools.label.tls != EndpointTls::Plain && self.identity.load(Ordering::Relaxed) < generation
    }

    pub(super) fn permit_released(&self) {
        self.pools.load().each(Pool::permit_released);
    }

    /// Open connections.
    pub(super) fn connections(&self) -> usize {
        let mut open = 0;
        self.pools.load().each(|pool| open += pool.stats().open);
        open
    }

    /// The proven identity of the peer that answered the newest handshake.
    pub(crate) fn peer(&self) -> Option<Arc<str>> {
        let pools = self.pools.load();
        let peer = pools.main.get()?.newest_peer()?;
        peer.identity.as_ref().map(|identity| identity.id().as_str().into())
    }

    /// Whether connections are mTLS.
    pub(crate) fn is_mutual_tls(&self) -> bool {
        self.pools.load().label.tls != EndpointTls::Plain
    }
}

impl Pools {
    const fn new(label: Arc<Label>) -> Self {
        Self {
            label,
            main: OnceLock::new(),
            http2: OnceLock::new(),
        }
    }

    /// The same connections to an endpoint of which the policy says something else.
    fn under(&self, label: Arc<Label>) -> Self {
        Self {
            label,
            main: self.main.clone(),
            http2: self.http2.clone(),
        }
    }

    /// Where connections for requests of this version are kept, and what they speak.
    fn place(&self, version: Version) -> (&OnceLock<Pool>, HttpVersion) {
        let is_open = self.label.http == HttpVersion::Negotiate && self.label.tls == EndpointTls::Plain;
        match version {
            Version::HTTP_2 if is_open => (&self.http2, HttpVersion::Http2),
            _ => (&self.main, self.label.http),
        }
    }

    /// The way by one of these pools.
    fn way(&self, pool: &Pool, version: Version) -> Way {
        Way {
            pool: pool.clone(),
            speaks_http2: self.label.speaks_http2(version),
        }
    }

    fn is_used(&self) -> bool {
        self.main.get().or_else(|| self.http2.get()).is_some()
    }

    fn configure(&self, limits: &Limits) {
        if let Some(pool) = self.main.get() {
            pool.configure(config(limits, self.label.http));
        }
        if let Some(pool) = self.http2.get() {
            pool.configure(config(limits, HttpVersion::Http2));
        }
    }

    fn each(&self, mut act: impl FnMut(&Pool)) {
        self.main.get().into_iter().chain(self.http2.get()).for_each(&mut act);
    }
}

/// Ends the connections to the peers that `choose` names, within the policy's time.
fn end(context: &Context, reason: EndReason, pool: &Pool, choose: impl Fn(&Peer) -> bool) {
    let ended = pool.end_within(context.trust.load().drain, choose);
    for _ in 0..ended {
        context.metrics.ended(Side::Client, reason);
    }
    if ended > 0 {
        tracing::info!(address = %pool.address(), ended, ?reason, "connections end: policy or trust has changed");
    }
}

/// That of the identity in force; 0 without one.
fn generation(context: &Context) -> u64 {
    context.identity.as_ref().map_or(0, IdentitySource::generation)
}

fn tls_target(make: Make<'_>, label: &Label) -> Result<Option<TlsTarget>, NoPool> {
    let ids = match &label.tls {
        EndpointTls::Plain => return Ok(None),
        EndpointTls::Mutual(ids) => ids,
        // A policy that asks for it is refused before; plain text would betray what it asks for.
        _ => {
            return Err(NoPool::Tls(
                "TLS to servers outside of the mesh is not yet in force".into(),
            ));
        }
    };
    let identity = make.context.identity.as_ref().ok_or(NoPool::NoIdentity)?.current();
    let expected = expected(ids, identity.svid().id().trust_domain());
    let policy = make.context.trust.load().tls;
    let config = identity.client_config_under(policy, &expected, alpn(label.http));
    Ok(Some(TlsTarget {
        config: config.map_err(|error| NoPool::Tls(error.to_string()))?,
        server_name: make.server_name.to_owned(),
    }))
}

fn expected(ids: &[SpiffeId], own: &TrustDomain) -> ExpectedPeer {
    if ids.is_empty() {
        ExpectedPeer::any_in(own.clone())
    } else {
        ExpectedPeer::one_of(ids.iter().cloned())
    }
}

const fn alpn(http: HttpVersion) -> &'static [Alpn] {
    match http {
        HttpVersion::Http1 => &[Alpn::Http1],
        HttpVersion::Http2 => &[Alpn::H2],
        _ => &[Alpn::H2, Alpn::Http1],
    }
}

fn config(limits: &Limits, http: HttpVersion) -> PoolConfig {
    PoolConfig {
        version: match http {
            HttpVersion::Http1 => connect::HttpVersion::Http1,
            HttpVersion::Http2 => connect::HttpVersion::Http2PriorKnowledge,
            _ => connect::HttpVersion::Auto,
        },
        connect: ConnectOptions {
            timeout: limits.connect_timeout,
            keepalive: limits.tcp_keepalive.map(|keepalive| Keepalive {
                time: keepalive.time,
                interval: keepalive.interval,
                probes: keepalive.probes,
            }),
        },
        http2_keepalive: limits
            .http2_keepalive
            .map(|(interval, timeout)| Http2Keepalive { interval, timeout }),
        max_requests_per_connection: limits.requests_per_connection.and_then(NonZeroU32::new),
        max_concurrent_streams: limits.streams_per_connection.and_then(NonZeroU32::new),
        idle_timeout: limits.idle_timeout,
        max_connection_duration: limits.connection_age,
        ..PoolConfig::default()
    }
}

fn series(make: Make<'_>, label: &Label) -> SeriesGroup {
    let metrics = &make.context.metrics;
    metrics.group(Reporter::Source, &make.context.us, &party(label), make.service)
}

/// The endpoint in labels of metrics: what the policy says of it, and the identity that it must prove.
fn party(label: &Label) -> Party {
    match &label.tls {
        EndpointTls::Mutual(ids) => match &**ids {
            [id] => Party::of_peer(id.as_str()),
            _ => Party::unknown(),
        },
        _ => Party::unknown(),
    }
    .with_labels(&label.labels)
}

/// The limits of a cluster, as its pools ask for them.
#[derive(Debug)]
struct Permits(Weak<ClusterRuntime>);

impl Permits {
    fn connect(&self, host: HostConnections) -> Option<Released> {
        let Some(cluster) = self.0.upgrade() else {
            // The policy dropped the cluster: what is under way may still finish.
            return Some(Released::default());
        };
        let permit = cluster.state.try_connect(host)?;
        Some(Released {
            permit: Some(permit),
            cluster: self.0.clone(),
        })
    }
}

impl ConnectionPermits for Permits {
    type Permit = Released;
    type Pending = Option<Permit>;

    fn try_connect(&self) -> Option<Released> {
        self.connect(HostConnections::Some)
    }

    fn connect_first(&self) -> Option<Released> {
        self.connect(HostConnections::None)
    }

    fn try_pending(&self) -> Option<Option<Permit>> {
        match self.0.upgrade() {
            Some(cluster) => cluster.state.try_pending().map(Some),
            None => Some(None),
        }
    }

    fn opened(&self, peer: &Peer) -> Option<pool::Permit> {
        let cluster = self.0.upgrade()?;
        if peer.identity.is_some() {
            cluster.handshakes().succeeded(peer.identity.as_ref());
        }
        Some(Box::new(cluster.metrics_of_all().connection(Side::Client)))
    }

    fn failed(&self, error: &ConnectError) {
        if let (Some(cluster), ConnectError::Tls { address, source }) = (self.0.upgrade(), error) {
            cluster.handshakes().failed(*address, source);
        }
    }
}

/// A place for a connection; tells the cluster's other endpoints when it is free again.
#[derive(Debug, Default)]
struct Released {
    permit: Option<Permit>,
    cluster: Weak<ClusterRuntime>,
}

impl Drop for Released {
    fn drop(&mut self) {
        drop(self.permit.take());
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.connection_released();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesh_core::policy::Loaded;

    use super::*;

    #[test]
    fn limits_and_probes_of_a_policy_reach_the_pool() {
        let text = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: orders }\nspec:\n  host: orders\n  trafficPolicy:\n    connectionPool:\n      tcp: { connectTimeout: 2s, tcpKeepalive: { time: 7s, interval: 3s, probes: 4 } }\n      http: { http2KeepAlive: { interval: 20s, timeout: 5s } }\n";
        let loaded = Loaded::from_files([("orders.yaml", text)]).in_force();
        let policy = loaded
            .policy
            .unwrap_or_else(|| panic!("{:?}", loaded.report.lines(&loaded.sources)));
        let limits = policy.destinations[0].traffic.limits.clone().unwrap();

        let config = config(&limits, HttpVersion::Negotiate);

        assert_eq!(
            config.connect.keepalive,
            Some(Keepalive {
                time: Some(Duration::from_secs(7)),
                interval: Some(Duration::from_secs(3)),
                probes: Some(4),
            })
        );
        assert_eq!(
            config.http2_keepalive,
            Some(Http2Keepalive {
                interval: Duration::from_secs(20),
                timeout: Duration::from_secs(5),
            })
        );
        assert_eq!(config.connect.timeout, Duration::from_secs(2));
    }
}
