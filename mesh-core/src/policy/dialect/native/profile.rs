//! `profiles`: route classes of a service, as Linkerd has them.

use super::Sink;
use super::form::Form;
use super::pattern::regex;
use super::scope::Scope;
use super::traffic::Budget;
use super::values::duration;
use crate::policy::diagnostic::quoted;
use crate::policy::dialect::linkerd::method;
use crate::policy::model::profile::{ProfileRoute, RequestCondition, Retryable, ServiceProfile};
use crate::policy::reader::Reader;
use crate::policy::source::{Key, Node};

/// Reads the classes of one service.
pub(super) fn read(cx: &Reader<'_>, key: &Key, node: &Node, sink: &mut Sink<'_>) {
    let scope: Scope<'_> = sink.scope;
    if !super::names::is_dns_name(&key.name) {
        cx.invalid_key(key, "expected the name of a service");
        return;
    }
    let meta = scope.meta(cx, &key.name, key.span);
    sink.ledger.define(cx, "profile", &meta, key.span);
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
