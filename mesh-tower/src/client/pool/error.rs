use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::Request;

use super::state::Origin;
use crate::{body::Body, client::connect::ConnectError};

/// What kept a pool from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// The limit on waiting requests is reached. A local rejection: nothing was tried.
    Overflow,
    /// The pool was closed. A local rejection: nothing was tried.
    Closed,
    /// No connection could be made, or a TLS peer refused it right after the handshake.
    Connect,
    /// The connection closed before the request was written.
    Canceled,
    /// The peer says that it has not looked at the request (`REFUSED_STREAM`, or `GOAWAY` with an
    /// earlier last stream).
    Refused,
    /// The connection or stream broke after the request was sent, in whole or in part.
    Reset,
    /// The peer's answer is not HTTP.
    Protocol,
    /// The body of the request failed: the caller's doing.
    RequestBody,
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendError {
    kind: SendErrorKind,
    sent: Sent,
    source: Option<Source>,
    origin: Origin,
    /// Behind a lock that nobody waits for: errors are shared between threads, bodies need not be.
    request: Mutex<Option<Box<Request<Body>>>>,
}

/// Whether the peer may have acted on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    No,
    Perhaps,
}

/// The cause of an error; a failed connect may fail several waiting requests.
#[derive(Debug)]
enum Source {
    Connect(Arc<ConnectError>),
    Http(hyper::Error),
}

impl SendError {
    /// What happened.
    #[must_use]
    pub fn kind(&self) -> SendErrorKind {
        self.kind
    }

    /// Whether the peer has certainly not acted on the request, so that sending it again is safe
    /// whatever its method.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.sent == Sent::No
    }

    /// Whether a kept-alive connection closed before the head of an answer was complete.
    ///
    /// Then the peer most likely closed it for being idle while the request was on its way, and a
    /// request with an idempotent method may be sent again (RFC 9112 section 9.3.1).
    #[must_use]
    pub fn is_stale_connection(&self) -> bool {
        let is_cut = matches!(&self.source, Some(Source::Http(error)) if error.is_incomplete_message());
        self.kind == SendErrorKind::Reset && self.origin == Origin::Kept && is_cut
    }

    /// Whether this process refused the request: no fault of the endpoint.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.kind, SendErrorKind::Overflow | SendErrorKind::Closed)
    }

    /// Why no connection could be made.
    #[must_use]
    pub fn connect_error(&self) -> Option<&ConnectError> {
        match &self.source {
            Some(Source::Connect(error)) => Some(error),
            _ => None,
        }
    }

    /// Takes the request back when nothing of it was sent. Hop-by-hop headers are gone from it, and
    /// its URI and `Host` are in the form of the connection that it was meant for.
    pub fn take_request(&mut self) -> Option<Box<Request<Body>>> {
        let request = self.request.get_mut().unwrap_or_else(PoisonError::into_inner);
        request.take()
    }

    pub(super) fn waiting(error: WaitError, request: Box<Request<Body>>) -> Self {
        let (kind, source) = match error {
            WaitError::Overflow => (SendErrorKind::Overflow, None),
            WaitError::Closed => (SendErrorKind::Closed, None),
            WaitError::Connect(error) => (SendErrorKind::Connect, Some(Source::Connect(error))),
        };
        Self {
            kind,
            sent: Sent::No,
            source,
            origin: Origin::Fresh,
            request: Mutex::new(Some(request)),
        }
    }

    /// For a connection that TLS ended with its first read. A request that was written by then
    /// counts as sent: not every alert proves that the peer has read nothing.
    pub(super) fn refused(refusal: Arc<ConnectError>, request: Option<Box<Request<Body>>>) -> Self {
        let sent = if request.is_some() { Sent::No } else { Sent::Perhaps };
        Self {
            kind: SendErrorKind::Connect,
            sent,
            source: Some(Source::Connect(refusal)),
            origin: Origin::Fresh,
            request: Mutex::new(request),
        }
    }

    /// For a peer that does not keep to HTTP, such as one that switches to another protocol unasked: whoever passed that on
    /// would let the peer's bytes stand for answers to others.
    pub(super) const fn invalid(origin: Origin) -> Self {
        Self {
            kind: SendErrorKind::Protocol,
            sent: Sent::Perhaps,
            source: None,
            origin,
            request: Mutex::new(None),
        }
    }

    pub(super) fn sending(error: hyper::Error, origin: Origin, request: Option<Box<Request<Body>>>) -> Self {
        let kind = match request {
            Some(_) => SendErrorKind::Canceled,
            None => classify(&error),
        };
        let sent = match kind {
            SendErrorKind::Reset | SendErrorKind::Protocol | SendErrorKind::RequestBody => Sent::Perhaps,
            _ => Sent::No,
        };
        Self {
            kind,
            sent,
            source: Some(Source::Http(error)),
            origin,
            request: Mutex::new(request),
        }
    }
}

fn classify(error: &hyper::Error) -> SendErrorKind {
    if h2_error(error).is_some_and(is_untouched) {
        SendErrorKind::Refused
    } else if error.is_user() || h2_error(error).is_some_and(is_own_reset) {
        SendErrorKind::RequestBody
    } else if error.is_parse() {
        SendErrorKind::Protocol
    } else {
        SendErrorKind::Reset
    }
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|source| source.downcast_ref())
}

/// Over HTTP/2 a request's body that fails resets its stream, and all that the answer learns is that this side did.
fn is_own_reset(error: &h2::Error) -> bool {
    error.is_reset() && !error.is_remote() && !error.is_library()
}

/// Whether a response's body has failed because the body of its request did.
pub(crate) fn is_of_request(error: &(dyn Error + 'static)) -> bool {
    let http = error.downcast_ref().and_then(h2_error);
    http.is_some_and(is_own_reset)
}

/// RFC 9113 sections 8.7 and 6.8: both say that the stream was not processed.
fn is_untouched(error: &h2::Error) -> bool {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => error.is_remote(),
        Some(h2::Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
        _ => false,
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SendErrorKind::Overflow => "too many requests wait for a connection",
            SendErrorKind::Closed => "connection pool is closed",
            SendErrorKind::Connect => "no connection to the endpoint",
            SendErrorKind::Canceled => "connection closed before the request was sent",
            SendErrorKind::Refused => "endpoint refused the request unseen",
            SendErrorKind::Reset => "connection broke while the request was under way",
            SendErrorKind::Protocol => "endpoint's answer is not valid HTTP",
            SendErrorKind::RequestBody => "request body failed",
        })
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.source.as_ref()? {
            Source::Connect(error) => Some(&**error),
            Source::Http(error) => Some(error),
        }
    }
}

/// Why a request got no connection.
#[derive(Clone, Debug)]
pub(super) enum WaitError {
    Overflow,
    Closed,
    Connect(Arc<ConnectError>),
}
