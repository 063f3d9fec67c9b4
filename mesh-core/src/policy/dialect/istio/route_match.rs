//! `HTTPMatchRequest`: which requests a rule takes.

use super::NOT_YET;
use super::names::{dns_label, labels};
use super::scope::Scope;
use super::string_match::{of_headers, of_path, of_query, of_text};
use super::virtual_service::bindings;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::route::{PathCase, RouteMatch, StringMatch};
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::{Node, SourceSpan};

/// Reads one match; all of its conditions must hold.
pub(super) fn route_match(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RouteMatch> {
    let mut fields = cx.mapping(node)?;
    let mut found = RouteMatch {
        name: fields.optional("name", Reader::string).filter(|name| !name.is_empty()),
        origin: cx.origin(node.span),
        path: fields.optional("uri", of_path),
        method: fields.optional("method", of_text),
        scheme: fields.optional("scheme", of_text),
        authority: fields.optional("authority", of_text),
        query: fields.optional("queryParams", of_query).unwrap_or_default(),
        port: fields.optional("port", Reader::port),
        ..RouteMatch::default()
    };
    found.path_case = path_case(cx, &mut fields, found.path.as_ref());
    read_headers(cx, &mut fields, &mut found);
    read_sources(cx, &mut fields, &mut found, scope);
    if fields.optional("statPrefix", Reader::string).is_some() {
        warn(
            cx,
            &mut fields,
            "statPrefix",
            "metrics are named by services and routes",
        );
    }
    fields.finish();
    Some(found)
}

/// Says of a field that is given that it changes nothing.
fn warn(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, name: &'static str, reason: &str) {
    if let Some((key, _)) = fields.entry(name) {
        let message = format!("{} has no effect: {reason}", quoted(&key.name));
        cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
    }
}

fn read_headers(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, found: &mut RouteMatch) {
    let with = fields.optional("headers", of_headers).unwrap_or_default();
    let without = fields.optional("withoutHeaders", of_headers).unwrap_or_default();
    // Every request has these parts: that they are there is no condition.
    let compared = with
        .parts
        .into_iter()
        .filter(|(_, comparison)| comparison.value != StringMatch::Present);
    for (part, comparison) in compared {
        let place = match part {
            "authority" => &mut found.authority,
            "method" => &mut found.method,
            "scheme" => &mut found.scheme,
            _ => {
                defer_part(
                    cx,
                    part,
                    comparison.span,
                    "a path is compared without its query, by `uri`",
                );
                continue;
            }
        };
        match place {
            None => *place = Some(comparison.value),
            Some(_) => defer_part(cx, part, comparison.span, "the field of the match compares it already"),
        }
    }
    for (part, comparison) in without.parts {
        defer_part(
            cx,
            part,
            comparison.span,
            "parts of the request are compared, not excluded",
        );
    }
    (found.headers, found.claims) = (with.headers, with.claims);
    (found.without_headers, found.without_claims) = (without.headers, without.claims);
}

fn defer_part(cx: &Reader<'_>, part: &str, span: SourceSpan, reason: &str) {
    let title = NOT_YET.title();
    let message = format!("a condition on `:{part}` is {title}: {reason}");
    cx.report(Diagnostic::new(NOT_YET, span, message));
}

/// Case is folded for exact paths and prefixes, never for a regex.
fn path_case(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, path: Option<&StringMatch>) -> PathCase {
    if fields.optional("ignoreUriCase", Reader::bool) != Some(true) {
        return PathCase::Sensitive;
    }
    let is_folded = matches!(path, Some(StringMatch::Exact(_) | StringMatch::Prefix(_)));
    if let Some((key, _)) = fields.entry("ignoreUriCase").filter(|_| !is_folded) {
        let message = "`ignoreUriCase` has no effect: it is for a `uri` with `exact` or `prefix`";
        let help = "a regex folds case with `(?i)`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message).with_help(help));
    }
    PathCase::Folded
}

/// Who must ask: gateways, or labels and namespace. Istio looks at the latter only without gateways.
fn read_sources(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, found: &mut RouteMatch, scope: Scope<'_>) {
    found.source_labels = fields.optional("sourceLabels", labels).unwrap_or_default();
    found.source_namespace = fields.optional("sourceNamespace", dns_label);
    found.bindings = bindings(fields, scope).unwrap_or_default();
    if found.bindings.is_empty() {
        return;
    }
    found.source_labels.clear();
    found.source_namespace = None;
    for name in ["sourceLabels", "sourceNamespace"] {
        if let Some((key, _)) = fields.entry(name) {
            let message = format!("{} has no effect beside `gateways`", quoted(&key.name));
            cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
        }
    }
}
