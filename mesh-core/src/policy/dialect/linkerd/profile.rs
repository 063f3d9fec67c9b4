//! `ServiceProfile`: route classes of a service, with timeouts, retries and what counts as a failure.
//!
//! The name of the object is the service's full name. The first class that takes a request counts; what
//! no class takes is sent as without a profile. A class without `timeout` has no limit.

use std::time::Duration;

use super::request::condition;
use super::response::classes;
use super::{NOT_YET, Object};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::names::is_dns_name;
use crate::policy::dialect::quantity;
use crate::policy::model::Policy;
use crate::policy::model::profile::{AttachedRoutes, ProfileRoute, RequestCondition, Retryable, ServiceProfile};
use crate::policy::model::route::Destination;
use crate::policy::model::traffic::RetryBudget;
use crate::policy::reader::{Fields, Reader, within};
use crate::policy::source::{Node, Value};

/// Reads a `ServiceProfile`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let mut profile = ServiceProfile {
        meta: object.meta.clone(),
        host: object.meta.name.clone(),
        attached: AttachedRoutes::Replace,
        ..ServiceProfile::default()
    };
    if let Some(mut fields) = object.spec.and_then(|spec| cx.mapping(spec)) {
        profile.routes = fields.list("routes", route);
        profile.budget = fields.optional("retryBudget", budget).unwrap_or_default();
        profile.overrides = fields.optional("dstOverrides", overrides).unwrap_or_default();
        opaque_ports(cx, &mut fields);
        fields.finish();
    }
    policy.profiles.push(profile);
}

fn route(cx: &Reader<'_>, node: &Node) -> Option<ProfileRoute> {
    if node.is_null() {
        super::null_item(cx, node, "a route");
        return None;
    }
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", Reader::name);
    let condition = fields.required("condition", condition);
    let all = RequestCondition::All(Vec::new());
    let mut route = ProfileRoute::new(String::new(), all, cx.origin(node.span));
    if fields.optional("isRetryable", Reader::bool) == Some(true) {
        route.retryable = Retryable::Yes;
    }
    route.timeout = fields.optional("timeout", timeout);
    route.response_classes = classes(&mut fields);
    fields.finish();
    route.condition = condition?;
    route.name = name?;
    Some(route)
}

/// Reads a duration as Go does; `0s` is none, as Linkerd takes it.
fn timeout(cx: &Reader<'_>, node: &Node) -> Option<Duration> {
    cx.duration(node).filter(|timeout| !timeout.is_zero())
}

/// The ports that are passed on as bytes: their numbers are the keys.
fn opaque_ports(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    fields.optional("opaquePorts", |cx, node| match &node.value {
        Value::Mapping(entries) => {
            for (key, _) in entries {
                if key.name.parse::<u16>().is_ok_and(|port| port > 0) {
                    continue;
                }
                cx.invalid_key(key, "expected a port of 1 to 65535");
            }
            Some(())
        }
        Value::Sequence(items) => {
            items.iter().for_each(|item| {
                within::<u16>(1..=65_535)(cx, item);
            });
            Some(())
        }
        _ => cx.wrong_type(node, "a mapping"),
    });
    if let Some((key, _)) = fields.entry("opaquePorts") {
        let message = format!(
            "field `opaquePorts` is {}: clients speak HTTP to every port",
            NOT_YET.title()
        );
        cx.report(Diagnostic::new(NOT_YET, key.span, message));
    }
}

/// Reads `dstOverrides`, whose weights are relative to their sum.
fn overrides(cx: &Reader<'_>, node: &Node) -> Option<Vec<Destination>> {
    let Value::Sequence(items) = &node.value else {
        return cx.wrong_type(node, "a list");
    };
    let errors = cx.errors();
    let found: Vec<(Destination, u64)> = items.iter().filter_map(|item| destination(cx, item)).collect();
    if cx.errors() > errors || found.is_empty() {
        return None;
    }
    if found.iter().all(|(_, weight)| *weight == 0) {
        return cx.invalid(node, "the weights of all destinations are 0, one must be more");
    }
    let unit = found
        .iter()
        .fold(0, |unit, (_, weight)| quantity::common_divisor(unit, *weight));
    let shared = |(mut to, weight): (Destination, u64)| {
        to.weight = u32::try_from(weight / unit).ok()?;
        Some(to)
    };
    match found.into_iter().map(shared).collect() {
        Some(destinations) => Some(destinations),
        None => cx.invalid(node, "the weights lie too far apart to be drawn"),
    }
}

/// Reads a destination, and its weight in thousandths.
fn destination(cx: &Reader<'_>, node: &Node) -> Option<(Destination, u64)> {
    let mut fields = cx.mapping(node)?;
    let authority = fields.required("authority", authority);
    let weight = fields.required("weight", quantity::quantity);
    fields.finish();
    let ((host, port), weight) = (authority?, weight?);
    let to = Destination {
        host,
        port,
        origin: cx.origin(node.span),
        ..Destination::default()
    };
    Some((to, weight))
}

/// Reads a full name, and its port where one is given; without it, the request's counts.
fn authority(cx: &Reader<'_>, node: &Node) -> Option<(String, Option<u16>)> {
    let text = cx.text(node)?;
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok().filter(|port: &u16| *port > 0))),
        None => (text, None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_valid = is_dns_name(name) || name.parse::<std::net::Ipv4Addr>().is_ok();
    match port {
        Some(None) => cx.invalid(node, format!("expected a port of 1 to 65535 in {}", quoted(text))),
        _ if !is_valid => cx.invalid(
            node,
            format!(
                "expected a name such as `orders.shop.svc.cluster.local:8080`, found {}",
                quoted(text)
            ),
        ),
        port => Some((name.to_ascii_lowercase(), port.flatten())),
    }
}

fn budget(cx: &Reader<'_>, node: &Node) -> Option<RetryBudget> {
    let mut fields = cx.mapping(node)?;
    let default = RetryBudget::default();
    let percent = fields.optional("retryRatio", ratio).unwrap_or(default.percent);
    let min = fields
        .optional("minRetriesPerSecond", Reader::u32)
        .unwrap_or(default.min_per_second);
    let ttl = required_ttl(cx, &mut fields);
    fields.finish();
    Some(RetryBudget::new(percent, min, ttl?))
}

fn required_ttl(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<Duration> {
    let ttl = fields.required("ttl", Reader::duration)?;
    if ttl.is_zero() {
        if let Some((key, _)) = fields.entry("ttl") {
            let message = "`ttl`: expected more than `0s`";
            cx.report(Diagnostic::new(Code::INVALID_VALUE, key.span, message));
        }
        return None;
    }
    Some(ttl)
}

/// Reads a ratio of hundredths, as a percentage.
fn ratio(cx: &Reader<'_>, node: &Node) -> Option<u32> {
    let ratio = cx.f64(node)?;
    let percent = (ratio * 100.0).round();
    let is_whole = (percent - ratio * 100.0).abs() < 1e-6;
    if !(0.0..=100_000.0).contains(&percent) || !is_whole {
        return cx.invalid(
            node,
            "expected a ratio of whole hundredths such as `0.25`, at most 1000",
        );
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked: 0 to 100000"
    )]
    let percent = percent as u32;
    Some(percent)
}
