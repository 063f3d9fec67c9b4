//! The `grpc-timeout` header (gRPC over HTTP/2, "Requests"): at most eight digits and a unit.

use std::time::Duration;

use http::HeaderMap;

/// Why a `grpc-timeout` is malformed. The answer to it is [`crate::outcome::Outcome::BadRequest`] (gRPC status 3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrpcTimeoutError {
    /// No digits before the unit, or something else than digits.
    #[error("`grpc-timeout` `{0}` has no number, expected one to eight digits and a unit")]
    Number(String),
    /// More than eight digits.
    #[error("`grpc-timeout` `{0}` has more than eight digits")]
    TooLong(String),
    /// No unit, or an unknown one.
    #[error("`grpc-timeout` `{0}` has no unit, expected one of `H`, `M`, `S`, `m`, `u`, `n`")]
    Unit(String),
    /// The header is there more than once.
    #[error("`grpc-timeout` is given more than once")]
    Repeated,
}

/// Units, the largest first, in nanoseconds.
const UNITS: [(char, u64); 6] = [
    ('H', 3_600_000_000_000),
    ('M', 60_000_000_000),
    ('S', 1_000_000_000),
    ('m', 1_000_000),
    ('u', 1_000),
    ('n', 1),
];

const MAX_DIGITS: usize = 8;

/// The largest number that eight digits write.
const MAX_NUMBER: u128 = 99_999_999;

/// Reads the `grpc-timeout` of a request; `None` where it has none. Zero is a valid limit that is over already.
///
/// # Errors
///
/// [`GrpcTimeoutError`]: the request is refused, since a server might read the header otherwise.
pub fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, GrpcTimeoutError> {
    let mut values = headers.get_all("grpc-timeout").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(GrpcTimeoutError::Repeated);
    }
    parse_grpc_timeout(&String::from_utf8_lossy(value.as_bytes())).map(Some)
}

/// Reads a value such as `250m` (milliseconds) or `5S`. Up to 11 415 years; no overflow.
///
/// # Errors
///
/// [`GrpcTimeoutError`] for signs, blanks, fractions, more than eight digits, and unknown units.
pub fn parse_grpc_timeout(text: &str) -> Result<Duration, GrpcTimeoutError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.len() > MAX_DIGITS {
        return Err(GrpcTimeoutError::TooLong(text.into()));
    }
    let number: u64 = digits.parse().map_err(|_| GrpcTimeoutError::Number(text.into()))?;
    let mut letters = unit.chars();
    let scale = match (letters.next(), letters.next()) {
        (Some(letter), None) => UNITS.iter().find(|(unit, _)| *unit == letter),
        _ => None,
    };
    let (_, nanos) = scale.ok_or_else(|| GrpcTimeoutError::Unit(text.into()))?;
    // Hours overflow 64 bits of nanoseconds, not a `Duration`.
    Ok(Duration::from_nanos(*nanos).saturating_mul(u32::try_from(number).unwrap_or(u32::MAX)))
}

/// Writes a limit in the smallest unit that holds it in eight digits, rounded up: a server's limit is never shorter than ours.
#[must_use]
pub fn format_grpc_timeout(limit: Duration) -> String {
    let nanos = limit.as_nanos();
    let fitting = UNITS.iter().rev().find_map(|(unit, scale)| {
        let number = nanos.div_ceil(u128::from(*scale));
        (number <= MAX_NUMBER).then(|| format!("{number}{unit}"))
    });
    fitting.unwrap_or_else(|| "99999999H".into())
}
