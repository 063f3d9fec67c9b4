//! How to talk to a service: `balance`, `limits`, `outliers`, `tls`, `retry`, `retry_budget`, by port and subset.

use std::time::Duration;

use super::names::{is_dns_label, labels};
use super::pattern::spiffe_id;
use super::values::{check_codes, count, duration, retry_condition};
use crate::decide::retry::default_conditions;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{
    Algorithm, Backoff, ClientTls, H2Upgrade, Limits, OutlierDetection, RetryBudget, RetryOn, RetryPolicy, Subset,
    TrafficPolicy,
};
use crate::policy::reader::{Fields, Reader, choice, within};
use crate::policy::source::{Key, Node, Value};

/// Reads the blocks beside other fields of a service, a destination, a subset or a port.
pub(super) fn blocks(fields: &mut Fields<'_, '_, '_>) -> TrafficPolicy {
    TrafficPolicy {
        balance: fields.optional("balance", choice(ALGORITHMS)),
        limits: fields.optional("limits", limits),
        outliers: fields.optional("outliers", outliers),
        tls: fields.optional("tls", tls),
        retry: fields.optional("retry", retry),
        retry_budget: fields.optional("retry_budget", retry_budget),
        ..TrafficPolicy::default()
    }
}

const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("round_robin", Algorithm::RoundRobin),
    ("random", Algorithm::Random),
    ("least_request", Algorithm::LeastRequest),
];

/// Reads `by_port`: blocks that stand in the place of all others on one port.
pub(super) fn by_port(fields: &mut Fields<'_, '_, '_>) -> Vec<(u16, TrafficPolicy)> {
    fields
        .optional("by_port", |cx, node| {
            let Value::Mapping(entries) = &node.value else {
                return cx.wrong_type(node, "a mapping");
            };
            let ports = entries.iter().filter_map(|(key, node)| {
                let traffic = port_level(cx, node);
                Some((port_key(cx, key)?, traffic?))
            });
            Some(ports.collect())
        })
        .unwrap_or_default()
}

fn port_level(cx: &Reader<'_>, node: &Node) -> Option<TrafficPolicy> {
    let mut fields = cx.mapping(node)?;
    let traffic = blocks(&mut fields);
    fields.finish();
    Some(traffic)
}

/// Reads a port that is a key.
pub(super) fn port_key(cx: &Reader<'_>, key: &Key) -> Option<u16> {
    let is_number = key.name.bytes().all(|byte| byte.is_ascii_digit()) && !key.name.starts_with('0');
    let port = key.name.parse().ok().filter(|_| is_number);
    if port.is_none() {
        cx.invalid_key(key, "expected a port of 1 to 65535");
    }
    port
}

/// Reads `subsets`: a name, and labels or a mapping of `labels` and blocks.
pub(super) fn subsets(fields: &mut Fields<'_, '_, '_>) -> Vec<Subset> {
    fields
        .optional("subsets", |cx, node| {
            let Value::Mapping(entries) = &node.value else {
                return cx.wrong_type(node, "a mapping");
            };
            Some(entries.iter().filter_map(|(key, node)| subset(cx, key, node)).collect())
        })
        .unwrap_or_default()
}

fn subset(cx: &Reader<'_>, key: &Key, node: &Node) -> Option<Subset> {
    if !is_dns_label(&key.name) {
        cx.invalid_key(
            key,
            "expected the name of a subset: letters, digits and `-`, at most 63",
        );
        return None;
    }
    let mut subset = Subset {
        name: key.name.to_string(),
        origin: cx.origin(key.span),
        ..Subset::default()
    };
    let is_long = matches!(node.get("labels").map(|labels| &labels.value), Some(Value::Mapping(_)));
    if !is_long {
        subset.labels = labels(cx, node)?;
        return Some(subset);
    }
    let mut fields = cx.mapping(node)?;
    subset.labels = fields.optional("labels", labels).unwrap_or_default();
    subset.traffic = blocks(&mut fields);
    subset.ports = by_port(&mut fields);
    fields.finish();
    Some(subset)
}

const HTTP: &[(&str, H2Upgrade)] = &[
    ("auto", H2Upgrade::Default),
    ("h1", H2Upgrade::DoNotUpgrade),
    ("h2", H2Upgrade::Upgrade),
];

fn limits(cx: &Reader<'_>, node: &Node) -> Option<Limits> {
    let mut fields = cx.mapping(node)?;
    let default = Limits::default();
    let limits = Limits {
        connections: fields.optional("connections", limit),
        pending: fields.optional("pending", limit),
        requests: fields.optional("requests", limit),
        retries: fields.optional("retries", limit),
        requests_per_connection: fields.optional("requests_per_connection", limit),
        streams_per_connection: fields.optional("streams_per_connection", limit),
        connect_timeout: fields
            .optional("connect_timeout", duration)
            .unwrap_or(default.connect_timeout),
        idle_timeout: fields
            .optional("idle_timeout", idle_timeout)
            .unwrap_or(default.idle_timeout),
        connection_age: fields.optional("connection_age", duration),
        h2_upgrade: fields.optional("http", choice(HTTP)).unwrap_or_default(),
        ..Limits::default()
    };
    fields.finish();
    Some(limits)
}

/// Reads a limit, which is at least 1: none is said by leaving it out.
fn limit(cx: &Reader<'_>, node: &Node) -> Option<u32> {
    within(1..=i32::MAX.into())(cx, node)
}

/// Reads a duration, or `never`.
#[expect(clippy::option_option, reason = "`never` is a valid value")]
fn idle_timeout(cx: &Reader<'_>, node: &Node) -> Option<Option<Duration>> {
    if node.as_text() == Some("never") {
        return Some(None);
    }
    duration(cx, node).map(Some)
}

fn outliers(cx: &Reader<'_>, node: &Node) -> Option<OutlierDetection> {
    let mut fields = cx.mapping(node)?;
    let default = OutlierDetection::default();
    let found = OutlierDetection {
        consecutive_5xx: fields
            .optional("consecutive_5xx", count)
            .unwrap_or(default.consecutive_5xx),
        consecutive_gateway_errors: fields
            .optional("consecutive_gateway_errors", count)
            .unwrap_or(default.consecutive_gateway_errors),
        interval: fields.optional("interval", duration).unwrap_or(default.interval),
        base_ejection: fields
            .optional("base_ejection", duration)
            .unwrap_or(default.base_ejection),
        max_ejection: fields
            .optional("max_ejection", duration)
            .unwrap_or(default.max_ejection),
        max_ejected_percent: fields
            .optional("max_ejected_percent", Reader::percent)
            .unwrap_or(default.max_ejected_percent),
        min_healthy_percent: fields
            .optional("min_healthy_percent", Reader::percent)
            .unwrap_or(default.min_healthy_percent),
        ..OutlierDetection::default()
    };
    fields.finish();
    if found.consecutive_5xx == 0 && found.consecutive_gateway_errors == 0 {
        let message = "`outliers` has no effect: neither 5xx nor gateway errors are counted";
        let help = "give `consecutive_5xx` or `consecutive_gateway_errors`, or leave `outliers` out";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
    }
    Some(found)
}

/// Reads `disable`, `mutual`, or `mutual: { identities: [ … ] }`.
fn tls(cx: &Reader<'_>, node: &Node) -> Option<ClientTls> {
    if !matches!(node.value, Value::Mapping(_)) {
        let mutual = choice(&[("disable", false), ("mutual", true)])(cx, node)?;
        return Some(if mutual {
            mutual_with(Vec::new())
        } else {
            ClientTls::Disable
        });
    }
    let mut fields = cx.mapping(node)?;
    let names = fields.required("mutual", |cx, node| {
        let mut fields = cx.mapping(node)?;
        let names = fields.list("identities", spiffe_id);
        fields.finish();
        Some(names)
    });
    fields.finish();
    names.map(mutual_with)
}

const fn mutual_with(subject_alt_names: Vec<String>) -> ClientTls {
    ClientTls::IstioMutual { subject_alt_names }
}

/// Reads the retries of a route or a service.
pub(super) fn retry(cx: &Reader<'_>, node: &Node) -> Option<RetryPolicy> {
    let mut fields = cx.mapping(node)?;
    let attempts = fields.required("attempts", count);
    let on = fields.optional("on", retry_on).unwrap_or_else(default_conditions);
    let mut policy = RetryPolicy::new(attempts.unwrap_or(0), on, cx.origin(node.span));
    policy.per_try_timeout = fields.optional("per_try_timeout", duration);
    policy.backoff = fields.optional("backoff", backoff).unwrap_or(Backoff::DEFAULT);
    if attempts == Some(0) {
        refuse_beside_none(cx, &mut fields);
    }
    fields.finish();
    attempts.map(|_| policy)
}

/// Without attempts nothing else could be in force.
fn refuse_beside_none(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    for name in ["on", "per_try_timeout", "backoff"] {
        if let Some((key, _)) = fields.entry(name) {
            let message = format!("{} has no effect with `attempts: 0`", quoted(&key.name));
            cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
        }
    }
}

/// Reads conditions and status codes, each an item.
fn retry_on(cx: &Reader<'_>, node: &Node) -> Option<RetryOn> {
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

/// Reads the first pause, or `{ base, max }`.
fn backoff(cx: &Reader<'_>, node: &Node) -> Option<Backoff> {
    if !matches!(node.value, Value::Mapping(_)) {
        return duration(cx, node).map(Backoff::from_base);
    }
    let mut fields = cx.mapping(node)?;
    let base = fields.required("base", duration);
    let max = fields.optional("max", duration);
    let ends = fields.node("max");
    fields.finish();
    let mut backoff = Backoff::from_base(base?);
    backoff.max = max.unwrap_or(backoff.max);
    match ends {
        Some(node) if backoff.max < backoff.base => cx.invalid(node, "expected at least `base`"),
        _ => Some(backoff),
    }
}

/// Reads a budget of retries.
pub(super) fn retry_budget(cx: &Reader<'_>, node: &Node) -> Option<RetryBudget> {
    let mut fields = cx.mapping(node)?;
    let default = RetryBudget::default();
    let percent = fields.optional("percent", within(0..=1000)).unwrap_or(default.percent);
    let min = fields
        .optional("min_per_second", count)
        .unwrap_or(default.min_per_second);
    let ttl = fields.optional("ttl", duration).unwrap_or(default.ttl);
    fields.finish();
    Some(RetryBudget::new(percent, min, ttl))
}
