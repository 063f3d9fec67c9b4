//! What one run of one row came out as.

use serde::{Deserialize, Serialize};

/// What the load client tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) saturation: Saturation,
    /// `None` for a control.
    pub(crate) fixed: Option<Fixed>,
    /// The sum of the peaks of all processes.
    pub(crate) peak_rss_mib: f64,
    /// That of the proxies among them.
    pub(crate) proxies_rss_mib: f64,
}

/// As many requests as went through.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Saturation {
    pub(crate) rps: f64,
    pub(crate) cpu_s_per_100k: f64,
    pub(crate) failures: Failures,
}

/// The same of a short turn; what it cost is measured from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Burst {
    pub(crate) requests: u64,
    /// Until the last of them had ended.
    pub(crate) seconds: f64,
    pub(crate) failures: Failures,
}

/// Requests at a fixed rate, their time from the instant at which they were due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fixed {
    pub(crate) rps: f64,
    pub(crate) cpu_s_per_100k: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) failures: Failures,
}

/// Requests that got no answer, or a wrong one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Failures {
    pub(crate) count: u64,
    pub(crate) first: Option<String>,
}

impl Failures {
    pub(crate) fn add(&mut self, reason: &impl ToString) {
        self.count += 1;
        self.first.get_or_insert_with(|| reason.to_string());
    }
}
