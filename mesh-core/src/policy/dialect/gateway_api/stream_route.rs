//! `TLSRoute` and `TCPRoute`: read and checked, and not yet in force.

use super::backend::backend;
use super::http_route::head;
use super::rules::RULES;
use super::values::bounded;
use super::{NOT_YET, Object, Scope, kind_span, required_spec};
use crate::policy::diagnostic::{Diagnostic, quoted};
use crate::policy::model::Policy;
use crate::policy::model::attachment::{PendingRoute, RouteKind};
use crate::policy::model::route::{RuleOrder, StreamMatch, StreamRule};
use crate::policy::reader::Reader;
use crate::policy::source::Node;

/// The most backends of a rule.
const BACKENDS: usize = 16;

/// Reads a `TLSRoute`.
pub(super) fn tls(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    lower(cx, object, policy, RouteKind::Tls);
}

/// Reads a `TCPRoute`.
pub(super) fn tcp(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    lower(cx, object, policy, RouteKind::Tcp);
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy, kind: RouteKind) {
    let message = format!(
        "kind {} is {}: requests are routed, connections are not",
        quoted(object.kind),
        NOT_YET.title()
    );
    cx.report(Diagnostic::new(NOT_YET, kind_span(object), message));
    let route = required_spec(cx, object).and_then(|spec| {
        let scope = Scope::new(object, &policy.mesh);
        let mut fields = cx.mapping(spec)?;
        let (mut table, parents) = head(cx, object, &mut fields, scope);
        let sni: Vec<String> = table.hosts.iter().map(|host| host.host.clone()).collect();
        let rules = bounded(&mut fields, "rules", RULES, |cx, node| rule(cx, node, scope, kind));
        if fields.node("rules").is_none_or(|node| node.items().is_empty()) {
            fields.missing(&["rules"]);
        }
        fields.finish();
        table.order = RuleOrder::Written;
        match kind {
            RouteKind::Tls => table.tls = rules.into_iter().map(|rule| of_names(rule, &sni)).collect(),
            _ => table.tcp = rules,
        }
        let mut route = PendingRoute::new(table, kind);
        route.parents = parents;
        Some(route)
    });
    policy.attachments.routes.extend(route);
}

fn rule(cx: &Reader<'_>, node: &Node, scope: Scope<'_>, kind: RouteKind) -> Option<StreamRule> {
    let mut fields = cx.mapping(node)?;
    fields.optional("name", super::names::section);
    let backends = bounded(&mut fields, "backendRefs", BACKENDS, |cx, node| {
        backend(cx, node, scope, kind)
    });
    if fields.node("backendRefs").is_none_or(|node| node.items().is_empty()) {
        fields.missing(&["backendRefs"]);
    }
    fields.finish();
    Some(StreamRule {
        origin: cx.origin(node.span),
        destinations: backends.into_iter().map(|(backend, _)| backend).collect(),
        ..StreamRule::default()
    })
}

fn of_names(rule: StreamRule, sni: &[String]) -> StreamRule {
    if sni.is_empty() {
        return rule;
    }
    let matches = vec![StreamMatch {
        origin: rule.origin.clone(),
        sni_hosts: sni.to_vec(),
        ..StreamMatch::default()
    }];
    StreamRule { matches, ..rule }
}
