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
    // INVARIANT: changed under the lock of the followers.
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
type Sources = FxHashMap<Arc<KeySource>, Wanted>;

/// A source that a policy has.
#[derive(Clone, Debug)]
struct Wanted {
    state: Arc<SourceState>,
    /// The last policy that has it.
    generation: u64,
}

/// The state of a source that is new, with the keys that are known from the same place under other times.
fn begun(sources: &Sources, source: &KeySource) -> Arc<SourceState> {
    let same = sources.iter().filter(|(known, _)| known.from == source.from);
    let latest = same.max_by_key(|(_, wanted)| wanted.state.fetched());
    latest.map_or_else(Arc::default, |(_, wanted)| Arc::new(wanted.state.again()))
}

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

    /// Gets keys from where this policy says, too. Those that are known from there already stay, whatever times it gives them.
    ///
    /// ORDER: before the policy is in force. Requests go on under the last one, until that is [retired](Self::retire).
    pub(crate) fn apply(&self, shared: &Arc<Shared>, snapshot: &Snapshot) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sources = Sources::clone(&self.sources.load());
        for source in snapshot.inbound.tokens.sources() {
            let known = sources.get(source).map(|wanted| Arc::clone(&wanted.state));
            let state = known.unwrap_or_else(|| begun(&sources, source));
            followers.entry(Arc::clone(source)).or_insert_with(|| {
                let task = follow::follow(Arc::downgrade(shared), Arc::clone(source), Arc::clone(&state));
                tokio::spawn(task).abort_handle()
            });
            let generation = snapshot.generation;
            sources.insert(Arc::clone(source), Wanted { state, generation });
        }
        self.sources.store(Arc::new(sources));
    }

    /// Gets keys no more from where only policies up to this one say.
    pub(crate) fn retire(&self, generation: u64) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sources = Sources::clone(&self.sources.load());
        sources.retain(|source, wanted| {
            let stays = wanted.generation > generation;
            if !stays && let Some(task) = followers.remove(source) {
                task.abort();
            }
            stays
        });
        self.sources.store(Arc::new(sources));
    }

    /// Seconds since 1970, by the clock that tokens are judged by.
    fn unix_now(&self) -> u64 {
        let since = self.wall.now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }

    fn state(&self, source: &KeySource) -> Option<Arc<SourceState>> {
        let sources = self.sources.load();
        sources.get(source).map(|wanted| Arc::clone(&wanted.state))
    }

    /// The age of the oldest keys in use, in seconds; 0 where none had to be got.
    pub(crate) fn oldest(&self) -> f64 {
        let now = self.clock.now();
        let sources = self.sources.load();
        let ages = sources.values().filter_map(|wanted| wanted.state.age(now));
        ages.max().unwrap_or_default().as_secs_f64()
    }

    /// What the admin page tells.
    pub(crate) fn describe(&self) -> Value {
        let now = self.clock.now();
        let sources = self.sources.load();
        let mut told: Vec<_> = sources
            .iter()
            .map(|(source, wanted)| wanted.state.describe(source, now))
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
