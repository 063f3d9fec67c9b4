//! `authorization`: who may do what.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Sink;
use super::envelope::object_name;
use super::mtls::{mention, selector};
use super::path_template;
use super::refuse_nothing;
use super::scope::Scope;
use super::service::non_empty;
use crate::policy::diagnostic::quoted;
use crate::policy::model::authz::{Action, AuthorizationPolicy, Condition, Operation, Pattern, Rule, Source};
use crate::policy::reader::{Fields, Reader, choice, list_of, spanned};
use crate::policy::source::Node;

/// How far an entry reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Namespace,
    Mesh,
}

const REACHES: &[(&str, Reach)] = &[("namespace", Reach::Namespace), ("mesh", Reach::Mesh)];

const ACTIONS: &[&str] = &["allow", "deny"];

/// Reads one entry.
pub(super) fn read(cx: &Reader<'_>, node: &Node, sink: &mut Sink<'_>) -> Option<()> {
    let scope = sink.scope;
    let mut fields = cx.mapping(node)?;
    refuse_nothing(cx, node, "field");
    let name = fields.required("name", spanned(object_name));
    let selected = selector(&mut fields);
    let reach = fields.optional("scope", choice(REACHES)).unwrap_or(Reach::Namespace);
    let given = fields.one_of(ACTIONS);
    if ACTIONS.iter().all(|action| node.get(action).is_none()) {
        fields.missing(ACTIONS);
    }
    let rules = given.and_then(|(action, _)| {
        fields.optional(action, |cx, node| match action {
            // No rule allows nothing, which is a policy; no rule that denies is none.
            "allow" => list_of(|cx: &Reader<'_>, node: &Node| rule(cx, node, scope))(cx, node),
            _ => non_empty(cx, node, "rule", |cx, node| rule(cx, node, scope)),
        })
    });
    fields.finish();
    let name = name?;
    let mut meta = scope.meta(cx, &name, node.span);
    if reach == Reach::Mesh {
        meta.namespace.clone_from(&scope.mesh.root_namespace);
    } else {
        mention(sink.ledger, scope, selected.service);
    }
    sink.ledger.define(cx, "authorization", &meta, name.span);
    let action = match given?.0 {
        "allow" => Action::Allow,
        _ => Action::Deny,
    };
    sink.policy.authorizations.push(AuthorizationPolicy {
        meta,
        selector: selected.labels,
        action,
        rules: rules?,
        ..AuthorizationPolicy::default()
    });
    Some(())
}

/// Reads a rule; all conditions must hold, and none at all holds always.
fn rule(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Rule> {
    let mut fields = cx.mapping(node)?;
    refuse_nothing(cx, node, "condition");
    let source = Source {
        principals: condition(&mut fields, ["from", "not_from"], principal),
        namespaces: condition(&mut fields, ["namespaces", "not_namespaces"], namespace),
        service_accounts: condition(&mut fields, ["service_accounts", "not_service_accounts"], |cx, node| {
            service_account(cx, node, scope)
        }),
        ip_blocks: condition(&mut fields, ["ip", "not_ip"], ip_block),
        ..Source::default()
    };
    let operation = Operation {
        hosts: condition(&mut fields, ["hosts", "not_hosts"], host),
        ports: condition(&mut fields, ["ports", "not_ports"], |cx, node| cx.port(node)),
        methods: condition(&mut fields, ["methods", "not_methods"], method),
        paths: condition(&mut fields, ["paths", "not_paths"], path),
        ..Operation::default()
    };
    fields.finish();
    Some(Rule {
        from: Some(source)
            .filter(|source| *source != Source::default())
            .into_iter()
            .collect(),
        to: Some(operation)
            .filter(|operation| *operation != Operation::default())
            .into_iter()
            .collect(),
        origin: cx.origin(node.span),
        ..Rule::default()
    })
}

/// Reads a list and its not-form; an empty one would be no condition.
fn condition<T>(
    fields: &mut Fields<'_, '_, '_>,
    [any_of, none_of]: [&'static str; 2],
    read: impl Fn(&Reader<'_>, &Node) -> Option<T>,
) -> Condition<T> {
    let mut list = |name| {
        fields
            .optional(name, |cx, node| non_empty(cx, node, "value", &read))
            .unwrap_or_default()
    };
    Condition {
        any_of: list(any_of),
        none_of: list(none_of),
    }
}

/// Reads an identity with a `*` at its start or end, `spiffe://` left out or not.
fn principal(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.name(node)?;
    let id = text.strip_prefix("spiffe://").unwrap_or(&text);
    if id.contains(char::is_whitespace) || id.is_empty() {
        let found = quoted(&text);
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
    let text = cx.name(node)?;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*');
    if !text.chars().all(is_name) {
        let found = quoted(&text);
        return cx.invalid(
            node,
            format!("expected a namespace, which may have `*` in it, found {found}"),
        );
    }
    Some(match text.contains('*') {
        true => Pattern::Glob(text),
        false => Pattern::Exact(text),
    })
}

/// Reads `name`, of the document's namespace, or `namespace/name`.
fn service_account(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Pattern> {
    let text = cx.name(node)?;
    let (namespace, name) = text.split_once('/').unwrap_or((scope.namespace, &text));
    if super::envelope::is_namespace(namespace) && super::envelope::is_object_name(name) {
        return Some(Pattern::Exact(format!("{namespace}/{name}")));
    }
    let found = quoted(&text);
    cx.invalid(
        node,
        format!("expected `account` or `namespace/account`, found {found}"),
    )
}

fn ip_block(cx: &Reader<'_>, node: &Node) -> Option<IpNet> {
    let text = cx.name(node)?;
    let block = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match block {
        Ok(block) => Some(block.trunc()),
        Err(_) => {
            let found = quoted(&text);
            cx.invalid(
                node,
                format!("expected an IP address or a block such as `10.0.0.0/8`, found {found}"),
            )
        }
    }
}

/// Reads a host, which is compared without case and without the port that a request may name.
fn host(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.name(node)?;
    if text.rsplit(']').next().unwrap_or(&text).contains(':') {
        let found = quoted(&text);
        return cx.invalid(
            node,
            format!("hosts are compared without their port, write it in `ports`: found {found}"),
        );
    }
    wildcard(cx, node, &text.to_ascii_lowercase())
}

fn method(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.name(node)?;
    let is_method = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "!#$%&'*+-.^_`|~".contains(c);
    if !text.chars().all(is_method) {
        let found = quoted(&text);
        return cx.invalid(
            node,
            format!("expected a method in upper case such as `GET`, found {found}"),
        );
    }
    wildcard(cx, node, &text)
}

/// Reads a path with a `*` at one end, or a template such as `/orders/{*}/items`.
fn path(cx: &Reader<'_>, node: &Node) -> Option<Pattern> {
    let text = cx.name(node)?;
    if path_template::is_template(&text) {
        return match path_template::problem(&text) {
            None => Some(Pattern::Template(text)),
            Some(problem) => cx.invalid(node, problem),
        };
    }
    if !text.starts_with(['/', '*']) {
        let found = quoted(&text);
        return cx.invalid(
            node,
            format!("expected a path that begins with `/` or `*`, found {found}"),
        );
    }
    wildcard(cx, node, &text)
}
