//! How much of a certificate's life is left, as a pure function of three times.

use std::fmt;
use std::time::{Duration, SystemTime};

/// Where a certificate stands in its life.
///
/// | phase | from | what it means |
/// |---|---|---|
/// | not yet valid | | the two clocks disagree; peers refuse it |
/// | fresh | the first second | SPIRE, Istio and our own issuers renew it at half of its life, cert-manager at two thirds |
/// | due | 75 % | a renewal is late: the source fails, or its certificates are renewed by nobody |
/// | expiring | 90 % | somebody has to act |
/// | expired | past the last second | handshakes fail on this side |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Its first second is yet to come.
    NotYetValid,
    /// No renewal is expected yet.
    Fresh,
    /// A renewal should have come.
    Due,
    /// The last tenth of its life.
    Expiring,
    /// Its last second is past.
    Expired,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 5] = [Self::NotYetValid, Self::Fresh, Self::Due, Self::Expiring, Self::Expired];

    /// The phase in words, as metrics and pages have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotYetValid => "not_yet_valid",
            Self::Fresh => "fresh",
            Self::Due => "due",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first and the last second of a certificate.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use mesh_tls::source::{Lifetime, Phase};
///
/// let hour = |at: f64| UNIX_EPOCH + Duration::from_secs_f64(at * 3600.0);
/// let lifetime = Lifetime::new(hour(0.0), hour(10.0));
/// assert_eq!(lifetime.phase(hour(7.4)), Phase::Fresh);
/// assert_eq!(lifetime.phase(hour(7.5)), Phase::Due);
/// assert_eq!(lifetime.phase(hour(9.0)), Phase::Expiring);
/// assert_eq!(lifetime.phase(hour(10.1)), Phase::Expired);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Lifetime {
    /// From the first to the last valid second.
    #[must_use]
    pub const fn new(not_before: SystemTime, not_after: SystemTime) -> Self {
        Self { not_before, not_after }
    }

    /// The first valid second.
    #[must_use]
    pub const fn not_before(self) -> SystemTime {
        self.not_before
    }

    /// The last valid second.
    #[must_use]
    pub const fn not_after(self) -> SystemTime {
        self.not_after
    }

    /// From when on a renewal is late.
    #[must_use]
    pub fn due(self) -> SystemTime {
        self.at_percent(75)
    }

    /// From when on it is nearly at its end.
    #[must_use]
    pub fn expiring(self) -> SystemTime {
        self.at_percent(90)
    }

    /// What is left of it, zero once it has expired.
    #[must_use]
    pub fn left(self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// The phase at a moment.
    #[must_use]
    pub fn phase(self, now: SystemTime) -> Phase {
        if now < self.not_before {
            Phase::NotYetValid
        } else if now > self.not_after {
            Phase::Expired
        } else if now >= self.expiring() {
            Phase::Expiring
        } else if now >= self.due() {
            Phase::Due
        } else {
            Phase::Fresh
        }
    }

    /// When the phase that holds now ends; never for one that has expired.
    #[must_use]
    pub fn next_phase(self, now: SystemTime) -> Option<SystemTime> {
        match self.phase(now) {
            Phase::NotYetValid => Some(self.not_before),
            Phase::Fresh => Some(self.due()),
            Phase::Due => Some(self.expiring()),
            // The last second counts in full.
            Phase::Expiring => Some(self.not_after + Duration::from_secs(1)),
            Phase::Expired => None,
        }
    }

    fn at_percent(self, percent: u32) -> SystemTime {
        let whole = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before + whole / 100 * percent
    }
}
