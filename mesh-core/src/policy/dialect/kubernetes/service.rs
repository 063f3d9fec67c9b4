//! `Service`: a name, its ports, and whom it selects.

use std::net::IpAddr;

use super::join::{Selection, endpoint_source};
use super::names::{is_dns_name, labels};
use super::port::{Port, check_names, service_port};
use super::required_spec;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::dialect::envelope::is_namespace;
use crate::policy::model::service::{EndpointSource, ExternalName, Readiness, Service, ServicePort};
use crate::policy::model::{Export, Labels, Origin, Policy, full_host};
use crate::policy::reader::{Fields, Reader, choice, spanned};
use crate::policy::source::Node;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    ClusterIp,
    ExternalName,
}

const TYPES: &[(&str, Type)] = &[
    ("ClusterIP", Type::ClusterIp),
    ("NodePort", Type::ClusterIp),
    ("LoadBalancer", Type::ClusterIp),
    ("ExternalName", Type::ExternalName),
];

/// The addresses that stand for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    /// There are none: its name has the addresses of its pods.
    Headless,
    /// These, where the document says them.
    Cluster(Vec<IpAddr>),
}

struct Spec {
    kind: Type,
    ports: Vec<Port>,
    selector: Labels,
    addresses: Addresses,
    external_name: Option<String>,
    /// Which of its endpoints are published.
    least: Readiness,
}

/// Reads a `Service`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let Some(node) = required_spec(cx, object) else { return };
    let spec = spec(cx, node);
    let export = annotations(cx, object);
    if let Some(spec) = spec {
        add(cx.origin(node.span), object, (spec, export), policy);
    }
}

fn spec(cx: &Reader<'_>, node: &Node) -> Option<Spec> {
    let mut fields = cx.mapping(node)?;
    let kind = fields.optional("type", choice(TYPES));
    let ports = fields.list("ports", service_port);
    check_names(cx, &ports);
    let selector = fields.optional("selector", labels).unwrap_or_default();
    let addresses = cluster_addresses(&mut fields);
    let external_name = fields.optional("externalName", external_name);
    let unready = fields.optional("publishNotReadyAddresses", Reader::bool);
    if kind == Some(Type::ExternalName) && fields.node("externalName").is_none() {
        fields.missing(&["externalName"]);
    }
    told(cx, &mut fields);
    fields.skip(PASSED_OVER);
    fields.finish();
    Some(Spec {
        kind: kind.unwrap_or(Type::ClusterIp),
        ports,
        selector,
        addresses,
        external_name,
        least: match unready {
            Some(true) => Readiness::NotReady,
            _ => Readiness::Ready,
        },
    })
}

/// Fields about ways into the cluster and about its nodes.
const PASSED_OVER: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "externalIPs",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "ipFamilies",
    "ipFamilyPolicy",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "sessionAffinityConfig",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Affinity {
    None,
    ClientIp,
}

/// Says which fields about the choice of an endpoint are not followed.
fn told(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    let affinities = choice(&[("None", Affinity::None), ("ClientIP", Affinity::ClientIp)]);
    let affinity = fields.optional("sessionAffinity", spanned(affinities));
    if let Some(affinity) = affinity.filter(|affinity| affinity.value == Affinity::ClientIp) {
        let message = "`sessionAffinity` has no effect: each request is balanced, whatever its caller's address";
        let help = "a `DestinationRule` with `consistentHash` keeps callers at their endpoint";
        cx.report(Diagnostic::new(Code::NO_EFFECT, affinity.span, message).with_help(help));
    }
    let local = choice(&[("Cluster", Code::NO_EFFECT), ("Local", Code::NOT_YET_IN_FORCE)]);
    if fields.optional("internalTrafficPolicy", local) == Some(Code::NOT_YET_IN_FORCE) {
        let reason = "endpoints are not chosen by their node";
        fields.refuse("internalTrafficPolicy", Code::NOT_YET_IN_FORCE, reason);
    }
    if fields.optional("trafficDistribution", Reader::name).is_some() {
        let reason = "endpoints are not preferred by their zone";
        fields.refuse("trafficDistribution", Code::ACCEPTED_NOT_IN_FORCE, reason);
    }
}

fn cluster_addresses(fields: &mut Fields<'_, '_, '_>) -> Addresses {
    let first = fields.optional("clusterIP", cluster_ip);
    let all = fields.list("clusterIPs", cluster_ip);
    if first == Some(None) || all.contains(&None) {
        return Addresses::Headless;
    }
    let mut addresses: Vec<IpAddr> = first.into_iter().chain(all).flatten().collect();
    addresses.dedup();
    Addresses::Cluster(addresses)
}

/// Reads an address, or `None`, which is no address.
fn cluster_ip(cx: &Reader<'_>, node: &Node) -> Option<Option<IpAddr>> {
    match cx.text(node)? {
        "None" => Some(None),
        "" => None,
        text => match text.parse() {
            Ok(address) => Some(Some(address)),
            Err(_) => cx.invalid(
                node,
                format!("expected an IP address or `None`, found {}", quoted(text)),
            ),
        },
    }
}

fn external_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if is_dns_name(text) {
        return Some(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase());
    }
    cx.invalid(node, format!("expected a DNS name, found {}", quoted(text)))
}

/// Annotations that change what a mesh does: the visibility for Istio, and what Linkerd does with requests.
fn annotations(cx: &Reader<'_>, object: &Object<'_>) -> Export {
    let annotations = object.node.get("metadata").and_then(|node| node.get("annotations"));
    let entries = annotations.map(Node::entries).unwrap_or_default();
    let mut export = Export::All;
    for (key, value) in entries {
        if &*key.name == "networking.istio.io/exportTo" {
            export = visible_to(cx, value, &object.meta.namespace);
        }
        let prefix = key.name.split('/').next().unwrap_or_default();
        if matches!(
            prefix,
            "retry.linkerd.io" | "timeout.linkerd.io" | "balancer.linkerd.io"
        ) {
            let code = Code::NOT_YET_IN_FORCE;
            let reason = "write a route of Gateway API, or a `ServiceProfile`";
            let message = format!("annotation {} is {}: {reason}", quoted(&key.name), code.title());
            cx.report(Diagnostic::new(code, key.span, message));
        }
    }
    export
}

fn visible_to(cx: &Reader<'_>, node: &Node, own: &str) -> Export {
    let text = cx.text(node).unwrap_or("*");
    let mut namespaces = Vec::new();
    for name in text.split(',').map(str::trim) {
        match name {
            "*" => return Export::All,
            "~" => return Export::Namespaces(Vec::new()),
            "." => namespaces.push(own.to_owned()),
            name if is_namespace(name) => namespaces.push(name.to_owned()),
            name => {
                let found = quoted(name);
                cx.invalid::<()>(node, format!("expected `.`, `*`, `~` or a namespace, found {found}"));
            }
        }
    }
    Export::Namespaces(namespaces)
}

fn add(origin: Origin, object: &Object<'_>, (spec, export): (Spec, Export), policy: &mut Policy) {
    let host = full_host(&object.meta.name, &object.meta.namespace, &policy.mesh.cluster_domain);
    let mut service = Service {
        meta: object.meta.clone(),
        hosts: vec![host],
        export,
        ..Service::default()
    };
    if spec.kind == Type::ExternalName {
        if let Some(name) = spec.external_name {
            service.ports = spec.ports.into_iter().map(untargeted).collect();
            policy.external_names.push(ExternalName {
                target: name,
                service,
                origin,
            });
        }
        return;
    }
    let selection = Selection {
        meta: &object.meta,
        selector: &spec.selector,
        ports: &spec.ports,
        least: spec.least,
    };
    service.endpoints = endpoint_source(&selection, policy);
    service.ports = spec.ports.into_iter().map(|port| port.port).collect();
    if let Addresses::Cluster(addresses) = spec.addresses {
        if service.endpoints == EndpointSource::Dns {
            // The address of the service takes its own ports, and hands them on to those of its pods.
            service.ports.iter_mut().for_each(|port| port.target = None);
        }
        service.hosts.extend(addresses.iter().map(ToString::to_string));
        service.addresses = addresses.into_iter().map(Into::into).collect();
    }
    policy.services.push(service);
}

/// What DNS gives for a name is called at the port of the service.
fn untargeted(port: Port) -> ServicePort {
    ServicePort {
        target: None,
        ..port.port
    }
}
