//! `VirtualService`: routes by host.

use super::faults::{cors, fault, mirrors};
use super::filters::{Headers, check_authority, direct_response, headers, redirect, rewrite};
use super::names::{dns_label, host_pattern, is_dns_label, is_dns_name, overlap};
use super::retries::retries;
use super::route_match::route_match;
use super::scope::Scope;
use super::stream_route::{Stream, stream_rule};
use super::string_match::is_claim;
use super::values::{count, duration, port_number};
use super::{NOT_YET, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::filter::{Answer, HeaderOrder, PathRewrite, Redirect, Rewrite};
use crate::policy::model::route::{
    Binding, Delegate, Destination, HostPattern, RouteMatch, RouteRule, RouteTable, StringMatch,
};
use crate::policy::reader::{Fields, Reader, list_of, spanned};
use crate::policy::source::{Node, Spanned, Value};

/// The gateway that stands for the clients of the mesh.
const MESH: &str = "mesh";

/// What a rule does with a request; one of them must be given.
const ACTIONS: &[&str] = &["route", "redirect", "directResponse", "delegate"];

/// Reads a `VirtualService`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let table = required_spec(cx, object).and_then(|spec| {
        let scope = Scope::new(object, &policy.mesh);
        route_table(cx, object, spec, scope)
    });
    if let Some(table) = table {
        let tables = match table.hosts.is_empty() {
            true => &mut policy.delegates,
            false => &mut policy.routes,
        };
        tables.push(table);
    }
}

fn route_table(cx: &Reader<'_>, object: &Object<'_>, spec: &Node, scope: Scope<'_>) -> Option<RouteTable> {
    let mut fields = cx.mapping(spec)?;
    let hosts = fields.list("hosts", spanned(host_pattern));
    let bindings = bindings(&mut fields, scope);
    let patterns = host_patterns(cx, &hosts, scope);
    let table = RouteTable {
        meta: object.meta.clone(),
        export: scope.export_to(cx, &mut fields),
        rules: fields.list("http", |cx, node| rule(cx, node, scope)).into(),
        tls: fields.list("tls", |cx, node| stream_rule(cx, node, scope, Stream::Tls, &patterns)),
        tcp: fields.list("tcp", |cx, node| stream_rule(cx, node, scope, Stream::Tcp, &patterns)),
        hosts: patterns,
        bindings: bindings.unwrap_or_else(|| vec![Binding::Mesh]),
        ..RouteTable::default()
    };
    check_hosts(cx, &hosts, &table);
    check_routes(cx, &mut fields, spec);
    check_claims(cx, spec, &table);
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

/// There must be routes. Without hosts they are for those who delegate to them.
fn check_routes(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, spec: &Node) {
    let is_given = |name| spec.get(name).is_some_and(|node| !node.items().is_empty());
    let is_wrong = |name| {
        let node = spec.get(name).filter(|node| !node.is_null());
        node.is_some_and(|node| !matches!(node.value, Value::Sequence(_)))
    };
    if !["http", "tls", "tcp"]
        .into_iter()
        .any(|name| is_given(name) || is_wrong(name))
    {
        fields.missing(&["http", "tls", "tcp"]);
    }
    for name in ["tls", "tcp"] {
        if let Some((key, _)) = fields.entry(name).filter(|_| is_given(name)) {
            let message = format!(
                "field {} is {}: only `http` routes are",
                quoted(&key.name),
                NOT_YET.title()
            );
            cx.report(Diagnostic::new(NOT_YET, key.span, message));
        }
    }
    if is_given("hosts") {
        return;
    }
    for name in ["gateways", "tls", "tcp"] {
        if let Some((key, _)) = fields.entry(name).filter(|_| is_given(name)) {
            let message = format!(
                "{} cannot stand in a virtual service without `hosts`, which only takes what others delegate",
                quoted(&key.name)
            );
            cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
        }
    }
    let rules = spec.get("http").map(Node::items).unwrap_or_default();
    for delegate in rules.iter().filter_map(|rule| rule.get("delegate")) {
        let message = "a delegate cannot delegate again: name the last one in the rule that begins";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, delegate.span, message));
    }
}

/// Tokens are checked where a gateway takes requests.
fn check_claims(cx: &Reader<'_>, spec: &Node, table: &RouteTable) {
    if table.bindings.iter().any(|binding| *binding != Binding::Mesh) {
        return;
    }
    let rules = spec.get("http").map(Node::items).unwrap_or_default();
    let matches = rules.iter().filter_map(|rule| rule.get("match")).flat_map(Node::items);
    let conditions = matches.flat_map(|one| {
        let names = ["headers", "withoutHeaders", "without_headers"];
        names
            .into_iter()
            .filter_map(|name| one.get(name))
            .flat_map(Node::entries)
    });
    for (key, _) in conditions.filter(|(key, _)| is_claim(&key.name)) {
        let message = format!(
            "{} needs a gateway in `gateways`: tokens are checked there",
            quoted(&key.name)
        );
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
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
    let mut found = RouteRule {
        name: fields.optional("name", Reader::string).filter(|name| !name.is_empty()),
        origin: cx.origin(node.span),
        matches: fields.list("match", |cx, node| route_match(cx, node, scope)),
        timeout: fields.optional("timeout", duration),
        retry: fields.optional("retries", retries),
        fault: fields.optional("fault", fault),
        cors: fields.optional("corsPolicy", cors),
        mirrors: mirrors(cx, &mut fields, scope),
        rewrite: fields.optional("rewrite", rewrite),
        ..RouteRule::default()
    };
    let headers = fields.optional("headers", headers).unwrap_or_default();
    if let Some(node) = fields.node("headers") {
        check_authority(cx, node, found.rewrite.as_ref(), &headers);
    }
    found.header_authority = headers.authority;
    found.headers = headers.rules;
    let is_read = action(&mut fields, &mut found, scope);
    fields.refuse(
        "websocketUpgrade",
        Code::DEPRECATED,
        "connections are upgraded or not, whatever it says",
    );
    check_action(cx, &mut fields, &found);
    fields.finish();
    is_read.then_some(found)
}

/// What the rule does with its requests; whether all of it could be read.
fn action(fields: &mut Fields<'_, '_, '_>, found: &mut RouteRule, scope: Scope<'_>) -> bool {
    let Some((name, _)) = fields.required_one_of(ACTIONS) else {
        return false;
    };
    match name {
        "route" => {
            found.destinations = fields
                .optional(name, |cx, node| destinations(cx, node, scope, Traffic::Requests))
                .unwrap_or_default()
        }
        "redirect" => found.answer = fields.optional(name, redirect).map(Answer::Redirect),
        "directResponse" => found.answer = fields.optional(name, direct_response).map(Answer::Direct),
        _ => found.delegate = fields.optional(name, |cx, node| delegate(cx, node, scope)),
    }
    if found.destinations.len() > 1 {
        found.header_order = HeaderOrder::RuleLast;
    }
    !found.destinations.is_empty() || found.answer.is_some() || found.delegate.is_some()
}

/// An answer takes the place of what else a rule could do, and a prefix can only be replaced where one matched.
fn check_action(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, found: &RouteRule) {
    if found.answer.is_some() {
        for name in ["fault", "rewrite"] {
            if let Some((key, _)) = fields.entry(name) {
                let message = format!("{} excludes `redirect` and `directResponse`", quoted(&key.name));
                cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
            }
        }
        for name in ["timeout", "retries", "mirror", "mirrors"] {
            if let Some((key, _)) = fields.entry(name) {
                let message = format!("{} has no effect: the rule forwards no request", quoted(&key.name));
                cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
            }
        }
    }
    let Some(Answer::Redirect(Redirect {
        path: Some(PathRewrite::Prefix(_)),
        ..
    })) = &found.answer
    else {
        return;
    };
    let is_prefix = |one: &RouteMatch| matches!(one.path, None | Some(StringMatch::Prefix(_)));
    if !found.matches.iter().all(is_prefix) {
        let message = "`prefixRewrite` needs a `uri` with `prefix` in every match";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, fields.span(), message));
    }
}

/// Reads `delegate`.
fn delegate(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Delegate> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", Reader::name);
    let namespace = fields.optional("namespace", dns_label);
    fields.finish();
    Some(Delegate {
        namespace: namespace.unwrap_or_else(|| scope.namespace.into()),
        name: name?,
        origin: cx.origin(node.span),
    })
}

/// What goes to a destination: only requests have headers that change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    Requests,
    Connections,
}

/// Reads the destinations of a rule, of which there must be one.
pub(super) fn destinations(
    cx: &Reader<'_>,
    node: &Node,
    scope: Scope<'_>,
    traffic: Traffic,
) -> Option<Vec<Destination>> {
    let items = list_of(|cx, node| weighted(cx, node, scope, traffic))(cx, node)?;
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

fn weighted(cx: &Reader<'_>, node: &Node, scope: Scope<'_>, traffic: Traffic) -> Option<Weighted> {
    let mut fields = cx.mapping(node)?;
    let destination = fields.required("destination", |cx, node| destination(cx, node, scope));
    let weight = fields.optional("weight", count);
    let headers = match traffic {
        Traffic::Requests => fields.optional("headers", headers).unwrap_or_default(),
        Traffic::Connections => Headers::default(),
    };
    fields.finish();
    let mut destination = destination?;
    destination.headers = headers.rules;
    destination.rewrite = headers.authority.map(|authority| Rewrite {
        authority: Some(authority),
        path: None,
    });
    destination.weight = weight.unwrap_or(0);
    destination.origin = cx.origin(node.span);
    Some((weight, destination))
}

pub(super) fn destination(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Destination> {
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
            Some(host)
        }
        host => Some(host),
    }
}
