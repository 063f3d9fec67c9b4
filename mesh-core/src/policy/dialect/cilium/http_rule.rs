//! Rules for requests of HTTP.

use http::HeaderName;

use super::pattern::regex;
use super::peers::NOT_YET;
use super::quoted;
use crate::policy::model::authz::{Condition, Operation, Pattern};
use crate::policy::reader::{Reader, choice};
use crate::policy::source::Node;

/// Reads a rule: all of its fields must match. `None` inside is one that no request is known to meet.
pub(super) fn http(cx: &Reader<'_>, node: &Node) -> Option<Option<Operation>> {
    let mut fields = cx.mapping(node)?;
    let method = fields.optional("method", whole);
    let path = fields.optional("path", whole);
    let host = fields.optional("host", whole);
    let mut headers = fields.list("headers", header);
    let matches = fields.list("headerMatches", header_match);
    fields.finish();
    let is_unknown = matches.contains(&None);
    headers.extend(matches.into_iter().flatten());
    let any_of = |pattern: Option<Pattern>| Condition {
        any_of: pattern.into_iter().collect(),
        none_of: Vec::new(),
    };
    let operation = Operation {
        methods: any_of(method),
        targets: any_of(path),
        authorities: any_of(host),
        headers,
        ..Operation::default()
    };
    Some((!is_unknown).then_some(operation))
}

/// Reads a regex that all of the text must match. Empty text sets no condition.
fn whole(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    match node.as_text() {
        Some("") => None,
        _ => regex(cx, node).map(Pattern::Regex),
    }
}

type Header = (HeaderName, Pattern);

/// Reads `Name`, which must be there, or `Name: value`, as it must be.
fn header(cx: &Reader<'_>, node: &Node) -> Option<Header> {
    let text = cx.text(node)?;
    let (name, value) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value.trim())),
        None => (text, None),
    };
    let Ok(name) = HeaderName::from_bytes(name.trim().as_bytes()) else {
        return cx.invalid(
            node,
            format!("expected `Name` or `Name: value`, found {}", quoted(text)),
        );
    };
    Some((name, with_value(value)))
}

fn with_value(value: Option<&str>) -> Pattern {
    match value {
        None | Some("") => Pattern::Regex("(?s:.*)".into()),
        Some(value) => Pattern::Exact(value.into()),
    }
}

/// What is done to a request in place of denying it.
const MISMATCHES: &[(&str, ())] = &[("LOG", ()), ("ADD", ()), ("DELETE", ()), ("REPLACE", ())];

/// Reads a header with its value; `None` inside is one whose value is not known.
fn header_match(cx: &Reader<'_>, node: &Node) -> Option<Option<Header>> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", |cx, node| {
        let text = cx.text(node)?;
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) => Some(name),
            Err(_) => cx.invalid(node, format!("expected the name of a header, found {}", quoted(text))),
        }
    });
    let value = fields.optional("value", Reader::string);
    let is_secret = fields.node("secret").is_some();
    fields.refuse(
        "secret",
        NOT_YET,
        "secrets of the cluster are not read, and no request is taken",
    );
    if fields.optional("mismatch", choice(MISMATCHES)).is_some() {
        fields.refuse("mismatch", NOT_YET, "a request without the header is denied");
    }
    fields.finish();
    let header = (name?, with_value(value.as_deref()));
    Some((!is_secret).then_some(header))
}
