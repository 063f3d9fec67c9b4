//! `HTTPRouteMatch`: which requests a rule takes.

use http::HeaderName;

use super::values::{bounded, header_name};
use super::{at_most, unexpected};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::pattern::regex;
use crate::policy::model::route::{RouteMatch, StringMatch};
use crate::policy::reader::{Fields, Reader, choice, list_of};
use crate::policy::source::Node;

#[derive(Clone, Copy, PartialEq, Eq)]
enum PathKind {
    Exact,
    Prefix,
    Regex,
}

/// Reads one match; all of its conditions must hold.
pub(super) fn http_match(cx: &Reader<'_>, node: &Node) -> Option<RouteMatch> {
    const METHODS: &[(&str, &str)] = &[
        ("GET", "GET"),
        ("HEAD", "HEAD"),
        ("POST", "POST"),
        ("PUT", "PUT"),
        ("DELETE", "DELETE"),
        ("CONNECT", "CONNECT"),
        ("OPTIONS", "OPTIONS"),
        ("TRACE", "TRACE"),
        ("PATCH", "PATCH"),
    ];
    let mut fields = cx.mapping(node)?;
    let path = fields.optional("path", path);
    let found = RouteMatch {
        origin: cx.origin(node.span),
        path: Some(path.unwrap_or_else(|| StringMatch::SegmentPrefix("/".into()))),
        headers: headers(&mut fields),
        query: query(&mut fields),
        method: fields
            .optional("method", choice(METHODS))
            .map(|method| StringMatch::Exact(method.into())),
        ..RouteMatch::default()
    };
    fields.finish();
    Some(found)
}

fn path(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    const KINDS: &[(&str, PathKind)] = &[
        ("Exact", PathKind::Exact),
        ("PathPrefix", PathKind::Prefix),
        ("RegularExpression", PathKind::Regex),
    ];
    let mut fields = cx.mapping(node)?;
    let kind = fields.optional("type", choice(KINDS)).unwrap_or(PathKind::Prefix);
    let value = match kind {
        PathKind::Regex => fields.optional("value", regex),
        _ => fields.optional("value", path_text),
    };
    let is_wrong = value.is_none() && fields.node("value").is_some();
    fields.finish();
    let value = value.unwrap_or_else(|| "/".into());
    (!is_wrong).then_some(match kind {
        PathKind::Exact => StringMatch::Exact(value),
        PathKind::Prefix => StringMatch::SegmentPrefix(value),
        PathKind::Regex => StringMatch::Regex(value),
    })
}

/// Reads a path as the API allows it: no request has another one.
pub(super) fn path_text(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.any_text(node)?;
    let forbidden = ["//", "/./", "/../", "%2f", "%2F", "#"]
        .into_iter()
        .find(|part| text.contains(part));
    let ending = ["/..", "/."].into_iter().find(|end| text.ends_with(end));
    if !text.starts_with('/') {
        return unexpected(cx, node, "a path that starts with `/`", &text);
    }
    if let Some(part) = forbidden.or(ending) {
        return unexpected(cx, node, &format!("a path without `{part}`"), &text);
    }
    match text.chars().find(|c| !is_path_char(*c)) {
        Some(c) => cx.invalid(
            node,
            format!("a path cannot have {}: it is {}", quoted(&c.to_string()), quoted(&text)),
        ),
        None if text.len() > 1024 => cx.invalid(node, "expected at most 1024 characters"),
        None => Some(text),
    }
}

fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-/._~!$&'()*+,;=:@%".contains(c)
}

fn headers(fields: &mut Fields<'_, '_, '_>) -> Vec<(HeaderName, StringMatch)> {
    let read = |cx: &Reader<'_>, node: &Node| {
        at_most(cx, node, 16);
        let found = list_of(|cx, node| named(cx, node, header_name, 4096))(cx, node)?;
        Some(first_of_each(cx, node, found))
    };
    fields.optional("headers", read).unwrap_or_default()
}

fn query(fields: &mut Fields<'_, '_, '_>) -> Vec<(String, StringMatch)> {
    let read = |cx: &Reader<'_>, node: &Node| {
        at_most(cx, node, 16);
        let found = list_of(|cx, node| named(cx, node, |cx, node| cx.any_text(node), 1024))(cx, node)?;
        Some(first_of_each(cx, node, found))
    };
    fields.optional("queryParams", read).unwrap_or_default()
}

/// Of conditions for the same name the first counts.
fn first_of_each<N: PartialEq + ToString>(
    cx: &Reader<'_>,
    node: &Node,
    found: Vec<(N, StringMatch)>,
) -> Vec<(N, StringMatch)> {
    let mut kept: Vec<(N, StringMatch)> = Vec::new();
    for (name, value) in found {
        if kept.iter().any(|(known, _)| *known == name) {
            let message = format!(
                "a second condition on {} has no effect: the first counts",
                quoted(&name.to_string())
            );
            cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
        } else {
            kept.push((name, value));
        }
    }
    kept
}

/// Reads `{ type, name, value }`.
pub(super) fn named<N>(
    cx: &Reader<'_>,
    node: &Node,
    name: impl FnOnce(&Reader<'_>, &Node) -> Option<N>,
    limit: usize,
) -> Option<(N, StringMatch)> {
    const KINDS: &[(&str, PathKind)] = &[("Exact", PathKind::Exact), ("RegularExpression", PathKind::Regex)];
    let mut fields = cx.mapping(node)?;
    let kind = fields.optional("type", choice(KINDS)).unwrap_or(PathKind::Exact);
    let name = fields.required("name", name);
    let value = match kind {
        PathKind::Regex => fields.required("value", regex).map(StringMatch::Regex),
        _ => fields.required("value", bounded(limit)).map(StringMatch::Exact),
    };
    fields.finish();
    Some((name?, value?))
}
