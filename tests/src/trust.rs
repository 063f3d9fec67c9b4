//! Authorities that sign anything, identities that the test rotates, and peers that no mesh would be.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::identity::TrustDomain;
use mesh_tls::clock::Clock;
use mesh_tls::source::StaticSource;
use mesh_tls::svid::{Svid, TrustBundle, TrustBundles};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// An hour, the life of most certificates here.
pub const HOUR: Duration = Duration::from_secs(3600);

/// A certificate chain and its key.
pub type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// An authority that signs whatever it is told to.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// An authority with this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// What whoever trusts it trusts.
    #[must_use]
    pub fn bundle(&self) -> TrustBundle {
        TrustBundle::from_pem(self.0.pem().as_bytes()).unwrap()
    }

    /// The same for the trust domain of all workloads here.
    #[must_use]
    pub fn bundles(&self) -> TrustBundles {
        TrustBundles::of(domain("cluster.local"), self.bundle())
    }

    /// Signs a certificate for a fresh key.
    #[must_use]
    pub fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![certificate.der().clone()], key)
    }

    /// The certificate of the authority itself, with its key.
    #[must_use]
    pub fn itself(&self) -> Pair {
        let key = PrivateKeyDer::try_from(self.0.key().serialize_der()).unwrap();
        (vec![self.0.der().clone()], key)
    }

    /// An identity of `cluster.local/ns/shop`.
    #[must_use]
    pub fn svid(&self, account: &str) -> Svid {
        let (chain, key) = self.sign(&leaf(&id(account)));
        Svid::from_der(chain, key).unwrap()
    }

    /// The same, in force, trusting this authority alone.
    #[must_use]
    pub fn source(&self, account: &str) -> StaticSource {
        StaticSource::new(self.svid(account), self.bundles(), Clock::system()).unwrap()
    }
}

/// The id of an account in the namespace `shop`.
#[must_use]
pub fn id(account: &str) -> String {
    format!("spiffe://cluster.local/ns/shop/sa/{account}")
}

/// A trust domain.
#[must_use]
pub fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// Both authorities side by side, as while one replaces the other.
#[must_use]
pub fn both(old: &Authority, new: &Authority) -> TrustBundles {
    let pem = old.0.pem() + &new.0.pem();
    TrustBundles::of(domain("cluster.local"), TrustBundle::from_pem(pem.as_bytes()).unwrap())
}

/// A leaf that keeps every rule; tests break one.
#[must_use]
pub fn leaf(id: &str) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(id)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = ((now - HOUR).into(), (now + HOUR).into());
    params
}

/// A URI among the names of a certificate.
#[must_use]
pub fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn presenting((chain, key): Pair) -> Arc<SingleCertAndKey> {
    let key = default_provider().key_provider.load_private_key(key).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// Connects with any certificate, or none, believing every server.
///
/// # Errors
///
/// Those of the handshake.
pub async fn rogue_client(address: SocketAddr, pair: Option<Pair>) -> io::Result<TlsStream<TcpStream>> {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let config = match pair {
        Some(pair) => config.with_client_cert_resolver(presenting(pair)),
        None => config.with_no_client_auth(),
    };
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from("orders").unwrap(), stream).await
}

/// Sends a request; what comes back, which is nothing where the server closes.
pub async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    let request = b"GET / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_ok() {
        // An alert or a reset is a refusal, too.
        let _ = stream.read_to_end(&mut answer).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A server that presents any certificate, asks for none and answers each connection with 200.
pub async fn rogue_server(pair: Pair) -> SocketAddr {
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(presenting(pair));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = [0; 1024];
                while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nrogue";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
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
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
