//! What the tests of this crate share: a world with one authority, bad certificates, handshakes in memory.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_core::identity::{SpiffeId, TrustDomain};
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ALL_VERSIONS, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::DuplexStream;
use tokio_rustls::{client, server};

use crate::clock::{Clock, ManualClock};
use crate::config::{Alpn, ClientConfig, ServerConfig};
use crate::handshake::{HandshakeError, accept_tls, connect_tls};
use crate::peer::PeerIdentity;
use crate::provider::provider;
use crate::svid::{Svid, TrustBundle, TrustBundles};
use crate::verify::{ExpectedPeer, PeerError};

pub(crate) const LIMIT: Duration = Duration::from_secs(10);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A fixed moment: virtual time starts here.
pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// A wall clock that follows tokio's, so that a paused runtime moves it; it stands at [`start`] now.
pub(crate) fn following_clock() -> Clock {
    Clock::new(Arc::new(Following(tokio::time::Instant::now())))
}

#[derive(Debug)]
struct Following(tokio::time::Instant);

impl TimeProvider for Following {
    fn current_time(&self) -> Option<UnixTime> {
        let since = start().duration_since(UNIX_EPOCH).unwrap();
        Some(UnixTime::since_unix_epoch(since + self.0.elapsed()))
    }
}

/// One trust domain, `td`, with an authority that also signs what it should not.
pub(crate) struct World {
    pub(crate) time: ManualClock,
    pub(crate) ca: CertifiedIssuer<'static, KeyPair>,
    pub(crate) bundles: TrustBundles,
}

impl World {
    pub(crate) fn new() -> Self {
        let ca = authority("td");
        let bundles = TrustBundles::of(domain("td"), bundle(&ca));
        Self {
            time: ManualClock::at(start()),
            ca,
            bundles,
        }
    }

    /// An SVID for `spiffe://td/<name>`, valid for an hour from the start.
    pub(crate) fn svid(&self, name: &str) -> Svid {
        let (chain, key) = signed(&leaf(&format!("spiffe://td/{name}")), &self.ca);
        Svid::from_der(chain, key).unwrap()
    }

    pub(crate) fn server(&self, svid: &Svid) -> Arc<ServerConfig> {
        Arc::new(ServerConfig::mutual(svid, &self.bundles, &[], &self.time.clock()).unwrap())
    }

    pub(crate) fn client(&self, svid: &Svid, expected: &ExpectedPeer) -> Arc<ClientConfig> {
        Arc::new(ClientConfig::mutual(svid, &self.bundles, expected, &[], &self.time.clock()).unwrap())
    }
}

pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (start() - HOUR * 24 * 365).into();
    params.not_after = (start() + HOUR * 24 * 365).into();
    params
}

pub(crate) fn bundle(ca: &CertifiedIssuer<'static, KeyPair>) -> TrustBundle {
    TrustBundle::from_pem(ca.pem().as_bytes()).unwrap()
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

/// A leaf that keeps every rule; tests break one.
pub(crate) fn leaf(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(id)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (start().into(), (start() + HOUR).into());
    params
}

pub(crate) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(crate) fn signed(params: &CertificateParams, ca: &CertifiedIssuer<'static, KeyPair>) -> Pair {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    (vec![certificate.der().clone()], private_key(&key))
}

pub(crate) fn private_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}

pub(crate) type Accepted = (server::TlsStream<DuplexStream>, PeerIdentity, Option<Alpn>);
pub(crate) type Connected = (client::TlsStream<DuplexStream>, PeerIdentity, Option<Alpn>);

/// Shakes hands in memory; the outcome of the server first.
pub(crate) async fn shake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> (Result<Accepted, HandshakeError>, Result<Connected, HandshakeError>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::join!(
        accept_tls(near, server, LIMIT),
        connect_tls(far, client, "orders.shop", LIMIT)
    )
}

/// What any pair of certificates and key signs with, fitting or not.
fn presenting((chain, key): Pair) -> Arc<SingleCertAndKey> {
    let key = provider().key_provider.load_private_key(key).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// A client that presents anything and believes every server, with rustls's default sessions.
pub(crate) fn rogue_client(pair: Pair, versions: &[&'static SupportedProtocolVersion]) -> Arc<rustls::ClientConfig> {
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_client_cert_resolver(presenting(pair));
    Arc::new(config)
}

/// A server that presents anything and asks for nothing, with rustls's default sessions.
pub(crate) fn rogue_server(pair: Pair, versions: &[&'static SupportedProtocolVersion]) -> Arc<rustls::ServerConfig> {
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(presenting(pair));
    Arc::new(config)
}

/// What a server of ours says to a client that presents `pair`.
pub(crate) async fn as_client(
    world: &World,
    pair: Pair,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<PeerIdentity, HandshakeError> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = world.server(&world.svid("server"));
    let connector = tokio_rustls::TlsConnector::from(rogue_client(pair, versions));
    let name = "server".try_into().unwrap();
    let (accepted, _) = tokio::join!(accept_tls(near, server, LIMIT), connector.connect(name, far));
    accepted.map(|(_, peer, _)| peer)
}

/// What a client of ours, which expects anybody in `td`, says to a server that presents `pair`.
pub(crate) async fn as_server(
    world: &World,
    pair: Pair,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<PeerIdentity, HandshakeError> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let client = world.client(&world.svid("client"), &ExpectedPeer::any_in(domain("td")));
    let acceptor = tokio_rustls::TlsAcceptor::from(rogue_server(pair, versions));
    let (_, connected) = tokio::join!(acceptor.accept(near), connect_tls(far, client, "server", LIMIT));
    connected.map(|(_, peer, _)| peer)
}

/// Both sides' refusal of `pair`, which must be the same.
pub(crate) async fn refusal(world: &World, pair: impl Fn() -> Pair) -> PeerError {
    let client = peer_error(as_client(world, pair(), ALL_VERSIONS).await);
    let server = peer_error(as_server(world, pair(), ALL_VERSIONS).await);
    assert_eq!(client, server);
    client
}

pub(crate) fn peer_error<T: std::fmt::Debug>(outcome: Result<T, HandshakeError>) -> PeerError {
    match outcome {
        Err(HandshakeError::Peer(error)) => error,
        other => panic!("expected a refusal of the peer, found {other:?}"),
    }
}

/// Believes everybody.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
