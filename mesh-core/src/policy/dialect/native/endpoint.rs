//! Endpoints: `10.0.0.4:8080`, or a mapping with labels, zone and weight.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::Sink;
use super::form::{
    Created, Form, LabelSet, Limit, List, NonEmpty, Opt, Port, Schema, Table, Text, TextKey, TextMap, Tree, form,
};
use super::item::Shelf;
use super::names::{is_dns_label, is_dns_name, labels};
use super::scope::{Scope, is_item};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::service::{Endpoint, EndpointSource, ServicePort, WorkloadEntry};
use crate::policy::reader::{Fields, Reader, list_of, map_of, within};
use crate::policy::source::{Key, Node, Value};

/// Reads where the endpoints of a service come from: a list, or `{ selector: … }`. Without it they come from DNS.
///
/// `ports` are `None` where some could not be read: what endpoints lack may have been among them.
pub(super) fn source(cx: &Reader<'_>, node: &Node, ports: Option<&[ServicePort]>) -> Option<EndpointSource> {
    if let Value::Mapping(_) = node.value {
        let mut fields = cx.mapping(node)?;
        let selector = fields.required("selector", labels);
        fields.finish();
        if selector.as_ref().is_some_and(|labels| labels.is_empty()) && node.get("selector").is_some_and(is_empty) {
            return cx.invalid(node, "expected labels to select workloads by, found none");
        }
        return selector.map(EndpointSource::Selected);
    }
    list_of(|cx: &Reader<'_>, node: &Node| {
        let endpoint = endpoint(cx, node)?;
        if let Some(ports) = ports {
            check_ports(cx, node, &endpoint, ports);
        }
        Some(endpoint)
    })(cx, node)
    .map(|listed| EndpointSource::Listed(listed.into()))
}

/// Where endpoints come from: a list, or `{ selector: … }`.
pub(super) struct Endpoints;

impl Form for Endpoints {
    type Of = EndpointSource;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<EndpointSource> {
        match node.value {
            Value::Sequence(_) => {
                List::<EndpointForm>::read(cx, node, scope).map(|listed| EndpointSource::Listed(listed.into()))
            }
            _ => source(cx, node, None),
        }
    }

    fn write(value: &EndpointSource) -> Tree {
        match value {
            EndpointSource::Dns => Tree::Nothing,
            EndpointSource::Listed(endpoints) => List::<EndpointForm>::write(endpoints),
            EndpointSource::Selected(labels) => {
                let mut map = Tree::map();
                map.put("selector", LabelSet::write(labels));
                map
            }
        }
    }

    fn schema(schema: &mut Schema) -> Json {
        let list = List::<EndpointForm>::schema(schema);
        let selector = schema.object("EndpointSelector", |schema, object| {
            object.property("selector", LabelSet::schema(schema), true);
        });
        json!({ "oneOf": [list, selector] })
    }
}

/// One endpoint.
pub(super) struct EndpointForm;

impl Form for EndpointForm {
    type Of = Endpoint;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<Endpoint> {
        endpoint(cx, node)
    }

    fn write(value: &Endpoint) -> Tree {
        let mut map = Tree::map();
        map.put("address", Tree::text(&value.address));
        map.put("port", Opt::<Port>::write(&value.port));
        EndpointFields::write_fields(value, &mut map);
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        let long = schema.object("Endpoint", |schema, object| {
            object.property("address", Text::schema(schema), true);
            object.property("port", Port::schema(schema), false);
            object.property("zone", Text::schema(schema), false);
            EndpointFields::properties(schema, object);
            object.exclude(&["zone", "locality"]);
        });
        json!({ "oneOf": [{ "type": "string" }, long] })
    }
}

form! {
    /// The fields of an endpoint beside its address.
    EndpointFields of Endpoint = Endpoint { weight: 1, ..Endpoint::default() }; {
        "ports" ports: TextMap<TextKey, Port>;
        "closed_ports" closed_ports: NonEmpty<Text>;
        "labels" labels: LabelSet;
        "locality" locality: Text;
        "weight" weight: Limit;
        "service_account" service_account: Opt<Text>;
    }
}

pub(super) const WORKLOADS: Shelf<WorkloadEntry> = Shelf {
    kind: "workload",
    push: |policy, entry| policy.workload_entries.push(entry),
};

form! {
    /// An entry of `workloads` in full.
    WorkloadForm of WorkloadEntry; {
        "name" [required] meta.name: Text;
        "created" meta.created: Created;
        "endpoint" [required] endpoint: EndpointForm;
    }
}

fn is_empty(node: &Node) -> bool {
    node.entries().is_empty()
}

/// An endpoint needs a port, its own or the service's, and names only ports that the service has.
fn check_ports(cx: &Reader<'_>, node: &Node, endpoint: &Endpoint, ports: &[ServicePort]) {
    if endpoint.port.is_none() && endpoint.ports.is_empty() && ports.is_empty() {
        let address = quoted(&endpoint.address);
        let message = format!("endpoint {address} has no port, and its service has none either");
        let help = "write `address:port`, or give the service a `port`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, node.span, message).with_help(help));
    }
    let keys = node.get("ports").map(Node::entries).unwrap_or_default();
    let closed = node.get("closed_ports").map(Node::items).unwrap_or_default();
    let named = keys.iter().map(|(key, _)| (&*key.name, key.span));
    let closed = closed.iter().filter_map(|name| Some((name.as_text()?, name.span)));
    for (name, span) in named.chain(closed) {
        if !ports.iter().any(|port| port.name == name) {
            let message = format!("the service has no port {}", quoted(name));
            cx.report(Diagnostic::new(Code::UNKNOWN_REFERENCE, span, message));
        }
    }
}

/// Reads an entry of `workloads`: an endpoint that services select by its labels.
pub(super) fn workload(cx: &Reader<'_>, key: &Key, node: &Node, sink: &mut Sink<'_>) {
    let endpoint = endpoint(cx, node);
    if !is_item(cx, key) {
        return;
    }
    let meta = sink.scope.meta(cx, &key.name, key.span);
    sink.ledger.define("workload", &meta, key.span);
    let entry = endpoint.map(|endpoint| WorkloadEntry { meta, endpoint });
    sink.policy.workload_entries.extend(entry);
}

fn endpoint(cx: &Reader<'_>, node: &Node) -> Option<Endpoint> {
    if !matches!(node.value, Value::Mapping(_)) {
        let (address, port) = address(cx, node)?;
        return Some(Endpoint {
            address,
            port,
            weight: 1,
            origin: cx.origin(node.span),
            ..Endpoint::default()
        });
    }
    let mut fields = cx.mapping(node)?;
    let address = fields.required("address", address);
    let labels = fields.optional("labels", labels).unwrap_or_default();
    let locality = locality(&mut fields);
    let weight = fields.optional("weight", within(1..=i32::MAX.into())).unwrap_or(1);
    let service_account = fields.optional("service_account", super::envelope::object_name);
    let given = fields.node("port");
    let port = fields.optional("port", Reader::port);
    let ports = fields.optional("ports", map_of(Reader::port)).unwrap_or_default();
    let closed_ports = fields.list("closed_ports", Reader::string);
    fields.finish();
    let (address, inline) = address?;
    if let (Some(node), Some(_)) = (given, inline) {
        return cx.invalid(node, "the address has a port already");
    }
    Some(Endpoint {
        address,
        port: inline.or(port),
        ports,
        closed_ports,
        labels,
        locality,
        weight,
        service_account,
        origin: cx.origin(node.span),
    })
}

/// Reads `locality: region/zone/subzone`, or `zone`, which is one without region.
fn locality(fields: &mut Fields<'_, '_, '_>) -> String {
    fields.one_of(&["zone", "locality"]);
    let zone = fields.optional("zone", |cx, node| {
        let zone = cx.name(node)?;
        if zone.contains('/') {
            return cx.invalid(
                node,
                "expected one zone, write `locality: region/zone/subzone` for more",
            );
        }
        Some(format!("/{zone}"))
    });
    let locality = fields.optional("locality", |cx, node| {
        let locality = cx.name(node)?;
        if locality.split('/').count() > 3 {
            return cx.invalid(node, "expected `region/zone/subzone` at most");
        }
        Some(locality)
    });
    zone.or(locality).unwrap_or_default()
}

/// Reads `ip`, `ip:port`, `[v6]:port`, `name` or `name:port`.
fn address(cx: &Reader<'_>, node: &Node) -> Option<(String, Option<u16>)> {
    let text = cx.text(node)?;
    match split(text) {
        Some(found) => Some(found),
        None => cx.invalid(
            node,
            format!(
                "expected an address such as `10.0.0.4:8080`, `[::1]:8080` or `orders.example.com:8080`, found {}",
                quoted(text)
            ),
        ),
    }
}

fn split(text: &str) -> Option<(String, Option<u16>)> {
    if text.parse::<IpAddr>().is_ok() {
        return Some((text.into(), None));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        return match port.strip_prefix(':') {
            Some(port) => Some((address.into(), Some(number(port)?))),
            None => port.is_empty().then(|| (address.into(), None)),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(number(port)?)),
        None => (text, None),
    };
    let is_address = host.parse::<IpAddr>().is_ok() || is_dns_name(host);
    is_address.then(|| (host.to_ascii_lowercase(), port))
}

fn number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

/// Whether a port can have this name.
pub(super) fn is_port_name(name: &str) -> bool {
    is_dns_label(name)
}
