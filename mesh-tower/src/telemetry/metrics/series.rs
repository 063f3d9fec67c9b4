//! Istio's request metrics: the series of one caller and one destination.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{Counter, Label, SharedString};

use super::MetricsOptions;
use super::labels::{Destination, Party, Protocol, Reporter, SecurityPolicy};
use super::registry::Registry;
use super::tally::{Tally, Totals, UserSeries};

pub(super) const REQUESTS: &str = "istio_requests_total";
pub(super) const DURATION: &str = "istio_request_duration_milliseconds";
pub(super) const REQUESTS_HELP: &str = "Requests, by caller, destination and response.";
pub(super) const DURATION_HELP: &str = "Time from a request's start to the end of its response, in milliseconds.";
const SERIES_OVERFLOW: &str = "mesh_metric_series_overflow_total";
/// The destination of what is past the limits.
pub(super) const OVERFLOW: &str = "__overflow__";

/// What one request adds to the labels of its group.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestRecord {
    /// What was spoken.
    pub protocol: Protocol,
    /// The HTTP status that the caller got; 0 where it got none.
    pub response_code: u16,
    /// The gRPC status, for gRPC.
    pub grpc_status: Option<u8>,
    /// Envoy's response flags (`mesh_core::outcome`), `-` for none.
    pub flags: &'static str,
    /// How the connection was secured; only servers can tell.
    pub security: SecurityPolicy,
    /// From the request's start to the end of its response.
    pub duration: Duration,
}

impl RequestRecord {
    /// A record without flags, gRPC status and knowledge of the connection.
    #[must_use]
    pub const fn new(protocol: Protocol, response_code: u16, duration: Duration) -> Self {
        Self {
            protocol,
            response_code,
            grpc_status: None,
            flags: "-",
            security: SecurityPolicy::Unknown,
            duration,
        }
    }
}

/// The series of one reporter, caller and destination. Clones share them.
///
/// [`SeriesGroup::record`] neither locks nor allocates for a combination that was seen before.
#[derive(Clone)]
pub struct SeriesGroup {
    inner: Arc<Inner>,
}

impl fmt::Debug for SeriesGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeriesGroup")
            .field("family", &self.inner.family)
            .finish_non_exhaustive()
    }
}

struct Inner {
    registry: Arc<Registry>,
    budget: Arc<Budget>,
    family: Arc<Family>,
    /// The one that was first: nearly always the one of usual answers.
    first: OnceLock<Series>,
    series: ArcSwap<Vec<Series>>,
    registering: Mutex<()>,
    /// Where requests are counted once there are too many series; none for that group itself.
    overflow: Option<SeriesGroup>,
}

#[derive(Clone)]
struct Series {
    key: Key,
    tally: Arc<Tally>,
    /// Counts requests that ended up here for want of a series of their own; none where that is what the series is.
    overflowed: Option<Counter>,
}

/// The labels that differ from request to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    response_code: u16,
    grpc_status: Option<u8>,
    protocol: Protocol,
    security: SecurityPolicy,
    flags: &'static str,
}

impl SeriesGroup {
    pub(super) fn new(
        registry: Arc<Registry>,
        budget: Arc<Budget>,
        family: Arc<Family>,
        overflow: Option<Self>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                registry,
                budget,
                family,
                first: OnceLock::new(),
                series: ArcSwap::default(),
                registering: Mutex::new(()),
                overflow,
            }),
        }
    }

    /// Counts a request and its duration.
    pub fn record(&self, request: &RequestRecord) {
        let key = self.inner.family.key(request);
        if let Some(first) = self.inner.first.get().filter(|first| first.key == key) {
            return first.record(request.duration);
        }
        let known = self.inner.series.load();
        if let Some(series) = find(&known, key) {
            return series.record(request.duration);
        }
        if known.len() < self.inner.budget.codes_limit {
            return self.inner.register(key).record(request.duration);
        }
        let key = key.collapsed();
        let series = find(&known, key).cloned().unwrap_or_else(|| self.inner.register(key));
        // One that stands in for others counts by itself.
        if series.overflowed.is_none() {
            self.inner.budget.overflowed.increment(1);
        }
        series.record(request.duration);
    }

    /// Tells the labels of all series that are counted here, and what was counted.
    pub(super) fn each(&self, mut tell: impl FnMut(Vec<Label>, Totals)) {
        for series in self.inner.series.load().iter().filter(|series| self.inner.owns(series)) {
            tell(self.inner.family.labels_with(series.key), series.tally.totals());
        }
    }
}

fn find(known: &[Series], key: Key) -> Option<&Series> {
    known.iter().find(|series| series.key == key)
}

impl Series {
    fn record(&self, duration: Duration) {
        self.tally.record(duration);
        if let Some(overflowed) = &self.overflowed {
            overflowed.increment(1);
        }
    }
}

impl Inner {
    /// The slow path: makes the series of a key, or refers to the overflow's where there are too many.
    fn register(&self, key: Key) -> Series {
        let _one_at_a_time = self.registering.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.series.load_full();
        if let Some(series) = find(&known, key) {
            return series.clone();
        }
        let series = match &self.overflow {
            Some(overflow) if !self.budget.take() => overflow.inner.register(key.collapsed()).standing_in_for(key),
            _ => self.make(key),
        };
        let mut all = Vec::with_capacity(known.len() + 1);
        all.extend(known.iter().cloned());
        all.push(series.clone());
        self.first.get_or_init(|| series.clone());
        self.series.store(Arc::new(all));
        series
    }

    fn make(&self, key: Key) -> Series {
        let users = self.registry.user().map(|user| {
            let labels = self.family.labels_with(key);
            UserSeries {
                requests: user.counter(REQUESTS, labels.clone()),
                duration: user.histogram(DURATION, labels),
            }
        });
        Series {
            key,
            tally: Arc::new(Tally::new(users)),
            overflowed: self.overflow.is_none().then(|| self.budget.overflowed.clone()),
        }
    }

    /// Whether a series is counted here, and not where requests are counted once there are too many.
    const fn owns(&self, series: &Series) -> bool {
        self.overflow.is_none() || series.overflowed.is_none()
    }
}

impl Series {
    fn standing_in_for(self, key: Key) -> Self {
        Self { key, ..self }
    }
}

impl Key {
    /// What stands in for a key past the limit: its class of codes without flags, so that alerts on `5..` still count it.
    fn collapsed(self) -> Self {
        Self {
            response_code: match self.response_code / 100 {
                class @ 1..=5 => class * 100,
                _ => 0,
            },
            grpc_status: self
                .grpc_status
                .map(|status| if status == 0 { 0 } else { GRPC_UNKNOWN }),
            flags: "-",
            ..self
        }
    }
}

const GRPC_UNKNOWN: u8 = 2;

/// A status that gRPC does not define counts as `UNKNOWN`, as its clients take it.
const fn known_grpc_status(status: u8) -> u8 {
    if status <= 16 { status } else { GRPC_UNKNOWN }
}

/// The labels that a group's series share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Family {
    reporter: Reporter,
    source: Party,
    destination: Party,
    service: Destination,
}

impl Family {
    pub(super) fn new(reporter: Reporter, source: &Party, destination: &Party, service: &Destination) -> Self {
        Self {
            reporter,
            source: source.clone(),
            destination: destination.clone(),
            service: service.clone(),
        }
    }

    /// The one group of a reporter for all that is past the limits.
    pub(super) fn overflow(reporter: Reporter) -> Self {
        Self::new(reporter, &Party::unknown(), &Party::unknown(), &Destination::overflow())
    }

    fn key(&self, request: &RequestRecord) -> Key {
        Key {
            response_code: request.response_code,
            grpc_status: match request.protocol {
                Protocol::Grpc => request.grpc_status.map(known_grpc_status),
                Protocol::Http => None,
            },
            protocol: request.protocol,
            security: match self.reporter {
                Reporter::Source => SecurityPolicy::Unknown,
                Reporter::Destination => request.security,
            },
            flags: request.flags,
        }
    }

    /// All 25 labels, in Istio's order and spelling.
    fn labels_with(&self, key: Key) -> Vec<Label> {
        let (source, destination, service) = (self.source.names(), self.destination.names(), &self.service);
        let shared = |name: &'static str, value: &Arc<str>| Label::new(name, SharedString::from(Arc::clone(value)));
        vec![
            Label::from_static_parts("reporter", self.reporter.as_str()),
            shared("source_workload", &source.workload),
            shared("source_canonical_service", &source.canonical_service),
            shared("source_canonical_revision", &source.canonical_revision),
            shared("source_workload_namespace", &source.namespace),
            shared("source_principal", &source.principal),
            shared("source_app", &source.app),
            shared("source_version", &source.version),
            shared("source_cluster", &source.cluster),
            shared("destination_workload", &destination.workload),
            shared("destination_workload_namespace", &destination.namespace),
            shared("destination_principal", &destination.principal),
            shared("destination_app", &destination.app),
            shared("destination_version", &destination.version),
            shared("destination_service", &service.host),
            shared("destination_canonical_service", &destination.canonical_service),
            shared("destination_canonical_revision", &destination.canonical_revision),
            shared("destination_service_name", &service.name),
            shared("destination_service_namespace", &service.namespace),
            shared("destination_cluster", &destination.cluster),
            Label::from_static_parts("request_protocol", key.protocol.as_str()),
            Label::new("response_code", key.response_code.to_string()),
            Label::new(
                "grpc_response_status",
                key.grpc_status.map(|status| status.to_string()).unwrap_or_default(),
            ),
            Label::from_static_parts("response_flags", key.flags),
            Label::from_static_parts("connection_security_policy", key.security.as_str()),
        ]
    }
}

/// How many series there may be, over all groups.
pub(super) struct Budget {
    taken: AtomicUsize,
    series_limit: usize,
    codes_limit: usize,
    overflowed: Counter,
}

impl Budget {
    pub(super) fn new(registry: &Registry, options: &MetricsOptions) -> Self {
        registry.describe_counter(REQUESTS, REQUESTS_HELP);
        registry.describe_histogram(DURATION, DURATION_HELP);
        registry.describe_counter(
            SERIES_OVERFLOW,
            "Requests that were counted in a common series, there being too many series.",
        );
        let labels = vec![Label::from_static_parts("family", REQUESTS)];
        Self {
            taken: AtomicUsize::new(0),
            series_limit: options.series_limit,
            codes_limit: options.codes_limit,
            overflowed: registry.counter(SERIES_OVERFLOW, labels),
        }
    }

    /// Takes one series of the budget; says whether there was one left.
    fn take(&self) -> bool {
        self.taken.fetch_add(1, Ordering::Relaxed) < self.series_limit
    }
}
