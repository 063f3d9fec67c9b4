//! Routes of services, for the clients of the mesh.

use std::collections::BTreeMap;

use crate::policy::diagnostic::{Report, quoted};
use crate::policy::model::attachment::{Parent, ParentKind, PendingRoute, RouteKind};
use crate::policy::model::route::{Binding, Destination, HostPattern, RouteMatch, RouteTable};
use crate::policy::model::{Export, Policy};

use super::conflicts::Accepted;
use super::{no_effect, unresolved};

/// Whose routes they are: the service's, of its own namespace, or those of one namespace of callers.
type Audience = Option<String>;

/// The services of the mesh, with the routes that they have already.
pub(super) struct Mesh {
    /// Hosts of objects such as `ServiceEntry`, by namespace and name.
    hosts: BTreeMap<(String, String), Vec<String>>,
    cluster_domain: String,
    accepted: BTreeMap<(String, Audience), Accepted>,
}

impl Mesh {
    pub(super) fn new(policy: &Policy) -> Self {
        let mut hosts: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for service in &policy.services {
            let key = (service.meta.namespace.clone(), service.meta.name.clone());
            hosts.entry(key).or_default().extend(service.hosts.iter().cloned());
        }
        Self {
            hosts,
            cluster_domain: policy.mesh.cluster_domain.clone(),
            accepted: BTreeMap::new(),
        }
    }

    /// The tables of a route, one a service.
    pub(super) fn attach(&mut self, route: &PendingRoute, report: &mut Report) -> Vec<RouteTable> {
        let mut by_host: BTreeMap<(String, Audience), Vec<&Parent>> = BTreeMap::new();
        for parent in route.parents.iter().filter(|parent| is_of_mesh(parent)) {
            for host in self.hosts_of(parent, report) {
                let audience = audience(route, parent);
                if self.accept(route, parent, (&host, &audience), report) {
                    by_host.entry((host, audience)).or_default().push(parent);
                }
            }
        }
        let in_mesh_only = !by_host.is_empty() && route.parents.iter().all(|parent| parent.kind != ParentKind::Gateway);
        let is_stream = matches!(route.kind, RouteKind::Tls | RouteKind::Tcp);
        if let Some(host) = route.table.hosts.first().filter(|_| in_mesh_only && !is_stream) {
            let message =
                "`hostnames` has no effect for parents that are services: requests are taken by the service's name";
            report.push(no_effect(&host.origin, message));
        }
        let tables = by_host.into_iter();
        tables
            .map(|((host, audience), parents)| table(route, host, audience, &parents))
            .collect()
    }

    fn hosts_of(&self, parent: &Parent, report: &mut Report) -> Vec<String> {
        if parent.section.is_some() {
            let message = "`sectionName` has no effect for a parent that is a service: name its `port`";
            report.push(no_effect(&parent.origin, message));
        }
        if parent.kind == ParentKind::Service {
            return vec![format!(
                "{}.{}.svc.{}",
                parent.name, parent.namespace, self.cluster_domain
            )];
        }
        let key = (parent.namespace.clone(), parent.name.clone());
        let Some(hosts) = self.hosts.get(&key) else {
            if !report.has_errors() {
                let message = format!("no file defines the `ServiceEntry` {}", quoted(&parent.name));
                report.push(unresolved(&parent.origin, message));
            }
            return Vec::new();
        };
        hosts.clone()
    }

    fn accept(
        &mut self,
        route: &PendingRoute,
        parent: &Parent,
        (host, audience): (&str, &Audience),
        report: &mut Report,
    ) -> bool {
        let accepted = self.accepted.entry((host.to_owned(), audience.clone())).or_default();
        // Ports overlap as patterns of hosts do: `*` is all of them.
        let port = parent.port.map_or_else(|| "*".to_owned(), |port| port.to_string());
        accepted.accept(route, vec![port], &parent.origin, report)
    }
}

/// Whether a parent is called by the clients of the mesh.
const fn is_of_mesh(parent: &Parent) -> bool {
    matches!(parent.kind, ParentKind::Service | ParentKind::ServiceEntry)
}

/// A route of the service's own namespace is for all callers, another one for those of its namespace.
fn audience(route: &PendingRoute, parent: &Parent) -> Audience {
    let own = &route.table.meta.namespace;
    (*own != parent.namespace).then(|| own.clone())
}

fn table(route: &PendingRoute, host: String, audience: Audience, parents: &[&Parent]) -> RouteTable {
    let mut table = route.table.clone();
    let origin = parents.first().map(|parent| parent.origin.clone()).unwrap_or_default();
    table.hosts = vec![HostPattern { host, origin }];
    table.bindings = vec![Binding::Mesh];
    for rule in table
        .rules
        .iter_mut()
        .filter(|rule| rule.destinations.is_empty() && rule.answer.is_none())
    {
        rule.destinations = vec![itself(&table.hosts)];
    }
    table.export = match audience {
        None => Export::All,
        Some(namespace) => Export::Namespaces(vec![namespace]),
    };
    let ports: Option<Vec<u16>> = parents.iter().map(|parent| parent.port).collect();
    if let Some(ports) = ports {
        for rule in &mut table.rules {
            rule.matches = at_ports(&rule.matches, &ports);
        }
    }
    table
}

/// The service that a route is for, where the route names no backend and its dialect lets it.
fn itself(hosts: &[HostPattern]) -> Destination {
    let host = hosts.first().cloned().unwrap_or_default();
    Destination {
        host: host.host,
        origin: host.origin,
        weight: 1,
        ..Destination::default()
    }
}

/// Each match for each port.
fn at_ports(matches: &[RouteMatch], ports: &[u16]) -> Vec<RouteMatch> {
    let at = |port: u16| {
        matches.iter().map(move |one| RouteMatch {
            port: Some(port),
            ..one.clone()
        })
    };
    ports.iter().flat_map(|port| at(*port)).collect()
}
