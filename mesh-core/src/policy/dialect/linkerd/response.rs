//! Response classes: which responses are failures.

use std::ops::RangeInclusive;

use crate::policy::model::profile::{ResponseClass, ResponseCondition, ResponseResult};
use crate::policy::reader::{Fields, Reader, list_of, within};
use crate::policy::source::Node;

/// The statuses that a class can name.
const STATUSES: RangeInclusive<i64> = 100..=599;

/// Reads `responseClasses`.
pub(super) fn classes(fields: &mut Fields<'_, '_, '_>) -> Vec<ResponseClass> {
    fields.list("responseClasses", class)
}

fn class(cx: &Reader<'_>, node: &Node) -> Option<ResponseClass> {
    if node.is_null() {
        super::null_item(cx, node, "a response class");
        return None;
    }
    let mut fields = cx.mapping(node)?;
    let condition = fields.required("condition", condition);
    let result = match fields.optional("isFailure", Reader::bool) {
        Some(true) => ResponseResult::Failure,
        _ => ResponseResult::Success,
    };
    fields.finish();
    Some(ResponseClass::new(condition?, result))
}

/// Reads a condition: all that it says must hold, and it must say something.
fn condition(cx: &Reader<'_>, node: &Node) -> Option<ResponseCondition> {
    if node.is_null() {
        super::null_item(cx, node, "a condition");
        return None;
    }
    let errors = cx.errors();
    let mut fields = cx.mapping(node)?;
    let mut parts: Vec<ResponseCondition> = Vec::new();
    parts.extend(fields.optional("status", status).map(ResponseCondition::Status));
    parts.extend(fields.optional("all", list_of(condition)).map(ResponseCondition::All));
    parts.extend(fields.optional("any", list_of(condition)).map(ResponseCondition::Any));
    let not = fields.optional("not", condition).map(Box::new);
    parts.extend(not.map(ResponseCondition::Not));
    fields.finish();
    if cx.errors() > errors {
        return None;
    }
    match parts.pop() {
        None => cx.invalid(node, "expected a `status`, `all`, `any` or `not`, found none"),
        Some(only) if parts.is_empty() => Some(only),
        Some(last) => {
            parts.push(last);
            Some(ResponseCondition::All(parts))
        }
    }
}

/// Reads a range of statuses; an end that is not given, or 0, is that of all statuses.
fn status(cx: &Reader<'_>, node: &Node) -> Option<RangeInclusive<u16>> {
    let mut fields = cx.mapping(node)?;
    let min = fields.optional("min", bound);
    let max = fields.optional("max", bound);
    let is_wrong = |fields: &mut Fields<'_, '_, '_>, name, read: Option<Option<u16>>| {
        fields.node(name).is_some() && read.is_none()
    };
    let wrong = is_wrong(&mut fields, "min", min) || is_wrong(&mut fields, "max", max);
    fields.finish();
    if wrong {
        return None;
    }
    let range = min.flatten().unwrap_or(100)..=max.flatten().unwrap_or(599);
    if range.is_empty() {
        let (min, max) = (range.start(), range.end());
        return cx.invalid(node, format!("`max` must not be less than `min`, found {min} to {max}"));
    }
    Some(range)
}

fn bound(cx: &Reader<'_>, node: &Node) -> Option<Option<u16>> {
    if node.as_text() == Some("0") {
        return Some(None);
    }
    within::<u16>(STATUSES)(cx, node).map(Some)
}
