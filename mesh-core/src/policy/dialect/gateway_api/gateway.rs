//! `Gateway`: listeners, served by the processes that carry the gateway's name as a label.

use std::collections::BTreeMap;

use super::values::hostname;
use super::{at_most, not_yet, required_spec, unexpected};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::gateway::{Gateway, GatewayHost, GatewayServer, GatewayTls, Listeners, PlainText};
use crate::policy::reader::{Fields, Reader, list_of, spanned};
use crate::policy::source::{Node, Spanned, Value};

/// The label that says which gateway a process serves.
const LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// Reads a `Gateway`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let Some(mut fields) = required_spec(cx, object).and_then(|spec| cx.mapping(spec)) else {
        return;
    };
    fields.required("gatewayClassName", Reader::name);
    let listeners = fields.required("listeners", |cx, node| {
        at_most(cx, node, 64);
        list_of(spanned(|cx, node| listener(cx, node, object)))(cx, node)
    });
    not_yet(
        &mut fields,
        &[
            ("allowedListeners", "listeners are those of the gateway itself"),
            ("backendTLS", "no certificate is shown to backends"),
            ("tls", "clients of a gateway show no certificate"),
            ("defaultScope", "a route names its gateways"),
        ],
    );
    for name in ["addresses", "infrastructure"] {
        if let Some((key, _)) = fields.entry(name) {
            let message = format!(
                "field {} has no effect: a process listens where it is told to",
                quoted(&key.name)
            );
            cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
        }
    }
    fields.finish();
    let listeners = listeners.unwrap_or_default();
    check_unique(cx, &listeners);
    policy.gateways.push(Gateway {
        meta: object.meta.clone(),
        selector: BTreeMap::from([(LABEL.to_owned(), object.meta.name.clone())]),
        servers: listeners
            .into_iter()
            .filter_map(|listener| listener.value.server)
            .collect(),
        listeners: Listeners::Isolated,
    });
}

struct Listener {
    name: String,
    key: (u16, String, Option<String>),
    /// `None` for protocols that are not in force.
    server: Option<GatewayServer>,
}

/// Names are unique, and so is a port with its protocol and host.
fn check_unique(cx: &Reader<'_>, listeners: &[Spanned<Listener>]) {
    for (index, listener) in listeners.iter().enumerate() {
        let mut earlier = listeners.iter().take(index);
        let twin = earlier.find(|other| other.name == listener.name || other.key == listener.key);
        let Some(twin) = twin else { continue };
        let what = match twin.name == listener.name {
            true => format!("listener {} is there already", quoted(&listener.name)),
            false => "port, protocol and hostname are those of another listener".into(),
        };
        let diagnostic = Diagnostic::new(Code::DUPLICATE_DEFINITION, listener.span, what);
        cx.report(diagnostic.with_label(twin.span, "given here already"));
    }
}

fn listener(cx: &Reader<'_>, node: &Node, object: &Object<'_>) -> Option<Listener> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", section_name);
    let port = fields.required("port", Reader::port);
    let protocol = fields.required("protocol", Reader::name);
    let host = fields.optional("hostname", hostname);
    let namespaces = fields.optional("allowedRoutes", |cx, node| allowed_routes(cx, node, object));
    let protocol = protocol?;
    let tls = tls(cx, &mut fields, &protocol);
    if let Some((key, _)) = fields
        .entry("hostname")
        .filter(|_| matches!(protocol.as_str(), "TCP" | "UDP"))
    {
        let message = format!("field {} is for protocols that name a host", quoted(&key.name));
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    let is_served = matches!(protocol.as_str(), "HTTP" | "HTTPS");
    if let Some(node) = fields.node("protocol").filter(|_| !is_served) {
        let title = Code::NOT_YET_IN_FORCE.title();
        let message = format!("protocol {} is {title}: gateways speak HTTP", quoted(&protocol));
        cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, node.span, message));
    }
    fields.finish();
    let (name, port) = (name?, port?);
    let namespace = namespaces.unwrap_or_else(|| Some(object.meta.namespace.clone()));
    let hosts = vec![GatewayHost {
        namespace,
        host: host.clone().unwrap_or_else(|| "*".into()),
    }];
    let server = GatewayServer {
        port,
        port_name: name.clone(),
        hosts,
        tls,
        plain_text: PlainText::Serve,
        origin: cx.origin(node.span),
    };
    let is_complete = server.tls.is_some() || protocol == "HTTP";
    Some(Listener {
        name,
        key: (port, protocol, host),
        server: (is_served && is_complete).then_some(server),
    })
}

/// Reads the name of a listener: a DNS name in lower case.
fn section_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if crate::policy::dialect::names::is_dns_name(text) && text == text.to_ascii_lowercase() && !text.ends_with('.') {
        return Some(text.into());
    }
    unexpected(cx, node, "a name of lower-case letters, digits, `-` and `.`", text)
}

/// The certificate of a listener that ends TLS.
fn tls(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, protocol: &str) -> Option<GatewayTls> {
    let Some((key, node)) = fields.entry("tls") else {
        if matches!(protocol, "HTTPS" | "TLS") {
            fields.missing(&["tls"]);
        }
        return None;
    };
    if matches!(protocol, "HTTP" | "TCP" | "UDP") {
        let message = format!(
            "`tls` needs a listener with the protocol `HTTPS` or `TLS`, not {}",
            quoted(protocol)
        );
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    let mut tls = cx.mapping(node)?;
    let mode = tls
        .optional("mode", Reader::string)
        .unwrap_or_else(|| "Terminate".into());
    let names = tls.list("certificateRefs", certificate);
    not_yet(
        &mut tls,
        &[("frontendValidation", "clients of a gateway show no certificate")],
    );
    tls.skip(&["options"]);
    let has_none = names.is_empty() && tls.node("certificateRefs").is_none_or(|node| node.items().is_empty());
    match mode.as_str() {
        "Terminate" if has_none && tls.node("options").is_none() => tls.missing(&["certificateRefs"]),
        "Terminate" | "Passthrough" => {}
        other => {
            unexpected::<()>(cx, node, "mode `Terminate` or `Passthrough`", other);
        }
    }
    tls.finish();
    let name = names
        .into_iter()
        .next()
        .filter(|_| mode == "Terminate" && protocol == "HTTPS")?;
    Some(GatewayTls::simple(name, cx.origin(node.span)))
}

/// The secret's name is that of a folder below the credentials directory.
fn certificate(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let mut fields = cx.mapping(node)?;
    let group = fields.optional("group", Reader::any_text).unwrap_or_default();
    let kind = fields
        .optional("kind", Reader::any_text)
        .unwrap_or_else(|| "Secret".into());
    let name = fields.required("name", Reader::name);
    fields.optional("namespace", Reader::name);
    fields.finish();
    if !group.is_empty() || kind != "Secret" {
        let message = format!(
            "certificates are in a `Secret`, not in {}: the listener has none",
            quoted(&kind)
        );
        cx.report(Diagnostic::new(Code::UNRESOLVED_REFERENCE, node.span, message));
        return None;
    }
    name
}

/// The namespace whose routes are allowed; `None` in it for all of them.
fn allowed_routes(cx: &Reader<'_>, node: &Node, object: &Object<'_>) -> Option<Option<String>> {
    let mut fields = cx.mapping(node)?;
    let namespaces = fields.optional("namespaces", |cx, node| namespaces(cx, node, object));
    let kinds = fields.list("kinds", |cx, node| {
        let mut kind = cx.mapping(node)?;
        kind.optional("group", Reader::any_text);
        let name = kind.required("kind", Reader::name);
        kind.finish();
        name
    });
    let takes_http = kinds.is_empty() || kinds.iter().any(|kind| kind == "HTTPRoute" || kind == "GRPCRoute");
    if let Some((key, _)) = fields.entry("kinds").filter(|_| !takes_http) {
        let title = Code::NOT_YET_IN_FORCE.title();
        let message = format!("field `kinds` is {title}: listeners take the routes of HTTP and gRPC");
        cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, key.span, message));
    }
    fields.finish();
    namespaces
}

fn namespaces(cx: &Reader<'_>, node: &Node, object: &Object<'_>) -> Option<Option<String>> {
    let mut fields = cx.mapping(node)?;
    let from = fields.optional("from", Reader::string).unwrap_or_else(|| "Same".into());
    let selected = fields.node("selector").map(namespace_of);
    fields.finish();
    match (from.as_str(), selected) {
        ("All", _) => Some(None),
        ("Same", _) => Some(Some(object.meta.namespace.clone())),
        // A name that no namespace has.
        ("None", _) => Some(Some(String::new())),
        ("Selector", Some(Some(name))) => Some(Some(name)),
        ("Selector", _) => {
            let title = Code::NOT_YET_IN_FORCE.title();
            let message = format!("selector is {title}: namespaces are known by `kubernetes.io/metadata.name` only");
            cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, node.span, message));
            Some(Some(String::new()))
        }
        (other, _) => unexpected(cx, node, "`All`, `Same`, `Selector` or `None`", other),
    }
}

/// The namespace that a selector names by the label that every namespace has.
fn namespace_of(selector: &Node) -> Option<String> {
    let labels = selector.get("matchLabels")?;
    let Value::Mapping(entries) = &labels.value else {
        return None;
    };
    match entries.as_slice() {
        [(key, value)] if *key.name == *"kubernetes.io/metadata.name" => value.as_text().map(str::to_owned),
        _ => None,
    }
}
