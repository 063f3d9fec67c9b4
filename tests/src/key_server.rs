//! A web server that publishes keys, and misbehaves when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mesh_tls::authority::DevCa;
use mesh_tls::config::Alpn;
use mesh_tls::web::{WebServerConfig, accept_web};
use tokio::net::{TcpListener, TcpStream};

/// What is at a path.
#[derive(Clone, Debug)]
pub enum Page {
    /// A text.
    Text(String),
    /// A status.
    Status(u16),
    /// Another address.
    Elsewhere(String),
    /// Nothing, ever.
    Silence,
}

/// A running server; it ends with the test's runtime.
#[derive(Clone, Debug)]
pub struct KeyServer {
    /// Where it listens.
    pub address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    hits: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl KeyServer {
    /// Starts a server that speaks plain text.
    pub async fn plain() -> Self {
        Self::start(None).await
    }

    /// Starts a server with a certificate for `localhost` and 127.0.0.1.
    pub async fn tls(ca: &DevCa) -> Self {
        let hosts = ["localhost", "127.0.0.1"];
        let issued = ca
            .issue_web(&hosts, Duration::from_secs(3600), SystemTime::now())
            .unwrap();
        let (chain, key) = (issued.chain_pem.as_bytes(), issued.key_pem.as_bytes());
        let config = WebServerConfig::simple(chain, key, &[Alpn::Http1]).unwrap();
        Self::start(Some(Arc::new(config))).await
    }

    async fn start(tls: Option<Arc<WebServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            pages: Arc::default(),
            hits: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().connection(stream, tls.clone()));
            }
        });
        server
    }

    async fn connection(self, stream: TcpStream, tls: Option<Arc<WebServerConfig>>) {
        let answer = service_fn(move |request| self.clone().answer(request));
        let builder = http1::Builder::new();
        // What goes wrong with a connection is its client's to notice.
        let _ = match tls {
            None => builder.serve_connection(TokioIo::new(stream), answer).await,
            Some(config) => match accept_web(stream, config, Duration::from_secs(5)).await {
                Ok((stream, ..)) => builder.serve_connection(TokioIo::new(stream), answer).await,
                Err(_) => return,
            },
        };
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
        let path = request.uri().path().to_owned();
        let page = self.pages.lock().unwrap().get(&path).cloned();
        *self.hits.lock().unwrap().entry(path).or_default() += 1;
        let mut response = Response::new(Full::default());
        match page.unwrap_or(Page::Status(404)) {
            Page::Text(text) => *response.body_mut() = text.into(),
            Page::Status(status) => *response.status_mut() = StatusCode::from_u16(status).unwrap(),
            Page::Elsewhere(to) => {
                *response.status_mut() = StatusCode::FOUND;
                response
                    .headers_mut()
                    .insert("location", HeaderValue::from_str(&to).unwrap());
            }
            Page::Silence => std::future::pending().await,
        }
        Ok(response)
    }

    /// Puts something at a path.
    pub fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.into(), page);
    }

    /// Publishes a text at a path.
    pub fn publish(&self, path: &str, text: &str) {
        self.put(path, Page::Text(text.into()));
    }

    /// Requests of a path so far.
    #[must_use]
    pub fn hits(&self, path: &str) -> usize {
        self.hits.lock().unwrap().get(path).copied().unwrap_or_default()
    }
}
