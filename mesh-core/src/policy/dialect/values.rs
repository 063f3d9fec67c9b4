//! Values that many fields share: durations, counts, switches.

use std::time::Duration;

use crate::decide::retry::{CONDITIONS, ConditionRow};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{RetryCondition, RetryOn};
use crate::policy::reader::{Fields, Reader, within};
use crate::policy::source::{Node, SourceSpan};

/// Reads a duration of at least a millisecond, in whole ones, as nearly every field of Istio wants it.
pub(super) fn duration(cx: &Reader<'_>, node: &Node) -> Option<Duration> {
    let duration = duration_or_zero(cx, node)?;
    if duration.is_zero() {
        let found = quoted(node.as_text().unwrap_or_default());
        return cx.invalid(node, format!("expected at least `1ms`, found {found}"));
    }
    Some(duration)
}

/// Reads a duration in whole milliseconds, where `0s` has a meaning of its own.
pub(super) fn duration_or_zero(cx: &Reader<'_>, node: &Node) -> Option<Duration> {
    let duration = cx.duration(node)?;
    if duration.subsec_nanos() % 1_000_000 == 0 {
        return Some(duration);
    }
    let found = quoted(node.as_text().unwrap_or_default());
    cx.invalid(node, format!("expected whole milliseconds, found {found}"))
}

/// Reads a whole number of 0 to 2147483647.
pub(super) fn count(cx: &Reader<'_>, node: &Node) -> Option<u32> {
    within(0..=i32::MAX.into())(cx, node)
}

/// Reads a limit, for which 0 says that there is none.
pub(super) fn limit(fields: &mut Fields<'_, '_, '_>, name: &'static str) -> Option<u32> {
    fields.optional(name, count).filter(|limit| *limit > 0)
}

/// Reads a percentage of 0 to 100.
pub(super) fn percent(cx: &Reader<'_>, node: &Node) -> Option<u8> {
    within(0..=100)(cx, node)
}

/// Adds one condition or status code of a field to a list of retries.
pub(super) fn retry_condition(cx: &Reader<'_>, on: &mut RetryOn, (field, token): (&str, &str), span: SourceSpan) {
    let Err(error) = on.add(token) else {
        return;
    };
    let message = format!("{}: {error}", quoted(field));
    let diagnostic = Diagnostic::new(Code::INVALID_VALUE, span, message);
    cx.report(match error.help() {
        Some(help) => diagnostic.with_help(help),
        None => diagnostic,
    });
}

/// Warns of conditions that never hold, and of a list of retries that looks at status codes and names none.
pub(super) fn check_codes(cx: &Reader<'_>, on: &RetryOn, field: &str, span: SourceSpan) {
    let is_listed = |row: &&ConditionRow| !row.can_hold() && on.conditions.contains(&row.condition);
    for row in CONDITIONS.iter().filter(is_listed) {
        let message = format!("{}: {} never holds", quoted(field), quoted(row.name));
        cx.report(Diagnostic::new(Code::NO_EFFECT, span, message).with_help(row.doc));
    }
    if on.codes.is_empty() && on.conditions.contains(&RetryCondition::RetriableStatusCodes) {
        let message = format!(
            "{}: `retriable-status-codes` has no effect without a code",
            quoted(field)
        );
        let help = "list the codes beside it, such as `503`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, span, message).with_help(help));
    }
}

/// Reads `{ number: PORT }`.
pub(super) fn port_number(cx: &Reader<'_>, node: &Node) -> Option<u16> {
    let mut fields = cx.mapping(node)?;
    let number = fields.required("number", Reader::port);
    fields.finish();
    number
}

/// Reads a field that stands for `default` where it is absent; `None` where it is wrong.
pub(super) fn given_or<'a, 'n, T>(
    fields: &mut Fields<'_, 'a, 'n>,
    name: &'static str,
    default: T,
    read: impl FnOnce(&Reader<'a>, &'n Node) -> Option<T>,
) -> Option<T> {
    if fields.node(name).is_none() {
        return Some(default);
    }
    fields.optional(name, read)
}
