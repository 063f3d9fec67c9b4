//! `HTTPRoute`.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;

use super::backend::{Route, backends};
use super::filters::{Filters, filters, hostnames};
use super::http_match::http_match;
use super::parents::{parent, tables};
use super::values::duration;
use super::{at_most, not_yet, required_spec};
use crate::decide::retry::default_policy;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::filter::{Answer, DirectResponse};
use crate::policy::model::route::{HostPattern, RouteMatch, RouteRule, StringMatch};
use crate::policy::model::traffic::{Backoff, RetryCondition, RetryOn, RetryPolicy};
use crate::policy::model::{Origin, Policy};
use crate::policy::reader::{Fields, Reader, list_of, within};
use crate::policy::source::{Node, Spanned};

/// Reads an `HTTPRoute`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    lower_route(cx, object, policy, rule);
}

/// Reads a route whose rules `rule` reads.
pub(super) fn lower_route(
    cx: &Reader<'_>,
    object: &Object<'_>,
    policy: &mut Policy,
    rule: impl Fn(&Reader<'_>, &Node, Route<'_>) -> Option<RouteRule>,
) {
    let Some(mut fields) = required_spec(cx, object).and_then(|spec| cx.mapping(spec)) else {
        return;
    };
    let mesh = policy.mesh.clone();
    let parents = fields.list("parentRefs", |cx, node| parent(cx, node, object, &mesh));
    if fields.node("parentRefs").is_none_or(|node| node.items().is_empty()) {
        let message = "the route is attached to nothing: no request follows it";
        let help = "name a gateway, or a service, in `parentRefs`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, fields.span(), message).with_help(help));
    }
    let hosts = fields.optional("hostnames", hostnames).unwrap_or_default();
    let route = Route {
        namespace: &object.meta.namespace,
        cluster_domain: &mesh.cluster_domain,
    };
    let rules = fields.optional("rules", |cx, node| {
        at_most(cx, node, 16);
        check_names(cx, node);
        list_of(|cx, node| rule(cx, node, route))(cx, node)
    });
    not_yet(&mut fields, &[("useDefaultGateways", "a route names its parents")]);
    fields.finish();
    let pattern = |host: Spanned<String>| HostPattern {
        origin: cx.origin(host.span),
        host: host.value,
    };
    let hosts: Vec<_> = hosts.into_iter().map(pattern).collect();
    let rules = rules.unwrap_or_else(|| vec![without_backends(&object.meta.origin)]);
    policy.routes.extend(tables(object, parents, &hosts, &rules));
}

/// A route without rules has one that matches everything, and leads nowhere.
fn without_backends(origin: &Origin) -> RouteRule {
    RouteRule {
        origin: origin.clone(),
        answer: Some(nowhere()),
        ..RouteRule::default()
    }
}

fn nowhere() -> Answer {
    Answer::Direct(DirectResponse::new(StatusCode::INTERNAL_SERVER_ERROR))
}

fn check_names(cx: &Reader<'_>, rules: &Node) {
    let mut names = BTreeSet::new();
    for name in rules.items().iter().filter_map(|rule| rule.get("name")) {
        if name.as_text().is_some_and(|text| !names.insert(text)) {
            let message = format!("rule {} is there already", quoted(name.as_text().unwrap_or_default()));
            cx.report(Diagnostic::new(Code::DUPLICATE_DEFINITION, name.span, message));
        }
    }
}

fn rule(cx: &Reader<'_>, node: &Node, route: Route<'_>) -> Option<RouteRule> {
    let mut fields = cx.mapping(node)?;
    let matches = fields.optional("matches", |cx, node| {
        at_most(cx, node, 64);
        list_of(http_match)(cx, node)
    });
    let found = common(cx, &mut fields, route);
    let mut rule = RouteRule {
        origin: cx.origin(node.span),
        matches: matches.unwrap_or_default(),
        ..found.rule
    };
    timeouts(cx, &mut fields, &mut rule);
    not_yet(
        &mut fields,
        &[("sessionPersistence", "requests are not held to an endpoint")],
    );
    fields.finish();
    check_prefix(cx, &found.filters, &rule.matches);
    Some(rule)
}

/// What rules of HTTP and gRPC have in common.
pub(super) struct Common {
    pub(super) rule: RouteRule,
    pub(super) filters: Filters,
}

pub(super) fn common(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, route: Route<'_>) -> Common {
    let mut found = fields
        .optional("filters", |cx, node| filters(cx, node, route))
        .unwrap_or_default();
    let destinations = fields
        .optional("backendRefs", |cx, node| backends(cx, node, route))
        .unwrap_or_default();
    let mut answer = found.answer.take();
    if let (Some(Answer::Redirect(_)), Some((key, _)), false) =
        (&answer, fields.entry("backendRefs"), destinations.is_empty())
    {
        let message = "`backendRefs` excludes the filter `RequestRedirect`: requests go there or are sent away";
        cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
    }
    if destinations.iter().all(|to| to.weight == 0) {
        answer.get_or_insert_with(nowhere);
    }
    let rule = RouteRule {
        name: fields.optional("name", Reader::name),
        destinations: if answer.is_some() { Vec::new() } else { destinations },
        answer,
        rewrite: found.rewrite.take(),
        headers: std::mem::take(&mut found.headers),
        mirrors: std::mem::take(&mut found.mirrors),
        cors: found.cors.take(),
        ..RouteRule::default()
    };
    Common { rule, filters: found }
}

/// A prefix can be replaced where one, and only one, matched.
fn check_prefix(cx: &Reader<'_>, filters: &Filters, matches: &[RouteMatch]) {
    let Some(span) = filters.replaces_prefix else { return };
    let is_prefix = matches!(
        matches,
        [] | [RouteMatch {
            path: Some(StringMatch::SegmentPrefix(_)),
            ..
        }]
    );
    if !is_prefix {
        let message = "`ReplacePrefixMatch` needs a rule with one match, whose path is a `PathPrefix`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, span, message));
    }
}

/// Zero is no timeout.
fn timeouts(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, rule: &mut RouteRule) {
    let (mut request, mut backend) = (None, None);
    fields.optional("timeouts", |cx, node| {
        let mut limits = cx.mapping(node)?;
        request = limits.optional("request", duration);
        backend = limits.optional("backendRequest", duration);
        if let (Some(request), Some(backend), Some((key, _))) = (request, backend, limits.entry("backendRequest"))
            && !request.is_zero()
            && backend > request
        {
            let message = "`backendRequest` is longer than `request`, which holds for all tries together";
            cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
        }
        limits.finish();
        Some(())
    });
    let is_set = |limit: &Duration| !limit.is_zero();
    rule.timeout = request.filter(is_set);
    rule.retry = fields.optional("retry", retry);
    if let Some(limit) = backend.filter(is_set) {
        let origin = fields
            .node("timeouts")
            .map(|node| cx.origin(node.span))
            .unwrap_or_default();
        let policy = rule.retry.get_or_insert_with(|| RetryPolicy {
            origin,
            ..default_policy()
        });
        policy.per_try_timeout = Some(limit);
    }
}

/// Failures of the connection are always tried again where there is a block; codes add responses.
fn retry(cx: &Reader<'_>, node: &Node) -> Option<RetryPolicy> {
    const DEFAULT_ATTEMPTS: u32 = 2;
    let mut fields = cx.mapping(node)?;
    let codes = fields.list("codes", |cx, node| {
        StatusCode::from_u16(within::<u16>(400..=599)(cx, node)?).ok()
    });
    let attempts = fields.optional("attempts", within::<u32>(1..=i32::MAX.into()));
    let backoff = fields.optional("backoff", duration);
    fields.finish();
    let mut conditions = vec![
        RetryCondition::ConnectFailure,
        RetryCondition::RefusedStream,
        RetryCondition::Reset,
    ];
    if !codes.is_empty() {
        conditions.push(RetryCondition::RetriableStatusCodes);
    }
    let on = RetryOn { conditions, codes };
    let mut policy = RetryPolicy::new(attempts.unwrap_or(DEFAULT_ATTEMPTS), on, cx.origin(node.span));
    if let Some(base) = backoff.filter(|base| !base.is_zero()) {
        policy.backoff = Backoff::from_base(base);
    }
    Some(policy)
}
