//! Conditions on requests.

use http::Method;

use crate::policy::diagnostic::quoted;
use crate::policy::dialect::pattern::regex;
use crate::policy::model::profile::RequestCondition;
use crate::policy::reader::{Reader, list_of};
use crate::policy::source::Node;

/// Reads a condition: all that it says must hold, and it must say something. An empty `all` holds always, an empty `any` never.
pub(super) fn condition(cx: &Reader<'_>, node: &Node) -> Option<RequestCondition> {
    if node.is_null() {
        super::null_item(cx, node, "a condition");
        return None;
    }
    let errors = cx.errors();
    let mut fields = cx.mapping(node)?;
    let mut parts: Vec<RequestCondition> = Vec::new();
    parts.extend(fields.optional("method", method).map(RequestCondition::Method));
    parts.extend(fields.optional("pathRegex", regex).map(RequestCondition::Path));
    parts.extend(fields.optional("all", list_of(condition)).map(RequestCondition::All));
    parts.extend(fields.optional("any", list_of(condition)).map(RequestCondition::Any));
    let not = fields.optional("not", condition).map(Box::new);
    parts.extend(not.map(RequestCondition::Not));
    fields.finish();
    if cx.errors() > errors {
        return None;
    }
    match parts.pop() {
        None => cx.invalid(
            node,
            "expected a `method`, a `pathRegex`, `all`, `any` or `not`, found none",
        ),
        Some(only) if parts.is_empty() => Some(only),
        Some(last) => {
            parts.push(last);
            Some(RequestCondition::All(parts))
        }
    }
}

/// Reads a method, in any case.
pub(in crate::policy::dialect) fn method(cx: &Reader<'_>, node: &Node) -> Option<Method> {
    let text = cx.name(node)?;
    match Method::from_bytes(text.to_ascii_uppercase().as_bytes()) {
        Ok(method) => Some(method),
        Err(_) => cx.invalid(
            node,
            format!("expected a method such as `GET`, found {}", quoted(&text)),
        ),
    }
}
