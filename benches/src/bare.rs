//! What one would write without a mesh: hyper-util's pooled client and axum, with rustls on both sides where wanted.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Uri, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::server::conn::{http1, http2};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Sending;
use crate::call::Call;

/// axum and hyper-util, in plain text.
///
/// # Panics
///
/// Where a socket cannot be opened.
pub async fn plain(app: Router) -> impl Fn() -> Sending + use<> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = uri(&listener);
    tokio::spawn(serve(listener, app));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    sender(client, uri, Call::Get, |_| Empty::new())
}

/// The same over TLS with a certificate on either side.
///
/// # Panics
///
/// Where a socket cannot be opened.
pub async fn mutual_tls(app: Router, version: Version, call: Call) -> Box<dyn Fn() -> Sending + Send + Sync> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = uri(&listener);
    let (server, client) = configs(version);
    tokio::spawn(serve_tls(listener, TlsAcceptor::from(server), app, version));
    let connector = Connector::new(TlsConnector::from(client));
    let mut builder = Client::builder(TokioExecutor::new());
    builder.http2_only(version == Version::HTTP_2);
    // The least of a body that the call allows.
    match call {
        Call::Get => Box::new(sender(builder.build(connector), uri, call, |_| Empty::new())),
        Call::Unary => Box::new(sender(builder.build(connector), uri, call, Full::new)),
    }
}

fn uri(listener: &TcpListener) -> Uri {
    format!("http://{}/api/orders", listener.local_addr().unwrap())
        .parse()
        .unwrap()
}

fn sender<C, B>(client: Client<C, B>, uri: Uri, call: Call, body: impl Fn(Bytes) -> B) -> impl Fn() -> Sending
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    move || {
        let response = client.request(call.request(uri.clone()).map(&body));
        Box::pin(async move {
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap().to_bytes().len()
        })
    }
}

/// Serves HTTP/1 in plain text, by hyper's builder for it: `axum::serve` finds out the version of each connection, and asks with each poll
/// whether it is to stop.
///
/// # Panics
///
/// Where no connection can be accepted.
pub async fn serve(listener: TcpListener, app: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(connection(stream, app.clone(), Version::HTTP_11));
    }
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, app: Router, version: Version) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (acceptor, app) = (acceptor.clone(), app.clone());
        tokio::spawn(async move {
            let stream = acceptor.accept(stream).await.unwrap();
            connection(stream, app, version).await;
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: Router, version: Version) {
    let app = tower::ServiceBuilder::new()
        .map_request(|request: Request<hyper::body::Incoming>| request.map(Body::new))
        .service(app);
    let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(app));
    // A client that goes away is no failure of the service.
    let _ = if version == Version::HTTP_2 {
        http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await
    } else {
        http1::Builder::new().serve_connection(io, service).await
    };
}

/// What an authority has signed, and how to trust it.
///
/// # Panics
///
/// Where the cryptography fails.
#[must_use]
pub fn configs(version: Version) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let sign = || {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![CertificateDer::from(certificate.der().to_vec())], key)
    };
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let (roots, provider) = (Arc::new(roots), Arc::new(default_provider()));
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .unwrap();
    let (chain, key) = sign();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let server = server
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let (chain, key) = sign();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let client = client
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let (mut server, mut client) = (server, client);
    let protocol = if version == Version::HTTP_2 {
        b"h2".to_vec()
    } else {
        b"http/1.1".to_vec()
    };
    server.alpn_protocols.push(protocol.clone());
    client.alpn_protocols.push(protocol);
    (Arc::new(server), Arc::new(client))
}

/// Connects by TCP and TLS, whatever the scheme says.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "the TLS side shows nothing")]
pub struct Connector {
    tls: TlsConnector,
}

impl Connector {
    /// Expects a certificate for `localhost`.
    #[must_use]
    pub const fn new(tls: TlsConnector) -> Self {
        Self { tls }
    }
}

type Connecting = Pin<Box<dyn Future<Output = std::io::Result<TokioIo<Tls>>> + Send>>;

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Tls>;
    type Error = std::io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let tls = self.tls.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(uri.authority().unwrap().as_str()).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("localhost").unwrap();
            Ok(TokioIo::new(Tls(tls.connect(name, stream).await?)))
        })
    }
}

/// A TLS stream that hyper-util may pool.
#[derive(Debug)]
pub struct Tls(TlsStream<TcpStream>);

impl Connection for Tls {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
