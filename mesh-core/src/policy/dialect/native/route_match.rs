//! `match`: which requests a rule takes.

use http::{HeaderName, Method};
use serde_json::{Value as Json, json};

use super::envelope::namespace;
use super::form::{Form, LabelSet, List, Opt, Pairs, Place, Port, Schema, Table, Text, TextKey, Tree, form};
use super::names::labels;
use super::pattern::regex;
use super::route::Bindings;
use super::scope::Scope;
use super::service::non_empty;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Labels;
use crate::policy::model::route::{PathCase, RouteMatch, StringMatch};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::{Key, Node, Value};

/// Reads one match; all of its conditions must hold.
pub(super) fn route_match(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RouteMatch> {
    let mut fields = cx.mapping(node)?;
    let mut found = RouteMatch {
        name: fields.optional("name", Reader::name),
        origin: cx.origin(node.span),
        path: fields.optional("path", path),
        method: method(&mut fields),
        scheme: fields.optional("scheme", scheme),
        authority: fields.optional("authority", text),
        ..Conditions::read_fields(&mut fields, scope)
    };
    found.path_case = path_case(cx, &mut fields, found.path.as_ref());
    if let Some(source) = fields.optional("source", source) {
        (found.source_labels, found.source_namespace) = source;
    }
    fields.finish();
    Some(found)
}

const SCHEMES: &[(&str, &str)] = &[("http", "http"), ("https", "https")];

fn scheme(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    match node.value {
        Value::Mapping(_) => text(cx, node),
        _ => choice(SCHEMES)(cx, node).map(|name| StringMatch::Exact(name.into())),
    }
}

/// A text that must be equal, or a comparison.
pub(super) struct Comparison;

impl Form for Comparison {
    type Of = StringMatch;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<StringMatch> {
        text(cx, node)
    }

    fn write(value: &StringMatch) -> Tree {
        match value {
            StringMatch::Exact(text) => Tree::text(text),
            _ => long(value),
        }
    }

    fn schema(schema: &mut Schema) -> Json {
        let long = schema.alternative("Comparison", |schema| {
            let text = Text::schema(schema);
            let mut rows: Vec<_> = ["exact", "prefix", "segment_prefix", "regex"]
                .into_iter()
                .map(|name| (name, text.clone()))
                .collect();
            rows.push(("present", json!({ "const": true })));
            rows
        });
        json!({ "oneOf": [{ "type": "string" }, long] })
    }
}

/// A comparison as a mapping, which is taken as it is.
fn long(value: &StringMatch) -> Tree {
    let (name, text) = match value {
        StringMatch::Exact(text) => ("exact", Tree::text(text)),
        StringMatch::Prefix(text) => ("prefix", Tree::text(text)),
        StringMatch::SegmentPrefix(text) => ("segment_prefix", Tree::text(text)),
        StringMatch::Regex(text) => ("regex", Tree::text(text)),
        StringMatch::Present => ("present", Tree::Flag(true)),
    };
    let mut map = Tree::map();
    map.put(name, text);
    map
}

/// Other dialects compare paths with texts that none begins with, which is refused where somebody writes it here: a regex
/// says the same. A prefix that is empty takes all paths.
fn readable(path: &StringMatch, case: PathCase) -> StringMatch {
    let (text, end) = match path {
        StringMatch::Prefix(text) if text.is_empty() => return StringMatch::Prefix("/".into()),
        StringMatch::Exact(text) => (text, ""),
        StringMatch::Prefix(text) => (text, ".*"),
        StringMatch::SegmentPrefix(text) => (text, "(/.*)?"),
        StringMatch::Regex(_) | StringMatch::Present => return path.clone(),
    };
    if text.starts_with('/') {
        return path.clone();
    }
    let start = if case == PathCase::Folded { "(?i)" } else { "" };
    StringMatch::Regex(format!("{start}(?:{}){end}", regex::escape(text)))
}

/// One match of a rule.
pub(super) struct MatchForm;

impl Form for MatchForm {
    type Of = RouteMatch;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RouteMatch> {
        route_match(cx, node, scope)
    }

    fn write(value: &RouteMatch) -> Tree {
        let mut map = Tree::map();
        map.put("name", Opt::<Text>::write(&value.name));
        let path = value.path.as_ref().map(|path| readable(path, value.path_case));
        map.put("path", path.as_ref().map_or(Tree::Nothing, long));
        if value.path_case == PathCase::Folded && !matches!(path, Some(StringMatch::Regex(_))) {
            map.put("ignore_case", Tree::Flag(true));
        }
        map.put("method", value.method.as_ref().map_or(Tree::Nothing, long));
        map.put("scheme", value.scheme.as_ref().map_or(Tree::Nothing, long));
        map.put("authority", Opt::<Comparison>::write(&value.authority));
        Conditions::write_fields(value, &mut map);
        if !value.source_labels.is_empty() || value.source_namespace.is_some() {
            let mut source = Tree::map();
            source.put("labels", LabelSet::write(&value.source_labels));
            source.put("namespace", Opt::<Text>::write(&value.source_namespace));
            map.put("source", source);
        }
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        schema.object("Match", |schema, object| {
            let text = Comparison::schema(schema);
            object.property("name", Text::schema(schema), false);
            for name in ["path", "method", "scheme", "authority"] {
                object.property(name, text.clone(), false);
            }
            object.property("ignore_case", json!({ "type": "boolean" }), false);
            object.property("methods", List::<Text>::schema(schema), false);
            object.property("source", source_schema(schema), false);
            Conditions::properties(schema, object);
            object.exclude(&["method", "methods"]);
        })
    }
}

/// The caller's workload.
pub(super) fn source_schema(schema: &mut Schema) -> Json {
    schema.object("Source", |schema, object| {
        object.property("labels", LabelSet::schema(schema), false);
        object.property("namespace", Text::schema(schema), false);
    })
}

form! {
    /// Conditions by name.
    Conditions of RouteMatch; {
        "headers" headers: Pairs<HeaderField, Comparison>;
        "without_headers" without_headers: Pairs<HeaderField, Comparison>;
        "query" query: Pairs<TextKey, Comparison>;
        "claims" claims: Pairs<ClaimKey, Comparison>;
        "without_claims" without_claims: Pairs<ClaimKey, Comparison>;
        "port" port: Opt<Port>;
        "gateways" bindings: Bindings;
    }
}

/// The name of a header, which is no pseudo-header.
struct HeaderField;

impl Place for HeaderField {
    type Of = HeaderName;

    fn read_key(cx: &Reader<'_>, key: &Key) -> Option<HeaderName> {
        header_name(cx, key)
    }

    fn write_key(key: &HeaderName) -> String {
        key.as_str().to_owned()
    }
}

/// The path of a claim, `realm_access/roles`.
struct ClaimKey;

impl Place for ClaimKey {
    type Of = Vec<String>;

    fn read_key(_: &Reader<'_>, key: &Key) -> Option<Vec<String>> {
        Some(key.name.split('/').map(str::to_owned).collect())
    }

    fn write_key(key: &Vec<String>) -> String {
        key.join("/")
    }
}

fn path_case(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, path: Option<&StringMatch>) -> PathCase {
    if fields.optional("ignore_case", Reader::bool) != Some(true) {
        return PathCase::Sensitive;
    }
    let is_folded = matches!(
        path,
        Some(StringMatch::Exact(_) | StringMatch::Prefix(_) | StringMatch::SegmentPrefix(_))
    );
    let is_given = fields.node("path").is_some();
    if let Some((key, _)) = fields
        .entry("ignore_case")
        .filter(|_| !is_folded && (path.is_some() || !is_given))
    {
        let message = "`ignore_case` is for a `path` that is compared as text";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message).with_help("a regex folds case with `(?i)`"));
    }
    PathCase::Folded
}

fn source(cx: &Reader<'_>, node: &Node) -> Option<(Labels, Option<String>)> {
    let mut fields = cx.mapping(node)?;
    let labels = fields.optional("labels", labels).unwrap_or_default();
    let namespace = fields.optional("namespace", namespace);
    fields.finish();
    Some((labels, namespace))
}

/// Reads `method`, a text comparison, or `methods`, a list of names.
fn method(fields: &mut Fields<'_, '_, '_>) -> Option<StringMatch> {
    match fields.one_of(&["method", "methods"])? {
        ("method", _) => fields.optional("method", |cx, node| match node.value {
            Value::Scalar(_) => method_name(cx, node).map(StringMatch::Exact),
            _ => text(cx, node),
        }),
        _ => {
            let names = fields.optional("methods", |cx, node| non_empty(cx, node, "method", method_name))?;
            Some(match names.as_slice() {
                [name] => StringMatch::Exact(name.clone()),
                names => {
                    let names: Vec<String> = names.iter().map(|name| regex::escape(name)).collect();
                    StringMatch::Regex(names.join("|"))
                }
            })
        }
    }
}

/// Reads the name of a method. Methods are compared with their case: one in lower case would never match.
fn method_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let name = cx.text(node)?;
    let is_method = Method::from_bytes(name.as_bytes()).is_ok();
    if is_method && !name.contains(|c: char| c.is_ascii_lowercase()) {
        return Some(name.into());
    }
    cx.invalid(
        node,
        format!("expected a method in upper case such as `GET`, found {}", quoted(name)),
    )
}

/// How a text can be compared.
const FORMS: &[&str] = &["exact", "prefix", "segment_prefix", "regex", "present"];
/// How a path can be compared.
const PATH_FORMS: &[&str] = &["exact", "prefix", "segment_prefix", "regex"];

fn comparison(cx: &Reader<'_>, node: &Node, forms: &[&'static str]) -> Option<StringMatch> {
    let mut fields = cx.mapping(node)?;
    let given = fields.required_one_of(forms);
    let found = given.and_then(|(form, _)| {
        fields.optional(form, |cx, node| match form {
            "exact" => cx.string(node).map(StringMatch::Exact),
            "prefix" => prefix(cx, node).map(StringMatch::Prefix),
            "segment_prefix" => prefix(cx, node).map(StringMatch::SegmentPrefix),
            "regex" => regex(cx, node).map(StringMatch::Regex),
            _ => present(cx, node),
        })
    });
    fields.finish();
    found
}

fn prefix(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.string(node)?;
    if text.is_empty() {
        return cx.invalid(node, "an empty prefix matches everything, leave the condition out");
    }
    Some(text)
}

fn present(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    if cx.bool(node)? {
        return Some(StringMatch::Present);
    }
    cx.invalid(
        node,
        "expected `true`; what must be absent is listed in `without_headers`",
    )
}

/// Reads a text that must be equal, or a comparison.
fn text(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    match node.value {
        Value::Mapping(_) => comparison(cx, node, FORMS),
        _ => cx.string(node).map(StringMatch::Exact),
    }
}

/// Reads the whole path, or a comparison; paths begin with `/`.
fn path(cx: &Reader<'_>, node: &Node) -> Option<StringMatch> {
    let is_long = matches!(node.value, Value::Mapping(_));
    let found = if is_long {
        comparison(cx, node, PATH_FORMS)?
    } else {
        StringMatch::Exact(cx.string(node)?)
    };
    let (StringMatch::Exact(path) | StringMatch::Prefix(path) | StringMatch::SegmentPrefix(path)) = &found else {
        return Some(found);
    };
    if !path.starts_with('/') {
        return cx.invalid(
            node,
            format!("expected a path that begins with `/`, found {}", quoted(path)),
        );
    }
    if let Some(prefix) = path.strip_suffix('*').filter(|_| !is_long) {
        let message =
            format!("`*` has no meaning in a path: write `{{ prefix: {prefix} }}`, or `{{ exact: {path:?} }}`");
        return cx.invalid(node, message);
    }
    Some(found)
}

fn header_name(cx: &Reader<'_>, key: &Key) -> Option<HeaderName> {
    if let Some(field @ ("authority" | "method" | "scheme" | "path")) = key.name.strip_prefix(':') {
        cx.invalid_key(key, format!("write the condition as the field `{field}` of the match"));
        return None;
    }
    let name = HeaderName::from_bytes(key.name.as_bytes()).ok();
    if name.is_none() {
        cx.invalid_key(key, "expected the name of a header");
    }
    name
}
