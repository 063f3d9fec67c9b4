//! `gateways`: front doors that take traffic from outside the mesh.

use serde_json::{Value as Json, json};

use super::Sink;
use super::envelope::is_namespace;
use super::form::{Created, Form, LabelSet, Name, NonEmpty, Opt, Port, Schema, Table, Tree, choices, form};
use super::item::Shelf;
use super::names::{dns_label, is_host_pattern, labels, refuse_duplicates};
use super::scope::{Scope, is_item};
use super::service::non_empty;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Origin;
use crate::policy::model::gateway::{Gateway, GatewayHost, GatewayServer, GatewayTls, Listeners, PlainText};
use crate::policy::reader::{Reader, spanned};
use crate::policy::source::{Key, Node};

/// Reads one gateway.
pub(super) fn read(cx: &Reader<'_>, key: &Key, node: &Node, sink: &mut Sink<'_>) {
    if !is_item(cx, key) {
        return;
    }
    let scope = sink.scope;
    let meta = scope.meta(cx, &key.name, key.span);
    sink.ledger.define("`Gateway`", &meta, key.span);
    let Some(mut fields) = cx.mapping(node) else {
        return;
    };
    let selector = fields.optional("selector", labels).unwrap_or_default();
    let servers = fields.required("servers", |cx, node| {
        non_empty(cx, node, "server", spanned(|cx, node| server(cx, node, scope)))
    });
    fields.finish();
    let servers = servers.unwrap_or_default();
    let names: Vec<_> = servers
        .iter()
        .map(|server| (server.port_name.as_str(), server.span))
        .collect();
    refuse_duplicates(cx, "port name", &names);
    sink.policy.gateways.push(Gateway {
        meta,
        selector,
        servers: servers.into_iter().map(|server| server.value).collect(),
        ..Gateway::default()
    });
}

fn server(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<GatewayServer> {
    let mut fields = cx.mapping(node)?;
    let port = fields.required("port", Reader::port);
    let name = fields.optional("name", dns_label);
    let hosts = fields.required("hosts", |cx, node| {
        non_empty(cx, node, "host", |cx, node| host(cx, node, scope, Labels::Several))
    });
    let tls = fields.optional("tls", |cx, node| {
        let mut fields = cx.mapping(node)?;
        let credential = fields.required("credential", credential);
        fields.finish();
        Some(GatewayTls::simple(credential?, cx.origin(node.span)))
    });
    fields.finish();
    let port = port?;
    let protocol = if tls.is_some() { "https" } else { "http" };
    let mut server = GatewayServer::new(
        port,
        name.unwrap_or_else(|| format!("{protocol}-{port}")),
        cx.origin(node.span),
    );
    server.hosts = hosts?;
    server.tls = tls;
    Some(server)
}

/// Reads the name of a folder below the process's credentials: one step, so that it cannot lead elsewhere.
fn credential(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.name(node)?;
    if super::envelope::is_object_name(&text) {
        return Some(text);
    }
    refuse_credential(cx, node, &text)
}

fn refuse_credential<T>(cx: &Reader<'_>, node: &Node, text: &str) -> Option<T> {
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected the name of a folder with `tls.crt` and `tls.key`, found {found}"),
    )
}

/// How many labels the name of a host has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Labels {
    /// A short name would be one of a service, which callers from outside do not use.
    Several,
    /// Gateway API takes any name.
    Any,
}

/// Reads `[namespace/]name`, where the name is `*`, or has as many labels.
fn host(cx: &Reader<'_>, node: &Node, scope: Scope<'_>, labels: Labels) -> Option<GatewayHost> {
    let text = cx.text(node)?;
    let (namespace, name) = text.split_once('/').unwrap_or(("*", text));
    let is_partial = name.len() > 1 && name.starts_with('*') && !name.starts_with("*.");
    let is_full = name.contains('.') || labels == Labels::Any;
    let is_name = name == "*" || (is_full && is_host_pattern(name) && !is_partial);
    let namespace = match namespace {
        "*" => Some(None),
        "." => Some(Some(scope.namespace.to_owned())),
        label if is_namespace(label) => Some(Some(label.to_owned())),
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

pub(super) const SHELF: Shelf<Gateway> = Shelf {
    kind: "`Gateway`",
    push: |policy, gateway| policy.gateways.push(gateway),
};

form! {
    /// A front door in full.
    GatewayForm of Gateway, check check_names; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "selector" selector: LabelSet;
        "servers" servers: NonEmpty<ServerForm>;
        "listeners" listeners: ListenersForm;
    }
}

choices! {
    /// Whether requests of a host that one listener has may go to the routes of another.
    ListenersForm of Listeners; {
        "merged" Listeners::Merged;
        "isolated" Listeners::Isolated;
    }
}

fn no_server() -> GatewayServer {
    GatewayServer::new(0, String::new(), Origin::default())
}

form! {
    /// A port of a gateway.
    ServerForm of GatewayServer = no_server(), origin origin, check check_redirect; {
        "port" [required] port: Port;
        "name" [required] port_name: super::form::Text;
        "hosts" [required] hosts: NonEmpty<HostForm>;
        "tls" tls: Opt<TlsForm>;
        "plain_text" plain_text: PlainTextForm;
    }
}

/// Nothing comes on plain text where TLS is spoken.
fn check_redirect(cx: &Reader<'_>, node: &Node, found: &GatewayServer) {
    if found.tls.is_some() && found.plain_text != PlainText::Serve {
        let message = "`plain_text` is for a port without `tls`";
        let span = node.get("plain_text").map_or(node.span, |one| one.span);
        cx.report(Diagnostic::new(Code::INVALID_POLICY, span, message));
    }
}

/// Routes name the ports of a gateway.
fn check_names(cx: &Reader<'_>, node: &Node, _: &Gateway) {
    let servers = node.get("servers").map(Node::items).unwrap_or_default();
    let names = servers.iter().filter_map(|server| server.get("name"));
    let names: Vec<_> = names.filter_map(|name| Some((name.as_text()?, name.span))).collect();
    refuse_duplicates(cx, "port name", &names);
}

/// The name of a folder below the process's credentials.
struct Credential;

impl Form for Credential {
    type Of = String;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<String> {
        let text = cx.name(node)?;
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.chars().all(is_letter) && !text.starts_with('.') {
            return Some(text);
        }
        refuse_credential(cx, node, &text)
    }

    fn write(value: &String) -> Tree {
        Tree::text(value)
    }

    fn schema(schema: &mut Schema) -> Json {
        Name::schema(schema)
    }
}

choices! {
    /// What becomes of requests on plain text.
    PlainTextForm of PlainText; {
        "serve" PlainText::Serve;
        "redirect_to_https" PlainText::RedirectToHttps;
    }
}

fn no_tls() -> GatewayTls {
    GatewayTls::simple(String::new(), Origin::default())
}

form! {
    /// The certificate of a port.
    TlsForm of GatewayTls = no_tls(), origin origin; {
        "credential" [required] credential_name: Credential;
    }
}

/// `[namespace/]name`.
struct HostForm;

impl Form for HostForm {
    type Of = GatewayHost;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<GatewayHost> {
        // With its namespace it is no short name, as of an item that is converted.
        let is_complete = node.as_text().is_some_and(|text| text.contains('/'));
        let labels = if is_complete { Labels::Any } else { Labels::Several };
        host(cx, node, scope, labels)
    }

    fn write(value: &GatewayHost) -> Tree {
        let namespace = value.namespace.as_deref().unwrap_or("*");
        Tree::text(format!("{namespace}/{}", value.host))
    }

    fn schema(_: &mut Schema) -> Json {
        json!({ "type": "string" })
    }
}

/// Describes a gateway by its name.
pub(super) fn short_schema(schema: &mut Schema) -> Json {
    schema.object("ShortGateway", |schema, object| {
        let server = schema.object("ShortGatewayServer", |schema, object| {
            ServerForm::properties(schema, object);
            object.relax("name");
        });
        object.property("selector", LabelSet::schema(schema), false);
        object.property(
            "servers",
            json!({ "type": "array", "minItems": 1, "items": server }),
            true,
        );
    })
}
