//! Services, ports and subsets that nothing defines or that are empty, as far as the files define services at all.

use std::collections::{BTreeMap, BTreeSet};

use super::destinations::{Destinations, Distinct};
use crate::policy::diagnostic::{Code, Diagnostic, HELPED, Report, listed, nearest, quoted};
use crate::policy::model::route::Destination;
use crate::policy::model::service::{EndpointSource, Protocol, Service};
use crate::policy::model::traffic::{DestinationPolicy, Subset};
use crate::policy::model::{Export, Labels, Origin, OutboundMode, Policy, kubernetes_parts, selects};

/// Ports that a message lists.
const LISTED: usize = 8;

pub(super) fn check(policy: &Policy, distinct: &Distinct, report: &mut Report) {
    let registry = Registry::of(policy);
    distinct.check(report, |destinations, report| {
        check_hosts(&registry, destinations, report)
    });
    let subsets = policy
        .destinations
        .iter()
        .flat_map(|one| one.subsets.iter().map(move |subset| (one, subset)));
    for (one, subset) in subsets {
        check_subset(
            (&one.host, &subset.name, &subset.labels),
            &subset.origin,
            &registry,
            report,
        );
    }
    check_protocols(&registry, report);
}

/// Hosts that routes and settings name.
fn check_hosts(registry: &Registry<'_>, destinations: Destinations<'_>, report: &mut Report) {
    let policy = registry.policy;
    let mut unknown = Unknown::default();
    let mut unlisted = BTreeSet::new();
    for table in &policy.routes {
        let namespace = table.meta.namespace.as_str();
        let streams = table.tls.iter().chain(&table.tcp).flat_map(|rule| &rule.destinations);
        // Most rules go where the one before goes.
        let mut last = ("", Found::Elsewhere);
        let all = destinations.of(table).into_iter().chain(streams);
        for destination in all.filter(|one| one.unresolved.is_none()) {
            if last.0 != destination.host {
                last = (&destination.host, registry.find(&destination.host, namespace));
            }
            match last.1 {
                Found::Services(services) => check_port(destination, services, report),
                Found::Absent => {
                    unknown.tell(&destination.host, &destination.origin, registry, report);
                    continue;
                }
                Found::Elsewhere => {}
            }
            if let Some(subset) = registry.unlisted(destination)
                && unlisted.insert(destination.host.as_str())
            {
                report.push(without_labels(destination, subset));
            }
        }
    }
    for one in &policy.destinations {
        if let Found::Absent = registry.find(&one.host, &one.meta.namespace) {
            unknown.tell(&one.host, &one.meta.origin, registry, report);
        }
    }
}

/// What the files define.
struct Registry<'p> {
    policy: &'p Policy,
    names: BTreeMap<&'p str, Vec<&'p Service>>,
    /// Settings by the host that they are written for.
    settings: BTreeMap<&'p str, Vec<&'p DestinationPolicy>>,
    /// Namespaces with services of their own: their other services would be here, too.
    namespaces: BTreeSet<&'p str>,
}

/// What is known of a host.
#[derive(Clone, Copy)]
enum Found<'r, 'p> {
    Services(&'r [&'p Service]),
    /// Others of its namespace are defined, it is not.
    Absent,
    /// Another place may define it.
    Elsewhere,
}

impl<'p> Registry<'p> {
    fn of(policy: &'p Policy) -> Self {
        let mut names: BTreeMap<&str, Vec<&Service>> = BTreeMap::new();
        for service in &policy.services {
            for host in &service.hosts {
                names.entry(host).or_default().push(service);
            }
        }
        let mut settings: BTreeMap<&str, Vec<&DestinationPolicy>> = BTreeMap::new();
        for one in &policy.destinations {
            settings.entry(&one.host).or_default().push(one);
        }
        let domain = &policy.mesh.cluster_domain;
        let namespaces = names.keys().filter_map(|host| Some(kubernetes_parts(host, domain)?.1));
        Self {
            policy,
            namespaces: namespaces.collect(),
            names,
            settings,
        }
    }

    fn find(&self, host: &str, caller: &str) -> Found<'_, 'p> {
        if let Some(services) = self.names.get(host) {
            let are_seen = services.iter().any(|service| service.export.includes(caller));
            return match are_seen {
                true => Found::Services(services),
                false => Found::Elsewhere,
            };
        }
        // The mesh that calls known services only has told it as an error.
        let is_told = self.policy.mesh.outbound == OutboundMode::RegistryOnly;
        if is_told || host.contains('*') {
            return Found::Elsewhere;
        }
        let namespace = kubernetes_parts(host, &self.policy.mesh.cluster_domain).map(|(_, namespace)| namespace);
        match namespace.is_some_and(|namespace| self.namespaces.contains(namespace)) {
            true => Found::Absent,
            false => Found::Elsewhere,
        }
    }

    /// The service of the same namespace whose name is most like the host's.
    fn near(&self, host: &str) -> Option<&'p str> {
        let (name, domain) = host.split_once('.')?;
        let names = self.names.keys().filter_map(|known| known.split_once('.'));
        let near = nearest(name, names.filter(|(_, of)| *of == domain).map(|(name, _)| name))?;
        self.names
            .get_key_value(format!("{near}.{domain}").as_str())
            .map(|(name, _)| *name)
    }

    /// The subset that a destination names, where it is chosen by labels and no file lists endpoints that have any.
    fn unlisted(&self, destination: &Destination) -> Option<&'p Subset> {
        let name = destination.subset.as_deref()?;
        let of_host = self.settings.get(destination.host.as_str())?;
        let mut subsets = of_host.iter().flat_map(|one| &one.subsets);
        let subset = subsets.find(|subset| subset.name == name && !subset.labels.is_empty())?;
        self.endpoints(&destination.host).is_none().then_some(subset)
    }

    /// The labels of the endpoints of a host, where the files say all of them.
    fn endpoints(&self, host: &str) -> Option<Vec<&'p Labels>> {
        let mut labels = Vec::new();
        for service in self.names.get(host)? {
            match &service.endpoints {
                EndpointSource::Listed(endpoints) => labels.extend(endpoints.iter().map(|one| &one.labels)),
                EndpointSource::Selected(selector) => {
                    let entries = self.policy.workload_entries.iter();
                    let own = entries.filter(|entry| entry.meta.namespace == service.meta.namespace);
                    let own = own.map(|entry| &entry.endpoint.labels);
                    labels.extend(own.filter(|labels| selects(selector, labels)));
                }
                EndpointSource::Dns => return None,
            }
        }
        Some(labels).filter(|labels| !labels.is_empty())
    }
}

/// Hosts that were told.
#[derive(Default)]
struct Unknown<'p> {
    told: BTreeSet<(&'p str, &'p Origin)>,
}

impl<'p> Unknown<'p> {
    fn tell(&mut self, host: &'p str, origin: &'p Origin, registry: &Registry<'_>, report: &mut Report) {
        if !self.told.insert((host, origin)) {
            return;
        }
        let message = format!(
            "no file defines the service {}, as others of its namespace",
            quoted(host)
        );
        let diagnostic = Diagnostic::new(Code::UNRESOLVED_REFERENCE, origin, message);
        let near = match self.told.len() {
            ..=HELPED => registry.near(host),
            _ => None,
        };
        report.push(match near {
            Some(near) => diagnostic.did_you_mean(near),
            None => diagnostic.with_help("DNS resolves it, if another place defines it"),
        });
    }
}

/// A port must be one of the service's, where these are listed.
fn check_port(destination: &Destination, services: &[&Service], report: &mut Report) {
    let Some(port) = destination.port else { return };
    let mut known = BTreeSet::new();
    for service in services {
        if service.ports.is_empty() {
            return;
        }
        known.extend(service.ports.iter().map(|one| one.number));
    }
    if known.contains(&port) {
        return;
    }
    let message = format!("{} has no port {port}", quoted(&destination.host));
    let diagnostic = Diagnostic::new(Code::UNRESOLVED_REFERENCE, &destination.origin, message);
    let known: Vec<String> = known.iter().map(u16::to_string).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    report.push(match known.len() {
        ..=LISTED => diagnostic.with_help(format!("expected {}", listed(&known))),
        _ => diagnostic,
    });
}

/// Requests to a subset without endpoints are answered with 503.
fn check_subset(
    (host, name, labels): (&str, &str, &Labels),
    origin: &Origin,
    registry: &Registry<'_>,
    report: &mut Report,
) {
    let Some(endpoints) = registry.endpoints(host) else {
        return;
    };
    if endpoints.iter().any(|endpoint| selects(labels, endpoint)) {
        return;
    }
    let message = format!("subset {} of {} has no endpoint", quoted(name), quoted(host));
    let wanted: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let help = format!("no endpoint of the host has the labels {}", quoted(&wanted.join(", ")));
    report.push(Diagnostic::new(Code::EMPTY_SUBSET, origin, message).with_help(help));
}

/// Names that DNS resolves have no labels, so that a subset of them is empty.
fn without_labels(destination: &Destination, subset: &Subset) -> Diagnostic {
    let host = quoted(&destination.host);
    let message = format!(
        "subset {} of {host} has no endpoint: no file lists those of the host",
        quoted(&subset.name)
    );
    let help = "list them with their labels, in `services`, a `ServiceEntry` or an `EndpointSlice`: DNS gives no labels, and \
                requests to its subsets are answered with 503";
    let diagnostic = Diagnostic::new(Code::EMPTY_SUBSET, &destination.origin, message);
    diagnostic.with_label(&subset.origin, "the subset").with_help(help)
}

/// Documents of one host are one service; a port of it has one protocol.
fn check_protocols(registry: &Registry<'_>, report: &mut Report) {
    for (host, services) in &registry.names {
        let mut ports: BTreeMap<u16, Vec<(Protocol, &Service)>> = BTreeMap::new();
        for service in services {
            for port in &service.ports {
                let earlier = ports.entry(port.number).or_default();
                let differs = |(protocol, first): &&(Protocol, &Service)| {
                    *protocol != port.protocol && meet(&first.export, &service.export)
                };
                if let Some((_, first)) = earlier.iter().find(differs) {
                    let message = format!("port {} of {} has two protocols", port.number, quoted(host));
                    let diagnostic = Diagnostic::new(Code::PROTOCOLS_DIFFER, &service.meta.origin, message);
                    let diagnostic = diagnostic.with_label(&first.meta.origin, "another one is given here");
                    report.push(diagnostic.with_help("give the port one protocol, or let no namespace see both"));
                }
                if !earlier
                    .iter()
                    .any(|(protocol, first)| (*protocol, &first.export) == (port.protocol, &service.export))
                {
                    earlier.push((port.protocol, service));
                }
            }
        }
    }
}

/// Whether some namespace sees both.
fn meet(left: &Export, right: &Export) -> bool {
    match (left, right) {
        (Export::Namespaces(names), other) | (other, Export::Namespaces(names)) => {
            names.iter().any(|name| other.includes(name))
        }
        (Export::All, Export::All) => true,
    }
}
