//! Listeners: the servers of a gateway, and the routes that they take.

use super::names::{group, hostname, kind, section};
use super::values::{Defaults, ObjectRef, bounded, contradiction, given_or, object_ref};
use super::{GROUP, NOT_YET, no_effect};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::names::labels;
use crate::policy::model::attachment::{From, Listener, Requirement, Requires, RouteKind};
use crate::policy::model::gateway::{GatewayHost, GatewayServer, GatewayTls};
use crate::policy::model::{Meta, Origin};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::Node;

/// The most kinds of routes, and the most certificates.
const KINDS: usize = 8;
const CERTIFICATES: usize = 64;

/// A listener: what it serves, where that is in force, and what it takes.
pub(super) struct Read {
    pub(super) admission: Listener,
    pub(super) protocol: Protocol,
    pub(super) server: Option<GatewayServer>,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Https,
    Tls,
    Tcp,
    Udp,
    /// Another project's.
    Other,
}

const PROTOCOLS: &[(&str, Protocol)] = &[
    ("HTTP", Protocol::Http),
    ("HTTPS", Protocol::Https),
    ("TLS", Protocol::Tls),
    ("TCP", Protocol::Tcp),
    ("UDP", Protocol::Udp),
];

impl Protocol {
    /// Whether both can be on one port: names in TLS tell HTTPS from TLS, and datagrams have ports of their own.
    pub(super) const fn fits(self, other: Self) -> bool {
        self as u8 == other as u8
            || matches!(self, Self::Udp)
            || matches!(other, Self::Udp)
            || (matches!(self, Self::Https | Self::Tls) && matches!(other, Self::Https | Self::Tls))
    }

    /// Kinds of routes that can be attached.
    const fn kinds(self) -> &'static [RouteKind] {
        match self {
            Self::Http | Self::Https => &[RouteKind::Http, RouteKind::Grpc],
            Self::Tls => &[RouteKind::Tls, RouteKind::Tcp],
            Self::Tcp => &[RouteKind::Tcp],
            Self::Udp | Self::Other => &[],
        }
    }
}

/// Reads a listener.
pub(super) fn listener(cx: &Reader<'_>, node: &Node, gateway: &Meta) -> Option<Read> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", section);
    let host = given_or(&mut fields, "hostname", "*".to_owned(), host);
    let port = fields.required("port", Reader::port);
    let protocol = fields.required("protocol", protocol);
    let tls = tls(cx, &mut fields, protocol, gateway);
    let allowed = fields.optional("allowedRoutes", |cx, node| allowed_routes(cx, node, protocol));
    let has_host = fields.entry("hostname").map(|(key, _)| key.span);
    fields.finish();
    let (name, host, port, protocol) = (name?, host?, port?, protocol?);
    if let Some(span) = has_host.filter(|_| matches!(protocol, Protocol::Tcp | Protocol::Udp)) {
        contradiction(
            cx,
            span,
            "`hostname` does not belong to this protocol: only HTTP and TLS name a host",
        );
    }
    let mut admission = Listener::new(gateway, name, port, cx.origin(node.span));
    (admission.from, admission.kinds) = allowed.unwrap_or_else(|| (From::Same, protocol.kinds().to_vec()));
    admission.host = host;
    admission.certificate = tls.as_ref().and_then(|tls| tls.foreign.clone());
    let server = server(&admission, protocol, tls, cx.origin(node.span));
    Some(Read {
        admission,
        protocol,
        server,
    })
}

/// The server of a listener that speaks HTTP; one of HTTPS needs its certificate.
fn server(listener: &Listener, protocol: Protocol, tls: Option<Certificate>, origin: Origin) -> Option<GatewayServer> {
    let mut server = GatewayServer::new(listener.port, listener.name.clone(), origin);
    server.hosts.push(GatewayHost {
        namespace: None,
        host: listener.host.clone(),
    });
    match protocol {
        Protocol::Http => Some(server),
        Protocol::Https => {
            server.tls = Some(tls?.tls);
            Some(server)
        }
        _ => None,
    }
}

/// Reads a host; an empty one is any.
fn host(cx: &Reader<'_>, node: &Node) -> Option<String> {
    match cx.text(node)? {
        "" => Some("*".into()),
        _ => hostname(cx, node),
    }
}

fn protocol(cx: &Reader<'_>, node: &Node) -> Option<Protocol> {
    let text = cx.text(node)?;
    let known = PROTOCOLS.iter().find(|(name, _)| *name == text);
    let is_project = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
    let found = match known {
        Some((_, protocol)) => *protocol,
        // Projects name their own: `HBONE`, `example.com/foo`.
        None if text == "HBONE" || (text.contains('/') && text.chars().all(is_project)) => Protocol::Other,
        None => {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            return cx.unknown(node, "protocol", &names);
        }
    };
    if !matches!(found, Protocol::Http | Protocol::Https) {
        let message = format!("protocol {} is {}: gateways speak HTTP", quoted(text), NOT_YET.title());
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
    Some(found)
}

/// Where a listener's certificate lies.
struct Certificate {
    tls: GatewayTls,
    /// Its namespace and name, where the namespace is not the gateway's.
    foreign: Option<(String, String)>,
}

/// Whether TLS ends at the listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Terminate,
    Passthrough,
}

fn tls(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
    protocol: Option<Protocol>,
    gateway: &Meta,
) -> Option<Certificate> {
    let Some((key, node)) = fields.entry("tls") else {
        if protocol == Some(Protocol::Https) {
            fields.missing(&["tls"]);
        }
        return None;
    };
    if matches!(protocol, Some(Protocol::Http | Protocol::Tcp | Protocol::Udp)) {
        contradiction(
            cx,
            key.span,
            "`tls` does not belong to this protocol: it is for `HTTPS` and `TLS`",
        );
    }
    let mut tls = cx.mapping(node)?;
    let modes = [("Terminate", Mode::Terminate), ("Passthrough", Mode::Passthrough)];
    let mode = given_or(&mut tls, "mode", Mode::Terminate, choice(&modes));
    let certificates = bounded(&mut tls, "certificateRefs", CERTIFICATES, object_ref(Defaults::SECRET));
    let options = tls.map("options", Reader::string);
    if let Some((key, _)) = tls.entry("options").filter(|_| !options.is_empty()) {
        no_effect(
            cx,
            key.span,
            "`options` has no effect: versions and cipher suites are those of the TLS library",
        );
    }
    super::refuse(
        &mut tls,
        "frontendValidation",
        "clients of a gateway show no certificate",
    );
    let names_none = tls.node("certificateRefs").is_none_or(|node| node.items().is_empty());
    let mode = mode?;
    if mode == Mode::Passthrough && protocol == Some(Protocol::Https) {
        contradiction(
            cx,
            node.span,
            "`mode: Passthrough` needs the protocol `TLS`: with `HTTPS` TLS ends here",
        );
    }
    if mode == Mode::Terminate && names_none && options.is_empty() {
        tls.missing(&["certificateRefs"]);
    }
    tls.finish();
    certificate(cx, certificates, gateway)
}

fn certificate(cx: &Reader<'_>, certificates: Vec<ObjectRef<'_>>, gateway: &Meta) -> Option<Certificate> {
    for other in certificates.iter().skip(1) {
        let message = format!(
            "certificate {} is {}: a listener shows one",
            quoted(&other.name),
            NOT_YET.title()
        );
        cx.report(Diagnostic::new(NOT_YET, other.span, message));
    }
    let first = certificates.into_iter().next()?;
    if (first.group, first.kind) != ("", "Secret") {
        let message = format!(
            "certificates are secrets, not {}: the listener is not served",
            quoted(first.kind)
        );
        cx.report(Diagnostic::new(Code::UNRESOLVED_REFERENCE, first.span, message));
        return None;
    }
    let foreign = first.namespace.filter(|namespace| *namespace != gateway.namespace);
    let folder = match &foreign {
        Some(namespace) => format!("{namespace}.{}", first.name),
        None => first.name.clone(),
    };
    Some(Certificate {
        tls: GatewayTls::simple(folder, cx.origin(first.span)),
        foreign: foreign.map(|namespace| (namespace, first.name)),
    })
}

fn allowed_routes(cx: &Reader<'_>, node: &Node, protocol: Option<Protocol>) -> Option<(From, Vec<RouteKind>)> {
    let mut fields = cx.mapping(node)?;
    let from = given_or(&mut fields, "namespaces", From::Same, |cx, node| {
        namespaces(cx, node, &["All", "Selector", "Same"])
    });
    let possible = protocol.map_or(&[][..], Protocol::kinds);
    let kinds = bounded(&mut fields, "kinds", KINDS, |cx, node| route_kind(cx, node, possible));
    let names_some = fields.node("kinds").is_some_and(|node| !node.items().is_empty());
    fields.finish();
    let kinds = if names_some { kinds } else { possible.to_vec() };
    Some((from?, kinds))
}

fn route_kind(cx: &Reader<'_>, node: &Node, possible: &[RouteKind]) -> Option<RouteKind> {
    let mut fields = cx.mapping(node)?;
    let group = given_or(&mut fields, "group", GROUP, group);
    let kind = fields.required("kind", kind);
    fields.finish();
    let (group, kind) = (group?, kind?);
    let found = possible.iter().find(|known| group == GROUP && known.name() == kind);
    if found.is_none() {
        let message = format!(
            "the listener takes no routes of kind {}: its protocol is another",
            quoted(kind)
        );
        no_effect(cx, node.span, &message);
    }
    found.copied()
}

/// Reads `{ from, selector }`.
pub(super) fn namespaces(cx: &Reader<'_>, node: &Node, known: &[&'static str]) -> Option<From> {
    let mut fields = cx.mapping(node)?;
    let names: Vec<(&'static str, &'static str)> = known.iter().map(|name| (*name, *name)).collect();
    let from = given_or(&mut fields, "from", "Same", choice(&names));
    let selector = fields.optional("selector", selector);
    let is_given = fields.entry("selector").map(|(key, _)| key.span);
    fields.finish();
    match from? {
        "All" => Some(From::All),
        "None" => Some(From::None),
        "Selector" => match is_given {
            None => cx.invalid(node, "`from: Selector` needs a `selector`"),
            Some(_) => selector.map(From::Selector),
        },
        _ => {
            if let Some(span) = is_given {
                no_effect(cx, span, "`selector` has no effect without `from: Selector`");
            }
            Some(From::Same)
        }
    }
}

/// Reads a selector of labels, as Kubernetes writes it.
pub(in crate::policy::dialect) fn selector(cx: &Reader<'_>, node: &Node) -> Option<Vec<Requirement>> {
    let mut fields = cx.mapping(node)?;
    let labels = fields.optional("matchLabels", labels).unwrap_or_default();
    let mut all: Vec<Requirement> = labels
        .into_iter()
        .map(|(key, value)| Requirement::new(key, Requires::In(vec![value])))
        .collect();
    all.extend(fields.list("matchExpressions", requirement));
    fields.finish();
    Some(all)
}

fn requirement(cx: &Reader<'_>, node: &Node) -> Option<Requirement> {
    const OPERATORS: &[(&str, Requires)] = &[
        ("In", Requires::In(Vec::new())),
        ("NotIn", Requires::NotIn(Vec::new())),
        ("Exists", Requires::Exists),
        ("DoesNotExist", Requires::DoesNotExist),
    ];
    let mut fields = cx.mapping(node)?;
    let key = fields.required("key", Reader::name);
    let names: Vec<(&'static str, usize)> = OPERATORS
        .iter()
        .enumerate()
        .map(|(at, (name, _))| (*name, at))
        .collect();
    let operator = fields.required("operator", choice(&names));
    let values = fields.list("values", Reader::string);
    fields.finish();
    let (_, operator) = OPERATORS.get(operator?)?;
    let is = match operator {
        Requires::In(_) => Requires::In(values),
        Requires::NotIn(_) => Requires::NotIn(values),
        other if values.is_empty() => other.clone(),
        _ => return cx.invalid(node, "`values` does not belong to this operator"),
    };
    match &is {
        Requires::In(values) | Requires::NotIn(values) if values.is_empty() => {
            cx.invalid(node, "this operator needs `values`")
        }
        _ => Some(Requirement::new(key?, is)),
    }
}
