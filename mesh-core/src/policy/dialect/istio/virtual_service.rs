//! `VirtualService`: routes by host.

use super::names::{dns_label, host_pattern, is_dns_label, is_dns_name, overlap};
use super::retries::retries;
use super::route_match::route_match;
use super::scope::Scope;
use super::values::{count, duration, port_number};
use super::{NOT_YET, refuse_all, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::route::{Binding, Destination, HostPattern, RouteRule, RouteTable};
use crate::policy::reader::{Fields, Reader, list_of, spanned};
use crate::policy::source::{Node, Spanned};

/// The gateway that stands for the clients of the mesh.
const MESH: &str = "mesh";

/// What a rule does with a request; one of them must be given.
const ACTIONS: &[&str] = &["route", "redirect", "directResponse", "delegate"];

const REFUSED: &[(&str, &str)] = &[
    ("redirect", "requests are not redirected"),
    ("directResponse", "requests are not answered by a route"),
    ("delegate", "routes are not delegated"),
    ("rewrite", "requests are not rewritten"),
    ("headers", HEADERS),
    ("fault", "faults are not injected"),
    ("mirror", MIRROR),
    ("mirrors", MIRROR),
    ("mirrorPercentage", MIRROR),
    ("mirrorPercent", MIRROR),
    ("corsPolicy", "cross-origin requests are not answered"),
    ("websocketUpgrade", "connections are not upgraded"),
];
const MIRROR: &str = "requests are not mirrored";
const HEADERS: &str = "headers are not changed";

/// Reads a `VirtualService`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let table = required_spec(cx, object).and_then(|spec| {
        let scope = Scope::new(object, &policy.mesh);
        route_table(cx, object, spec, scope)
    });
    policy.routes.extend(table);
}

fn route_table(cx: &Reader<'_>, object: &Object<'_>, spec: &Node, scope: Scope<'_>) -> Option<RouteTable> {
    let mut fields = cx.mapping(spec)?;
    let hosts = fields.list("hosts", spanned(host_pattern));
    let bindings = bindings(&mut fields, scope);
    let table = RouteTable {
        meta: object.meta.clone(),
        hosts: host_patterns(cx, &hosts, scope),
        export: scope.export_to(cx, &mut fields),
        rules: fields.list("http", |cx, node| rule(cx, node, scope)),
        bindings: bindings.unwrap_or_else(|| vec![Binding::Mesh]),
        ..RouteTable::default()
    };
    check_hosts(cx, &hosts, &table);
    check_routes(cx, &mut fields, spec);
    fields.finish();
    Some(table)
}

fn host_patterns(cx: &Reader<'_>, hosts: &[Spanned<&str>], scope: Scope<'_>) -> Vec<HostPattern> {
    let pattern = |host: &Spanned<&str>| HostPattern {
        host: scope.full_host(host),
        origin: cx.origin(host.span),
    };
    hosts.iter().map(pattern).collect()
}

/// `*` belongs to gateways, and no host may be covered twice.
fn check_hosts(cx: &Reader<'_>, hosts: &[Spanned<&str>], table: &RouteTable) {
    let in_mesh = table.bindings.contains(&Binding::Mesh);
    for (index, (host, pattern)) in hosts.iter().zip(&table.hosts).enumerate() {
        if pattern.host == "*" && in_mesh {
            let message = "`hosts`: `*` is for gateways, the clients of the mesh need names";
            let help = "name the hosts, or list only gateways in `gateways`";
            cx.report(Diagnostic::new(Code::INVALID_POLICY, host.span, message).with_help(help));
        }
        let mut earlier = hosts.iter().zip(&table.hosts).take(index);
        if let Some((first, _)) = earlier.find(|(_, other)| overlap(&other.host, &pattern.host)) {
            let message = format!("`hosts`: {} and {} overlap", quoted(first), quoted(host));
            let diagnostic = Diagnostic::new(Code::INVALID_POLICY, host.span, message);
            cx.report(diagnostic.with_label(first.span, "given here"));
        }
    }
}

/// There must be routes, and a host that they belong to.
fn check_routes(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, spec: &Node) {
    let is_given = |name| spec.get(name).is_some_and(|node| !node.items().is_empty());
    if !["http", "tls", "tcp"].into_iter().any(is_given) {
        fields.missing(&["http"]);
    }
    let reason = "only `http` routes are";
    refuse_all(fields, NOT_YET, &[("tls", reason), ("tcp", reason)]);
    if !is_given("hosts") {
        let message = "a virtual service without `hosts` is not yet in force: routes are not delegated";
        cx.report(Diagnostic::new(NOT_YET, fields.span(), message));
    }
}

/// Reads `gateways`; `None` where there are none.
pub(super) fn bindings(fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Option<Vec<Binding>> {
    let bindings = fields.list("gateways", |cx, node| binding(cx, node, scope));
    (!bindings.is_empty()).then_some(bindings)
}

/// Reads `mesh`, `name`, `./name`, `namespace/name`, or the old form `name.namespace`.
fn binding(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Binding> {
    let text = cx.text(node)?;
    if text == MESH {
        return Some(Binding::Mesh);
    }
    let (namespace, name) = match (text.split_once('/'), text.split_once('.')) {
        (Some((".", name)), _) => (scope.namespace, name),
        (Some((namespace, name)), _) => (namespace, name),
        (None, Some((name, rest))) => (rest.split('.').next().unwrap_or(rest), name),
        (None, None) => (scope.namespace, text),
    };
    if !is_dns_label(namespace) || !is_dns_name(name) {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected `mesh`, the name of a gateway or `namespace/name`, found {found}"),
        );
    }
    if !text.contains('/') && text.contains('.') {
        let message = format!("gateway {} is named in an old form", quoted(text));
        let help = format!("write `{namespace}/{name}`");
        cx.report(Diagnostic::new(Code::DEPRECATED, node.span, message).with_help(help));
    }
    Some(Binding::Gateway {
        namespace: namespace.into(),
        name: name.into(),
        origin: cx.origin(node.span),
        section: None,
        port: None,
    })
}

fn rule(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RouteRule> {
    let mut fields = cx.mapping(node)?;
    let name = fields.optional("name", Reader::string).filter(|name| !name.is_empty());
    let matches = fields.list("match", |cx, node| route_match(cx, node, scope));
    fields.required_one_of(ACTIONS);
    let destinations = fields.optional("route", |cx, node| destinations(cx, node, scope));
    let timeout = fields.optional("timeout", duration);
    let retry = fields.optional("retries", retries);
    refuse_all(&mut fields, NOT_YET, REFUSED);
    fields.finish();
    Some(RouteRule {
        name,
        origin: cx.origin(node.span),
        matches,
        destinations: destinations?,
        timeout,
        retry,
        ..RouteRule::default()
    })
}

fn destinations(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Vec<Destination>> {
    let items = list_of(|cx, node| weighted(cx, node, scope))(cx, node)?;
    if node.items().is_empty() {
        return cx.invalid(node, "expected at least one destination, found an empty list");
    }
    if items.len() == node.items().len() {
        check_weights(cx, node, &items);
    }
    Some(items.into_iter().map(|(_, destination)| destination).collect())
}

/// A destination, with its weight if it has one.
type Weighted = (Option<u32>, Destination);

/// Weights are shares of their sum; a weight that is left out is 0.
fn check_weights(cx: &Reader<'_>, node: &Node, items: &[Weighted]) {
    if items.len() < 2 {
        return;
    }
    if items.iter().all(|(_, destination)| destination.weight == 0) {
        let message = "`route`: the weights of all destinations are 0, one must be more";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, node.span, message));
        return;
    }
    for ((weight, destination), item) in items.iter().zip(node.items()) {
        if weight.is_none() {
            let message = format!(
                "destination {} has no `weight`: it gets no request",
                quoted(&destination.host)
            );
            let help = "a weight that is left out is 0 where there are several destinations";
            cx.report(Diagnostic::new(Code::NO_EFFECT, item.span, message).with_help(help));
        }
    }
}

fn weighted(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Weighted> {
    let mut fields = cx.mapping(node)?;
    let destination = fields.required("destination", |cx, node| destination(cx, node, scope));
    let weight = fields.optional("weight", count);
    refuse_all(&mut fields, NOT_YET, &[("headers", HEADERS)]);
    fields.finish();
    let mut destination = destination?;
    destination.weight = weight.unwrap_or(0);
    destination.origin = cx.origin(node.span);
    Some((weight, destination))
}

fn destination(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Destination> {
    let mut fields = cx.mapping(node)?;
    let host = fields.required("host", destination_host);
    let subset = fields.optional("subset", dns_label);
    let port = fields.optional("port", port_number);
    fields.finish();
    Some(Destination {
        host: scope.full_host(host?),
        subset,
        port,
        ..Destination::default()
    })
}

fn destination_host<'n>(cx: &Reader<'_>, node: &'n Node) -> Option<&'n str> {
    match host_pattern(cx, node)? {
        "*" => cx.invalid(node, "expected a service, found `*`"),
        host if host.starts_with('*') => {
            let message = format!(
                "destination {} is {}: requests go to one service",
                quoted(host),
                NOT_YET.title()
            );
            cx.report(Diagnostic::new(NOT_YET, node.span, message));
            None
        }
        host => Some(host),
    }
}
