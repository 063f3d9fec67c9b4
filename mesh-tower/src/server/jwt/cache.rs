//! Tokens that were verified before: most callers show one token many times.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::decide::jwt::Accepted;

use super::state::SourceState;

/// How many tokens are remembered.
pub(super) const CAPACITY: usize = 1_024;
/// Parts of the cache, each with a lock of its own.
const SHARDS: usize = 16;

/// The last tokens that were verified, whole: two texts that differ are never taken for each other.
#[derive(Debug)]
pub(super) struct Cache {
    hasher: RandomState,
    shards: [Mutex<HashMap<Box<str>, Remembered>>; SHARDS],
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

/// A token that was verified, and under what.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) accepted: Accepted,
    /// The policy.
    pub(super) generation: u64,
    /// Where in the request it was: rules are for places.
    pub(super) at: (usize, usize),
    /// The keys, where they had to be got, and their version.
    pub(super) keys: Option<(Arc<SourceState>, u64)>,
}

impl Cache {
    /// A token that was verified under this policy at this place.
    pub(super) fn find(&self, token: &str, generation: u64, at: (usize, usize)) -> Option<Remembered> {
        let shard = self.shard(token)?.lock().unwrap_or_else(PoisonError::into_inner);
        let found = shard.get(token)?;
        (found.generation == generation && found.at == at).then(|| found.clone())
    }

    /// Remembers a token; where there are too many, those that `is_over` or are of another policy are forgotten, or all.
    pub(super) fn put(&self, token: &str, remembered: Remembered, is_over: impl Fn(&Accepted) -> bool) {
        let Some(shard) = self.shard(token) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= CAPACITY / SHARDS {
            let generation = remembered.generation;
            shard.retain(|_, known| known.generation == generation && !is_over(&known.accepted));
            if shard.len() >= CAPACITY / SHARDS {
                shard.clear();
            }
        }
        shard.insert(token.into(), remembered);
    }

    /// Forgets a token.
    pub(super) fn forget(&self, token: &str) {
        if let Some(shard) = self.shard(token) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
        }
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        let lengths = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.len()
        });
        lengths.sum()
    }

    fn shard(&self, token: &str) -> Option<&Mutex<HashMap<Box<str>, Remembered>>> {
        let hash = self.hasher.hash_one(token) as usize;
        self.shards.get(hash % SHARDS)
    }
}
