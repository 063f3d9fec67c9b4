//! `GRPCRoute`: a call is an HTTP request to `/service/method`.

use super::backend::Route;
use super::http_match::named;
use super::http_route::{common, lower_route};
use super::values::header_name;
use super::{at_most, not_yet, unexpected};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::route::{RouteMatch, RouteRule, StringMatch};
use crate::policy::reader::{Reader, choice, list_of};
use crate::policy::source::Node;

/// Reads a `GRPCRoute`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    lower_route(cx, object, policy, rule);
}

fn rule(cx: &Reader<'_>, node: &Node, route: Route<'_>) -> Option<RouteRule> {
    let mut fields = cx.mapping(node)?;
    let matches = fields.optional("matches", |cx, node| {
        at_most(cx, node, 64);
        list_of(grpc_match)(cx, node)
    });
    let found = common(cx, &mut fields, route);
    not_yet(
        &mut fields,
        &[("sessionPersistence", "requests are not held to an endpoint")],
    );
    fields.finish();
    Some(RouteRule {
        origin: cx.origin(node.span),
        matches: matches.unwrap_or_default(),
        ..found.rule
    })
}

fn grpc_match(cx: &Reader<'_>, node: &Node) -> Option<RouteMatch> {
    let mut fields = cx.mapping(node)?;
    let path = fields.optional("method", method);
    let headers = fields.optional("headers", |cx, node| {
        at_most(cx, node, 16);
        list_of(|cx, node| named(cx, node, header_name, 4096))(cx, node)
    });
    let is_wrong = path.is_none() && fields.node("method").is_some();
    fields.finish();
    (!is_wrong).then_some(RouteMatch {
        origin: cx.origin(node.span),
        path,
        headers: headers.unwrap_or_default(),
        ..RouteMatch::default()
    })
}

/// Service and method together are a path; one of them alone is a part of it.
fn method(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    let mut fields = cx.mapping(node)?;
    let is_regex = fields.optional("type", choice(&[("Exact", false), ("RegularExpression", true)])) == Some(true);
    let read = move |cx: &Reader<'_>, node: &Node| {
        let text = cx.name(node)?;
        if is_regex || is_name(&text) {
            return Some(text);
        }
        unexpected(cx, node, "a name of letters, digits, `_` and `.`", &text)
    };
    let service = fields.optional("service", read);
    let method = fields.optional("method", read);
    if fields.node("service").is_none() && fields.node("method").is_none() {
        fields.missing(&["service", "method"]);
    }
    fields.finish();
    match (service, method, is_regex) {
        (Some(service), Some(method), false) => Some(StringMatch::Exact(format!("/{service}/{method}"))),
        (Some(service), None, false) => Some(StringMatch::SegmentPrefix(format!("/{service}"))),
        (None, None, _) => None,
        (service, method, _) => {
            let any = || "[^/]+".to_owned();
            let text = |part: String| if is_regex { part } else { regex::escape(&part) };
            let (service, method) = (service.map_or_else(any, text), method.map_or_else(any, text));
            let pattern = format!("/{service}/{method}");
            match regex::Regex::new(&pattern) {
                Ok(_) => Some(StringMatch::Regex(pattern)),
                Err(_) => unexpected(cx, node, "regular expressions", &pattern),
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let text = text.strip_prefix('.').unwrap_or(text);
    text.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}
