//! A weighted split: one draw a request, which its retries keep.

use crate::random::{Rng, below};

/// Shares of targets, drawn in proportion to their weights.
///
/// Entries of weight 0 get nothing; a single entry gets all, whatever its weight (Istio's rule).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Targets with the sum of the weights up to and including theirs.
    cumulative: Box<[(usize, u64)]>,
}

impl Split {
    /// A split of `(target, weight)` entries. With several entries, those of weight 0 are dropped.
    #[must_use]
    pub fn new(entries: &[(usize, u32)]) -> Self {
        if let [(target, _)] = entries {
            return Self {
                cumulative: Box::new([(*target, 1)]),
            };
        }
        let mut sum = 0u64;
        let weighted = entries.iter().filter(|(_, weight)| *weight > 0);
        let cumulative = weighted
            .map(|(target, weight)| {
                sum += u64::from(*weight);
                (*target, sum)
            })
            .collect();
        Self { cumulative }
    }

    fn total(&self) -> u64 {
        self.cumulative.last().map_or(0, |(_, sum)| *sum)
    }

    /// Draws a target; `None` where no entry has a weight.
    pub fn draw(&self, rng: &mut (impl Rng + ?Sized)) -> Option<usize> {
        if let [(target, _)] = &*self.cumulative {
            return Some(*target);
        }
        let point = below(self.total(), rng);
        let at = self.cumulative.partition_point(|(_, sum)| *sum <= point);
        self.cumulative.get(at).map(|(target, _)| *target)
    }

    /// The targets with their shares, which sum to 1.
    pub fn shares(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let total = self.total();
        let before = std::iter::once(0).chain(self.cumulative.iter().map(|(_, sum)| *sum));
        self.cumulative
            .iter()
            .zip(before)
            .map(move |((target, sum), before)| (*target, ratio(sum - before, total)))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "weights are far below 2^52, and the result is for display"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn draws_follow_the_weights() {
        let split = Split::new(&[(0, 95), (1, 5)]);
        let mut rng = SplitMix64::new(3);
        let canary = (0..100_000).filter(|_| split.draw(&mut rng) == Some(1)).count();
        assert!((4_700..5_300).contains(&canary), "{canary}");
    }

    #[test]
    fn a_single_entry_takes_all_and_zero_weights_take_nothing() {
        let mut rng = SplitMix64::new(1);
        assert_eq!(Split::new(&[(7, 0)]).draw(&mut rng), Some(7));
        let split = Split::new(&[(0, 0), (1, 90), (2, 0)]);
        assert!((0..1000).all(|_| split.draw(&mut rng) == Some(1)));
        assert_eq!(Split::new(&[(0, 0), (1, 0)]).draw(&mut rng), None);
        assert_eq!(Split::new(&[]).draw(&mut rng), None);
    }

    #[test]
    fn shares_sum_to_one() {
        let shares: Vec<_> = Split::new(&[(0, 900), (1, 100)]).shares().collect();
        assert_eq!(shares, [(0, 0.9), (1, 0.1)]);
        assert_eq!(Split::new(&[(4, 0)]).shares().collect::<Vec<_>>(), [(4, 1.0)]);
    }
}
