//! `Sidecar`: what the callers of a namespace see of the mesh.

use super::connection_pool::limits;
use super::names::{dns_label, is_dns_label, is_host_pattern, labels, refuse_duplicates};
use super::scope::Scope;
use super::values::given_or;
use super::virtual_service::destination;
use super::{NOT_YET, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::service::{EgressHost, Sidecar};
use crate::policy::model::{Labels, OutboundMode, Policy};
use crate::policy::reader::{Fields, Reader, choice, spanned};
use crate::policy::source::Node;

/// Reads a `Sidecar`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let sidecar = required_spec(cx, object).and_then(|spec| {
        let scope = Scope::new(object, &policy.mesh);
        sidecar(cx, object, spec, scope)
    });
    policy.sidecars.extend(sidecar);
}

/// What a document says; one of them must be given.
const FIELDS: &[&str] = &["egress", "ingress", "outboundTrafficPolicy", "inboundConnectionPool"];

fn sidecar(cx: &Reader<'_>, object: &Object<'_>, spec: &Node, scope: Scope<'_>) -> Option<Sidecar> {
    let mut fields = cx.mapping(spec)?;
    let selector = fields.optional("workloadSelector", workloads);
    if FIELDS.iter().all(|name| fields.node(name).is_none()) {
        fields.missing(FIELDS);
    }
    let sidecar = Sidecar {
        meta: object.meta.clone(),
        selector: selector.unwrap_or_default(),
        egress: egress(cx, &mut fields, scope),
        outbound: fields.optional("outboundTrafficPolicy", |cx, node| outbound(cx, node, scope)),
    };
    ingress(cx, &mut fields);
    fields.optional("inboundConnectionPool", limits);
    warn(
        cx,
        &mut fields,
        "inboundConnectionPool",
        "a process takes what reaches its listeners",
    );
    fields.finish();
    Some(sidecar)
}

fn workloads(cx: &Reader<'_>, node: &Node) -> Option<Labels> {
    let mut fields = cx.mapping(node)?;
    let labels = fields.optional("labels", labels).unwrap_or_default();
    fields.finish();
    Some(labels)
}

/// Says of a field that is given that it changes nothing.
fn warn(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, name: &'static str, reason: &str) {
    if let Some((key, _)) = fields.entry(name) {
        let message = format!("{} has no effect: {reason}", quoted(&key.name));
        cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
    }
}

const NOT_CAPTURED: &str = "connections are not captured, callers ask the mesh";

/// The services that are seen, over all listeners; `None` where nothing is said.
fn egress(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Option<Vec<EgressHost>> {
    let node = fields.node("egress").filter(|node| !node.items().is_empty())?;
    let listeners = fields.list("egress", |cx, node| egress_listener(cx, node, scope));
    check_catch_all(cx, node.items());
    Some(listeners.into_iter().flatten().collect())
}

fn egress_listener(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Vec<EgressHost>> {
    let mut fields = cx.mapping(node)?;
    fields.optional("port", port);
    warn(cx, &mut fields, "port", "hosts are seen on each of their ports");
    fields.optional("bind", Reader::string);
    warn(cx, &mut fields, "bind", NOT_CAPTURED);
    capture_mode(cx, &mut fields);
    let hosts = fields.list("hosts", |cx, node| egress_host(cx, node, scope));
    if fields.node("hosts").is_none_or(|node| node.items().is_empty()) {
        fields.missing(&["hosts"]);
    }
    fields.finish();
    Some(hosts.into_iter().flatten().collect())
}

/// The listener without a port takes what is left, so that it comes last.
fn check_catch_all(cx: &Reader<'_>, listeners: &[Node]) {
    let has_no_port = |node: &&Node| !node.entries().is_empty() && node.get("port").is_none_or(Node::is_null);
    let before_last = listeners.split_last().map_or(&[][..], |(_, before)| before);
    for listener in before_last.iter().filter(has_no_port) {
        let message = "`egress`: the entry without `port` takes what is left, it must be the last one";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, listener.span, message));
    }
}

const CAPTURE: &[(&str, ())] = &[("DEFAULT", ()), ("IPTABLES", ()), ("NONE", ())];

fn capture_mode(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    fields.optional("captureMode", choice(CAPTURE));
    warn(cx, fields, "captureMode", NOT_CAPTURED);
}

/// Reads `namespace/host`: `.` is the own namespace, `*` any, and `~` none. `None` in it for the latter.
fn egress_host(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Option<EgressHost>> {
    let text = cx.text(node)?;
    let (namespace, host) = text.split_once('/').unwrap_or(("", text));
    let is_partial = host.len() > 1 && host.starts_with('*') && !host.starts_with("*.");
    let is_host = host == "*" || (is_host_pattern(host) && !is_partial);
    let namespace = match namespace {
        "~" if is_host => return Some(None),
        "." => Some(scope.namespace),
        "*" => Some("*"),
        label if is_dns_label(label) => Some(label),
        _ => None,
    };
    match namespace.filter(|_| is_host) {
        Some(namespace) => Some(Some(EgressHost {
            namespace: namespace.into(),
            host: host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
        })),
        None => {
            let expected =
                "expected `namespace/host`, such as `./*`, `shop/orders.shop.svc.cluster.local` or `*/*.example.com`";
            cx.invalid(node, format!("{expected}, found {}", quoted(text)))
        }
    }
}

const MODES: &[(&str, OutboundMode)] = &[
    ("REGISTRY_ONLY", OutboundMode::RegistryOnly),
    ("ALLOW_ANY", OutboundMode::AllowAny),
];

fn outbound(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<OutboundMode> {
    let mut fields = cx.mapping(node)?;
    // Without a mode it is the first of Istio's list.
    let mode = given_or(&mut fields, "mode", OutboundMode::RegistryOnly, choice(MODES));
    fields.optional("egressProxy", |cx, node| destination(cx, node, scope));
    fields.refuse("egressProxy", NOT_YET, "requests to unknown hosts go there themselves");
    fields.finish();
    mode
}

/// Listeners for what reaches the workload: a process has its own.
fn ingress(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    let ports = fields.list("ingress", spanned(ingress_listener));
    let numbers: Vec<String> = ports.iter().map(|port| port.to_string()).collect();
    let spans: Vec<_> = numbers
        .iter()
        .zip(&ports)
        .map(|(number, port)| (number.as_str(), port.span))
        .collect();
    refuse_duplicates(cx, "port", &spans);
    warn(cx, fields, "ingress", "a process listens where its server does");
}

fn ingress_listener(cx: &Reader<'_>, node: &Node) -> Option<u16> {
    let mut fields = cx.mapping(node)?;
    let number = fields.required("port", port);
    fields.optional("bind", Reader::string);
    fields.optional("captureMode", choice(CAPTURE));
    fields.optional("defaultEndpoint", default_endpoint);
    fields.optional("connectionPool", limits);
    // Certificates of a listener that is not there.
    fields.skip(&["tls"]);
    fields.finish();
    number
}

/// Reads `127.0.0.1:PORT`, `[::1]:PORT`, `0.0.0.0:PORT`, `[::]:PORT` or the address of a socket.
fn default_endpoint(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let text = cx.text(node)?;
    let is_local = |address: std::net::SocketAddr| {
        (address.ip().is_loopback() || address.ip().is_unspecified()) && address.port() > 0
    };
    if text.starts_with("unix://") || text.parse().is_ok_and(is_local) {
        return Some(());
    }
    cx.invalid(
        node,
        format!(
            "expected `127.0.0.1:PORT`, `0.0.0.0:PORT` or `unix://…`, found {}",
            quoted(text)
        ),
    )
}

fn port(cx: &Reader<'_>, node: &Node) -> Option<u16> {
    let mut fields = cx.mapping(node)?;
    let number = fields.required("number", Reader::port);
    fields.optional("name", dns_label);
    fields.optional("protocol", Reader::name);
    fields.optional("targetPort", Reader::port);
    fields.finish();
    number
}
