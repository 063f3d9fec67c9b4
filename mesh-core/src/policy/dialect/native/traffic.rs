//! How to talk to a service: `balance`, `limits`, `outliers`, `tls`, `retry` and others, by port and subset.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::balance::{Balance, Hash, LocalityForm, WarmupForm, not_yet};
use super::form::{
    Count, Dur, Form, Given, LabelSet, Limit, Name, NonEmpty, Opt, Pairs, Percent, Place, PortKey, Schema, Table, Text,
    Tree, choices, form, one_of, pair,
};
use super::names::is_dns_label;
use super::pattern::spiffe_id;
use super::retry::{Budget, Concurrency, Retry};
use super::scope::Scope;
use super::values::duration;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::traffic::{
    ClientProtocol, ClientTls, H2Upgrade, Limits, OutlierDetection, Subset, TcpKeepalive, TlsOrigination,
    TrafficPolicy, Verification,
};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::{Key, Node, Value};

form! {
    /// The blocks beside other fields of a service, a destination, a subset or a port.
    Settings of TrafficPolicy; {
        "balance" balance: Opt<Balance>;
        "hash" [not_yet "requests are not hashed"] hash: Opt<Hash>;
        "limits" limits: Opt<LimitsForm>;
        "outliers" outliers: Opt<Outliers>;
        "tls" tls: Opt<Tls>;
        "retry" retry: Opt<Retry>;
        "retry_budget" retry_budget: Opt<Budget>;
        "retry_concurrency" retry_concurrency: Opt<Concurrency>;
        "warmup" [not_yet "new endpoints get their full share at once"] warmup: Opt<WarmupForm>;
        "locality" [not_yet "endpoints are picked whatever their locality"] locality: Opt<LocalityForm>;
    }
}

/// Reads the blocks.
pub(super) fn blocks(fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> TrafficPolicy {
    Settings::read_fields(fields, scope)
}

/// Settings that stand in the place of all others on one port.
pub(super) type ByPort = Pairs<PortKey, Settings>;

/// Reads `by_port`.
pub(super) fn by_port(fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Vec<(u16, TrafficPolicy)> {
    fields
        .optional("by_port", |cx, node| {
            let Value::Mapping(_) = &node.value else {
                return cx.wrong_type(node, "a mapping");
            };
            ByPort::read(cx, node, scope)
        })
        .unwrap_or_default()
}

/// Reads a port that is a key.
pub(super) fn port_key(cx: &Reader<'_>, key: &Key) -> Option<u16> {
    PortKey::read_key(cx, key)
}

/// A mapping of names to subsets: labels, or a mapping of `labels` and settings.
pub(super) struct Subsets;

impl Form for Subsets {
    type Of = Vec<Subset>;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Vec<Subset>> {
        let Value::Mapping(entries) = &node.value else {
            return cx.wrong_type(node, "a mapping");
        };
        let subsets = entries.iter().filter_map(|(key, node)| subset(cx, key, node, scope));
        Some(subsets.collect())
    }

    fn write(value: &Vec<Subset>) -> Tree {
        let entry = |subset: &Subset| (subset.name.clone(), SubsetForm::write(subset));
        Tree::Map(value.iter().map(entry).collect())
    }

    fn schema(schema: &mut Schema) -> Json {
        let (labels, long) = (LabelSet::schema(schema), SubsetForm::schema(schema));
        json!({ "type": "object", "additionalProperties": { "anyOf": [labels, long] } })
    }
}

/// A subset in full.
struct SubsetForm;

impl Form for SubsetForm {
    type Of = Subset;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Subset> {
        let mut fields = cx.mapping(node)?;
        let subset = Subset {
            labels: fields
                .required("labels", |cx, node| LabelSet::read(cx, node, scope))
                .unwrap_or_default(),
            traffic: Settings::read_fields(&mut fields, scope),
            ports: by_port(&mut fields, scope),
            ..Subset::default()
        };
        fields.finish();
        Some(subset)
    }

    fn write(value: &Subset) -> Tree {
        let mut map = Tree::map();
        map.put("labels", LabelSet::write(&value.labels));
        Settings::write_fields(&value.traffic, &mut map);
        if !value.ports.is_empty() {
            map.put("by_port", ByPort::write(&value.ports));
        }
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        schema.object("Subset", |schema, object| {
            object.property("labels", LabelSet::schema(schema), true);
            object.property("by_port", ByPort::schema(schema), false);
            Settings::properties(schema, object);
        })
    }
}

/// Reads `subsets`.
pub(super) fn subsets(fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Vec<Subset> {
    fields
        .optional("subsets", |cx, node| Subsets::read(cx, node, scope))
        .unwrap_or_default()
}

fn subset(cx: &Reader<'_>, key: &Key, node: &Node, scope: Scope<'_>) -> Option<Subset> {
    if !is_dns_label(&key.name) {
        cx.invalid_key(
            key,
            "expected the name of a subset: letters, digits and `-`, at most 63",
        );
        return None;
    }
    let is_long = matches!(node.get("labels").map(|labels| &labels.value), Some(Value::Mapping(_)));
    let mut subset = match is_long {
        true => SubsetForm::read(cx, node, scope)?,
        false => Subset {
            labels: LabelSet::read(cx, node, scope)?,
            ..Subset::default()
        },
    };
    subset.name = key.name.to_string();
    subset.origin = cx.origin(key.span);
    Some(subset)
}

choices! {
    /// Which version of HTTP is spoken.
    Http of H2Upgrade; {
        "auto" H2Upgrade::Default;
        "h1" H2Upgrade::DoNotUpgrade;
        "h2" H2Upgrade::Upgrade;
    }
}

choices! {
    /// Whether the version of HTTP is that of the caller's request.
    CallerProtocol of ClientProtocol; {
        "ignore" ClientProtocol::Ignore;
        "use" ClientProtocol::Use;
    }
}

form! {
    /// Limits of one client process.
    LimitsForm of Limits; {
        "connections" connections: Opt<Limit>;
        "pending" pending: Opt<Limit>;
        "requests" requests: Opt<Limit>;
        "retries" retries: Opt<Limit>;
        "requests_per_connection" requests_per_connection: Opt<Limit>;
        "streams_per_connection" streams_per_connection: Opt<Limit>;
        "connect_timeout" connect_timeout: Dur;
        "idle_timeout" idle_timeout: IdleTimeout;
        "connection_age" connection_age: Opt<Dur>;
        "http" h2_upgrade: Http;
        "caller_protocol" [not_yet "the protocol to an endpoint does not follow the caller's"] client_protocol: CallerProtocol;
        "tcp_keepalive" tcp_keepalive: Opt<Keepalive>;
        "http2_keepalive" http2_keepalive: Opt<Pings>;
    }
}

/// A duration, or `never`.
struct IdleTimeout;

impl Form for IdleTimeout {
    type Of = Option<Duration>;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<Option<Duration>> {
        if node.as_text() == Some("never") {
            return Some(None);
        }
        duration(cx, node).map(Some)
    }

    fn write(value: &Self::Of) -> Tree {
        value.as_ref().map_or_else(|| Tree::text("never"), Dur::write)
    }

    fn schema(schema: &mut Schema) -> Json {
        json!({ "oneOf": [{ "const": "never" }, Dur::schema(schema)] })
    }
}

form! {
    /// Probes of idle connections.
    Keepalive of TcpKeepalive; {
        "probes" probes: Opt<Count>;
        "time" time: Opt<Dur>;
        "interval" interval: Opt<Dur>;
    }
}

pair! {
    /// Pings on HTTP/2 connections, and how long their answer may take.
    Pings; "interval" Dur, "timeout" Dur
}

form! {
    /// When an endpoint is ejected.
    Outliers of OutlierDetection, check check_outliers; {
        "consecutive_5xx" consecutive_5xx: Count;
        "consecutive_gateway_errors" consecutive_gateway_errors: Count;
        "consecutive_local_failures" consecutive_local_failures: Opt<Count>;
        "interval" interval: Dur;
        "base_ejection" base_ejection: Dur;
        "max_ejection" max_ejection: Dur;
        "max_ejected_percent" max_ejected_percent: Percent;
        "min_healthy_percent" min_healthy_percent: Percent;
        "error_codes" error_codes: NonEmpty<super::form::FailureStatus>;
    }
}

fn check_outliers(cx: &Reader<'_>, node: &Node, found: &OutlierDetection) {
    let counts_local = found.consecutive_local_failures.is_some_and(|count| count > 0);
    if found.consecutive_5xx == 0 && found.consecutive_gateway_errors == 0 && !counts_local {
        let message = "`outliers` has no effect: neither 5xx nor gateway errors are counted";
        let help = "give `consecutive_5xx` or `consecutive_gateway_errors`, or leave `outliers` out";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
    }
}

/// `disable`, `mutual`, or a mapping with more.
struct Tls;

impl Form for Tls {
    type Of = ClientTls;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<ClientTls> {
        if !matches!(node.value, Value::Mapping(_)) {
            let mutual = choice(&[("disable", false), ("mutual", true)])(cx, node)?;
            return Some(if mutual {
                mutual_with(Vec::new())
            } else {
                ClientTls::Disable
            });
        }
        let found = TlsForm::read(cx, node, scope)?;
        if let (ClientTls::Origination(_), Some(origination)) = (&found, node.get("originate")) {
            let message = format!(
                "`originate` is {}: endpoints speak the mesh's mTLS or plain text",
                not_yet()
            );
            cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, origination.span, message));
        }
        Some(found)
    }

    fn write(value: &ClientTls) -> Tree {
        match value {
            ClientTls::Disable => Tree::text("disable"),
            ClientTls::IstioMutual { subject_alt_names } if subject_alt_names.is_empty() => Tree::text("mutual"),
            _ => TlsForm::write(value),
        }
    }

    fn schema(schema: &mut Schema) -> Json {
        json!({ "oneOf": [{ "enum": ["disable", "mutual"] }, TlsForm::schema(schema)] })
    }
}

const fn mutual_with(subject_alt_names: Vec<String>) -> ClientTls {
    ClientTls::IstioMutual { subject_alt_names }
}

one_of! {
    /// TLS to endpoints.
    TlsForm of ClientTls; {
        "mutual" ClientTls::IstioMutual { subject_alt_names } => &Names { identities: subject_alt_names.clone() },
            |names| mutual_with(names.identities), NamesForm;
        "originate" ClientTls::Origination(origination) => origination, ClientTls::Origination, Originate;
        "disable" ClientTls::Disable => &true, |_| ClientTls::Disable, Given;
    }
}

/// Whom a server may be.
#[derive(Default, PartialEq)]
pub(super) struct Names {
    identities: Vec<String>,
}

form! {
    /// Whom a server may be.
    NamesForm of Names; {
        "identities" identities: NonEmpty<Identity>;
    }
}

/// A SPIFFE id, with `spiffe://` or without it.
pub(super) struct Identity;

impl Form for Identity {
    type Of = String;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<String> {
        spiffe_id(cx, node)
    }

    fn write(value: &String) -> Tree {
        Tree::text(value)
    }

    fn schema(_: &mut Schema) -> Json {
        json!({ "type": "string" })
    }
}

choices! {
    /// Whether a server's certificate is verified.
    Verify of Verification; {
        "verify" Verification::Verify;
        "skip" Verification::Skip;
    }
}

form! {
    /// TLS with the certificates of others than the mesh.
    Originate of TlsOrigination; {
        "sni" sni: Opt<Text>;
        "names" subject_alt_names: NonEmpty<Text>;
        "authorities" authorities: Opt<Text>;
        "certificate" certificate: Opt<Certificate>;
        "revoked" revoked: Opt<Text>;
        "credential" credential_name: Opt<Text>;
        "verification" verification: Verify;
    }
}

pair! {
    /// Files with the certificates and the key.
    Certificate; "chain" Name, "key" Name
}
