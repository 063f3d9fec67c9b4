//! What is counted of the requests of one series: how many there were, and how long they took.
//!
//! The exporter keeps each sample of a histogram until it folds them, and every label of every series as texts of their own.
//! There is a series for each endpoint's answers, so that this counts in place, and has its labels from the group.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use metrics::{Counter, Histogram};

use super::DURATION_BUCKETS_MS;

/// One for each bound, and one for what is beyond all of them.
const BUCKETS: usize = DURATION_BUCKETS_MS.len() + 1;

/// The counter and the histogram of one series.
pub(super) struct Tally {
    /// Each without what is in those before it.
    buckets: [AtomicU64; BUCKETS],
    /// Milliseconds, as the bits of an `f64`.
    sum: AtomicU64,
    user: Option<Box<UserSeries>>,
}

/// The same in the user's own recorder.
pub(super) struct UserSeries {
    pub(super) requests: Counter,
    pub(super) duration: Histogram,
}

/// What a tally has at one moment.
pub(super) struct Totals {
    buckets: [u64; BUCKETS],
    /// Milliseconds.
    pub(super) sum: f64,
}

impl Tally {
    pub(super) fn new(user: Option<UserSeries>) -> Self {
        Self {
            buckets: Default::default(),
            sum: AtomicU64::default(),
            user: user.map(Box::new),
        }
    }

    /// Counts a request that took so long.
    pub(super) fn record(&self, duration: Duration) {
        let millis = duration.as_secs_f64() * 1_000.0;
        // Most requests are fast: they end the search soon.
        let bucket = DURATION_BUCKETS_MS.iter().position(|bound| millis <= *bound);
        if let Some(bucket) = self.buckets.get(bucket.unwrap_or(BUCKETS - 1)) {
            bucket.fetch_add(1, Relaxed);
        }
        let add = |bits| Some((f64::from_bits(bits) + millis).to_bits());
        let _ = self.sum.fetch_update(Relaxed, Relaxed, add);
        if let Some(user) = &self.user {
            user.requests.increment(1);
            user.duration.record(millis);
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
            sum: f64::from_bits(self.sum.load(Relaxed)),
        }
    }
}

impl Totals {
    /// How many requests there were.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The bounds, each with the requests that took no longer.
    pub(super) fn within(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut within = 0;
        DURATION_BUCKETS_MS
            .into_iter()
            .zip(self.buckets)
            .map(move |(bound, count)| {
                within += count;
                (bound, within)
            })
    }
}
