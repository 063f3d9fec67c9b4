//! What routes say by annotations: `retry.linkerd.io/…` and `timeout.linkerd.io/…`.
//!
//! They hold for every rule of the route, and go before what its rules say themselves.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::StatusCode;

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::attachment::RouteKind;
use crate::policy::model::route::RouteTable;
use crate::policy::model::traffic::{RetryCondition, RetryOn, RetryPolicy};
use crate::policy::reader::Reader;
use crate::policy::source::{Key, Node};

use super::NOT_YET;

/// Conditions of gRPC that can be tried again.
const GRPC: &[(&str, RetryCondition)] = &[
    ("cancelled", RetryCondition::Cancelled),
    ("deadline-exceeded", RetryCondition::DeadlineExceeded),
    ("internal", RetryCondition::Internal),
    ("resource-exhausted", RetryCondition::ResourceExhausted),
    ("unavailable", RetryCondition::Unavailable),
];

/// Retries of a route that does not say how many.
const ATTEMPTS: u32 = 1;

/// What a route says by annotations.
#[derive(Default)]
struct Said {
    on: Option<RetryOn>,
    attempts: Option<u32>,
    per_try: Option<Duration>,
    request: Option<Option<Duration>>,
    /// Where what limits retries was written: it needs conditions.
    limits: Vec<(Key, &'static str)>,
}

/// Puts the annotations of a route into its rules.
pub(in crate::policy::dialect) fn annotate(
    cx: &Reader<'_>,
    object: &Object<'_>,
    kind: RouteKind,
    table: &mut RouteTable,
) {
    let metadata = object.node.get("metadata");
    let annotations = metadata.and_then(|metadata| metadata.get("annotations"));
    let mut said = Said::default();
    for (key, node) in annotations.map_or(&[][..], Node::entries) {
        read(cx, key, node, kind, &mut said);
    }
    let retry = said.on.take().map(|on| RetryPolicy {
        per_try_timeout: said.per_try,
        ..RetryPolicy::new(said.attempts.unwrap_or(ATTEMPTS), on, object.meta.origin.clone())
    });
    for (key, _) in said.limits.iter().filter(|_| retry.is_none()) {
        let message = format!(
            "{} has no effect: the route does not say what is tried again",
            quoted(&key.name)
        );
        cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
    }
    for rule in &mut table.rules {
        if let Some(timeout) = said.request {
            rule.timeout = timeout;
        }
        if retry.is_some() {
            rule.retry.clone_from(&retry);
        }
    }
}

fn read(cx: &Reader<'_>, key: &Key, node: &Node, kind: RouteKind, said: &mut Said) {
    let Some((domain @ ("retry.linkerd.io" | "timeout.linkerd.io" | "balancer.linkerd.io"), name)) =
        key.name.split_once('/')
    else {
        return;
    };
    let tell = |code: Code, reason: &str| {
        let message = format!("annotation {} {reason}", quoted(&key.name));
        cx.report(Diagnostic::new(code, key.span, message));
    };
    match (domain, name) {
        ("retry.linkerd.io", "http") if kind == RouteKind::Http => said.on = conditions(cx, node, http),
        ("retry.linkerd.io", "grpc") if kind == RouteKind::Grpc => said.on = conditions(cx, node, grpc),
        ("retry.linkerd.io", "http" | "grpc") => tell(Code::NO_EFFECT, "has no effect on routes of this kind"),
        ("retry.linkerd.io", "limit") => {
            said.attempts = limit(cx, node);
            said.limits.push((key.clone(), "limit"));
        }
        ("retry.linkerd.io", "timeout") => {
            said.per_try = duration(cx, node).flatten();
            said.limits.push((key.clone(), "timeout"));
        }
        ("timeout.linkerd.io", "request") => said.request = duration(cx, node),
        ("timeout.linkerd.io", "response" | "idle") => {
            if duration(cx, node).flatten().is_some() {
                let reason = format!("is {}: limits are those of requests and of tries", NOT_YET.title());
                tell(NOT_YET, &reason);
            }
        }
        ("balancer.linkerd.io", _) => tell(Code::NO_EFFECT, "has no effect on a route: it is for services"),
        _ => tell(Code::UNKNOWN_FIELD, "is not known"),
    }
}

/// Reads how often a request is tried again; 0 says nothing.
fn limit(cx: &Reader<'_>, node: &Node) -> Option<u32> {
    let text = cx.text(node)?;
    match text.parse::<u16>() {
        Ok(limit) => Some(u32::from(limit)).filter(|limit| *limit > 0),
        Err(_) => {
            let found = quoted(text);
            cx.invalid(node, format!("expected a whole number of 0 to 65535, found {found}"))
        }
    }
}

/// Reads a duration, for which 0 says that there is no limit.
fn duration(cx: &Reader<'_>, node: &Node) -> Option<Option<Duration>> {
    let zero = node.as_text() == Some("0");
    let read = if zero { Some(Duration::ZERO) } else { cx.duration(node) };
    read.map(|duration| Some(duration).filter(|duration| !duration.is_zero()))
}

/// Reads a list with commas and without blanks.
fn conditions(cx: &Reader<'_>, node: &Node, add: fn(&str, &mut RetryOn) -> Option<()>) -> Option<RetryOn> {
    let text = cx.text(node)?;
    let mut on = RetryOn::default();
    for condition in text.split(',') {
        if add(condition, &mut on).is_none() {
            let found = quoted(condition);
            return cx.invalid(node, format!("{found} is nothing that is tried again, expected conditions such as `5xx`, `503` or `500-504` of HTTP, `unavailable` of gRPC, with commas alone between them"));
        }
    }
    Some(on)
}

fn http(condition: &str, on: &mut RetryOn) -> Option<()> {
    if matches!(condition, "5xx" | "gateway-error") {
        return on.add(condition).ok();
    }
    let (start, end) = condition.split_once('-').unwrap_or((condition, condition));
    let range: RangeInclusive<u16> = start.parse().ok()?..=end.parse().ok()?;
    let is_valid = !range.is_empty() && *range.start() >= 100 && *range.end() <= 599;
    let codes = range
        .filter(|_| is_valid)
        .filter_map(|code| StatusCode::from_u16(code).ok());
    on.codes.extend(codes);
    if !on.conditions.contains(&RetryCondition::RetriableStatusCodes) {
        on.conditions.push(RetryCondition::RetriableStatusCodes);
    }
    is_valid.then_some(())
}

fn grpc(condition: &str, on: &mut RetryOn) -> Option<()> {
    let (_, condition) = GRPC.iter().find(|(name, _)| name.eq_ignore_ascii_case(condition))?;
    on.conditions.push(*condition);
    Some(())
}
