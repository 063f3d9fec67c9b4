//! `HTTPRetry`: when and how often a request is tried again.

use super::NOT_YET;
use super::values::{check_codes, count, duration, refuse_on, retry_condition};
use crate::decide::retry::default_conditions;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{Backoff, RetryOn, RetryPolicy};
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::Node;

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
        retry_condition(cx, &mut on, ("retryOn", token), node.span);
    }
    check_codes(cx, &on, "retryOn", node.span);
    Some(on)
}
