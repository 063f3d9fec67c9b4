//! Names of subsets, gateways and services that nothing defines.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::Known;
use super::destinations::Distinct;
use crate::policy::diagnostic::{Code, Diagnostic, HELPED, Report, Severity, listed, nearest, quoted};
use crate::policy::model::route::{Binding, Destination, RuleOrder};
use crate::policy::model::traffic::DestinationPolicy;
use crate::policy::model::{Origin, OutboundMode, Policy};

/// Names that a message lists.
const LISTED: usize = 8;

pub(super) fn check(policy: &Policy, known: &Known, distinct: &Distinct, report: &mut Report) {
    let names = Names::of(policy);
    let settings = Settings::of(policy, &names);
    distinct.check(report, |destinations, report| {
        let all = policy.routes.iter().flat_map(|table| destinations.of(table));
        let all: Vec<&Destination> = all.filter(|one| one.unresolved.is_none()).collect();
        let mut undefined = BTreeSet::new();
        for destination in &all {
            check_subset((policy, known), (&settings, &mut undefined), destination, report);
        }
        if policy.mesh.outbound == OutboundMode::RegistryOnly && known.is_everything() {
            for destination in all {
                check_service(&names, destination, report);
            }
        }
    });
    check_gateways(policy, known, distinct, report);
}

/// Services by any of their names.
struct Names<'p>(BTreeMap<&'p str, &'p str>);

impl<'p> Names<'p> {
    fn of(policy: &'p Policy) -> Self {
        let mut names = BTreeMap::new();
        for service in &policy.services {
            let Some(full) = service.hosts.first() else { continue };
            for host in &service.hosts {
                names.entry(host.as_str()).or_insert(full.as_str());
            }
        }
        Self(names)
    }

    /// The full name of a host.
    fn full<'a>(&'a self, host: &'a str) -> &'a str {
        self.0.get(host).copied().unwrap_or(host)
    }
}

/// Settings of destinations by the full names of their hosts, so that those of one host are found without a look at all.
struct Settings<'p> {
    names: &'p Names<'p>,
    /// Each with its place in the policy.
    named: FxHashMap<&'p str, Vec<(usize, &'p DestinationPolicy)>>,
    /// Those of hosts with `*`, of which there are few.
    patterns: Vec<(usize, &'p DestinationPolicy)>,
}

impl<'p> Settings<'p> {
    fn of(policy: &'p Policy, names: &'p Names<'p>) -> Self {
        let mut settings = Self {
            names,
            named: FxHashMap::default(),
            patterns: Vec::new(),
        };
        for one in policy.destinations.iter().enumerate() {
            let host = one.1.host.as_str();
            match host.starts_with('*') {
                true => settings.patterns.push(one),
                false => settings.named.entry(names.full(host)).or_default().push(one),
            }
        }
        settings
    }

    /// Those of a host by its full name, as they stand in the policy.
    fn of_host(&self, host: &str) -> Vec<&'p DestinationPolicy> {
        let is_of = |(_, policy): &&(usize, &DestinationPolicy)| {
            let suffix = policy.host.strip_prefix('*');
            suffix.is_some_and(|suffix| host.len() > suffix.len() && host.ends_with(suffix))
        };
        let named = self.named.get(host).into_iter().flatten();
        let mut found: Vec<_> = named.chain(self.patterns.iter().filter(is_of)).collect();
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, policy)| *policy).collect()
    }
}

/// A subset must be one of those that the host has. Where no document says which it has, another set may: that is told
/// once for each host.
fn check_subset<'p>(
    (policy, known): (&Policy, &Known),
    (settings, undefined): (&Settings<'_>, &mut BTreeSet<&'p str>),
    destination: &'p Destination,
    report: &mut Report,
) {
    let Some(subset) = destination.subset.as_deref() else {
        return;
    };
    let host = settings.names.full(&destination.host);
    let policies = settings.of_host(host);
    if policies.iter().any(|policy| !known.is_whole(&policy.meta.origin)) {
        return;
    }
    let defined: BTreeSet<&str> = policies
        .iter()
        .flat_map(|policy| &policy.subsets)
        .map(|subset| subset.name.as_str())
        .collect();
    if defined.is_empty() && known.is_everything() && undefined.insert(&destination.host) {
        let (told, subset) = (quoted(&destination.host), quoted(subset));
        let message = format!("no file defines subsets of {told}, such as {subset}");
        let diagnostic = Diagnostic::new(Code::UNRESOLVED_REFERENCE, &destination.origin, message);
        let known = policy.destinations.iter().filter(|policy| !policy.subsets.is_empty());
        let near = match undefined.len() {
            ..=HELPED => nearest(host, known.map(|policy| policy.host.as_str())),
            _ => None,
        };
        report.push(match near {
            Some(near) => diagnostic.with_help(format!("did you mean a subset of {}?", quoted(near))),
            None => diagnostic.with_help(
                "requests to them are answered with 503 until a `DestinationRule`, or `subsets`, gives their labels",
            ),
        });
    }
    if defined.is_empty() || defined.contains(subset) {
        return;
    }
    let message = format!("{} has no subset {}", quoted(&destination.host), quoted(subset));
    let diagnostic = Diagnostic::new(Code::UNKNOWN_REFERENCE, &destination.origin, message);
    let place = policies.iter().find(|policy| !policy.subsets.is_empty());
    let diagnostic = match place {
        Some(policy) => diagnostic.with_label(&policy.meta.origin, "its subsets are defined here"),
        None => diagnostic,
    };
    report.push(with_known(diagnostic, subset, &defined));
}

/// A service must be known where requests to unknown hosts are refused.
fn check_service(names: &Names<'_>, destination: &Destination, report: &mut Report) {
    if names.0.contains_key(destination.host.as_str()) {
        return;
    }
    let message = format!(
        "no file defines the service {}, and the mesh calls known services only",
        quoted(&destination.host)
    );
    let diagnostic = Diagnostic::new(Code::UNKNOWN_REFERENCE, &destination.origin, message);
    let known: BTreeSet<&str> = names.0.values().copied().collect();
    report.push(with_known(diagnostic, &destination.host, &known));
}

/// A gateway must be one of those that the files define; where they define none, another set may.
fn check_gateways(policy: &Policy, known: &Known, distinct: &Distinct, report: &mut Report) {
    let defined: BTreeSet<String> = policy
        .gateways
        .iter()
        .map(|gateway| format!("{}/{}", gateway.meta.namespace, gateway.meta.name))
        .collect();
    let mut told: BTreeSet<&Origin> = BTreeSet::new();
    for table in &policy.routes {
        let rules = table.rules.iter().take(match distinct.has_bindings(table) {
            true => table.rules.len(),
            false => 0,
        });
        let in_matches = rules.flat_map(|rule| &rule.matches).flat_map(|one| &one.bindings);
        for binding in table.bindings.iter().chain(in_matches) {
            let Binding::Gateway {
                namespace,
                name,
                origin,
                ..
            } = binding
            else {
                continue;
            };
            let full = format!("{namespace}/{name}");
            if defined.contains(&full) || !known.is_everything() || !told.insert(origin) {
                continue;
            }
            let unknown = unknown_gateway(&full, origin, &defined);
            report.push(match table.order {
                // A route of Gateway API may have parents that nobody serves, and the others still do.
                RuleOrder::Specific => Diagnostic {
                    code: Code::UNRESOLVED_REFERENCE,
                    severity: Severity::Warning,
                    ..unknown
                },
                _ => unknown,
            });
        }
    }
}

fn unknown_gateway(gateway: &str, origin: &Origin, defined: &BTreeSet<String>) -> Diagnostic {
    let message = format!("no file defines the gateway {}", quoted(gateway));
    if defined.is_empty() {
        let help = "its routes are served where a file defines it";
        return Diagnostic::new(Code::UNRESOLVED_REFERENCE, origin, message).with_help(help);
    }
    let names = defined.iter().map(String::as_str).collect();
    with_known(
        Diagnostic::new(Code::UNKNOWN_REFERENCE, origin, message),
        gateway,
        &names,
    )
}

/// Adds the nearest name, or all of them.
pub(super) fn with_known(diagnostic: Diagnostic, name: &str, known: &BTreeSet<&str>) -> Diagnostic {
    if let Some(near) = nearest(name, known.iter().copied()) {
        return diagnostic.with_help(format!("did you mean `{near}`?"));
    }
    let names: Vec<&str> = known.iter().copied().collect();
    match names.len() {
        1..=LISTED => diagnostic.with_help(format!("expected {}", listed(&names))),
        _ => diagnostic,
    }
}
