use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::connection::Connection;
use super::deferred::{Begin, Deferred};
use super::peer::Peer;
use super::stack::{self, Answered};
use crate::body::{Body, BoxError};
use crate::mesh::Shared;

/// Puts the mesh's stack in front of a service. Made by [`Mesh::layer`](crate::Mesh::layer).
#[derive(Clone, Debug)]
pub struct MeshLayer {
    origin: Arc<Origin>,
}

/// Where requests come from that nobody has introduced: one connection for all of them, made when the first one comes.
#[derive(Debug)]
struct Origin {
    shared: Arc<Shared>,
    unknown: OnceLock<Arc<Connection>>,
}

impl MeshLayer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let unknown = OnceLock::new();
        Self {
            origin: Arc::new(Origin { shared, unknown }),
        }
    }
}

impl<S> Layer<S> for MeshLayer {
    type Service = MeshService<S>;

    fn layer(&self, inner: S) -> MeshService<S> {
        MeshService {
            origin: Arc::clone(&self.origin),
            inner,
        }
    }
}

/// A service behind the mesh's stack.
#[derive(Clone)]
pub struct MeshService<S> {
    origin: Arc<Origin>,
    inner: S,
}

impl<S> fmt::Debug for MeshService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshService").finish_non_exhaustive()
    }
}

impl Origin {
    /// The connection that a request came by.
    fn connection(&self, extensions: &Extensions) -> Arc<Connection> {
        let peer = extensions.get::<Peer>().or_else(|| connect_info(extensions));
        let connection = peer.map(|peer| &peer.connection);
        Arc::clone(
            connection.unwrap_or_else(|| self.unknown.get_or_init(|| Arc::new(Connection::unknown(&self.shared)))),
        )
    }
}

#[cfg(feature = "axum")]
fn connect_info(extensions: &Extensions) -> Option<&Peer> {
    let info = extensions.get::<axum::extract::ConnectInfo<Peer>>();
    info.map(|info| &info.0)
}

#[cfg(not(feature = "axum"))]
fn connect_info(_: &Extensions) -> Option<&Peer> {
    None
}

impl<S, B, R> Service<Request<B>> for MeshService<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = MeshFuture<S, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The instance that was made ready takes the request; its clone waits for the next one.
        let next = self.inner.clone();
        MeshFuture {
            deferred: Deferred::new(Taken {
                connection: self.origin.connection(request.extensions()),
                request: request.map(Body::new),
                service: std::mem::replace(&mut self.inner, next),
            }),
        }
    }
}

/// A request with the service that was made ready for it.
struct Taken<S> {
    connection: Arc<Connection>,
    request: Request<Body>,
    service: S,
}

impl<S, R> Begin<S::Error> for Taken<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    fn begin(self) -> Answered<S::Error> {
        let mut service = self.service;
        stack::serve(&self.connection, self.request, move |request| service.call(request))
    }
}

pin_project! {
    /// The answer of a service behind the mesh's stack, whose errors are `E`.
    pub struct MeshFuture<S, E> {
        #[pin]
        deferred: Deferred<Taken<S>, E>,
    }
}

impl<S, E> fmt::Debug for MeshFuture<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshFuture").finish_non_exhaustive()
    }
}

impl<S, R> Future for MeshFuture<S, S::Error>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().deferred.poll(cx)
    }
}
