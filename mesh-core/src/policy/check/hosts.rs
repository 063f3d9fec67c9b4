//! Hosts that two tables route.

use std::collections::BTreeMap;

use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::route::{Binding, HostPattern, RouteTable, RuleOrder};
use crate::policy::model::{Export, Policy};

/// Warns of hosts that clients of the mesh find in two tables: only one of these is used.
///
/// Gateways are left out: they use the routes of all tables of a host, oldest first.
pub(super) fn check(policy: &Policy, report: &mut Report) {
    let mut tables: Vec<&RouteTable> = policy
        .routes
        .iter()
        .filter(|table| table.bindings.contains(&Binding::Mesh))
        .collect();
    tables.sort_by_key(|table| (table.order != RuleOrder::Specific, table.meta.precedence()));
    let mut claims: BTreeMap<&str, Vec<(&RouteTable, &HostPattern)>> = BTreeMap::new();
    for table in tables {
        for host in &table.hosts {
            let earlier = claims.entry(host.host.as_str()).or_default();
            let losing = earlier
                .iter()
                .find(|(winner, _)| share(&winner.export, &table.export) && !compete(winner, table));
            if let Some((winner, first)) = losing {
                report.push(shared(host, first, winner));
            }
            earlier.push((table, host));
        }
    }
}

/// Whether the rules of both are one list, or both are of one document.
fn compete(left: &RouteTable, right: &RouteTable) -> bool {
    left.meta.origin == right.meta.origin || (left.order == RuleOrder::Specific && right.order == RuleOrder::Specific)
}

/// Whether some namespace sees both.
fn share(left: &Export, right: &Export) -> bool {
    match (left, right) {
        (Export::Namespaces(names), other) | (other, Export::Namespaces(names)) => {
            names.iter().any(|name| other.includes(name))
        }
        (Export::All, Export::All) => true,
    }
}

fn shared(host: &HostPattern, first: &HostPattern, winner: &RouteTable) -> Diagnostic {
    let (name, namespace) = (quoted(&winner.meta.name), quoted(&winner.meta.namespace));
    let message = format!(
        "host {} is routed twice: the routes of {name} of namespace {namespace} are used, not these",
        quoted(&host.host)
    );
    Diagnostic::new(Code::SHARED_HOST, &host.origin, message)
        .with_label(&first.origin, "used")
        .with_help("put all routes of a host into one place: the oldest is used, then the first by name")
}
