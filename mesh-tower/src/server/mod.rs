//! The way in: from a socket to the application.
//!
//! Accept, tell TLS from plain text, prove the peer's identity, bring the request into one form, authorize, serve, drain.
//!
//! | you own | call |
//! |---|---|
//! | a listener and a service | [`Mesh::serve`] |
//! | an `axum::serve` | [`Mesh::listener`] and [`Mesh::layer`] |
//! | all of it | [`Mesh::layer`] |
//!
//! ```no_run
//! # async fn example(mesh: mesh_tower::Mesh) -> std::io::Result<()> {
//! use axum::{Router, routing::get};
//! use mesh_tower::server::Identity;
//!
//! let app = Router::new().route("/", get(|Identity(id): Identity| async move { format!("hello {id}") }));
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
//! mesh.serve(listener, app).await
//! # }
//! ```

pub(crate) mod accept;
mod admission;
mod answer;
mod client_cert;
mod conduct;
pub(crate) mod connection;
mod deferred;
mod exchange;
mod ext_authz;
pub(crate) mod jwt;
mod layer;
mod listener;
mod live;
mod peer;
mod places;
pub(crate) mod plaintext;
mod respond;
mod running;
pub(crate) mod secure;
pub(crate) mod stack;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tower::util::Oneshot;
use tower_service::Service;

pub use client_cert::ForwardedClient;
pub use jwt::{AwsLc, Claims};
pub use layer::{MeshFuture, MeshLayer, MeshService};
pub use listener::MeshListener;
pub use peer::{Identity, Peer};

use crate::body::{Body, BoxError};
use crate::mesh::{Mesh, Shared};
use accept::Port;
use connection::Connection;
use secure::{Refused, Secured};
use stack::Answered;

impl Mesh {
    /// Serves `service` on `listener` until [`Mesh::shutdown`]: mTLS as the policy wants it on this port,
    /// authorization, metrics, log, trace; then lets open requests finish.
    ///
    /// Any tower service of HTTP will do: an axum `Router`, tonic's `Routes`. Each request has a [`Peer`] in its
    /// extensions. Refusals are responses (403, 401, 400), for gRPC a status.
    ///
    /// # Errors
    ///
    /// None at present: a listener that cannot accept is asked again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener and all connections at once.
    pub async fn serve<S, B>(&self, listener: TcpListener, service: S) -> io::Result<()>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let shared = Arc::clone(self.shared());
        let port = MeshPort {
            shared: Arc::clone(&shared),
            service,
        };
        accept::run(listener, shared, port).await
    }

    /// The same stack as a layer, for a listener of the application's own.
    ///
    /// It finds the [`Peer`] that [`Mesh::listener`] left in the request's extensions (with axum in `ConnectInfo`); a
    /// request without one counts as plain text from nowhere, which STRICT refuses.
    #[must_use]
    pub fn layer(&self) -> MeshLayer {
        MeshLayer::new(Arc::clone(self.shared()))
    }

    /// A listener that proves identities, for `axum::serve`; its handshakes run beside each other.
    ///
    /// ```no_run
    /// # async fn example(mesh: mesh_tower::Mesh, app: axum::Router) -> std::io::Result<()> {
    /// use mesh_tower::server::Peer;
    ///
    /// let listener = mesh.listener(tokio::net::TcpListener::bind("0.0.0.0:8080").await?);
    /// let app = app.layer(mesh.layer());
    /// axum::serve(listener, app.into_make_service_with_connect_info::<Peer>()).await
    /// # }
    /// ```
    #[must_use]
    pub fn listener(&self, listener: TcpListener) -> MeshListener {
        MeshListener::new(Arc::clone(self.shared()), listener)
    }
}

/// A port of the mesh with its application.
#[derive(Clone)]
struct MeshPort<S> {
    shared: Arc<Shared>,
    service: S,
}

impl<S, B> Port for MeshPort<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn secure(&self, stream: TcpStream, remote: SocketAddr) -> Result<Secured, Refused> {
        secure::mesh(&self.shared, stream, remote).await
    }

    fn answer(&self, connection: &Arc<Connection>, request: Request<Body>) -> Answered<BoxError> {
        let service = self.service.clone();
        stack::serve(connection, request, |request| Oneshot::new(service, request))
    }
}
