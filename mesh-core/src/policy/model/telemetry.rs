//! What is measured, logged and traced.

use super::authz::Target;
use super::{Labels, Meta};

/// A `Telemetry`. What it says is not yet in force: it is kept as far as it is known to be valid.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Telemetry {
    /// Name and place.
    pub meta: Meta,
    /// Workloads that it holds for; empty is the whole namespace.
    pub selector: Labels,
    /// Where non-empty, only gateways that one of these names.
    pub targets: Vec<Target>,
    /// The share of traces that is recorded, in percent.
    pub sampling_percent: Option<f64>,
    /// Metrics that are switched off or on, by name; `None` is all of them.
    pub metrics: Vec<(Option<String>, Switch)>,
    /// Whether requests are logged.
    pub access_log: Option<Switch>,
}

/// Whether something is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is or it is not")]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}
