//! The wall clock that certificates are judged by, as a value.
//!
//! Verification asks a [`Clock`] and nothing else, so a test can move a certificate past its end
//! without waiting and without touching the machine's time.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//! use mesh_tls::clock::ManualClock;
//!
//! let time = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
//! let clock = time.clock();
//! time.advance(Duration::from_secs(60));
//! assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(1_700_000_060));
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

/// Where the time of a verification comes from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Arc<dyn TimeProvider>);

impl Clock {
    /// The machine's wall clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(DefaultTimeProvider))
    }

    /// A clock of the caller's own.
    #[must_use]
    pub fn new(provider: Arc<dyn TimeProvider>) -> Self {
        Self(provider)
    }

    /// The time now. A provider without a time counts as 1970, when no certificate is valid yet.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        system_time(self.unix_now())
    }

    pub(crate) fn unix_now(&self) -> UnixTime {
        let epoch = UnixTime::since_unix_epoch(Duration::ZERO);
        self.0.current_time().unwrap_or(epoch)
    }

    pub(crate) fn provider(&self) -> Arc<dyn TimeProvider> {
        Arc::clone(&self.0)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// A clock that stands still until it is told to move, in whole seconds.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `time`.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        Self(Arc::new(AtomicU64::new(unix_seconds(time))))
    }

    /// The [`Clock`] that this one drives.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock(Arc::new(self.clone()))
    }

    /// Moves forward by `duration`.
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(duration.as_secs(), Ordering::Relaxed);
    }

    /// Shows `time` from now on.
    pub fn set(&self, time: SystemTime) {
        self.0.store(unix_seconds(time), Ordering::Relaxed);
    }
}

impl TimeProvider for ManualClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = Duration::from_secs(self.0.load(Ordering::Relaxed));
        Some(UnixTime::since_unix_epoch(seconds))
    }
}

/// Seconds since 1970; zero for a time before.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The latest time that this crate represents: the end of the year 9999, as in X.509.
pub(crate) const LATEST: u64 = 253_402_300_799;

pub(crate) fn system_time(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.as_secs().min(LATEST))
}
