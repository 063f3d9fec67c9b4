//! `TrafficPolicy`: the blocks of a destination rule, of a subset and of a port.

use std::time::Duration;

use super::client_tls::client_tls;
use super::connection_pool::limits;
use super::load_balancer::{load_balancer, number};
use super::names::{is_dns_name, refuse_duplicates};
use super::outlier_detection::outlier_detection;
use super::retries::retries;
use super::values::{duration_or_zero, port_number};
use super::{NOT_YET, refuse_all};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::filter::Fraction;
use crate::policy::model::traffic::{RetryConcurrency, RetryPolicy, TrafficPolicy};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::{Node, Spanned};

/// A policy, and those that stand in its place on single ports.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) traffic: TrafficPolicy,
    pub(super) ports: Vec<(u16, TrafficPolicy)>,
}

/// Where a policy stands: for all ports or for one, in a rule for all workloads or for some.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Service { is_selected: bool },
    Port { is_selected: bool },
}

impl Level {
    /// Whether the rule has a `workloadSelector`.
    pub(super) const fn is_selected(self) -> bool {
        let (Self::Service { is_selected } | Self::Port { is_selected }) = self;
        is_selected
    }

    pub(super) const fn is_port(self) -> bool {
        matches!(self, Self::Port { .. })
    }
}

const REFUSED: &[(&str, &str)] = &[
    ("tunnel", "connections are not tunnelled"),
    ("proxyProtocol", "no PROXY header is sent"),
];

/// Reads a policy with its ports; `is_selected` says whether its rule has a `workloadSelector`.
pub(super) fn traffic_policy(cx: &Reader<'_>, node: &Node, is_selected: bool) -> Option<Settings> {
    let mut fields = cx.mapping(node)?;
    let mut traffic = blocks(cx, &mut fields, Level::Service { is_selected });
    traffic.retry = retry_policy(cx, &mut fields);
    traffic.retry_concurrency = fields.optional("retryBudget", retry_budget);
    let ports = fields.list("portLevelSettings", |cx, node| port_level(cx, node, is_selected));
    fields.one_of(&["tunnel", "proxyProtocol"]);
    fields.optional("tunnel", tunnel);
    fields.optional("proxyProtocol", proxy_protocol);
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
fn blocks(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, level: Level) -> TrafficPolicy {
    let traffic = TrafficPolicy {
        limits: fields.optional("connectionPool", limits),
        outliers: fields.optional("outlierDetection", outlier_detection),
        tls: fields.optional("tls", |cx, node| client_tls(cx, node, level)),
        ..fields.optional("loadBalancer", load_balancer).unwrap_or_default()
    };
    warn_of_failover(cx, fields, &traffic);
    traffic
}

/// Without outlier detection nothing is ever found to have failed.
fn warn_of_failover(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, traffic: &TrafficPolicy) {
    let Some(locality) = traffic.locality.as_ref().filter(|_| traffic.outliers.is_none()) else {
        return;
    };
    let setting = fields.node("loadBalancer").and_then(|node| {
        node.get("localityLbSetting")
            .or_else(|| node.get("locality_lb_setting"))
    });
    if let Some(node) = setting.filter(|_| !(locality.failover.is_empty() && locality.failover_priority.is_empty())) {
        let message = "failover has no effect without `outlierDetection`";
        let help = "it is by outlier detection that endpoints are found to have failed";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
    }
}

fn port_level(cx: &Reader<'_>, node: &Node, is_selected: bool) -> Option<(Spanned<u16>, TrafficPolicy)> {
    let mut fields = cx.mapping(node)?;
    let port = fields.required("port", port_number);
    let traffic = blocks(cx, &mut fields, Level::Port { is_selected });
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
fn retry_policy(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<RetryPolicy> {
    let policy = fields.optional("retryPolicy", retries);
    if let Some((key, _)) = fields.entry("retryPolicy") {
        let message =
            "field `retryPolicy` is not part of the standard: it is taken as the retries of routes that set none";
        let help = "the standard place is `http[].retries` of a VirtualService";
        cx.report(Diagnostic::new(Code::NON_STANDARD_FIELD, key.span, message).with_help(help));
    }
    policy
}

/// Reads how many retries there may be at a time.
fn retry_budget(cx: &Reader<'_>, node: &Node) -> Option<RetryConcurrency> {
    let mut fields = cx.mapping(node)?;
    let percent = fields.optional("percent", |cx, node| number(cx, node, 0.0, 100.0));
    let least = fields.optional("minRetryConcurrency", Reader::u32);
    if fields
        .optional("budgetInterval", duration_or_zero)
        .is_some_and(|interval| interval > Duration::ZERO)
    {
        fields.refuse("budgetInterval", NOT_YET, "requests count while they are under way");
    }
    fields.finish();
    let default = RetryConcurrency::default();
    Some(RetryConcurrency {
        share: percent.map_or(default.share, Fraction::from_percent),
        min: least.unwrap_or(default.min),
    })
}

fn tunnel(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.optional("protocol", choice(&[("CONNECT", ()), ("POST", ())]));
    fields.required("targetHost", |cx, node| {
        let text = cx.text(node)?;
        match is_dns_name(text) || text.parse::<std::net::IpAddr>().is_ok() {
            true => Some(()),
            false => cx.invalid(node, format!("expected a host, found {}", quoted(text))),
        }
    });
    fields.required("targetPort", Reader::port);
    fields.finish();
    Some(())
}

fn proxy_protocol(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.optional("version", choice(&[("V1", ()), ("V2", ())]));
    fields.finish();
    Some(())
}
