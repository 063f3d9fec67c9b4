//! Linkerd's `ServiceProfile`: route classes of a service, with timeouts and retries.
//!
//! The name of the object is the service's full name. The first class that takes a request counts; what
//! no class takes is sent as without a profile. A class without `timeout` has no limit.

use std::time::Duration;

use http::Method;

use super::pattern::regex;
use super::{Dialect, Object};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Policy;
use crate::policy::model::route::{ProfileRoute, Retryable, ServiceProfile};
use crate::policy::model::traffic::RetryBudget;
use crate::policy::reader::{Fields, Reader, Spelling};
use crate::policy::source::Node;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "linkerd",
    spelling: Spelling::Exact,
    knows: |api_version, kind| {
        kind == "ServiceProfile" && matches!(api_version, "linkerd.io/v1alpha2" | "linkerd.io/v1alpha1")
    },
    is_settings: |_| false,
    lower,
};

const NOT_YET: Code = Code::NOT_YET_IN_FORCE;

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let mut profile = ServiceProfile {
        meta: object.meta.clone(),
        host: object.meta.name.clone(),
        ..ServiceProfile::default()
    };
    if let Some(mut fields) = object.spec.and_then(|spec| cx.mapping(spec)) {
        profile.routes = fields.list("routes", route);
        profile.budget = fields.optional("retryBudget", budget).unwrap_or_default();
        fields.refuse("dstOverrides", NOT_YET, "split traffic by a `TrafficSplit`");
        fields.refuse("opaquePorts", NOT_YET, "services speak HTTP");
        fields.finish();
    }
    policy.profiles.push(profile);
}

fn route(cx: &Reader<'_>, node: &Node) -> Option<ProfileRoute> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", Reader::name);
    let condition = fields.required("condition", condition);
    let mut route = ProfileRoute::new(String::new(), cx.origin(node.span));
    if fields.optional("isRetryable", Reader::bool) == Some(true) {
        route.retryable = Retryable::Yes;
    }
    route.timeout = fields.optional("timeout", timeout);
    let reason = "a response of 5xx is a failure, others are not";
    fields.refuse("responseClasses", NOT_YET, reason);
    fields.finish();
    (route.method, route.path_regex) = condition?;
    route.name = name?;
    Some(route)
}

/// Reads a duration as Go does; `0s` is none, as Linkerd takes it.
fn timeout(cx: &Reader<'_>, node: &Node) -> Option<Duration> {
    cx.duration(node).filter(|timeout| !timeout.is_zero())
}

/// Reads the method and the path, of which one must be given.
fn condition(cx: &Reader<'_>, node: &Node) -> Option<(Option<Method>, Option<String>)> {
    let errors = cx.errors();
    let mut fields = cx.mapping(node)?;
    let found = (fields.optional("method", method), fields.optional("pathRegex", regex));
    for name in ["all", "any", "not"] {
        fields.refuse(name, NOT_YET, "a condition is a method, a path or both");
    }
    let is_empty = found == (None, None);
    fields.finish();
    if is_empty && cx.errors() == errors {
        return cx.invalid(node, "expected a `method` or a `pathRegex`, found neither");
    }
    Some(found)
}

/// Reads a method, in any case.
pub(super) fn method(cx: &Reader<'_>, node: &Node) -> Option<Method> {
    let text = cx.name(node)?;
    match Method::from_bytes(text.to_ascii_uppercase().as_bytes()) {
        Ok(method) => Some(method),
        Err(_) => cx.invalid(
            node,
            format!("expected a method such as `GET`, found {}", quoted(&text)),
        ),
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

#[cfg(test)]
mod tests;
