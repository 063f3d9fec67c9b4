//! `HTTPRetry`: when and how often a request is tried again.

use http::StatusCode;

use super::NOT_YET;
use super::values::{count, duration, refuse_on};
use crate::policy::diagnostic::{Code, Diagnostic, nearest, quoted};
use crate::policy::model::traffic::{Backoff, RetryCondition, RetryOn, RetryPolicy};
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::{Node, SourceSpan};

/// What is tried again where `retryOn` is not given: Istio's default.
const DEFAULT: [RetryCondition; 5] = [
    RetryCondition::ConnectFailure,
    RetryCondition::RefusedStream,
    RetryCondition::Unavailable,
    RetryCondition::Cancelled,
    RetryCondition::RetriableStatusCodes,
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
    if fields.optional("retryIgnorePreviousHosts", Reader::bool) == Some(false) {
        let reason = "a further try takes another endpoint where there is one";
        fields.refuse("retryIgnorePreviousHosts", NOT_YET, reason);
    }
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
        if let Err(problem) = add(&mut on, token) {
            cx.report(problem.diagnostic(token, node.span));
        }
    }
    if on.codes.is_empty() && on.conditions.contains(&RetryCondition::RetriableStatusCodes) {
        let message = "`retryOn`: `retriable-status-codes` has no effect without a code";
        let help = "list the codes, such as `retriable-status-codes,503`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
    }
    Some(on)
}

/// Why a token is no condition.
enum Problem {
    NotInForce,
    Blank,
    Unknown,
}

impl Problem {
    fn diagnostic(&self, token: &str, span: SourceSpan) -> Diagnostic {
        let found = quoted(token);
        let unknown = Diagnostic::new(
            Code::INVALID_VALUE,
            span,
            format!("`retryOn`: unknown condition {found}"),
        );
        let near = nearest(token, CONDITIONS.iter().map(|(name, _)| *name));
        match (self, near) {
            (Self::NotInForce, _) => {
                let message = format!("`retryOn`: condition {found} is {}", NOT_YET.title());
                Diagnostic::new(NOT_YET, span, message)
            }
            (Self::Blank, _) => unknown.with_help("conditions are separated by commas without blanks"),
            (Self::Unknown, Some(name)) => unknown.with_help(format!("did you mean `{name}`?")),
            (Self::Unknown, None) => {
                unknown.with_help("expected names such as `5xx`, `reset` or `connect-failure`, or status codes")
            }
        }
    }
}

/// Adds a condition, or a status code with the condition that looks at it.
fn add(on: &mut RetryOn, token: &str) -> Result<(), Problem> {
    let known = CONDITIONS.iter().find(|(name, _)| *name == token);
    let condition = match (known, status(token)) {
        (Some((_, condition)), _) => *condition,
        (None, Some(code)) => {
            if !on.codes.contains(&code) {
                on.codes.push(code);
            }
            RetryCondition::RetriableStatusCodes
        }
        (None, None) if NOT_IN_FORCE.contains(&token) => return Err(Problem::NotInForce),
        (None, None) if token.trim() != token => return Err(Problem::Blank),
        (None, None) => return Err(Problem::Unknown),
    };
    if !on.conditions.contains(&condition) {
        on.conditions.push(condition);
    }
    Ok(())
}

/// A registered status code, as Istio wants it: a typing error is seen.
fn status(token: &str) -> Option<StatusCode> {
    let code = StatusCode::from_bytes(token.as_bytes()).ok()?;
    code.canonical_reason().map(|_| code)
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
