//! Holds counts against those of a committed baseline.
//!
//! Instructions repeat where the same compiler, C library, valgrind and kind of processor made both. Elsewhere what is
//! left to compare are allocations, and instructions in relation to others of the same run:
//!
//! | compared | on the same kind of host | elsewhere |
//! |---|---|---|
//! | instructions of a decision | +1 % and 32 | – |
//! | instructions of a whole request | +2 % | – |
//! | what the mesh adds to a request: the meshed one less the bare one, in which the cryptography cancels out | +5 % and 200 | +10 % and 200 |
//! | growth: a curve's last size over its first | – | +5 % |
//! | allocations of a decision | +0.05 | +0.05 |
//! | of a whole request | +0.9 | +0.9 |
//!
//! Instructions are compared without the allocator's own: how dear one allocation is depends on how its pages happen to
//! lie, which differs from run to run by more than what is looked for. How many there are is compared.
//!
//! A request costs more where the machine is busy, never less: what got worse, and every bare one, is counted again, and the least counts.
//!
//! A case that the baseline does not know fails as one that is gone does: what nobody blessed guards nothing.

mod compare;
mod host;
mod table;

use serde::{Deserialize, Serialize};

pub use self::compare::{Kind, Line, Verdict, compare, doubtful, kept};
pub use self::host::{Host, features};
pub use self::table::table;

/// What one iteration of a case costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The case's name.
    pub case: String,
    /// Instructions in user space.
    pub instructions: f64,
    /// Those of them that the allocator spends.
    pub in_allocator: f64,
    /// Allocations, reallocations among them.
    pub allocations: f64,
}

impl Cost {
    /// Instructions that do not hang on how the allocator's pages lie.
    #[must_use]
    pub const fn outside_allocator(&self) -> f64 {
        self.instructions - self.in_allocator
    }

    /// The lesser of two counts of the same.
    #[must_use]
    pub fn least(self, other: &Self) -> Self {
        let allocations = self.allocations.min(other.allocations);
        let less = match other.outside_allocator() < self.outside_allocator() {
            true => other.clone(),
            false => self,
        };
        Self { allocations, ..less }
    }
}

/// Costs that were found good, and where they were counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// What the instructions depend on.
    pub host: Host,
    /// The cases of the gate.
    pub cases: Vec<Cost>,
}
