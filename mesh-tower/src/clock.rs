//! Where time and randomness enter: the only place of the mesh that asks the system for either.
//!
//! Everything that decides takes a [`Timestamp`] and an [`Rng`]. The driver gets them here, and tests
//! get them from tokio's paused clock and from a seed.
//!
//! ```
//! use mesh_core::random::below;
//! use mesh_tower::clock::{Clock, Entropy};
//!
//! let clock = Clock::new();
//! let start = clock.now();
//! assert!(clock.now() >= start);
//!
//! let (a, b) = (Entropy::seeded(7), Entropy::seeded(7));
//! assert_eq!(below(100, &mut &a), below(100, &mut &b));
//! ```

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use mesh_core::random::{Rng, SplitMix64};
use mesh_core::time::Timestamp;
use tokio::time::Instant;

/// How far before the first look at the clock the origin lies: no [`Timestamp`] of a running process is
/// near zero, and a paused runtime that was started earlier than another still reads rising times.
const ORIGIN_SLACK: Duration = Duration::from_secs(3_600);

/// The clock of the process: monotonic timestamps on one origin, and the wall clock for people to read.
///
/// Follows tokio's clock, so that a test with paused time moves it. All clocks of a process share their
/// origin: timestamps of one compare with those of another.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// The clock of this process.
    #[must_use]
    pub fn new() -> Self {
        static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
        let origin = *ORIGIN.get_or_init(|| {
            let now = std::time::Instant::now();
            now.checked_sub(ORIGIN_SLACK).unwrap_or(now)
        });
        Self {
            origin: Instant::from_std(origin),
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + Instant::now().saturating_duration_since(self.origin)
    }

    /// The instant of a timestamp, for `tokio::time::sleep_until`; a far future stands in for what the system cannot represent.
    #[must_use]
    pub fn instant(&self, timestamp: Timestamp) -> Instant {
        const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
        let offset = timestamp.since(Timestamp::ZERO);
        self.origin.checked_add(offset).unwrap_or_else(|| Instant::now() + FAR)
    }

    /// The wall clock: for log lines and metrics that people read, never for decisions.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A source of randomness that any number of threads draw from.
///
/// `&Entropy` is an [`Rng`], so a shared one needs no lock. Not for secrets.
#[derive(Clone, Debug, Default)]
pub struct Entropy(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    /// A generator for each thread, seeded by the operating system: no contention.
    #[default]
    Thread,
    /// The next draw's number within the sequence of one seed.
    Seeded { seed: u64, draws: Arc<AtomicU64> },
}

/// The step between the states of [`SplitMix64`]: its n-th state is `seed + n * GAMMA`.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Entropy {
    /// Randomness seeded by the operating system, once for each thread.
    #[must_use]
    pub fn from_system() -> Self {
        Self(Source::Thread)
    }

    /// Randomness that repeats its sequence for the same `seed`; clones go on with the same sequence.
    ///
    /// # Determinism
    ///
    /// One thread at a time sees the sequence of [`SplitMix64`]; threads that draw at once share it out between them.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded {
            seed,
            draws: Arc::new(AtomicU64::new(0)),
        })
    }

    fn draw(&self) -> u64 {
        match &self.0 {
            Source::Thread => draw_from_thread(),
            Source::Seeded { seed, draws } => {
                let drawn = draws.fetch_add(1, Ordering::Relaxed);
                SplitMix64::new(seed.wrapping_add(drawn.wrapping_mul(GAMMA))).next_u64()
            }
        }
    }
}

impl Rng for Entropy {
    fn next_u64(&mut self) -> u64 {
        self.draw()
    }
}

impl Rng for &Entropy {
    fn next_u64(&mut self) -> u64 {
        self.draw()
    }
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(system_seed());
}

fn draw_from_thread() -> u64 {
    STATE.with(|state| {
        let now = state.get();
        state.set(now.wrapping_add(GAMMA));
        SplitMix64::new(now).next_u64()
    })
}

/// 64 bits from the operating system: std keys its hash maps with them.
fn system_seed() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(THREADS.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn paused_time_moves_the_clock() {
        let clock = Clock::new();
        let start = clock.now();
        assert!(start > Timestamp::ZERO);

        tokio::time::advance(Duration::from_secs(90)).await;

        assert_eq!(clock.now().since(start), Duration::from_secs(90));
        assert_eq!(clock.instant(clock.now()), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn clocks_share_their_origin() {
        assert_eq!(Clock::new().now(), Clock::new().now());
    }

    #[test]
    fn a_timestamp_beyond_the_system_is_far_away_and_no_panic() {
        let clock = Clock::new();
        let far = clock.instant(Timestamp::from_nanos(u64::MAX));
        assert!(far > Instant::now() + Duration::from_secs(86_400));
    }

    #[test]
    fn a_seed_repeats_the_sequence_of_its_generator() {
        let (shared, mut single) = (Entropy::seeded(42), SplitMix64::new(42));
        let again = shared.clone();
        for _ in 0..50 {
            assert_eq!((&shared).next_u64(), single.next_u64());
            assert_eq!((&again).next_u64(), single.next_u64());
        }
    }

    #[test]
    fn threads_draw_different_numbers() {
        let draws: std::collections::BTreeSet<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..100)
                            .map(|_| (&Entropy::from_system()).next_u64())
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(draws.len(), 400);
    }
}
