//! Items that are valid alone, and of which only the oldest counts beside others for the same.

use std::collections::BTreeMap;

use super::oldest_first;
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::service::Service;
use crate::policy::model::traffic::{DestinationPolicy, TrafficPolicy};
use crate::policy::model::{Export, Meta, Origin, Policy, kubernetes_parts};

const HELP: &str = "keep one of them: the oldest is used, then the first by name";

pub(super) fn check(policy: &Policy, report: &mut Report) {
    check_modes(policy, report);
    check_settings(policy, report);
    check_subsets(policy, report);
    check_services(policy, report);
}

/// A name belongs to the documents of one namespace; a winner that only some see leaves it to others elsewhere.
fn check_services(policy: &Policy, report: &mut Report) {
    let mut defined: BTreeMap<&str, Vec<&Service>> = BTreeMap::new();
    for service in &policy.services {
        for host in &service.hosts {
            defined.entry(host).or_default().push(service);
        }
    }
    for (host, services) in defined {
        let named = kubernetes_parts(host, &policy.mesh.cluster_domain).map(|(_, namespace)| namespace);
        let winner = services.iter().min_by_key(|service| service.claim(host, named));
        let Some(winner) = winner.filter(|winner| winner.export == Export::All) else {
            continue;
        };
        for one in services.iter().filter(|one| !one.is_one_with(winner, host)) {
            let namespace = quoted(&one.meta.namespace);
            let message = format!("host {} has no effect in namespace {namespace}", quoted(host));
            report.push(shadowed(&one.meta.origin, &message, &winner.meta));
        }
    }
}

/// Of several modes for the same workloads one counts; selectors that differ may still pick the same workload.
fn check_modes(policy: &Policy, report: &mut Report) {
    let mut first = BTreeMap::new();
    for one in oldest_first(&policy.peer_authentications, |one| &one.meta) {
        let winner = *first.entry((&one.meta.namespace, &one.selector)).or_insert(one);
        let differs = (one.mode, &one.ports) != (winner.mode, &winner.ports);
        if differs && is_told(&one.meta, &winner.meta, report) {
            let message = format!("the modes of {} have no effect", quoted(&one.meta.name));
            report.push(shadowed(&one.meta.origin, &message, &winner.meta));
        }
    }
}

/// Settings of a host come from one document of a namespace, as in Istio.
fn check_settings(policy: &Policy, report: &mut Report) {
    let mut first = BTreeMap::new();
    let sets = |one: &&DestinationPolicy| one.traffic != TrafficPolicy::default() || !one.ports.is_empty();
    let setting = oldest_first(&policy.destinations, |one| &one.meta);
    for one in setting.into_iter().filter(sets) {
        let winner = *first
            .entry((&one.meta.namespace, &one.host, &one.workloads))
            .or_insert(&one.meta);
        if is_told(&one.meta, winner, report) {
            let message = format!(
                "the settings of {} for host {} have no effect",
                quoted(&one.meta.name),
                quoted(&one.host)
            );
            report.push(shadowed(&one.meta.origin, &message, winner));
        }
    }
}

/// The subsets of a host are those of all documents of a namespace, each by the oldest that has it.
fn check_subsets(policy: &Policy, report: &mut Report) {
    let mut first = BTreeMap::new();
    for one in oldest_first(&policy.destinations, |one| &one.meta) {
        for subset in &one.subsets {
            let key = (&one.meta.namespace, &one.host, &one.workloads, &subset.name);
            let winner = *first.entry(key).or_insert(&one.meta);
            if is_told(&one.meta, winner, report) {
                let message = format!(
                    "subset {} of host {} has no effect",
                    quoted(&subset.name),
                    quoted(&one.host)
                );
                report.push(shadowed(&subset.origin, &message, winner));
            }
        }
    }
}

/// Whether the second of two is told; of two that have the same name and kind an error was reported already.
fn is_told(one: &Meta, winner: &Meta, report: &Report) -> bool {
    let is_other = one.origin != winner.origin;
    is_other && (one.name != winner.name || !report.has_errors())
}

fn shadowed(origin: &Origin, message: &str, winner: &Meta) -> Diagnostic {
    let message = format!("{message}: {} is used", quoted(&winner.name));
    Diagnostic::new(Code::NO_EFFECT, origin, message)
        .with_label(&winner.origin, "used")
        .with_help(HELP)
}
