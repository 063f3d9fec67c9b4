//! `AuthorizationPolicy`: who may do what.

use super::authorization_rule::rule;
use super::scope::{Scope, selector};
use super::values::given_or;
use super::{NOT_YET, refuse_all};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::authz::{Action, AuthorizationPolicy};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::Node;

/// Reads an `AuthorizationPolicy`. One without `spec` has no rules, as `spec: {}` has none.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    refuse_dry_run(cx, object);
    let found = match object.spec {
        None => Some(AuthorizationPolicy::new(object.meta.clone(), Action::Allow)),
        Some(spec) => authorization_policy(cx, object, spec, policy),
    };
    policy.authorizations.extend(found);
}

fn authorization_policy(
    cx: &Reader<'_>,
    object: &Object<'_>,
    spec: &Node,
    policy: &Policy,
) -> Option<AuthorizationPolicy> {
    let scope = Scope::new(object, &policy.mesh);
    let mut fields = cx.mapping(spec)?;
    let action = action(cx, &mut fields);
    let selector = fields.optional("selector", selector);
    let rules = fields.list("rules", |cx, node| rule(cx, node, scope, &policy.mesh));
    let reason = "policies are for workloads, which `selector` picks";
    refuse_all(&mut fields, NOT_YET, &[("targetRef", reason), ("targetRefs", reason)]);
    check_rules(cx, &fields, spec, action);
    fields.finish();
    Some(AuthorizationPolicy {
        meta: object.meta.clone(),
        selector: selector.unwrap_or_default(),
        action: action?,
        rules,
    })
}

/// `None` are actions that are not in force.
const ACTIONS: &[(&str, Option<Action>)] = &[
    ("ALLOW", Some(Action::Allow)),
    ("DENY", Some(Action::Deny)),
    ("AUDIT", None),
    ("CUSTOM", None),
];

fn action(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<Action> {
    let action = given_or(fields, "action", Some(Action::Allow), choice(ACTIONS))?;
    if let Some(node) = fields.node("action").filter(|_| action.is_none()) {
        let found = quoted(node.as_text().unwrap_or_default());
        let message = format!("action {found} is {}: rules allow or deny", NOT_YET.title());
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
    let provider = fields.entry("provider").filter(|_| action.is_some());
    if let Some((key, _)) = provider {
        let message = "`provider` is for the action `CUSTOM`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    action
}

/// A policy that denies needs rules: without one it never would.
fn check_rules(cx: &Reader<'_>, fields: &Fields<'_, '_, '_>, spec: &Node, action: Option<Action>) {
    let is_empty = spec
        .get("rules")
        .is_none_or(|node| node.is_null() || is_empty_list(node));
    if is_empty && action == Some(Action::Deny) {
        let message = "action `DENY` without `rules` denies nothing";
        let help = "write `rules: [{}]` to deny everything";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, fields.span(), message).with_help(help));
    }
}

/// Whether this is a list without items.
pub(super) fn is_empty_list(node: &Node) -> bool {
    matches!(&node.value, crate::policy::source::Value::Sequence(items) if items.is_empty())
}

/// A policy on trial would be enforced if its annotation were overlooked.
fn refuse_dry_run(cx: &Reader<'_>, object: &Object<'_>) {
    const ANNOTATION: &str = "istio.io/dry-run";
    let annotations = object
        .node
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"));
    let value = annotations.and_then(|annotations| annotations.get(ANNOTATION));
    if let Some(node) = value.filter(|node| node.as_text() != Some("false")) {
        let message = format!(
            "annotation `{ANNOTATION}` is {}: every policy is enforced",
            NOT_YET.title()
        );
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
}
