//! Servers in processes of their own: through the mesh, and what one would write without.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use mesh_core::workload::Workload;
use mesh_tower::Mesh;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::process;

/// Files do not change while a benchmark runs.
const POLL: Duration = Duration::from_secs(3600);
const ANSWER: [u8; 1024] = [b'a'; 1024];

pub(crate) fn app() -> Router {
    Router::new().route("/api/orders", get(|| async { &ANSWER[..] }))
}

/// Serves until the process is ended. The directory holds `policy` and an identity for each workload.
pub(crate) async fn play(kind: &str, directory: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    match kind {
        "mesh" => {
            let mesh = mesh(directory, "orders").await;
            process::answer(address);
            mesh.serve(listener, app()).await.unwrap();
        }
        _ => {
            let acceptor = acceptor(&directory.join("orders"));
            process::answer(address);
            bare(listener, acceptor).await;
        }
    }
}

/// A mesh for a workload, out of a directory.
pub(crate) async fn mesh(directory: &Path, workload: &str) -> Mesh {
    let identity = directory.join(workload);
    let workload = Workload::new("shop", workload).label("app", workload);
    let builder = Mesh::builder().policy(directory.join("policy")).workload(workload);
    let builder = builder.identity_directory(identity).poll(POLL).without_admin();
    builder.build().await.unwrap()
}

/// hyper and axum over rustls, with a client's certificate asked for.
async fn bare(listener: TcpListener, acceptor: TlsAcceptor) {
    let app = app();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (acceptor, app) = (acceptor.clone(), app.clone());
        tokio::spawn(async move {
            // Boxed, as who counts bytes would have it: a connection keeps no room for its handshake.
            let stream = Box::pin(acceptor.accept(stream)).await.unwrap();
            let service = TowerToHyperService::new(app);
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn acceptor(identity: &Path) -> TlsAcceptor {
    let certificates = |name: &str| -> Vec<_> {
        let all = CertificateDer::pem_file_iter(identity.join(name)).unwrap();
        all.map(Result::unwrap).collect()
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.crt"));
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::from_pem_file(identity.join("tls.key")).unwrap();
    let mut config = config
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(certificates("tls.crt"), key)
        .unwrap();
    config.alpn_protocols.push(b"http/1.1".to_vec());
    TlsAcceptor::from(Arc::new(config))
}
