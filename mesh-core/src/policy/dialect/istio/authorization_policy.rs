//! `AuthorizationPolicy`: who may do what.

use super::NOT_YET;
use super::authorization_rule::rule;
use super::scope::Scope;
use super::selection::selection;
use super::values::given_or;
use crate::policy::diagnostic::{Code, Diagnostic, nearest, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::authz::{Action, AuthorizationPolicy, Enforcement};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::{Node, SourceSpan};

/// Reads an `AuthorizationPolicy`. One without `spec` has no rules, as `spec: {}` has none.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let enforcement = enforcement(cx, object);
    let found = match object.spec {
        None => Some(AuthorizationPolicy::new(object.meta.clone(), Action::Allow)),
        Some(spec) => authorization_policy(cx, object, spec, policy),
    };
    let found = found.map(|found| AuthorizationPolicy { enforcement, ..found });
    if let Some(found) = &found {
        refuse_trial(cx, object.node.span, found);
    }
    policy.authorizations.extend(found);
}

/// Asking on trial would double the work of an authorizer for an answer that changes nothing.
pub(in crate::policy::dialect) fn refuse_trial(cx: &Reader<'_>, span: SourceSpan, found: &AuthorizationPolicy) {
    if found.action == Action::Custom && found.enforcement == Enforcement::DryRun {
        let title = NOT_YET.title();
        let message = format!("an external authorizer on trial is {title}: nobody is asked");
        let help = "put the policy in force with an authorizer that records and allows";
        cx.report(Diagnostic::new(NOT_YET, span, message).with_help(help));
    }
}

fn authorization_policy(
    cx: &Reader<'_>,
    object: &Object<'_>,
    spec: &Node,
    policy: &Policy,
) -> Option<AuthorizationPolicy> {
    let scope = Scope::new(object, &policy.mesh);
    let mut fields = cx.mapping(spec)?;
    let action = given_or(&mut fields, "action", Action::Allow, choice(ACTIONS));
    let provider = provider(cx, &mut fields, action);
    let selection = selection(&mut fields);
    let rules = fields.list("rules", |cx, node| rule(cx, node, scope, &policy.mesh));
    check_rules(cx, &fields, spec, action);
    check_custom(cx, &fields, spec, action);
    fields.finish();
    let mut found = AuthorizationPolicy::new(object.meta.clone(), action?);
    found.selector = selection.labels;
    found.targets = selection.targets;
    found.provider = provider;
    found.rules = rules.into();
    Some(found)
}

const ACTIONS: &[(&str, Action)] = &[
    ("ALLOW", Action::Allow),
    ("DENY", Action::Deny),
    ("AUDIT", Action::Audit),
    ("CUSTOM", Action::Custom),
];

/// Reads `provider`, which the action `CUSTOM` needs: it names who is asked.
fn provider(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, action: Option<Action>) -> Option<String> {
    if action == Some(Action::Custom) {
        return fields.required("provider", provider_name);
    }
    if let Some((key, _)) = fields.entry("provider").filter(|_| action.is_some()) {
        let message = "`provider` is for the action `CUSTOM`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    None
}

fn provider_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", Reader::name);
    fields.finish();
    name
}

/// What an external authorizer is asked about may not depend on who asks.
fn check_custom(cx: &Reader<'_>, fields: &Fields<'_, '_, '_>, spec: &Node, action: Option<Action>) {
    if action != Some(Action::Custom) {
        return;
    }
    let rules = spec.get("rules").map(Node::items).unwrap_or_default();
    if rules.is_empty() {
        let message = "action `CUSTOM` needs `rules`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, fields.span(), message));
    }
    let conditions = rules.iter().filter_map(|rule| rule.get("when")).flat_map(Node::items);
    for key in conditions.filter_map(|condition| condition.get("key")) {
        let text = key.as_text().unwrap_or_default();
        let is_of_peer = text.starts_with("source.") && text != "source.ip";
        if is_of_peer || text.starts_with("request.auth.") {
            let message = format!("key {} cannot stand beside the action `CUSTOM`", quoted(text));
            cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
        }
    }
    let sources = rules.iter().filter_map(|rule| rule.get("from")).flat_map(Node::items);
    for (key, _) in sources.filter_map(|item| item.get("source")).flat_map(Node::entries) {
        if !key.name.to_ascii_lowercase().ends_with("ipblocks") {
            let message = format!("{} cannot stand beside the action `CUSTOM`", quoted(&key.name));
            cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
        }
    }
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

/// What puts a policy on trial.
const ANNOTATION: &str = "istio.io/dry-run";

/// Tells of an annotation that comes near: its policy is in force, which may not be meant.
fn warn_of_misspelt(cx: &Reader<'_>, annotations: Option<&Node>) {
    for (key, _) in annotations.map(Node::entries).unwrap_or_default() {
        let is_near = *key.name != *ANNOTATION && nearest(&key.name, [ANNOTATION]).is_some();
        if is_near {
            let message = format!("annotation {} has no effect: the policy is in force", quoted(&key.name));
            cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message).did_you_mean(ANNOTATION));
        }
    }
}

/// A policy on trial decides nothing; what it would decide is counted.
fn enforcement(cx: &Reader<'_>, object: &Object<'_>) -> Enforcement {
    let annotations = object
        .node
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"));
    warn_of_misspelt(cx, annotations);
    let value = annotations.and_then(|annotations| annotations.get(ANNOTATION));
    match value.and_then(|node| Some((node, node.as_text()?))) {
        None | Some((_, "false")) => Enforcement::Enforced,
        Some((_, "true")) => Enforcement::DryRun,
        Some((node, other)) => {
            cx.invalid::<()>(
                node,
                format!("`{ANNOTATION}`: expected `true` or `false`, found {}", quoted(other)),
            );
            Enforcement::DryRun
        }
    }
}
