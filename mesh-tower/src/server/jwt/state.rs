//! What is known of the keys of one source.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mesh_core::decide::jwt::{KeySet, KeySource};
use mesh_core::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

/// How often a key that is not there may be looked for.
const REFETCH: Duration = Duration::from_secs(60);

/// Keys, and when they were got.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) keys: Arc<KeySet>,
    pub(super) fetched: Timestamp,
    /// Rises when the keys change.
    pub(super) version: u64,
}

/// The keys of a source, and how the last attempt to get them went.
#[derive(Debug)]
pub(super) struct SourceState {
    held: ArcSwapOption<Held>,
    /// Counts attempts that have ended.
    attempts: watch::Sender<u64>,
    /// Whether an attempt is under way or asked for.
    is_busy: AtomicBool,
    wanted: Notify,
    /// When a key was last looked for that was not there, in nanoseconds; 0 is never.
    looked: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Default for SourceState {
    fn default() -> Self {
        Self {
            held: ArcSwapOption::empty(),
            attempts: watch::Sender::new(0),
            is_busy: AtomicBool::new(false),
            wanted: Notify::new(),
            looked: AtomicU64::new(0),
            problem: Mutex::default(),
        }
    }
}

impl SourceState {
    /// The keys, unless they have been too old for too long.
    pub(super) fn held(&self, source: &KeySource, now: Timestamp) -> Option<Arc<Held>> {
        let limit = source.refresh.saturating_add(source.stale);
        self.held.load_full().filter(|held| now.since(held.fetched) <= limit)
    }

    pub(super) fn fetched(&self) -> Option<Timestamp> {
        self.held.load().as_ref().map(|held| held.fetched)
    }

    /// The same keys, as old as they are, to be followed by other times.
    pub(super) fn again(&self) -> Self {
        Self {
            held: ArcSwapOption::new(self.held.load_full()),
            looked: AtomicU64::new(self.looked.load(Ordering::Relaxed)),
            ..Self::default()
        }
    }

    pub(super) fn age(&self, now: Timestamp) -> Option<Duration> {
        self.held.load().as_ref().map(|held| now.since(held.fetched))
    }

    /// Notes that an attempt begins.
    pub(super) fn begins(&self) {
        self.is_busy.store(true, Ordering::Release);
    }

    /// Takes what an attempt brought.
    pub(super) fn ended(&self, result: Result<Arc<KeySet>, String>, now: Timestamp) {
        let problem = match result {
            Ok(keys) => {
                self.hold(keys, now);
                None
            }
            Err(problem) => Some(problem),
        };
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        self.is_busy.store(false, Ordering::Release);
        self.attempts.send_modify(|attempts| *attempts += 1);
    }

    fn hold(&self, keys: Arc<KeySet>, fetched: Timestamp) {
        let last = self.held.load();
        let version = match last.as_ref() {
            Some(last) if last.keys == keys => last.version,
            Some(last) => last.version + 1,
            None => 1,
        };
        self.held.store(Some(Arc::new(Held { keys, fetched, version })));
    }

    /// Waits until somebody wants the keys at once.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits for keys that a request needs: the first ones, or those of an attempt that it may ask for. Tells whether
    /// there was an attempt.
    pub(super) async fn awaited(&self, limit: Duration, now: Timestamp) -> bool {
        let mut attempts = self.attempts.subscribe();
        let is_first = *attempts.borrow_and_update() == 0;
        let is_under_way = is_first || self.is_busy.load(Ordering::Acquire);
        if !is_under_way {
            if !self.may_look(now) {
                return false;
            }
            self.begins();
            self.wanted.notify_one();
        }
        let changed = tokio::time::timeout(limit, attempts.changed()).await;
        changed.is_ok_and(|changed| changed.is_ok())
    }

    /// Whether a key may be looked for now: once a minute, whoever asks.
    fn may_look(&self, now: Timestamp) -> bool {
        let (now, pause) = (now.as_nanos(), u64::try_from(REFETCH.as_nanos()).unwrap_or(u64::MAX));
        let next = |last: u64| (last == 0 || now.saturating_sub(last) >= pause).then_some(now);
        self.looked
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }

    pub(super) fn describe(&self, source: &KeySource, now: Timestamp) -> Value {
        let held = self.held.load();
        let names = held.as_ref().map(|held| {
            let keys = held.keys.keys().iter();
            keys.map(|key| key.id.as_deref().unwrap_or("-").to_owned())
                .collect::<Vec<_>>()
        });
        json!({
            "source": source.from.text(),
            "age_seconds": self.age(now).map(|age| age.as_secs()),
            "in_use": self.held(source, now).is_some(),
            "keys": names.unwrap_or_default(),
            "attempts": *self.attempts.borrow(),
            "problem": *self.problem.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }
}
