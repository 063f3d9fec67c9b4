//! `ServiceEntry`: services that the mesh knows, and their endpoints.

use std::net::IpAddr;

use ipnet::IpNet;

use super::client_tls::spiffe_id;
use super::names::{is_host_pattern, labels, refuse_duplicates};
use super::resolution::{Asked, Resolution, check_addresses, check_hosts, endpoint_source, resolution};
use super::scope::{Scope, subnet};
use super::service_port::ports;
use super::{NOT_YET, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::service::{Endpoint, EndpointSource, Location, Service};
use crate::policy::model::{Labels, Policy};
use crate::policy::reader::{Fields, Reader, choice, spanned};
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
    let resolution = resolution(&mut fields);
    let ports = ports(cx, &mut fields);
    let addresses = fields.list("addresses", spanned(subnet));
    check_addresses(cx, &mut fields, resolution);
    let asked = Asked {
        resolution: resolution.unwrap_or(Resolution::None),
        hosts: &hosts,
        ports: &ports,
    };
    let endpoints = endpoint_source(cx, &mut fields, &asked);
    check_hosts(cx, &fields, &asked, endpoints.as_ref());
    let service = Service {
        meta: object.meta.clone(),
        hosts: Vec::new(),
        ports: ports.into_iter().map(|port| port.value.port).collect(),
        location: fields
            .optional("location", choice(LOCATIONS))
            .unwrap_or(Location::MeshExternal),
        subject_alt_names: fields.list("subjectAltNames", spiffe_id),
        export: scope.export_to(cx, &mut fields),
        addresses: addresses.iter().map(|address| address.value).collect(),
        ..Service::default()
    };
    fields.finish();
    let spans: Vec<_> = hosts.iter().map(|host| (host.as_str(), host.span)).collect();
    refuse_duplicates(cx, "host", &spans);
    warn_of_ranges(cx, &addresses);
    let endpoints = endpoints.unwrap_or_default();
    let is_asked = resolution == Some(Resolution::None);
    let named = |host: Spanned<String>| named(&service, host.value, &endpoints, is_asked);
    Some(hosts.into_iter().map(named).collect())
}

/// The service of one host. Its addresses are further names of it, behind which its own endpoints are: only without a
/// resolution the address itself is called.
fn named(service: &Service, host: String, endpoints: &EndpointSource, is_asked: bool) -> Service {
    let single = service
        .addresses
        .iter()
        .filter(|net| net.prefix_len() == net.max_prefix_len());
    let addresses: Vec<String> = single.map(|net| net.addr().to_string()).collect();
    let by_name = *endpoints == EndpointSource::Dns && !addresses.is_empty() && !is_asked;
    let endpoints = match by_name {
        true => EndpointSource::Listed(
            vec![Endpoint {
                address: host.clone(),
                weight: 1,
                origin: service.meta.origin.clone(),
                ..Endpoint::default()
            }]
            .into(),
        ),
        false => endpoints.clone(),
    };
    Service {
        hosts: std::iter::once(host).chain(addresses).collect(),
        endpoints,
        ..service.clone()
    }
}

/// A range tells connections apart that are made to addresses; requests name hosts.
fn warn_of_ranges(cx: &Reader<'_>, addresses: &[Spanned<IpNet>]) {
    for range in addresses.iter().filter(|net| net.prefix_len() < net.max_prefix_len()) {
        let message = format!("`addresses`: the range `{}` has no effect", range.value);
        let help = "requests name hosts or single addresses";
        cx.report(Diagnostic::new(Code::NO_EFFECT, range.span, message).with_help(help));
    }
}

const LOCATIONS: &[(&str, Location)] = &[
    ("MESH_EXTERNAL", Location::MeshExternal),
    ("MESH_INTERNAL", Location::MeshInternal),
];

fn host(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if text == "*" || !is_host_pattern(text) || text.parse::<IpAddr>().is_ok() {
        return cx.invalid(node, format!("expected a host name, found {}", quoted(text)));
    }
    if text.starts_with('*') {
        let message = format!("host {} is {}: a service has one name", quoted(text), NOT_YET.title());
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
    Some(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
}

/// Reads a selector of workload entries, `{ labels: { … } }`.
pub(super) fn workload_selector(cx: &Reader<'_>, node: &Node) -> Option<Labels> {
    let mut fields: Fields<'_, '_, '_> = cx.mapping(node)?;
    let labels = fields.optional("labels", labels).unwrap_or_default();
    fields.finish();
    if node.get("labels").is_none_or(|labels| labels.entries().is_empty()) {
        let message = "`workloadSelector` has no labels: it selects every workload entry of its namespace";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
    }
    Some(labels)
}
