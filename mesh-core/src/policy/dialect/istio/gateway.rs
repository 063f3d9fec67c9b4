//! `Gateway`: front doors, served by the processes whose labels they select.

use std::net::IpAddr;

use super::gateway_tls::{encrypted, plain};
use super::names::{dns_label, is_dns_label, is_host_pattern, labels, refuse_duplicates};
use super::scope::Scope;
use super::{NOT_YET, refuse_all, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::gateway::{Gateway, GatewayHost, GatewayServer, PlainText};
use crate::policy::reader::{Fields, Reader, spanned};
use crate::policy::source::Node;

/// Reads a `Gateway`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let gateway = required_spec(cx, object).and_then(|spec| {
        let scope = Scope::new(object, &policy.mesh);
        gateway(cx, object, spec, scope)
    });
    policy.gateways.extend(gateway);
}

fn gateway(cx: &Reader<'_>, object: &Object<'_>, spec: &Node, scope: Scope<'_>) -> Option<Gateway> {
    let mut fields = cx.mapping(spec)?;
    let selector = fields.optional("selector", labels).unwrap_or_default();
    let servers = fields.list("servers", spanned(|cx, node| server(cx, node, scope)));
    if spec
        .get("servers")
        .is_none_or(|node| node.is_null() || node.items().is_empty())
    {
        fields.missing(&["servers"]);
    }
    fields.finish();
    let names: Vec<_> = servers
        .iter()
        .map(|server| (server.port_name.as_str(), server.span))
        .collect();
    refuse_duplicates(cx, "port name", &names);
    Some(Gateway {
        meta: object.meta.clone(),
        selector,
        servers: servers.into_iter().map(|server| server.value).collect(),
        ..Gateway::default()
    })
}

fn server(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<GatewayServer> {
    let mut fields = cx.mapping(node)?;
    let listening = bind(&mut fields);
    let port = fields.required("port", |cx, node| port(cx, node, listening));
    let hosts = fields.list("hosts", |cx, node| host(cx, node, scope));
    if node
        .get("hosts")
        .is_none_or(|node| node.is_null() || node.items().is_empty())
    {
        fields.missing(&["hosts"]);
    }
    // A name for people: nothing refers to it.
    fields.optional("name", Reader::string);
    let (mut tls, mut plain_text) = (None, PlainText::Serve);
    match port.as_ref().map(|port| port.protocol.encryption) {
        Some(Encryption::Tls) => tls = encrypted(cx, &mut fields),
        Some(Encryption::Plain) => plain_text = plain(cx, &mut fields).unwrap_or_default(),
        None => fields.skip(&["tls"]),
    }
    fields.optional("defaultEndpoint", Reader::string);
    let refused = [
        ("bind", "a gateway listens where its process does"),
        ("defaultEndpoint", "connections are not forwarded as they are"),
    ];
    refuse_all(&mut fields, NOT_YET, &refused);
    fields.finish();
    let port = port.filter(|port| port.protocol.speech == Speech::Http)?;
    Some(GatewayServer {
        port: port.number,
        port_name: port.name,
        hosts,
        tls,
        plain_text,
        origin: cx.origin(node.span),
    })
}

/// Whether a server listens at a socket, which has no port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listening {
    AtPort,
    AtSocket,
}

/// Reads the address of a server: one of IP, or a socket.
fn bind(fields: &mut Fields<'_, '_, '_>) -> Listening {
    let listening = fields.optional("bind", |cx, node| {
        let text = cx.text(node)?;
        if let Some(path) = text.strip_prefix("unix://") {
            return match path.starts_with(['/', '@']) {
                true => Some(Listening::AtSocket),
                false => cx.invalid(
                    node,
                    format!("expected the absolute path of a socket, found {}", quoted(path)),
                ),
            };
        }
        match text.is_empty() || text.parse::<IpAddr>().is_ok() {
            true => Some(Listening::AtPort),
            false => cx.invalid(
                node,
                format!("expected an IP address or a socket, found {}", quoted(text)),
            ),
        }
    });
    listening.unwrap_or(Listening::AtPort)
}

/// Whether a port's protocol starts with a TLS handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Plain,
    Tls,
}

/// Whether requests are read, or bytes are passed on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Http,
    Bytes,
}

#[derive(Clone, Copy)]
struct Protocol {
    name: &'static str,
    encryption: Encryption,
    speech: Speech,
}

const fn protocol_of(name: &'static str, encryption: Encryption, speech: Speech) -> Protocol {
    Protocol {
        name,
        encryption,
        speech,
    }
}

const PROTOCOLS: &[Protocol] = &[
    protocol_of("HTTP", Encryption::Plain, Speech::Http),
    protocol_of("HTTPS", Encryption::Tls, Speech::Http),
    protocol_of("GRPC", Encryption::Plain, Speech::Http),
    protocol_of("GRPC-WEB", Encryption::Plain, Speech::Http),
    protocol_of("HTTP2", Encryption::Plain, Speech::Http),
    protocol_of("MONGO", Encryption::Plain, Speech::Bytes),
    protocol_of("TCP", Encryption::Plain, Speech::Bytes),
    protocol_of("TLS", Encryption::Tls, Speech::Bytes),
];

struct Port {
    number: u16,
    name: String,
    protocol: Protocol,
}

fn port(cx: &Reader<'_>, node: &Node, listening: Listening) -> Option<Port> {
    let mut fields = cx.mapping(node)?;
    let number = match listening {
        Listening::AtPort => fields.required("number", Reader::port),
        Listening::AtSocket => fields.required("number", |cx, node| match cx.u16(node)? {
            0 => Some(0),
            port => cx.invalid(node, format!("a socket has no port, expected `0`, found `{port}`")),
        }),
    };
    let name = fields.required("name", dns_label);
    let protocol = fields.required("protocol", protocol);
    fields.optional("targetPort", Reader::u16);
    if let Some((key, _)) = fields.entry("targetPort") {
        let message = format!(
            "{} is deprecated, and has no effect in Istio and here",
            quoted(&key.name)
        );
        cx.report(Diagnostic::new(Code::DEPRECATED, key.span, message));
    }
    fields.finish();
    Some(Port {
        number: number?,
        name: name?,
        protocol: protocol?,
    })
}

fn protocol(cx: &Reader<'_>, node: &Node) -> Option<Protocol> {
    let text = cx.text(node)?;
    let Some(protocol) = PROTOCOLS.iter().find(|one| one.name.eq_ignore_ascii_case(text)) else {
        let names: Vec<&str> = PROTOCOLS.iter().map(|one| one.name).collect();
        return cx.unknown(node, "protocol", &names);
    };
    if protocol.speech == Speech::Bytes {
        let message = format!(
            "protocol `{}` is {}: gateways speak HTTP",
            protocol.name,
            NOT_YET.title()
        );
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
    Some(*protocol)
}

/// Reads `[namespace/]name`, where the name has a dot or is `*`.
fn host(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<GatewayHost> {
    let text = cx.text(node)?;
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => ("*", text),
    };
    let is_partial = name.len() > 1 && name.starts_with('*') && !name.starts_with("*.");
    let is_name = name == "*" || (name.contains('.') && is_host_pattern(name) && !is_partial);
    let namespace = match namespace {
        "*" => Some(None),
        "." => Some(Some(scope.namespace.to_owned())),
        label if is_dns_label(label) => Some(Some(label.to_owned())),
        _ => None,
    };
    match namespace {
        Some(namespace) if is_name => Some(GatewayHost {
            namespace,
            host: name.to_ascii_lowercase(),
        }),
        _ => {
            let expected = "expected a full name, `*.example.com` or `*`, after `namespace/` where it is for one only";
            cx.invalid(node, format!("{expected}, found {}", quoted(text)))
        }
    }
}
