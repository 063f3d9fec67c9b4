//! Certificates of one development authority, made once for a session and used by everybody.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_tls::authority::DevCa;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The caller's identity, `spiffe://cluster.local/ns/shop/sa/web`.
pub(crate) const WEB: &str = "web";
/// The service's identity, `spiffe://cluster.local/ns/shop/sa/orders`.
pub(crate) const ORDERS: &str = "orders";
/// A certificate of the service for the host name `localhost`, for those who check names of hosts.
pub(crate) const HOST: &str = "host";

const NAMESPACE: &str = "shop";
const DAY: Duration = Duration::from_secs(86_400);

/// Writes all of them, each in a directory as `tls.crt`, `tls.key`, `ca.crt`, and as `both.pem` for HAProxy.
pub(crate) fn write(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let now = SystemTime::now();
    let ca = DevCa::new(TrustDomain::parse("cluster.local")?, now)?;
    for account in [WEB, ORDERS] {
        let id = SpiffeId::for_workload(ca.trust_domain(), NAMESPACE, account)?;
        ca.write_workload(directory.join(account), &id, DAY, now)?;
    }
    ca.write_web(directory.join(HOST), &["localhost"], DAY, now)?;
    for name in [WEB, ORDERS, HOST] {
        let own = directory.join(name);
        let both = fs::read_to_string(own.join("tls.crt"))? + &fs::read_to_string(own.join("tls.key"))?;
        fs::write(own.join("both.pem"), both)?;
    }
    Ok(())
}

/// The service's side of plain rustls: TLS 1.3, a client certificate of our authority demanded.
pub(crate) fn server_config(directory: &Path, is_http2: bool) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let provider = Arc::new(default_provider());
    let (chain, key, roots) = read(&directory.join(HOST))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = alpn(is_http2);
    Ok(config)
}

/// The client's side.
pub(crate) fn client_config(directory: &Path, is_http2: bool) -> Result<ClientConfig, Box<dyn std::error::Error>> {
    let (chain, key, roots) = read(&directory.join(WEB))?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = alpn(is_http2);
    Ok(config)
}

fn alpn(is_http2: bool) -> Vec<Vec<u8>> {
    let name: &[u8] = if is_http2 { b"h2" } else { b"http/1.1" };
    vec![name.to_vec()]
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, RootCertStore);

fn read(own: &Path) -> Result<Pair, Box<dyn std::error::Error>> {
    let file = |name: &str| -> PathBuf { own.join(name) };
    let chain = CertificateDer::pem_file_iter(file("tls.crt"))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(file("tls.key"))?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(file("ca.crt"))? {
        roots.add(root?)?;
    }
    Ok((chain, key, roots))
}
