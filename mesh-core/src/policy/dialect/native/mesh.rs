//! `mesh`: settings of the whole mesh.

use super::connections::{Live, RequestIdsForm, Tls};
use super::envelope::namespace;
use super::form::{Form, List, Schema, Share, Text, Tree};
use super::forwarding::{ForwardingForm, Normalization};
use super::mtls::{MODES, Mode};
use super::names::is_dns_name;
use super::scope::Scope;
use super::sidecar::Outbound;
use crate::policy::diagnostic::quoted;
use crate::policy::model::filter::Fraction;
use crate::policy::model::identity::PeerAuthentication;
use crate::policy::model::{AccessLog, AccessLogEncoding, MeshSettings, Meta, OutboundMode, Policy};
use crate::policy::reader::{Reader, choice, list_of, spanned};
use crate::policy::source::Node;

const OUTBOUND: &[(&str, OutboundMode)] = Outbound::TABLE;

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
    if let Some(aliases) = fields.optional("trust_domain_aliases", list_of(alias)) {
        mesh.trust_domain_aliases = aliases;
    }
    set(&mut mesh.root_namespace, fields.optional("root_namespace", namespace));
    set(&mut mesh.cluster_domain, fields.optional("cluster_domain", domain));
    set(&mut mesh.outbound, fields.optional("outbound", choice(OUTBOUND)));
    let known = mesh.clone();
    let scope = Scope::new(&known.root_namespace, &known);
    mesh.access_log = fields.optional("access_log", |cx, node| access_log(cx, node, scope));
    let ids = fields.optional("request_ids", |cx, node| RequestIdsForm::read(cx, node, scope));
    set(&mut mesh.request_ids, ids);
    let normalization = fields.optional("path_normalization", |cx, node| Normalization::read(cx, node, scope));
    set(&mut mesh.path_normalization, normalization);
    let forwarding = fields.optional("forwarding", |cx, node| ForwardingForm::read(cx, node, scope));
    set(&mut mesh.forwarding, forwarding);
    let live = fields.optional("live", |cx, node| Live::read(cx, node, scope));
    set(&mut mesh.live, live);
    let tls = fields.optional("tls", |cx, node| Tls::read(cx, node, scope));
    set(&mut mesh.tls, tls);
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

/// Reads a trust domain whose identities count as those of the own one.
fn alias(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if is_dns_name(text) && !text.contains(|c: char| c.is_ascii_uppercase()) {
        return Some(text.into());
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected a trust domain such as `cluster.local`, in lower case, found {found}"),
    )
}

/// Prints the settings that are not the default.
pub(super) fn write(mesh: &MeshSettings) -> Tree {
    let (default, mut map) = (MeshSettings::default(), Tree::map());
    let mut text = |name: &'static str, value: &str, default: &str| {
        if value != default {
            map.put(name, Tree::text(value));
        }
    };
    text("trust_domain", &mesh.trust_domain, &default.trust_domain);
    text("root_namespace", &mesh.root_namespace, &default.root_namespace);
    text("cluster_domain", &mesh.cluster_domain, &default.cluster_domain);
    if !mesh.trust_domain_aliases.is_empty() {
        map.put("trust_domain_aliases", List::<Text>::write(&mesh.trust_domain_aliases));
    }
    if mesh.outbound != default.outbound {
        map.put("outbound", Outbound::write(&mesh.outbound));
    }
    if let Some(log) = &mesh.access_log {
        let name = ENCODINGS.iter().find(|(_, encoding)| *encoding == log.encoding);
        let mut entry = Tree::map();
        entry.put("path", Tree::text(&log.path));
        entry.put("encoding", Tree::text(name.map_or("text", |(name, _)| *name)));
        if log.share != Fraction::ALL {
            entry.put("percent", Share::write(&log.share));
        }
        map.put("access_log", entry);
    }
    if mesh.request_ids != default.request_ids {
        map.put("request_ids", RequestIdsForm::write(&mesh.request_ids));
    }
    if mesh.path_normalization != default.path_normalization {
        map.put("path_normalization", Normalization::write(&mesh.path_normalization));
    }
    if mesh.forwarding != default.forwarding {
        map.put("forwarding", ForwardingForm::write(&mesh.forwarding));
    }
    if mesh.live != default.live {
        map.put("live", Live::write(&mesh.live));
    }
    if mesh.tls != default.tls {
        map.put("tls", Tls::write(&mesh.tls));
    }
    map
}

/// Describes the settings.
pub(super) fn schema(schema: &mut Schema) -> serde_json::Value {
    schema.object("Mesh", |schema, object| {
        for name in ["trust_domain", "root_namespace", "cluster_domain"] {
            object.property(name, Text::schema(schema), false);
        }
        object.property("trust_domain_aliases", List::<Text>::schema(schema), false);
        object.property("mtls", Mode::schema(schema), false);
        object.property("outbound", Outbound::schema(schema), false);
        let log = schema.object("AccessLog", |schema, object| {
            object.property("path", Text::schema(schema), true);
            object.property("encoding", serde_json::json!({ "enum": ["text", "json"] }), false);
            let share = serde_json::json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 100 });
            object.property("percent", share, false);
        });
        object.property("access_log", log, false);
        object.property("request_ids", RequestIdsForm::schema(schema), false);
        object.property("path_normalization", Normalization::schema(schema), false);
        object.property("forwarding", ForwardingForm::schema(schema), false);
        object.property("live", Live::schema(schema), false);
        object.property("tls", Tls::schema(schema), false);
    })
}

fn access_log(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<AccessLog> {
    let mut fields = cx.mapping(node)?;
    let path = fields.required("path", Reader::name);
    let encoding = fields.optional("encoding", choice(ENCODINGS));
    let share = fields.optional("percent", |cx, node| share(cx, node, scope));
    fields.finish();
    let log = AccessLog::new(path?, encoding.unwrap_or(AccessLogEncoding::Text));
    Some(log.of_share(share.unwrap_or(Fraction::ALL)))
}

/// A share of the requests; a log that nothing is written to is none.
fn share(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Fraction> {
    match Share::read(cx, node, scope)? {
        share if share.millionths() == 0 => cx.invalid(
            node,
            "expected a percentage above 0, found 0; leave `access_log` out for no log",
        ),
        share => Some(share),
    }
}
