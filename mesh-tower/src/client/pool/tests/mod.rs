//! Pools against servers on real sockets.

mod http1;
mod http2;
mod lifetime;
mod queue;
mod server;
mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::Request;
use http_body_util::BodyExt;

use super::*;
use server::Server;

/// Limits that tests set and read.
#[derive(Clone, Default)]
struct Limits(Arc<Counts>);

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    max_connections: AtomicUsize,
    no_limit: AtomicUsize,
    pending: AtomicUsize,
    max_pending: AtomicUsize,
}

impl Limits {
    fn new(max_connections: usize, max_pending: usize) -> Self {
        let limits = Self::default();
        limits.0.max_connections.store(max_connections, Ordering::SeqCst);
        limits.0.no_limit.store(usize::MAX, Ordering::SeqCst);
        limits.0.max_pending.store(max_pending, Ordering::SeqCst);
        limits
    }

    fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    fn pending(&self) -> usize {
        self.0.pending.load(Ordering::SeqCst)
    }
}

struct Slot(Arc<Counts>, fn(&Counts) -> &AtomicUsize);

impl Slot {
    fn take(
        counts: &Arc<Counts>,
        count: fn(&Counts) -> &AtomicUsize,
        max: fn(&Counts) -> &AtomicUsize,
    ) -> Option<Self> {
        let limit = max(counts).load(Ordering::SeqCst);
        count(counts)
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
                (now < limit).then_some(now + 1)
            })
            .ok()
            .map(|_| Self(Arc::clone(counts), count))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, Ordering::SeqCst);
    }
}

impl ConnectionPermits for Limits {
    type Permit = Slot;
    type Pending = Slot;

    fn try_connect(&self) -> Option<Slot> {
        Slot::take(&self.0, |counts| &counts.connections, |counts| &counts.max_connections)
    }

    fn connect_first(&self) -> Option<Slot> {
        Slot::take(&self.0, |counts| &counts.connections, |counts| &counts.no_limit)
    }

    fn try_pending(&self) -> Option<Slot> {
        Slot::take(&self.0, |counts| &counts.pending, |counts| &counts.max_pending)
    }
}

fn pool(server: &Server) -> Pool {
    pool_with(server, PoolConfig::default())
}

fn pool_with(server: &Server, config: PoolConfig) -> Pool {
    Pool::new(server.address, None, config, Unlimited)
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "orders").body(Body::empty()).unwrap()
}

/// A response whose body was read: which of the server's connections it came by, and its text.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    connection: usize,
    text: String,
}

fn connection_of(response: &http::Response<Body>) -> usize {
    response.headers()["x-connection"].to_str().unwrap().parse().unwrap()
}

async fn read(response: http::Response<Body>) -> Answer {
    let (status, connection) = (response.status().as_u16(), connection_of(&response));
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Answer {
        status,
        connection,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

async fn ask(pool: &Pool, path: &str) -> Answer {
    read(pool.send(get(path)).await.unwrap()).await
}

/// Sends a request in a task of its own.
fn ask_later(pool: &Pool, path: &'static str) -> tokio::task::JoinHandle<Answer> {
    let pool = pool.clone();
    tokio::spawn(async move { ask(&pool, path).await })
}

/// A response whose end is not known before its body is read.
async fn unread(pool: &Pool) -> http::Response<Body> {
    let response = pool.send(get("/chunked")).await.unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.stats().active, 1);
    response
}

/// Lets the other tasks run until `condition` holds. Fails after five seconds of real time.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "not reached: {what}");
        tokio::task::yield_now().await;
    }
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}

/// What a request is told whose limit is over before it has a connection.
async fn unsent(pool: &Pool) -> Awaited {
    let now = tokio::time::Instant::now();
    let limit = Some(now + Duration::from_millis(20));
    match pool.send_until(Box::new(get("/late")), limit, now).await {
        Err(Failure::Unsent(request, awaited)) => {
            assert_eq!(request.uri(), "/late");
            awaited
        }
        _ => panic!("there is a connection"),
    }
}
