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
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Rng, SplitMix64};

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

    /// Gives every point of a range once.
    struct Sweep {
        point: u64,
        total: u64,
    }

    impl Rng for Sweep {
        fn next_u64(&mut self) -> u64 {
            let number = (u128::from(self.point) << 64).div_ceil(u128::from(self.total));
            self.point += 1;
            u64::try_from(number).unwrap()
        }
    }

    proptest! {
        /// Over the whole range each target is drawn exactly as often as its weight says.
        #[test]
        fn every_target_gets_its_weight_and_no_more(weights in prop::collection::vec(0u32..20, 2..8)) {
            let entries: Vec<_> = weights.iter().copied().enumerate().collect();
            let split = Split::new(&entries);
            let total: u64 = weights.iter().copied().map(u64::from).sum();
            let mut rng = Sweep { point: 0, total };
            let mut drawn = vec![0u32; weights.len()];
            for _ in 0..total {
                drawn[split.draw(&mut rng).unwrap()] += 1;
            }
            prop_assert_eq!(&drawn, &weights);
            let shares: Vec<_> = split.shares().collect();
            let sum: f64 = shares.iter().map(|(_, share)| share).sum();
            prop_assert!(total == 0 || (sum - 1.0).abs() < 1e-9);
            prop_assert!(shares.iter().all(|(target, _)| weights[*target] > 0));
        }
    }

    #[test]
    fn the_ends_of_the_range_belong_to_the_first_and_the_last_target() {
        struct Fixed(u64);
        impl Rng for Fixed {
            fn next_u64(&mut self) -> u64 {
                self.0
            }
        }
        let split = Split::new(&[(0, u32::MAX), (1, 0), (2, u32::MAX), (3, 0)]);
        assert_eq!(split.draw(&mut Fixed(0)), Some(0));
        assert_eq!(split.draw(&mut Fixed(u64::MAX / 2)), Some(0));
        assert_eq!(split.draw(&mut Fixed(u64::MAX / 2 + 1)), Some(2));
        assert_eq!(split.draw(&mut Fixed(u64::MAX)), Some(2));
    }
}
