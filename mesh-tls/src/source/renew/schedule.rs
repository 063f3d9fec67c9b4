//! When to ask again, as pure functions.

use std::time::{Duration, SystemTime};

use mesh_core::random::{Rng, below};

use crate::source::Lifetime;

/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Renewals are never closer than this, whatever certificates say: an issuer is not to be flooded.
const SOONEST: Duration = Duration::from_secs(1);
/// A certificate that lasts for years is still renewed every day, and trust with it.
const LATEST: Duration = Duration::from_secs(24 * 3600);

/// How long after `now`, when it came, a certificate is to be renewed.
pub(crate) fn renewal(lifetime: Lifetime, now: SystemTime, rng: &mut (impl Rng + ?Sized)) -> Duration {
    let left = lifetime.left(now);
    let spread = fraction(left / 20, rng);
    (left / 2 + spread).clamp(SOONEST, LATEST)
}

/// The pause after this many failures in a row.
pub(crate) fn pause(failures: u32, rng: &mut (impl Rng + ?Sized)) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    whole - fraction(whole / 2, rng)
}

/// A part of `whole`, by chance.
fn fraction(whole: Duration, rng: &mut (impl Rng + ?Sized)) -> Duration {
    let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(below(millis, rng))
}
