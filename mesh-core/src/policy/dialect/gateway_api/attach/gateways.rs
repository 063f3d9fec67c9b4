//! Which listeners a route is attached to.

use std::collections::BTreeMap;

use crate::decide::route::string::host_covers;
use crate::policy::diagnostic::{HELPED, Report, nearest, quoted};
use crate::policy::model::attachment::{Attachments, From, Listener, Parent, ParentKind, PendingRoute};
use crate::policy::model::route::{Binding, Destination, HostPattern, RouteTable};
use crate::policy::model::{Policy, kubernetes_parts};

use super::conflicts::Accepted;
use super::{Namespace, is_granted, no_effect, unresolved};

/// The label that every namespace has.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// All listeners, with the routes that they took already.
pub(super) struct Gateways<'a> {
    attachments: &'a Attachments,
    namespaces: &'a BTreeMap<String, Namespace>,
    accepted: BTreeMap<(&'a str, &'a str, &'a str), Accepted>,
    /// How many gateways were named and not found.
    missing: usize,
}

/// Why a listener does not take a route, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    Host,
    Namespace,
    Kind,
}

impl Refusal {
    const fn reason(self) -> &'static str {
        match self {
            Self::Host => "no listener has one of its `hostnames`",
            Self::Namespace => "no listener takes routes of its namespace, see `allowedRoutes`",
            Self::Kind => "no listener takes routes of its kind",
        }
    }
}

impl<'a> Gateways<'a> {
    pub(super) const fn new(attachments: &'a Attachments, namespaces: &'a BTreeMap<String, Namespace>) -> Self {
        Self {
            attachments,
            namespaces,
            accepted: BTreeMap::new(),
            missing: 0,
        }
    }

    /// The table of a route as its gateways serve it; `None` where none does.
    pub(super) fn attach(&mut self, route: &PendingRoute, policy: &Policy, report: &mut Report) -> Option<RouteTable> {
        let mut bindings = Vec::new();
        let gateways = route.parents.iter().filter(|parent| parent.kind == ParentKind::Gateway);
        for parent in gateways {
            for binding in self.bind(route, parent, policy, report) {
                if !bindings.contains(&binding) {
                    bindings.push(binding);
                }
            }
        }
        if bindings.is_empty() {
            return None;
        }
        let mut table = route.table.clone();
        table.bindings = bindings;
        if table.hosts.is_empty() {
            table.hosts.push(HostPattern {
                host: "*".into(),
                origin: table.meta.origin.clone(),
            });
        }
        self.refuse_ungranted(route, &mut table, policy, report);
        Some(table)
    }

    fn bind(&mut self, route: &PendingRoute, parent: &Parent, policy: &Policy, report: &mut Report) -> Vec<Binding> {
        let attachments = self.attachments;
        let of_gateway =
            |listener: &&Listener| listener.namespace == parent.namespace && listener.gateway == parent.name;
        let all: Vec<&Listener> = attachments.listeners.iter().filter(of_gateway).collect();
        if all.is_empty() {
            self.tell_missing(parent, report);
            return Vec::new();
        }
        let meant = |listener: &&&Listener| {
            parent.section.as_ref().is_none_or(|name| *name == listener.name)
                && parent.port.is_none_or(|port| port == listener.port)
        };
        let meant: Vec<&Listener> = all.iter().filter(meant).copied().collect();
        let is_served = |listener: &Listener| {
            let gateways = policy.gateways.iter();
            let own =
                gateways.filter(|one| one.meta.namespace == listener.namespace && one.meta.name == listener.gateway);
            own.flat_map(|one| &one.servers)
                .any(|server| server.port_name == listener.name)
        };
        let mut refused = Vec::new();
        let mut bindings = Vec::new();
        let mut is_taken = false;
        for listener in &meant {
            match self.refusal(route, listener) {
                Some(reason) => refused.push(reason),
                None => {
                    let accepted = self.accept(route, listener, parent, report);
                    is_taken = true;
                    if accepted && is_served(listener) {
                        bindings.push(binding(listener, parent));
                    }
                }
            }
        }
        if !is_taken {
            tell_refused(route, parent, (&all, refused.into_iter().max()), report);
        }
        bindings
    }

    fn refusal(&self, route: &PendingRoute, listener: &Listener) -> Option<Refusal> {
        if !listener.kinds.contains(&route.kind) {
            return Some(Refusal::Kind);
        }
        if !self.takes_namespace(listener, &route.table.meta.namespace) {
            return Some(Refusal::Namespace);
        }
        shared_hosts(route, listener).is_empty().then_some(Refusal::Host)
    }

    fn takes_namespace(&self, listener: &Listener, namespace: &str) -> bool {
        match &listener.from {
            From::Same => listener.namespace == namespace,
            From::All => true,
            From::None => false,
            From::Selector(all) => {
                let described = self.namespaces.get(namespace);
                let mut labels = described.map(|one| one.labels.clone()).unwrap_or_default();
                labels.insert(NAME_LABEL.into(), namespace.into());
                all.iter().all(|one| one.holds(&labels))
            }
        }
    }

    fn accept(&mut self, route: &PendingRoute, listener: &'a Listener, parent: &Parent, report: &mut Report) -> bool {
        let key = (
            listener.namespace.as_str(),
            listener.gateway.as_str(),
            listener.name.as_str(),
        );
        let accepted = self.accepted.entry(key).or_default();
        accepted.accept(route, shared_hosts(route, listener), &parent.origin, report)
    }

    /// A gateway of a document that has errors is there, and gives no second finding.
    fn tell_missing(&mut self, parent: &Parent, report: &mut Report) {
        if report.has_errors() {
            return;
        }
        let full = format!("{}/{}", parent.namespace, parent.name);
        let told = unresolved(&parent.origin, format!("no file defines the gateway {}", quoted(&full)));
        report.push(match self.near(&full) {
            Some(near) => told.with_help(format!("did you mean `{near}`?")),
            None => told.with_help("its routes are served where a file defines it, and are left out here"),
        });
    }

    /// The gateway whose full name is most like that of one that is not there.
    fn near(&mut self, full: &str) -> Option<String> {
        self.missing += 1;
        if self.missing > HELPED {
            return None;
        }
        let listeners = self.attachments.listeners.iter();
        let known: Vec<String> = listeners
            .map(|listener| format!("{}/{}", listener.namespace, listener.gateway))
            .collect();
        nearest(full, known.iter().map(String::as_str)).map(str::to_owned)
    }

    /// Backends of other namespaces need their consent.
    fn refuse_ungranted(&self, route: &PendingRoute, table: &mut RouteTable, policy: &Policy, report: &mut Report) {
        let domain = &policy.mesh.cluster_domain;
        let own = table.meta.namespace.clone();
        let reason = |to: &Destination| {
            let (name, namespace) = kubernetes_parts(&to.host, domain).filter(|(_, namespace)| *namespace != own)?;
            let is_free = is_granted(
                self.attachments,
                (route.kind.name(), &own),
                ("Service", namespace, name),
            );
            (!is_free).then(|| {
                let (name, namespace) = (quoted(name), quoted(namespace));
                format!(
                    "no `ReferenceGrant` of namespace {namespace} lets routes of {} refer to {name}",
                    quoted(&own)
                )
            })
        };
        let mut tell = |to: &Destination, reason: &str, what: &str| {
            report.push(unresolved(&to.origin, format!("{reason}: {what}")));
        };
        for rule in &mut table.rules {
            for to in rule.destinations.iter_mut().filter(|to| to.unresolved.is_none()) {
                to.unresolved = reason(to);
                if let Some(reason) = &to.unresolved {
                    tell(to, reason, "its share of the requests is answered with 500");
                }
            }
            rule.mirrors.retain(|mirror| match reason(&mirror.destination) {
                None => true,
                Some(reason) => {
                    tell(&mirror.destination, &reason, "it gets no copies");
                    false
                }
            });
        }
    }
}

fn binding(listener: &Listener, parent: &Parent) -> Binding {
    Binding::Gateway {
        namespace: listener.namespace.clone(),
        name: listener.gateway.clone(),
        section: Some(listener.name.clone()),
        port: None,
        origin: parent.origin.clone(),
    }
}

/// The narrower host of each pair of the route's and the listener's, of which one covers the other.
fn shared_hosts(route: &PendingRoute, listener: &Listener) -> Vec<String> {
    let own = listener.host.as_str();
    if route.table.hosts.is_empty() {
        return vec![own.into()];
    }
    let hosts = route.table.hosts.iter().map(|host| host.host.as_str());
    let shared = hosts.filter_map(|host| {
        if host == own || host_covers(own, host) {
            Some(host)
        } else {
            host_covers(host, own).then_some(own)
        }
    });
    shared.map(str::to_owned).collect()
}

fn tell_refused(
    route: &PendingRoute,
    parent: &Parent,
    (all, refused): (&[&Listener], Option<Refusal>),
    report: &mut Report,
) {
    let gateway = quoted(&parent.name);
    let told = |reason: &str| {
        let message = format!(
            "{} {} is not served by gateway {gateway}: {reason}",
            route.kind.name(),
            quoted(&route.table.meta.name)
        );
        no_effect(&parent.origin, message)
    };
    let Some(refusal) = refused else {
        let names: Vec<&str> = all.iter().map(|listener| listener.name.as_str()).collect();
        let told = told("it has no such listener");
        let near = parent
            .section
            .as_deref()
            .and_then(|section| nearest(section, names.iter().copied()));
        report.push(match near {
            Some(near) if parent.section.as_deref() != Some(near) => told.with_help(format!("did you mean `{near}`?")),
            _ => told,
        });
        return;
    };
    report.push(told(refusal.reason()));
}

/// A listener whose certificate is of a namespace that does not consent is not served.
pub(super) fn drop_foreign_certificates(policy: &mut Policy, attachments: &Attachments, report: &mut Report) {
    for listener in &attachments.listeners {
        let Some((namespace, name)) = &listener.certificate else {
            continue;
        };
        if is_granted(
            attachments,
            ("Gateway", &listener.namespace),
            ("Secret", namespace, name),
        ) {
            continue;
        }
        let message = format!(
            "no `ReferenceGrant` of namespace {} lets gateways of {} refer to {}: listener {} is not served",
            quoted(namespace),
            quoted(&listener.namespace),
            quoted(name),
            quoted(&listener.name)
        );
        report.push(unresolved(&listener.origin, message));
        let own = policy
            .gateways
            .iter_mut()
            .filter(|gateway| gateway.meta.namespace == listener.namespace && gateway.meta.name == listener.gateway);
        for gateway in own {
            gateway.servers.retain(|server| server.port_name != listener.name);
        }
    }
}
