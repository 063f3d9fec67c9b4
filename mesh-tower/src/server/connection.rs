//! What is known of a connection that came in, and what follows from it for its requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use hyper::body::Incoming;
use mesh_core::decide::authz::{Authorizer, Peer as AuthzPeer, PeerRules};
use mesh_core::request::{Transport, is_grpc};
use mesh_tls::peer::PeerIdentity;

use super::conduct::{self, Conduct};
use crate::body::Body;
use crate::mesh::Shared;
use crate::telemetry::metrics::{ConnectionGuard, SecurityPolicy, SeriesGroup, Side};

/// How a connection is secured.
#[derive(Clone, Debug)]
pub(crate) enum Security {
    /// Plain text.
    Plain,
    /// A gateway's side towards the world: no identity.
    Web {
        /// Whether it is TLS.
        transport: Transport,
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
    /// The generation of trust that the peer was verified under.
    verified: AtomicU64,
    /// Rules as far as the peer decides them; made anew when the policy changes.
    rules: ArcSwap<PeerRules>,
    _open: ConnectionGuard,
}

/// Why requests of a connection are served no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    /// The peer's certificate has expired or is trusted no more.
    #[error("the peer is trusted no more: {0}")]
    NotTrusted(String),
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, security: Security, remote: SocketAddr, local: SocketAddr) -> Self {
        let id = security.identity().map(|identity| identity.id().as_str());
        let authorizer = &shared.live.load_full().snapshot.inbound.authorizer;
        let rules = authorizer.for_peer(&authz_peer(&security, remote, local));
        let hurried = security.is_hurried().then_some(shared.settings.send_timeout);
        Self {
            conduct: Arc::new(Conduct::new(shared.clock, shared.metrics.clone(), hurried)),
            series: shared.served.group(id),
            verified: AtomicU64::new(shared.identity.as_ref().map_or(0, |own| own.generation())),
            rules: ArcSwap::from_pointee(rules),
            _open: shared.metrics.connection(Side::Server),
            security,
            remote,
            local,
            shared,
        }
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
    pub(crate) fn body(&self, headers: &HeaderMap, body: Incoming) -> Body {
        if !self.security.is_hurried() || is_grpc(headers) {
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
    pub(crate) fn rules(&self, authorizer: &Authorizer) -> Arc<PeerRules> {
        let rules = self.rules.load_full();
        if rules.are_of(authorizer) {
            return rules;
        }
        let peer = authz_peer(&self.security, self.remote, self.local);
        let rules = Arc::new(authorizer.for_peer(&peer));
        self.rules.store(Arc::clone(&rules));
        rules
    }

    /// Whether the peer is still who it was, and still trusted. Cheap unless trust has changed.
    pub(crate) fn still_trusted(&self) -> Result<(), Ended> {
        let (Security::Mutual(peer, _), Some(own)) = (&self.security, &self.shared.identity) else {
            return Ok(());
        };
        let generation = own.generation();
        let current = || own.current();
        if self.verified.load(Ordering::Acquire) == generation && peer.not_after() >= current().clock().now() {
            return Ok(());
        }
        let identity = current();
        peer.verify_again(identity.bundles(), identity.clock())
            .map_err(|error| Ended::NotTrusted(error.to_string()))?;
        self.verified.store(generation, Ordering::Release);
        Ok(())
    }
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

    fn server_name(&self) -> Option<&str> {
        match self {
            Self::Mutual(_, name) | Self::Web { server_name: name, .. } => name.as_deref(),
            Self::Plain => None,
        }
    }
}

fn authz_peer(security: &Security, remote: SocketAddr, local: SocketAddr) -> AuthzPeer<'_> {
    let mut peer = AuthzPeer::new(security.identity().map(PeerIdentity::id), remote.ip(), local.port());
    // Port 0 stands for a listener that nobody has told us of.
    peer.local = Some(local.ip()).filter(|_| local.port() != 0);
    peer.server_name = security.server_name();
    peer
}
