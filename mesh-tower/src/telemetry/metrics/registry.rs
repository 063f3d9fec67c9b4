//! The recorder behind the handles: the mesh's own, and the user's beside it.

use std::fmt;
use std::sync::Arc;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Label, Level, Metadata, Recorder, Unit,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::{UserRecorder, checks};

static METADATA: Metadata<'static> = Metadata::new("mesh", Level::INFO, Some(module_path!()));

/// Makes handles that record into the mesh's own exporter and into the user's recorder.
pub(super) struct Registry {
    own: PrometheusRecorder,
    exporter: PrometheusHandle,
    user: Option<UserRecorder>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    pub(super) fn new(user: Option<UserRecorder>) -> Self {
        let own = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(checks::DURATION.into()), &checks::BUCKETS)
            // It fails for an empty list of buckets only.
            .unwrap_or_default()
            .build_recorder();
        let exporter = own.handle();
        Self { own, exporter, user }
    }

    pub(super) fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        let key = Key::from_parts(name, labels);
        let own = self.own.register_counter(&key, &METADATA);
        match &self.user {
            Some(user) => Counter::from_arc(Arc::new(Both(own, user.register_counter(&key, &METADATA)))),
            None => own,
        }
    }

    pub(super) fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        let key = Key::from_parts(name, labels);
        let own = self.own.register_gauge(&key, &METADATA);
        match &self.user {
            Some(user) => Gauge::from_arc(Arc::new(Both(own, user.register_gauge(&key, &METADATA)))),
            None => own,
        }
    }

    pub(super) fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        let key = Key::from_parts(name, labels);
        let own = self.own.register_histogram(&key, &METADATA);
        match &self.user {
            Some(user) => Histogram::from_arc(Arc::new(Both(own, user.register_histogram(&key, &METADATA)))),
            None => own,
        }
    }

    /// The user's recorder alone.
    pub(super) fn user(&self) -> Option<Users<'_>> {
        self.user.as_deref().map(|user| Users(user))
    }

    pub(super) fn describe_counter(&self, name: &'static str, text: &'static str) {
        self.each(|recorder| recorder.describe_counter(KeyName::from(name), Some(Unit::Count), text.into()));
    }

    pub(super) fn describe_gauge(&self, name: &'static str, text: &'static str) {
        self.each(|recorder| recorder.describe_gauge(KeyName::from(name), None, text.into()));
    }

    pub(super) fn describe_histogram(&self, name: &'static str, text: &'static str) {
        self.each(|recorder| recorder.describe_histogram(KeyName::from(name), Some(Unit::Milliseconds), text.into()));
    }

    pub(super) fn describe_seconds(&self, name: &'static str, text: &'static str) {
        self.each(|recorder| recorder.describe_histogram(KeyName::from(name), Some(Unit::Seconds), text.into()));
    }

    pub(super) fn render(&self) -> String {
        self.exporter.render()
    }

    pub(super) fn run_upkeep(&self) {
        self.exporter.run_upkeep();
    }

    fn each(&self, tell: impl Fn(&dyn Recorder)) {
        tell(&self.own);
        if let Some(user) = &self.user {
            tell(&**user);
        }
    }
}

/// Makes handles that record into the user's recorder only.
#[derive(Clone, Copy)]
pub(super) struct Users<'r>(&'r dyn Recorder);

impl Users<'_> {
    pub(super) fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.0.register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    pub(super) fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.0.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    pub(super) fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.0.register_histogram(&Key::from_parts(name, labels), &METADATA)
    }
}

/// A handle that records into two recorders.
struct Both<T>(T, T);

impl CounterFn for Both<Counter> {
    fn increment(&self, value: u64) {
        self.0.increment(value);
        self.1.increment(value);
    }

    fn absolute(&self, value: u64) {
        self.0.absolute(value);
        self.1.absolute(value);
    }
}

impl GaugeFn for Both<Gauge> {
    fn increment(&self, value: f64) {
        self.0.increment(value);
        self.1.increment(value);
    }

    fn decrement(&self, value: f64) {
        self.0.decrement(value);
        self.1.decrement(value);
    }

    fn set(&self, value: f64) {
        self.0.set(value);
        self.1.set(value);
    }
}

impl HistogramFn for Both<Histogram> {
    fn record(&self, value: f64) {
        self.0.record(value);
        self.1.record(value);
    }
}
