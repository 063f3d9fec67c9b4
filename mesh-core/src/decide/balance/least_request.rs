//! Least request: the less busy of two (power of two choices, Mitzenmacher 2001).
//!
//! Two different endpoints are drawn; drawing with replacement, as Envoy does, would pick the busier one of two in a
//! quarter of all cases. The first is drawn by weight. The second takes the request only if, with it, it would be no
//! busier for its weight than the first is without it:
//!
//! ```text
//! active(first) / weight(first)  ≥  (active(second) + 1) / weight(second)
//! ```
//!
//! With equal weights this is plain power of two choices. With unequal ones the shares are exactly those of the weights while
//! the endpoints are idle, and requests in flight settle in proportion to the weights under load. (Envoy turns to weighted
//! round robin over `weight / (active + 1)`, which needs a heap behind a lock.) O(1), lock-free.
//!
//! When not to use: an endpoint that fails fast looks idle. Outlier detection must stand beside it.

use std::sync::Arc;

use super::alias::AliasTable;
use super::{Picker, Position, is_even, raised};
use crate::random::{Rng, below};

#[derive(Debug)]
struct Even(usize);

#[derive(Debug)]
struct Weighted {
    weights: Vec<u32>,
    table: AliasTable,
}

pub(super) fn build(weights: &[u32], _: &Arc<Position>) -> Box<dyn Picker> {
    let weights = raised(weights);
    if is_even(&weights) {
        return Box::new(Even(weights.len()));
    }
    let table = AliasTable::new(&weights);
    Box::new(Weighted { weights, table })
}

impl Picker for Even {
    fn pick(&self, active: &dyn Fn(usize) -> u32, rng: &mut dyn Rng) -> Option<usize> {
        if self.0 <= 1 {
            return (self.0 == 1).then_some(0);
        }
        let first = usize::try_from(below(self.0 as u64, rng)).ok()?;
        let second = other(first, self.0, rng);
        Some(if active(first) > active(second) { second } else { first })
    }
}

impl Picker for Weighted {
    fn pick(&self, active: &dyn Fn(usize) -> u32, rng: &mut dyn Rng) -> Option<usize> {
        let first = self.table.draw(rng)?;
        let second = self.second(first, rng)?;
        let weight = |index: usize| self.weights.get(index).map_or(1, |weight| u64::from(*weight));
        let here = u64::from(active(first)) * weight(second);
        let there = (u64::from(active(second)) + 1).saturating_mul(weight(first));
        Some(if here >= there { second } else { first })
    }
}

impl Weighted {
    /// Another endpoint than `first`: by weight, or, where that draws `first` again, any other.
    fn second(&self, first: usize, rng: &mut dyn Rng) -> Option<usize> {
        let drawn = self.table.draw(rng)?;
        Some(if drawn == first {
            other(first, self.weights.len(), rng)
        } else {
            drawn
        })
    }
}

/// Any of `count` endpoints but `first`; `count` is at least 2.
fn other(first: usize, count: usize, rng: &mut dyn Rng) -> usize {
    let drawn = usize::try_from(below(count.saturating_sub(1) as u64, rng)).unwrap_or(0);
    drawn + usize::from(drawn >= first)
}
