//! The `grpc-timeout` header (gRPC over HTTP/2, "Requests"): at most eight digits and a unit.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

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

/// The name of the header.
pub static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Units, the largest first, in nanoseconds.
const UNITS: [(u8, u64); 6] = [
    (b'H', 3_600_000_000_000),
    (b'M', 60_000_000_000),
    (b'S', 1_000_000_000),
    (b'm', 1_000_000),
    (b'u', 1_000),
    (b'n', 1),
];

const MAX_DIGITS: usize = 8;

/// The largest number that eight digits write.
const MAX_NUMBER: u32 = 99_999_999;

/// Reads the `grpc-timeout` of a request; `None` where it has none. Zero is a valid limit that is over already.
///
/// # Errors
///
/// [`GrpcTimeoutError`]: the request is refused, since a server might read the header otherwise.
pub fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, GrpcTimeoutError> {
    let mut values = headers.get_all(&GRPC_TIMEOUT).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(GrpcTimeoutError::Repeated);
    }
    let text = value
        .to_str()
        .map_or_else(|_| String::from_utf8_lossy(value.as_bytes()), Cow::Borrowed);
    parse_grpc_timeout(&text).map(Some)
}

/// Reads a value such as `250m` (milliseconds) or `5S`. Up to 11 415 years; no overflow.
///
/// # Errors
///
/// [`GrpcTimeoutError`] for signs, blanks, fractions, more than eight digits, and unknown units.
pub fn parse_grpc_timeout(text: &str) -> Result<Duration, GrpcTimeoutError> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit());
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    if digits.len() > MAX_DIGITS {
        return Err(GrpcTimeoutError::TooLong(text.into()));
    }
    let number: u64 = digits.parse().map_err(|_| GrpcTimeoutError::Number(text.into()))?;
    let scale = match unit.as_bytes() {
        [letter] => UNITS.iter().find(|(unit, _)| unit == letter),
        _ => None,
    };
    let (_, nanos) = scale.ok_or_else(|| GrpcTimeoutError::Unit(text.into()))?;
    // Hours overflow 64 bits of nanoseconds, not a `Duration`.
    Ok(Duration::from_nanos(*nanos).saturating_mul(u32::try_from(number).unwrap_or(u32::MAX)))
}

/// Writes a limit in the smallest unit that holds it in eight digits, rounded up: a server's limit is never shorter than ours.
#[must_use]
pub fn format_grpc_timeout(limit: Duration) -> HeaderValue {
    let (mut number, unit) = in_eight_digits(limit);
    let digits = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    let mut text = [unit; MAX_DIGITS + 1];
    for digit in text.iter_mut().take(digits).rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    // INVARIANT: digits and a letter.
    let value = text.get(..=digits).map(HeaderValue::from_bytes);
    value
        .and_then(Result::ok)
        .unwrap_or(HeaderValue::from_static("99999999H"))
}

fn in_eight_digits(limit: Duration) -> (u32, u8) {
    let fits = |number: u64| u32::try_from(number).ok().filter(|number| *number <= MAX_NUMBER);
    let Ok(nanos) = u64::try_from(limit.as_nanos()) else {
        let seconds = limit.as_secs().saturating_add(u64::from(limit.subsec_nanos() > 0));
        return (fits(seconds.div_ceil(3_600)).unwrap_or(MAX_NUMBER), b'H');
    };
    let mut units = UNITS.iter().rev();
    let fitting = units.find_map(|(unit, scale)| Some((fits(nanos.div_ceil(*scale))?, *unit)));
    fitting.unwrap_or((MAX_NUMBER, b'H'))
}
