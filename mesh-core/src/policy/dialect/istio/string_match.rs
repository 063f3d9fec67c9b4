//! How a text is compared: `exact`, `prefix` or `regex`.

use http::HeaderName;

use super::NOT_YET;
use super::pattern::regex;
use crate::policy::diagnostic::{Diagnostic, quoted};
use crate::policy::model::route::StringMatch;
use crate::policy::reader::Reader;
use crate::policy::source::{Key, Node, Value};

const FORMS: &[&str] = &["exact", "prefix", "regex"];

/// Reads a comparison of the path: an empty prefix matches all.
pub(super) fn of_path(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    let mut fields = cx.mapping(node)?;
    let given = fields.required_one_of(FORMS);
    fields.finish();
    let (form, value) = given?;
    comparison(cx, form, value)
}

/// Reads a comparison of a text: a prefix must not be empty.
pub(super) fn of_text(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    match of_path(cx, node)? {
        StringMatch::Prefix(prefix) if prefix.is_empty() => empty_prefix(cx, node),
        comparison => Some(comparison),
    }
}

/// Reads a comparison of what may be absent: `{}` and the regex `*` ask only that it is there.
fn of_optional(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    if node.is_null() {
        return cx.invalid(node, "expected a comparison, found nothing: write `{}` for any value");
    }
    let mut fields = cx.mapping(node)?;
    let given = fields.one_of(FORMS);
    fields.finish();
    match given {
        None => Some(StringMatch::Present),
        Some(("regex", value)) if value.as_text() == Some("*") => Some(StringMatch::Present),
        Some((form, value)) => match comparison(cx, form, value)? {
            StringMatch::Prefix(prefix) if prefix.is_empty() => empty_prefix(cx, value),
            comparison => Some(comparison),
        },
    }
}

fn empty_prefix<T>(cx: &Reader<'_>, node: &Node) -> Option<T> {
    cx.invalid(node, "an empty prefix matches everything, leave the condition out")
}

fn comparison(cx: &Reader<'_>, form: &str, value: &Node) -> Option<StringMatch> {
    match form {
        "exact" => cx.string(value).map(StringMatch::Exact),
        "prefix" => cx.string(value).map(StringMatch::Prefix),
        _ => regex(cx, value).map(StringMatch::Regex),
    }
}

/// Reads conditions on headers.
pub(super) fn of_headers(cx: &Reader<'_>, node: &Node) -> Option<Vec<(HeaderName, StringMatch)>> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let conditions = entries.iter().filter_map(|(key, value)| {
        let comparison = of_optional(cx, value);
        Some((header_name(cx, key)?, comparison?))
    });
    Some(conditions.collect())
}

fn header_name(cx: &Reader<'_>, key: &Key) -> Option<HeaderName> {
    let name = key.name.to_ascii_lowercase();
    if name.starts_with("@request.auth.claims") {
        let message = format!(
            "header {} is {}: tokens of requests are not checked",
            quoted(&key.name),
            NOT_YET.title()
        );
        cx.report(Diagnostic::new(NOT_YET, key.span, message));
        return None;
    }
    if let Some(field @ ("authority" | "method" | "scheme")) = name.strip_prefix(':') {
        cx.invalid_key(key, format!("write the condition as the field `{field}` of the match"));
        return None;
    }
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Some(name),
        Err(_) => {
            cx.invalid_key(key, "expected the name of a header");
            None
        }
    }
}

/// Reads conditions on query parameters.
pub(super) fn of_query(cx: &Reader<'_>, node: &Node) -> Option<Vec<(String, StringMatch)>> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let conditions = entries
        .iter()
        .filter_map(|(key, value)| Some((key.name.to_string(), of_optional(cx, value)?)));
    Some(conditions.collect())
}
