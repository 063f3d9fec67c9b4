//! What external authorizers say, and how long it takes them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram, Label, SharedString};

use super::registry::Registry;

/// The histogram of a check's duration.
pub(super) const DURATION: &str = "mesh_ext_authz_duration_seconds";
const CHECKS: &str = "mesh_ext_authz_total";

/// The upper bounds of its buckets; `+Inf` follows.
pub(super) const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckResult {
    /// The authorizer allowed the request.
    Allowed,
    /// It denied it, or the request's body was too large to be checked.
    Denied,
    /// There was no answer, or none that can be understood: the request was denied.
    Error,
    /// There was no answer in time: the request was denied.
    Timeout,
    /// There was no answer, and the policy lets such requests go on.
    FailedOpen,
}

impl CheckResult {
    const ALL: [Self; 5] = [
        Self::Allowed,
        Self::Denied,
        Self::Error,
        Self::Timeout,
        Self::FailedOpen,
    ];

    /// `allowed`, `denied`, `error`, `timeout` or `failed_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::FailedOpen => "failed_open",
        }
    }
}

/// The metrics of one authorizer. Clones share them.
#[derive(Clone)]
pub struct CheckMetrics {
    /// In the order of [`CheckResult::ALL`].
    results: [Counter; 5],
    duration: Histogram,
}

impl fmt::Debug for CheckMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckMetrics").finish_non_exhaustive()
    }
}

impl CheckMetrics {
    pub(super) fn new(registry: &Registry, name: &str) -> Self {
        let name: Arc<str> = name.into();
        let provider = || Label::new("provider", SharedString::from(Arc::clone(&name)));
        let result = |result: CheckResult| Label::from_static_parts("result", result.as_str());
        Self {
            results: CheckResult::ALL.map(|one| registry.counter(CHECKS, vec![provider(), result(one)])),
            duration: registry.histogram(DURATION, vec![provider()]),
        }
    }

    /// Counts a check (`mesh_ext_authz_total`) and how long it took (`mesh_ext_authz_duration_seconds`).
    pub fn checked(&self, result: CheckResult, duration: Duration) {
        let [allowed, denied, error, timeout, failed_open] = &self.results;
        let counter = match result {
            CheckResult::Allowed => allowed,
            CheckResult::Denied => denied,
            CheckResult::Error => error,
            CheckResult::Timeout => timeout,
            CheckResult::FailedOpen => failed_open,
        };
        counter.increment(1);
        self.duration.record(duration.as_secs_f64());
    }
}

pub(super) fn describe(registry: &Registry) {
    registry.describe_counter(
        CHECKS,
        "Requests that an external authorizer was asked about, by result.",
    );
    registry.describe_seconds(DURATION, "How long external authorizers take to answer.");
}
