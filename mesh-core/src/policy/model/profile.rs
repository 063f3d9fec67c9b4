//! Route classes of a service (Linkerd's `ServiceProfile`): they give names, timeouts and retries to requests, and say which
//! responses are failures.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::Method;

use super::route::Destination;
use super::traffic::RetryBudget;
use super::{Meta, Origin};

/// The classes of one service.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ServiceProfile {
    /// Name and place.
    pub meta: Meta,
    /// The service's full name.
    pub host: String,
    /// First match wins.
    pub routes: Vec<ProfileRoute>,
    /// The budget that the retries of all its routes share.
    pub budget: RetryBudget,
    /// Where its requests go in its place, each with its share; none leaves them where they are.
    pub overrides: Vec<Destination>,
    /// What becomes of routes that attach to the service (Gateway API).
    pub attached: AttachedRoutes,
}

/// What becomes of routes that attach to a service with a [`ServiceProfile`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they are in force or they are not")]
pub enum AttachedRoutes {
    /// They are in force, and classes fill what they leave open.
    #[default]
    Keep,
    /// The profile takes their place, as in Linkerd.
    Replace,
}

/// One route class of a [`ServiceProfile`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProfileRoute {
    /// Its name.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// Which requests it takes.
    pub condition: RequestCondition,
    /// Whether failed requests of this class are tried again.
    pub retryable: Retryable,
    /// Limit for the whole exchange, retries included; `None` is no limit, as in Linkerd.
    pub timeout: Option<Duration>,
    /// Which responses are failures: the first that takes a response decides; others fail by 5xx or by their gRPC status.
    pub response_classes: Vec<ResponseClass>,
}

impl ProfileRoute {
    /// A class of the requests that fulfil `condition`, not retried and without a timeout.
    #[must_use]
    pub const fn new(name: String, condition: RequestCondition, origin: Origin) -> Self {
        Self {
            name,
            origin,
            condition,
            retryable: Retryable::No,
            timeout: None,
            response_classes: Vec::new(),
        }
    }
}

/// A condition on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestCondition {
    /// The method is this one.
    Method(Method),
    /// The whole path, without the query, matches this regex, which is known to compile.
    Path(String),
    /// All of these hold; none always do.
    All(Vec<Self>),
    /// One of these holds; of none, none does.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
}

/// Whether requests of a class may be tried again (`isRetryable`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a class is retryable or it is not")]
pub enum Retryable {
    /// They may, whatever their method.
    Yes,
    /// They may not.
    #[default]
    No,
}

/// Says of some responses whether they are failures.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseClass {
    /// The responses.
    pub condition: ResponseCondition,
    /// What they are.
    pub result: ResponseResult,
}

impl ResponseClass {
    /// Responses that fulfil `condition` are `result`.
    #[must_use]
    pub const fn new(condition: ResponseCondition, result: ResponseResult) -> Self {
        Self { condition, result }
    }
}

/// What a response is (`isFailure`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a response is a failure or it is none")]
pub enum ResponseResult {
    /// A failure.
    Failure,
    /// None.
    #[default]
    Success,
}

/// A condition on a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseCondition {
    /// Its status is one of these.
    Status(RangeInclusive<u16>),
    /// All of these hold; none always do.
    All(Vec<Self>),
    /// One of these holds; of none, none does.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
}

impl ResponseCondition {
    /// Whether it holds for a response of this status.
    ///
    /// ```
    /// use mesh_core::policy::model::profile::ResponseCondition;
    ///
    /// let condition = ResponseCondition::Not(Box::new(ResponseCondition::Status(500..=599)));
    /// assert!(condition.holds(404));
    /// assert!(!condition.holds(503));
    /// ```
    #[must_use]
    pub fn holds(&self, status: u16) -> bool {
        match self {
            Self::Status(range) => range.contains(&status),
            Self::All(all) => all.iter().all(|one| one.holds(status)),
            Self::Any(any) => any.iter().any(|one| one.holds(status)),
            Self::Not(not) => !not.holds(status),
        }
    }
}
