//! How to talk to a service: `balance`, `limits`, `outliers`, `tls`, `retry` and others, by port and subset.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::form::{
    Count, Dur, DurOrZero, Flag, Float, Form, HeaderKey, LabelSet, Limit, List, Name, Opt, Pairs, Percent, Place,
    PortKey, Schema, Share, Text, TextKey, Tree, Wide, choices, form, one_of, pair,
};
use super::names::is_dns_label;
use super::pattern::spiffe_id;
use super::scope::Scope;
use super::values::{check_codes, duration, retry_condition};
use crate::decide::retry::{CONDITIONS, default_conditions};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{
    Algorithm, Backoff, ClientProtocol, ClientTls, H2Upgrade, HashKey, Limits, Locality, OutlierDetection,
    PreviousHosts, RemoteLocalities, RetryBudget, RetryConcurrency, RetryOn, RetryPolicy, Subset, TcpKeepalive,
    TlsOrigination, TrafficPolicy, Verification, Warmup,
};
use crate::policy::reader::{Fields, Reader, choice, within};
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

const SIMPLE: &[(&str, Algorithm)] = &[
    ("round_robin", Algorithm::RoundRobin),
    ("random", Algorithm::Random),
    ("least_request", Algorithm::LeastRequest),
];

/// A name; those that hash, with the size of their table.
struct Balance;

impl Form for Balance {
    type Of = Algorithm;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Algorithm> {
        match node.value {
            Value::Mapping(_) => {
                let found = Hashing::read(cx, node, scope)?;
                let message = format!("`balance` is {}: endpoints are picked whatever the request", not_yet());
                cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, node.span, message));
                Some(found)
            }
            _ => choice(SIMPLE)(cx, node),
        }
    }

    fn write(value: &Algorithm) -> Tree {
        match SIMPLE.iter().find(|(_, known)| known == value) {
            Some((name, _)) => Tree::text(*name),
            None => Hashing::write(value),
        }
    }

    fn schema(schema: &mut Schema) -> Json {
        json!({ "oneOf": [{ "enum": ["round_robin", "random", "least_request"] }, Hashing::schema(schema)] })
    }
}

fn not_yet() -> &'static str {
    Code::NOT_YET_IN_FORCE.title()
}

form! {
    /// The table of consistent hashing.
    Table of TableSize; {
        "size" [required] size: Wide;
    }
}

/// The size of a table.
#[derive(Default, PartialEq)]
pub(super) struct TableSize {
    size: u64,
}

one_of! {
    /// What needs more than a name.
    Hashing of Algorithm; {
        "ring_hash" Algorithm::RingHash(size) => &TableSize { size: *size }, |table| Algorithm::RingHash(table.size), Table;
        "maglev" Algorithm::Maglev(size) => &TableSize { size: *size }, |table| Algorithm::Maglev(table.size), Table;
        "passthrough" _ => &true, |_| Algorithm::Passthrough, Flag;
    }
}

/// A cookie that is hashed.
#[derive(Default, PartialEq)]
pub(super) struct CookieKey {
    name: String,
    path: Option<String>,
    ttl: Option<Duration>,
    attributes: Vec<(String, String)>,
}

form! {
    /// The cookie that keeps a caller with an endpoint.
    Cookie of CookieKey; {
        "name" [required] name: Name;
        "path" path: Opt<Text>;
        "ttl" ttl: Opt<DurOrZero>;
        "attributes" attributes: Pairs<TextKey, Text>;
    }
}

impl CookieKey {
    fn of(key: &HashKey) -> Self {
        match key.clone() {
            HashKey::Cookie {
                name,
                path,
                ttl,
                attributes,
            } => Self {
                name,
                path,
                ttl,
                attributes,
            },
            _ => Self::default(),
        }
    }

    fn key(self) -> HashKey {
        let Self {
            name,
            path,
            ttl,
            attributes,
        } = self;
        HashKey::Cookie {
            name,
            path,
            ttl,
            attributes,
        }
    }
}

one_of! {
    /// What is hashed.
    Hash of HashKey; {
        "header" HashKey::Header(name) => name, HashKey::Header, HeaderKey;
        "query" HashKey::Query(name) => name, HashKey::Query, Name;
        "cookie" cookie @ HashKey::Cookie { .. } => &CookieKey::of(cookie), CookieKey::key, Cookie;
        "source_ip" _ => &true, |_| HashKey::SourceIp, Flag;
    }
}

form! {
    /// A slow start of new endpoints.
    WarmupForm of Warmup = Warmup::new(Duration::ZERO); {
        "duration" [required] duration: Dur;
        "minimum_percent" minimum_percent: Float;
        "aggression" aggression: Float;
    }
}

form! {
    /// Where requests of a locality go.
    LocalityForm of Locality; {
        "enabled" enabled: Opt<Flag>;
        "distribute" distribute: Pairs<TextKey, Pairs<TextKey, Count>>;
        "failover" failover: Pairs<TextKey, Text>;
        "failover_priority" failover_priority: List<Text>;
    }
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

form! {
    /// A subset in full.
    SubsetForm of Subset; {
        "labels" [required] labels: LabelSet;
        "balance" traffic.balance: Opt<Balance>;
        "hash" [not_yet "requests are not hashed"] traffic.hash: Opt<Hash>;
        "limits" traffic.limits: Opt<LimitsForm>;
        "outliers" traffic.outliers: Opt<Outliers>;
        "tls" traffic.tls: Opt<Tls>;
        "retry" traffic.retry: Opt<Retry>;
        "retry_budget" traffic.retry_budget: Opt<Budget>;
        "retry_concurrency" traffic.retry_concurrency: Opt<Concurrency>;
        "warmup" [not_yet "new endpoints get their full share at once"] traffic.warmup: Opt<WarmupForm>;
        "locality" [not_yet "endpoints are picked whatever their locality"] traffic.locality: Opt<LocalityForm>;
        "by_port" ports: ByPort;
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

    #[expect(clippy::option_option, reason = "`never` is a valid value")]
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
        "error_codes" error_codes: List<super::form::Status>;
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
        "disable" ClientTls::Disable => &true, |_| ClientTls::Disable, Flag;
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
        "identities" identities: List<Identity>;
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
        "names" subject_alt_names: List<Text>;
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

choices! {
    /// Whether an endpoint that failed is tried again.
    Previous of PreviousHosts; {
        "avoid" PreviousHosts::Avoid;
        "allow" PreviousHosts::Allow;
    }
}

choices! {
    /// Whether retries may leave the locality.
    Remote of RemoteLocalities; {
        "stay" RemoteLocalities::Stay;
        "leave" RemoteLocalities::Leave;
    }
}

/// What the table of a retry starts from; `attempts` is required.
fn no_retry() -> RetryPolicy {
    RetryPolicy::new(0, default_conditions(), crate::policy::model::Origin::default())
}

form! {
    /// The retries of a route or a service.
    Retry of RetryPolicy = no_retry(), origin origin, check refuse_beside_none; {
        "attempts" [required] attempts: Count;
        "on" on: Conditions;
        "per_try_timeout" per_try_timeout: Opt<Dur>;
        "backoff" backoff: Pause;
        "previous_endpoints" previous_hosts: Previous;
        "other_localities" [not_yet "endpoints are tried whatever their locality"] remote_localities: Remote;
    }
}

/// Reads the retries of a route or a service.
pub(super) fn retry(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RetryPolicy> {
    let found = Retry::read(cx, node, scope)?;
    // Without `attempts` there is no policy, and the problem is told.
    node.get("attempts").map(|_| found)
}

/// Without attempts nothing else could be in force.
fn refuse_beside_none(cx: &Reader<'_>, node: &Node, found: &RetryPolicy) {
    if found.attempts != 0 || node.get("attempts").and_then(Node::as_text) != Some("0") {
        return;
    }
    for (key, _) in node
        .entries()
        .iter()
        .filter(|(key, value)| &*key.name != "attempts" && !value.is_null())
    {
        let message = format!("{} has no effect with `attempts: 0`", quoted(&key.name));
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
}

/// Conditions and status codes, each an item.
struct Conditions;

impl Form for Conditions {
    type Of = RetryOn;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<RetryOn> {
        let Value::Sequence(items) = &node.value else {
            return cx.wrong_type(node, "a list such as `[5xx, reset, 409]`");
        };
        if items.is_empty() {
            return cx.invalid(node, "expected at least one condition, leave `on` out for the default");
        }
        let mut on = RetryOn::default();
        for item in items {
            let Some(token) = cx.any_text(item) else { continue };
            retry_condition(cx, &mut on, ("on", &token), item.span);
        }
        check_codes(cx, &on, "on", node.span);
        Some(on)
    }

    fn write(value: &RetryOn) -> Tree {
        let row = |condition| CONDITIONS.iter().find(|row| row.condition == condition);
        let names = value.conditions.iter().filter_map(|condition| row(*condition));
        let names = names.map(|row| Tree::text(row.name));
        let codes = value.codes.iter().map(|code| Tree::number(code.as_u16()));
        Tree::List(names.chain(codes).collect())
    }

    fn schema(_: &mut Schema) -> Json {
        let names: Vec<&str> = CONDITIONS.iter().map(|row| row.name).collect();
        let code = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
        json!({ "type": "array", "minItems": 1, "items": { "anyOf": [{ "enum": names }, code, { "type": "string" }] } })
    }
}

/// The first pause, or `{ base, max, least }`.
struct Pause;

impl Form for Pause {
    type Of = Backoff;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<Backoff> {
        if !matches!(node.value, Value::Mapping(_)) {
            return duration(cx, node).map(Backoff::from_base);
        }
        let mut fields = cx.mapping(node)?;
        let base = fields.required("base", duration);
        let max = fields.optional("max", duration);
        let least = fields.optional("least", super::values::duration_or_zero);
        let ends = fields.node("max");
        fields.finish();
        let mut backoff = Backoff::from_base(base?);
        backoff.max = max.unwrap_or(backoff.max);
        backoff.least = least.unwrap_or(backoff.least);
        match ends {
            Some(node) if backoff.max < backoff.base => cx.invalid(node, "expected at least `base`"),
            _ => Some(backoff),
        }
    }

    fn write(value: &Backoff) -> Tree {
        if *value == Backoff::from_base(value.base) {
            return Dur::write(&value.base);
        }
        let mut map = Tree::map();
        map.put("base", Dur::write(&value.base));
        map.put("max", Dur::write(&value.max));
        map.put("least", DurOrZero::write(&value.least));
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        let duration = Dur::schema(schema);
        let long = schema.object("Pause", |schema, object| {
            object.property("base", Dur::schema(schema), true);
            object.property("max", Dur::schema(schema), false);
            object.property("least", DurOrZero::schema(schema), false);
        });
        json!({ "oneOf": [duration, long] })
    }
}

/// Up to ten retries for each first try.
struct BudgetPercent;

impl Form for BudgetPercent {
    type Of = u32;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<u32> {
        within(0..=1000)(cx, node)
    }

    fn write(value: &u32) -> Tree {
        Tree::number(*value)
    }

    fn schema(_: &mut Schema) -> Json {
        json!({ "type": "integer", "minimum": 0, "maximum": 1000 })
    }
}

form! {
    /// A budget of retries beside first tries.
    Budget of RetryBudget; {
        "percent" percent: BudgetPercent;
        "min_per_second" min_per_second: Count;
        "ttl" ttl: Dur;
    }
}

form! {
    /// How many retries may be under way at a time.
    Concurrency of RetryConcurrency; {
        "percent" share: Share;
        "min" min: Count;
    }
}
