//! Weights that cannot be drawn or are no shares of a hundred, retries that cannot fit or repeat what they must not,
//! claims that nobody checks.

use super::kept::Kept;
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};
use crate::policy::model::Policy;
use crate::policy::model::filter::{Answer, RedirectPort};
use crate::policy::model::route::{RouteRule, StringMatch};
use crate::policy::model::traffic::{RetryCondition, RetryOn};
use crate::time::format_duration;
use crate::workers::Workers;

/// What cannot be.
pub(super) fn check_limits(
    (policy, workers): (&Policy, &dyn Workers),
    kept: &mut Kept<RouteRule>,
    report: &mut Report,
) {
    let lists = policy.routes.iter().map(|table| &table.rules);
    kept.check(lists, workers, report, check_weights);
}

/// What is hardly meant.
pub(super) fn check((policy, workers): (&Policy, &dyn Workers), kept: &mut Kept<RouteRule>, report: &mut Report) {
    let lists = policy.routes.iter().map(|table| &table.rules);
    let are_tokens_checked = !policy.request_authentications.is_empty();
    kept.check(lists, workers, report, |rule, report| {
        check_rule(rule, are_tokens_checked, report);
    });
}

/// Looks at the rule alone, so that what is found holds in all policies that check tokens, or in all that do not.
fn check_rule(rule: &RouteRule, are_tokens_checked: bool, report: &mut Report) {
    check_shares(rule, report);
    check_retries(rule, report);
    check_repetition(rule, report);
    if !are_tokens_checked {
        check_claims(rule, report);
    }
    check_paths(rule, report);
    check_redirect(rule, report);
}

/// A redirect to the URL that was asked for brings the caller back for ever.
fn check_redirect(rule: &RouteRule, report: &mut Report) {
    let Some(Answer::Redirect(redirect)) = &rule.answer else {
        return;
    };
    let is_elsewhere = redirect.scheme.is_some() || redirect.authority.is_some() || redirect.path.is_some();
    let is_port = matches!(redirect.port, RedirectPort::Number(_) | RedirectPort::ProtocolDefault);
    if !is_elsewhere && !is_port {
        let message = "the redirect changes nothing: callers come back with the same URL";
        let help = "give a new scheme, host, port or path";
        report.push(Diagnostic::new(Code::NO_EFFECT, &rule.origin, message).with_help(help));
    }
}

/// Weights are drawn from their sum, which has 32 bits (as Envoy's).
fn check_weights(rule: &RouteRule, report: &mut Report) {
    let sum: u64 = rule
        .destinations
        .iter()
        .map(|destination| u64::from(destination.weight))
        .sum();
    if sum > u64::from(u32::MAX) {
        let message = format!("the weights add up to {sum}, the limit is {}", u32::MAX);
        report.push(Diagnostic::new(Code::INVALID_POLICY, &rule.origin, message));
    }
}

/// Further tries that take their full time do not fit into the time of the request.
fn check_retries(rule: &RouteRule, report: &mut Report) {
    let (Some(timeout), Some(retry)) = (rule.timeout, &rule.retry) else {
        return;
    };
    // Nobody wrote of retries where they are told to stand at the rule itself.
    let Some(per_try) = retry.per_try_timeout.filter(|_| retry.origin != rule.origin) else {
        return;
    };
    let all = per_try.saturating_mul(retry.attempts);
    if all > timeout {
        let (per_try, timeout, all) = (format_duration(per_try), format_duration(timeout), format_duration(all));
        let message = format!(
            "{} retries of {per_try} each take up to {all}, the whole request only {timeout}",
            retry.attempts
        );
        let help = "make the tries shorter or fewer, or the timeout longer";
        report.push(Diagnostic::new(Code::RETRIES_OUTLAST_TIMEOUT, &retry.origin, message).with_help(help));
    }
}

/// Sums near a hundred that are taken for a slip of somebody who counts in percent.
const NEARLY_A_HUNDRED: std::ops::RangeInclusive<u64> = 80..=120;

/// Weights are relative; who writes 90 and 20 mostly means shares of a hundred.
fn check_shares(rule: &RouteRule, report: &mut Report) {
    let weights = || rule.destinations.iter().map(|one| one.weight);
    let sum: u64 = weights().map(u64::from).sum();
    let are_equal = weights().zip(weights().skip(1)).all(|(left, right)| left == right);
    if sum == 100 || !NEARLY_A_HUNDRED.contains(&sum) || are_equal {
        return;
    }
    let message = format!("the weights add up to {sum}, and not to 100");
    let diagnostic = Diagnostic::new(Code::SUSPICIOUS_WEIGHTS, &rule.origin, message);
    report.push(diagnostic.with_help("each destination gets its weight of the sum, which need not be 100"));
}

/// What was sent may have been done, even if no answer came: doing it again is safe for some methods only.
fn check_repetition(rule: &RouteRule, report: &mut Report) {
    let Some(retry) = rule.retry.as_ref().filter(|retry| retry.attempts > 0) else {
        return;
    };
    let methods = rule.matches.iter().filter_map(|one| match &one.method {
        Some(StringMatch::Exact(method)) => Some(method.as_str()),
        _ => None,
    });
    let Some(method) = methods.into_iter().find(|method| matches!(*method, "POST" | "PATCH")) else {
        return;
    };
    let Some(condition) = unsafe_condition(&retry.on) else {
        return;
    };
    let message = format!("`{method}` is tried again on `{condition}`, though it may have been done already");
    let help = "try again only what was not sent: `connect-failure,refused-stream,reset-before-request`";
    report.push(Diagnostic::new(Code::UNSAFE_RETRY, &retry.origin, message).with_help(help));
}

/// The first condition that holds after a request was sent, as Envoy names it. Those on gRPC statuses are left out: an
/// idempotent call of gRPC is a `POST`, too.
fn unsafe_condition(on: &RetryOn) -> Option<&'static str> {
    on.conditions.iter().find_map(|condition| match condition {
        RetryCondition::FiveXx => Some("5xx"),
        RetryCondition::GatewayError => Some("gateway-error"),
        RetryCondition::Reset => Some("reset"),
        RetryCondition::RetriableStatusCodes => Some("retriable-status-codes"),
        _ => None,
    })
}

/// Conditions on the path that no path fulfils, since they are written as another kind of condition.
fn check_paths(rule: &RouteRule, report: &mut Report) {
    for one in &rule.matches {
        let (form, text) = match &one.path {
            Some(StringMatch::Exact(text)) => ("exact", text),
            Some(StringMatch::Prefix(text) | StringMatch::SegmentPrefix(text)) => ("prefix", text),
            _ => continue,
        };
        let told = if !text.is_empty() && !text.starts_with(['/', '*']) {
            let message = format!("{form} {} can never match: paths begin with `/`", quoted(text));
            Some((
                Code::NEVER_MATCHES,
                message,
                format!("write {}", quoted(&format!("/{text}"))),
            ))
        } else {
            text.strip_suffix('*').map(|rest| {
                let message = format!("in {form} {} the `*` is compared as it is", quoted(text));
                let help = format!("write the prefix {}", quoted(if rest.is_empty() { "/" } else { rest }));
                (Code::LITERAL_WILDCARD, message, help)
            })
        };
        if let Some((code, message, help)) = told {
            report.push(Diagnostic::new(code, &one.origin, message).with_help(help));
        }
    }
}

/// Claims are those of a token that was checked; without a check there are none.
fn check_claims(rule: &RouteRule, report: &mut Report) {
    if let Some(one) = rule.matches.iter().find(|one| one.is_on_claims()) {
        let message = "the rule asks for claims of a token, and no `RequestAuthentication` checks any";
        let help = "without one, no request has claims: give the tokens' issuer";
        report.push(Diagnostic::new(Code::CLAIMS_NOT_CHECKED, &one.origin, message).with_help(help));
    }
}
