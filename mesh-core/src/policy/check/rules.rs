//! Weights that cannot be drawn, retries that cannot fit.

use crate::policy::diagnostic::{Code, Diagnostic, Report};
use crate::policy::model::Policy;
use crate::policy::model::route::RouteRule;
use crate::time::format_duration;

pub(super) fn check(policy: &Policy, report: &mut Report) {
    for table in &policy.routes {
        for rule in &table.rules {
            check_weights(rule, report);
            check_retries(rule, report);
        }
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
    let Some(per_try) = retry.per_try_timeout else {
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
