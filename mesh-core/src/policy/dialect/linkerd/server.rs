//! `Server`: a port of some workloads, which takes only what is allowed.

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::gateway_api::selector;
use crate::policy::dialect::names::labels;
use crate::policy::model::Policy;
use crate::policy::model::authz::{Pattern, Source};
use crate::policy::model::server::{PendingServer, Server};
use crate::policy::reader::{Fields, IntOrString, Reader, choice};

use super::{Object, required_spec};

/// Whether something in a process differs by how a port is said to speak.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    /// Linkerd passes such connections on as bytes.
    Bytes,
}

const PROTOCOLS: &[(&str, Protocol)] = &[
    ("unknown", Protocol::Http),
    ("HTTP/1", Protocol::Http),
    ("HTTP/2", Protocol::Http),
    ("gRPC", Protocol::Http),
    ("opaque", Protocol::Bytes),
    ("TLS", Protocol::Bytes),
];

/// Who may do anything on a port without being named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Nobody,
    Anyone,
    Identified,
    OfCluster,
    IdentifiedOfCluster,
}

const ACCESS: &[(&str, Access)] = &[
    ("deny", Access::Nobody),
    ("audit", Access::Anyone),
    ("all-unauthenticated", Access::Anyone),
    ("all-authenticated", Access::Identified),
    ("cluster-unauthenticated", Access::OfCluster),
    ("cluster-authenticated", Access::IdentifiedOfCluster),
];

/// The networks of a cluster, where nothing else is said (Linkerd's `clusterNetworks`).
const CLUSTER: [&str; 5] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fd00::/8",
];

/// Reads a `Server`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let server = required_spec(cx, object).and_then(|spec| {
        let mut fields = cx.mapping(spec)?;
        let selected = workloads(cx, &mut fields);
        let port = fields.required("port", port);
        let protocol = fields.optional("proxyProtocol", choice(PROTOCOLS));
        if let Some((key, _)) = fields
            .entry("proxyProtocol")
            .filter(|_| protocol == Some(Protocol::Bytes))
        {
            let message =
                "`proxyProtocol` has no effect: a server of this process takes HTTP, and authorizes its requests";
            cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
        }
        let access = fields
            .optional("accessPolicy", choice(ACCESS))
            .unwrap_or(Access::Nobody);
        let access_span = fields
            .entry("accessPolicy")
            .map_or_else(|| fields.span(), |(key, _)| key.span);
        fields.finish();
        let mut pending = PendingServer {
            server: Server {
                meta: object.meta.clone(),
                labels: own_labels(cx, object),
                selector: selected?,
                ..Server::default()
            },
            access: sources(access),
            access_origin: cx.origin(access_span),
            ..PendingServer::default()
        };
        match port? {
            Port::Number(number) => pending.server.ports = vec![number],
            Port::Name(name) => {
                let origin = cx.origin(spec.get("port").unwrap_or(spec).span);
                pending.port_name = Some((name, origin));
            }
        }
        Some(pending)
    });
    policy.server_documents.servers.extend(server);
}

/// The labels of the object itself.
fn own_labels(cx: &Reader<'_>, object: &Object<'_>) -> crate::policy::model::Labels {
    let written = object.node.get("metadata").and_then(|metadata| metadata.get("labels"));
    written
        .filter(|node| !node.is_null())
        .and_then(|node| labels(cx, node))
        .unwrap_or_default()
}

fn workloads(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
) -> Option<Vec<crate::policy::model::attachment::Requirement>> {
    match fields.required_one_of(&["podSelector", "externalWorkloadSelector"])? {
        ("podSelector", _) => fields.optional("podSelector", selector),
        (_, _) => {
            let reason = "`ExternalWorkload`s are registered with a control plane; select by `podSelector`";
            fields.refuse("externalWorkloadSelector", Code::NOT_IN_PROCESS, reason);
            let _ = cx;
            None
        }
    }
}

enum Port {
    Number(u16),
    Name(String),
}

/// Reads the number of a port, or the name that its container gives it.
fn port(cx: &Reader<'_>, node: &crate::policy::source::Node) -> Option<Port> {
    match cx.int_or_string(node)? {
        IntOrString::Int(_) => cx.port(node).map(Port::Number),
        IntOrString::String(text) => {
            let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let is_name = (1..=15).contains(&text.len())
                && text.chars().all(is_inner)
                && text.chars().any(|c| c.is_ascii_lowercase());
            if is_name {
                return Some(Port::Name(text));
            }
            let found = quoted(&text);
            cx.invalid(
                node,
                format!("expected a port of 1 to 65535, or its name, found {found}"),
            )
        }
    }
}

fn sources(access: Access) -> Vec<Source> {
    let mut source = Source::default();
    if matches!(access, Access::Identified | Access::IdentifiedOfCluster) {
        source.principals.any_of = vec![Pattern::Present];
    }
    if matches!(access, Access::OfCluster | Access::IdentifiedOfCluster) {
        source.ip_blocks.any_of = CLUSTER.iter().filter_map(|cidr| cidr.parse().ok()).collect();
    }
    match access {
        Access::Nobody => Vec::new(),
        _ => vec![source],
    }
}
