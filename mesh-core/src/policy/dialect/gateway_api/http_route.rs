//! `HTTPRoute`.

use super::matching::{every_path, http_match};
use super::parents::parents;
use super::rules::{MATCHES, finish_rule, rules, times};
use super::values::bounded;
use super::{Object, Scope, names, required_spec};
use crate::policy::dialect::linkerd::annotate;
use crate::policy::model::Policy;
use crate::policy::model::attachment::{Parent, PendingRoute, RouteKind};
use crate::policy::model::route::{HostPattern, RouteRule, RouteTable, RuleOrder};
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::Node;

/// The most host names of a route.
const HOSTNAMES: usize = 16;

/// Reads an `HTTPRoute`.
pub(in crate::policy::dialect) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let route = required_spec(cx, object).and_then(|spec| {
        let scope = Scope::new(object, &policy.mesh);
        let mut fields = cx.mapping(spec)?;
        let (mut table, parents) = head(cx, object, &mut fields, scope);
        table.rules = rules(cx, &mut fields, |cx, node| rule(cx, node, scope)).into();
        if fields.node("rules").is_none() {
            table.rules.push(rule_of_nothing(cx, spec));
        }
        fields.finish();
        annotate(cx, object, RouteKind::Http, &mut table);
        let mut route = PendingRoute::new(table, RouteKind::Http);
        route.parents = parents;
        Some(route)
    });
    policy.attachments.routes.extend(route);
}

/// What all kinds of routes begin with.
pub(super) fn head(
    cx: &Reader<'_>,
    object: &Object<'_>,
    fields: &mut Fields<'_, '_, '_>,
    scope: Scope<'_>,
) -> (RouteTable, Vec<Parent>) {
    let parents = parents(cx, fields, scope);
    super::refuse(fields, "useDefaultGateways", "no gateway is the default one");
    let table = RouteTable {
        meta: object.meta.clone(),
        hosts: hostnames(fields),
        order: RuleOrder::Specific,
        ..RouteTable::default()
    };
    (table, parents)
}

fn hostnames(fields: &mut Fields<'_, '_, '_>) -> Vec<HostPattern> {
    bounded(fields, "hostnames", HOSTNAMES, |cx, node| {
        Some(HostPattern {
            host: names::hostname(cx, node)?,
            origin: cx.origin(node.span),
        })
    })
}

fn rule(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RouteRule> {
    let mut fields = cx.mapping(node)?;
    let mut matches = bounded(&mut fields, "matches", MATCHES, http_match);
    if fields.node("matches").is_none_or(|node| node.items().is_empty()) {
        matches.push(every_path(cx, node));
    }
    let mut rule = finish_rule(cx, &mut fields, scope, (RouteKind::Http, matches));
    times(cx, &mut fields, &mut rule);
    fields.finish();
    Some(rule)
}

/// The rule of a route that has none: every path, and no backend.
fn rule_of_nothing(cx: &Reader<'_>, spec: &Node) -> RouteRule {
    super::no_effect(cx, spec.span, "the route has no rules: requests are answered with 500");
    RouteRule {
        origin: cx.origin(spec.span),
        matches: vec![every_path(cx, spec)],
        destinations: vec![super::backend::nothing(cx.origin(spec.span), "the route has no rules")],
        ..RouteRule::default()
    }
}
