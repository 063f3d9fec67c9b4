//! `servers`, which guard ports of workloads, and `rate_limits` on them.

use serde_json::Value as Json;

use super::access_pattern::AnyPattern;
use super::authorization::{properties, rules, write_policy};
use super::form::{
    Count, Created, Form, Given, HostText, LabelSet, List, Name, Namespace, NonEmpty, Opt, Port, Schema, Tree, form,
    one_of,
};
use super::item::Shelf;
use super::names::refuse_duplicates;
use super::route_match::MatchForm;
use super::scope::Scope;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::Meta;
use crate::policy::model::attachment::{Requirement, Requires};
use crate::policy::model::authz::AuthorizationPolicy;
use crate::policy::model::route::HostPattern;
use crate::policy::model::server::{RateLimit, RateOverride, Server, ServerRoute, ServerRule};
use crate::policy::reader::Reader;
use crate::policy::source::Node;

pub(super) const SHELF: Shelf<Server> = Shelf {
    kind: "server",
    push: |policy, server| policy.servers.push(server),
};

pub(super) const LIMITS: Shelf<RateLimit> = Shelf {
    kind: "rate limit",
    push: |policy, limit| policy.rate_limits.push(limit),
};

form! {
    /// Ports of workloads on which only what is allowed goes through.
    ServerForm of Server, check check_server; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "labels" labels: LabelSet;
        "selector" selector: List<RequirementForm>;
        "ports" ports: NonEmpty<Port>;
        "policies" policies: List<PolicyForm>;
        "rules" rules: List<RuleForm>;
        "routes" routes: List<RouteForm>;
    }
}

/// A port is guarded once, and a rule gives its requests to a route that is there.
fn check_server(cx: &Reader<'_>, node: &Node, found: &Server) {
    let ports = node.get("ports").map(Node::items).unwrap_or_default();
    let ports: Vec<_> = ports
        .iter()
        .filter_map(|port| Some((port.as_text()?, port.span)))
        .collect();
    refuse_duplicates(cx, "port", &ports);
    let given = |name: &str| node.get(name).map(Node::items).unwrap_or_default();
    let count = given("routes").len();
    if count != found.routes.len() {
        return;
    }
    for rule in given("rules") {
        let (span, index) = match rule.get("route").filter(|index| !index.is_null()) {
            Some(index) => (index.span, index.as_text().and_then(|text| text.parse::<usize>().ok())),
            None => (rule.span, Some(0)),
        };
        if let Some(index) = index.filter(|index| *index >= count) {
            let message = format!("`route`: there is no route {index} in `routes`, which has {count}");
            let help = "routes are counted from 0";
            cx.report(Diagnostic::new(Code::UNKNOWN_REFERENCE, span, message).with_help(help));
        }
    }
}

one_of! {
    /// What a label must be.
    Requirements of Requires; {
        "in" Requires::In(values) => values, Requires::In, NonEmpty<super::form::Text>;
        "not_in" Requires::NotIn(values) => values, Requires::NotIn, NonEmpty<super::form::Text>;
        "absent" Requires::DoesNotExist => &true, |_| Requires::DoesNotExist, Given;
        "present" _ => &true, |_| Requires::Exists, Given;
    }
}

fn no_requirement() -> Requirement {
    Requirement::new(String::new(), Requires::Exists)
}

form! {
    /// What a label of the workload must be.
    RequirementForm of Requirement = no_requirement(); {
        "label" [required] key: Name;
        "is" [required] is: Requirements;
    }
}

form! {
    /// Requests that a route takes.
    RuleForm of ServerRule; {
        "hosts" hosts: List<HostForm>;
        "match" matches: MatchForm;
        "route" route: Index;
    }
}

/// A host with its place.
struct HostForm;

impl Form for HostForm {
    type Of = HostPattern;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<HostPattern> {
        let host = HostText::read(cx, node, scope)?;
        let origin = cx.origin(node.span);
        Some(HostPattern { host, origin })
    }

    fn write(value: &HostPattern) -> Tree {
        HostText::write(&value.host)
    }

    fn schema(schema: &mut Schema) -> Json {
        HostText::schema(schema)
    }
}

/// The number of a route in the list of routes, from 0.
struct Index;

impl Form for Index {
    type Of = usize;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<usize> {
        usize::try_from(Count::read(cx, node, scope)?).ok()
    }

    fn write(value: &usize) -> Tree {
        Tree::Number(i64::try_from(*value).unwrap_or(i64::MAX))
    }

    fn schema(schema: &mut Schema) -> Json {
        Count::schema(schema)
    }
}

form! {
    /// A route, and what is allowed on it.
    RouteForm of ServerRoute; {
        "meta" [required] meta: MetaForm;
        "policies" policies: List<PolicyForm>;
    }
}

form! {
    /// Name and namespace of an item of another namespace.
    MetaForm of Meta, origin origin; {
        "name" [required] name: super::form::Text;
        "namespace" [required] namespace: Namespace;
        "created" created: Created;
    }
}

/// A policy of a server or a route, which may be of another namespace.
struct PolicyForm;

impl Form for PolicyForm {
    type Of = AuthorizationPolicy;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<AuthorizationPolicy> {
        let mut fields = cx.mapping(node)?;
        let name = fields.required("name", Reader::string);
        let namespace = fields.optional("namespace", super::envelope::namespace);
        let mut policy = super::authorization::fields(&mut fields, scope);
        let rules = rules(cx, node, &mut fields, scope);
        fields.finish();
        policy.meta.name = name?;
        policy.meta.namespace = namespace.unwrap_or_else(|| scope.namespace.into());
        policy.meta.origin = cx.origin(node.span);
        let (action, rules) = rules?;
        (policy.action, policy.rules) = (action, rules.into());
        Some(policy)
    }

    fn write(value: &AuthorizationPolicy) -> Tree {
        let mut map = write_policy(value);
        map.put("namespace", Tree::text(&value.meta.namespace));
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        schema.object("ServerPolicy", |schema, object| {
            object.property("name", super::form::Text::schema(schema), true);
            object.property("namespace", Namespace::schema(schema), false);
            object.property("selector", LabelSet::schema(schema), false);
            properties(schema, object);
        })
    }
}

form! {
    /// A limit on the requests of a server's port.
    RateLimitForm of RateLimit; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "server" [required] server: Name;
        "total" [not_yet "requests are not counted"] total: Opt<Count>;
        "per_identity" [not_yet "requests are not counted"] identity: Opt<Count>;
        "overrides" [not_yet "requests are not counted"] overrides: List<OverrideForm>;
    }
}

fn no_override() -> RateOverride {
    RateOverride::new(0, Vec::new())
}

form! {
    /// Another limit for some callers.
    OverrideForm of RateOverride = no_override(); {
        "per_second" [required] per_second: Count;
        "clients" [required] clients: List<AnyPattern>;
    }
}
