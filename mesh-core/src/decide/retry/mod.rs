//! Whether a request is tried again, after which pause, and who pays for it.
//!
//! Four questions, in the order in which a driver asks them after each try:
//!
//! 1. [`decide`]: does the policy name what happened ([`CONDITIONS`], with Envoy's meaning), and may this request be sent twice
//!    ([`Repeat`])?
//! 2. Are there attempts left ([`RetryPolicy::attempts`]) and time ([`super::deadline`])?
//! 3. [`Budget`] and `maxRetries`, through [`super::cluster::Cluster::try_retry`]: would it add too much load?
//! 4. [`backoff`]: how long to wait.
//!
//! # Requests that must not be sent twice
//!
//! Envoy retries a POST on `5xx` if told so. Here a request whose method is not idempotent (RFC 9110 §9.2.2) and that has no
//! `Idempotency-Key` is tried again only if the server surely did not process it: it was never sent, or the server refused it
//! unread. The gRPC conditions are the exception: every gRPC request is a POST, so whoever names such a condition means POSTs.
//!
//! ```
//! use http::{HeaderMap, Method, StatusCode};
//! use mesh_core::decide::retry::{Attempt, Repeat, decide};
//! use mesh_core::outcome::Outcome;
//! use mesh_core::policy::model::traffic::RetryOn;
//!
//! let on: RetryOn = "5xx,connect-failure".parse().unwrap();
//! let unavailable = Attempt::response(StatusCode::SERVICE_UNAVAILABLE, None);
//! let get = Repeat::of(&Method::GET, &HeaderMap::new());
//! let post = Repeat::of(&Method::POST, &HeaderMap::new());
//!
//! assert!(decide(&on, &unavailable, get).is_retry());
//! assert!(!decide(&on, &unavailable, post).is_retry());
//! assert!(decide(&on, &Attempt::failed(Outcome::ConnectFailure), post).is_retry());
//! ```

mod attempt;
mod backoff;
mod budget;
mod condition;
mod list;
#[cfg(test)]
mod tests;

pub use attempt::{Attempt, Progress, Repeat};
pub use backoff::backoff;
pub use budget::Budget;
pub use condition::{CONDITIONS, ConditionRow};
pub use list::RetryOnError;

use crate::policy::model::profile::{ResponseClass, ResponseResult};
use crate::policy::model::traffic::{RetryCondition, RetryOn, RetryPolicy};
use crate::policy::source::Origin;

/// Whether a request is tried again, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Yes, if attempts, time and budget allow it.
    Retry {
        /// The condition that says so, as policies write it.
        condition: &'static str,
    },
    /// No: the result stands.
    Stop(Stop),
}

impl Decision {
    /// Whether it is a retry.
    #[must_use]
    pub const fn is_retry(self) -> bool {
        matches!(self, Self::Retry { .. })
    }
}

/// Why a request is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// No condition of the policy holds.
    NoCondition,
    /// A condition holds, but the server may have processed the request, and its method is not idempotent.
    NotIdempotent,
    /// The server says that it is rate limited (`x-envoy-ratelimited`).
    RateLimited,
}

/// Whether the result of a try calls for another one. Pure, no allocation, O(conditions).
#[must_use]
pub fn decide(on: &RetryOn, attempt: &Attempt, repeat: Repeat) -> Decision {
    // A server that is asked too often is asked again only where the policy says just that, as in Envoy.
    let is_limited = attempt.is_rate_limited();
    if let Some(classes) = on.classes.as_ref().filter(|_| !is_limited) {
        return by_class(classes, attempt);
    }
    if attempt.is_success() && !is_limited && on.codes.is_empty() {
        return Decision::Stop(Stop::NoCondition);
    }
    let mut stop = if is_limited {
        Stop::RateLimited
    } else {
        Stop::NoCondition
    };
    let is_asked = |condition: &&RetryCondition| !is_limited || **condition == RetryCondition::EnvoyRatelimited;
    let conditions = on.conditions.iter().filter(is_asked);
    for row in conditions.filter_map(|condition| condition::row_of(*condition)) {
        if !row.holds(attempt, &on.codes) {
            continue;
        }
        if repeat == Repeat::Safe || attempt.is_unprocessed() || row.is_grpc() {
            return Decision::Retry { condition: row.name };
        }
        stop = Stop::NotIdempotent;
    }
    Decision::Stop(stop)
}

/// What a response class calls a failure, as decisions name it.
pub(crate) const BY_CLASS: &str = "response-classes";
/// What is a failure where no response class takes it, gRPC's errors among them.
pub(crate) const BY_DEFAULT: &str = "5xx";

/// The first class that takes the response decides; others fail by 5xx or by their gRPC status, and so does no answer.
fn by_class(classes: &[ResponseClass], attempt: &Attempt) -> Decision {
    let taking = attempt
        .status()
        .and_then(|status| classes.iter().find(|class| class.condition.holds(status)));
    let failure = match taking {
        Some(class) => (class.result == ResponseResult::Failure).then_some(BY_CLASS),
        None => attempt.is_failure().then_some(BY_DEFAULT),
    };
    match failure {
        Some(condition) => Decision::Retry { condition },
        None => Decision::Stop(Stop::NoCondition),
    }
}

/// The conditions of a policy that names none: Istio's default.
#[must_use]
pub fn default_conditions() -> RetryOn {
    RetryOn {
        conditions: vec![
            RetryCondition::ConnectFailure,
            RetryCondition::RefusedStream,
            RetryCondition::Unavailable,
            RetryCondition::Cancelled,
            RetryCondition::RetriableStatusCodes,
        ],
        codes: Vec::new(),
        classes: None,
    }
}

/// The retry policy of a route for which none is set: Istio's default, two further tries on [`default_conditions`].
///
/// A 503 is not among them: it may come from a server that has begun its work.
#[must_use]
pub fn default_policy() -> RetryPolicy {
    RetryPolicy::new(2, default_conditions(), Origin::default())
}
