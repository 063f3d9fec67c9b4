//! References to groups of requests, and what they are in routes and in rules.

use http::Method;

use super::quoted;
use crate::policy::diagnostic::{Code, Diagnostic, nearest};
use crate::policy::model::Policy;
use crate::policy::model::authz::{Condition, Operation, Pattern};
use crate::policy::model::route::{RequestClass, RequestGroup, RouteMatch, StringMatch};
use crate::policy::reader::{Reader, choice, list_of, spanned};
use crate::policy::source::{Node, SourceSpan, Spanned};

/// The kind of a reference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Requests,
    Ports,
}

const KINDS: &[(&str, Kind)] = &[
    ("HTTPRouteGroup", Kind::Requests),
    ("TCPRoute", Kind::Ports),
    ("UDPRoute", Kind::Ports),
];

/// Reads a list of references: the requests of all groups that it names. Ports have none.
pub(super) fn references<'p>(
    cx: &Reader<'_>,
    node: &Node,
    namespace: &str,
    policy: &'p Policy,
) -> Vec<&'p RequestClass> {
    let read = |cx: &Reader<'_>, node: &Node| reference(cx, node, namespace, policy);
    let found = list_of(read)(cx, node).unwrap_or_default();
    found.into_iter().flatten().collect()
}

fn reference<'p>(cx: &Reader<'_>, node: &Node, namespace: &str, policy: &'p Policy) -> Option<Vec<&'p RequestClass>> {
    let mut fields = cx.mapping(node)?;
    let kind = fields.required("kind", choice(KINDS));
    let name = fields.required("name", spanned(Reader::name));
    let matches = fields.list("matches", spanned(Reader::name));
    fields.optional("apiGroup", Reader::string);
    fields.finish();
    let (kind, name) = (kind?, name?);
    if kind == Kind::Ports {
        return None;
    }
    let of_namespace = |group: &&RequestGroup| group.meta.namespace == namespace;
    let groups = || policy.request_groups.iter().filter(of_namespace);
    let Some(group) = groups().find(|group| group.meta.name == name.value) else {
        let names = groups().map(|group| group.meta.name.as_str());
        unresolved(cx, name.span, ("HTTPRouteGroup", &name), names);
        return None;
    };
    if matches.is_empty() {
        return Some(group.classes.iter().collect());
    }
    Some(matches.iter().filter_map(|name| class(cx, group, name)).collect())
}

fn class<'p>(cx: &Reader<'_>, group: &'p RequestGroup, name: &Spanned<String>) -> Option<&'p RequestClass> {
    let found = group.classes.iter().find(|class| class.name == name.value);
    if found.is_none() {
        let names = group.classes.iter().map(|class| class.name.as_str());
        unresolved(cx, name.span, ("match", name), names);
    }
    found
}

/// Warns of a name that nothing has, unless something has errors, and may have it.
fn unresolved<'p>(cx: &Reader<'_>, span: SourceSpan, (what, name): (&str, &str), known: impl Iterator<Item = &'p str>) {
    if cx.errors() > 0 {
        return;
    }
    let message = format!("no file defines the {what} {}: it stands for no request", quoted(name));
    let diagnostic = Diagnostic::new(Code::UNRESOLVED_REFERENCE, span, message);
    cx.report(match nearest(name, known) {
        Some(near) => diagnostic.with_help(format!("did you mean `{near}`?")),
        None => diagnostic,
    });
}

/// The requests of a class, for a route.
pub(super) fn route_match(class: &RequestClass) -> RouteMatch {
    let method = match class.methods.as_slice() {
        [] => None,
        [method] => Some(StringMatch::Exact(method.as_str().into())),
        methods => {
            let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
            Some(StringMatch::Regex(names.join("|")))
        }
    };
    let headers = class.headers.iter();
    RouteMatch {
        name: Some(class.name.clone()).filter(|name| !name.is_empty()),
        origin: class.origin.clone(),
        path: class.path.clone().map(StringMatch::Regex),
        method,
        headers: headers
            .map(|(name, pattern)| (name.clone(), StringMatch::Regex(pattern.clone())))
            .collect(),
        ..RouteMatch::default()
    }
}

/// The requests of a class, for a rule of authorization.
pub(super) fn operation(class: &RequestClass) -> Operation {
    let any_of = |any_of: Vec<Pattern>| Condition {
        any_of,
        none_of: Vec::new(),
    };
    let methods = class.methods.iter();
    Operation {
        methods: any_of(methods.map(|method| Pattern::Exact(method.to_string())).collect()),
        paths: any_of(class.path.iter().cloned().map(Pattern::Regex).collect()),
        headers: class
            .headers
            .iter()
            .map(|(name, pattern)| (name.clone(), Pattern::Regex(pattern.clone())))
            .collect(),
        ..Operation::default()
    }
}
