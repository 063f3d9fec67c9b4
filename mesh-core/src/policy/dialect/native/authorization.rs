//! `authorization`: who may do what.

use std::net::IpAddr;

use ipnet::IpNet;

use serde_json::{Value as Json, json};

use super::Sink;
use super::access_pattern::{Account, AnyPattern, Host, MethodPattern, NamespacePattern, Path, Principal};
use super::envelope::object_name;
use super::form::schema::Object;
use super::form::{
    Created, Form, HeaderKey, LabelSet, List, Name, NonEmpty, Opt, Pairs, Port, Schema, Table, Text, Tree, choices,
    form,
};
use super::mtls::{mention, selector};
use super::refuse_nothing;
use super::scope::Scope;
use super::service::non_empty;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::istio::authorization_policy::refuse_trial;
use crate::policy::dialect::istio::authorization_when::{attribute, attribute_key};
use crate::policy::dialect::istio::selection::WAYPOINT;
use crate::policy::model::authz::{
    Action, Attribute, AuthorizationPolicy, Condition, Enforcement, Operation, Rule, Source, Target, TargetKind, When,
};
use crate::policy::reader::{Fields, Reader, choice, spanned};
use crate::policy::source::Node;

/// How far an entry reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Namespace,
    Mesh,
}

const REACHES: &[(&str, Reach)] = &[("namespace", Reach::Namespace), ("mesh", Reach::Mesh)];

/// The actions; each is the field that holds the rules.
const ACTIONS: &[(&str, Action)] = &[
    ("allow", Action::Allow),
    ("deny", Action::Deny),
    ("audit", Action::Audit),
    ("custom", Action::Custom),
];

const NAMES: &[&str] = &["allow", "deny", "audit", "custom"];

/// Reads one entry.
pub(super) fn read(cx: &Reader<'_>, node: &Node, sink: &mut Sink<'_>) -> Option<()> {
    let scope = sink.scope;
    let mut fields = cx.mapping(node)?;
    refuse_nothing(cx, node, "field");
    let name = fields.required("name", spanned(object_name));
    let selected = selector(&mut fields);
    // What is attached to a target is for its workloads.
    fields.one_of(&["selector", "targets"]);
    fields.one_of(&["service", "targets"]);
    let reach = fields.optional("scope", choice(REACHES)).unwrap_or(Reach::Namespace);
    let rest = PolicyFields::read_fields(&mut fields, scope);
    let rules = rules(cx, node, &mut fields, scope);
    fields.finish();
    let name = name?;
    let mut meta = scope.meta(cx, &name, node.span);
    meta.created = rest.meta.created;
    if reach == Reach::Mesh {
        meta.namespace.clone_from(&scope.mesh.root_namespace);
    } else {
        mention(sink.ledger, scope, selected.service);
    }
    sink.ledger.define("authorization", &meta, name.span);
    let (action, rules) = rules?;
    let found = AuthorizationPolicy {
        meta,
        selector: selected.labels,
        action,
        rules: rules.into(),
        ..rest
    };
    refuse_trial(cx, node.span, &found);
    sink.policy.authorizations.push(found);
    Some(())
}

/// Reads `allow`, `deny`, `audit` or `custom`, one of which must be given.
pub(super) fn rules(
    cx: &Reader<'_>,
    node: &Node,
    fields: &mut Fields<'_, '_, '_>,
    scope: Scope<'_>,
) -> Option<(Action, Vec<Rule>)> {
    let given = fields.one_of(NAMES);
    if NAMES.iter().all(|action| node.get(action).is_none()) {
        fields.missing(&["allow", "deny"]);
    }
    let name = given?.0;
    let (_, action) = ACTIONS.iter().find(|(known, _)| *known == name)?;
    if *action == Action::Custom && fields.node("provider").is_none() {
        fields.missing(&["provider"]);
    }
    if let (Some((key, _)), false) = (fields.entry("provider"), *action == Action::Custom) {
        let message = "`provider` is for the rules of `custom`";
        let help = "it names who is asked about requests";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message).with_help(help));
    }
    let rules = fields.optional(name, |cx, node| match action {
        // No rule allows nothing, which is a policy; no rule that denies is none.
        Action::Allow => List::<RuleForm>::read(cx, node, scope),
        _ => non_empty(cx, node, "rule", |cx, node| RuleForm::read(cx, node, scope)),
    });
    Some((*action, rules?))
}

/// A rule; all conditions must hold, and none at all holds always.
struct RuleForm;

impl Form for RuleForm {
    type Of = Rule;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Rule> {
        let mut fields = cx.mapping(node)?;
        refuse_nothing(cx, node, "condition");
        let source = SourceForm::read_fields(&mut fields, scope);
        let operation = OperationForm::read_fields(&mut fields, scope);
        let mut rule = Several::read_fields(&mut fields, scope);
        for (several, single) in [("sources", SourceForm::NAMES), ("operations", OperationForm::NAMES)] {
            if fields.entry(several).is_none() {
                continue;
            }
            if let Some(one) = single.iter().find(|name| node.get(name).is_some()) {
                fields.one_of(&[one, several]);
            }
        }
        fields.finish();
        // Both are large, and nearly always the only ones.
        if source != Source::default() {
            rule.from.reserve_exact(1);
            rule.from.push(source);
        }
        if operation != Operation::default() {
            rule.to.reserve_exact(1);
            rule.to.push(operation);
        }
        rule.origin = cx.origin(node.span);
        Some(rule)
    }

    fn write(value: &Rule) -> Tree {
        let mut map = Tree::map();
        let mut rest = value.clone();
        match value.from.as_slice() {
            [one] if *one != Source::default() => {
                SourceForm::write_fields(one, &mut map);
                rest.from.clear();
            }
            _ => {}
        }
        match value.to.as_slice() {
            [one] if *one != Operation::default() => {
                OperationForm::write_fields(one, &mut map);
                rest.to.clear();
            }
            _ => {}
        }
        Several::write_fields(&rest, &mut map);
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        schema.object("AuthorizationRule", |schema, object| {
            SourceForm::properties(schema, object);
            OperationForm::properties(schema, object);
            Several::properties(schema, object);
        })
    }
}

form! {
    /// What a rule has more of than one.
    Several of Rule; {
        "sources" from: NonEmpty<SourceForm>;
        "operations" to: NonEmpty<OperationForm>;
        "when" when: NonEmpty<WhenForm>;
    }
}

form! {
    /// Callers, all of whose conditions must hold.
    SourceForm of Source; {
        "from" principals.any_of: NonEmpty<Principal>;
        "not_from" principals.none_of: NonEmpty<Principal>;
        "namespaces" namespaces.any_of: NonEmpty<NamespacePattern>;
        "not_namespaces" namespaces.none_of: NonEmpty<NamespacePattern>;
        "service_accounts" service_accounts.any_of: NonEmpty<Account>;
        "not_service_accounts" service_accounts.none_of: NonEmpty<Account>;
        "ip" ip_blocks.any_of: NonEmpty<Ip>;
        "not_ip" ip_blocks.none_of: NonEmpty<Ip>;
        "trust_domains" trust_domains.any_of: NonEmpty<AnyPattern>;
        "not_trust_domains" trust_domains.none_of: NonEmpty<AnyPattern>;
        "remote_ip" remote_ip_blocks.any_of: NonEmpty<Ip>;
        "not_remote_ip" remote_ip_blocks.none_of: NonEmpty<Ip>;
        "request_principals" request_principals.any_of: NonEmpty<AnyPattern>;
        "not_request_principals" request_principals.none_of: NonEmpty<AnyPattern>;
    }
}

form! {
    /// What is done, all of whose conditions must hold.
    OperationForm of Operation; {
        "hosts" hosts.any_of: NonEmpty<Host>;
        "not_hosts" hosts.none_of: NonEmpty<Host>;
        "ports" ports.any_of: NonEmpty<Port>;
        "not_ports" ports.none_of: NonEmpty<Port>;
        "methods" methods.any_of: NonEmpty<MethodPattern>;
        "not_methods" methods.none_of: NonEmpty<MethodPattern>;
        "paths" paths.any_of: NonEmpty<Path>;
        "not_paths" paths.none_of: NonEmpty<Path>;
        "targets" targets.any_of: NonEmpty<AnyPattern>;
        "not_targets" targets.none_of: NonEmpty<AnyPattern>;
        "authorities" authorities.any_of: NonEmpty<AnyPattern>;
        "not_authorities" authorities.none_of: NonEmpty<AnyPattern>;
        "headers" headers: Pairs<HeaderKey, AnyPattern>;
    }
}

/// A condition on an attribute; its keys are those of Istio.
struct WhenForm;

impl Form for WhenForm {
    type Of = When;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<When> {
        let mut fields = cx.mapping(node)?;
        let attribute = fields.required("attribute", attribute);
        let mut list = |name| {
            fields.optional(name, |cx, node| {
                let texts = NonEmpty::<Name>::read(cx, node, scope)?;
                let items = node.items().iter();
                items.for_each(|item| check_value(cx, item, attribute.as_ref()));
                Some(texts)
            })
        };
        let (any_of, none_of) = (list("values"), list("not_values"));
        if any_of.is_none() && none_of.is_none() {
            fields.required_one_of(&["values", "not_values"]);
        }
        fields.finish();
        let values = Condition {
            any_of: any_of.unwrap_or_default(),
            none_of: none_of.unwrap_or_default(),
        };
        Some(When::new(attribute?, values))
    }

    fn write(value: &When) -> Tree {
        let mut map = Tree::map();
        map.put("attribute", Tree::text(attribute_key(&value.attribute)));
        for (name, values) in [("values", &value.values.any_of), ("not_values", &value.values.none_of)] {
            if !values.is_empty() {
                map.put(name, List::<Name>::write(values));
            }
        }
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        schema.object("When", |schema, object| {
            object.property("attribute", Name::schema(schema), true);
            object.property("values", NonEmpty::<Name>::schema(schema), false);
            object.property("not_values", NonEmpty::<Name>::schema(schema), false);
            object.require_one(&["values", "not_values"]);
        })
    }
}

/// Addresses and ports are compared as such, and no other text is one.
fn check_value(cx: &Reader<'_>, node: &Node, attribute: Option<&Attribute>) {
    match attribute {
        Some(Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp) => {
            ip_block(cx, node);
        }
        Some(Attribute::DestinationPort) if node.as_text().is_some_and(|text| text.parse::<u16>().is_err()) => {
            let found = quoted(node.as_text().unwrap_or_default());
            cx.invalid::<()>(node, format!("expected a port such as `\"8080\"`, found {found}"));
        }
        _ => {}
    }
}

/// A block of addresses; bits beyond its length do not count.
struct Ip;

impl Form for Ip {
    type Of = IpNet;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<IpNet> {
        ip_block(cx, node)
    }

    fn write(value: &IpNet) -> Tree {
        Tree::text(value.to_string())
    }

    fn schema(schema: &mut Schema) -> Json {
        Text::schema(schema)
    }
}

form! {
    /// What a policy has beside its rules.
    PolicyFields of AuthorizationPolicy; {
        "created" meta.created: Created;
        "targets" targets: NonEmpty<TargetForm>;
        "accounts" service_accounts: NonEmpty<Name>;
        "ports" ports: NonEmpty<Port>;
        "provider" provider: Opt<Name>;
        "enforcement" enforcement: EnforcementForm;
    }
}

choices! {
    /// Whether a policy decides.
    EnforcementForm of Enforcement; {
        "enforced" Enforcement::Enforced;
        "dry_run" Enforcement::DryRun;
    }
}

choices! {
    /// What a policy is attached to.
    TargetKindForm of TargetKind; {
        "gateway" TargetKind::Gateway;
        "gateway_class" TargetKind::GatewayClass;
        "service" TargetKind::Service;
        "service_entry" TargetKind::ServiceEntry;
    }
}

fn no_target() -> Target {
    Target::new(TargetKind::Gateway, String::new())
}

form! {
    /// What a policy is attached to.
    TargetForm of Target = no_target(), origin origin, check is_a_process; {
        "kind" [required] kind: TargetKindForm;
        "name" [required] name: Name;
    }
}

/// What stands behind a waypoint is told, as in Istio's dialect: no process would keep to the policy.
fn is_a_process(cx: &Reader<'_>, node: &Node, found: &Target) {
    if let (TargetKind::Service | TargetKind::ServiceEntry, Some(kind)) = (found.kind, node.get("kind")) {
        let (name, title) = (
            quoted(kind.as_text().unwrap_or_default()),
            Code::NOT_YET_IN_FORCE.title(),
        );
        let message = format!("target {name} is {title}: {WAYPOINT}");
        cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, kind.span, message));
    }
}

/// Reads the fields of a policy beside its rules, and what it selects by.
pub(super) fn fields(fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> AuthorizationPolicy {
    let mut policy = PolicyFields::read_fields(fields, scope);
    let labels = fields.optional("selector", |cx, node| LabelSet::read(cx, node, scope));
    policy.selector = labels.unwrap_or_default();
    policy
}

/// Prints the fields of a policy, of whatever section.
pub(super) fn write_policy(policy: &AuthorizationPolicy) -> Tree {
    let mut map = Tree::map();
    map.put("name", Tree::text(&policy.meta.name));
    if !policy.selector.is_empty() {
        map.put("selector", LabelSet::write(&policy.selector));
    }
    PolicyFields::write_fields(policy, &mut map);
    let name = ACTIONS.iter().find(|(_, action)| *action == policy.action);
    map.put(
        name.map_or("allow", |(name, _)| *name),
        List::<RuleForm>::write(&policy.rules),
    );
    map
}

/// Describes an entry.
pub(super) fn schema(schema: &mut Schema) -> Json {
    schema.object("Authorization", |schema, object| {
        object.property("name", Name::schema(schema), true);
        object.property("service", Name::schema(schema), false);
        object.property("selector", LabelSet::schema(schema), false);
        object.property("scope", json!({ "enum": ["namespace", "mesh"] }), false);
        properties(schema, object);
        for other in ["service", "targets"] {
            object.exclude(&["selector", other]);
        }
        object.exclude(&["service", "targets"]);
    })
}

/// Describes the fields that a policy has wherever it stands.
pub(super) fn properties(schema: &mut Schema, object: &mut Object) {
    for (name, action) in ACTIONS {
        let rules = match action {
            Action::Allow => List::<RuleForm>::schema(schema),
            _ => NonEmpty::<RuleForm>::schema(schema),
        };
        object.property(name, rules, false);
    }
    PolicyFields::properties(schema, object);
    object.exclude(NAMES);
    object.require_one(NAMES);
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
