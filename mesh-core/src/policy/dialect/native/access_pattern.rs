//! Patterns of authorization rules: short texts with a `*`, and mappings of one key that are taken as they are.

use serde_json::{Value as Json, json};

use super::form::{Form, Given, Name, Schema, Text, Tree, one_of};
use super::path_template;
use super::scope::Scope;
use crate::policy::diagnostic::quoted;
use crate::policy::model::authz::Pattern;
use crate::policy::reader::Reader;
use crate::policy::source::{Node, Value};

one_of! {
    /// A pattern that is taken as it is.
    LongPattern of Pattern; {
        "exact" Pattern::Exact(text) => text, Pattern::Exact, Text;
        "prefix" Pattern::Prefix(text) => text, Pattern::Prefix, Text;
        "suffix" Pattern::Suffix(text) => text, Pattern::Suffix, Text;
        "glob" Pattern::Glob(text) => text, Pattern::Glob, Text;
        "template" Pattern::Template(text) => text, Pattern::Template, Template;
        "regex" Pattern::Regex(text) => text, Pattern::Regex, super::form::Regex;
        "present" _ => &true, |_| Pattern::Present, Given;
    }
}

/// A template of paths, `/orders/{*}/items`.
struct Template;

impl Form for Template {
    type Of = String;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<String> {
        let text = cx.name(node)?;
        match path_template::problem(&text) {
            None => Some(text),
            Some(problem) => cx.invalid(node, problem),
        }
    }

    fn write(value: &String) -> Tree {
        Tree::text(value)
    }

    fn schema(schema: &mut Schema) -> Json {
        Name::schema(schema)
    }
}

/// A pattern whose short form is a text that `$read` takes; `$is_short` says of a text without `*` whether it would be read as it
/// is, and `$ends` whether a `*` may stand at its ends.
macro_rules! pattern {
    ($(#[$doc:meta])* $vis:vis $form:ident, $read:expr, $ends:expr, $is_short:expr) => {
        $(#[$doc])*
        $vis struct $form;

        impl Form for $form {
            type Of = Pattern;

            fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Pattern> {
                let read: fn(&Reader<'_>, &Node, Scope<'_>) -> Option<Pattern> = $read;
                match node.value {
                    Value::Mapping(_) => LongPattern::read(cx, node, scope),
                    _ => read(cx, node, scope),
                }
            }

            fn write(value: &Pattern) -> Tree {
                let is_short: fn(&str) -> bool = $is_short;
                let is_short = |text: &str| is_short(text) && !text.contains(['*', '{']);
                match value {
                    Pattern::Exact(text) if is_short(text) => Tree::text(text),
                    Pattern::Prefix(text) if $ends && is_short(text) => Tree::text(format!("{text}*")),
                    Pattern::Present if $ends => Tree::text("*"),
                    _ => LongPattern::write(value),
                }
            }

            fn schema(schema: &mut Schema) -> Json {
                json!({ "oneOf": [{ "type": "string", "minLength": 1 }, LongPattern::schema(schema)] })
            }
        }
    };
}

pattern! {
    /// An identity.
    pub(super) Principal, |cx, node, _| principal(cx, node), true, |text| {
        !text.is_empty() && !text.starts_with("spiffe://") && !text.contains(char::is_whitespace)
    }
}
pattern! {
    /// A namespace.
    pub(super) NamespacePattern, |cx, node, _| namespace(cx, node), false, |text| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    }
}
pattern! {
    /// A service account, `name` or `namespace/name`.
    pub(super) Account, service_account, false, |text| text.split_once('/').is_some_and(|(namespace, name)| {
        super::envelope::is_namespace(namespace) && super::envelope::is_object_name(name)
    })
}
pattern! {
    /// A host.
    pub(super) Host, |cx, node, _| host(cx, node), true, |text| {
        !text.is_empty() && !text.contains(':') && !text.contains(|c: char| c.is_ascii_uppercase())
    }
}
pattern! {
    /// A method.
    pub(super) MethodPattern, |cx, node, _| method(cx, node), true, |text| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase())
    }
}
pattern! {
    /// A path.
    pub(super) Path, |cx, node, _| path(cx, node), true, |text| text.starts_with('/')
}
pattern! {
    /// A text with a `*` at one end.
    pub(super) AnyPattern, |cx, node, _| wildcard(cx, node, cx.named(node)?), true, |text| !text.is_empty()
}

/// Reads an identity with a `*` at its start or end, `spiffe://` left out or not.
fn principal(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.named(node)?;
    let id = text.strip_prefix("spiffe://").unwrap_or(text);
    if id.contains(char::is_whitespace) || id.is_empty() {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected an identity such as `cluster.local/ns/shop/sa/orders`, found {found}"),
        );
    }
    wildcard(cx, node, id)
}

/// Reads a text with a `*` at one end; a `*` elsewhere would be compared as it is, which is never meant.
fn wildcard(cx: &Reader<'_>, node: &Node, text: &str) -> Option<Pattern> {
    let pattern = Pattern::wildcard(text);
    let (Pattern::Exact(literal) | Pattern::Prefix(literal) | Pattern::Suffix(literal)) = &pattern else {
        return Some(pattern);
    };
    if literal.contains('*') {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected one `*`, at the start or at the end, found {found}"),
        );
    }
    Some(pattern)
}

fn namespace(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.named(node)?;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*');
    if !text.chars().all(is_name) {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected a namespace, which may have `*` in it, found {found}"),
        );
    }
    Some(match text.contains('*') {
        true => Pattern::Glob(text.into()),
        false => Pattern::Exact(text.into()),
    })
}

/// Reads `name`, of the document's namespace, or `namespace/name`.
fn service_account(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Pattern> {
    let text = cx.named(node)?;
    let (namespace, name) = text.split_once('/').unwrap_or((scope.namespace, text));
    if super::envelope::is_namespace(namespace) && super::envelope::is_object_name(name) {
        return Some(Pattern::Exact(format!("{namespace}/{name}")));
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected `account` or `namespace/account`, found {found}"),
    )
}

/// Reads a host, which is compared without case and without the port that a request may name.
fn host(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.named(node)?;
    if text.rsplit(']').next().unwrap_or(text).contains(':') {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("hosts are compared without their port, write it in `ports`: found {found}"),
        );
    }
    wildcard(cx, node, &text.to_ascii_lowercase())
}

fn method(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.named(node)?;
    let is_method = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "!#$%&'*+-.^_`|~".contains(c);
    if !text.chars().all(is_method) {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected a method in upper case such as `GET`, found {found}"),
        );
    }
    wildcard(cx, node, text)
}

/// Reads a path with a `*` at one end, or a template such as `/orders/{*}/items`.
fn path(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.named(node)?;
    if path_template::is_template(text) {
        return match path_template::problem(text) {
            None => Some(Pattern::Template(text.into())),
            Some(problem) => cx.invalid(node, problem),
        };
    }
    if !text.starts_with(['/', '*']) {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected a path that begins with `/` or `*`, found {found}"),
        );
    }
    wildcard(cx, node, text)
}
