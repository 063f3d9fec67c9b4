//! Metrics of the services that are called: ejections and retries.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use metrics::{Counter, Gauge, Label, SharedString};
use metrics_exporter_prometheus::formatting::sanitize_label_value;

use super::exposition::write_head;
use super::registry::{Registry, Users};

const EJECTIONS: &str = "mesh_outlier_ejections_total";
const EJECTIONS_HELP: &str = "Endpoints that were ejected, by service.";
const EJECTED: &str = "mesh_outlier_ejected";
const EJECTED_HELP: &str = "Endpoints that are ejected now, by service.";
const RETRIES: &str = "mesh_retries_total";
const RETRIES_HELP: &str = "Further tries of requests, by service and result.";

/// What another try led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryResult {
    /// The try was answered as the policy wants it.
    Success,
    /// The try failed, too.
    Failure,
    /// There was no try: the retry budget was spent.
    BudgetExhausted,
}

/// The operational metrics of one service. Clones share them.
#[derive(Clone)]
pub struct ServiceMetrics {
    inner: Arc<Inner>,
}

/// Counted in place: there are many services, and few of them have anything to count.
struct Inner {
    service: Arc<str>,
    ejections: AtomicU64,
    ejected: AtomicUsize,
    retried: AtomicU64,
    retry_failed: AtomicU64,
    retry_forbidden: AtomicU64,
    budget_exhausted: Counter,
    user: Option<Box<UserMetrics>>,
}

/// The same in the user's own recorder.
struct UserMetrics {
    ejections: Counter,
    ejected: Gauge,
    retried: Counter,
    retry_failed: Counter,
    retry_forbidden: Counter,
}

impl fmt::Debug for ServiceMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceMetrics").finish_non_exhaustive()
    }
}

impl ServiceMetrics {
    pub(super) fn new(registry: &Registry, service: &Arc<str>, budget_exhausted: Counter) -> Self {
        let user = registry.user().map(|user| Box::new(UserMetrics::new(user, service)));
        let inner = Inner {
            service: Arc::clone(service),
            ejections: AtomicU64::default(),
            ejected: AtomicUsize::default(),
            retried: AtomicU64::default(),
            retry_failed: AtomicU64::default(),
            retry_forbidden: AtomicU64::default(),
            budget_exhausted,
            user,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Counts an ejection (`mesh_outlier_ejections_total`).
    pub fn ejection(&self) {
        self.inner.ejections.fetch_add(1, Relaxed);
        if let Some(user) = &self.inner.user {
            user.ejections.increment(1);
        }
    }

    /// Says how many endpoints of a part of the service were ejected, and are now (`mesh_outlier_ejected`, the sum of all parts).
    pub fn ejected_changed(&self, before: usize, now: usize) {
        // A sum of differences: it wraps on its way and never in the end.
        self.inner.ejected.fetch_add(now.wrapping_sub(before), Relaxed);
        if let Some(user) = &self.inner.user {
            user.ejected.increment(now as f64 - before as f64);
        }
    }

    /// Counts another try, or that there could be none (`mesh_retries_total`, `mesh_retry_budget_exhausted_total`).
    pub fn retry(&self, result: RetryResult) {
        let inner = &*self.inner;
        let own = match result {
            RetryResult::Success => &inner.retried,
            RetryResult::Failure => &inner.retry_failed,
            RetryResult::BudgetExhausted => &inner.retry_forbidden,
        };
        own.fetch_add(1, Relaxed);
        if result == RetryResult::BudgetExhausted {
            inner.budget_exhausted.increment(1);
        }
        if let Some(user) = &inner.user {
            user.of(result).increment(1);
        }
    }
}

impl UserMetrics {
    fn new(user: Users<'_>, name: &Arc<str>) -> Self {
        let service = || Label::new("service", SharedString::from(Arc::clone(name)));
        let retries = |result| user.counter(RETRIES, vec![service(), Label::from_static_parts("result", result)]);
        Self {
            ejections: user.counter(EJECTIONS, vec![service()]),
            ejected: user.gauge(EJECTED, vec![service()]),
            retried: retries("success"),
            retry_failed: retries("failure"),
            retry_forbidden: retries("budget_exhausted"),
        }
    }

    const fn of(&self, result: RetryResult) -> &Counter {
        match result {
            RetryResult::Success => &self.retried,
            RetryResult::Failure => &self.retry_failed,
            RetryResult::BudgetExhausted => &self.retry_forbidden,
        }
    }
}

pub(super) fn describe(registry: &Registry) {
    registry.describe_counter(EJECTIONS, EJECTIONS_HELP);
    registry.describe_gauge(EJECTED, EJECTED_HELP);
    registry.describe_counter(RETRIES, RETRIES_HELP);
}

/// Writes what was counted of all services: nothing, where there are none.
pub(super) fn write(out: &mut String, services: &[ServiceMetrics]) {
    if services.is_empty() {
        return;
    }
    let services: Vec<(String, &Inner)> = services
        .iter()
        .map(|one| (sanitize_label_value(&one.inner.service), &*one.inner))
        .collect();
    write_head(out, EJECTIONS, EJECTIONS_HELP, "counter");
    for (name, one) in &services {
        let _ = writeln!(out, "{EJECTIONS}{{service=\"{name}\"}} {}", one.ejections.load(Relaxed));
    }
    out.push('\n');
    write_head(out, EJECTED, EJECTED_HELP, "gauge");
    for (name, one) in &services {
        let _ = writeln!(out, "{EJECTED}{{service=\"{name}\"}} {}", one.ejected.load(Relaxed));
    }
    out.push('\n');
    write_head(out, RETRIES, RETRIES_HELP, "counter");
    for (name, one) in &services {
        for (result, count) in one.retries() {
            let _ = writeln!(out, "{RETRIES}{{service=\"{name}\",result=\"{result}\"}} {count}");
        }
    }
    out.push('\n');
}

impl Inner {
    fn retries(&self) -> [(&'static str, u64); 3] {
        [
            ("success", self.retried.load(Relaxed)),
            ("failure", self.retry_failed.load(Relaxed)),
            ("budget_exhausted", self.retry_forbidden.load(Relaxed)),
        ]
    }
}
