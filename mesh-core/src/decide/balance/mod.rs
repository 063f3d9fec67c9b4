//! Which of the endpoints that can be used takes the request.
//!
//! One trait ([`Picker`]), one file an algorithm, one table ([`ALGORITHMS`]) that the dialects, the clusters, the
//! documentation and the tests walk. A picker is built for a list of weights and answers with an index into
//! that list; it is immutable but for counters, so that every thread picks from the same one without a lock.
//! A change of the list (an ejection, a return, new endpoints) builds a new picker.
//!
//! Every algorithm gives an idle endpoint of weight `w` the share `w / sum` of the requests.
//!
//! ```
//! use std::sync::Arc;
//! use mesh_core::decide::balance::{self, Position};
//! use mesh_core::random::SplitMix64;
//!
//! let row = balance::named("round_robin").unwrap();
//! let picker = row.build(&[1, 1, 1], &Arc::new(Position::default()));
//! let mut rng = SplitMix64::new(7);
//! let first = picker.pick(&|_| 0, &mut rng).unwrap();
//! assert_eq!(picker.pick(&|_| 0, &mut rng), Some((first + 1) % 3));
//! ```

mod alias;
mod least_request;
mod random;
mod round_robin;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::policy::model::traffic::Algorithm;
use crate::random::Rng;

/// Picks one of the endpoints that it was built for.
pub trait Picker: fmt::Debug + Send + Sync {
    /// Returns the index of the endpoint that takes the next request; `None` only where there are no endpoints.
    ///
    /// `active` tells how many requests an endpoint has in flight.
    fn pick(&self, active: &dyn Fn(usize) -> u32, rng: &mut dyn Rng) -> Option<usize>;
}

/// A row of [`ALGORITHMS`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AlgorithmRow {
    /// The name in native policies.
    pub name: &'static str,
    /// Istio's names (`loadBalancer.simple`), the usual one first.
    pub istio: &'static [&'static str],
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// Its variant in the model.
    pub algorithm: Algorithm,
    constructor: fn(&[u32], &Arc<Position>) -> Box<dyn Picker>,
}

impl AlgorithmRow {
    /// Builds the picker for endpoints of these weights. A weight of 0 counts as 1.
    ///
    /// `position` is where [`Algorithm::RoundRobin`] stands; it outlives the pickers that are built on it.
    #[must_use]
    pub fn build(&self, weights: &[u32], position: &Arc<Position>) -> Box<dyn Picker> {
        (self.constructor)(weights, position)
    }
}

/// Every algorithm, the default first.
pub const ALGORITHMS: &[AlgorithmRow] = &[
    AlgorithmRow {
        name: "least_request",
        istio: &["LEAST_REQUEST", "LEAST_CONN", "UNSPECIFIED"],
        doc: "draws two endpoints by weight and takes the one with fewer requests in flight for its weight",
        algorithm: Algorithm::LeastRequest,
        constructor: least_request::build,
    },
    AlgorithmRow {
        name: "round_robin",
        istio: &["ROUND_ROBIN"],
        doc: "takes the endpoints in turn, each as often as its weight says",
        algorithm: Algorithm::RoundRobin,
        constructor: round_robin::build,
    },
    AlgorithmRow {
        name: "random",
        istio: &["RANDOM"],
        doc: "draws an endpoint by weight",
        algorithm: Algorithm::Random,
        constructor: random::build,
    },
];

/// The row with this native name.
#[must_use]
pub fn named(name: &str) -> Option<&'static AlgorithmRow> {
    ALGORITHMS.iter().find(|row| row.name == name)
}

/// The row with this Istio name.
#[must_use]
pub fn istio_named(name: &str) -> Option<&'static AlgorithmRow> {
    ALGORITHMS.iter().find(|row| row.istio.contains(&name))
}

/// Builds the picker of `algorithm` for endpoints of these weights.
#[must_use]
pub fn picker(algorithm: Algorithm, weights: &[u32], position: &Arc<Position>) -> Box<dyn Picker> {
    match ALGORITHMS.iter().find(|row| row.algorithm == algorithm) {
        Some(row) => row.build(weights, position),
        None => least_request::build(weights, position),
    }
}

/// Where round robin stands. It starts at a random place, so that many clients do not all begin with the same endpoint.
#[derive(Debug, Default)]
pub struct Position(AtomicU64);

impl Position {
    /// The number of this pick; the next one is higher by one.
    fn advance(&self, rng: &mut dyn Rng) -> u64 {
        let number = self.0.fetch_add(1, Relaxed);
        if number != 0 {
            return number;
        }
        // A start below 2^32 leaves room for 500 years of picks at a thousand million a second.
        let start = (rng.next_u64() >> 32) + 1;
        self.0.store(start + 1, Relaxed);
        start
    }
}

/// `number mod len` as an index; `None` where `len` is 0.
fn wrapped(number: u64, len: usize) -> Option<usize> {
    let len = u64::try_from(len).ok()?;
    usize::try_from(number.checked_rem(len)?).ok()
}

/// Whether all weights are the same.
fn is_even(weights: &[u32]) -> bool {
    weights.windows(2).all(|pair| pair.first() == pair.last())
}

/// The weights with 0 raised to 1.
fn raised(weights: &[u32]) -> Vec<u32> {
    weights.iter().map(|weight| (*weight).max(1)).collect()
}
