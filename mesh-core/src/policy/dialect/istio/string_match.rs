//! How a text is compared: `exact`, `prefix` or `regex`.

use http::HeaderName;

use super::pattern::regex;
use crate::policy::diagnostic::{listed, quoted};
use crate::policy::model::route::StringMatch;
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::{Key, Node, Spanned, Value};

const FORMS: &[&str] = &["exact", "prefix", "regex"];

/// Reads a comparison of the path: an empty prefix matches all.
pub(super) fn of_path(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    let mut fields = form(cx, node)?;
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

/// Reads a comparison of an origin: no form of it may be empty.
pub(super) fn of_origin(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    match of_path(cx, node)? {
        StringMatch::Exact(text) | StringMatch::Prefix(text) if text.is_empty() => {
            cx.invalid(node, "expected an origin, found empty text")
        }
        comparison => Some(comparison),
    }
}

/// Reads a comparison of what may be absent: `{}` and the regex `*` ask only that it is there.
fn of_optional(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    if node.is_null() {
        return cx.invalid(node, "expected a comparison, found nothing: write `{}` for any value");
    }
    let mut fields = form(cx, node)?;
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

/// The fields of a comparison; who writes the text alone is told how it is written in full.
fn form<'r, 'a, 'n>(cx: &'r Reader<'a>, node: &'n Node) -> Option<Fields<'r, 'a, 'n>> {
    match node.as_text() {
        Some(text) => cx.wrong_type_with(node, "a mapping", Some(format!("write {}", quoted(&as_exact(text))))),
        None => cx.mapping(node),
    }
}

fn as_exact(text: &str) -> String {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || matches!(one, '/' | '-' | '_' | '.');
    match !text.is_empty() && text.chars().all(is_plain) && text.parse::<f64>().is_err() {
        true => format!("{{ exact: {text} }}"),
        false => format!("{{ exact: \"{text}\" }}"),
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

/// Conditions on what stands in the place of headers.
#[derive(Default)]
pub(super) struct HeaderConditions {
    pub(super) headers: Vec<(HeaderName, StringMatch)>,
    pub(super) claims: Vec<(Vec<String>, StringMatch)>,
    /// Parts of the request in the form of headers, such as `:method`.
    pub(super) parts: Vec<(&'static str, Spanned<StringMatch>)>,
}

/// Reads conditions on headers, on claims of a token, and on parts of the request in the form of headers.
pub(super) fn of_headers(cx: &Reader<'_>, node: &Node) -> Option<HeaderConditions> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let mut conditions = HeaderConditions::default();
    for (key, value) in entries {
        let Some((name, comparison)) = header(cx, key).zip(cx.in_key(key, || of_optional(cx, value))) else {
            continue;
        };
        match name {
            Named::Header(name) => conditions.headers.push((name, comparison)),
            Named::Claim(claim) => conditions.claims.push((claim, comparison)),
            Named::Part(part) => {
                let value = Spanned {
                    value: comparison,
                    span: key.span,
                };
                conditions.parts.push((part, value));
            }
        }
    }
    Some(conditions)
}

/// What the key of a condition names.
enum Named {
    Header(HeaderName),
    Claim(Vec<String>),
    Part(&'static str),
}

/// Parts of a request that HTTP/2 writes as headers.
const PARTS: &[&str] = &["authority", "method", "scheme", "path"];

fn header(cx: &Reader<'_>, key: &Key) -> Option<Named> {
    if let Some(claim) = claim(&key.name) {
        return Some(Named::Claim(claim));
    }
    if let Some(name) = key.name.strip_prefix(':') {
        let part = PARTS.iter().find(|part| **part == name);
        if part.is_none() {
            cx.invalid_key(
                key,
                format!("expected the name of a header, or one of {}", listed(PSEUDO)),
            );
        }
        return part.map(|part| Named::Part(part));
    }
    match HeaderName::from_bytes(key.name.as_bytes()) {
        Ok(name) => Some(Named::Header(name)),
        Err(_) => {
            cx.invalid_key(key, "expected the name of a header");
            None
        }
    }
}

const PSEUDO: &[&str] = &[":authority", ":method", ":scheme", ":path"];

/// What stands before the names of a claim.
const CLAIMS: &str = "@request.auth.claims";

/// Whether a key names a claim.
pub(super) fn is_claim(key: &str) -> bool {
    claim(key).is_some()
}

/// The path of a claim, as `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`.
fn claim(key: &str) -> Option<Vec<String>> {
    let (start, names) = key.split_at_checked(CLAIMS.len())?;
    if !start.eq_ignore_ascii_case(CLAIMS) {
        return None;
    }
    let path: Vec<String> = match (names.strip_prefix('.'), names.strip_prefix('[')) {
        (Some(names), _) => names.split('.').map(Into::into).collect(),
        (None, Some(names)) => names.strip_suffix(']')?.split("][").map(Into::into).collect(),
        (None, None) => return None,
    };
    (!path.iter().any(String::is_empty)).then_some(path)
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
