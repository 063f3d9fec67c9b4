//! Round robin: one after the other.
//!
//! With equal weights a counter is all there is. With unequal ones the counter walks through rounds of all endpoints and
//! skips an endpoint in as many rounds as its weight is short of the heaviest one's: gRPC's static stride
//! scheduler (`static_stride_scheduler.cc`), but with the heaviest weight itself in place of 2^16, so that shares are exact.
//! Lock-free. A pick takes `heaviest / mean` steps on average; where that is more than [`MAX_STEPS`] (which takes more than
//! as many endpoints), the endpoints are drawn by weight instead, with the same shares in constant time.
//!
//! When not to use: requests of very different cost, or endpoints of different speed. Round robin does not see them.

use std::sync::Arc;

use super::alias::AliasTable;
use super::{Picker, Position, is_even, raised, wrapped};
use crate::random::Rng;

/// Steps a weighted pick may take on average.
const MAX_STEPS: u64 = 16;

#[derive(Debug)]
struct Even {
    endpoints: usize,
    position: Arc<Position>,
}

#[derive(Debug)]
struct Stride {
    weights: Vec<u32>,
    heaviest: u64,
    position: Arc<Position>,
}

#[derive(Debug)]
struct Skewed(AliasTable);

pub(super) fn build(weights: &[u32], position: &Arc<Position>) -> Box<dyn Picker> {
    let weights = raised(weights);
    let position = Arc::clone(position);
    if is_even(&weights) {
        let endpoints = weights.len();
        return Box::new(Even { endpoints, position });
    }
    let heaviest = u64::from(weights.iter().copied().max().unwrap_or(1));
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    if heaviest.saturating_mul(weights.len() as u64) > sum.saturating_mul(MAX_STEPS) {
        return Box::new(Skewed(AliasTable::new(&weights)));
    }
    Box::new(Stride {
        weights,
        heaviest,
        position,
    })
}

impl Picker for Even {
    fn pick(&self, _: &dyn Fn(usize) -> u32, rng: &mut dyn Rng) -> Option<usize> {
        wrapped(self.position.advance(rng), self.endpoints)
    }
}

impl Picker for Stride {
    fn pick(&self, _: &dyn Fn(usize) -> u32, rng: &mut dyn Rng) -> Option<usize> {
        // The heaviest endpoint is never skipped, so a round is the longest way.
        loop {
            let number = self.position.advance(rng);
            let index = wrapped(number, self.weights.len())?;
            let round = number / self.weights.len() as u64;
            if self.takes_turn(index, round) {
                return Some(index);
            }
        }
    }
}

impl Stride {
    /// Whether the endpoint takes its turn in this round: in `weight` of every `heaviest` rounds, evenly spread.
    fn takes_turn(&self, index: usize, round: u64) -> bool {
        let weight = self
            .weights
            .get(index)
            .map_or(self.heaviest, |weight| u64::from(*weight));
        // Every second endpoint is half a cycle ahead, else all light ones would take their turns in the same round.
        let ahead = if index % 2 == 1 { self.heaviest / 2 } else { 0 };
        let phase = ((round % self.heaviest) * weight + ahead) % self.heaviest;
        phase >= self.heaviest - weight
    }
}

impl Picker for Skewed {
    fn pick(&self, _: &dyn Fn(usize) -> u32, rng: &mut dyn Rng) -> Option<usize> {
        self.0.draw(rng)
    }
}
