//! Metrics of tokens and their keys.

use std::fmt;

use mesh_core::decide::jwt::Refusal;
use metrics::{Counter, Gauge, Label};
use rustc_hash::FxHashMap;

use super::registry::Registry;

/// What became of tokens, and of the attempts to get the keys that they are verified with.
pub struct TokenMetrics {
    verified: Counter,
    /// By the label of the reason.
    refused: FxHashMap<&'static str, Counter>,
    fetched: Counter,
    failed: Counter,
    oldest: Gauge,
}

impl fmt::Debug for TokenMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenMetrics").finish_non_exhaustive()
    }
}

impl TokenMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        describe(registry);
        let counter = |name, result| registry.counter(name, vec![Label::from_static_parts("result", result)]);
        let validations = |result| counter("mesh_jwt_validations_total", result);
        let fetches = |result| counter("mesh_jwks_fetches_total", result);
        let labels: std::collections::BTreeSet<_> = Refusal::ALL.into_iter().map(Refusal::label).collect();
        Self {
            verified: validations("ok"),
            refused: labels.into_iter().map(|label| (label, validations(label))).collect(),
            fetched: fetches("ok"),
            failed: fetches("failed"),
            oldest: registry.gauge("mesh_jwks_age_seconds", Vec::new()),
        }
    }

    /// Counts a token that is valid (`mesh_jwt_validations_total`).
    pub fn verified(&self) {
        self.verified.increment(1);
    }

    /// Counts a token that is refused (`mesh_jwt_validations_total`).
    pub fn refused(&self, reason: Refusal) {
        if let Some(counter) = self.refused.get(reason.label()) {
            counter.increment(1);
        }
    }

    /// Counts an attempt to get keys (`mesh_jwks_fetches_total`).
    pub fn fetched(&self, is_ok: bool) {
        let counter = if is_ok { &self.fetched } else { &self.failed };
        counter.increment(1);
    }

    /// States how old the oldest keys in use are (`mesh_jwks_age_seconds`).
    pub fn oldest(&self, seconds: f64) {
        self.oldest.set(seconds);
    }
}

fn describe(registry: &Registry) {
    registry.describe_counter("mesh_jwt_validations_total", "Tokens of requests, by result.");
    registry.describe_counter("mesh_jwks_fetches_total", "Attempts to get keys of tokens, by result.");
    registry.describe_gauge("mesh_jwks_age_seconds", "Age of the oldest keys of tokens in use.");
}
