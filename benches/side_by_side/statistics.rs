//! Medians, percentiles, and how far a median can be trusted.

use mesh_core::random::{Rng, below};

/// The share of cases in which an interval may miss the median.
const MISS: f64 = 0.05;

/// A median with its spread, of values that are independent of each other: of processes that were started anew for each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// Of so many values.
    pub(crate) count: usize,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The 95 % interval of the median, whatever the values are distributed like; all of them where they are too few for one.
    pub(crate) interval: (f64, f64),
}

impl Spread {
    /// The spread of some values, `None` for none at all.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let within = within(sorted.len());
        Some(Self {
            count: sorted.len(),
            median: middle(&sorted)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            interval: (*sorted.get(within)?, *sorted.get(sorted.len() - 1 - within)?),
        })
    }
}

/// The median of values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    middle(&sorted(values))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        0 => Some(f64::midpoint(*sorted.get(sorted.len() / 2 - 1)?, upper)),
        _ => Some(upper),
    }
}

/// How many values may be left out on either side, of so many.
///
/// Each value is above the median as often as below it, like a coin's sides, so that the tails of the binomial distribution tell how often
/// the median is beyond the k-th least or greatest. Drawing a few values again and again (bootstrap) makes their interval too narrow.
fn within(count: usize) -> usize {
    let (mut ways, mut tail) = (1.0, 0.0);
    let all = 2_f64.powf(count as f64);
    for left_out in 0..count / 2 {
        tail += ways / all;
        if 2.0 * tail > MISS {
            return left_out.saturating_sub(1);
        }
        ways *= (count - left_out) as f64 / (left_out + 1) as f64;
    }
    (count / 2).saturating_sub(1)
}

/// The value that this many in a thousand do not exceed (nearest rank); 0 where there are none.
pub(crate) fn per_mille(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Fisher and Yates' shuffle.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        let other = usize::try_from(below(last as u64 + 1, rng)).unwrap_or(last);
        items.swap(last, other);
    }
}
