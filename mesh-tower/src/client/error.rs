//! The one error of the client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use mesh_core::decide::health::Verdict;
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::Origin;

use crate::body::{Body, BoxError, TooSlow};

/// Why a request got no response. Says what happened, which rule decided it, and what an HTTP server would
/// have answered.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    outcome: Outcome,
    flags: &'static str,
    /// Whether the request was gRPC.
    is_grpc: bool,
    message: Option<String>,
    route: Option<Arc<str>>,
    origin: Option<Origin>,
    attempts: u32,
    /// What it says of the endpoint, where the outcome alone does not tell.
    verdict: Option<Verdict>,
    source: Option<BoxError>,
}

impl Error {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            inner: Box::new(Inner {
                outcome,
                flags: outcome.flag(),
                is_grpc: false,
                message: None,
                route: None,
                origin: None,
                attempts: 0,
                verdict: None,
                source: None,
            }),
        }
    }

    pub(crate) fn message(mut self, message: impl Into<String>) -> Self {
        self.inner.message = Some(message.into());
        self
    }

    pub(crate) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    pub(crate) fn blaming(mut self, verdict: Verdict) -> Self {
        self.inner.verdict = Some(verdict);
        self
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.inner.verdict
    }

    pub(crate) fn with_flags(mut self, flags: &'static str) -> Self {
        self.inner.flags = flags;
        self
    }

    pub(crate) fn of_grpc(mut self, is_grpc: bool) -> Self {
        self.inner.is_grpc = is_grpc;
        self
    }

    /// Whether its request was gRPC, so that an answer of gRPC is expected.
    pub(crate) fn is_grpc(&self) -> bool {
        self.inner.is_grpc
    }

    pub(crate) fn on_route(mut self, route: Option<Arc<str>>, origin: Option<Origin>, attempts: u32) -> Self {
        let inner = &mut *self.inner;
        (inner.route, inner.origin, inner.attempts) = (route, origin, attempts);
        self
    }

    /// What happened.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.inner.outcome
    }

    /// The status that a proxy would have answered with: 503 for an overflow, 504 for a timeout, 400 for a request whose
    /// body failed, or 408 where that is known to have come too slowly.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.outcome() {
            Outcome::CallerGone if self.is_too_slow() => StatusCode::REQUEST_TIMEOUT,
            outcome => outcome.status(),
        }
    }

    /// HTTP/2 tells that a body has failed, and not why.
    fn is_too_slow(&self) -> bool {
        let first = std::error::Error::source(self);
        std::iter::successors(first, |error| error.source()).any(|error| error.is::<TooSlow>())
    }

    /// The gRPC status that a proxy would have answered with.
    #[must_use]
    pub fn grpc_status(&self) -> u8 {
        self.inner.outcome.grpc_status()
    }

    /// Envoy's response flags: `UO`, `UH`, `UF,URX` …
    #[must_use]
    pub fn flags(&self) -> &'static str {
        self.inner.flags
    }

    /// The name of the route that took the request.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.inner.route.as_deref()
    }

    /// Where that route was written.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.inner.origin.as_ref()
    }

    /// How often the request was sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.inner.attempts
    }

    /// Whether time ran out: for the whole exchange, or for the last try.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.outcome(), Outcome::RequestTimeout | Outcome::PerTryTimeout)
    }

    /// Whether a limit of the policy was reached; the server was not asked.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        self.outcome() == Outcome::Overflow
    }

    /// Whether the policy has no way for the request.
    #[must_use]
    pub fn is_no_route(&self) -> bool {
        matches!(
            self.outcome(),
            Outcome::NoRoute | Outcome::UnknownHost | Outcome::NoService
        )
    }

    /// Whether there was no endpoint to ask.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self.outcome(), Outcome::NoHealthyEndpoint | Outcome::DnsFailure)
    }

    /// Whether no connection could be made, TLS included.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(
            self.outcome(),
            Outcome::ConnectFailure | Outcome::TlsFailure | Outcome::IdentityMismatch
        )
    }

    /// Whether the server is not who the policy expects.
    #[must_use]
    pub fn is_identity_mismatch(&self) -> bool {
        self.outcome() == Outcome::IdentityMismatch
    }

    /// When it makes sense to try again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        // An overflow lasts as long as the requests that are under way; a second is HTTP's smallest unit.
        self.is_overflow().then_some(Duration::from_secs(1))
    }

    /// The response that a proxy would have answered with. Its text says no more than the outcome.
    #[must_use]
    pub fn to_response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.outcome().details()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if self.retry_after().is_some() {
            headers.insert("retry-after", HeaderValue::from_static("1"));
        }
        response
    }

    /// The same for a gRPC call: a response without a body whose headers are the trailers.
    #[must_use]
    pub fn to_grpc_response(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(u16::from(self.grpc_status())));
        headers.insert("grpc-message", HeaderValue::from_static(self.outcome().details()));
        response
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.message {
            Some(message) => f.write_str(message)?,
            None => f.write_str(self.outcome().details())?,
        }
        if let (Some(route), Some(origin)) = (&self.inner.route, &self.inner.origin) {
            write!(f, " (route `{route}`, {origin})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("outcome", &self.outcome())
            .field("flags", &self.flags())
            .field("route", &self.route())
            .field("attempts", &self.attempts())
            .field("message", &self.inner.message)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|source| &**source as _)
    }
}
