//! TLS configuration of both sides of a mesh connection: mutual and SPIFFE-verified.
//!
//! | setting | value | reason |
//! |---|---|---|
//! | session resumption | off, or as [`TlsPolicy`] says | rustls resumes without asking a verifier: a peer would outlive its denial and its certificate |
//! | early data (0-RTT) | off | it can be replayed |
//! | versions | TLS 1.3 and 1.2 | |
//! | cryptography | aws-lc-rs, passed explicitly | no process-wide state |
//!
//! Where sessions are resumed, they are kept in this process's memory and die with the configuration, which is made
//! anew for each generation of identity and trust; and the peer of a resumed session is judged again, as in a whole
//! handshake: chain, role, validity, revocation and expected identity. What resumption saves are the signatures.
//!
//! The types here can only be made by these constructors. That a connection was accepted under a
//! [`ServerConfig`] or opened under a [`ClientConfig`] therefore proves who its peer is.

use std::sync::Arc;

use rustls::client::Resumption as ClientSessions;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::sign::SingleCertAndKey;

use crate::clock::Clock;
use crate::peer::PeerIdentity;
use crate::provider::provider;
use crate::svid::{OwnIdentityError, RevocationPolicy, Svid, TrustBundles};
use crate::verify::{ExpectedPeer, PeerError, SpiffeClientVerifier, SpiffeServerVerifier};

/// Sessions that one configuration keeps. They are small, and a client has one or two with each server.
const SESSIONS: usize = 1024;

/// Tickets that a server hands out with each whole handshake: a ticket is used once (RFC 8446 section C.4).
const TICKETS: usize = 2;

/// An application protocol that is agreed upon in the handshake (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Alpn {
    /// HTTP/2: `h2`.
    H2,
    /// HTTP/1.1: `http/1.1`.
    Http1,
}

impl Alpn {
    /// The protocol's registered name.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::H2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }

    pub(crate) fn from_bytes(name: &[u8]) -> Option<Self> {
        [Self::H2, Self::Http1].into_iter().find(|alpn| alpn.as_bytes() == name)
    }
}

/// Whether TLS sessions are resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "they are or they are not")]
pub enum Resumption {
    /// Each handshake is a whole one.
    #[default]
    Off,
    /// Sessions of the same configuration are, and the peer is judged again.
    On,
}

/// What may be chosen about TLS within the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct TlsPolicy {
    /// Whether sessions are resumed. Default: off.
    pub resumption: Resumption,
    /// What becomes of certificates whose revocation is in doubt. Default: they are refused.
    pub revocation: RevocationPolicy,
}

impl TlsPolicy {
    /// Both.
    #[must_use]
    pub const fn new(resumption: Resumption, revocation: RevocationPolicy) -> Self {
        Self { resumption, revocation }
    }
}

pub(crate) fn names(alpn: &[Alpn]) -> Vec<Vec<u8>> {
    alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect()
}

/// Why a configuration could not be built; a bug in the cryptography provider, not in a policy.
#[derive(Clone, Debug, thiserror::Error)]
#[error("TLS configuration cannot be built: {0}")]
pub struct ConfigError(#[from] pub(crate) rustls::Error);

/// How a mesh server accepts connections: it presents an SVID and demands one.
#[derive(Debug)]
pub struct ServerConfig {
    inner: Arc<rustls::ServerConfig>,
    own: Own,
    bundles: TrustBundles,
}

impl ServerConfig {
    /// Presents `svid`, accepts the workloads that `bundles` vouch for, agrees on the first of
    /// `alpn` that the client offers. A client that offers none is accepted; one that offers only
    /// others is refused. Each handshake is a whole one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where the cryptography provider lacks what TLS needs.
    pub fn mutual(svid: &Svid, bundles: &TrustBundles, alpn: &[Alpn], clock: &Clock) -> Result<Self, ConfigError> {
        Self::with_sessions(svid, bundles, (alpn, Resumption::Off), clock)
    }

    pub(crate) fn with_sessions(
        svid: &Svid,
        bundles: &TrustBundles,
        (alpn, resumption): (&[Alpn], Resumption),
        clock: &Clock,
    ) -> Result<Self, ConfigError> {
        let verifier = Arc::new(SpiffeClientVerifier::new(bundles.clone()));
        let resolver = Arc::new(SingleCertAndKey::from(svid.certified()));
        let inner = rustls::ServerConfig::builder_with_details(provider(), clock.provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver);
        let mut inner = without_resumption(inner, alpn);
        if resumption == Resumption::On {
            inner.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            inner.send_tls13_tickets = TICKETS;
        }
        Ok(Self {
            inner: Arc::new(inner),
            own: Own::new(svid, clock),
            bundles: bundles.clone(),
        })
    }

    /// Judges the client of a resumed session, whom rustls has not asked the verifier about.
    pub(crate) fn judge(&self, peer: &PeerIdentity) -> Result<(), PeerError> {
        peer.verify_again(&self.bundles, &self.own.clock)
    }

    pub(crate) fn inner(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.inner)
    }

    /// This configuration with rustls's settings replaced, to show what they are for.
    #[cfg(test)]
    pub(crate) fn with_inner_for_test(&self, inner: rustls::ServerConfig) -> Self {
        Self {
            inner: Arc::new(inner),
            own: self.own.clone(),
            bundles: self.bundles.clone(),
        }
    }

    pub(crate) fn own(&self) -> &Own {
        &self.own
    }
}

/// How a mesh client opens connections: it presents an SVID and expects a certain peer.
#[derive(Debug)]
pub struct ClientConfig {
    inner: Arc<rustls::ClientConfig>,
    own: Own,
    bundles: TrustBundles,
    expected: ExpectedPeer,
}

impl ClientConfig {
    /// Presents `svid`, accepts `expected` where `bundles` vouch for it, offers `alpn` in order of
    /// preference. Each handshake is a whole one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where the cryptography provider lacks what TLS needs.
    pub fn mutual(
        svid: &Svid,
        bundles: &TrustBundles,
        expected: &ExpectedPeer,
        alpn: &[Alpn],
        clock: &Clock,
    ) -> Result<Self, ConfigError> {
        Self::with_sessions(svid, bundles, expected, (alpn, Resumption::Off), clock)
    }

    pub(crate) fn with_sessions(
        svid: &Svid,
        bundles: &TrustBundles,
        expected: &ExpectedPeer,
        (alpn, resumption): (&[Alpn], Resumption),
        clock: &Clock,
    ) -> Result<Self, ConfigError> {
        let verifier = Arc::new(SpiffeServerVerifier::new(bundles.clone(), expected.clone()));
        let mut inner = rustls::ClientConfig::builder_with_details(provider(), clock.provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(svid.certified())));
        inner.alpn_protocols = names(alpn);
        inner.resumption = match resumption {
            Resumption::Off => ClientSessions::disabled(),
            Resumption::On => ClientSessions::in_memory_sessions(SESSIONS),
        };
        inner.enable_early_data = false;
        Ok(Self {
            inner: Arc::new(inner),
            own: Own::new(svid, clock),
            bundles: bundles.clone(),
            expected: expected.clone(),
        })
    }

    /// Judges a server anew, as a handshake with it under this configuration would now.
    ///
    /// For the server of a resumed session, about whom rustls has not asked the verifier, and for connections that
    /// live on while trust or the expected identity changes.
    ///
    /// # Errors
    ///
    /// [`PeerError`] where a handshake would be refused now.
    pub fn judge(&self, peer: &PeerIdentity) -> Result<(), PeerError> {
        peer.verify_again(&self.bundles, &self.own.clock)?;
        if self.expected.accepts(peer.id()) {
            return Ok(());
        }
        Err(PeerError::Unexpected {
            found: peer.id().clone(),
            expected: self.expected.clone(),
        })
    }

    pub(crate) fn inner(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.inner)
    }

    pub(crate) fn own(&self) -> &Own {
        &self.own
    }
}

/// The settings that every server of this crate has.
pub(crate) fn without_resumption(mut config: rustls::ServerConfig, alpn: &[Alpn]) -> rustls::ServerConfig {
    config.alpn_protocols = names(alpn);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

/// What a handshake must know of the identity that this process presents in it.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    svid: Svid,
    clock: Clock,
}

impl Own {
    fn new(svid: &Svid, clock: &Clock) -> Self {
        Self {
            svid: svid.clone(),
            clock: clock.clone(),
        }
    }

    /// Fails closed, and on the right side, where no new certificate came in time.
    pub(crate) fn check(&self) -> Result<(), OwnIdentityError> {
        self.svid.check_time(&self.clock)
    }
}
