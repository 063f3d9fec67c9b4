use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{FutureExt as _, lazy};
use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::connection::Connection;
use super::peer::Peer;
use super::stack;
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
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let connection = self.origin.connection(request.extensions());
        // The instance that was made ready takes the request; its clone waits for the next one.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let request = request.map(Body::new);
        // Judged when it is polled: in the task, the span and the scopes that it runs in.
        let judged = lazy(move |_| stack::serve(connection, request, move |request| ready.call(request)));
        Box::pin(judged.flatten())
    }
}
