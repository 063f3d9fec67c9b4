//! Endpoints of services, and how they are talked to.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::facts::{Facts, differences};
use super::settings;
use super::{Area, Change, Kind, Sides};
use crate::explain::Place;
use crate::snapshot::{EndpointTls, ResolvedEndpoint, Snapshot, Target, TargetEndpoints};

/// The port that is asked for where a service says none.
const PLAIN_PORT: u16 = 80;

/// What there is to say of a service, subset and port.
struct Told {
    facts: Facts,
    place: Option<Place>,
}

/// Changes of all services that either policy's routes lead to.
pub(super) fn changes(sides: Sides<'_>) -> Vec<Change> {
    let (mut old, new) = (told(sides.old.snapshot), told(sides.new.snapshot));
    let mut changes = Vec::new();
    for (name, after) in new {
        let (kind, before) = match old.remove(&name) {
            Some(before) => (Kind::Changed, before),
            None => (Kind::Added, Told::nothing()),
        };
        changes.extend(change(name, kind, &before, &after));
    }
    for (name, before) in old {
        changes.extend(change(name, Kind::Removed, &before, &Told::nothing()));
    }
    changes.sort_by(|left, right| left.subject.cmp(&right.subject));
    changes
}

fn change(name: String, kind: Kind, old: &Told, new: &Told) -> Option<Change> {
    let mut facts = differences(&old.facts, &new.facts);
    if kind != Kind::Changed {
        // Where a service comes or goes, its settings do so with it.
        facts.retain(|fact| fact.field.starts_with("endpoint"));
    } else if facts.is_empty() {
        return None;
    }
    let mut change = Change::new(Area::Services, kind, name, facts);
    change.old = old.place.clone();
    change.new = new.place.clone();
    Some(change)
}

fn told(snapshot: &Snapshot) -> BTreeMap<String, Told> {
    let mut all = BTreeMap::new();
    for target in snapshot.targets.iter() {
        for port in ports(target) {
            let subset = target.subset.as_deref();
            let subset = subset.map(|subset| format!(" subset {subset}")).unwrap_or_default();
            all.insert(format!("{}:{port}{subset}", target.service), Told::new(target, port));
        }
    }
    all
}

/// The ports at which a target is asked: its own, else those of its service.
fn ports(target: &Target) -> Vec<u16> {
    let of_service: Vec<u16> = target.ports.iter().map(|port| port.number).collect();
    match (target.port, of_service.is_empty()) {
        (Some(port), _) => vec![port],
        (None, true) => {
            let mut ports: Vec<u16> = target.port_settings().collect();
            ports.push(PLAIN_PORT);
            ports
        }
        (None, false) => of_service,
    }
}

impl Told {
    const fn nothing() -> Self {
        Self {
            facts: Facts::new(),
            place: None,
        }
    }

    fn new(target: &Target, port: u16) -> Self {
        let resolved = target.resolve(port);
        let mut facts = settings::of_cluster(&resolved.settings);
        facts.insert("http".into(), json!(settings::word(&resolved.http)));
        if matches!(target.endpoints, TargetEndpoints::Undefined) {
            facts.insert("endpoints".into(), json!("the subset is not defined"));
        }
        for endpoint in &resolved.endpoints {
            endpoint_facts(endpoint, &mut facts);
        }
        Self {
            facts,
            place: Place::new(&target.origin),
        }
    }
}

fn endpoint_facts(endpoint: &ResolvedEndpoint, facts: &mut Facts) {
    let name = format!("endpoint {endpoint}");
    let mut told = vec![format!("weight {}", endpoint.weight), tls(&endpoint.tls)];
    if !endpoint.locality.is_empty() {
        told.push(format!("in {}", endpoint.locality));
    }
    // An address that is given twice is asked twice as often.
    let told = told.join(", ");
    let value = match facts.get(&name) {
        Some(Json::String(before)) => format!("{before}; {told}"),
        _ => told,
    };
    facts.insert(name, Json::String(value));
}

fn tls(tls: &EndpointTls) -> String {
    match tls {
        EndpointTls::Plain => "plain text".into(),
        EndpointTls::Mutual(ids) if ids.is_empty() => "mTLS".into(),
        EndpointTls::Mutual(ids) => {
            let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
            format!("mTLS as {}", ids.join(" or "))
        }
        EndpointTls::Origination(origination) => {
            let name = origination.sni.as_deref().unwrap_or("the request's host");
            let names = match origination.subject_alt_names.as_slice() {
                [] => String::new(),
                names => format!(" as {}", names.join(" or ")),
            };
            let mut text = format!("TLS to {name}{names}");
            for (what, file) in [
                ("authorities", origination.authorities.as_ref()),
                (
                    "certificate",
                    origination.certificate.as_ref().map(|(certificate, _)| certificate),
                ),
                ("credentials", origination.credential_name.as_ref()),
                ("revoked", origination.revoked.as_ref()),
            ] {
                text.extend(file.map(|file| format!(", {what} {file}")));
            }
            format!("{text}, {}", settings::word(&origination.verification))
        }
    }
}
