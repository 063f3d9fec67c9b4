//! `Pod`: a workload with its labels, and its address once it runs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::policy::dialect::Object;
use crate::policy::model::Labels;
use crate::policy::model::service::{Endpoint, Pod, Readiness};
use crate::policy::reader::Reader;
use crate::policy::source::Node;

/// Reads a pod as far as services are concerned; `None` for one without an address.
pub(super) fn pod(cx: &Reader<'_>, object: &Object<'_>) -> Option<Pod> {
    let status = object.node.get("status")?;
    let address = address(object.node)?;
    let labels = labels(object.node);
    Some(Pod {
        meta: object.meta.clone(),
        readiness: readiness(object.node, status),
        endpoint: Endpoint {
            address: address.to_string(),
            port: None,
            ports: object.spec.map(container_ports).unwrap_or_default(),
            closed_ports: Vec::new(),
            locality: locality(&labels),
            weight: 1,
            service_account: account(object.spec, &labels),
            labels,
            origin: cx.origin(object.node.span),
        },
    })
}

/// The address of a pod that runs, or ran.
pub(super) fn address(node: &Node) -> Option<IpAddr> {
    node.get("status")?.get("podIP")?.as_text()?.parse().ok()
}

fn labels(node: &Node) -> Labels {
    let labels = node.get("metadata").and_then(|metadata| metadata.get("labels"));
    let entries = labels.map(Node::entries).unwrap_or_default();
    let texts = entries.iter().filter_map(|(key, value)| Some((key, value.as_text()?)));
    texts
        .map(|(key, text)| (key.name.to_string(), text.to_owned()))
        .collect()
}

/// Only what is in the mesh has an identity of it: every pod has a service account.
fn account(spec: Option<&Node>, labels: &Labels) -> Option<String> {
    let is_of_mesh = labels
        .get("security.istio.io/tlsMode")
        .is_some_and(|mode| mode == "istio");
    let name = spec.and_then(|spec| spec.get("serviceAccountName")?.as_text());
    is_of_mesh.then(|| name.unwrap_or("default").to_owned())
}

fn locality(labels: &Labels) -> String {
    let of = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
    match (of("topology.kubernetes.io/region"), of("topology.kubernetes.io/zone")) {
        ("", "") => String::new(),
        (region, zone) => format!("{region}/{zone}"),
    }
}

/// The ports that its containers name.
fn container_ports(spec: &Node) -> BTreeMap<String, u16> {
    let containers = spec.get("containers").map(Node::items).unwrap_or_default();
    let ports = containers
        .iter()
        .filter_map(|one| one.get("ports"))
        .flat_map(Node::items);
    let named = ports.filter_map(|port| {
        let number = port.get("containerPort")?.as_text()?.parse().ok()?;
        Some((port.get("name")?.as_text()?.to_owned(), number))
    });
    named.collect()
}

/// A pod is ready unless its status says otherwise, or it is going.
fn readiness(node: &Node, status: &Node) -> Readiness {
    let is_going = node
        .get("metadata")
        .and_then(|metadata| metadata.get("deletionTimestamp"))
        .is_some_and(|time| !time.is_null());
    let phase = status.get("phase").and_then(Node::as_text);
    let is_over = matches!(phase, Some("Pending" | "Succeeded" | "Failed"));
    let conditions = status.get("conditions").map(Node::items).unwrap_or_default();
    let text = |condition: &Node, name: &str| condition.get(name).and_then(Node::as_text).map(str::to_owned);
    let is_unready = conditions.iter().any(|condition| {
        text(condition, "type").as_deref() == Some("Ready") && text(condition, "status").as_deref() != Some("True")
    });
    match is_going || is_over || is_unready {
        true => Readiness::NotReady,
        false => Readiness::Ready,
    }
}
