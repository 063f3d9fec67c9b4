//! `mesh`: settings of the whole mesh.

use super::envelope::namespace;
use super::mtls::MODES;
use super::names::is_dns_name;
use crate::policy::diagnostic::quoted;
use crate::policy::model::identity::PeerAuthentication;
use crate::policy::model::{AccessLog, AccessLogEncoding, Meta, OutboundMode, Policy};
use crate::policy::reader::{Reader, choice, spanned};
use crate::policy::source::Node;

const OUTBOUND: &[(&str, OutboundMode)] = &[
    ("allow_any", OutboundMode::AllowAny),
    ("registry_only", OutboundMode::RegistryOnly),
];

const ENCODINGS: &[(&str, AccessLogEncoding)] = &[("text", AccessLogEncoding::Text), ("json", AccessLogEncoding::Json)];

/// The name of the policy that `mtls` becomes.
const NAME: &str = "mesh";

/// Reads the settings into the policy.
pub(super) fn read(cx: &Reader<'_>, node: &Node, policy: &mut Policy) {
    let Some(mut fields) = cx.mapping(node) else {
        return;
    };
    let mesh = &mut policy.mesh;
    set(&mut mesh.trust_domain, fields.optional("trust_domain", domain));
    set(&mut mesh.root_namespace, fields.optional("root_namespace", namespace));
    set(&mut mesh.cluster_domain, fields.optional("cluster_domain", domain));
    set(&mut mesh.outbound, fields.optional("outbound", choice(OUTBOUND)));
    mesh.access_log = fields.optional("access_log", access_log);
    let mode = fields.optional("mtls", spanned(choice(MODES)));
    fields.finish();
    policy.peer_authentications.extend(mode.map(|mode| PeerAuthentication {
        meta: Meta {
            name: NAME.into(),
            namespace: policy.mesh.root_namespace.clone(),
            created: 0,
            origin: cx.origin(mode.span),
        },
        mode: Some(mode.value),
        ..PeerAuthentication::default()
    }));
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

fn domain(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let is_lower = !text.contains(|c: char| c.is_ascii_uppercase());
    if is_dns_name(text) && is_lower && !text.ends_with('.') {
        return Some(text.into());
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected a domain such as `cluster.local`, in lower case, found {found}"),
    )
}

fn access_log(cx: &Reader<'_>, node: &Node) -> Option<AccessLog> {
    let mut fields = cx.mapping(node)?;
    let path = fields.required("path", Reader::name);
    let encoding = fields.optional("encoding", choice(ENCODINGS));
    fields.finish();
    Some(AccessLog::new(path?, encoding.unwrap_or(AccessLogEncoding::Text)))
}
