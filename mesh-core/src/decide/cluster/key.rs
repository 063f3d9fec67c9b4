//! Names and settings of clusters.

use std::fmt;
use std::sync::Arc;

use crate::policy::model::traffic::{
    Algorithm, Limits, OutlierDetection, RetryBudget, RetryConcurrency, TrafficPolicy,
};

/// The stable identity of a cluster: what outlives a reload is found again by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ClusterKey {
    /// The full name of the service.
    pub service: Arc<str>,
    /// The subset; `None` for all endpoints.
    pub subset: Option<Arc<str>>,
    /// The service's port.
    pub port: u16,
}

impl ClusterKey {
    /// The key of a service, or of a subset of it, at a port.
    pub fn new(service: impl Into<Arc<str>>, subset: Option<&str>, port: u16) -> Self {
        Self {
            service: service.into(),
            subset: subset.map(Arc::from),
            port,
        }
    }
}

/// Istio's name of a cluster: `outbound|8080|v2|orders.default.svc.cluster.local`.
impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subset = self.subset.as_deref().unwrap_or("");
        write!(f, "outbound|{}|{subset}|{}", self.port, self.service)
    }
}

/// The parameters of a cluster, which a reload changes in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterSettings {
    /// How an endpoint is picked. Default [`Algorithm::LeastRequest`].
    pub algorithm: Algorithm,
    /// Limits on connections and requests. Default none.
    pub limits: Limits,
    /// When an endpoint is ejected. Default never.
    pub outliers: Option<OutlierDetection>,
    /// How many retries there are beside first tries. Default 20 %, and 10 a second.
    pub budget: RetryBudget,
    /// Limit on retries at a time by the requests under way, in place of that of `limits`. Default none.
    pub retry_concurrency: Option<RetryConcurrency>,
}

impl ClusterSettings {
    /// The settings of a traffic policy; a block that is not set takes its default.
    #[must_use]
    pub fn from_policy(policy: &TrafficPolicy) -> Self {
        Self {
            algorithm: policy.balance.unwrap_or_default(),
            limits: policy.limits.clone().unwrap_or_default(),
            outliers: policy.outliers.clone(),
            budget: policy.retry_budget.unwrap_or_default(),
            retry_concurrency: policy.retry_concurrency,
        }
    }

    /// Whether the policy lists the only statuses that are errors.
    pub(super) fn lists_errors(&self) -> bool {
        self.outliers
            .as_ref()
            .is_some_and(|rules| !rules.error_codes.is_empty())
    }
}
