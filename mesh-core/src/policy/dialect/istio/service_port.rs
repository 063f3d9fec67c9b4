//! `ServicePort`: the ports of a service, and what is spoken on them.

use super::names::{dns_label, refuse_duplicates};
use crate::policy::model::service::{Protocol, ServicePort};
use crate::policy::reader::{Fields, Reader, spanned};
use crate::policy::source::{Node, Spanned};

/// A port, and whether its traffic says which host it is for.
pub(super) struct Port {
    pub(super) port: ServicePort,
    pub(super) naming: Naming,
}

/// Whether what is spoken on a port names its host: HTTP does, and so does TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Named,
    Nameless,
}

/// Reads the ports of a service, each of whose numbers and names are its own.
pub(super) fn ports(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Vec<Spanned<Port>> {
    let ports = fields.list("ports", spanned(port));
    let numbers: Vec<String> = ports.iter().map(|port| port.port.number.to_string()).collect();
    let spans: Vec<_> = numbers
        .iter()
        .zip(&ports)
        .map(|(number, port)| (number.as_str(), port.span))
        .collect();
    refuse_duplicates(cx, "port number", &spans);
    let spans: Vec<_> = ports.iter().map(|port| (port.port.name.as_str(), port.span)).collect();
    refuse_duplicates(cx, "port name", &spans);
    ports
}

fn port(cx: &Reader<'_>, node: &Node) -> Option<Port> {
    let mut fields = cx.mapping(node)?;
    let number = fields.required("number", Reader::port);
    let name = fields.required("name", dns_label);
    let protocol = fields.optional("protocol", protocol);
    let target = fields.optional("targetPort", Reader::port);
    fields.finish();
    // Without a protocol upstream looks at the bytes. Callers here speak HTTP, of which the first bytes tell nothing.
    let (protocol, naming) = protocol.unwrap_or((Protocol::Http, Naming::Nameless));
    let port = ServicePort {
        number: number?,
        name: name?,
        protocol,
        target,
    };
    Some(Port { port, naming })
}

/// Protocols of Istio; those of byte streams are there so that rules and other dialects can speak of their ports.
const PROTOCOLS: &[(&str, Protocol, Naming)] = &[
    ("HTTP", Protocol::Http, Naming::Named),
    ("HTTP2", Protocol::Http2, Naming::Named),
    ("GRPC", Protocol::Grpc, Naming::Named),
    ("GRPC-WEB", Protocol::Http, Naming::Named),
    ("HTTPS", Protocol::Https, Naming::Named),
    ("TCP", Protocol::Tcp, Naming::Nameless),
    ("TLS", Protocol::Tls, Naming::Named),
    ("MONGO", Protocol::Tcp, Naming::Nameless),
    ("REDIS", Protocol::Tcp, Naming::Nameless),
    ("MYSQL", Protocol::Tcp, Naming::Nameless),
    ("UDP", Protocol::Tcp, Naming::Nameless),
    ("HTTP_PROXY", Protocol::Http, Naming::Named),
];

/// Reads a protocol, in any case.
fn protocol(cx: &Reader<'_>, node: &Node) -> Option<(Protocol, Naming)> {
    let text = cx.text(node)?;
    if text.is_empty() {
        return None;
    }
    let known = PROTOCOLS.iter().find(|(name, _, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, protocol, naming)) = known {
        return Some((*protocol, *naming));
    }
    let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _, _)| *name).collect();
    cx.unknown(node, "protocol", &names)
}
