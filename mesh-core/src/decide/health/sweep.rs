//! Sweeps that nobody has to wait for.

use std::time::Duration;

use crate::time::Timestamp;

/// The sweeps that fell due since the last one: at `last + interval`, `last + 2 · interval` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    last: Timestamp,
    interval: Duration,
    count: u64,
}

impl Ticks {
    /// The sweeps after `last`, up to and including `now`. An interval below a millisecond counts as one.
    #[must_use]
    pub fn between(last: Timestamp, now: Timestamp, interval: Duration) -> Self {
        let interval = interval.max(Duration::from_millis(1));
        let count = now.since(last).as_nanos() / interval.as_nanos();
        Self {
            last,
            interval,
            count: u64::try_from(count).unwrap_or(u64::MAX),
        }
    }

    /// How many sweeps fell due.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.count
    }

    /// The time of the `number`th sweep after `last`.
    fn at(self, number: u64) -> Timestamp {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(number));
        self.last + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The time of the last sweep that fell due; `last` where none did.
    #[must_use]
    pub fn latest(self) -> Timestamp {
        self.at(self.count)
    }

    /// When the first sweep after these is due.
    #[must_use]
    pub fn next(self) -> Timestamp {
        self.at(self.count.saturating_add(1))
    }

    /// How many sweeps were left after the first one at or after `time`; `None` where none was at or after it.
    #[must_use]
    pub fn left_after(self, time: Timestamp) -> Option<u64> {
        let number = time
            .since(self.last)
            .as_nanos()
            .div_ceil(self.interval.as_nanos())
            .max(1);
        self.count.checked_sub(u64::try_from(number).ok()?)
    }
}
