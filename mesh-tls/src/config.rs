//! TLS configuration of both sides of a mesh connection: mutual, SPIFFE-verified, never resumed.
//!
//! | setting | value | reason |
//! |---|---|---|
//! | session resumption, tickets | off | rustls resumes without asking a verifier: a peer would outlive its denial and its certificate |
//! | early data (0-RTT) | off | it can be replayed |
//! | versions | TLS 1.3 and 1.2 | |
//! | cryptography | aws-lc-rs, passed explicitly | no process-wide state |
//!
//! The types here can only be made by these constructors. That a connection was accepted under a
//! [`ServerConfig`] or opened under a [`ClientConfig`] therefore proves who its peer is.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;

use crate::clock::Clock;
use crate::provider::provider;
use crate::svid::{OwnIdentityError, Svid, TrustBundles};
use crate::verify::{ExpectedPeer, SpiffeClientVerifier, SpiffeServerVerifier};

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
}

impl ServerConfig {
    /// Presents `svid`, accepts the workloads that `bundles` vouch for, agrees on the first of
    /// `alpn` that the client offers. A client that offers none is accepted; one that offers only
    /// others is refused.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where the cryptography provider lacks what TLS needs.
    pub fn mutual(svid: &Svid, bundles: &TrustBundles, alpn: &[Alpn], clock: &Clock) -> Result<Self, ConfigError> {
        let verifier = Arc::new(SpiffeClientVerifier::new(bundles.clone()));
        let resolver = Arc::new(SingleCertAndKey::from(svid.certified()));
        let inner = rustls::ServerConfig::builder_with_details(provider(), clock.provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver);
        Ok(Self {
            inner: Arc::new(without_resumption(inner, alpn)),
            own: Own::new(svid, clock),
        })
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
}

impl ClientConfig {
    /// Presents `svid`, accepts `expected` where `bundles` vouch for it, offers `alpn` in order of
    /// preference.
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
        let verifier = Arc::new(SpiffeServerVerifier::new(bundles.clone(), expected.clone()));
        let mut inner = rustls::ClientConfig::builder_with_details(provider(), clock.provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(svid.certified())));
        inner.alpn_protocols = names(alpn);
        inner.resumption = Resumption::disabled();
        inner.enable_early_data = false;
        Ok(Self {
            inner: Arc::new(inner),
            own: Own::new(svid, clock),
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
