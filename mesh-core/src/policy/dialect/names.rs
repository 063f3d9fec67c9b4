//! Names: DNS labels, hosts and host patterns, labels of workloads.

use std::net::IpAddr;

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Labels;
use crate::policy::reader::Reader;
use crate::policy::source::{Key, Node, SourceSpan, Value};

/// The longest DNS label, and the longest name of a label.
const LABEL_LENGTH: usize = 63;
/// The longest DNS name.
const NAME_LENGTH: usize = 255;

/// Whether a text is a label of a DNS name. Upper case is allowed, as in Istio.
pub(super) fn is_dns_label(text: &str) -> bool {
    is_bounded(text, |c| c.is_ascii_alphanumeric() || c == '-')
}

/// Whether a text is a DNS name; a dot may end it.
pub(super) fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let top = name.rsplit('.').next().unwrap_or("");
    name.len() <= NAME_LENGTH && name.split('.').all(is_dns_label) && !is_number(top)
}

/// Whether a text is a DNS name, or a pattern whose first label is `*`, `*text` or `*-text`.
pub(super) fn is_host_pattern(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('*') else {
        return is_dns_name(text);
    };
    let (first, others) = match rest.split_once('.') {
        Some((first, others)) => (first, Some(others)),
        None => (rest, None),
    };
    let is_first = match first.strip_prefix('-') {
        Some(label) => is_dns_label(label),
        None => first.is_empty() || is_dns_label(first),
    };
    is_first && others.is_none_or(is_dns_name)
}

/// Whether some host is covered by both patterns.
pub(super) fn overlap(left: &str, right: &str) -> bool {
    match (left.strip_prefix('*'), right.strip_prefix('*')) {
        (Some(left), Some(right)) => left.ends_with(right) || right.ends_with(left),
        (Some(suffix), None) => right.ends_with(suffix),
        (None, Some(suffix)) => left.ends_with(suffix),
        (None, None) => left == right,
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// At most 63 of these characters, with a letter or digit at both ends.
fn is_bounded(text: &str, is_inner: impl Fn(char) -> bool) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= LABEL_LENGTH
        && is_end(text.chars().next())
        && is_end(text.chars().last())
        && text.chars().all(is_inner)
}

/// Reads a DNS label.
pub(super) fn dns_label(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if is_dns_label(text) {
        return Some(text.into());
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected letters, digits and `-`, at most 63, found {found}"),
    )
}

/// Reads a host, a host pattern or an address.
pub(super) fn host_pattern<'n>(cx: &Reader<'_>, node: &'n Node) -> Option<&'n str> {
    let text = cx.text(node)?;
    if is_host_pattern(text) || text.parse::<IpAddr>().is_ok() {
        return Some(text);
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected a host name, a pattern such as `*.example.com` or an address, found {found}"),
    )
}

/// Reads labels of workloads.
pub(super) fn labels(cx: &Reader<'_>, node: &Node) -> Option<Labels> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    Some(
        entries
            .iter()
            .filter_map(|(key, value)| label(cx, key, value))
            .collect(),
    )
}

fn label(cx: &Reader<'_>, key: &Key, value: &Node) -> Option<(String, String)> {
    let is_part = |text: &str| is_bounded(text, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let is_key = match key.name.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_part(name),
        None => is_part(&key.name),
    };
    if !is_key {
        cx.invalid_key(key, "expected a label such as `app` or `example.com/app`");
        return None;
    }
    let text = cx.text(value)?;
    if text.is_empty() || is_part(text) {
        return Some((key.name.to_string(), text.into()));
    }
    let found = quoted(text);
    cx.invalid(
        value,
        format!("expected letters, digits, `-`, `_` and `.`, at most 63, found {found}"),
    )
}

/// Reports every name that stands there a second time; `what` says what they name.
pub(super) fn refuse_duplicates(cx: &Reader<'_>, what: &str, names: &[(&str, SourceSpan)]) {
    for (index, (name, span)) in names.iter().enumerate() {
        let earlier = names.iter().take(index).find(|(other, _)| other == name);
        if let Some((_, first)) = earlier {
            let message = format!("{what} {} is given twice", quoted(name));
            cx.report(
                Diagnostic::new(Code::DUPLICATE_DEFINITION, *span, message).with_label(*first, "given here first"),
            );
        }
    }
}
