//! `services`: what is called, where it is, and how to talk to it.

use serde_json::{Value as Json, json};

use super::Sink;
use super::endpoint::{Endpoints, is_port_name, source};
use super::envelope::object_name;
use super::form::{Created, Form, HostText, Ip, List, Name, NonEmpty, Opt, Port, Schema, Table, Text, choices, form};
use super::item::Shelf;
use super::mtls::{APP, MODES, warn_of_root};
use super::names::{is_dns_name, refuse_duplicates};
use super::pattern::spiffe_id;
use super::route::{RuleForm, Target, rules};
use super::scope::{Scope, VisibleTo};
use super::traffic::{ByPort, Identity, Settings, Subsets, blocks, by_port, subsets};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::ledger::SERVICE;
use crate::policy::model::identity::PeerAuthentication;
use crate::policy::model::route::{Binding, HostPattern, RouteTable};
use crate::policy::model::service::{EndpointSource, Location, Protocol, Service, ServicePort};
use crate::policy::model::traffic::{DestinationPolicy, TrafficPolicy};
use crate::policy::model::{Labels, Meta};
use crate::policy::reader::{Fields, Reader, choice, list_of, spanned};
use crate::policy::source::{Key, Node, Spanned, Value};

/// Reads one service, which becomes a service, a destination policy and, where it has routes, a route table.
pub(super) fn read(cx: &Reader<'_>, key: &Key, node: &Node, sink: &mut Sink<'_>) {
    if !is_dns_name(&key.name) || key.name.contains(|c: char| c.is_ascii_uppercase()) {
        cx.invalid_key(key, "expected the name of a service: a DNS name in lower case");
        return;
    }
    let meta = sink.scope.meta(cx, &key.name, key.span);
    sink.ledger.define(SERVICE, &meta, key.span);
    let scope = sink.scope;
    let policy = &mut *sink.policy;
    sink.ledger.watch(cx, &meta.origin, || {
        let Some(found) = parts(cx, &meta, node, scope) else {
            return;
        };
        policy.services.push(found.service);
        // A service without settings leaves its host to patterns of `destinations`.
        let destination = Some(found.destination).filter(has_settings);
        policy.destinations.extend(destination);
        policy.routes.extend(found.routes);
        policy.peer_authentications.extend(found.mtls);
    });
}

fn has_settings(destination: &DestinationPolicy) -> bool {
    let DestinationPolicy {
        traffic,
        ports,
        subsets,
        ..
    } = destination;
    *traffic != TrafficPolicy::default() || !ports.is_empty() || !subsets.is_empty()
}

struct Parts {
    service: Service,
    destination: DestinationPolicy,
    routes: Option<RouteTable>,
    mtls: Option<PeerAuthentication>,
}

fn parts(cx: &Reader<'_>, meta: &Meta, node: &Node, scope: Scope<'_>) -> Option<Parts> {
    let name = scope.full_host(&meta.name);
    let mut fields = cx.mapping(node)?;
    let hosts = hosts(cx, &mut fields, &name, meta, scope);
    let service = service(cx, &mut fields, meta, &hosts, scope);
    let destination = DestinationPolicy {
        meta: meta.clone(),
        host: name.clone(),
        subsets: subsets(&mut fields, scope),
        traffic: blocks(&mut fields, scope),
        ports: by_port(&mut fields, scope),
        export: service.export.clone(),
        ..DestinationPolicy::default()
    };
    let target = Target::of_service(&name, &meta.name, node, scope);
    let rules = fields.optional("routes", |cx, node| rules(cx, node, &target));
    let mtls = mtls(cx, &mut fields, meta, service.location);
    if let (Some(_), Some((key, _))) = (&mtls, fields.entry("mtls")) {
        warn_of_root(cx, scope, key.span);
    }
    fields.finish();
    let routes = rules.map(|rules| RouteTable {
        meta: meta.clone(),
        hosts,
        bindings: vec![Binding::Mesh],
        export: service.export.clone(),
        rules: rules.into(),
        ..RouteTable::default()
    });
    Some(Parts {
        service,
        destination,
        routes,
        mtls,
    })
}

/// The full name, then the other names, each once.
fn hosts(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
    name: &str,
    meta: &Meta,
    scope: Scope<'_>,
) -> Vec<HostPattern> {
    let mut hosts = vec![HostPattern {
        host: name.into(),
        origin: meta.origin.clone(),
    }];
    for host in fields.list("hosts", spanned(|cx, node| scope.service(cx, node))) {
        if !hosts.iter().any(|known| known.host == host.value) {
            hosts.push(HostPattern {
                origin: cx.origin(host.span),
                host: host.value,
            });
        }
    }
    hosts
}

choices! {
    /// Whether workloads have identities of the mesh.
    LocationForm of Location; {
        "internal" Location::MeshInternal;
        "external" Location::MeshExternal;
    }
}

const LOCATIONS: &[(&str, Location)] = LocationForm::TABLE;

pub(super) const SHELF: Shelf<Service> = Shelf {
    kind: SERVICE,
    push: |policy, service| policy.services.push(service),
};

form! {
    /// A service in full; its first host is its full name.
    ServiceForm of Service, check check_ports; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "hosts" [required] hosts: NonEmpty<HostText>;
        "ports" ports: NonEmpty<PortForm>;
        "endpoints" endpoints: Endpoints;
        "location" location: LocationForm;
        "addresses" addresses: NonEmpty<Ip>;
        "identities" subject_alt_names: NonEmpty<Identity>;
        "visible_to" export: VisibleTo;
    }
}

/// Callers know ports by their numbers, endpoints by their names.
fn check_ports(cx: &Reader<'_>, node: &Node, _: &Service) {
    let ports = node.get("ports").map(Node::items).unwrap_or_default();
    for (field, what) in [("number", "port number"), ("name", "port name")] {
        let given = ports.iter().filter_map(|port| port.get(field));
        let given: Vec<_> = given.filter_map(|one| Some((one.as_text()?, one.span))).collect();
        refuse_duplicates(cx, what, &given);
    }
}

form! {
    /// A port of a service in full.
    PortForm of ServicePort; {
        "number" [required] number: Port;
        "name" [required] name: Text;
        "protocol" protocol: ProtocolForm;
        "target" target: Opt<Port>;
    }
}

/// Describes a service by its name.
pub(super) fn short_schema(schema: &mut Schema) -> Json {
    schema.object("ShortService", |schema, object| {
        let port = schema.object("ShortPort", |schema, object| {
            PortForm::properties(schema, object);
            object.relax("name");
        });
        let port = json!({ "oneOf": [{ "type": "integer", "minimum": 1, "maximum": 65535 }, port] });
        object.property("hosts", List::<Text>::schema(schema), false);
        object.property("port", port.clone(), false);
        object.property("ports", json!({ "type": "array", "items": port }), false);
        object.property("protocol", ProtocolForm::schema(schema), false);
        object.property("endpoints", Endpoints::schema(schema), false);
        object.property("service_account", Name::schema(schema), false);
        object.property("identities", List::<Text>::schema(schema), false);
        object.property("location", LocationForm::schema(schema), false);
        object.property("subsets", Subsets::schema(schema), false);
        object.property("routes", NonEmpty::<RuleForm>::schema(schema), false);
        object.exclude(&["port", "ports"]);
        object.property(
            "mtls",
            json!({ "enum": MODES.iter().map(|(name, _)| *name).collect::<Vec<_>>() }),
            false,
        );
        object.property("visible_to", VisibleTo::schema(schema), false);
        object.property("by_port", ByPort::schema(schema), false);
        Settings::properties(schema, object);
    })
}

fn service(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
    meta: &Meta,
    hosts: &[HostPattern],
    scope: Scope<'_>,
) -> Service {
    let errors = cx.errors();
    let ports = ports(cx, fields);
    let known = (cx.errors() == errors).then_some(ports.as_slice());
    let endpoints = fields.optional("endpoints", |cx, node| source(cx, node, known));
    let mut service = Service {
        meta: meta.clone(),
        hosts: hosts.iter().map(|pattern| pattern.host.clone()).collect(),
        ports,
        endpoints: endpoints.unwrap_or_default(),
        location: fields.optional("location", choice(LOCATIONS)).unwrap_or_default(),
        subject_alt_names: fields.list("identities", spiffe_id),
        export: scope.visible_to(cx, fields),
        ..Service::default()
    };
    if let Some(account) = fields.optional("service_account", spanned(object_name)) {
        set_account(cx, &account, &mut service.endpoints);
    }
    service
}

/// The account of a service is that of each listed endpoint that names none.
fn set_account(cx: &Reader<'_>, account: &Spanned<String>, endpoints: &mut EndpointSource) {
    let EndpointSource::Listed(endpoints) = endpoints else {
        let message = "`service_account` needs listed `endpoints`: it is the account of each of them";
        let help = "name the identities in `identities`, and write `tls: mutual`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, account.span, message).with_help(help));
        return;
    };
    for endpoint in endpoints {
        endpoint.service_account.get_or_insert_with(|| account.value.clone());
    }
}

choices! {
    /// What a port speaks.
    ProtocolForm of Protocol; {
        "http" Protocol::Http;
        "http2" Protocol::Http2;
        "grpc" Protocol::Grpc;
        "https" Protocol::Https;
        "tls" Protocol::Tls;
        "tcp" Protocol::Tcp;
    }
}

const PROTOCOLS: &[(&str, Protocol)] = ProtocolForm::TABLE;

/// Reads `port` or `ports`, and `protocol`, which is that of ports that name none.
fn ports(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Vec<ServicePort> {
    let protocol = fields.optional("protocol", choice(PROTOCOLS));
    let default = protocol.unwrap_or_default();
    let given = fields.one_of(&["port", "ports"]);
    let ports = match given {
        Some(("port", _)) => fields
            .optional("port", spanned(|cx, node| port(cx, node, default)))
            .into_iter()
            .collect(),
        Some(_) => fields.list("ports", spanned(|cx, node| port(cx, node, default))),
        None => Vec::new(),
    };
    if let (Some((key, _)), None) = (fields.entry("protocol"), given) {
        let message = "`protocol` needs a `port`: it is that of the service's ports";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    let numbers: Vec<String> = ports.iter().map(|port| port.number.to_string()).collect();
    let spans: Vec<_> = numbers
        .iter()
        .zip(&ports)
        .map(|(text, port)| (text.as_str(), port.span))
        .collect();
    refuse_duplicates(cx, "port number", &spans);
    let spans: Vec<_> = ports.iter().map(|port| (port.name.as_str(), port.span)).collect();
    refuse_duplicates(cx, "port name", &spans);
    ports.into_iter().map(|port| port.value).collect()
}

/// Reads a number, or a mapping.
fn port(cx: &Reader<'_>, node: &Node, default: Protocol) -> Option<ServicePort> {
    if !matches!(node.value, Value::Mapping(_)) {
        let number = cx.port(node)?;
        return Some(ServicePort {
            number,
            name: port_name(default, number),
            protocol: default,
            target: None,
        });
    }
    let mut fields = cx.mapping(node)?;
    let number = fields.required("number", Reader::port);
    let protocol = fields.optional("protocol", choice(PROTOCOLS)).unwrap_or(default);
    let name = fields.optional("name", |cx, node| {
        let name = cx.string(node)?;
        if is_port_name(&name) {
            return Some(name);
        }
        cx.invalid(
            node,
            format!("expected letters, digits and `-`, at most 63, found {}", quoted(&name)),
        )
    });
    let target = fields.optional("target", Reader::port);
    fields.finish();
    let number = number?;
    Some(ServicePort {
        number,
        name: name.unwrap_or_else(|| port_name(protocol, number)),
        protocol,
        target,
    })
}

/// The name of a port that has none, such as `http-8080`.
fn port_name(protocol: Protocol, number: u16) -> String {
    let known = PROTOCOLS.iter().find(|(_, known)| *known == protocol);
    format!("{}-{number}", known.map_or("http", |(name, _)| name))
}

/// Reads what the servers of the service take.
fn mtls(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
    meta: &Meta,
    location: Location,
) -> Option<PeerAuthentication> {
    let mode = fields.optional("mtls", spanned(choice(MODES)))?;
    if location == Location::MeshExternal {
        let message = "`mtls` is for servers of the mesh, and this service is external";
        let help = "`tls` says how to talk to it";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, mode.span, message).with_help(help));
    }
    Some(PeerAuthentication {
        meta: Meta {
            origin: cx.origin(mode.span),
            ..meta.clone()
        },
        selector: Labels::from([(APP.into(), meta.name.clone())]),
        mode: Some(mode.value),
        ..PeerAuthentication::default()
    })
}

/// Reads a list that must not be empty.
pub(super) fn non_empty<'a, 'n, T>(
    cx: &Reader<'a>,
    node: &'n Node,
    what: &str,
    read: impl FnMut(&Reader<'a>, &'n Node) -> Option<T>,
) -> Option<Vec<T>> {
    if matches!(&node.value, Value::Sequence(items) if items.is_empty()) {
        return cx.invalid(node, format!("expected at least one {what}, found an empty list"));
    }
    list_of(read)(cx, node)
}
