//! Names, as the API's schemas spell them.

use http::HeaderName;

use super::envelope::is_object_name;
/// Reads the name of a listener, a rule or a port: a DNS name in lower case.
pub(super) use super::envelope::object_name as section;
use crate::policy::diagnostic::quoted;
use crate::policy::reader::Reader;
use crate::policy::source::Node;

/// The longest name of a kind.
const KIND_LENGTH: usize = 63;
/// The longest name of a header.
const HEADER_LENGTH: usize = 256;

/// Reads an API group; empty is Kubernetes' core.
pub(super) fn group<'n>(cx: &Reader<'_>, node: &'n Node) -> Option<&'n str> {
    let text = cx.text(node)?;
    if text.is_empty() || is_object_name(text) {
        return Some(text);
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected an API group such as `gateway.networking.k8s.io`, or empty text for the core, found {found}"),
    )
}

/// Reads the name of a kind.
pub(super) fn kind<'n>(cx: &Reader<'_>, node: &'n Node) -> Option<&'n str> {
    let text = cx.text(node)?;
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts && text.len() <= KIND_LENGTH && text.chars().all(is_inner) && !text.ends_with('-') {
        return Some(text);
    }
    cx.invalid(
        node,
        format!("expected a kind such as `Service`, found {}", quoted(text)),
    )
}

/// Reads a host name, or `*.` before one.
pub(super) fn hostname(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let name = text.strip_prefix("*.").unwrap_or(text);
    if is_object_name(name) && !is_address(name) {
        return Some(text.into());
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected a host name in lower case, or `*.` before one, and no address, found {found}"),
    )
}

/// Reads a host name without `*`.
pub(super) fn precise_hostname(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if is_object_name(text) {
        return Some(text.into());
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected a host name in lower case without `*`, found {found}"),
    )
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// Reads the name of a header.
pub(super) fn header(cx: &Reader<'_>, node: &Node) -> Option<HeaderName> {
    let text = cx.text(node)?;
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    let Some(name) = name.filter(|_| text.len() <= HEADER_LENGTH) else {
        return cx.invalid(node, format!("expected the name of a header, found {}", quoted(text)));
    };
    Some(name)
}
