//! `WorkloadEntry`: an endpoint, in a document of its own or in a service entry.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::names::{is_dns_label, is_dns_name, labels};
use super::values::count;
use super::{NOT_YET, refuse_all, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::dialect::envelope::is_object_name;
use crate::policy::model::service::{Endpoint, WorkloadEntry};
use crate::policy::model::{Labels, Policy};
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::{Node, Value};

/// Which addresses an endpoint may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    /// IP addresses and sockets.
    Ip,
    /// IP addresses, and names that are resolved.
    IpOrName,
    /// All of them.
    Any,
}

/// Reads a `WorkloadEntry`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let endpoint = required_spec(cx, object).and_then(|spec| endpoint(cx, spec, Addresses::Any));
    policy.workload_entries.extend(endpoint.map(|endpoint| WorkloadEntry {
        meta: object.meta.clone(),
        endpoint,
    }));
}

/// Reads one endpoint.
pub(super) fn endpoint(cx: &Reader<'_>, node: &Node, addresses: Addresses) -> Option<Endpoint> {
    if node.get("address").is_none() && node.get("network").is_none() {
        cx.mapping(node)?.missing(&["address"]);
    }
    template(cx, node, addresses)
}

/// Reads what endpoints have in common; `None` also where it has no address.
pub(super) fn template(cx: &Reader<'_>, node: &Node, addresses: Addresses) -> Option<Endpoint> {
    let mut fields = cx.mapping(node)?;
    let address = fields.optional("address", |cx, node| address(cx, node, addresses));
    let ports = fields.optional("ports", ports).unwrap_or_default();
    let labels = fields.optional("labels", labels).unwrap_or_default();
    let locality = fields.optional("locality", Reader::string);
    let weight = fields.optional("weight", count).unwrap_or(0);
    let service_account = fields.optional("serviceAccount", account);
    check_socket(cx, &mut fields);
    fields.optional("network", Reader::string);
    refuse_all(
        &mut fields,
        NOT_YET,
        &[("network", "endpoints are called directly, not through a gateway")],
    );
    fields.finish();
    Some(Endpoint {
        address: address?,
        port: None,
        ports,
        closed_ports: Vec::new(),
        locality: locality.unwrap_or_else(|| labelled_locality(&labels)),
        labels,
        weight: weight.max(1),
        service_account,
        origin: cx.origin(node.span),
    })
}

/// A socket is one port.
fn check_socket(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    let is_socket = |node: &Node| node.as_text().is_some_and(|text| text.starts_with(SOCKET));
    let has_socket = fields.node("address").is_some_and(is_socket);
    if let Some((key, _)) = fields.entry("ports").filter(|_| has_socket) {
        let message = "`ports` cannot stand beside the `address` of a socket";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
}

/// The beginning of the address of a socket.
const SOCKET: &str = "unix://";

/// The locality as a label says it, with dots for slashes.
fn labelled_locality(labels: &Labels) -> String {
    labels
        .get("istio-locality")
        .map(|text| text.replace('.', "/"))
        .unwrap_or_default()
}

fn address(cx: &Reader<'_>, node: &Node, addresses: Addresses) -> Option<String> {
    let text = cx.text(node)?;
    if let Some(path) = text.strip_prefix(SOCKET).filter(|_| addresses != Addresses::IpOrName) {
        return refuse_socket(cx, node, path);
    }
    if text.parse::<IpAddr>().is_ok() {
        return Some(text.into());
    }
    let found = quoted(text);
    match addresses {
        Addresses::IpOrName | Addresses::Any if is_dns_name(text) => Some(text.to_ascii_lowercase()),
        Addresses::IpOrName | Addresses::Any => {
            cx.invalid(node, format!("expected an IP address or a DNS name, found {found}"))
        }
        Addresses::Ip => cx.invalid(node, format!("expected an IP address, found {found}")),
    }
}

fn refuse_socket<T>(cx: &Reader<'_>, node: &Node, path: &str) -> Option<T> {
    let is_absolute = path.starts_with(['/', '@']) && !path.ends_with('/');
    if !is_absolute {
        return cx.invalid(
            node,
            format!("expected the absolute path of a socket, found {}", quoted(path)),
        );
    }
    let message = format!("endpoint {} is {}: connections are TCP", quoted(path), NOT_YET.title());
    cx.report(Diagnostic::new(NOT_YET, node.span, message));
    None
}

fn account(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.name(node)?;
    if !is_object_name(&text) {
        let found = quoted(&text);
        return cx.invalid(
            node,
            format!("expected the name of a service account in this namespace, found {found}"),
        );
    }
    Some(text)
}

fn ports(cx: &Reader<'_>, node: &Node) -> Option<BTreeMap<String, u16>> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let ports = entries.iter().filter_map(|(key, value)| {
        if !is_dns_label(&key.name) {
            cx.invalid_key(key, "expected the name of a port");
        }
        Some((key.name.to_string(), cx.port(value)?))
    });
    Some(ports.collect())
}
