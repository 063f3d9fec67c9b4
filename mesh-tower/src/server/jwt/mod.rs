//! Tokens of requests: their keys, their verification, and what the application learns of them.
//!
//! Keys are fetched off the path of requests, and kept while the policy changes. A request waits for them only while they
//! have never been there, or while a key that its token names is looked for, which happens once a minute at most; and no
//! longer than the rule's timeout.
//!
//! # Cost
//!
//! Without a rule, one comparison a request. A token that was verified before costs its look-up among the last
//! [`CAPACITY`](cache::CAPACITY) (a hash of its text, one lock) and a look at the clock; another one a signature.

mod authenticate;
mod cache;
mod claims;
mod fetch;
mod follow;
mod signature;
mod state;
#[cfg(test)]
mod tests;
mod web;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwap;
use mesh_core::decide::jwt::{KeySet, KeySource, Keys};
use mesh_core::snapshot::Snapshot;
use mesh_core::time::Timestamp;
use mesh_tls::clock::Clock as WallClock;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::discovery::Resolve;
use crate::mesh::Shared;
use cache::Cache;
use state::SourceState;

pub(super) use authenticate::authenticate;
pub use claims::Claims;
pub use signature::AwsLc;
pub(crate) use web::Web;

/// What a mesh knows of tokens; outlives reloads.
#[derive(Debug)]
pub(crate) struct Tokens {
    sources: ArcSwap<Sources>,
    /// The tasks that fetch.
    followers: Mutex<FxHashMap<Arc<KeySource>, AbortHandle>>,
    cache: Cache,
    clock: Clock,
    /// The clock that tokens are judged by.
    wall: WallClock,
    pub(super) web: Web,
}

/// The state of each source of keys.
type Sources = FxHashMap<Arc<KeySource>, Arc<SourceState>>;

impl Tokens {
    pub(crate) fn new(wall: WallClock, authorities: Option<PathBuf>, resolver: Arc<dyn Resolve>) -> Self {
        Self {
            sources: ArcSwap::default(),
            followers: Mutex::default(),
            cache: Cache::default(),
            clock: Clock::new(),
            web: Web::new(authorities, resolver, wall.clone()),
            wall,
        }
    }

    /// Gets keys from where this policy says, and from nowhere else. Keys that are known already stay.
    pub(crate) fn apply(&self, shared: &Arc<Shared>, snapshot: &Snapshot) {
        let known = self.sources.load();
        let wanted = snapshot.inbound.tokens.sources();
        let sources: Sources = wanted
            .map(|source| {
                let state = known.get(source).cloned().unwrap_or_default();
                (Arc::clone(source), state)
            })
            .collect();
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|source, task| {
            let stays = sources.contains_key(source);
            if !stays {
                task.abort();
            }
            stays
        });
        for (source, state) in &sources {
            followers.entry(Arc::clone(source)).or_insert_with(|| {
                let task = follow::follow(Arc::downgrade(shared), Arc::clone(source), Arc::clone(state));
                tokio::spawn(task).abort_handle()
            });
        }
        self.sources.store(Arc::new(sources));
    }

    /// Seconds since 1970, by the clock that tokens are judged by.
    fn unix_now(&self) -> u64 {
        let since = self.wall.now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }

    fn state(&self, source: &KeySource) -> Option<Arc<SourceState>> {
        self.sources.load().get(source).cloned()
    }

    /// The age of the oldest keys in use, in seconds; 0 where none had to be got.
    pub(crate) fn oldest(&self) -> f64 {
        let now = self.clock.now();
        let sources = self.sources.load();
        let ages = sources.values().filter_map(|state| state.age(now));
        ages.max().unwrap_or_default().as_secs_f64()
    }

    /// What the admin page tells.
    pub(crate) fn describe(&self) -> Value {
        let now = self.clock.now();
        let sources = self.sources.load();
        let mut told: Vec<_> = sources
            .iter()
            .map(|(source, state)| state.describe(source, now))
            .collect();
        told.sort_by_key(|one| one["source"].as_str().map(str::to_owned));
        json!({ "sources": told, "verified_tokens": self.cache.len() })
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let followers = self.followers.get_mut().unwrap_or_else(PoisonError::into_inner);
        followers.values().for_each(AbortHandle::abort);
    }
}

/// The keys as they are at one time.
struct KeysAt<'t> {
    tokens: &'t Tokens,
    now: Timestamp,
    /// The source that was asked last, and the version of its keys: those that a token was verified with.
    asked: RefCell<Option<(Arc<SourceState>, u64)>>,
}

impl<'t> KeysAt<'t> {
    fn now(tokens: &'t Tokens) -> Self {
        Self {
            tokens,
            now: tokens.clock.now(),
            asked: RefCell::default(),
        }
    }
}

impl Keys for KeysAt<'_> {
    fn of(&self, source: &KeySource) -> Option<Arc<KeySet>> {
        let state = self.tokens.state(source)?;
        let held = state.held(source, self.now)?;
        self.asked.replace(Some((state, held.version)));
        Some(Arc::clone(&held.keys))
    }
}

/// The mesh that a task works for, as long as it is there.
type Mesh = Weak<Shared>;
