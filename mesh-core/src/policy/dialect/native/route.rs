//! Routes: those of a service, and tables of their own in `routes`.

use super::Sink;
use super::envelope::object_name;
use super::names::{is_dns_label, overlap};
use super::route_match::route_match;
use super::scope::Scope;
use super::service::non_empty;
use super::traffic::retry;
use super::values::{count, duration};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::route::{Binding, Destination, HostPattern, RouteRule, RouteTable};
use crate::policy::reader::{Fields, Reader, spanned};
use crate::policy::source::{Key, Node, SourceSpan, Spanned, Value};

/// What a name in `to` stands for.
pub(super) struct Target<'n> {
    pub(super) scope: Scope<'n>,
    /// The service whose routes these are: names are its subsets. Without one they are services.
    own: Option<Own<'n>>,
}

struct Own<'n> {
    host: &'n str,
    name: &'n str,
    has_subsets: bool,
}

impl<'n> Target<'n> {
    /// Names are subsets of this service.
    pub(super) fn of_service(host: &'n str, name: &'n str, service: &Node, scope: Scope<'n>) -> Self {
        let has_subsets = service.get("subsets").is_some_and(|node| !node.is_null());
        let own = Some(Own {
            host,
            name,
            has_subsets,
        });
        Self { scope, own }
    }

    /// Names are services.
    const fn services(scope: Scope<'n>) -> Self {
        Self { scope, own: None }
    }

    /// The destination of a name.
    fn named(&self, cx: &Reader<'_>, name: &str, span: SourceSpan) -> Option<Destination> {
        let own = match &self.own {
            Some(own) => own,
            None if super::names::is_dns_name(name) => {
                return Some(destination(cx, self.scope.full_host(name), None, span));
            }
            None => return refuse_name(cx, span, "the name of a service", name),
        };
        if !is_dns_label(name) {
            return refuse_name(cx, span, "the name of a subset", name);
        }
        if !own.has_subsets {
            let (name, service) = (quoted(name), quoted(own.name));
            let message = format!("{name} is no subset of {service}, which has none");
            let help = format!(
                "add it to `subsets`, or write `to: [{{ service: {} }}]`",
                name.trim_matches('`')
            );
            cx.report(Diagnostic::new(Code::UNKNOWN_REFERENCE, span, message).with_help(help));
            return None;
        }
        Some(destination(cx, own.host.into(), Some(name.into()), span))
    }
}

fn refuse_name<T>(cx: &Reader<'_>, span: SourceSpan, expected: &str, name: &str) -> Option<T> {
    let message = format!("`to`: expected {expected}, found {}", quoted(name));
    cx.report(Diagnostic::new(Code::INVALID_VALUE, span, message));
    None
}

fn destination(cx: &Reader<'_>, host: String, subset: Option<String>, span: SourceSpan) -> Destination {
    Destination {
        host,
        subset,
        port: None,
        weight: 1,
        origin: cx.origin(span),
        ..Destination::default()
    }
}

/// Reads a table of the section `routes`.
pub(super) fn table(cx: &Reader<'_>, node: &Node, sink: &mut Sink<'_>) -> Option<()> {
    let scope = sink.scope;
    let target = Target::services(scope);
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", spanned(object_name));
    let hosts = fields.required("hosts", |cx, node| {
        non_empty(cx, node, "host", spanned(|cx, node| scope.host_pattern(cx, node)))
    });
    let bindings = bindings(&mut fields, scope).unwrap_or_else(|| vec![Binding::Mesh]);
    let export = scope.visible_to(cx, &mut fields);
    let found = fields.required("rules", |cx, node| rules(cx, node, &target));
    fields.finish();
    let (name, hosts) = (name?, hosts?);
    check_hosts(cx, &hosts, &bindings);
    let meta = scope.meta(cx, &name, node.span);
    sink.ledger.define(cx, "route table", &meta, name.span);
    let pattern = |host: Spanned<String>| HostPattern {
        origin: cx.origin(host.span),
        host: host.value,
    };
    sink.policy.routes.push(RouteTable {
        meta,
        hosts: hosts.into_iter().map(pattern).collect(),
        bindings,
        export,
        rules: found?,
        ..RouteTable::default()
    });
    Some(())
}

/// `*` belongs to gateways, and no host may be covered twice.
fn check_hosts(cx: &Reader<'_>, hosts: &[Spanned<String>], bindings: &[Binding]) {
    for (index, host) in hosts.iter().enumerate() {
        if host.value == "*" && bindings.contains(&Binding::Mesh) {
            let message = "`hosts`: `*` is for gateways, the clients of the mesh need names";
            let help = "name the hosts, or list only gateways in `gateways`";
            cx.report(Diagnostic::new(Code::INVALID_POLICY, host.span, message).with_help(help));
        }
        let mut earlier = hosts.iter().take(index);
        if let Some(first) = earlier.find(|other| overlap(other, host)) {
            let message = format!("`hosts`: {} and {} overlap", quoted(first), quoted(host));
            let diagnostic = Diagnostic::new(Code::INVALID_POLICY, host.span, message);
            cx.report(diagnostic.with_label(first.span, "given here"));
        }
    }
}

/// Reads `gateways`: `mesh`, `name` or `namespace/name`; `None` where the field is absent.
pub(super) fn bindings(fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Option<Vec<Binding>> {
    fields.optional("gateways", |cx, node| {
        non_empty(cx, node, "gateway", |cx, node| binding(cx, node, scope))
    })
}

fn binding(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Binding> {
    let text = cx.text(node)?;
    if text == "mesh" {
        return Some(Binding::Mesh);
    }
    let (namespace, name) = text.split_once('/').unwrap_or((scope.namespace, text));
    if !super::envelope::is_namespace(namespace) || !super::envelope::is_object_name(name) {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected `mesh`, the name of a gateway or `namespace/name`, found {found}"),
        );
    }
    Some(Binding::Gateway {
        namespace: namespace.into(),
        name: name.into(),
        origin: cx.origin(node.span),
        section: None,
        port: None,
    })
}

/// Reads rules, the first match of which counts.
pub(super) fn rules(cx: &Reader<'_>, node: &Node, target: &Target<'_>) -> Option<Vec<RouteRule>> {
    non_empty(cx, node, "rule", |cx, node| rule(cx, node, target))
}

fn rule(cx: &Reader<'_>, node: &Node, target: &Target<'_>) -> Option<RouteRule> {
    let mut fields = cx.mapping(node)?;
    let name = fields.optional("name", Reader::name);
    let matches = fields.optional("match", |cx, node| match node.value {
        Value::Sequence(_) => non_empty(cx, node, "match", |cx, node| route_match(cx, node, target.scope)),
        _ => route_match(cx, node, target.scope).map(|one| vec![one]),
    });
    let destinations = match (&target.own, fields.node("to")) {
        (Some(own), None) => Some(vec![destination(cx, own.host.into(), None, node.span)]),
        _ => fields.required("to", |cx, node| to(cx, node, target)),
    };
    let timeout = fields.optional("timeout", duration);
    let retry = fields.optional("retry", retry);
    fields.finish();
    Some(RouteRule {
        name,
        origin: cx.origin(node.span),
        matches: matches.unwrap_or_default(),
        destinations: destinations?,
        timeout,
        retry,
        ..RouteRule::default()
    })
}

/// Reads a name, a mapping of names to weights, or a list of destinations in full.
fn to(cx: &Reader<'_>, node: &Node, target: &Target<'_>) -> Option<Vec<Destination>> {
    let errors = cx.errors();
    let found = match &node.value {
        Value::Scalar(_) => {
            let name = cx.text(node)?;
            vec![target.named(cx, name, node.span)?]
        }
        Value::Mapping(entries) => entries
            .iter()
            .filter_map(|(key, node)| weighted(cx, key, node, target))
            .collect(),
        Value::Sequence(items) => {
            let is_split = items.len() > 1;
            let read = |item: &Node| in_full(cx, item, target, is_split);
            items.iter().filter_map(read).collect()
        }
        _ => return cx.wrong_type(node, "a name, a mapping of names to weights or a list"),
    };
    if cx.errors() > errors {
        return None;
    }
    if found.is_empty() {
        return cx.invalid(node, "expected at least one destination, found none");
    }
    if found.len() > 1 && found.iter().all(|destination| destination.weight == 0) {
        return cx.invalid(node, "the weights of all destinations are 0, one must be more");
    }
    Some(found)
}

fn weighted(cx: &Reader<'_>, key: &Key, node: &Node, target: &Target<'_>) -> Option<Destination> {
    if let Value::Mapping(_) = node.value {
        let message = format!("`to`: expected the weight of {}, found a mapping", quoted(&key.name));
        let help = "a destination with more than a weight is an item of a list: `to: [{ service: orders, weight: 1 }]`";
        cx.report(Diagnostic::new(Code::WRONG_TYPE, node.span, message).with_help(help));
        return None;
    }
    let weight = count(cx, node);
    let mut destination = target.named(cx, &key.name, key.span)?;
    destination.weight = weight?;
    Some(destination)
}

/// Reads `{ service, subset, port, weight }`; the service is the own one where there is one.
fn in_full(cx: &Reader<'_>, node: &Node, target: &Target<'_>, is_split: bool) -> Option<Destination> {
    let mut fields = cx.mapping(node)?;
    let service = match &target.own {
        Some(own) if fields.node("service").is_none() => Some(own.host.to_owned()),
        _ => fields.required("service", |cx, node| target.scope.service(cx, node)),
    };
    let subset = fields.optional("subset", super::names::dns_label);
    let port = fields.optional("port", Reader::port);
    let weight = match is_split {
        true => fields.required("weight", count),
        false => Some(fields.optional("weight", count).unwrap_or(1)),
    };
    fields.finish();
    Some(Destination {
        host: service?,
        subset,
        port,
        weight: weight?,
        origin: cx.origin(node.span),
        ..Destination::default()
    })
}
