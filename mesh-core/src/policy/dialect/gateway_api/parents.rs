//! What a route is attached to: gateways, and services of the mesh.

use super::unexpected;
use super::values::{is_group, is_kind};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::route::{Binding, HostPattern, RouteMatch, RouteRule, RouteTable, RuleOrder};
use crate::policy::model::{Export, MeshSettings, full_host};
use crate::policy::reader::Reader;
use crate::policy::source::Node;

/// What a route is attached to.
#[derive(Debug)]
pub(super) enum Parent {
    Gateway(Binding),
    Service(ServiceParent),
}

/// A service whose callers follow the route.
#[derive(Debug)]
pub(super) struct ServiceParent {
    host: HostPattern,
    namespace: String,
    /// Only requests to this port.
    port: Option<u16>,
}

/// Reads one of `parentRefs`; other parents than gateways and services take no part.
pub(super) fn parent(cx: &Reader<'_>, node: &Node, object: &Object<'_>, mesh: &MeshSettings) -> Option<Parent> {
    let mut fields = cx.mapping(node)?;
    let group = fields
        .optional("group", Reader::any_text)
        .unwrap_or_else(|| super::GROUP.into());
    let kind = fields
        .optional("kind", Reader::any_text)
        .unwrap_or_else(|| "Gateway".into());
    let name = fields.required("name", Reader::name);
    let namespace = fields.optional("namespace", Reader::name);
    let section = fields.optional("sectionName", Reader::name);
    let port = fields.optional("port", Reader::port);
    fields.finish();
    if !is_group(&group) || !is_kind(&kind) {
        return unexpected(cx, node, "the group and kind of a parent", &format!("{group}/{kind}"));
    }
    let namespace = namespace.unwrap_or_else(|| object.meta.namespace.clone());
    let (name, origin) = (name?, cx.origin(node.span));
    match (group.as_str(), kind.as_str()) {
        (super::GROUP, "Gateway") => Some(Parent::Gateway(Binding::Gateway {
            namespace,
            name,
            section,
            port,
            origin,
        })),
        ("", "Service") => Some(Parent::Service(ServiceParent {
            host: HostPattern {
                host: full_host(&name, &namespace, &mesh.cluster_domain),
                origin,
            },
            namespace,
            port,
        })),
        _ => {
            let title = Code::NOT_YET_IN_FORCE.title();
            let message = format!(
                "parent of kind {} is {title}: routes are attached to gateways and services",
                quoted(&kind)
            );
            cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, node.span, message));
            None
        }
    }
}

/// The tables of a route: one for all of its gateways, and one for each of its services.
pub(super) fn tables(
    object: &Object<'_>,
    parents: Vec<Parent>,
    hosts: &[HostPattern],
    rules: &[RouteRule],
) -> Vec<RouteTable> {
    let mut bindings = Vec::new();
    let mut tables = Vec::new();
    for parent in parents {
        match parent {
            Parent::Gateway(binding) => bindings.push(binding),
            Parent::Service(service) => tables.push(of_service(object, service, rules)),
        }
    }
    if !bindings.is_empty() {
        let any = [HostPattern {
            host: "*".into(),
            origin: object.meta.origin.clone(),
        }];
        tables.push(RouteTable {
            hosts: if hosts.is_empty() { any.to_vec() } else { hosts.to_vec() },
            bindings,
            rules: rules.to_vec(),
            ..table(object)
        });
    }
    tables
}

fn table(object: &Object<'_>) -> RouteTable {
    RouteTable {
        meta: object.meta.clone(),
        order: RuleOrder::Specific,
        ..RouteTable::default()
    }
}

fn of_service(object: &Object<'_>, service: ServiceParent, rules: &[RouteRule]) -> RouteTable {
    let is_producer = service.namespace == object.meta.namespace;
    let on_port = |rule: &RouteRule| RouteRule {
        matches: matches_on(rule, service.port),
        ..rule.clone()
    };
    RouteTable {
        bindings: vec![Binding::Mesh],
        export: match is_producer {
            true => Export::All,
            false => Export::Namespaces(vec![object.meta.namespace.clone()]),
        },
        rules: rules.iter().map(on_port).collect(),
        hosts: vec![service.host],
        ..table(object)
    }
}

fn matches_on(rule: &RouteRule, port: Option<u16>) -> Vec<RouteMatch> {
    let mut matches = rule.matches.clone();
    if port.is_some() && matches.is_empty() {
        matches.push(RouteMatch {
            origin: rule.origin.clone(),
            ..RouteMatch::default()
        });
    }
    matches.iter_mut().for_each(|one| one.port = port);
    matches
}
