//! `HTTPRetry`: when and how often a request is tried again.

use http::StatusCode;

use super::values::{count, duration, refuse_on};
use super::{NOT_YET, refuse_all};
use crate::policy::diagnostic::{Code, Diagnostic, nearest, quoted};
use crate::policy::model::traffic::{Backoff, RetryCondition, RetryOn, RetryPolicy};
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::Node;

/// What is tried again where `retryOn` is not given: Istio's default.
const DEFAULT: [RetryCondition; 4] = [
    RetryCondition::ConnectFailure,
    RetryCondition::RefusedStream,
    RetryCondition::Unavailable,
    RetryCondition::Cancelled,
];

/// Conditions that Envoy knows and this version does not.
const NOT_IN_FORCE: [&str; 3] = ["retriable-headers", "envoy-ratelimited", "http3-post-connect-failure"];

/// Reads a block of retries.
pub(super) fn retries(cx: &Reader<'_>, node: &Node) -> Option<RetryPolicy> {
    let mut fields = cx.mapping(node)?;
    let attempts = fields.optional("attempts", count).unwrap_or(0);
    let on = fields.optional("retryOn", retry_on).unwrap_or_else(default_conditions);
    let mut policy = RetryPolicy::new(attempts, on, cx.origin(node.span));
    policy.per_try_timeout = fields.optional("perTryTimeout", duration);
    policy.backoff = fields
        .optional("backoff", duration)
        .map_or(Backoff::DEFAULT, Backoff::from_base);
    refuse_on(
        &mut fields,
        "retryRemoteLocalities",
        "endpoints are tried whatever their locality",
    );
    let reason = "which endpoint a further try takes cannot be chosen";
    refuse_all(&mut fields, NOT_YET, &[("retryIgnorePreviousHosts", reason)]);
    if attempts == 0 {
        refuse_without_attempts(cx, &mut fields);
    }
    fields.finish();
    Some(policy)
}

fn default_conditions() -> RetryOn {
    RetryOn {
        conditions: DEFAULT.into(),
        codes: Vec::new(),
    }
}

/// Without attempts there is no retry, so that nothing else could be in force.
fn refuse_without_attempts(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    for name in ["perTryTimeout", "retryOn", "retryRemoteLocalities", "backoff"] {
        if let Some((key, _)) = fields.entry(name) {
            let message = format!("{} has no effect without `attempts`", quoted(&key.name));
            let help = "give `attempts`: how often a request is tried again";
            cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message).with_help(help));
        }
    }
}

/// Reads conditions and codes, separated by commas without blanks.
fn retry_on(cx: &Reader<'_>, node: &Node) -> Option<RetryOn> {
    let text = cx.text(node)?;
    if text.is_empty() {
        return Some(default_conditions());
    }
    let mut on = RetryOn::default();
    for token in text.split(',') {
        if let Some(condition) = condition(token) {
            on.conditions.push(condition);
        } else if let Some(code) = status(token) {
            on.codes.push(code);
        } else {
            refuse_condition(cx, node, token);
        }
    }
    complete_codes(cx, node, &mut on);
    Some(on)
}

/// A number is short for its code and the condition `retriable-status-codes`.
fn complete_codes(cx: &Reader<'_>, node: &Node, on: &mut RetryOn) {
    let is_given = on.conditions.contains(&RetryCondition::RetriableStatusCodes);
    if !on.codes.is_empty() && !is_given {
        on.conditions.push(RetryCondition::RetriableStatusCodes);
    }
    if on.codes.is_empty() && is_given {
        let message = "`retryOn`: `retriable-status-codes` has no effect without a code";
        let help = "list the codes, such as `retriable-status-codes,503`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
    }
}

fn status(token: &str) -> Option<StatusCode> {
    let code = StatusCode::from_bytes(token.as_bytes()).ok()?;
    code.canonical_reason().map(|_| code)
}

fn refuse_condition(cx: &Reader<'_>, node: &Node, token: &str) {
    if NOT_IN_FORCE.contains(&token) {
        let message = format!("`retryOn`: condition {} is {}", quoted(token), NOT_YET.title());
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
        return;
    }
    let message = format!("`retryOn`: unknown condition {}", quoted(token));
    let diagnostic = Diagnostic::new(Code::INVALID_VALUE, node.span, message);
    let names = CONDITIONS.iter().map(|(name, _)| *name);
    cx.report(match nearest(token.trim(), names) {
        _ if token.trim() != token => diagnostic.with_help("conditions are separated by commas without blanks"),
        Some(name) => diagnostic.with_help(format!("did you mean `{name}`?")),
        None => diagnostic.with_help("expected names such as `5xx`, `reset` or `connect-failure`, or status codes"),
    });
}

/// The condition of this name.
fn condition(name: &str) -> Option<RetryCondition> {
    CONDITIONS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, condition)| *condition)
}

/// Names of conditions, as Envoy spells them.
const CONDITIONS: &[(&str, RetryCondition)] = &[
    ("5xx", RetryCondition::FiveXx),
    ("gateway-error", RetryCondition::GatewayError),
    ("reset", RetryCondition::Reset),
    ("reset-before-request", RetryCondition::ResetBeforeRequest),
    ("connect-failure", RetryCondition::ConnectFailure),
    ("refused-stream", RetryCondition::RefusedStream),
    ("retriable-4xx", RetryCondition::Retriable4xx),
    ("retriable-status-codes", RetryCondition::RetriableStatusCodes),
    ("cancelled", RetryCondition::Cancelled),
    ("deadline-exceeded", RetryCondition::DeadlineExceeded),
    ("internal", RetryCondition::Internal),
    ("resource-exhausted", RetryCondition::ResourceExhausted),
    ("unavailable", RetryCondition::Unavailable),
];
