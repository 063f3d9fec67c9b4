//! Which endpoints are fit to be used: Envoy's outlier detection.
//!
//! Every result of a request is a [`Verdict`] on its endpoint. Failures in a row are counted ([`Health`]); where
//! they reach a threshold of the policy the endpoint is ejected, if not too many are ejected already
//! ([`may_eject`]). It returns at a sweep, once its time is over: `base_ejection` times the number of its
//! ejections, of which one is forgiven with each sweep that finds the endpoint in use.
//!
//! Sweeps have no task or timer of their own. They are due at multiples of `interval`, and a late look makes up
//! for all that were missed ([`Ticks`]), with the result that a timer would have had.
//!
//! Sources: Envoy, `source/common/upstream/outlier_detection_impl.cc`, and Istio's `DestinationRule.outlierDetection`.
//! Differences: what a client controls does neither eject nor save an endpoint ([`Verdict::Neutral`]).

mod event;
mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod verdict;

pub use event::{EjectReason, HealthEvent};
pub use state::{Health, Thresholds};
pub use sweep::Ticks;
pub use verdict::{LocalError, Verdict};

use std::time::Duration;

use crate::policy::model::traffic::OutlierDetection;

/// Whether one more endpoint may be ejected: `100 · (ejected + 1) / endpoints ≤ max_percent`.
///
/// With the default of 10 % a service of fewer than ten endpoints never loses one. (Older releases of Envoy always allowed one.)
#[must_use]
pub const fn may_eject(ejected: usize, endpoints: usize, max_percent: u8) -> bool {
    ejected.saturating_add(1).saturating_mul(100) <= endpoints.saturating_mul(max_percent as usize)
}

/// Whether so few endpoints are healthy that all are used: `100 · healthy / endpoints < min_healthy_percent`.
#[must_use]
pub const fn must_panic(healthy: usize, endpoints: usize, min_healthy_percent: u8) -> bool {
    healthy.saturating_mul(100) < endpoints.saturating_mul(min_healthy_percent as usize)
}

/// How long the `count`th ejection lasts: `min(base_ejection · count, max(max_ejection, base_ejection))`.
#[must_use]
pub fn ejection_time(rules: &OutlierDetection, count: u32) -> Duration {
    let longest = rules.max_ejection.max(rules.base_ejection);
    rules.base_ejection.saturating_mul(count).min(longest)
}
