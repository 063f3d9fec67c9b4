//! `TrafficPolicy`: the blocks of a destination rule, of a subset and of a port.

use super::connection_pool::limits;
use super::names::refuse_duplicates;
use super::outlier_detection::outlier_detection;
use super::retries::retries;
use super::values::{given_or, port_number};
use super::{NOT_HERE, NOT_YET, refuse_all};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::traffic::{Algorithm, ClientTls, TrafficPolicy};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::{Node, Spanned};

/// A policy, and those that stand in its place on single ports.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) traffic: TrafficPolicy,
    pub(super) ports: Vec<(u16, TrafficPolicy)>,
}

const REFUSED: &[(&str, &str)] = &[
    ("tunnel", "connections are not tunnelled"),
    ("proxyProtocol", "no PROXY header is sent"),
    (
        "retryBudget",
        "retries are budgeted by their rate, not by their number at a time",
    ),
];

/// Reads a policy with its ports.
pub(super) fn traffic_policy(cx: &Reader<'_>, node: &Node) -> Option<Settings> {
    let mut fields = cx.mapping(node)?;
    let mut traffic = blocks(&mut fields);
    traffic.retry = retry_policy(cx, &mut fields);
    let ports = fields.list("portLevelSettings", port_level);
    refuse_all(&mut fields, NOT_YET, REFUSED);
    fields.finish();
    if is_empty(node) {
        return cx.invalid(node, "expected at least one field, found an empty policy");
    }
    let names: Vec<String> = ports.iter().map(|(port, _)| port.to_string()).collect();
    let spans: Vec<_> = names
        .iter()
        .zip(&ports)
        .map(|(name, (port, _))| (name.as_str(), port.span))
        .collect();
    refuse_duplicates(cx, "port", &spans);
    let ports = ports.into_iter().map(|(port, traffic)| (port.value, traffic)).collect();
    Some(Settings { traffic, ports })
}

fn is_empty(node: &Node) -> bool {
    node.entries().iter().all(|(_, value)| value.is_null())
}

/// The blocks that a port can have as well.
fn blocks(fields: &mut Fields<'_, '_, '_>) -> TrafficPolicy {
    TrafficPolicy {
        balance: fields.optional("loadBalancer", load_balancer),
        limits: fields.optional("connectionPool", limits),
        outliers: fields.optional("outlierDetection", outlier_detection),
        tls: fields.optional("tls", client_tls),
        ..TrafficPolicy::default()
    }
}

fn port_level(cx: &Reader<'_>, node: &Node) -> Option<(Spanned<u16>, TrafficPolicy)> {
    let mut fields = cx.mapping(node)?;
    let port = fields.required("port", port_number);
    let traffic = blocks(&mut fields);
    fields.finish();
    if node
        .entries()
        .iter()
        .all(|(key, value)| &*key.name == "port" || value.is_null())
    {
        return cx.invalid(node, "expected a setting beside `port`, found none");
    }
    let port = Spanned {
        value: port?,
        span: node.span,
    };
    Some((port, traffic))
}

/// `retryPolicy` is not Istio's: it is taken as the retries of routes that set none.
fn retry_policy(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
) -> Option<crate::policy::model::traffic::RetryPolicy> {
    let policy = fields.optional("retryPolicy", retries);
    if let Some((key, _)) = fields.entry("retryPolicy") {
        let message =
            "field `retryPolicy` is not part of the standard: it is taken as the retries of routes that set none";
        let help = "the standard place is `http[].retries` of a VirtualService";
        cx.report(Diagnostic::new(Code::NON_STANDARD_FIELD, key.span, message).with_help(help));
    }
    policy
}

fn load_balancer(cx: &Reader<'_>, node: &Node) -> Option<Algorithm> {
    let mut fields = cx.mapping(node)?;
    let is_hashed = matches!(
        fields.one_of(&["simple", "consistentHash"]),
        Some(("consistentHash", _))
    );
    let algorithm = given_or(&mut fields, "simple", Algorithm::LeastRequest, simple);
    let refused = [
        ("consistentHash", "requests are not hashed"),
        ("localityLbSetting", LOCALITY),
        ("zoneAwareLbSetting", LOCALITY),
        ("warmup", WARMUP),
        ("warmupDurationSecs", WARMUP),
    ];
    refuse_all(&mut fields, NOT_YET, &refused);
    fields.finish();
    algorithm.filter(|_| !is_hashed)
}

const LOCALITY: &str = "localities are not weighed";
const WARMUP: &str = "new endpoints get their full share at once";

/// `None` stands for the address that the caller dialled.
const SIMPLE: &[(&str, Option<Algorithm>)] = &[
    ("LEAST_REQUEST", Some(Algorithm::LeastRequest)),
    ("ROUND_ROBIN", Some(Algorithm::RoundRobin)),
    ("RANDOM", Some(Algorithm::Random)),
    ("UNSPECIFIED", Some(Algorithm::LeastRequest)),
    ("LEAST_CONN", Some(Algorithm::LeastRequest)),
    ("PASSTHROUGH", None),
];

fn simple(cx: &Reader<'_>, node: &Node) -> Option<Algorithm> {
    let algorithm = choice(SIMPLE)(cx, node)?;
    if algorithm.is_none() {
        let message = format!(
            "`PASSTHROUGH` is {}: callers dial no address that could be kept",
            NOT_HERE.title()
        );
        cx.report(Diagnostic::new(NOT_HERE, node.span, message));
    }
    if node.as_text() == Some("LEAST_CONN") {
        let diagnostic = Diagnostic::new(Code::DEPRECATED, node.span, "`LEAST_CONN` is deprecated");
        cx.report(diagnostic.with_help("write `LEAST_REQUEST`, which it means"));
    }
    algorithm
}

#[derive(Clone, Copy, PartialEq)]
enum TlsMode {
    Disable,
    IstioMutual,
    Refused,
}

const TLS_MODES: &[(&str, TlsMode)] = &[
    ("DISABLE", TlsMode::Disable),
    ("ISTIO_MUTUAL", TlsMode::IstioMutual),
    ("SIMPLE", TlsMode::Refused),
    ("MUTUAL", TlsMode::Refused),
];

/// Fields of the modes that are refused.
const TLS_FIELDS: &[(&str, &str)] = &[
    ("clientCertificate", CERTIFICATE),
    ("privateKey", CERTIFICATE),
    ("caCertificates", CERTIFICATE),
    ("caCrl", CERTIFICATE),
    ("credentialName", CERTIFICATE),
    ("sni", "the name in the handshake is the service's"),
    ("insecureSkipVerify", "servers are always verified"),
];
const CERTIFICATE: &str = "a workload has only its own identity";

fn client_tls(cx: &Reader<'_>, node: &Node) -> Option<ClientTls> {
    let mut fields = cx.mapping(node)?;
    // Without a mode it is the first of Istio's list, plain text.
    let mode = given_or(&mut fields, "mode", TlsMode::Disable, choice(TLS_MODES));
    let names = fields.list("subjectAltNames", spiffe_id);
    if mode == Some(TlsMode::Refused) {
        refuse_mode(cx, &mut fields);
    } else {
        refuse_all(&mut fields, NOT_YET, TLS_FIELDS);
    }
    if mode == Some(TlsMode::Disable) {
        warn_of_names(cx, &mut fields);
    }
    fields.finish();
    match mode? {
        TlsMode::Disable => Some(ClientTls::Disable),
        TlsMode::IstioMutual => Some(ClientTls::IstioMutual {
            subject_alt_names: names,
        }),
        TlsMode::Refused => None,
    }
}

/// Says it of the mode only: the fields beside it belong to it.
fn refuse_mode(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    if let Some(node) = fields.node("mode") {
        let mode = node.as_text().unwrap_or_default();
        let message = format!(
            "TLS mode `{mode}` is {}: endpoints speak the mesh's mTLS or plain text",
            NOT_YET.title()
        );
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
    for (name, _) in TLS_FIELDS {
        fields.skip(&[name]);
    }
}

fn warn_of_names(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    if let Some((key, _)) = fields.entry("subjectAltNames") {
        let message = "`subjectAltNames` has no effect on plain text";
        cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message).with_help("give `mode: ISTIO_MUTUAL`"));
    }
}

/// Reads a SPIFFE id in full.
pub(super) fn spiffe_id(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if text.strip_prefix("spiffe://").is_some_and(|rest| rest.contains('/')) {
        return Some(text.into());
    }
    let title = NOT_YET.title();
    let message = format!("subject alternative name `{text}` is {title}: only SPIFFE ids are verified");
    let help = "write it as `spiffe://trust-domain/ns/namespace/sa/account`";
    cx.report(Diagnostic::new(NOT_YET, node.span, message).with_help(help));
    None
}
