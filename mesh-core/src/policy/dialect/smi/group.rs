//! `HTTPRouteGroup`: kinds of requests by name. `TCPRoute` and `UDPRoute`: ports.

use http::{HeaderName, Method};

use super::pattern::regex;
use super::{Object, body, finish, quoted};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::route::{RequestClass, RequestGroup};
use crate::policy::reader::{Reader, list_of};
use crate::policy::source::{Key, Node, Value};

/// Reads an `HTTPRouteGroup`.
pub(super) fn group(cx: &Reader<'_>, object: &Object<'_>) -> Option<RequestGroup> {
    let mut fields = cx.mapping(body(cx, object)?)?;
    let classes = fields.list("matches", class);
    finish(object, fields);
    Some(RequestGroup {
        meta: object.meta.clone(),
        classes,
    })
}

fn class(cx: &Reader<'_>, node: &Node) -> Option<RequestClass> {
    let mut fields = cx.mapping(node)?;
    let name = fields.optional("name", Reader::name);
    let path = fields.optional("pathRegex", path);
    let methods = fields.list("methods", method);
    let headers = fields.optional("headers", headers).unwrap_or_default();
    fields.finish();
    Some(RequestClass {
        name: name.unwrap_or_default(),
        origin: cx.origin(node.span),
        path,
        // `*` is any method, and leaves nothing to compare.
        methods: match methods.contains(&None) {
            true => Vec::new(),
            false => methods.into_iter().flatten().collect(),
        },
        headers,
    })
}

/// Reads a regex for the start of a path, as one for all of it.
fn path(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = regex(cx, node)?;
    let whole = format!("(?:{text})(?s:.*)");
    match whole.len() > LONGEST {
        true => cx.invalid(
            node,
            format!("the regex has {} bytes, the limit is {}", text.len(), LONGEST - 13),
        ),
        false => Some(whole),
    }
}

/// The longest regex that the model takes, in bytes.
const LONGEST: usize = 1024;

/// Reads a method; `None` for `*`, which is any.
fn method(cx: &Reader<'_>, node: &Node) -> Option<Option<Method>> {
    let text = cx.text(node)?;
    if text == "*" {
        return Some(None);
    }
    let is_upper = text.chars().all(|c| c.is_ascii_uppercase());
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if is_upper => Some(Some(method)),
        _ => cx.invalid(
            node,
            format!("expected a method such as `GET`, or `*`, found {}", quoted(text)),
        ),
    }
}

/// Reads headers by name, each with a regex: a mapping, or a list of mappings.
fn headers(cx: &Reader<'_>, node: &Node) -> Option<Vec<(HeaderName, String)>> {
    match &node.value {
        Value::Sequence(_) => list_of(headers)(cx, node).map(|lists| lists.into_iter().flatten().collect()),
        Value::Mapping(entries) => Some(
            entries
                .iter()
                .filter_map(|(key, value)| header(cx, key, value))
                .collect(),
        ),
        _ => cx.wrong_type(node, "a mapping"),
    }
}

fn header(cx: &Reader<'_>, key: &Key, value: &Node) -> Option<(HeaderName, String)> {
    let pattern = regex(cx, value);
    match HeaderName::from_bytes(key.name.as_bytes()) {
        Ok(name) => Some((name, pattern?)),
        Err(_) => {
            cx.invalid_key(key, "expected the name of a header");
            None
        }
    }
}

/// Reads a `TCPRoute` or `UDPRoute`, of which nothing is in force.
pub(super) fn ports(cx: &Reader<'_>, object: &Object<'_>) {
    // Their first versions have no fields at all.
    if let Some(mut fields) = body(cx, object).and_then(|body| cx.mapping(body)) {
        fields.optional("matches", |cx, node| {
            let mut fields = cx.mapping(node)?;
            fields.optional("name", Reader::name);
            fields.list("ports", Reader::port);
            fields.finish();
            Some(())
        });
        finish(object, fields);
    }
    let span = object.node.get("kind").unwrap_or(object.node).span;
    let kind = quoted(object.kind);
    cx.report(match object.kind {
        "TCPRoute" => {
            let code = Code::NOT_YET_IN_FORCE;
            let message = format!(
                "kind {kind} is {}: rules are for requests, and it allows none",
                code.title()
            );
            Diagnostic::new(code, span, message)
        }
        _ => Diagnostic::new(
            Code::NO_EFFECT,
            span,
            format!("kind {kind} has no effect: a mesh of HTTP carries no UDP"),
        ),
    });
}
