//! How a try ended, as far as retries care.

use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::outcome::Outcome;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How far a request got that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Not a byte of it was sent.
    NotSent,
    /// The server refused it unread: HTTP/2 `REFUSED_STREAM`, or a stream beyond the last one of a `GOAWAY`.
    Refused,
    /// The server may have seen it.
    Sent,
}

/// The result of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    result: Result<StatusCode, Outcome>,
    grpc_status: Option<u8>,
    progress: Progress,
    is_rate_limited: bool,
}

impl Attempt {
    /// The server answered. `grpc_status` is that of the response *headers* of a gRPC request (a trailers-only answer); one that
    /// comes in later trailers is too late for a retry.
    #[must_use]
    pub const fn response(status: StatusCode, grpc_status: Option<u8>) -> Self {
        Self {
            result: Ok(status),
            grpc_status,
            progress: Progress::Sent,
            is_rate_limited: false,
        }
    }

    /// The server did not answer, or was not asked.
    ///
    /// The request counts as never sent for the outcomes of connecting, as sent for all others; see
    /// [`Attempt::with_progress`].
    #[must_use]
    pub const fn failed(outcome: Outcome) -> Self {
        let progress = if is_connecting(outcome) {
            Progress::NotSent
        } else {
            Progress::Sent
        };
        Self {
            result: Err(outcome),
            grpc_status: None,
            progress,
            is_rate_limited: false,
        }
    }

    /// The same, where the driver knows how far the request got.
    #[must_use]
    pub const fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// The same, where the response carries `x-envoy-ratelimited`: it is not retried.
    #[must_use]
    pub const fn rate_limited(mut self) -> Self {
        self.is_rate_limited = true;
        self
    }

    /// The status, where the server answered.
    pub(super) fn status(&self) -> Option<u16> {
        self.result.ok().map(|status| status.as_u16())
    }

    pub(super) const fn grpc_status(&self) -> Option<u8> {
        self.grpc_status
    }

    pub(super) const fn is_rate_limited(&self) -> bool {
        self.is_rate_limited
    }

    /// Whether an endpoint was asked and did not answer.
    ///
    /// Local refusals and the limit of the whole request are no such thing: they are never retried.
    pub(super) const fn is_unanswered(&self) -> bool {
        match self.result {
            Ok(_) | Err(Outcome::RequestTimeout) => false,
            Err(outcome) => outcome.blames_endpoint(),
        }
    }

    /// Whether it failed: by a 5xx, by its gRPC status, or without an answer.
    pub(super) fn is_failure(&self) -> bool {
        match self.status() {
            Some(status) => status >= 500 || self.grpc_status.is_some_and(|status| status != 0),
            None => self.is_unanswered(),
        }
    }

    /// Whether it is an answer that no condition takes but by its very status.
    pub(super) fn is_success(&self) -> bool {
        let is_ok = self.status().is_some_and(|status| (200..300).contains(&status));
        is_ok && self.grpc_status.is_none_or(|status| status == 0)
    }

    pub(super) const fn is_connect_failure(&self) -> bool {
        matches!(self.result, Err(outcome) if is_connecting(outcome))
    }

    pub(super) fn is_refused(&self) -> bool {
        self.is_unanswered() && self.progress == Progress::Refused
    }

    pub(super) fn is_not_sent(&self) -> bool {
        self.is_unanswered() && self.progress == Progress::NotSent
    }

    /// Whether no server can have processed the request.
    pub(super) fn is_unprocessed(&self) -> bool {
        self.is_refused() || self.is_not_sent()
    }
}

/// Failures before a connection stands. A failed TLS handshake is one, as in Envoy.
const fn is_connecting(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::ConnectFailure | Outcome::TlsFailure | Outcome::IdentityMismatch
    )
}

/// Whether a request may be processed twice. Complete: it may or it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Its method is idempotent, or it carries an `Idempotency-Key`.
    Safe,
    /// It may have an effect each time.
    Unsafe,
}

impl Repeat {
    /// By RFC 9110 §9.2: GET, HEAD, OPTIONS, TRACE, PUT and DELETE are idempotent, all other methods only with an
    /// `Idempotency-Key` that is not empty (draft-ietf-httpapi-idempotency-key-header).
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let has_key = || headers.get(&IDEMPOTENCY_KEY).is_some_and(|key| !key.is_empty());
        if method.is_idempotent() || has_key() {
            Self::Safe
        } else {
            Self::Unsafe
        }
    }
}
