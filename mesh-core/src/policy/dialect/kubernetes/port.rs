//! Ports of services and endpoints.

use super::names::is_dns_label;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::service::{Protocol, ServicePort};
use crate::policy::reader::{IntOrString, Reader, choice};
use crate::policy::source::{Node, SourceSpan};

/// The port of a service.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) port: ServicePort,
    /// The name of the endpoints' port, where it is given by name.
    pub(super) target_name: Option<String>,
    span: SourceSpan,
}

/// What carries a port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Other,
}

const TRANSPORTS: &[(&str, Transport)] = &[
    ("TCP", Transport::Tcp),
    ("UDP", Transport::Other),
    ("SCTP", Transport::Other),
];

/// Reads the port of a service. `None` also where it carries no TCP.
pub(super) fn service_port(cx: &Reader<'_>, node: &Node) -> Option<Port> {
    let mut fields = cx.mapping(node)?;
    let name = fields.optional("name", port_name).unwrap_or_default();
    let number = fields.required("port", Reader::port);
    let application = fields.optional("appProtocol", Reader::string);
    let transport = fields.optional("protocol", choice(TRANSPORTS));
    let target = fields.optional("targetPort", target_port);
    fields.skip(&["nodePort"]);
    let span = fields.span();
    fields.finish();
    let number = number?;
    if transport == Some(Transport::Other) {
        let message = format!("port {number} carries no TCP: it is not called through the mesh");
        cx.report(Diagnostic::new(Code::NO_EFFECT, span, message));
        return None;
    }
    let (target, target_name) = match target {
        Some(Target::Number(number)) => (Some(number), None),
        Some(Target::Name(name)) => (None, Some(name)),
        None => (None, None),
    };
    let protocol = application_protocol(application.as_deref().unwrap_or(&name), number);
    let port = ServicePort {
        number,
        name,
        protocol,
        target,
    };
    Some(Port {
        port,
        target_name,
        span,
    })
}

enum Target {
    Number(u16),
    Name(String),
}

fn target_port(cx: &Reader<'_>, node: &Node) -> Option<Target> {
    match cx.int_or_string(node)? {
        IntOrString::Int(_) => cx.port(node).map(Target::Number),
        IntOrString::String(text) => match text.parse::<u16>() {
            // Kubernetes takes a number in quotes for a name, which no container can have.
            Ok(_) => cx.invalid(
                node,
                format!("expected a number or a name, found {} in quotes", quoted(&text)),
            ),
            Err(_) => port_name(cx, node).map(Target::Name),
        },
    }
}

fn port_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if text.is_empty() || is_dns_label(text) {
        return Some(text.into());
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected the name of a port of letters, digits and `-`, found {found}"),
    )
}

/// Application protocols by their names, as Istio has them.
const PROTOCOLS: &[(&str, Protocol)] = &[
    ("http", Protocol::Http),
    ("http2", Protocol::Http2),
    ("kubernetes.io/h2c", Protocol::Http2),
    ("kubernetes.io/ws", Protocol::Http),
    ("kubernetes.io/wss", Protocol::Https),
    ("https", Protocol::Https),
    ("grpc", Protocol::Grpc),
    ("grpc-web", Protocol::Http),
    ("tls", Protocol::Tls),
    ("tcp", Protocol::Tcp),
    ("mongo", Protocol::Tcp),
    ("mysql", Protocol::Tcp),
    ("redis", Protocol::Tcp),
];

/// Ports that are known to carry another protocol than HTTP: of mail, MySQL and MongoDB.
const WELL_KNOWN: &[u16] = &[25, 3306, 27017];

/// The protocol by `appProtocol` or the port's name: all of it, or the part before the first `-`.
fn application_protocol(name: &str, number: u16) -> Protocol {
    let find = |name: &str| {
        let row = PROTOCOLS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        row.map(|(_, protocol)| *protocol)
    };
    let web = name.get(..8).filter(|start| start.eq_ignore_ascii_case("grpc-web"));
    let prefix = name.split('-').next().unwrap_or(name);
    let by_name = find(web.unwrap_or(name)).or_else(|| find(prefix));
    match by_name {
        Some(protocol) => protocol,
        None if WELL_KNOWN.contains(&number) => Protocol::Tcp,
        None => Protocol::Http,
    }
}

/// A port of endpoints: its name, and its number, without which it stands for any.
pub(super) type EndpointPort = (String, Option<u16>);

/// Reads the port of endpoints. `None` also where it carries no TCP.
pub(super) fn endpoint_port(cx: &Reader<'_>, node: &Node) -> Option<EndpointPort> {
    let mut fields = cx.mapping(node)?;
    let name = fields.optional("name", port_name).unwrap_or_default();
    let number = fields.optional("port", Reader::port);
    let transport = fields.optional("protocol", choice(TRANSPORTS));
    fields.skip(&["appProtocol"]);
    fields.finish();
    (transport != Some(Transport::Other)).then_some((name, number))
}

/// Reports names and numbers of ports that are there twice, and names that are missing.
pub(super) fn check_names(cx: &Reader<'_>, ports: &[Port]) {
    for (index, Port { port, span, .. }) in ports.iter().enumerate() {
        let before = || ports.iter().take(index).map(|earlier| &earlier.port);
        if port.name.is_empty() && ports.len() > 1 {
            let message = format!("port {} has no name: of several ports each needs one", port.number);
            cx.report(Diagnostic::new(Code::MISSING_FIELD, *span, message));
        } else if before().any(|earlier| earlier.name == port.name) {
            let message = format!("port name {} is given twice", quoted(&port.name));
            cx.report(Diagnostic::new(Code::DUPLICATE_DEFINITION, *span, message));
        }
        if before().any(|earlier| earlier.number == port.number) {
            let message = format!("port number {} is given twice", port.number);
            cx.report(Diagnostic::new(Code::DUPLICATE_DEFINITION, *span, message));
        }
    }
}
