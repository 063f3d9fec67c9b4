//! `profiles`: route classes of a service, as Linkerd has them.

use std::ops::RangeInclusive;

use super::Sink;
use super::form::{
    Boxed, Created, Dur, Form, HostText, List, MethodName, Name, NonEmpty, Regex, Schema, Text, Tree, choices, form,
    one_of, pair,
};
use super::item::Shelf;
use super::pattern::regex;
use super::retry::Budget;
use super::route::DestinationForm;
use super::scope::Scope;
use super::values::duration;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::linkerd::method;
use crate::policy::model::profile::{
    AttachedRoutes, ProfileRoute, RequestCondition, ResponseClass, ResponseCondition, ResponseResult, Retryable,
    ServiceProfile,
};
use crate::policy::reader::{Reader, within};
use crate::policy::source::{Key, Node};

/// Reads the classes of one service.
pub(super) fn read(cx: &Reader<'_>, key: &Key, node: &Node, sink: &mut Sink<'_>) {
    let scope: Scope<'_> = sink.scope;
    if !super::names::is_dns_name(&key.name) {
        cx.invalid_key(key, "expected the name of a service");
        return;
    }
    let meta = scope.meta(cx, &key.name, key.span);
    sink.ledger.define("profile", &meta, key.span);
    let Some(mut fields) = cx.mapping(node) else {
        return;
    };
    let routes = fields.list("routes", route);
    let budget = fields
        .optional("retry_budget", |cx, node| Budget::read(cx, node, scope))
        .unwrap_or_default();
    fields.finish();
    sink.policy.profiles.push(ServiceProfile {
        meta,
        host: scope.full_host(&key.name),
        routes,
        budget,
        ..ServiceProfile::default()
    });
}

fn route(cx: &Reader<'_>, node: &Node) -> Option<ProfileRoute> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", Reader::name);
    let method = fields.optional("method", method).map(RequestCondition::Method);
    let path = fields.optional("path_regex", regex).map(RequestCondition::Path);
    let condition = RequestCondition::All(method.into_iter().chain(path).collect());
    let mut route = ProfileRoute::new(String::new(), condition, cx.origin(node.span));
    if fields.optional("retryable", Reader::bool) == Some(true) {
        route.retryable = Retryable::Yes;
    }
    route.timeout = fields.optional("timeout", duration);
    fields.finish();
    if node.get("method").is_none() && node.get("path_regex").is_none() {
        let name = quoted(name.as_deref().unwrap_or_default());
        return cx.invalid(node, format!("route {name} needs a `method` or a `path_regex`"));
    }
    route.name = name?;
    Some(route)
}

pub(super) const SHELF: Shelf<ServiceProfile> = Shelf {
    kind: "profile",
    push: |policy, profile| policy.profiles.push(profile),
};

form! {
    /// Route classes of a service in full.
    ProfileForm of ServiceProfile, check check_overrides; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "host" [required] host: HostText;
        "routes" routes: List<ClassForm>;
        "retry_budget" budget: Budget;
        "overrides" overrides: NonEmpty<DestinationForm>;
        "attached_routes" attached: Attached;
    }
}

/// Overrides that all have no share would leave no place to go.
fn check_overrides(cx: &Reader<'_>, node: &Node, profile: &ServiceProfile) {
    let is_nowhere = !profile.overrides.is_empty() && profile.overrides.iter().all(|to| to.weight == 0);
    if let Some(overrides) = node.get("overrides").filter(|_| is_nowhere) {
        let message = "`overrides`: the weights of all destinations are 0, one must be more";
        cx.report(Diagnostic::new(Code::INVALID_VALUE, overrides.span, message));
    }
}

choices! {
    /// What becomes of routes that attach to the service.
    Attached of AttachedRoutes; {
        "keep" AttachedRoutes::Keep;
        "replace" AttachedRoutes::Replace;
    }
}

fn no_class() -> ProfileRoute {
    let origin = crate::policy::model::Origin::default();
    ProfileRoute::new(String::new(), RequestCondition::All(Vec::new()), origin)
}

form! {
    /// A class of requests.
    ClassForm of ProfileRoute = no_class(), origin origin; {
        "name" [required] name: Text;
        "condition" [required] condition: ConditionForm;
        "retryable" retryable: RetryableForm;
        "timeout" timeout: super::form::Opt<Dur>;
        "response_classes" response_classes: List<ResponseForm>;
    }
}

one_of! {
    /// Which requests a class takes.
    ConditionForm of RequestCondition; {
        "method" RequestCondition::Method(method) => method, RequestCondition::Method, MethodName;
        "path_regex" RequestCondition::Path(regex) => regex, RequestCondition::Path, Regex;
        "all" RequestCondition::All(all) => all, RequestCondition::All, List<ConditionForm>;
        "any" RequestCondition::Any(any) => any, RequestCondition::Any, List<ConditionForm>;
        "not" RequestCondition::Not(not) => not, RequestCondition::Not, Boxed<ConditionForm>;
    }
}

/// Whether failed requests are tried again.
struct RetryableForm;

impl Form for RetryableForm {
    type Of = Retryable;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<Retryable> {
        Some(if cx.bool(node)? { Retryable::Yes } else { Retryable::No })
    }

    fn write(value: &Retryable) -> Tree {
        Tree::Flag(*value == Retryable::Yes)
    }

    fn schema(schema: &mut Schema) -> serde_json::Value {
        super::form::Flag::schema(schema)
    }
}

choices! {
    /// What a response is.
    ResultForm of ResponseResult; {
        "failure" ResponseResult::Failure;
        "success" ResponseResult::Success;
    }
}

fn no_response() -> ResponseClass {
    ResponseClass::new(ResponseCondition::All(Vec::new()), ResponseResult::Success)
}

form! {
    /// Says of some responses whether they are failures.
    ResponseForm of ResponseClass = no_response(); {
        "condition" [required] condition: ResponseConditionForm;
        "is" [required] result: ResultForm;
    }
}

pair! {
    /// The first and the last status of a range.
    Ends; "min" Bound, "max" Bound
}

/// A range of statuses, which is not empty.
struct Range;

impl Form for Range {
    type Of = (u16, u16);

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<(u16, u16)> {
        let (min, max) = Ends::read(cx, node, scope)?;
        if min > max {
            return cx.invalid(node, format!("`max` must not be less than `min`, found {min} to {max}"));
        }
        Some((min, max))
    }

    fn write(value: &(u16, u16)) -> Tree {
        Ends::write(value)
    }

    fn schema(schema: &mut Schema) -> serde_json::Value {
        Ends::schema(schema)
    }
}

/// A status of a range.
pub(super) struct Bound;

impl Form for Bound {
    type Of = u16;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<u16> {
        within(100..=599)(cx, node)
    }

    fn write(value: &u16) -> Tree {
        Tree::number(*value)
    }

    fn schema(_: &mut Schema) -> serde_json::Value {
        serde_json::json!({ "type": "integer", "minimum": 100, "maximum": 599 })
    }
}

fn range((min, max): (u16, u16)) -> ResponseCondition {
    ResponseCondition::Status(min..=max)
}

fn ends(range: &RangeInclusive<u16>) -> (u16, u16) {
    (*range.start(), *range.end())
}

one_of! {
    /// Which responses.
    ResponseConditionForm of ResponseCondition; {
        "status" ResponseCondition::Status(status) => &ends(status), range, Range;
        "all" ResponseCondition::All(all) => all, ResponseCondition::All, List<ResponseConditionForm>;
        "any" ResponseCondition::Any(any) => any, ResponseCondition::Any, List<ResponseConditionForm>;
        "not" ResponseCondition::Not(not) => not, ResponseCondition::Not, Boxed<ResponseConditionForm>;
    }
}

/// Describes the classes of a service by its name.
pub(super) fn short_schema(schema: &mut Schema) -> serde_json::Value {
    schema.object("ShortProfile", |schema, object| {
        let class = schema.object("ShortClass", |schema, object| {
            object.property("name", Text::schema(schema), true);
            object.property("method", Text::schema(schema), false);
            object.property("path_regex", Regex::schema(schema), false);
            object.property("retryable", super::form::Flag::schema(schema), false);
            object.property("timeout", Dur::schema(schema), false);
        });
        object.property("routes", serde_json::json!({ "type": "array", "items": class }), false);
        object.property("retry_budget", Budget::schema(schema), false);
    })
}
