//! A plain server that counts what it gets and fails when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// A running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend")
            .field("name", &self.inner.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

struct Inner {
    name: String,
    hits: AtomicUsize,
    connections: AtomicUsize,
    /// What it answers with.
    status: AtomicU16,
    /// Answers with 503 this many times more, then with `status`.
    failures: AtomicUsize,
    /// Milliseconds before it answers.
    delay: AtomicUsize,
    /// Requests to `/hold` wait for a permit.
    gate: Semaphore,
    held: AtomicUsize,
    last: Mutex<(HeaderMap, Vec<u8>)>,
    paths: Mutex<BTreeMap<String, usize>>,
    last_target: Mutex<String>,
    /// Headers of its answers.
    says: Mutex<HeaderMap>,
}

impl Backend {
    /// Starts a server that answers with its name.
    pub async fn start(name: &str) -> Self {
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            hits: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            status: AtomicU16::new(200),
            failures: AtomicUsize::new(0),
            delay: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            held: AtomicUsize::new(0),
            last: Mutex::default(),
            paths: Mutex::default(),
            last_target: Mutex::default(),
            says: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counted = Counted {
            listener,
            inner: Arc::clone(&inner),
        };
        let served = axum::serve(counted, Self::application(&inner));
        tokio::spawn(async move { served.await.unwrap() });
        Self { address, inner }
    }

    fn application(inner: &Arc<Inner>) -> Router {
        Router::new().fallback(answer).with_state(Arc::clone(inner))
    }

    /// The server's application, to be served by something else.
    pub fn router(&self) -> Router {
        Self::application(&self.inner)
    }

    /// Requests so far.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.inner.hits.load(Ordering::SeqCst)
    }

    /// Requests of a path so far.
    #[must_use]
    pub fn hits_of(&self, path: &str) -> usize {
        self.inner.paths.lock().unwrap().get(path).copied().unwrap_or_default()
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::SeqCst)
    }

    /// Answers with `status` from now on.
    pub fn answer_with(&self, status: u16) {
        self.inner.status.store(status, Ordering::SeqCst);
    }

    /// Answers with 503 `times` times.
    pub fn fail(&self, times: usize) {
        self.inner.failures.store(times, Ordering::SeqCst);
    }

    /// Waits before each answer.
    pub fn delay(&self, delay: Duration) {
        let millis = usize::try_from(delay.as_millis()).unwrap();
        self.inner.delay.store(millis, Ordering::SeqCst);
    }

    /// Requests to `/hold` that wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.inner.held.load(Ordering::SeqCst)
    }

    /// Lets requests to `/hold` go on.
    pub fn release(&self, requests: usize) {
        self.inner.gate.add_permits(requests);
    }

    /// Path and query of the last request.
    #[must_use]
    pub fn last_target(&self) -> String {
        self.inner.last_target.lock().unwrap().clone()
    }

    /// Answers with this header from now on.
    pub fn say(&self, name: &'static str, value: &'static str) {
        let value = http::HeaderValue::from_static(value);
        self.inner.says.lock().unwrap().insert(name, value);
    }

    /// Headers and body of the last request.
    #[must_use]
    pub fn last(&self) -> (HeaderMap, Vec<u8>) {
        self.inner.last.lock().unwrap().clone()
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    inner.hits.fetch_add(1, Ordering::SeqCst);
    let path = request.uri().path().to_owned();
    let target = request.uri().path_and_query().map(ToString::to_string);
    *inner.last_target.lock().unwrap() = target.unwrap_or_default();
    *inner.paths.lock().unwrap().entry(path.clone()).or_default() += 1;
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes().to_vec())
        .unwrap_or_default();
    *inner.last.lock().unwrap() = (parts.headers, body);
    if path == "/hold" {
        inner.held.fetch_add(1, Ordering::SeqCst);
        inner.gate.acquire().await.unwrap().forget();
        inner.held.fetch_sub(1, Ordering::SeqCst);
    }
    let delay = inner.delay.load(Ordering::SeqCst);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay as u64)).await;
    }
    let fails = inner
        .failures
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    let status = if fails.is_ok() {
        503
    } else {
        inner.status.load(Ordering::SeqCst)
    };
    let mut response = Response::new(Body::from(inner.name.clone()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().extend(inner.says.lock().unwrap().clone());
    response
}

/// Counts connections.
struct Counted {
    listener: TcpListener,
    inner: Arc<Inner>,
}

impl axum::serve::Listener for Counted {
    type Io = tokio::net::TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let accepted = axum::serve::Listener::accept(&mut self.listener).await;
        self.inner.connections.fetch_add(1, Ordering::SeqCst);
        accepted
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
