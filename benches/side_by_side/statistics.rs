//! Medians, percentiles, and how far a median can be trusted.

use mesh_core::random::{Rng, SplitMix64, below};

/// How often the rounds are drawn again for an interval.
const RESAMPLES: usize = 2_000;

/// A median with its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The 95 % interval of the median, by bootstrap.
    pub(crate) interval: (f64, f64),
}

impl Spread {
    /// The spread of some values, `None` for none at all.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(Self {
            median: median(&sorted)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            interval: bootstrap(&sorted)?,
        })
    }
}

/// The median of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        0 => Some(f64::midpoint(*sorted.get(sorted.len() / 2 - 1)?, upper)),
        _ => Some(upper),
    }
}

/// The middle 95 % of the medians of as many values, drawn with replacement. The seed is fixed: the same rounds give the same interval.
fn bootstrap(values: &[f64]) -> Option<(f64, f64)> {
    let mut rng = SplitMix64::new(values.len() as u64);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| median(&drawn(values, &mut rng)))
        .collect();
    medians.sort_unstable_by(f64::total_cmp);
    let tail = RESAMPLES / 40;
    Some((*medians.get(tail)?, *medians.get(RESAMPLES - 1 - tail)?))
}

fn drawn(values: &[f64], rng: &mut impl Rng) -> Vec<f64> {
    let mut draw = || {
        values
            .get(usize::try_from(below(values.len() as u64, rng)).ok()?)
            .copied()
    };
    let mut drawn: Vec<f64> = (0..values.len()).filter_map(|_| draw()).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    drawn
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
