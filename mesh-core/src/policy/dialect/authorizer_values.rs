//! Values of external authorizers that several dialects take.

use http::{HeaderName, HeaderValue, StatusCode};

use super::filter_values::status;
use super::header_text::changed_header;
use crate::policy::diagnostic::quoted;
use crate::policy::model::authz::Pattern;
use crate::policy::reader::{Reader, within};
use crate::policy::source::{Key, Node};

/// The largest part of a body that a check may have: it is held in memory for as long as the check takes.
pub(super) const BODY_LIMIT: i64 = 1 << 20;

/// Reads the name of a header, which may begin or end with `*`; in lower case, as names are compared.
pub(super) fn header_pattern(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.text(node)?.to_ascii_lowercase();
    let pattern = Pattern::wildcard(&text);
    let name = match &pattern {
        Pattern::Present => return Some(pattern),
        Pattern::Exact(name) | Pattern::Prefix(name) | Pattern::Suffix(name) => name,
        _ => &text,
    };
    if HeaderName::from_bytes(name.as_bytes()).is_ok() && !name.contains('*') {
        return Some(pattern);
    }
    cx.invalid(
        node,
        format!(
            "expected the name of a header, which may begin or end with `*`, found {}",
            quoted(&text)
        ),
    )
}

/// Reads a header that each check has.
pub(super) fn extra_header(cx: &Reader<'_>, (key, node): (&Key, &Node)) -> Option<(HeaderName, HeaderValue)> {
    let value = cx.in_key(key, || header_value(cx, node));
    Some((changed_header(cx, key)?, value?))
}

/// Reads the value of a header as it is sent.
pub(super) fn header_value(cx: &Reader<'_>, node: &Node) -> Option<HeaderValue> {
    let text = cx.any_text(node)?;
    match HeaderValue::from_str(&text) {
        Ok(value) => Some(value),
        Err(_) => cx.invalid(
            node,
            format!("expected printable ASCII, as headers have it, found {}", quoted(&text)),
        ),
    }
}

/// Reads a path, or nothing in its place: what stands before the path of a check, or a path to send.
pub(super) fn path_prefix(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.string(node)?;
    let is_path = text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok();
    if text.is_empty() || (is_path && !text.contains(['?', '#'])) {
        return Some(text);
    }
    let found = quoted(&text);
    cx.invalid(
        node,
        format!("expected a path that begins with `/`, without a query, found {found}"),
    )
}

/// Reads the status of a request that is denied since there is no answer: one that says no.
pub(super) fn failure_status(cx: &Reader<'_>, node: &Node) -> Option<StatusCode> {
    let status = status(cx, node)?;
    if status.is_client_error() || status.is_server_error() {
        return Some(status);
    }
    cx.invalid(
        node,
        format!("expected a status of 400 to 599, found {}", quoted(status.as_str())),
    )
}

/// Reads the most bytes of a body that a check has.
pub(super) fn body_limit(cx: &Reader<'_>, node: &Node) -> Option<u32> {
    within(1..=BODY_LIMIT)(cx, node)
}
