//! Drawing by weight in constant time.

use crate::random::{Rng, below};

/// Walker's alias table, built by Vose's method (1991) in whole numbers, so that the shares are exact.
///
/// Every column holds two endpoints and the part of it that belongs to the first. O(n) to build, O(1) to draw.
#[derive(Debug)]
pub(super) struct AliasTable {
    /// The height of a column: the sum of the weights.
    height: u64,
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// Below this height the column is its own, above it is `alias`'s.
    own: u64,
    alias: usize,
}

impl AliasTable {
    /// A table of these weights, each at least 1.
    pub(super) fn new(weights: &[u32]) -> Self {
        let count = weights.len() as u64;
        let height = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut columns: Vec<Column> = weights
            .iter()
            .enumerate()
            .map(|(alias, weight)| Column {
                own: u64::from(*weight).saturating_mul(count),
                alias,
            })
            .collect();
        let (mut short, mut tall): (Vec<usize>, Vec<usize>) =
            (0..columns.len()).partition(|index| columns.get(*index).is_some_and(|column| column.own < height));
        while let (Some(low), Some(high)) = (short.pop(), tall.pop()) {
            if fill(&mut columns, low, high, height) < height {
                short.push(high);
            } else {
                tall.push(high);
            }
        }
        Self { height, columns }
    }

    /// Draws an index by weight; `None` where the table is empty.
    pub(super) fn draw(&self, rng: &mut dyn Rng) -> Option<usize> {
        let index = usize::try_from(below(self.columns.len() as u64, rng)).ok()?;
        let column = self.columns.get(index)?;
        let is_own = below(self.height, rng) < column.own;
        Some(if is_own { index } else { column.alias })
    }
}

/// Fills the short column `low` up with `high`; returns what is left of `high`.
fn fill(columns: &mut [Column], low: usize, high: usize, height: u64) -> u64 {
    let Some(column) = columns.get_mut(low) else {
        return height;
    };
    column.alias = high;
    let missing = height.saturating_sub(column.own);
    columns.get_mut(high).map_or(height, |column| {
        column.own = column.own.saturating_sub(missing);
        column.own
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_hold_exactly_the_weights(weights in prop::collection::vec(1u32.., 1..40)) {
            let table = AliasTable::new(&weights);

            let mut held = vec![0u128; weights.len()];
            for (index, column) in table.columns.iter().enumerate() {
                prop_assert!(column.own <= table.height);
                held[index] += u128::from(column.own);
                held[column.alias] += u128::from(table.height - column.own);
            }

            for (weight, held) in weights.iter().zip(held) {
                prop_assert_eq!(held, u128::from(*weight) * weights.len() as u128);
            }
        }
    }
}
