//! Hosts that their gateways do not serve.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::Policy;
use crate::policy::model::gateway::{Gateway, Listeners};
use crate::policy::model::route::{Binding, RouteTable, RuleOrder};

pub(super) fn check(policy: &Policy, report: &mut Report) {
    let mut gateways: BTreeMap<(&str, &str), Served<'_>> = BTreeMap::new();
    for gateway in policy.gateways.iter().filter(|one| one.listeners == Listeners::Merged) {
        let name = (gateway.meta.namespace.as_str(), gateway.meta.name.as_str());
        gateways.insert(name, Served::of(gateway));
    }
    for table in policy.routes.iter().filter(|table| table.order != RuleOrder::Specific) {
        check_table(table, &gateways, report);
    }
}

fn check_table(table: &RouteTable, gateways: &BTreeMap<(&str, &str), Served<'_>>, report: &mut Report) {
    let mut serving = Vec::new();
    for binding in &table.bindings {
        let Binding::Gateway { namespace, name, .. } = binding else {
            continue;
        };
        match gateways.get(&(namespace.as_str(), name.as_str())) {
            Some(served) => serving.push(served),
            // What is not here may serve any host.
            None => return,
        }
    }
    if serving.is_empty() || table.bindings.contains(&Binding::Mesh) {
        return;
    }
    for host in &table.hosts {
        let is_served = serving
            .iter()
            .any(|served| served.serves(&host.host, &table.meta.namespace));
        if is_served {
            continue;
        }
        let message = format!("no gateway of these routes serves the host {}", quoted(&host.host));
        let diagnostic = Diagnostic::new(Code::HOST_NOT_SERVED, &host.origin, message);
        let diagnostic = match serving.first() {
            Some(served) => diagnostic.with_label(&served.gateway.meta.origin, "its hosts are given here"),
            None => diagnostic,
        };
        report.push(diagnostic.with_help("name the host in a server of the gateway, or route it by another one"));
    }
}

/// The hosts of a gateway, written backwards, so that what ends alike stands together.
struct Served<'p> {
    gateway: &'p Gateway,
    names: BTreeSet<(Option<&'p str>, String)>,
    suffixes: BTreeSet<(Option<&'p str>, String)>,
}

impl<'p> Served<'p> {
    fn of(gateway: &'p Gateway) -> Self {
        let mut served = Self {
            gateway,
            names: BTreeSet::new(),
            suffixes: BTreeSet::new(),
        };
        for host in gateway.servers.iter().flat_map(|server| &server.hosts) {
            let namespace = host.namespace.as_deref();
            let (suffix, is_pattern) = split(&host.host);
            served.names.insert((namespace, backwards(suffix)));
            if is_pattern {
                served.suffixes.insert((namespace, backwards(suffix)));
            }
        }
        served
    }

    /// Whether some host is meant by both.
    fn serves(&self, host: &str, namespace: &str) -> bool {
        let (suffix, is_pattern) = split(host);
        let text = backwards(suffix);
        [None, Some(namespace)].into_iter().any(|namespace| {
            let wider = text.char_indices().map(|(index, _)| index).chain([text.len()]);
            let mut wider = wider.filter_map(|end| text.get(..end));
            let is_covered = wider.any(|part| self.suffixes.contains(&(namespace, part.to_owned())));
            let key = (namespace, text.clone());
            let narrower = || self.names.range(key.clone()..).next();
            let covers = || narrower().is_some_and(|(of, name)| *of == namespace && name.starts_with(&text));
            is_covered || self.names.contains(&key) || (is_pattern && covers())
        })
    }
}

fn split(host: &str) -> (&str, bool) {
    host.strip_prefix('*').map_or((host, false), |suffix| (suffix, true))
}

fn backwards(text: &str) -> String {
    text.chars().rev().collect()
}
