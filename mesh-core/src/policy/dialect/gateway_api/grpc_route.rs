//! `GRPCRoute`: services and methods are paths, `/service/method`.

use super::http_route::head;
use super::matching::{COMPARISONS, Comparison, first_of_each, header_match};
use super::pattern;
use super::rules::{MATCHES, finish_rule, rules};
use super::values::{bounded, given_or, text_within};
use super::{Object, Scope, no_effect, required_spec};
use crate::policy::diagnostic::quoted;
use crate::policy::dialect::linkerd::annotate;
use crate::policy::model::Policy;
use crate::policy::model::attachment::{PendingRoute, RouteKind};
use crate::policy::model::route::{RouteMatch, RouteRule, StringMatch};
use crate::policy::reader::{Reader, choice, spanned};
use crate::policy::source::Node;

/// The most conditions on headers of a match.
const CONDITIONS: usize = 16;
/// The longest name of a service or a method.
const NAME_LENGTH: usize = 1024;

/// Reads a `GRPCRoute`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let route = required_spec(cx, object).and_then(|spec| {
        let scope = Scope::new(object, &policy.mesh);
        let mut fields = cx.mapping(spec)?;
        let (mut table, parents) = head(cx, object, &mut fields, scope);
        table.rules = rules(cx, &mut fields, |cx, node| rule(cx, node, scope)).into();
        if table.rules.is_empty() && fields.node("rules").is_none() {
            no_effect(cx, spec.span, "the route has no rules: it takes no request");
        }
        fields.finish();
        annotate(cx, object, RouteKind::Grpc, &mut table);
        let mut route = PendingRoute::new(table, RouteKind::Grpc);
        route.parents = parents;
        Some(route)
    });
    policy.attachments.routes.extend(route);
}

fn rule(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RouteRule> {
    let mut fields = cx.mapping(node)?;
    let mut matches = bounded(&mut fields, "matches", MATCHES, grpc_match);
    if fields.node("matches").is_none_or(|node| node.items().is_empty()) {
        matches.push(RouteMatch {
            origin: cx.origin(node.span),
            ..RouteMatch::default()
        });
    }
    let rule = finish_rule(cx, &mut fields, scope, (RouteKind::Grpc, matches));
    fields.finish();
    Some(rule)
}

fn grpc_match(cx: &Reader<'_>, node: &Node) -> Option<RouteMatch> {
    let mut fields = cx.mapping(node)?;
    let path = given_or(&mut fields, "method", None, |cx, node| method(cx, node).map(Some));
    let headers = bounded(&mut fields, "headers", CONDITIONS, spanned(header_match));
    fields.finish();
    Some(RouteMatch {
        origin: cx.origin(node.span),
        path: path?,
        headers: first_of_each(cx, "header", headers),
        ..RouteMatch::default()
    })
}

/// Reads `{ type, service, method }` as a condition on the path.
fn method(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    let mut fields = cx.mapping(node)?;
    let comparison = given_or(&mut fields, "type", Comparison::Exact, choice(COMPARISONS));
    let form = comparison.unwrap_or(Comparison::Exact);
    let service = given_or(&mut fields, "service", None, |cx, node| {
        name(cx, node, form, is_service).map(Some)
    });
    let method = given_or(&mut fields, "method", None, |cx, node| {
        name(cx, node, form, is_method).map(Some)
    });
    fields.finish();
    let (form, service, method) = (comparison?, service?, method?);
    if service.is_none() && method.is_none() {
        return cx.invalid(node, "expected `service`, `method` or both, found neither");
    }
    Some(path(form, service, method))
}

/// The condition on the path: the service comes first, and names compare as wholes.
fn path(form: Comparison, service: Option<&str>, method: Option<&str>) -> StringMatch {
    match (form, service, method) {
        (Comparison::Exact, Some(service), Some(method)) => StringMatch::Exact(format!("/{service}/{method}")),
        (Comparison::Exact, Some(service), None) => StringMatch::Prefix(format!("/{service}/")),
        (Comparison::Exact, None, method) => {
            StringMatch::Regex(format!("/[^/]+/{}", regex::escape(method.unwrap_or_default())))
        }
        (Comparison::Regex, service, method) => {
            let part = |part: Option<&str>| part.map_or_else(|| "[^/]+".into(), |text| format!("(?:{text})"));
            StringMatch::Regex(format!("/{}/{}", part(service), part(method)))
        }
    }
}

fn name<'n>(cx: &Reader<'_>, node: &'n Node, form: Comparison, is_name: fn(&str) -> bool) -> Option<&'n str> {
    let text = text_within(NAME_LENGTH)(cx, node)?;
    match form {
        Comparison::Regex => pattern::regex(cx, node).map(|_| text),
        Comparison::Exact if is_name(text) => Some(text),
        Comparison::Exact => cx.invalid(
            node,
            format!(
                "expected a name of protocol buffers such as `shop.v1.Orders`, found {}",
                quoted(text)
            ),
        ),
    }
}

fn is_service(text: &str) -> bool {
    text.strip_prefix('.').unwrap_or(text).split('.').all(is_method)
}

fn is_method(text: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_first) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
