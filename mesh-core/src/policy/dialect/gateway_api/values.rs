//! Values that several kinds share: durations, host names, header names, references.

use std::time::Duration;

use http::HeaderName;

use super::unexpected;
use crate::policy::dialect::names::is_dns_name;
use crate::policy::reader::Reader;
use crate::policy::source::Node;

/// Reads a duration of GEP-2257: one to four of a number of up to five digits and `h`, `m`, `s` or `ms`.
pub(super) fn duration(cx: &Reader<'_>, node: &Node) -> Option<Duration> {
    let text = cx.text(node)?;
    match parse_duration(text) {
        Some(duration) => Some(duration),
        None => unexpected(
            cx,
            node,
            "a duration such as `10s` or `1m30s`, in `h`, `m`, `s` and `ms`",
            text,
        ),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let number: u64 = (1..=5).contains(&digits).then(|| number.parse().ok())??;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        sum += match unit {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        parts += 1;
        rest = after;
    }
    (1..=4).contains(&parts).then_some(sum)
}

/// Reads a host name in lower case that may start with `*.`; addresses are none.
pub(super) fn hostname(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let name = text.strip_prefix("*.").unwrap_or(text);
    if is_hostname(name) {
        return Some(text.into());
    }
    unexpected(cx, node, "a host name in lower case, or `*.` and one", text)
}

/// Reads a host name without a wildcard.
pub(super) fn precise_hostname(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if is_hostname(text) {
        return Some(text.into());
    }
    unexpected(cx, node, "a host name in lower case, without a wildcard", text)
}

fn is_hostname(name: &str) -> bool {
    is_dns_name(name) && !name.ends_with('.') && name == name.to_ascii_lowercase()
}

/// Reads the name of a header.
pub(super) fn header_name(cx: &Reader<'_>, node: &Node) -> Option<HeaderName> {
    let text = cx.text(node)?;
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if text.len() <= 256 => Some(name),
        _ => unexpected(cx, node, "the name of a header", text),
    }
}

/// Reads text of this many characters at most, and at least one.
pub(super) fn bounded(limit: usize) -> impl Fn(&Reader<'_>, &Node) -> Option<String> {
    move |cx, node| {
        let text = cx.any_text(node)?;
        if (1..=limit).contains(&text.len()) {
            return Some(text);
        }
        cx.invalid(node, format!("expected 1 to {limit} characters, found {}", text.len()))
    }
}

/// Whether a text is the name of an API group; empty is Kubernetes' core.
pub(super) fn is_group(text: &str) -> bool {
    text.is_empty() || (is_dns_name(text) && text == text.to_ascii_lowercase())
}

/// Whether a text is a kind.
pub(super) fn is_kind(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && text.len() <= 63
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_up_to_four_whole_parts() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1h1m1s1ms", 3_661_001),
            ("0s", 0),
            ("500ms", 500),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "1.5s", "-1s", "1us", "100000s", "1h1m1s1ms1s", "s", "1 s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
