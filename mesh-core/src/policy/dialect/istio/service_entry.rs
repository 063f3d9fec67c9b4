//! `ServiceEntry`: services that the mesh knows, and their endpoints.

use super::client_tls::spiffe_id;
use super::names::{dns_label, is_host_pattern, labels, refuse_duplicates};
use super::scope::Scope;
use super::values::given_or;
use super::workload_entry::{Addresses, endpoint};
use super::{NOT_HERE, NOT_YET, refuse_all, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, listed, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::service::{Endpoint, EndpointSource, Location, Protocol, Service, ServicePort};
use crate::policy::model::{Labels, Policy};
use crate::policy::reader::{Fields, Reader, choice, list_of, spanned};
use crate::policy::source::{Node, Spanned};

/// Reads a `ServiceEntry`: each of its hosts is a service.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let services = required_spec(cx, object).and_then(|spec| {
        let scope = Scope::new(object, &policy.mesh);
        services(cx, object, spec, scope)
    });
    policy.services.extend(services.into_iter().flatten());
}

fn services(cx: &Reader<'_>, object: &Object<'_>, spec: &Node, scope: Scope<'_>) -> Option<Vec<Service>> {
    let mut fields = cx.mapping(spec)?;
    let hosts = fields.list("hosts", spanned(host));
    if spec
        .get("hosts")
        .is_none_or(|node| node.is_null() || node.items().is_empty())
    {
        fields.missing(&["hosts"]);
    }
    let service = Service {
        meta: object.meta.clone(),
        hosts: Vec::new(),
        ports: ports(cx, &mut fields),
        endpoints: EndpointSource::Dns,
        location: fields
            .optional("location", choice(LOCATIONS))
            .unwrap_or(Location::MeshExternal),
        subject_alt_names: fields.list("subjectAltNames", spiffe_id),
        export: scope.export_to(cx, &mut fields),
        ..Service::default()
    };
    let endpoints = endpoint_source(cx, &mut fields, &service.ports);
    let reason = "callers name hosts, addresses are not taken over";
    refuse_all(&mut fields, NOT_HERE, &[("addresses", reason)]);
    fields.finish();
    let spans: Vec<_> = hosts.iter().map(|host| (host.as_str(), host.span)).collect();
    refuse_duplicates(cx, "host", &spans);
    let endpoints = endpoints.unwrap_or_default();
    let named = |host: Spanned<String>| Service {
        hosts: vec![host.value],
        endpoints: endpoints.clone(),
        ..service.clone()
    };
    Some(hosts.into_iter().map(named).collect())
}

const LOCATIONS: &[(&str, Location)] = &[
    ("MESH_EXTERNAL", Location::MeshExternal),
    ("MESH_INTERNAL", Location::MeshInternal),
];

fn host(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if text == "*" || !is_host_pattern(text) {
        return cx.invalid(node, format!("expected a host name, found {}", quoted(text)));
    }
    if text.starts_with('*') {
        let message = format!("host {} is {}: a service has one name", quoted(text), NOT_YET.title());
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
        return None;
    }
    Some(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
}

fn ports(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Vec<ServicePort> {
    let ports = fields.list("ports", spanned(port));
    let numbers: Vec<String> = ports.iter().map(|port| port.number.to_string()).collect();
    let spans: Vec<_> = numbers
        .iter()
        .zip(&ports)
        .map(|(number, port)| (number.as_str(), port.span))
        .collect();
    refuse_duplicates(cx, "port number", &spans);
    let spans: Vec<_> = ports.iter().map(|port| (port.name.as_str(), port.span)).collect();
    refuse_duplicates(cx, "port name", &spans);
    ports.into_iter().map(|port| port.value).collect()
}

fn port(cx: &Reader<'_>, node: &Node) -> Option<ServicePort> {
    let mut fields = cx.mapping(node)?;
    let number = fields.required("number", Reader::port);
    let name = fields.required("name", dns_label);
    let protocol = fields.optional("protocol", protocol);
    let target = fields.optional("targetPort", Reader::port);
    fields.finish();
    Some(ServicePort {
        number: number?,
        name: name?,
        protocol: protocol.unwrap_or_default(),
        target,
    })
}

/// `None` are protocols of byte streams.
const PROTOCOLS: &[(&str, Option<Protocol>)] = &[
    ("HTTP", Some(Protocol::Http)),
    ("HTTP2", Some(Protocol::Http2)),
    ("GRPC", Some(Protocol::Grpc)),
    ("GRPC-WEB", Some(Protocol::Http)),
    ("HTTPS", Some(Protocol::Https)),
    ("TCP", None),
    ("TLS", None),
    ("MONGO", None),
    ("REDIS", None),
    ("MYSQL", None),
    ("UDP", None),
    ("HTTP_PROXY", None),
];

/// Reads a protocol, in any case. Without one it is HTTP: callers speak nothing else.
fn protocol(cx: &Reader<'_>, node: &Node) -> Option<Protocol> {
    let text = cx.text(node)?;
    if text.is_empty() {
        return Some(Protocol::Http);
    }
    match PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Some((_, Some(protocol))) => Some(*protocol),
        Some((name, None)) => {
            let message = format!("protocol `{name}` is {}: services speak HTTP", NOT_YET.title());
            cx.report(Diagnostic::new(NOT_YET, node.span, message));
            None
        }
        None => {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            cx.invalid(
                node,
                format!("unknown protocol {}, expected {}", quoted(text), listed(&names)),
            )
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Resolution {
    None,
    Static,
    Dns,
    DnsRoundRobin,
    DynamicDns,
}

const RESOLUTIONS: &[(&str, Resolution)] = &[
    ("NONE", Resolution::None),
    ("STATIC", Resolution::Static),
    ("DNS", Resolution::Dns),
    ("DNS_ROUND_ROBIN", Resolution::DnsRoundRobin),
    ("DYNAMIC_DNS", Resolution::DynamicDns),
];

/// Reads where the endpoints come from.
fn endpoint_source(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, ports: &[ServicePort]) -> Option<EndpointSource> {
    let resolution = given_or(fields, "resolution", Resolution::None, choice(RESOLUTIONS))?;
    let given = fields.one_of(&["endpoints", "workloadSelector"]);
    let addresses = match resolution {
        Resolution::Static => Addresses::Ip,
        _ => Addresses::IpOrName,
    };
    let source = match given {
        Some(("endpoints", _)) => {
            let read = |cx: &Reader<'_>, node: &Node| endpoints(cx, node, addresses, ports);
            Some(EndpointSource::Listed(fields.optional("endpoints", read)?))
        }
        Some((name, _)) => Some(EndpointSource::Selected(fields.optional(name, workload_selector)?)),
        None => None,
    };
    if !serves(cx, fields, resolution, source.as_ref()) {
        return None;
    }
    match (resolution, source) {
        (Resolution::Static, None) => Some(EndpointSource::Listed(Vec::new())),
        (_, source) => Some(source.unwrap_or_default()),
    }
}

/// Refuses what cannot be served, as Istio does or because a library cannot.
fn serves(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
    resolution: Resolution,
    source: Option<&EndpointSource>,
) -> bool {
    let listed = match source {
        Some(EndpointSource::Listed(endpoints)) => endpoints.len(),
        _ => 0,
    };
    let (code, message) = match resolution {
        Resolution::None | Resolution::DynamicDns if listed > 0 => {
            let message = "`endpoints` need the resolution `STATIC` or `DNS`";
            (Code::INVALID_POLICY, message.into())
        }
        Resolution::DnsRoundRobin if listed > 1 => (
            Code::INVALID_POLICY,
            "resolution `DNS_ROUND_ROBIN` takes one endpoint".into(),
        ),
        Resolution::None => {
            let reason = "callers dial no address that could be kept";
            (NOT_HERE, format!("resolution `NONE` is {}: {reason}", NOT_HERE.title()))
        }
        Resolution::DnsRoundRobin => {
            let reason = "all addresses of an answer are used";
            (
                NOT_YET,
                format!("resolution `DNS_ROUND_ROBIN` is {}: {reason}", NOT_YET.title()),
            )
        }
        Resolution::DynamicDns => {
            let reason = "a service has one name";
            (
                NOT_YET,
                format!("resolution `DYNAMIC_DNS` is {}: {reason}", NOT_YET.title()),
            )
        }
        Resolution::Static | Resolution::Dns => return true,
    };
    let span = fields
        .node("resolution")
        .map_or_else(|| fields.span(), |node| node.span);
    let help = "give `resolution: DNS`, or `STATIC` with endpoints";
    cx.report(Diagnostic::new(code, span, message).with_help(help));
    false
}

fn endpoints(cx: &Reader<'_>, node: &Node, addresses: Addresses, ports: &[ServicePort]) -> Option<Vec<Endpoint>> {
    list_of(|cx, node| {
        let endpoint = endpoint(cx, node, addresses)?;
        check_port_names(cx, node, &endpoint, ports);
        Some(endpoint)
    })(cx, node)
}

fn check_port_names(cx: &Reader<'_>, node: &Node, endpoint: &Endpoint, ports: &[ServicePort]) {
    let is_known = |name: &str| ports.iter().any(|port| port.name == name);
    let keys = node.get("ports").map(Node::entries).unwrap_or_default();
    for (key, _) in keys.iter().filter(|(key, _)| endpoint.ports.contains_key(&*key.name)) {
        if !is_known(&key.name) {
            let message = format!("the service has no port {}", quoted(&key.name));
            cx.report(Diagnostic::new(Code::UNKNOWN_REFERENCE, key.span, message));
        }
    }
}

fn workload_selector(cx: &Reader<'_>, node: &Node) -> Option<Labels> {
    let mut fields = cx.mapping(node)?;
    let labels = fields.optional("labels", labels).unwrap_or_default();
    fields.finish();
    if node.get("labels").is_none_or(|labels| labels.entries().is_empty()) {
        let message = "`workloadSelector` has no labels: it selects every workload entry of its namespace";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
    }
    Some(labels)
}
