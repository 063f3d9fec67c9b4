//! The live holder of a snapshot.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Snapshot;

/// Holds the snapshot in force. Readers are wait-free; a request keeps what it loaded.
#[derive(Debug)]
pub struct SnapshotCell(ArcSwap<Snapshot>);

impl SnapshotCell {
    /// A cell with its first snapshot: there is no state without a policy.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// The snapshot in force.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Puts `snapshot` in force, unless a later generation already is: a slow load never undoes a newer one.
    ///
    /// Returns what is in force afterwards.
    pub fn store(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let next = Arc::new(snapshot);
        self.0.rcu(|current| {
            if current.generation > next.generation {
                current.clone()
            } else {
                next.clone()
            }
        });
        self.load()
    }
}

impl AsRef<ArcSwap<Snapshot>> for SnapshotCell {
    /// The cell itself, for caches per thread (`arc_swap::Cache`).
    fn as_ref(&self) -> &ArcSwap<Snapshot> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::Policy;
    use crate::workload::Workload;

    fn snapshot(generation: u64) -> Snapshot {
        Snapshot::compile(&Policy::default(), &Workload::default(), generation).unwrap()
    }

    #[test]
    fn a_slow_load_does_not_undo_a_newer_one() {
        let cell = SnapshotCell::new(snapshot(1));
        assert_eq!(cell.store(snapshot(3)).generation, 3);
        assert_eq!(cell.store(snapshot(2)).generation, 3);
        assert_eq!(cell.load().generation, 3);
    }
}
