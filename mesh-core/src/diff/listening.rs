//! What a workload's own ports take, and those of the gateways that it serves.

use std::collections::BTreeSet;

use serde_json::json;

use super::facts::{Facts, differences};
use super::{Area, Change, Kind, Side, Sides};
use crate::explain::Place;
use crate::snapshot::GatewayConfig;

/// Changes of the mTLS modes.
pub(super) fn of_ports(sides: Sides<'_>) -> Vec<Change> {
    let named = named_ports(sides);
    let other = other_port(&named);
    let mut changes = Vec::new();
    for port in named.iter().copied().chain([other]) {
        let (old, from) = sides.old.snapshot.inbound.mtls(port);
        let (new, to) = sides.new.snapshot.inbound.mtls(port);
        let facts = |mode| Facts::from([("mtls".to_owned(), json!(mode))]);
        let facts = differences(&facts(old), &facts(new));
        if facts.is_empty() {
            continue;
        }
        let subject = match (port == other, named.is_empty()) {
            (true, true) => "all ports".into(),
            (true, false) => "all other ports".into(),
            _ => format!("port {port}"),
        };
        let mut change = Change::new(Area::Mtls, Kind::Changed, subject, facts);
        (change.old, change.new) = (Place::new(from), Place::new(to));
        changes.push(change);
    }
    changes
}

/// The ports that either policy names.
fn named_ports(sides: Sides<'_>) -> BTreeSet<u16> {
    let policies = [sides.old, sides.new].into_iter();
    let documents = policies.flat_map(|side| &side.policy.peer_authentications);
    documents.flat_map(|one| one.ports.keys().copied()).collect()
}

/// A port that no policy names.
pub(super) fn other_port(named: &BTreeSet<u16>) -> u16 {
    let mut ports = [80, 8080].into_iter().chain(1..);
    ports.find(|port| !named.contains(port)).unwrap_or_default()
}

/// Changes of the gateways' ports and certificates; their routes are told with the routes.
pub(super) fn of_gateways(sides: Sides<'_>) -> Vec<Change> {
    let gateways = |side: Side<'_>| -> BTreeSet<String> {
        side.snapshot
            .gateways
            .iter()
            .map(|gateway| gateway.name.clone())
            .collect()
    };
    let mut changes = Vec::new();
    for name in gateways(sides.old).union(&gateways(sides.new)) {
        let find = |side: Side<'_>| -> Option<Place> {
            let found = side.snapshot.gateways.iter().find(|gateway| gateway.name == *name)?;
            Place::new(&found.origin)
        };
        let facts = |side: Side<'_>| {
            let found = side.snapshot.gateways.iter().find(|gateway| gateway.name == *name);
            found.map(gateway_facts).unwrap_or_default()
        };
        let (old, new) = (facts(sides.old), facts(sides.new));
        let kind = match (old.is_empty(), new.is_empty()) {
            (true, false) => Kind::Added,
            (false, true) => Kind::Removed,
            _ => Kind::Changed,
        };
        let facts = differences(&old, &new);
        if !facts.is_empty() {
            let mut change = Change::new(Area::Gateways, kind, name.clone(), facts);
            (change.old, change.new) = (find(sides.old), find(sides.new));
            changes.push(change);
        }
    }
    changes
}

fn gateway_facts(gateway: &GatewayConfig) -> Facts {
    let mut facts = Facts::new();
    for port in &gateway.ports {
        let name = format!("port {}", port.number);
        if port.tls.is_empty() {
            facts.insert(name, json!("plain text"));
            continue;
        }
        for server in &port.tls {
            let mut hosts = server.hosts.clone();
            hosts.sort();
            let certificate = format!("certificate {}", server.tls.credential_name);
            facts.insert(format!("{name} {}", hosts.join(", ")), json!(certificate));
        }
    }
    facts
}
