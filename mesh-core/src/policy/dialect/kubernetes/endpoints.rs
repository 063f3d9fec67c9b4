//! `Endpoints` and `EndpointSlice`: where the pods of a service are.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::names::is_dns_name;
use super::port::{EndpointPort, endpoint_port};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::service::{Endpoint, EndpointSet, EndpointSetKind, Member, Readiness};
use crate::policy::reader::{Fields, Reader, choice, map_of};
use crate::policy::source::Node;

/// The label of a slice that names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Fields of every object.
const ENVELOPE: &[&str] = &["apiVersion", "kind", "metadata"];

type Numbers = BTreeMap<String, u16>;

/// The ports that a document lists for its endpoints.
struct Ports {
    /// By name; empty where nothing is restricted.
    numbers: Numbers,
    carries: Carries,
}

/// Whether anything that endpoints listen for comes by TCP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carries {
    Tcp,
    Other,
}

impl Ports {
    /// The members that can be called at all.
    fn reached(&self, members: Vec<Member>) -> Vec<Member> {
        match self.carries {
            Carries::Tcp => members,
            Carries::Other => Vec::new(),
        }
    }
}

fn ports(fields: &mut Fields<'_, '_, '_>) -> Ports {
    let listed: Vec<EndpointPort> = fields.list("ports", endpoint_port);
    let is_given = fields.node("ports").is_some_and(|list| !list.items().is_empty());
    let carries = match is_given && listed.is_empty() {
        true => Carries::Other,
        false => Carries::Tcp,
    };
    let numbers: Option<Numbers> = listed.into_iter().map(|(name, number)| Some((name, number?))).collect();
    Ports {
        numbers: numbers.unwrap_or_default(),
        carries,
    }
}

/// Reads an `Endpoints`, whose name is that of its service.
pub(super) fn endpoints(cx: &Reader<'_>, object: &Object<'_>) -> Option<EndpointSet> {
    let mut fields = cx.mapping(object.node)?;
    fields.skip(ENVELOPE);
    let members = fields.list("subsets", subset);
    fields.finish();
    Some(EndpointSet {
        meta: object.meta.clone(),
        service: object.meta.name.clone(),
        kind: EndpointSetKind::Endpoints,
        members: members.into_iter().flatten().collect(),
    })
}

fn subset(cx: &Reader<'_>, node: &Node) -> Option<Vec<Member>> {
    let mut fields = cx.mapping(node)?;
    let ports = ports(&mut fields);
    let mut members = fields.list("addresses", |cx, node| {
        address(cx, node, (&ports.numbers, Readiness::Ready))
    });
    let unready = fields.list("notReadyAddresses", |cx, node| {
        address(cx, node, (&ports.numbers, Readiness::NotReady))
    });
    fields.finish();
    members.extend(unready);
    Some(ports.reached(members))
}

fn address(cx: &Reader<'_>, node: &Node, (ports, readiness): (&Numbers, Readiness)) -> Option<Member> {
    let mut fields = cx.mapping(node)?;
    let address = fields.required("ip", |cx, node| slice_address(cx, node, AddressType::Ip));
    let pod = pod(&mut fields);
    fields.skip(&["hostname", "nodeName"]);
    fields.finish();
    Some(Member {
        endpoint: Endpoint {
            address: address?,
            ports: ports.clone(),
            weight: 1,
            origin: cx.origin(node.span),
            ..Endpoint::default()
        },
        readiness,
        pod,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AddressType {
    Ip,
    Name,
}

const ADDRESS_TYPES: &[(&str, AddressType)] = &[
    ("IPv4", AddressType::Ip),
    ("IPv6", AddressType::Ip),
    ("FQDN", AddressType::Name),
];

/// Reads an `EndpointSlice`. One that names no service is of none.
pub(super) fn slice(cx: &Reader<'_>, object: &Object<'_>) -> Option<EndpointSet> {
    let mut fields = cx.mapping(object.node)?;
    fields.skip(ENVELOPE);
    let kind = fields.required("addressType", choice(ADDRESS_TYPES));
    let ports = ports(&mut fields);
    let kind = kind.unwrap_or(AddressType::Ip);
    let members = fields.list("endpoints", |cx, node| slice_endpoint(cx, node, (kind, &ports.numbers)));
    fields.finish();
    let labels = object.node.get("metadata").and_then(|metadata| metadata.get("labels"));
    let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)?.as_text()) else {
        let message = format!("the slice has no label `{SERVICE_NAME}`: it is of no service");
        cx.report(Diagnostic::new(Code::NO_EFFECT, object.node.span, message));
        return None;
    };
    Some(EndpointSet {
        meta: object.meta.clone(),
        service: service.into(),
        kind: EndpointSetKind::Slice,
        members: ports.reached(members),
    })
}

fn slice_endpoint(cx: &Reader<'_>, node: &Node, (kind, ports): (AddressType, &Numbers)) -> Option<Member> {
    let mut fields = cx.mapping(node)?;
    let addresses = fields.list("addresses", |cx, node| slice_address(cx, node, kind));
    if node.get("addresses").is_none_or(|list| list.items().is_empty()) {
        fields.missing(&["addresses"]);
    }
    let readiness = fields.optional("conditions", conditions).unwrap_or_default();
    let zone = fields.optional("zone", Reader::string).unwrap_or_default();
    let mut topology = fields.map("topology", Reader::string);
    topology.extend(fields.map("deprecatedTopology", Reader::string));
    let pod = pod(&mut fields);
    // Hints are for the nodes' own proxies.
    fields.skip(&["hints", "hostname", "nodeName"]);
    fields.finish();
    // All addresses of an endpoint lead to the same pod.
    let address = addresses.into_iter().next()?;
    Some(Member {
        endpoint: Endpoint {
            address,
            ports: ports.clone(),
            locality: locality(&zone, &topology),
            weight: 1,
            origin: cx.origin(node.span),
            ..Endpoint::default()
        },
        readiness,
        pod,
    })
}

fn locality(zone: &str, topology: &BTreeMap<String, String>) -> String {
    let of = |name: &str| topology.get(name).map(String::as_str).unwrap_or_default();
    let zone = if zone.is_empty() {
        of("topology.kubernetes.io/zone")
    } else {
        zone
    };
    match (of("topology.kubernetes.io/region"), zone) {
        ("", "") => String::new(),
        (region, zone) => format!("{region}/{zone}"),
    }
}

/// Reads conditions: what is not told to be unready is ready. What is going is not.
fn conditions(cx: &Reader<'_>, node: &Node) -> Option<Readiness> {
    let mut fields = cx.mapping(node)?;
    let ready = fields.optional("ready", Reader::bool);
    fields.optional("serving", Reader::bool);
    fields.optional("terminating", Reader::bool);
    fields.finish();
    Some(match ready {
        Some(false) => Readiness::NotReady,
        _ => Readiness::Ready,
    })
}

fn slice_address(cx: &Reader<'_>, node: &Node, kind: AddressType) -> Option<String> {
    let text = cx.text(node)?;
    let found = quoted(text);
    match (kind, text.parse::<IpAddr>()) {
        (AddressType::Ip, Ok(address)) => Some(address.to_string()),
        (AddressType::Ip, Err(_)) => cx.invalid(node, format!("expected an IP address, found {found}")),
        (AddressType::Name, _) if is_dns_name(text) => Some(text.to_ascii_lowercase()),
        (AddressType::Name, _) => cx.invalid(node, format!("expected a DNS name, found {found}")),
    }
}

/// The pod that an endpoint is, of its namespace.
fn pod(fields: &mut Fields<'_, '_, '_>) -> Option<String> {
    let target = fields.optional("targetRef", map_of(Reader::any_text))?;
    let name = target.get("name").cloned();
    name.filter(|_| target.get("kind").is_some_and(|kind| kind == "Pod"))
}
