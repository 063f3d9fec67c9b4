//! When a request, and each try of it, has to be over.
//!
//! Three limits make one [`Deadline`]: the route's `timeout` for the whole exchange with all its tries and pauses, the
//! caller's own (`grpc-timeout`), which the route's caps, and `perTryTimeout`. A driver arms one timer at a time, at
//! [`Deadline::next`], and learns from the same call what to say when it fires.
//!
//! ```
//! use std::time::Duration;
//! use mesh_core::decide::deadline::{Deadline, Expiry};
//! use mesh_core::time::Timestamp;
//!
//! let start = Timestamp::ZERO;
//! let deadline = Deadline::new(start, Some(Duration::from_secs(5)), Some(Duration::from_secs(2)));
//! assert_eq!(deadline.next(start), Some((start + Duration::from_secs(2), Expiry::PerTry)));
//! let third = start + Duration::from_secs(4);
//! assert_eq!(deadline.next(third), Some((start + Duration::from_secs(5), Expiry::Request)));
//! ```

mod grpc_timeout;
#[cfg(test)]
mod tests;

pub use grpc_timeout::{GRPC_TIMEOUT, GrpcTimeoutError, format_grpc_timeout, grpc_timeout, parse_grpc_timeout};

use std::time::Duration;

use super::health::{LocalError, Verdict};
use crate::outcome::Outcome;
use crate::time::Timestamp;

/// The limits of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    start: Timestamp,
    /// The earliest limit of the whole exchange, and whose it is.
    request: Option<(Timestamp, Expiry)>,
    per_try: Option<Duration>,
}

/// Which limit ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// The route's, for the whole exchange.
    Request,
    /// The caller's own, for the whole exchange.
    Caller,
    /// That of a single try: another one may follow.
    PerTry,
}

impl Expiry {
    /// What happened to the request, or to the try.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Request | Self::Caller => Outcome::RequestTimeout,
            Self::PerTry => Outcome::PerTryTimeout,
        }
    }

    /// What it says about the endpoint: nothing, where the caller chose the limit.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Caller => Verdict::Neutral,
            Self::Request | Self::PerTry => Verdict::LocalOrigin(LocalError::Timeout),
        }
    }
}

impl Deadline {
    /// The limits of a policy: `request` for the whole exchange from `start` on, `per_try` for each try. `None` is no limit.
    #[must_use]
    pub fn new(start: Timestamp, request: Option<Duration>, per_try: Option<Duration>) -> Self {
        Self {
            start,
            request: request.map(|limit| (start + limit, Expiry::Request)),
            per_try,
        }
    }

    /// The same, with the limit that the caller set (its `grpc-timeout`), where that is shorter.
    #[must_use]
    pub fn with_caller_limit(mut self, limit: Option<Duration>) -> Self {
        let own = limit.map(|limit| (self.start + limit, Expiry::Caller));
        self.request = match (self.request, own) {
            (Some(route), Some(own)) => Some(if own.0 < route.0 { own } else { route }),
            (route, own) => route.or(own),
        };
        self
    }

    /// When the whole exchange has to be over, and whose limit that is.
    #[must_use]
    pub const fn of_request(&self) -> Option<(Timestamp, Expiry)> {
        self.request
    }

    /// When the whole exchange has to be over.
    #[must_use]
    pub const fn request(&self) -> Option<Timestamp> {
        match self.request {
            Some((at, _)) => Some(at),
            None => None,
        }
    }

    /// When a try that starts at `now` has to be over; `None` where the limit of the whole exchange comes first, or there is none.
    #[must_use]
    pub fn per_try(&self, now: Timestamp) -> Option<Timestamp> {
        let at = now + self.per_try?;
        self.request().is_none_or(|request| at < request).then_some(at)
    }

    /// The limit that runs out first for a try that starts at `now`.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<(Timestamp, Expiry)> {
        self.per_try(now).map(|at| (at, Expiry::PerTry)).or(self.request)
    }

    /// Whose limit of the whole exchange is over at `now`, where it is.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> Option<Expiry> {
        self.request.filter(|(at, _)| *at <= now).map(|(_, expiry)| expiry)
    }

    /// What is left of the whole exchange at `now`, to be sent on (`grpc-timeout`); `None` is no limit.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        self.request().map(|at| at.since(now))
    }

    /// Whether there is time for a retry after a pause: a pause that would last until the limit or beyond is not worth it.
    #[must_use]
    pub fn allows_pause(&self, pause: Duration, now: Timestamp) -> bool {
        self.expired(now + pause).is_none()
    }
}
