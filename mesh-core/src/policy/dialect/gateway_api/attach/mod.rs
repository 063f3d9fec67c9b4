//! Joins what documents say of each other, once all are read: routes with listeners and services, references with grants.
//!
//! Older documents go first, then those whose `namespace/name` comes first: what a later one says against an earlier one
//! is told and has no effect.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::attachment::{Attachments, From, PendingRoute};
use crate::policy::model::route::Destination;
use crate::policy::model::service::ServicePort;
use crate::policy::model::{Labels, Meta, Origin, OutboundMode, Policy};
use crate::policy::source::{Document, Node, SourceSpan};

mod conflicts;
mod gateways;
mod mesh;
mod tls;

/// Joins routes, gateways and grants; the policy has no attachments after it.
pub(in crate::policy) fn resolve(documents: &[Document], policy: &mut Policy, report: &mut Report) {
    let mut attachments = std::mem::take(&mut policy.attachments);
    attachments
        .routes
        .sort_by(|one, other| age(&one.table.meta).cmp(&age(&other.table.meta)));
    let namespaces = namespaces(documents, &attachments, report);
    gateways::drop_foreign_certificates(policy, &attachments, report);
    let services = Services::of(policy);
    tls::resolve(&services, &mut attachments, policy, report);
    let routes = std::mem::take(&mut attachments.routes);
    let mut gateways = gateways::Gateways::new(&attachments, &namespaces);
    let mut mesh = mesh::Mesh::new(policy);
    let mut tables = Vec::new();
    for mut route in routes {
        services.check(&mut route, report);
        tables.extend(gateways.attach(&route, policy, report));
        tables.extend(mesh.attach(&route, report));
    }
    policy.routes.extend(tables);
}

/// The order of Gateway API: older first, then by `namespace/name`.
fn age(meta: &Meta) -> (u64, &str, &str) {
    (meta.created, &meta.namespace, &meta.name)
}

fn unresolved(origin: &Origin, message: impl AsRef<str>) -> Diagnostic {
    Diagnostic::new(Code::UNRESOLVED_REFERENCE, origin, message)
}

fn no_effect(origin: &Origin, message: impl AsRef<str>) -> Diagnostic {
    Diagnostic::new(Code::NO_EFFECT, origin, message)
}

/// A namespace that a document describes.
struct Namespace {
    labels: Labels,
    /// Where its name is written.
    span: SourceSpan,
}

/// All namespaces that documents describe, where a listener asks for the labels of any.
fn namespaces(documents: &[Document], attachments: &Attachments, report: &mut Report) -> BTreeMap<String, Namespace> {
    let mut found = BTreeMap::new();
    let mut listeners = attachments.listeners.iter();
    if listeners.any(|listener| matches!(listener.from, From::Selector(_))) {
        for document in documents {
            add_namespaces(&document.root, &mut found, report);
        }
    }
    found
}

fn add_namespaces(node: &Node, found: &mut BTreeMap<String, Namespace>, report: &mut Report) {
    if let Some((name, namespace)) = namespace(node) {
        match found.entry(name.to_owned()) {
            Entry::Vacant(free) => _ = free.insert(namespace),
            Entry::Occupied(first) if first.get().labels == namespace.labels => {}
            Entry::Occupied(first) => report.push(other_labels(name, namespace.span, first.get().span)),
        }
    }
    for item in node.get("items").map_or(&[][..], Node::items) {
        add_namespaces(item, found, report);
    }
}

fn namespace(node: &Node) -> Option<(&str, Namespace)> {
    let text = |name: &str| node.get(name).and_then(Node::as_text);
    if text("apiVersion") != Some("v1") || text("kind") != Some("Namespace") {
        return None;
    }
    let metadata = node.get("metadata")?;
    let name = metadata.get("name")?;
    let labels = metadata.get("labels").map_or(&[][..], Node::entries).iter();
    let labels = labels.filter_map(|(key, value)| Some((key.name.to_string(), value.as_text()?.to_owned())));
    let namespace = Namespace {
        labels: labels.collect(),
        span: name.span,
    };
    Some((name.as_text()?, namespace))
}

/// Which listeners take a namespace's routes must not hang on the names of files.
fn other_labels(name: &str, span: SourceSpan, first: SourceSpan) -> Diagnostic {
    let message = format!("`Namespace` {} is defined twice, with other labels", quoted(name));
    let help = "listeners choose namespaces by their labels: remove one of the two, or give both the same labels";
    let diagnostic = Diagnostic::new(Code::DUPLICATE_DEFINITION, span, message);
    diagnostic.with_label(first, "first defined here").with_help(help)
}

/// The services that documents define, by each of their names.
struct Services {
    ports: BTreeMap<String, Vec<ServicePort>>,
    outbound: OutboundMode,
}

impl Services {
    fn of(policy: &Policy) -> Self {
        let mut ports: BTreeMap<String, Vec<ServicePort>> = BTreeMap::new();
        for service in &policy.services {
            for host in &service.hosts {
                ports
                    .entry(host.clone())
                    .or_default()
                    .extend(service.ports.iter().cloned());
            }
        }
        Self {
            ports,
            outbound: policy.mesh.outbound,
        }
    }

    /// Backends that cannot be called keep their share, which is answered with 500; copies are not made.
    fn check(&self, route: &mut PendingRoute, report: &mut Report) {
        for rule in &mut route.table.rules {
            for to in &mut rule.destinations {
                self.check_destination(to, report);
            }
            rule.mirrors.retain_mut(|mirror| {
                self.check_destination(&mut mirror.destination, report);
                mirror.destination.unresolved.is_none()
            });
        }
        let streams = route.table.tls.iter_mut().chain(&mut route.table.tcp);
        for to in streams.flat_map(|rule| &mut rule.destinations) {
            self.check_destination(to, report);
        }
    }

    fn check_destination(&self, to: &mut Destination, report: &mut Report) {
        if to.unresolved.is_some() {
            return;
        }
        let reason = match (self.ports.get(&to.host), to.port) {
            (None, _) if self.outbound == OutboundMode::RegistryOnly => {
                format!("no file defines the service {}", quoted(&to.host))
            }
            (Some(ports), Some(port)) if !ports.is_empty() && ports.iter().all(|known| known.number != port) => {
                format!("service {} has no port {port}", quoted(&to.host))
            }
            _ => return,
        };
        report.push(unresolved(
            &to.origin,
            format!("{reason}: its share of the requests is answered with 500"),
        ));
        to.unresolved = Some(reason);
    }
}

/// Whether a namespace lets objects of a kind of another refer to one of its own.
fn is_granted(
    attachments: &Attachments,
    (from_kind, from): (&str, &str),
    (to_kind, to, name): (&str, &str, &str),
) -> bool {
    let grants = attachments.grants.iter().filter(|grant| grant.namespace == to);
    let group = if to_kind == "Service" || to_kind == "Secret" {
        ""
    } else {
        super::GROUP
    };
    grants.into_iter().any(|grant| {
        let from_matches = |(group, kind, namespace): &(String, String, String)| {
            group == super::GROUP && kind == from_kind && namespace == from
        };
        let to_matches = |(own, kind, only): &(String, String, Option<String>)| {
            own == group && kind == to_kind && only.as_ref().is_none_or(|only| only == name)
        };
        grant.from.iter().any(from_matches) && grant.to.iter().any(to_matches)
    })
}
