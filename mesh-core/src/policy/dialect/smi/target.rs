//! `TrafficTarget`: which service accounts may send which requests to those that run as another.
//!
//! What no target allows is denied to its destination. A rule allows nothing where it names no request that is known.

use super::envelope::{is_object_name, namespace};
use super::requests::{operation, references};
use super::{Object, body, finish, quoted};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::authz::{Action, AuthorizationPolicy, Condition, Pattern, Rule, Source};
use crate::policy::model::{Meta, Policy};
use crate::policy::reader::{Reader, choice};
use crate::policy::source::{Node, Value};

/// Reads a `TrafficTarget`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let authorization = target(cx, object, policy);
    policy.authorizations.extend(authorization);
}

fn target(cx: &Reader<'_>, object: &Object<'_>, policy: &Policy) -> Option<AuthorizationPolicy> {
    let own = object.meta.namespace.as_str();
    let mut fields = cx.mapping(body(cx, object)?)?;
    let destination = fields.required("destination", |cx, node| account(cx, node, own));
    let from = fields.required("sources", |cx, node| sources(cx, node, own));
    let rules = fields
        .required_one_of(&["rules", "specs"])
        .and_then(|(name, _)| fields.optional(name, |cx, node| rules(cx, node, own, policy)));
    finish(object, fields);
    let (destination, from, rules) = (destination??, from?, rules?);
    // A list without sources would be one of all.
    let rules = if from.is_empty() { Vec::new() } else { rules };
    let with_sources = |rule: Rule| Rule {
        from: from.clone(),
        ..rule
    };
    let meta = Meta {
        namespace: destination.namespace,
        ..object.meta.clone()
    };
    Some(AuthorizationPolicy {
        service_accounts: vec![destination.name],
        ports: destination.port.into_iter().collect(),
        rules: rules.into_iter().map(with_sources).collect(),
        ..AuthorizationPolicy::new(meta, Action::Allow)
    })
}

/// A service account, and the port that is guarded where it is the destination.
struct Account {
    namespace: String,
    name: String,
    port: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ServiceAccount,
    IdentityBinding,
}

const KINDS: &[(&str, Kind)] = &[
    ("ServiceAccount", Kind::ServiceAccount),
    ("IdentityBinding", Kind::IdentityBinding),
];

/// Reads a service account. `None` inside is another identity, which is not yet read.
fn account(cx: &Reader<'_>, node: &Node, own: &str) -> Option<Option<Account>> {
    let mut fields = cx.mapping(node)?;
    let kind = fields.required("kind", choice(KINDS));
    let name = fields.required("name", account_name);
    let namespace = fields.optional("namespace", namespace);
    let port = fields.optional("port", Reader::port);
    fields.skip(&["group", "apiGroup"]);
    if kind == Some(Kind::IdentityBinding) {
        let code = Code::NOT_YET_IN_FORCE;
        let span = fields.node("kind").unwrap_or(node).span;
        let message = format!("`IdentityBinding` is {}: identities are service accounts", code.title());
        cx.report(Diagnostic::new(code, span, message));
    }
    fields.finish();
    let account = Account {
        namespace: namespace.unwrap_or_else(|| own.into()),
        name: name?,
        port,
    };
    Some(Some(account).filter(|_| kind == Some(Kind::ServiceAccount)))
}

fn account_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if is_object_name(text) {
        return Some(text.into());
    }
    cx.invalid(
        node,
        format!("expected the name of a service account, found {}", quoted(text)),
    )
}

fn sources(cx: &Reader<'_>, node: &Node, own: &str) -> Option<Vec<Source>> {
    let Value::Sequence(items) = &node.value else {
        return cx.wrong_type(node, "a list");
    };
    let accounts = items.iter().filter_map(|item| account(cx, item, own)).flatten();
    let source = |account: Account| Source {
        service_accounts: Condition {
            any_of: vec![Pattern::Exact(format!("{}/{}", account.namespace, account.name))],
            none_of: Vec::new(),
        },
        ..Source::default()
    };
    Some(accounts.map(source).collect())
}

/// Reads rules: those that stand for any request.
fn rules(cx: &Reader<'_>, node: &Node, own: &str, policy: &Policy) -> Option<Vec<Rule>> {
    let Value::Sequence(items) = &node.value else {
        return cx.wrong_type(node, "a list");
    };
    let classes = references(cx, node, own, policy);
    if classes.is_empty() {
        return Some(Vec::new());
    }
    let origin = items.first().map_or(node.span, |item| item.span);
    Some(vec![Rule {
        to: classes.into_iter().map(operation).collect(),
        origin: cx.origin(origin),
        ..Rule::default()
    }])
}
