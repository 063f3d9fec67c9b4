//! The way out: from a request to a connection of the endpoint that was picked.

mod attempt;
pub(crate) mod call;
pub(crate) mod clusters;
pub mod connect;
mod error;
mod exchange;
pub mod hop;
mod mirror;
pub mod pool;
pub(crate) mod repeat;
pub mod replay;
mod shape;
pub(crate) mod stack;
mod tee;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

pub use error::Error;

use crate::body::{Body, BoxError};
use crate::in_place::{boxed, pinned};
use crate::mesh::Shared;
use stack::{Via, exchange};

/// Sends requests by the policy in force. Made by [`Mesh::client`](crate::Mesh::client).
///
/// Requests name their service in the URI or in `Host` (`http://orders/api/orders`): route, endpoint, mTLS,
/// retries and timeouts follow from the policy. It is always ready; limits refuse in `call`.
///
/// A failure is an [`Error`], but for gRPC: a gRPC request gets a response whose `grpc-status` says what
/// happened, as its client expects.
///
/// # Cancel safety
///
/// Dropping the future of a call gives the request up: nothing is counted against an endpoint.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
    via: Via,
}

impl Client {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, via: Via::Mesh }
    }

    /// Sends a request. The same as the tower service, without the need for `&mut`.
    ///
    /// # Errors
    ///
    /// [`Error`], unless it is a gRPC request.
    pub fn send<B>(&self, request: Request<B>) -> ResponseFuture
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let request = boxed(|| request.map(Body::new));
        let (shared, via) = (Arc::clone(&self.shared), self.via.clone());
        ResponseFuture {
            inner: pinned(|| exchange(shared, via, request)),
        }
    }
}

fn grpc_response(error: Error) -> Response<Body> {
    let mut response = error.to_grpc_response();
    response.extensions_mut().insert(Arc::new(error));
    response
}

impl<B> Service<Request<B>> for Client
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    /// Always ready: which endpoint a request goes to is not known before `call`.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.send(request)
    }
}

/// A response under way.
#[must_use = "a request is sent by awaiting its response"]
pub struct ResponseFuture {
    inner: Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>,
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(self.inner.as_mut().poll(cx)) {
            // Errors of gRPC requests are answers.
            Err(error) if error.is_grpc() => Poll::Ready(Ok(grpc_response(error))),
            sent => Poll::Ready(sent),
        }
    }
}

impl std::fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
