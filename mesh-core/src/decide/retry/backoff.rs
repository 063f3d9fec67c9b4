//! Pauses between tries.

use std::time::Duration;

use crate::policy::model::traffic::Backoff;
use crate::random::{Rng, below};

/// The pause before retry `number`, counted from 1: uniform in `[least, min((2^number − 1) · base, max))`.
///
/// Full jitter over an exponential ceiling, as in Envoy (`JitteredExponentialBackOffStrategy`): with the default the
/// ceilings are 25, 75, 175 and then 250 ms. Jitter over the whole range spreads the retries of many clients best
/// (Brooker, "Exponential Backoff And Jitter", 2015).
#[must_use]
pub fn backoff(number: u32, backoff: &Backoff, rng: &mut dyn Rng) -> Duration {
    let factor = 2u32.checked_pow(number).map_or(u32::MAX, |power| power - 1);
    let ceiling = backoff.base.saturating_mul(factor).min(backoff.max);
    let spread = ceiling.saturating_sub(backoff.least);
    let nanos = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
    backoff.least.saturating_add(Duration::from_nanos(below(nanos, rng)))
}
