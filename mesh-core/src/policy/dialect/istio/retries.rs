//! `HTTPRetry`: when and how often a request is tried again.

use super::NOT_YET;
use super::values::{check_codes, count, duration, retry_condition};
use crate::decide::retry::default_conditions;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{Backoff, PreviousHosts, RemoteLocalities, RetryOn, RetryPolicy};
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
    if fields.optional("retryRemoteLocalities", Reader::bool) == Some(true) {
        policy.remote_localities = RemoteLocalities::Leave;
        let reason = "endpoints are tried whatever their locality";
        fields.refuse("retryRemoteLocalities", NOT_YET, reason);
    }
    if fields.optional("retryIgnorePreviousHosts", Reader::bool) == Some(false) {
        policy.previous_hosts = PreviousHosts::Allow;
    }
    if attempts == 0 {
        refuse_without_attempts(cx, &mut fields);
    }
    fields.finish();
    Some(policy)
}

/// Without attempts there is no retry, so that nothing else could be in force.
fn refuse_without_attempts(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    const REFUSED: &[&str] = &["perTryTimeout", "retryOn", "retryRemoteLocalities"];
    for name in REFUSED.iter().chain(&["backoff"]) {
        if let Some((key, _)) = fields.entry(name) {
            let message = format!("{} has no effect without `attempts`", quoted(&key.name));
            let help = "give `attempts`: how often a request is tried again";
            let code = match REFUSED.contains(name) {
                true => Code::INVALID_POLICY,
                // Upstream lets this one pass.
                false => Code::NO_EFFECT,
            };
            cx.report(Diagnostic::new(code, key.span, message).with_help(help));
        }
    }
}

/// Reads conditions and codes, separated by commas without blanks.
fn retry_on(cx: &Reader<'_>, node: &Node) -> Option<RetryOn> {
    if !node.items().is_empty() {
        let items: Vec<&str> = node.items().iter().filter_map(Node::as_text).collect();
        let help = format!("write one text: {}", quoted(&items.join(",")));
        return cx.wrong_type_with(node, "text", Some(help));
    }
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
