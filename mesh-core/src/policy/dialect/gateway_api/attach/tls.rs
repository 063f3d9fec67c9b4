//! TLS to services: of several policies for one target the first counts, and one for a port counts there.

use std::collections::BTreeMap;

use crate::policy::diagnostic::{Report, quoted};
use crate::policy::model::attachment::{Attachments, PendingTls};
use crate::policy::model::traffic::{ClientTls, DestinationPolicy, TrafficPolicy};
use crate::policy::model::{Meta, Policy};

use super::{Services, age, no_effect, unresolved};

pub(super) fn resolve(services: &Services, attachments: &mut Attachments, policy: &mut Policy, report: &mut Report) {
    let mut pending = std::mem::take(&mut attachments.tls);
    pending.sort_by(|one, other| age(&one.meta).cmp(&age(&other.meta)));
    let mut taken: BTreeMap<(String, Option<String>), Meta> = BTreeMap::new();
    let mut found: BTreeMap<String, DestinationPolicy> = BTreeMap::new();
    for one in pending {
        let key = (one.host.clone(), one.section.clone());
        if let Some(winner) = taken.get(&key) {
            let message = format!(
                "the policy has no effect for {}: {} is used",
                quoted(&one.host),
                quoted(&winner.name)
            );
            report.push(no_effect(&one.origin, message).with_label(&winner.origin, "used"));
            continue;
        }
        taken.insert(key, one.meta.clone());
        add(services, &one, &mut found, report);
    }
    policy.destinations.extend(found.into_values());
}

fn add(services: &Services, one: &PendingTls, found: &mut BTreeMap<String, DestinationPolicy>, report: &mut Report) {
    let traffic = TrafficPolicy {
        tls: Some(ClientTls::Origination(one.tls.clone())),
        ..TrafficPolicy::default()
    };
    let policy = found.entry(one.host.clone()).or_insert_with(|| DestinationPolicy {
        meta: one.meta.clone(),
        host: one.host.clone(),
        ..DestinationPolicy::default()
    });
    let Some(section) = &one.section else {
        policy.traffic = traffic;
        return;
    };
    let ports = services.ports.get(&one.host).map_or(&[][..], Vec::as_slice);
    match ports.iter().find(|port| port.name == *section) {
        Some(port) => policy.ports.push((port.number, traffic)),
        None => {
            let message = format!("no file defines a port {} of {}", quoted(section), quoted(&one.host));
            report.push(unresolved(&one.origin, message));
        }
    }
}
