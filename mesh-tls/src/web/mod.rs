//! Ordinary web TLS, for the edge of the mesh: certificates for host names, no identity.
//!
//! An ingress gateway serves browsers with [`WebServerConfig`] and [`accept_web`]; a client that
//! leaves the mesh uses [`WebClientConfig`] and [`connect_web`], which check the host name. Neither
//! yields a [`PeerIdentity`](crate::peer::PeerIdentity). As within the mesh, nothing is resumed.

mod credential;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::{Resumption, ServerCertVerifierBuilder, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

pub use self::credential::{CredentialError, CredentialFiles, WebCredential};
use crate::clock::Clock;
use crate::config::{Alpn, ConfigError, names, without_resumption};
use crate::handshake::{HandshakeError, parse_server_name, within};
use crate::provider::provider;
use crate::svid::{BundleError, InDoubt, RevocationError, RevocationList, RevocationPolicy};

/// The host names that a certificate serves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPattern {
    /// Every name, and clients that send none.
    Any,
    /// One name, in lower case.
    Exact(String),
    /// Names under this one, at any depth; the name itself is not among them.
    Under(String),
}

impl HostPattern {
    /// Reads `*`, `*.example.com` or `shop.example.com`; case does not matter. `None` for anything
    /// that no client can ask for, such as a name with a final dot (RFC 6066, 3).
    #[must_use]
    pub fn parse(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let (name, pattern): (&str, fn(String) -> Self) = match host.strip_prefix("*.") {
            _ if host == "*" => return Some(Self::Any),
            Some(parent) => (parent, Self::Under),
            None => (&host, Self::Exact),
        };
        let valid = !name.ends_with('.') && DnsName::try_from(name).is_ok();
        valid.then(|| pattern(name.to_owned()))
    }

    /// How well it fits the name that a client sent, in lower case; `None` where it does not.
    fn fit(&self, name: Option<&str>) -> Option<usize> {
        match (self, name) {
            (Self::Any, _) => Some(0),
            (Self::Exact(host), Some(name)) => (host == name).then_some(usize::MAX),
            (Self::Under(parent), Some(name)) => {
                let label = name.strip_suffix(parent.as_str())?.strip_suffix('.')?;
                (!label.is_empty()).then_some(parent.len())
            }
            (Self::Exact(_) | Self::Under(_), None) => None,
        }
    }
}

/// How a gateway accepts connections from outside: it presents a certificate and asks for none.
pub struct WebServerConfig {
    inner: Arc<rustls::ServerConfig>,
}

impl WebServerConfig {
    /// Serves every name with one certificate chain (leaf first) and key, both PEM.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] where they are damaged or do not belong together.
    pub fn simple(chain: &[u8], key: &[u8], alpn: &[Alpn]) -> Result<Self, CredentialError> {
        let credential = WebCredential::from_pem(chain, key)?;
        Ok(Self::by_host([(HostPattern::Any, credential)], alpn)?)
    }

    /// Serves each name with the credential of the pattern that fits it best: exact before
    /// wildcard, longer wildcard before shorter, the first of equals. A name that fits none is
    /// refused in the handshake.
    ///
    /// A credential that is replaced later is used from the next handshake on.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where the cryptography provider lacks what TLS needs.
    pub fn by_host(
        hosts: impl IntoIterator<Item = (HostPattern, WebCredential)>,
        alpn: &[Alpn],
    ) -> Result<Self, ConfigError> {
        let resolver = HostResolver(hosts.into_iter().collect());
        let inner = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        Ok(Self {
            inner: Arc::new(without_resumption(inner, alpn)),
        })
    }
}

impl fmt::Debug for WebServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebServerConfig").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct HostResolver(Vec<(HostPattern, WebCredential)>);

impl HostResolver {
    fn credential(&self, name: Option<&str>) -> Option<&WebCredential> {
        let name = name.map(str::to_ascii_lowercase);
        let fits = |(pattern, credential)| Some((HostPattern::fit(pattern, name.as_deref())?, credential));
        // `max_by_key` takes the last of equals, so the order is turned.
        let best = self
            .0
            .iter()
            .rev()
            .filter_map(|(p, c)| fits((p, c)))
            .max_by_key(|(fit, _)| *fit);
        best.map(|(_, credential)| credential)
    }
}

impl ResolvesServerCert for HostResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.credential(hello.server_name()).map(WebCredential::current)
    }
}

/// How a client opens connections to servers outside of the mesh.
#[derive(Debug)]
pub struct WebClientConfig {
    inner: Arc<rustls::ClientConfig>,
}

impl WebClientConfig {
    /// Trusts the authorities in a PEM text for the host name that is called.
    ///
    /// # Errors
    ///
    /// [`WebClientError`] where the text holds no usable authority.
    pub fn with_roots(roots: &[u8], alpn: &[Alpn], clock: &Clock) -> Result<Self, WebClientError> {
        Self::trusting(root_store(roots)?, alpn, clock)
    }

    fn trusting(roots: RootCertStore, alpn: &[Alpn], clock: &Clock) -> Result<Self, WebClientError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider());
        Self::verifying(verifier, alpn, clock)
    }

    /// The same, refusing servers that one of `lists` (PEM, or one list in DER) revokes; `policy` says what becomes of
    /// those whose revocation is in doubt.
    ///
    /// # Errors
    ///
    /// [`WebClientError`] where a text holds no usable authority, or no usable list.
    pub fn with_revocations(
        (roots, lists): (&[u8], &[u8]),
        policy: RevocationPolicy,
        alpn: &[Alpn],
        clock: &Clock,
    ) -> Result<Self, WebClientError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(root_store(roots)?.into(), provider());
        let mut verifier = verifier.with_crls(RevocationList::texts(lists)?);
        if policy.unknown == InDoubt::Allow {
            verifier = verifier.allow_unknown_revocation_status();
        }
        if policy.expired == InDoubt::Deny {
            verifier = verifier.enforce_revocation_expiration();
        }
        Self::verifying(verifier, alpn, clock)
    }

    fn verifying(verifier: ServerCertVerifierBuilder, alpn: &[Alpn], clock: &Clock) -> Result<Self, WebClientError> {
        // Roots and lists are read before, so that nothing is left to go wrong.
        let verifier = verifier.build().map_err(|_| BundleError::NoCertificate)?;
        let mut inner = rustls::ClientConfig::builder_with_details(provider(), clock.provider())
            .with_safe_default_protocol_versions()
            .map_err(ConfigError::from)?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        inner.alpn_protocols = names(alpn);
        inner.resumption = Resumption::disabled();
        inner.enable_early_data = false;
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl WebClientConfig {
    /// Trusts the authorities of the machine (`SSL_CERT_FILE` names others) for the host name that is called.
    ///
    /// Reads files: call it off the runtime's threads.
    ///
    /// # Errors
    ///
    /// [`WebClientError`] where the machine has no usable authority.
    pub fn with_system_roots(alpn: &[Alpn], clock: &Clock) -> Result<Self, WebClientError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        match roots.is_empty() {
            true => Err(BundleError::NoCertificate.into()),
            false => Self::trusting(roots, alpn, clock),
        }
    }
}

/// Why a web client cannot be configured.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebClientError {
    /// The authorities cannot be used.
    #[error(transparent)]
    Roots(#[from] BundleError),
    /// The revocation lists cannot be used.
    #[error(transparent)]
    Revocations(#[from] RevocationError),
    /// The configuration cannot be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn root_store(pem: &[u8]) -> Result<RootCertStore, BundleError> {
    let mut roots = RootCertStore::empty();
    for (at, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        let certificate = certificate.map_err(|error| BundleError::Pem(error.to_string()))?;
        roots.add(certificate).map_err(|_| BundleError::Malformed(at))?;
    }
    if roots.is_empty() {
        return Err(BundleError::NoCertificate);
    }
    Ok(roots)
}

/// Accepts a connection from outside of the mesh.
///
/// Besides the stream it tells the agreed protocol and the name that the client asked for (SNI),
/// which must be compared with the host of each request (421 where they differ).
///
/// # Errors
///
/// [`HandshakeError`]; the stream is closed.
///
/// # Cancel safety
///
/// Dropping the future closes the stream.
pub async fn accept_web<IO>(
    stream: IO,
    config: Arc<WebServerConfig>,
    timeout: Duration,
) -> Result<(server::TlsStream<IO>, Option<Alpn>, Option<String>), HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let acceptor = TlsAcceptor::from(Arc::clone(&config.inner));
    let stream = within(timeout, acceptor.accept(stream)).await?;
    let (_, session) = stream.get_ref();
    let alpn = session.alpn_protocol().and_then(Alpn::from_bytes);
    let name = session.server_name().map(str::to_owned);
    Ok((stream, alpn, name))
}

/// Opens a connection to a server outside of the mesh, whose certificate must be for
/// `server_name`.
///
/// # Errors
///
/// [`HandshakeError`]; the stream is closed.
///
/// # Cancel safety
///
/// Dropping the future closes the stream.
pub async fn connect_web<IO>(
    stream: IO,
    config: Arc<WebClientConfig>,
    server_name: &str,
    timeout: Duration,
) -> Result<(client::TlsStream<IO>, Option<Alpn>), HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let name = parse_server_name(server_name)?;
    let connector = TlsConnector::from(Arc::clone(&config.inner));
    let stream = within(timeout, connector.connect(name, stream)).await?;
    let alpn = stream.get_ref().1.alpn_protocol().and_then(Alpn::from_bytes);
    Ok((stream, alpn))
}
