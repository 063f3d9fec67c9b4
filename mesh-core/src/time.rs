//! Time as a value: [`Timestamp`], and durations as policies write them.
//!
//! ```
//! use std::time::Duration;
//! use mesh_core::time::{Timestamp, parse_duration};
//!
//! let start = Timestamp::ZERO;
//! let later = start + parse_duration("1m30s").unwrap();
//! assert_eq!(later.since(start), Duration::from_secs(90));
//! ```

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A point in time: nanoseconds since an origin that the driver chooses once per process.
///
/// Unlike `std::time::Instant` it can be made up, stored in an atomic and printed. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The point `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that passed since `earlier`; zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// The text is empty.
    #[error("empty duration, expected a number and a unit such as `10s`")]
    Empty,
    /// A number stands without a unit.
    #[error("duration `{0}` has no unit, expected one of `ns`, `us`, `ms`, `s`, `m`, `h`")]
    NoUnit(String),
    /// The text is not a sequence of numbers and units.
    #[error("`{0}` is not a duration, expected a number and a unit such as `10s`, `1m30s` or `250ms`")]
    Malformed(String),
    /// The duration is longer than 2^63 nanoseconds (292 years).
    #[error("duration `{0}` is too long")]
    TooLong(String),
}

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses a duration as protobuf's JSON form (`0.5s`) and Go (`1m30s`, `250ms`) write it.
///
/// # Errors
///
/// [`DurationError`] for a number without a unit, a sign, blanks, an unknown unit or an overflow.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (nanos, tail) = leading_term(rest, text)?;
        total = total
            .checked_add(nanos)
            .filter(|sum| i64::try_from(*sum).is_ok())
            .ok_or_else(|| DurationError::TooLong(text.into()))?;
        rest = tail;
    }
    Ok(Duration::from_nanos(total))
}

/// Reads one `number unit` term; returns its nanoseconds and what follows.
fn leading_term<'a>(rest: &'a str, whole: &str) -> Result<(u64, &'a str), DurationError> {
    let digits = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, tail) = rest.split_at(digits);
    if number.is_empty() || number == "." || number.matches('.').count() > 1 {
        return Err(DurationError::Malformed(whole.into()));
    }
    let letters = tail
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(tail.len());
    let (unit, tail) = tail.split_at(letters);
    if unit.is_empty() {
        return Err(DurationError::NoUnit(whole.into()));
    }
    let (_, scale) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| DurationError::Malformed(whole.into()))?;
    let nanos = scaled(number, *scale).ok_or_else(|| DurationError::TooLong(whole.into()))?;
    Ok((nanos, tail))
}

/// `number × scale` in whole nanoseconds, digits below one nanosecond cut off.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(scale)?;
    let mut unit = scale;
    for digit in fraction.bytes() {
        unit /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0').checked_mul(unit)?)?;
    }
    Some(nanos)
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that leaves no fraction.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, scale) = UNITS
        .iter()
        .rev()
        .find(|(_, scale)| nanos != 0 && nanos.is_multiple_of(u128::from(*scale)))
        .copied()
        .unwrap_or(("s", 1_000_000_000));
    format!("{}{unit}", nanos / u128::from(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_their_projects_write_them() {
        for (text, millis) in [
            ("10s", 10_000),
            ("0.5s", 500),
            ("250ms", 250),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            (".5s", 500),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("1.000340012s"), Ok(Duration::from_nanos(1_000_340_012)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "10",
            "-1s",
            "10 s",
            "s",
            "1x",
            "1..2s",
            "1s2",
            "1e9s",
            "99999999999h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_printed_duration_reads_back() {
        for nanos in [0, 1, 1_500_000, 90_000_000_000, 3_600_000_000_000] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn time_saturates_at_both_ends() {
        let end = Timestamp::from_nanos(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Timestamp::ZERO.since(end), Duration::ZERO);
    }
}
