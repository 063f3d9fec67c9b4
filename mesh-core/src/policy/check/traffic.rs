//! Settings of services that do not do what they seem to.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet;

use super::destinations::{Destinations, Distinct};
use super::modes::{Mode, Modes};
use crate::policy::diagnostic::{Code, Diagnostic, Report, listed, quoted};
use crate::policy::model::identity::MtlsMode;
use crate::policy::model::service::{EndpointSource, Location, Service};
use crate::policy::model::traffic::{ClientTls, DestinationPolicy, TrafficPolicy};
use crate::policy::model::{Origin, Policy, kubernetes_parts, selects};

pub(super) fn check(policy: &Policy, modes: &Modes<'_>, report: &mut Report) {
    let services = Services::of(policy);
    for one in &policy.destinations {
        check_ports(one, report);
        for (traffic, origin) in blocks(one) {
            check_tls(one, traffic, origin, (policy, modes, &services), report);
        }
        if let Some(endpoints) = services.endpoints(&one.host, policy) {
            check_ejection(one, endpoints, report);
        }
    }
}

/// All settings of a document, each with the nearest place that is known.
fn blocks(one: &DestinationPolicy) -> impl Iterator<Item = (&TrafficPolicy, &Origin)> {
    let own = std::iter::once((&one.traffic, &one.meta.origin));
    let ports = one.ports.iter().map(|(_, traffic)| (traffic, &one.meta.origin));
    let subsets = one.subsets.iter().flat_map(|subset| {
        let ports = subset.ports.iter().map(|(_, traffic)| traffic);
        std::iter::once(&subset.traffic)
            .chain(ports)
            .map(|traffic| (traffic, &subset.origin))
    });
    own.chain(ports).chain(subsets)
}

/// Services by their names.
struct Services<'p>(BTreeMap<&'p str, Vec<&'p Service>>);

impl<'p> Services<'p> {
    fn of(policy: &'p Policy) -> Self {
        let mut services: BTreeMap<&str, Vec<&Service>> = BTreeMap::new();
        for service in &policy.services {
            for host in &service.hosts {
                services.entry(host).or_default().push(service);
            }
        }
        Self(services)
    }

    /// How many endpoints a host has, where the files say it: addresses, not names.
    fn endpoints(&self, host: &str, policy: &Policy) -> Option<usize> {
        let [service] = self.0.get(host)?.as_slice() else {
            return None;
        };
        match &service.endpoints {
            EndpointSource::Listed(endpoints) => {
                let are_addresses = endpoints
                    .iter()
                    .all(|one| one.address.parse::<std::net::IpAddr>().is_ok());
                Some(endpoints.len()).filter(|_| are_addresses)
            }
            EndpointSource::Selected(labels) => {
                let entries = policy.workload_entries.iter();
                let of_service = entries.filter(|entry| entry.meta.namespace == service.meta.namespace);
                Some(
                    of_service
                        .filter(|entry| selects(labels, &entry.endpoint.labels))
                        .count(),
                )
            }
            EndpointSource::Dns => None,
        }
        .filter(|count| *count > 0)
    }

    fn is_external(&self, host: &str) -> bool {
        let services = self.0.get(host);
        services.is_some_and(|services| services.iter().any(|one| one.location == Location::MeshExternal))
    }
}

/// Settings of a port stand in place of those of the host, and not beside them.
fn check_ports(one: &DestinationPolicy, report: &mut Report) {
    let mut check = |outer: &TrafficPolicy, ports: &[(u16, TrafficPolicy)], origin: &Origin| {
        for (port, traffic) in ports {
            let dropped = dropped(outer, traffic);
            if dropped.is_empty() {
                continue;
            }
            let (verb, names) = (
                if dropped.len() == 1 { "is" } else { "are" },
                listed(&dropped).replace(" or ", " and "),
            );
            let message = format!("{names} of {} {verb} not in force for port {port}", quoted(&one.host));
            let diagnostic = Diagnostic::new(Code::PORT_STANDS_ALONE, origin, message);
            report.push(diagnostic.with_help("settings of a port are used alone: repeat what should hold there, too"));
        }
    };
    check(&one.traffic, &one.ports, &one.meta.origin);
    for subset in &one.subsets {
        check(&one.traffic, &subset.ports, &subset.origin);
    }
}

/// Blocks that the settings of a port leave out, by their names in a `DestinationRule`.
fn dropped(outer: &TrafficPolicy, port: &TrafficPolicy) -> Vec<&'static str> {
    let blocks = [
        ("loadBalancer", outer.balance.is_some() && port.balance.is_none()),
        ("connectionPool", outer.limits.is_some() && port.limits.is_none()),
        ("outlierDetection", outer.outliers.is_some() && port.outliers.is_none()),
        ("tls", outer.tls.is_some() && port.tls.is_none()),
    ];
    let dropped = blocks.into_iter().filter(|(_, is_dropped)| *is_dropped);
    dropped.map(|(name, _)| name).collect()
}

/// A share of few endpoints may be less than one of them. Of a single one none could take over.
fn check_ejection(one: &DestinationPolicy, endpoints: usize, report: &mut Report) {
    if endpoints < 2 {
        return;
    }
    for (traffic, origin) in blocks(one) {
        let Some(outliers) = &traffic.outliers else { continue };
        let percent = outliers.max_ejected_percent;
        if crate::decide::health::may_eject(0, endpoints, percent) || percent == 0 {
            continue;
        }
        let (host, needed) = (quoted(&one.host), 100_usize.div_ceil(endpoints));
        let message = format!(
            "no endpoint of {host} is ever ejected: it has {endpoints}, and at most {percent} % of them may be"
        );
        let help = format!("let {needed} % or more be ejected");
        report.push(Diagnostic::new(Code::NEVER_EJECTS, origin, message).with_help(help));
    }
}

/// What a client speaks must be something that the server takes.
fn check_tls(
    one: &DestinationPolicy,
    traffic: &TrafficPolicy,
    origin: &Origin,
    (policy, modes, services): (&Policy, &Modes<'_>, &Services<'_>),
    report: &mut Report,
) {
    let (speaks, refused) = match &traffic.tls {
        Some(ClientTls::Disable) => ("plain text", MtlsMode::Strict),
        Some(ClientTls::IstioMutual { .. }) => ("mTLS", MtlsMode::Disable),
        _ => return,
    };
    if services.is_external(&one.host) {
        return;
    }
    let Some(mode) = mode_of(&one.host, policy, modes).filter(|mode| mode.mode == refused) else {
        return;
    };
    let takes = match refused {
        MtlsMode::Strict => "mTLS",
        _ => "plain text",
    };
    let message = format!("{} is called with {speaks}, and takes {takes} only", quoted(&one.host));
    let diagnostic = Diagnostic::new(Code::TLS_MODES_DIFFER, origin, message);
    let diagnostic = match mode.origin {
        Some(origin) => diagnostic.with_label(origin, "the mode"),
        None => diagnostic,
    };
    report.push(diagnostic.with_help("without `tls`, callers speak what the server takes"));
}

/// The mode of all workloads behind a host, where the files say it.
fn mode_of<'p>(host: &str, policy: &Policy, modes: &Modes<'p>) -> Option<Mode<'p>> {
    let domain = &policy.mesh.cluster_domain;
    if let Some((_, namespace)) = kubernetes_parts(host, domain) {
        let namespace = namespace.strip_prefix("*.").unwrap_or(namespace);
        return modes.of_all(namespace);
    }
    let suffix = host.strip_prefix('*')?;
    let rest = format!(".svc.{domain}");
    let of_mesh = rest.ends_with(suffix) || suffix == rest;
    of_mesh.then(|| modes.of_mesh())
}

/// Hosts with one dot are not completed: `orders.shop` is a name for DNS, and no service of the namespace `shop`.
pub(super) fn check_names(policy: &Policy, distinct: &Distinct, report: &mut Report) {
    let services = Services::of(policy);
    let namespaces: BTreeSet<&str> = namespaces(policy).collect();
    distinct.check(report, |destinations, report| {
        check_completed((policy, &services, &namespaces), destinations, report);
    });
}

fn check_completed(
    (policy, services, namespaces): (&Policy, &Services<'_>, &BTreeSet<&str>),
    destinations: Destinations<'_>,
    report: &mut Report,
) {
    let mut told: BTreeSet<(&str, &Origin)> = BTreeSet::new();
    let mut complete: FxHashSet<&str> = FxHashSet::default();
    // Most rules go where the one before goes.
    let mut last = "";
    for (host, origin) in named(policy, destinations) {
        if host == last || !host.contains('.') || complete.contains(host) {
            last = host;
            continue;
        }
        let Some((_, namespace)) = host.split_once('.').filter(|(name, _)| *name != "*") else {
            continue;
        };
        let full = format!("{host}.svc.{}", policy.mesh.cluster_domain);
        let is_meant = services.0.contains_key(full.as_str()) || namespaces.contains(namespace);
        if !is_meant || services.0.contains_key(host) {
            complete.insert(host);
            continue;
        }
        if !told.insert((host, origin)) {
            continue;
        }
        let message = format!("host {} is not completed: it has a dot", quoted(host));
        let help = format!("write `{full}`");
        report.push(Diagnostic::new(Code::HOST_NOT_COMPLETED, origin, message).with_help(help));
    }
}

/// Every host that a document names, and where.
fn named<'p>(policy: &'p Policy, destinations: Destinations<'_>) -> impl Iterator<Item = (&'p str, &'p Origin)> {
    let tables = policy.routes.iter();
    let hosts = tables
        .clone()
        .flat_map(|table| &table.hosts)
        .map(|one| (one.host.as_str(), &one.origin));
    let rules = tables.clone().flat_map(move |table| destinations.of(table));
    let streams = tables
        .flat_map(|table| table.tls.iter().chain(&table.tcp))
        .flat_map(|rule| &rule.destinations);
    let destinations = rules.chain(streams).map(|one| (one.host.as_str(), &one.origin));
    let settings = policy
        .destinations
        .iter()
        .map(|one| (one.host.as_str(), &one.meta.origin));
    hosts.chain(destinations).chain(settings)
}

fn namespaces(policy: &Policy) -> impl Iterator<Item = &str> {
    let services = policy.services.iter().map(|one| &one.meta);
    let routes = policy.routes.iter().map(|one| &one.meta);
    let rules = policy.destinations.iter().map(|one| &one.meta);
    services.chain(routes).chain(rules).map(|meta| meta.namespace.as_str())
}
