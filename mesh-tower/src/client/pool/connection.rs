//! One connection: made and closed by one task.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use http::HeaderValue;
use http::uri::Authority;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_tls::handshake::{HandshakeError, classify};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    Shared,
    driver::{Driven, Driver},
    error::WaitError,
    permits::Permit,
    state::Protocol,
    timer::Timers,
};
use crate::{
    body::{Body, BoxError},
    client::connect::{self, ConnectError, Connected, HttpVersion, Peer, TlsTarget},
    in_place::Boxing,
    stream::Switch,
};

/// What a server may say before its body, in bytes: as much as hyper reads over HTTP/1. An answer of an authorizer may have the
/// target of its request in it, escaped, and is not to be lost for that.
const MAX_HEAD: u32 = 400 * 1024;

/// What a connection's task, its requests and the pool's tables share.
pub(super) struct Connection {
    id: u64,
    peer: Arc<Peer>,
    since: Instant,
    requests: AtomicU32,
    retired: AtomicBool,
    doomed: AtomicBool,
    /// Ends it, whoever holds its stream.
    switch: Arc<Switch>,
    /// What its handshake was judged by.
    tls: Option<Arc<TlsTarget>>,
    max_streams: AtomicUsize,
    returned: Returned,
    refusal: OnceLock<Arc<ConnectError>>,
    /// The authority of its first request, and `Host` for it: nearly all others have the same.
    host: OnceLock<(Authority, Option<HeaderValue>)>,
    pub(super) timers: Timers,
    /// Drives it where it is HTTP/1.
    pub(super) driver: Driver,
}

/// An HTTP/1 sender whose response has ended while the connection's task is not ready for the next
/// request: the task takes it from here, so that no request spawns a task to wait for that.
#[derive(Default)]
struct Returned {
    sender: Mutex<Option<http1::SendRequest<Body>>>,
    is_full: AtomicBool,
    driver: AtomicWaker,
}

impl Connection {
    fn new(id: u64, connected: &Connected, tls: Option<Arc<TlsTarget>>) -> Self {
        Self {
            id,
            peer: Arc::new(connected.peer.clone()),
            doomed: AtomicBool::new(false),
            switch: connected.io.switch(),
            tls,
            since: Instant::now(),
            requests: AtomicU32::new(0),
            retired: AtomicBool::new(false),
            max_streams: AtomicUsize::new(usize::MAX),
            returned: Returned::default(),
            refusal: OnceLock::new(),
            host: OnceLock::new(),
            timers: Timers::of_this_runtime(),
            driver: Driver::default(),
        }
    }

    /// `Host` for an authority, as `of` makes it.
    pub(super) fn host(
        &self,
        authority: &Authority,
        of: impl Fn(&Authority) -> Option<HeaderValue>,
    ) -> Option<HeaderValue> {
        let (first, host) = self.host.get_or_init(|| (authority.clone(), of(authority)));
        match first.as_str() == authority.as_str() {
            true => host.clone(),
            false => of(authority),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes back the count of a request that was given up before it was sent.
    pub(super) fn forget_request(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Takes no further request, and is to be cut; whether that is news.
    pub(super) fn doom(&self) -> bool {
        self.retire();
        !self.doomed.swap(true, Ordering::Relaxed)
    }

    /// Ends it with the requests that it has.
    pub(super) fn cut(&self) {
        self.switch.cut();
        self.driver.call_back();
    }

    /// Whether a handshake under `now` would end as that of this connection did.
    pub(super) fn is_accepted_by(&self, now: Option<&TlsTarget>) -> bool {
        let (Some(now), Some(then), Some(peer)) = (now, &self.tls, &self.peer.identity) else {
            return true;
        };
        Arc::ptr_eq(&now.config, &then.config) || now.config.judge(peer).is_ok()
    }

    /// Streams that the peer allows at once, as far as is known.
    pub(super) fn max_streams(&self) -> usize {
        self.max_streams.load(Ordering::Relaxed)
    }

    /// How TLS failed before the peer sent anything: then there was no connection for any request.
    pub(super) fn refusal(&self) -> Option<&Arc<ConnectError>> {
        self.refusal.get()
    }

    /// Keeps what TLS says of a failed first read, here since HTTP/2 turns it into text.
    fn note_refusal(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        match classify(error) {
            HandshakeError::Io(error) => error,
            refusal => {
                let error = io::Error::new(kind, refusal.to_string());
                let address = self.peer.address;
                let source: Option<BoxError> = Some(refusal.into());
                drop(self.refusal.set(Arc::new(ConnectError::Http { address, source })));
                error
            }
        }
    }

    /// Has the connection's task look at what the peer allows: its settings arrive with the first
    /// response at the latest, but do not wake the task.
    pub(super) fn refresh_max_streams(&self) {
        self.returned.driver.wake();
    }

    /// Leaves a sender that is not ready yet to the connection's task.
    pub(super) fn return_later(&self, sender: http1::SendRequest<Body>) {
        self.returned.put(sender);
        self.returned.driver.wake();
    }
}

impl Returned {
    fn put(&self, sender: http1::SendRequest<Body>) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        self.is_full.store(true, Ordering::Release);
    }

    fn take(&self) -> Option<http1::SendRequest<Body>> {
        if !self.is_full.load(Ordering::Acquire) {
            return None;
        }
        self.is_full.store(false, Ordering::Release);
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Polls for a sender that can be used again. A closed one is dropped.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Option<http1::SendRequest<Body>> {
        self.driver.register(cx.waker());
        let mut sender = self.take()?;
        match sender.poll_ready(cx) {
            Poll::Ready(Ok(())) => Some(sender),
            Poll::Ready(Err(_)) => None,
            Poll::Pending => {
                self.put(sender);
                None
            }
        }
    }
}

async fn begin_http1(io: Guarded) -> hyper::Result<(http1::SendRequest<Body>, Driven)> {
    let (sender, driver) = http1::Builder::new().handshake(TokioIo::new(io)).await?;
    Ok((sender, Box::pin(driver.with_upgrades())))
}

/// A connection that is being made. Its drop settles it when the task ends early.
pub(super) struct Opening {
    shared: Arc<Shared>,
    permit: Option<Permit>,
    is_settled: bool,
}

impl Opening {
    pub(super) fn new(shared: Arc<Shared>, permit: Option<Permit>) -> Self {
        Self {
            shared,
            permit,
            is_settled: false,
        }
    }

    /// Makes the connection, serves it to the pool and drives it until it is closed.
    pub(super) async fn run(mut self) {
        // Boxed, so that a connection keeps no room for how it was made.
        match Box::pin(self.establish()).await {
            Ok((connection, guarded)) => self.drive(connection, guarded).await,
            Err(error) => self.fail(Arc::new(error)),
        }
    }

    async fn establish(&mut self) -> Result<(Arc<Connection>, Guarded), ConnectError> {
        let shared = Arc::clone(&self.shared);
        let tls = shared.tls.load_full();
        let config = shared.config();
        let connected = connect::connect(shared.address, tls.as_deref(), &config.connect).await;
        let connected = connected.inspect_err(|error| shared.permits.has_failed(error))?;
        let counted = shared.permits.has_opened(&connected.peer);
        let connection = Arc::new(Connection::new(shared.state().next_id(), &connected, tls));
        let io = connected.io;
        let guard = Guard {
            shared,
            connection: Arc::clone(&connection),
            permit: self.permit.take(),
            _counted: counted,
        };
        let heard = Heard::Nothing;
        Ok((connection, Guarded { io, heard, guard }))
    }

    async fn drive(self, connection: Arc<Connection>, io: Guarded) {
        match protocol(self.shared.config().version, &connection.peer) {
            Protocol::Http1 => self.drive_http1(connection, io).await,
            // Boxed, so that connections of HTTP/1 keep no room for it.
            Protocol::Http2 => Box::pin(self.drive_http2(connection, io)).await,
        }
    }

    async fn drive_http1(mut self, connection: Arc<Connection>, io: Guarded) {
        let (sender, driver) = match Box::pin(begin_http1(io)).await {
            Ok(parts) => parts,
            Err(error) => return self.fail_http(&connection, Some(error.into())),
        };
        // A new sender is ready once its connection was polled: the same way as a returned one.
        connection.returned.put(sender);
        let look = |cx: &mut Context<'_>| {
            if let Some(sender) = connection.returned.poll_ready(cx) {
                self.settle(&connection, Protocol::Http1);
                self.shared.put_http1(Arc::clone(&connection), sender);
            }
        };
        let ended = connection.driver.run(driver, look).await;
        drop(connection.returned.take());
        log_end(&connection, &ended);
        self.fail_http(&connection, ended.err().map(Into::into));
    }

    async fn drive_http2(mut self, connection: Arc<Connection>, io: Guarded) {
        let builder = self.http2_builder();
        let (sender, mut driver) = match builder.handshake(TokioIo::new(io)).await {
            Ok(parts) => parts,
            Err(error) => return self.fail_http(&connection, Some(error.into())),
        };
        let mut sender = Some(sender);
        let ended = poll_fn(|cx| {
            connection.returned.driver.register(cx.waker());
            let polled = Pin::new(&mut driver).poll(cx);
            if polled.is_pending() {
                // A peer that allows none for the moment would else get one connection after another.
                let streams = driver.current_max_send_streams().max(1);
                connection.max_streams.store(streams, Ordering::Relaxed);
                if let Some(sender) = sender.take() {
                    self.settle(&connection, Protocol::Http2);
                    self.shared.put_http2(&connection, sender);
                }
            }
            polled
        })
        .await;
        log_end(&connection, &ended);
        self.fail_http(&connection, ended.err().map(Into::into));
    }

    fn http2_builder(&self) -> http2::Builder<Boxing> {
        let mut builder = http2::Builder::new(Boxing);
        builder.timer(TokioTimer::new()).max_header_list_size(MAX_HEAD);
        if let Some(keepalive) = self.shared.config().http2_keepalive {
            builder
                .keep_alive_interval(keepalive.interval)
                .keep_alive_timeout(keepalive.timeout)
                .keep_alive_while_idle(true);
        }
        builder
    }

    /// The connection is open: from now on its end is no failure to connect.
    fn settle(&mut self, connection: &Arc<Connection>, protocol: Protocol) {
        if !self.is_settled {
            self.is_settled = true;
            self.shared.opened(connection, protocol);
        }
    }

    /// Ends a connection; one that never took a request was not made at all.
    fn fail_http(self, connection: &Connection, source: Option<BoxError>) {
        if !self.is_settled {
            let address = connection.peer.address;
            let refusal = connection.refusal().cloned();
            self.fail(refusal.unwrap_or_else(|| Arc::new(ConnectError::Http { address, source })));
        }
    }

    fn fail(mut self, error: Arc<ConnectError>) {
        tracing::debug!(address = %self.shared.address, %error, "connect failed");
        self.is_settled = true;
        self.permit = None;
        self.shared.connect_failed(&WaitError::Connect(error));
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_settled {
            self.shared.connect_aborted();
        }
    }
}

fn protocol(version: HttpVersion, peer: &Peer) -> Protocol {
    match version {
        HttpVersion::Http1 => Protocol::Http1,
        HttpVersion::Http2PriorKnowledge => Protocol::Http2,
        HttpVersion::Auto if peer.alpn == Some(mesh_tls::config::Alpn::H2) => Protocol::Http2,
        HttpVersion::Auto => Protocol::Http1,
    }
}

fn log_end(connection: &Connection, ended: &hyper::Result<()>) {
    let Connection { id, peer, .. } = connection;
    match ended {
        Ok(()) => tracing::trace!(id, address = %peer.address, "connection closed"),
        Err(error) => tracing::debug!(id, address = %peer.address, %error, "connection failed"),
    }
}

/// Runs when the socket is dropped, wherever that is: in the connection's task, in one of the tasks
/// that hyper makes for HTTP/2, or with an upgraded stream.
struct Guard {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    permit: Option<Permit>,
    /// Counts the connection for whoever wants to know.
    _counted: Option<Permit>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.shared.closed_connection(&self.connection);
    }
}

/// Whether the peer has sent anything that is HTTP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
}

/// A socket with its guard. The socket is declared first, so that it is closed first.
struct Guarded {
    io: crate::stream::Stream,
    heard: Heard,
    guard: Guard,
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.heard == Heard::Something {
            return polled;
        }
        match polled {
            Poll::Ready(Ok(())) => {
                self.heard = Heard::Something;
                polled
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.guard.connection.note_refusal(error))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
