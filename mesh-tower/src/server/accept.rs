//! The accept loop, the connections it makes, and how they end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::connection::{Connection, Ended};
use super::deferred::{Begin, Deferred};
use super::live;
use super::places::{Place, Places};
use super::secure::{Http, Refused, Secured};
use super::stack::Answered;
use crate::body::{Body, BoxError};
use crate::dormant::Dormant;
use crate::in_place::Boxing;
use crate::mesh::Shared;
use crate::stream::{Stream, Switch};

/// How long to wait after the system refused a connection, out of file descriptors say.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Requests at a time on an HTTP/2 connection.
const STREAMS: u32 = 200;
/// Bytes of the headers of a request, as HTTP/2 counts them; HTTP/1 has hyper's limit of about 400 KiB for its buffer, lowered.
const HEADER_BYTES: u32 = 64 * 1024;
/// How often an idle HTTP/2 connection is asked whether somebody is there, and for how long.
const PING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// How a listener treats what it accepts.
pub(crate) trait Port: Clone + Send + Sync + 'static {
    /// Secures a stream.
    fn secure(&self, stream: TcpStream, remote: SocketAddr) -> impl Future<Output = Result<Secured, Refused>> + Send;

    /// Answers a request.
    fn answer(&self, connection: &Arc<Connection>, request: Request<Body>) -> Answered<BoxError>;
}

/// Accepts until the mesh stops, then drains.
///
/// # Cancel safety
///
/// Dropping the future ends all connections.
pub(crate) async fn run<P: Port>(listener: TcpListener, shared: Arc<Shared>, port: P) -> io::Result<()> {
    let mut stopping = shared.stopping.subscribe();
    let places = Places::new(shared.settings.handshakes, shared.metrics.clone());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, remote, mut place)) => {
                let (shared, port) = (Arc::clone(&shared), port.clone());
                connections.spawn(async move {
                    // Boxed: a connection keeps no room for the handshake that is over.
                    let secured = Box::pin(place.hold(port.secure(stream, remote))).await;
                    drop(place);
                    match secured {
                        Ok(secured) => serve(&shared, secured, port).await,
                        Err(error) => tracing::debug!(%remote, %error, "connection refused"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(shared.settings.drain_timeout, drained)
        .await
        .is_err()
    {
        tracing::warn!(open = connections.len(), "connections are closed with open requests");
    }
    Ok(())
}

/// Accepts the next connection, and waits until there is a place for its handshake.
pub(super) async fn accept(listener: &TcpListener, places: &Places) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let (stream, remote) = listener.accept().await?;
    Ok((stream, remote, places.take().await?))
}

async fn serve<P: Port>(shared: &Arc<Shared>, secured: Secured, port: P) {
    let Secured {
        stream,
        connection,
        http,
    } = secured;
    let answering = Answering {
        connection: Arc::clone(&connection),
        port,
    };
    let living = Living {
        shared,
        connection: &connection,
        http,
        switch: stream.switch(),
    };
    let head_limit = connection.head_limit();
    // What goes wrong with a connection is the caller's to notice.
    match http {
        Http::One => {
            living.drive(one(stream, answering, head_limit)).await;
            living.drive_upgraded().await;
        }
        Http::Two => living.drive(two(stream, answering)).await,
    }
}

// Both are boxed, at their own size: in the task, each connection would have room for the larger, and twice, since what
// is moved into a future keeps its old place in it.

fn one<P: Port>(stream: Stream, answering: Answering<P>, head_limit: Option<Duration>) -> Pin<Box<One<P>>> {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_limit);
    builder.max_buf_size(HEADER_BYTES as usize);
    let connection = builder.serve_connection(TokioIo::new(stream), answering);
    Box::pin(connection.with_upgrades())
}

fn two<P: Port>(stream: Stream, answering: Answering<P>) -> Pin<Box<Two<P>>> {
    let mut builder = http2::Builder::new(Boxing);
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    builder
        .max_header_list_size(HEADER_BYTES)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    Box::pin(builder.serve_connection(TokioIo::new(stream), Streams(answering)))
}

/// A connection that is served, until nobody wants it any more.
struct Living<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    http: Http,
    switch: Arc<Switch>,
}

/// Why a connection has to take no further request.
enum End {
    /// The mesh stops: the listener gives all connections a time.
    Stopping,
    /// It would not be let in now.
    NotAllowed(Ended),
    /// It had no request in the time for one.
    Unused,
    /// It has had its share of tunnels. Those that it has go on, and are judged as before.
    Used,
}

impl Living<'_> {
    async fn end(&self) -> End {
        let mut stopping = self.shared.stopping.subscribe();
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => End::Stopping,
            ended = live::not_allowed(self.shared, self.connection) => End::NotAllowed(ended),
            () = self.unused() => End::Unused,
            () = self.connection.upgraded.are_many() => End::Used,
        }
    }

    /// Waits until an HTTP/2 connection has had no request in the time for a head: hyper waits for ever for a preface, and asks
    /// whether somebody is there only behind it. HTTP/1 has the time for each head.
    async fn unused(&self) {
        if let (Http::Two, Some(limit)) = (self.http, self.connection.head_limit()) {
            // Boxed: no connection waits for it for long.
            Box::pin(tokio::time::sleep(limit)).await;
            if !self.connection.conduct.has_begun() {
                return;
            }
        }
        std::future::pending().await
    }

    async fn drive(&self, mut connection: Pin<Box<impl Graceful>>) {
        let mut cut = pin!(self.connection.conduct.ends(&self.switch));
        let end = loop {
            let end = Dormant::new(async {
                tokio::select! {
                    // Whoever behaves badly is not waited for.
                    _ = cut.as_mut() => None,
                    end = self.end() => Some(end),
                }
            });
            let end = tokio::select! {
                biased;
                _ = connection.as_mut() => None,
                end = end => end,
            };
            match end {
                None => return,
                Some(End::Used) => connection.as_mut().graceful_shutdown(),
                Some(end) => break end,
            }
        };
        // An idle HTTP/1 connection would be closed under a request that is on its way; responses ask to close it.
        let is_asked = matches!(end, End::NotAllowed(Ended::NotTrusted(_))) && self.http == Http::One;
        if !is_asked {
            connection.as_mut().graceful_shutdown();
        }
        let drained = async {
            match end {
                End::Stopping | End::Used => drop(connection.await),
                End::NotAllowed(_) | End::Unused => {
                    let drain = self.shared.live.load().snapshot.mesh.live.drain;
                    let _ = tokio::time::timeout(drain, connection).await;
                }
            }
        };
        tokio::select! {
            () = drained => {}
            _ = cut => {}
        }
    }

    /// Another protocol is spoken now, in which nobody can be asked to end.
    async fn drive_upgraded(&self) {
        tokio::select! {
            // ORDER: what is gone is not judged, nor counted.
            biased;
            () = self.switch.gone() => {}
            _ = live::not_allowed(self.shared, self.connection) => self.switch.cut(),
        }
    }
}

impl Drop for Living<'_> {
    /// The listener waits no longer, or nobody does: upgraded connections end as the others.
    fn drop(&mut self) {
        self.switch.cut();
    }
}

/// A connection that can be told to take no further request.
trait Graceful: Future {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

type One<P> = http1::UpgradeableConnection<TokioIo<Stream>, Answering<P>>;
type Two<P> = http2::Connection<TokioIo<Stream>, Streams<P>, Boxing>;

impl<P: Port> Graceful for One<P> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<P: Port> Graceful for Two<P> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A port as hyper calls it.
struct Answering<P> {
    connection: Arc<Connection>,
    port: P,
}

impl<P> Answering<P> {
    /// A request at the pace that the peer has to keep.
    fn paced(&self, request: Request<Incoming>) -> Request<Body> {
        let (head, body) = request.into_parts();
        let body = self.connection.body(&head, body);
        Request::from_parts(head, body)
    }
}

impl<P: Port> hyper::service::Service<Request<Incoming>> for Answering<P> {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answered<BoxError>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.port.answer(&self.connection, self.paced(request))
    }
}

/// The same for HTTP/2. A request is judged by the task of its stream: the connection's has all streams to serve.
struct Streams<P>(Answering<P>);

impl<P: Port> hyper::service::Service<Request<Incoming>> for Streams<P> {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Deferred<OfStream<P>, BoxError>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Self(answering) = self;
        Deferred::new(OfStream {
            request: answering.paced(request),
            connection: Arc::clone(&answering.connection),
            port: answering.port.clone(),
        })
    }
}

/// A request of a stream.
struct OfStream<P> {
    connection: Arc<Connection>,
    port: P,
    request: Request<Body>,
}

impl<P: Port> Begin<BoxError> for OfStream<P> {
    fn begin(self) -> Answered<BoxError> {
        self.port.answer(&self.connection, self.request)
    }
}
