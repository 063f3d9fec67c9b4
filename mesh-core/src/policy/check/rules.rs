//! Rules that no request reaches, weights that cannot be drawn, retries that cannot fit.

use crate::policy::diagnostic::{Code, Diagnostic, Report};
use crate::policy::model::Policy;
use crate::policy::model::route::{RouteMatch, RouteRule, RouteTable, RuleOrder, StringMatch};
use crate::time::format_duration;

pub(super) fn check(policy: &Policy, report: &mut Report) {
    for table in &policy.routes {
        if table.order == RuleOrder::Written {
            check_reach(table, report);
        }
        for rule in &table.rules {
            check_weights(rule, report);
            check_retries(rule, report);
        }
    }
}

/// Rules are tried in order: after one that takes every request there is nothing left.
fn check_reach(table: &RouteTable, report: &mut Report) {
    let Some(index) = table.rules.iter().position(takes_all) else {
        return;
    };
    let Some(first) = table.rules.get(index) else {
        return;
    };
    for rule in table.rules.iter().skip(index + 1) {
        let message = "no request reaches this rule: one before it takes them all";
        let diagnostic = Diagnostic::new(Code::UNREACHABLE_RULE, &rule.origin, message);
        let diagnostic = diagnostic.with_label(&first.origin, "takes every request");
        report.push(diagnostic.with_help("move it up, or give the other rule a condition"));
    }
}

fn takes_all(rule: &RouteRule) -> bool {
    rule.matches.is_empty() || rule.matches.iter().any(matches_all)
}

/// Whether a match has no condition, or only one that every path meets.
fn matches_all(one: &RouteMatch) -> bool {
    let any_path = match &one.path {
        None => true,
        Some(StringMatch::Prefix(prefix) | StringMatch::SegmentPrefix(prefix)) => matches!(prefix.as_str(), "" | "/"),
        Some(StringMatch::Regex(regex)) => matches!(regex.as_str(), ".*" | "/.*"),
        Some(_) => false,
    };
    let unconditional = RouteMatch {
        name: one.name.clone(),
        origin: one.origin.clone(),
        path: one.path.clone(),
        path_case: one.path_case,
        ..RouteMatch::default()
    };
    any_path && *one == unconditional
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
