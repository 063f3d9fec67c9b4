//! Random: any endpoint, by weight.
//!
//! Without health checks it is better than round robin, which sends what a failed endpoint would have got to its
//! neighbour (Envoy, "Supported load balancers"). When not to use: small numbers of requests in flight,
//! where two of them meet on one endpoint more often than with least request.

use std::sync::Arc;

use super::alias::AliasTable;
use super::{Picker, Position, is_even, raised};
use crate::random::{Rng, below};

#[derive(Debug)]
struct Even(usize);

#[derive(Debug)]
struct Weighted(AliasTable);

pub(super) fn build(weights: &[u32], _: &Arc<Position>) -> Box<dyn Picker> {
    let weights = raised(weights);
    if is_even(&weights) {
        Box::new(Even(weights.len()))
    } else {
        Box::new(Weighted(AliasTable::new(&weights)))
    }
}

impl Picker for Even {
    fn pick(&self, _: &dyn Fn(usize) -> u32, rng: &mut dyn Rng) -> Option<usize> {
        let index = usize::try_from(below(self.0 as u64, rng)).ok()?;
        (index < self.0).then_some(index)
    }
}

impl Picker for Weighted {
    fn pick(&self, _: &dyn Fn(usize) -> u32, rng: &mut dyn Rng) -> Option<usize> {
        self.0.draw(rng)
    }
}
