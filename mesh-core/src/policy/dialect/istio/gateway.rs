//! `Gateway`: front doors, served by the processes whose labels they select.

use super::names::{dns_label, is_dns_label, is_host_pattern, labels, refuse_duplicates};
use super::scope::Scope;
use super::values::given_or;
use super::{NOT_HERE, NOT_YET, refuse_all, required_spec};
use crate::policy::diagnostic::{Code, Diagnostic, listed, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::gateway::{Gateway, GatewayHost, GatewayServer, GatewayTls, PlainText};
use crate::policy::reader::{Fields, Reader, choice, spanned};
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
    let port = fields.required("port", port);
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
    match port.as_ref().map(|port| port.encryption) {
        Some(Encryption::Tls) => tls = encrypted(cx, &mut fields),
        Some(Encryption::Plain) => plain_text = plain(cx, &mut fields).unwrap_or_default(),
        None => fields.skip(&["tls"]),
    }
    let refused = [
        ("bind", "a gateway listens where its process does"),
        ("defaultEndpoint", "connections are not forwarded as they are"),
    ];
    refuse_all(&mut fields, NOT_YET, &refused);
    fields.finish();
    let port = port?;
    Some(GatewayServer {
        port: port.number,
        port_name: port.name,
        hosts,
        tls,
        plain_text,
        origin: cx.origin(node.span),
    })
}

/// Whether a port's protocol starts with a TLS handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Plain,
    Tls,
}

struct Port {
    number: u16,
    name: String,
    encryption: Encryption,
}

/// `None` are protocols of byte streams.
const PROTOCOLS: &[(&str, Option<Encryption>)] = &[
    ("HTTP", Some(Encryption::Plain)),
    ("HTTPS", Some(Encryption::Tls)),
    ("GRPC", Some(Encryption::Plain)),
    ("GRPC-WEB", Some(Encryption::Plain)),
    ("HTTP2", Some(Encryption::Plain)),
    ("MONGO", None),
    ("TCP", None),
    ("TLS", None),
];

fn port(cx: &Reader<'_>, node: &Node) -> Option<Port> {
    let mut fields = cx.mapping(node)?;
    let number = fields.required("number", Reader::port);
    let name = fields.required("name", dns_label);
    let protocol = fields.required("protocol", protocol);
    let reason = "a gateway listens on the port that it names";
    refuse_all(&mut fields, NOT_YET, &[("targetPort", reason)]);
    fields.finish();
    Some(Port {
        number: number?,
        name: name?,
        encryption: protocol?,
    })
}

fn protocol(cx: &Reader<'_>, node: &Node) -> Option<Encryption> {
    let text = cx.text(node)?;
    match PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Some((_, Some(encryption))) => Some(*encryption),
        Some((name, None)) => {
            let message = format!("protocol `{name}` is {}: gateways speak HTTP", NOT_YET.title());
            cx.report(Diagnostic::new(NOT_YET, node.span, message));
            None
        }
        None => {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            cx.invalid(
                node,
                format!("unknown protocol {}, expected {}", quoted(text), listed(&names)),
            )
        }
    }
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

/// A plain-text port may only send callers to the encrypted one.
fn plain(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<PlainText> {
    let (key, node) = fields.entry("tls")?;
    let mut tls = cx.mapping(node)?;
    let redirects = tls.optional("httpsRedirect", Reader::bool);
    let has_more = node.entries().iter().any(|(key, _)| &*key.name != "httpsRedirect");
    if has_more {
        let message = "`tls` needs a port with the protocol `HTTPS`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    tls.skip(TLS_FIELDS);
    tls.finish();
    redirects
        .filter(|redirects| *redirects)
        .map(|_| PlainText::RedirectToHttps)
}

/// All fields of a server's `tls`.
const TLS_FIELDS: &[&str] = &[
    "httpsRedirect",
    "mode",
    "credentialName",
    "credentialNames",
    "tlsCertificates",
    "serverCertificate",
    "privateKey",
    "caCertificates",
    "caCrl",
    "caCertCredentialName",
    "subjectAltNames",
    "verifyCertificateSpki",
    "verifyCertificateHash",
    "minProtocolVersion",
    "maxProtocolVersion",
    "cipherSuites",
];

fn encrypted(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<GatewayTls> {
    let Some(node) = fields.node("tls") else {
        fields.missing(&["tls"]);
        return None;
    };
    let mut tls = cx.mapping(node)?;
    if !is_simple(cx, &mut tls) {
        // What stands beside a mode that is not in force belongs to it.
        tls.skip(TLS_FIELDS);
        tls.finish();
        return None;
    }
    let credential = credential(&mut tls);
    refuse_options(cx, &mut tls);
    tls.finish();
    Some(GatewayTls {
        credential_name: credential?,
        origin: cx.origin(node.span),
    })
}

const MODES: &[(&str, Option<(Code, &str)>)] = &[
    ("SIMPLE", None),
    ("MUTUAL", Some((NOT_YET, CLIENTS))),
    ("OPTIONAL_MUTUAL", Some((NOT_YET, CLIENTS))),
    ("ISTIO_MUTUAL", Some((NOT_YET, CLIENTS))),
    ("PASSTHROUGH", Some((NOT_YET, STREAMS))),
    ("AUTO_PASSTHROUGH", Some((NOT_HERE, STREAMS))),
];
const CLIENTS: &str = "clients of a gateway show no certificate";
const STREAMS: &str = "connections are not forwarded as they are";

/// Whether TLS ends here with the server's certificate alone.
fn is_simple(cx: &Reader<'_>, tls: &mut Fields<'_, '_, '_>) -> bool {
    // Without a mode it is the first of Istio's list.
    let Some(refusal) = given_or(tls, "mode", Some((NOT_YET, STREAMS)), choice(MODES)) else {
        return false;
    };
    let Some((code, reason)) = refusal else {
        return true;
    };
    let given = tls.node("mode");
    let mode = given.and_then(Node::as_text).unwrap_or("PASSTHROUGH");
    let span = given.map_or_else(|| tls.span(), |node| node.span);
    let message = format!("TLS mode `{mode}` is {}: {reason}", code.title());
    cx.report(Diagnostic::new(code, span, message).with_help("give `mode: SIMPLE` and `credentialName`"));
    false
}

/// Reads where the certificate comes from, of which there must be one source.
fn credential(tls: &mut Fields<'_, '_, '_>) -> Option<String> {
    let sources = [
        "credentialName",
        "credentialNames",
        "tlsCertificates",
        "serverCertificate",
    ];
    let (name, _) = tls.required_one_of(&sources)?;
    if name == "credentialName" {
        return tls.optional(name, credential_name);
    }
    tls.refuse(
        name,
        NOT_YET,
        "a gateway has one certificate, in the folder that `credentialName` names",
    );
    if name == "serverCertificate" {
        tls.skip(&["privateKey"]);
    }
    None
}

/// Reads the name of a folder, which cannot lead out of the directory of all of them.
fn credential_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.name(node)?;
    let is_folder = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if is_folder && !text.starts_with('.') {
        return Some(text);
    }
    cx.invalid(node, format!("expected the name of a folder, found {}", quoted(&text)))
}

fn refuse_options(cx: &Reader<'_>, tls: &mut Fields<'_, '_, '_>) {
    let redirects = tls.optional("httpsRedirect", Reader::bool) == Some(true);
    if let Some((key, _)) = tls.entry("httpsRedirect").filter(|_| redirects) {
        let message = "`httpsRedirect` needs a port with the protocol `HTTP`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    const VERSIONS: &str = "versions and cipher suites are those of the TLS library";
    let refused = [
        ("privateKey", "the key lies beside the certificate"),
        ("caCertificates", CLIENTS),
        ("caCrl", CLIENTS),
        ("caCertCredentialName", CLIENTS),
        ("subjectAltNames", CLIENTS),
        ("verifyCertificateSpki", CLIENTS),
        ("verifyCertificateHash", CLIENTS),
        ("minProtocolVersion", VERSIONS),
        ("maxProtocolVersion", VERSIONS),
        ("cipherSuites", VERSIONS),
    ];
    refuse_all(tls, NOT_YET, &refused);
}
