//! Times as people write and read them.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads a time such as `2030-01-01T00:00:00Z`.
pub(super) fn parse(text: &str) -> Result<SystemTime, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339);
    let time = time.map_err(|error| format!("expected a time such as `2030-01-01T00:00:00Z`: {error}"))?;
    Ok(time.into())
}

/// Writes a time as [`parse`] reads it, in UTC.
pub(super) fn show(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    // Certificates end in 9999 at the latest, which the format has.
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// Writes a duration in the two largest units that it has.
pub(super) fn span(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = duration.as_secs();
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in UNITS.iter().skip(first).take(2) {
        let count = rest / unit;
        rest %= unit;
        if count > 0 || parts.is_empty() {
            parts.push(format!("{count} {name}"));
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_it_is_read() {
        let text = "2030-01-02T03:04:05Z";
        assert_eq!(show(parse(text).unwrap()), text);
        assert_eq!(show(parse("2030-01-02T05:04:05+02:00").unwrap()), text);
        for wrong in ["", "now", "2030-01-02", "2030-13-02T00:00:00Z"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_span_has_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min 59 s"),
            (3_600 * 25, "1 d 1 h"),
            (86_400 * 365 + 61, "365 d"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
