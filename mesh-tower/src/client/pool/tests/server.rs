//! An HTTP server that tells by which connection a request came.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Notify, Semaphore},
};

use crate::body::Body;

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// Requests that `/hold` answers.
    gate: Semaphore,
    held: AtomicUsize,
    paths: Mutex<Vec<String>>,
    shutdown: Notify,
}

#[derive(Clone)]
pub(super) enum Speaks {
    Http1,
    Http2 {
        max_streams: Option<u32>,
    },
    /// Sends its settings when the first request has arrived, as over a long way.
    LateHttp2 {
        max_streams: u32,
    },
    Tls(Arc<mesh_tls::config::ServerConfig>),
}

impl Server {
    pub(super) async fn http1() -> Self {
        Self::start(Speaks::Http1).await
    }

    pub(super) async fn http2() -> Self {
        Self::start(Speaks::Http2 { max_streams: None }).await
    }

    pub(super) async fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            held: AtomicUsize::new(0),
            paths: Mutex::default(),
            shutdown: Notify::new(),
        });
        let server = Self { address, inner };
        tokio::spawn(server.clone().accept(listener, speaks));
        server
    }

    async fn accept(self, listener: TcpListener, speaks: Speaks) {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = self.inner.accepted.fetch_add(1, Ordering::SeqCst);
            self.inner.open.fetch_add(1, Ordering::SeqCst);
            let (server, speaks) = (self.clone(), speaks.clone());
            tokio::spawn(async move {
                match speaks {
                    Speaks::Http1 => server.serve_http1(connection, stream).await,
                    Speaks::Http2 { max_streams } => server.serve_http2(connection, stream, max_streams).await,
                    Speaks::LateHttp2 { max_streams } => {
                        for _ in 0..1000 {
                            tokio::task::yield_now().await;
                        }
                        server.serve_http2(connection, stream, Some(max_streams)).await;
                    }
                    Speaks::Tls(config) => server.serve_tls(connection, stream, config).await,
                }
                server.inner.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    async fn serve_tls(
        &self,
        connection: usize,
        stream: tokio::net::TcpStream,
        config: Arc<mesh_tls::config::ServerConfig>,
    ) {
        let limit = std::time::Duration::from_secs(10);
        let Ok((stream, _, alpn)) = mesh_tls::handshake::accept_tls(stream, config, limit).await else {
            return;
        };
        match alpn {
            Some(mesh_tls::config::Alpn::H2) => self.serve_http2(connection, stream, None).await,
            _ => self.serve_http1(connection, stream).await,
        }
    }

    async fn serve_http1(&self, connection: usize, io: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| self.answer(connection, request));
        let served = conn::http1::Builder::new().serve_connection(TokioIo::new(io), service);
        tokio::pin!(served);
        tokio::select! {
            result = &mut served => drop(result),
            () = self.inner.shutdown.notified() => {
                served.as_mut().graceful_shutdown();
                drop(served.await);
            }
        }
    }

    async fn serve_http2(&self, connection: usize, io: impl AsyncRead + AsyncWrite + Unpin, max_streams: Option<u32>) {
        let server = self.clone();
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { server.answer(connection, request).await }
        });
        let mut builder = conn::http2::Builder::new(TokioExecutor::new());
        let served = builder
            .max_concurrent_streams(max_streams)
            .serve_connection(TokioIo::new(io), service);
        tokio::pin!(served);
        tokio::select! {
            result = &mut served => drop(result),
            () = self.inner.shutdown.notified() => {
                served.as_mut().graceful_shutdown();
                drop(served.await);
            }
        }
    }

    async fn answer(&self, connection: usize, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        self.inner.paths.lock().unwrap().push(parts.uri.to_string());
        let response = Response::builder().header("x-connection", connection);
        let response = match parts.uri.path() {
            "/close" => response.header("connection", "close").body(Body::from("bye")),
            "/empty" => response.status(StatusCode::NO_CONTENT).body(Body::empty()),
            "/large" => response.body(Body::from(vec![b'x'; 4 << 20])),
            "/echo" => response.body(Body::from(body.collect().await.unwrap().to_bytes())),
            "/chunked" => {
                let chunk = Ok::<_, Infallible>(http_body::Frame::data(Bytes::from("hello")));
                let body = StreamBody::new(futures_util::stream::iter([chunk]));
                response.body(Body::new(body))
            }
            "/hold" => {
                self.inner.held.fetch_add(1, Ordering::SeqCst);
                self.inner.gate.acquire().await.unwrap().forget();
                self.inner.held.fetch_sub(1, Ordering::SeqCst);
                response.body(Body::from("held"))
            }
            "/request" => {
                let host = parts.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
                let text = format!("{:?} {} host={host:?}", parts.version, parts.uri);
                response.body(Body::new(Full::new(Bytes::from(text))))
            }
            _ if parts.method == http::Method::CONNECT => response.status(400).body(Body::from("no tunnels")),
            _ => response.body(Body::from("hello")),
        };
        Ok(response.unwrap())
    }

    /// Connections so far.
    pub(super) fn accepted(&self) -> usize {
        self.inner.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn open(&self) -> usize {
        self.inner.open.load(Ordering::SeqCst)
    }

    /// Requests that `/hold` keeps.
    pub(super) fn held(&self) -> usize {
        self.inner.held.load(Ordering::SeqCst)
    }

    pub(super) fn release(&self, requests: usize) {
        self.inner.gate.add_permits(requests);
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.inner.paths.lock().unwrap().clone()
    }

    /// Ends all connections in good order.
    pub(super) fn shut_down(&self) {
        self.inner.shutdown.notify_waiters();
    }
}
