//! From the pool to a request and back.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::{body::Incoming, client::conn::http1};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{
    Shared,
    connection::Connection,
    error::WaitError,
    permits::Permit,
    send::Awaited,
    state::{Grant, Granted, Origin, Protocol, Sender},
    timer::{Elapsed, Timers},
};
use crate::body::{Body, End, OnEnd};
use crate::client::connect::ConnectError;

impl Shared {
    /// Gets a connection that is free now.
    pub(super) fn take(self: &Arc<Self>, now: Instant) -> Option<(Lease, Sender)> {
        let grant = {
            let mut state = self.state();
            let grant = state.take_ready(now)?;
            self.turns.has_active(state.active);
            grant
        };
        Some(Lease::new(Arc::clone(self), grant))
    }

    /// Gets a connection, at once or after waiting for one.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped leaves the queue; a connection that it was given meanwhile goes to
    /// the next request.
    pub(super) async fn checkout(
        self: &Arc<Self>,
        limit: Option<Instant>,
        now: Instant,
    ) -> Result<Result<(Lease, Sender), WaitError>, Awaited> {
        match self.take_or_wait(now) {
            Ok(Place::Served(grant)) => Ok(Ok(Lease::new(Arc::clone(self), grant))),
            Ok(Place::Queued(waiting)) => {
                self.open_connections();
                let waited = Timers::default().until(limit, pin!(waiting)).await;
                waited.map_err(|Elapsed| self.state().awaited())
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn take_or_wait(self: &Arc<Self>, now: Instant) -> Result<Place, WaitError> {
        let mut state = self.state();
        if let Some(grant) = state.take_ready(now) {
            return Ok(Place::Served(grant));
        }
        if state.is_closed() {
            return Err(WaitError::Closed);
        }
        let pending = self.permits.pending().ok_or(WaitError::Overflow)?;
        let (id, receiver) = state.wait();
        let shared = Arc::clone(self);
        Ok(Place::Queued(Waiting {
            shared,
            id,
            receiver,
            is_over: false,
            _pending: pending,
        }))
    }
}

enum Place {
    Served(Grant),
    Queued(Waiting),
}

/// A request's place in the queue.
struct Waiting {
    shared: Arc<Shared>,
    id: u64,
    receiver: oneshot::Receiver<Granted>,
    is_over: bool,
    _pending: Permit,
}

impl Future for Waiting {
    type Output = Result<(Lease, Sender), WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = ready!(Pin::new(&mut self.receiver).poll(cx));
        self.is_over = true;
        let granted = granted.unwrap_or(Err(WaitError::Closed));
        Poll::Ready(granted.map(|grant| Lease::new(Arc::clone(&self.shared), grant)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.receiver.close();
        match self.receiver.try_recv() {
            Ok(Ok(grant)) => {
                let (lease, sender) = Lease::new(Arc::clone(&self.shared), grant);
                lease.give_back_unused(sender);
            }
            Ok(Err(_)) => {}
            Err(_) => self.shared.state().stop_waiting(self.id),
        }
    }
}

/// A connection in the hands of one request.
///
/// It goes back to the pool when the response has arrived whole, or its body has ended. Dropped before its response came,
/// it takes its HTTP/1 connection with it, or ends its HTTP/2 stream.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    protocol: Protocol,
    /// Present while the body of an HTTP/1 response is read, if the connection is to be kept.
    sender: Option<http1::SendRequest<Body>>,
    origin: Origin,
    is_over: bool,
}

/// What becomes of an HTTP/1 connection after a complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Keep,
    Close,
}

impl Lease {
    fn new(shared: Arc<Shared>, grant: Grant) -> (Self, Sender) {
        let protocol = match grant.sender {
            Sender::Http1(_) => Protocol::Http1,
            Sender::Http2(_) => Protocol::Http2,
        };
        let lease = Self {
            shared,
            connection: grant.connection,
            protocol,
            sender: None,
            origin: grant.origin,
            is_over: false,
        };
        (lease, grant.sender)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Why there was no connection after all: TLS failed before the peer sent anything.
    pub(super) fn refusal(&self) -> Option<Arc<ConnectError>> {
        self.connection.refusal().cloned()
    }

    /// Ties the connection to the response's body.
    pub(super) fn attach(mut self, response: Response<Incoming>, sender: Sender, after: After) -> Response<Body> {
        // What is not kept here ends with the exchange that is under way.
        if let Sender::Http1(sender) = sender
            && after == After::Keep
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            self.sender = Some(sender);
        }
        response.map(|body| Body::pooled(body, self))
    }

    /// Gives back a connection whose answer is all there.
    pub(super) fn settle(mut self, response: Response<Incoming>, data: Bytes, sender: Sender) -> Response<Body> {
        if let Sender::Http1(sender) = sender {
            self.sender = Some(sender);
        }
        self.give_back();
        response.map(|_| Body::full(data))
    }

    /// Ends the request, and gives back a connection that may serve another one.
    fn give_back(&mut self) {
        self.is_over = true;
        let sender = self.sender.take().filter(|sender| !sender.is_closed());
        let refused = {
            let mut state = self.shared.state();
            state.end_request();
            let refused = match (self.protocol, sender) {
                (Protocol::Http1, Some(sender)) if sender.is_ready() => {
                    state.put_http1(Arc::clone(&self.connection), sender)
                }
                (Protocol::Http1, Some(sender)) => {
                    self.connection.return_later(sender);
                    None
                }
                (Protocol::Http1, None) => None,
                (Protocol::Http2, _) => {
                    if self.connection.requests() == 1 {
                        self.connection.refresh_max_streams();
                    }
                    state.end_stream(self.connection.id());
                    None
                }
            };
            // A connection that is back may have gone to the next request.
            self.shared.turns.has_active(state.active);
            refused
        };
        drop(refused);
    }

    /// Gives back a connection that came too late for its request.
    fn give_back_unused(mut self, sender: Sender) {
        self.connection.forget_request();
        if let Sender::Http1(sender) = sender {
            self.sender = Some(sender);
        }
        self.give_back();
    }
}

impl OnEnd for Lease {
    fn on_end(&mut self, end: End<'_>) {
        match end {
            End::Complete(_) => {}
            // Nobody reads the rest. If hyper has, the connection is as clean as after any response.
            End::Dropped => self.sender = self.sender.take().filter(http1::SendRequest::is_ready),
            End::Failed(_) => self.sender = None,
        }
        self.give_back();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_over {
            self.sender = None;
            self.give_back();
        }
    }
}
