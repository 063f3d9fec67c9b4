//! Matches of HTTPRoutes: path, method, headers, query parameters.

use http::HeaderName;

use super::names::header;
use super::pattern::regex;
use super::values::{bounded, given_or, text_within};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::route::{RouteMatch, StringMatch};
use crate::policy::reader::{Fields, Reader, choice, spanned};
use crate::policy::source::{Node, Spanned};
use crate::request::{PatternShape, canonical_pattern};

/// The most conditions on headers, or on query parameters, of a match.
const CONDITIONS: usize = 16;
/// The longest path, value of a query parameter, and name of one.
const PATH_LENGTH: usize = 1024;
const QUERY_LENGTH: usize = 1024;
const QUERY_NAME_LENGTH: usize = 256;
/// The longest value of a header.
const HEADER_LENGTH: usize = 4096;

/// How a value is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Exact,
    Regex,
}

pub(super) const COMPARISONS: &[(&str, Comparison)] =
    &[("Exact", Comparison::Exact), ("RegularExpression", Comparison::Regex)];

const METHODS: &[(&str, &str)] = &[
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("DELETE", "DELETE"),
    ("CONNECT", "CONNECT"),
    ("OPTIONS", "OPTIONS"),
    ("TRACE", "TRACE"),
    ("PATCH", "PATCH"),
];

/// The match of a rule that names none: every path.
pub(super) fn every_path(cx: &Reader<'_>, node: &Node) -> RouteMatch {
    RouteMatch {
        origin: cx.origin(node.span),
        path: Some(StringMatch::SegmentPrefix("/".into())),
        ..RouteMatch::default()
    }
}

/// Reads a match of an HTTPRoute.
pub(super) fn http_match(cx: &Reader<'_>, node: &Node) -> Option<RouteMatch> {
    let mut fields = cx.mapping(node)?;
    let every = Some(StringMatch::SegmentPrefix("/".into()));
    let path = given_or(&mut fields, "path", every, |cx, node| path(cx, node).map(Some));
    let method = given_or(&mut fields, "method", None, |cx, node| {
        let method = choice(METHODS)(cx, node)?;
        Some(Some(StringMatch::Exact(method.into())))
    });
    let headers = bounded(&mut fields, "headers", CONDITIONS, spanned(header_match));
    let query = bounded(&mut fields, "queryParams", CONDITIONS, spanned(query_match));
    fields.finish();
    Some(RouteMatch {
        origin: cx.origin(node.span),
        path: path?,
        method: method?,
        headers: first_of_each(cx, "header", headers),
        query: first_of_each(cx, "query parameter", query),
        ..RouteMatch::default()
    })
}

/// A condition, and its name as it was written.
type Condition<'n, N> = Spanned<(&'n str, N, StringMatch)>;

/// A name is given once; of names that differ in case only, which are one header, the first counts.
pub(super) fn first_of_each<N: PartialEq>(
    cx: &Reader<'_>,
    what: &str,
    conditions: Vec<Condition<'_, N>>,
) -> Vec<(N, StringMatch)> {
    let mut kept: Vec<Condition<'_, N>> = Vec::new();
    for condition in conditions {
        let Some(first) = kept.iter().find(|earlier| earlier.1 == condition.1) else {
            kept.push(condition);
            continue;
        };
        let name = quoted(condition.0);
        let told = if first.0 == condition.0 {
            Diagnostic::new(
                Code::DUPLICATE_DEFINITION,
                condition.span,
                format!("{what} {name} has a condition already"),
            )
        } else {
            Diagnostic::new(
                Code::NO_EFFECT,
                condition.span,
                format!("{what} {name} has a condition already: this one has no effect"),
            )
        };
        cx.report(told.with_label(first.span, "given here first"));
    }
    kept.into_iter()
        .map(|condition| (condition.value.1, condition.value.2))
        .collect()
}

/// How a path is compared.
#[derive(Clone, Copy)]
enum PathForm {
    Exact,
    Prefix,
    Regex,
}

const PATH_FORMS: &[(&str, PathForm)] = &[
    ("Exact", PathForm::Exact),
    ("PathPrefix", PathForm::Prefix),
    ("RegularExpression", PathForm::Regex),
];

fn path(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    let mut fields = cx.mapping(node)?;
    let form = given_or(&mut fields, "type", PathForm::Prefix, choice(PATH_FORMS));
    let compared = match form {
        None => {
            fields.skip(&["value"]);
            None
        }
        Some(PathForm::Exact) => given_or(&mut fields, "value", StringMatch::Exact("/".into()), exact_path),
        Some(PathForm::Prefix) => given_or(&mut fields, "value", StringMatch::SegmentPrefix("/".into()), prefix),
        Some(PathForm::Regex) => given_or(&mut fields, "value", StringMatch::Regex("/".into()), |cx, node| {
            text_within(PATH_LENGTH)(cx, node)?;
            regex(cx, node).map(StringMatch::Regex)
        }),
    };
    fields.finish();
    compared
}

fn exact_path(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    let text = plain_path(cx, node, PatternShape::Whole)?;
    Some(StringMatch::Exact(text.into()))
}

fn prefix(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    let text = plain_path(cx, node, PatternShape::Part)?;
    Some(StringMatch::SegmentPrefix(text.into()))
}

/// What a path must not have, as the API's CEL rules say.
const REFUSED_PARTS: &[&str] = &["//", "/./", "/../", "%2f", "%2F", "#"];
const REFUSED_ENDS: &[&str] = &["/.", "/.."];

fn plain_path<'n>(cx: &Reader<'_>, node: &'n Node, shape: PatternShape) -> Option<&'n str> {
    let text = text_within(PATH_LENGTH)(cx, node)?;
    if !text.starts_with('/') {
        return cx.invalid(
            node,
            format!("expected a path that starts with `/`, found {}", quoted(text)),
        );
    }
    let part = REFUSED_PARTS.iter().find(|part| text.contains(**part));
    let end = REFUSED_ENDS.iter().find(|end| text.ends_with(**end));
    if let Some(part) = part.or(end) {
        return cx.invalid(node, format!("a path cannot have `{part}`, found {}", quoted(text)));
    }
    if let Some(c) = text.chars().find(|c| !is_path_char(*c)) {
        return cx.invalid(
            node,
            format!("a path cannot have `{}`, found {}", c.escape_default(), quoted(text)),
        );
    }
    match canonical_pattern(text, shape) {
        Ok(_) => Some(text),
        Err(reason) => cx.invalid(
            node,
            format!("no request has a path such as {}: it {reason}", quoted(text)),
        ),
    }
}

/// Characters of a path (RFC 3986, `pchar`), and `%` of escapes.
const fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            '-' | '.'
                | '_'
                | '~'
                | '!'
                | '$'
                | '&'
                | '\''
                | '('
                | ')'
                | '*'
                | '+'
                | ','
                | ';'
                | '='
                | ':'
                | '@'
                | '/'
                | '%'
        )
}

/// Reads a condition on a header.
pub(super) fn header_match<'n>(cx: &Reader<'_>, node: &'n Node) -> Option<(&'n str, HeaderName, StringMatch)> {
    let mut fields = cx.mapping(node)?;
    let comparison = given_or(&mut fields, "type", Comparison::Exact, choice(COMPARISONS));
    let name = fields.required("name", |cx, node| Some((cx.text(node)?, header(cx, node)?)));
    let value = value(&mut fields, comparison, HEADER_LENGTH);
    fields.finish();
    let (written, name) = name?;
    Some((written, name, value?))
}

fn query_match<'n>(cx: &Reader<'_>, node: &'n Node) -> Option<(&'n str, String, StringMatch)> {
    let mut fields = cx.mapping(node)?;
    let comparison = given_or(&mut fields, "type", Comparison::Exact, choice(COMPARISONS));
    let name = fields.required("name", text_within(QUERY_NAME_LENGTH));
    let value = value(&mut fields, comparison, QUERY_LENGTH);
    fields.finish();
    Some((name?, name?.to_owned(), value?))
}

/// Reads `value`; `None` also where its `type` is wrong.
fn value(fields: &mut Fields<'_, '_, '_>, comparison: Option<Comparison>, max: usize) -> Option<StringMatch> {
    let value = fields.required("value", |cx, node| {
        compared(cx, node, comparison.unwrap_or(Comparison::Exact), max)
    });
    comparison.and(value)
}

fn compared(cx: &Reader<'_>, node: &Node, comparison: Comparison, max: usize) -> Option<StringMatch> {
    let text = text_within(max)(cx, node)?;
    match comparison {
        Comparison::Exact => Some(StringMatch::Exact(text.into())),
        Comparison::Regex => regex(cx, node).map(StringMatch::Regex),
    }
}
