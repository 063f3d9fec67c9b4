//! What is known of a connection that came in, and what follows from it for its requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use http::request::Parts;
use http::{HeaderValue, Version};
use hyper::body::Incoming;
use mesh_core::decide::authz::{Authorizer, Peer as AuthzPeer, PeerRules};
use mesh_core::policy::model::identity::MtlsMode;
use mesh_core::request::{Transport, is_grpc};
use mesh_core::snapshot::Snapshot;
use mesh_core::time::Timestamp;
use mesh_tls::clock::Clock as WallClock;
use mesh_tls::peer::PeerIdentity;
use mesh_tls::svid::{InDoubt, RevocationPolicy};
use mesh_tls::verify::PeerError;

use super::conduct::{self, Conduct};
use super::plaintext::Caller;
use super::running::{Running, Upgraded};
use crate::body::Body;
use crate::mesh::{Shared, tls_policy};
use crate::telemetry::metrics::{ConnectionGuard, EndReason, SecurityPolicy, SeriesGroup, Side};

/// How a connection is secured.
#[derive(Clone, Debug)]
pub(crate) enum Security {
    /// Plain text.
    Plain,
    /// A gateway's side towards the world: no identity.
    Web {
        /// Whether it is TLS.
        transport: Transport,
        /// The port as the policy numbers it, which need not be the one that was listened on.
        port: u16,
        /// The host that the client asked for (SNI).
        server_name: Option<Arc<str>>,
    },
    /// mTLS, and the host that the client asked for (SNI).
    Mutual(PeerIdentity, Option<Arc<str>>),
}

/// A connection that came in.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) security: Security,
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    /// How the peer behaves.
    pub(crate) conduct: Arc<Conduct>,
    /// Series of the requests of this peer.
    pub(crate) series: SeriesGroup,
    /// The caller, where it speaks plain text within the mesh.
    pub(super) plain: Option<Arc<Caller>>,
    /// The peer's certificate as `x-forwarded-client-cert` names it, once a policy wants it named.
    pub(super) client_cert: OnceLock<Option<HeaderValue>>,
    /// The trust that the peer was verified under, see [`trust`].
    verified: AtomicU64,
    /// Until when the peer's certificate is valid for sure, as nanoseconds of a [`Timestamp`]. The wall clock, which may be set, is
    /// read once in [`SURE`] and not for each request.
    sure_until: AtomicU64,
    /// When it was first seen that the peer is trusted no more.
    lost_trust: OnceLock<Timestamp>,
    /// The requests that turned the connection, or streams of it, over to another protocol.
    pub(super) upgraded: Upgraded,
    /// Requests that the policy wants judged again.
    pub(super) running: Mutex<Vec<Weak<Running>>>,
    /// Rules as far as the peer decides them; made anew when the policy changes.
    rules: ArcSwap<PeerRules>,
    /// Counts it as open; nothing where nobody has told us of a connection.
    open: Option<ConnectionGuard>,
}

/// Why requests of a connection are served no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    /// The peer's certificate has expired or is trusted no more.
    #[error("the peer is trusted no more: {0}")]
    NotTrusted(String),
    /// The peer's certificate is revoked.
    #[error("the peer is trusted no more: {0}")]
    Revoked(String),
    /// The port's mode is DISABLE by now, or that of a gateway is without TLS.
    #[error("the port takes plain text only")]
    PlainTextOnly,
    /// The port's mode is STRICT by now.
    #[error("the port takes mTLS only")]
    MutualTlsOnly,
    /// The gateway's port is TLS by now.
    #[error("the port takes TLS only")]
    TlsOnly,
    /// The rules deny what the connection was upgraded for.
    #[error("the rules deny the request that upgraded it")]
    Denied,
}

impl Ended {
    pub(super) const fn reason(&self) -> EndReason {
        match self {
            Self::NotTrusted(_) | Self::Revoked(_) => EndReason::NotTrusted,
            Self::PlainTextOnly | Self::MutualTlsOnly | Self::TlsOnly => EndReason::Mode,
            Self::Denied => EndReason::Denied,
        }
    }
}

impl Connection {
    /// A connection, counted as open for as long as it lives.
    pub(crate) fn new(shared: Arc<Shared>, security: Security, remote: SocketAddr, local: SocketAddr) -> Self {
        let open = Some(shared.metrics.connection(Side::Server));
        Self {
            open,
            ..Self::uncounted(shared, security, remote, local)
        }
    }

    fn uncounted(shared: Arc<Shared>, security: Security, remote: SocketAddr, local: SocketAddr) -> Self {
        let id = security.identity().map(|identity| identity.id().as_str());
        let authorizer = &shared.live.load_full().snapshot.inbound.authorizer;
        let rules = authorizer.for_peer(&authz_peer(&security, remote, local));
        let hurried = security.is_hurried().then_some(shared.settings.send_timeout);
        Self {
            conduct: Arc::new(Conduct::new(shared.clock, shared.metrics.clone(), hurried)),
            series: shared.served.group(id),
            plain: matches!(security, Security::Plain).then(|| shared.plain_text.caller(remote, local)),
            client_cert: OnceLock::new(),
            verified: AtomicU64::new(UNVERIFIED),
            sure_until: AtomicU64::new(0),
            lost_trust: OnceLock::new(),
            upgraded: Upgraded::default(),
            running: Mutex::default(),
            rules: ArcSwap::from_pointee(rules),
            open: None,
            security,
            remote,
            local,
            shared,
        }
    }

    /// Whether it is a connection, and does not stand for all that nobody has told us of.
    pub(super) const fn is_known(&self) -> bool {
        self.open.is_some()
    }

    /// What stands for the connection of requests that come from nobody knows where: plain text, from nowhere.
    pub(super) fn unknown(shared: &Arc<Shared>) -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self::uncounted(Arc::clone(shared), Security::Plain, nowhere, nowhere)
    }

    /// Notes that a handshake under this generation and policy has verified the peer.
    pub(crate) fn verified_under(self, generation: u64, policy: RevocationPolicy) -> Self {
        self.verified.store(trust(generation, policy), Ordering::Release);
        self
    }

    pub(crate) const fn transport(&self) -> Transport {
        match self.security {
            Security::Plain => Transport::Plain,
            Security::Web { transport, .. } => transport,
            Security::Mutual(..) => Transport::Tls,
        }
    }

    /// The time for the head of a request, and so for which an idle HTTP/1 connection is kept.
    pub(crate) fn head_limit(&self) -> Option<Duration> {
        let limit = self.shared.settings.header_timeout;
        self.security.is_hurried().then_some(limit)
    }

    /// The body of a request, at the pace that this peer has to keep.
    ///
    /// Calls of gRPC wait for messages as long as they like: a stream of theirs may be silent for hours.
    pub(crate) fn body(&self, head: &Parts, body: Incoming) -> Body {
        // Over HTTP/1 there is no gRPC, whatever the request says that it is.
        let is_call = || head.version == Version::HTTP_2 && is_grpc(&head.headers);
        if !self.security.is_hurried() || is_call() {
            return Body::from(body);
        }
        Body::paced(
            body,
            self.shared.settings.body_timeout,
            conduct::listener(&self.conduct),
        )
    }

    pub(crate) const fn security_policy(&self) -> SecurityPolicy {
        match self.security {
            Security::Mutual(..) => SecurityPolicy::MutualTls,
            Security::Plain | Security::Web { .. } => SecurityPolicy::None,
        }
    }

    /// The rules for this peer under the policy in force.
    pub(crate) fn rules(&self, authorizer: &Authorizer) -> Guard<Arc<PeerRules>> {
        let rules = self.rules.load();
        if rules.are_of(authorizer) {
            return rules;
        }
        let peer = authz_peer(&self.security, self.remote, self.local);
        let rules = Arc::new(authorizer.for_peer(&peer));
        self.rules.store(Arc::clone(&rules));
        Guard::from_inner(rules)
    }

    /// Whether the port would let it in now: by its mode, and by the trust in its peer. Cheap unless trust has changed.
    pub(crate) fn still_allowed(&self, snapshot: &Snapshot, now: Timestamp) -> Result<(), Ended> {
        let mode = || snapshot.inbound.mtls(self.local.port()).0;
        match self.security {
            Security::Web { transport, port, .. } => still_spoken(snapshot, transport, port),
            Security::Mutual(..) if mode() == MtlsMode::Disable => Err(Ended::PlainTextOnly),
            Security::Mutual(..) => self.still_trusted(snapshot, now),
            Security::Plain if mode() == MtlsMode::Strict => Err(Ended::MutualTlsOnly),
            Security::Plain => Ok(()),
        }
    }

    /// Whether a peer that is trusted no more may still send requests: as long as he may not have heard that the
    /// connection ends. Not for those who are revoked.
    pub(crate) fn is_draining(&self, snapshot: &Snapshot) -> bool {
        let now = self.shared.clock.now();
        now.since(*self.lost_trust.get_or_init(|| now)) < snapshot.mesh.live.drain
    }

    fn still_trusted(&self, snapshot: &Snapshot, now: Timestamp) -> Result<(), Ended> {
        let (Security::Mutual(peer, _), Some(own)) = (&self.security, &self.shared.identity) else {
            return Ok(());
        };
        let policy = tls_policy(&snapshot.mesh.tls).revocation;
        let known = trust(own.generation(), policy);
        if self.verified.load(Ordering::Acquire) == known && self.is_valid(peer, own.clock(), now) {
            return Ok(());
        }
        let current = own.current();
        peer.verify_again(&current.bundles().under(policy), current.clock())
            .map_err(|error| match error {
                PeerError::Revoked(_) => Ended::Revoked(error.to_string()),
                error => Ended::NotTrusted(error.to_string()),
            })?;
        let known = trust(current.generation(), policy);
        self.verified.store(known, Ordering::Release);
        Ok(())
    }

    /// Whether the peer's certificate has not expired.
    fn is_valid(&self, peer: &PeerIdentity, wall: &WallClock, now: Timestamp) -> bool {
        if now.as_nanos() < self.sure_until.load(Ordering::Relaxed) {
            return true;
        }
        let left = peer.not_after().duration_since(wall.now());
        let sure_until = now + left.as_ref().map_or(Duration::ZERO, |left| SURE.min(*left));
        self.sure_until.store(sure_until.as_nanos(), Ordering::Relaxed);
        left.is_ok()
    }
}

/// For how long one look at the wall clock does.
const SURE: Duration = Duration::from_secs(1);

/// No generation: they begin with 1.
const UNVERIFIED: u64 = 0;

/// Everything that trust in a peer depends on, but for time, as one number.
const fn trust(generation: u64, policy: RevocationPolicy) -> u64 {
    const fn bit(doubt: InDoubt) -> u64 {
        match doubt {
            InDoubt::Deny => 0,
            InDoubt::Allow => 1,
        }
    }
    generation << 2 | bit(policy.unknown) << 1 | bit(policy.expired)
}

impl Security {
    /// Whether time is limited for what the peer sends and takes.
    ///
    /// Not for peers that have proven who they are: closing their idle connections would race with their next request.
    const fn is_hurried(&self) -> bool {
        matches!(self, Self::Plain | Self::Web { .. })
    }

    pub(crate) const fn identity(&self) -> Option<&PeerIdentity> {
        match self {
            Self::Mutual(identity, _) => Some(identity),
            Self::Plain | Self::Web { .. } => None,
        }
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        match self {
            Self::Mutual(_, name) | Self::Web { server_name: name, .. } => name.as_deref(),
            Self::Plain => None,
        }
    }
}

/// Whether a gateway's port speaks as it did. One that is gone has no routes to give away: its requests get 404.
fn still_spoken(snapshot: &Snapshot, transport: Transport, port: u16) -> Result<(), Ended> {
    match (transport, snapshot.gateway_transport(port)) {
        (Transport::Plain, Some(Transport::Tls)) => Err(Ended::TlsOnly),
        (Transport::Tls, Some(Transport::Plain)) => Err(Ended::PlainTextOnly),
        _ => Ok(()),
    }
}

fn authz_peer(security: &Security, remote: SocketAddr, local: SocketAddr) -> AuthzPeer<'_> {
    let mut peer = AuthzPeer::new(security.identity().map(PeerIdentity::id), remote.ip(), local.port());
    // Port 0 stands for a listener that nobody has told us of.
    peer.local = Some(local.ip()).filter(|_| local.port() != 0);
    peer.server_name = security.server_name();
    peer
}
