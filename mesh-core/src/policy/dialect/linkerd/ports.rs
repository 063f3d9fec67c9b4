//! Names of ports: those that containers give theirs.

use crate::policy::dialect::envelope::DEFAULT_NAMESPACE;
use crate::policy::model::Labels;
use crate::policy::model::server::Server;
use crate::policy::source::{Document, Node};

/// A pod, or what pods are made from (`Deployment`, `StatefulSet` …), as far as its ports are concerned.
struct Pods<'n> {
    namespace: &'n str,
    labels: Labels,
    containers: &'n Node,
}

/// The numbers of all ports of this name that pods of the server have, as documents describe them.
pub(super) fn numbers(documents: &[Document], server: &Server, name: &str) -> Vec<u16> {
    let mut pods = Vec::new();
    for document in documents {
        collect(&document.root, &mut pods);
    }
    let selected = pods.iter().filter(|pods| {
        pods.namespace == server.meta.namespace && server.selector.iter().all(|one| one.holds(&pods.labels))
    });
    let mut numbers: Vec<u16> = selected.flat_map(|pods| named(pods.containers, name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn collect<'n>(node: &'n Node, pods: &mut Vec<Pods<'n>>) {
    pods.extend(read(node));
    for item in node.get("items").map_or(&[][..], Node::items) {
        collect(item, pods);
    }
}

fn read(node: &Node) -> Option<Pods<'_>> {
    let spec = node.get("spec")?;
    let metadata = node.get("metadata")?;
    let namespace = metadata.get("namespace").and_then(Node::as_text);
    let (metadata, spec) = match spec.get("template") {
        Some(template) => (template.get("metadata")?, template.get("spec")?),
        None => (metadata, spec),
    };
    let labels = metadata.get("labels").map_or(&[][..], Node::entries).iter();
    let labels = labels.filter_map(|(key, value)| Some((key.name.to_string(), value.as_text()?.to_owned())));
    Some(Pods {
        namespace: namespace.unwrap_or(DEFAULT_NAMESPACE),
        labels: labels.collect(),
        containers: spec.get("containers")?,
    })
}

fn named<'n>(containers: &'n Node, name: &'n str) -> impl Iterator<Item = u16> + 'n {
    let ports = containers.items().iter().filter_map(|container| container.get("ports"));
    let of_name = move |port: &&Node| port.get("name").and_then(Node::as_text) == Some(name);
    ports
        .flat_map(Node::items)
        .filter(of_name)
        .filter_map(|port| port.get("containerPort")?.as_text()?.parse().ok())
}
