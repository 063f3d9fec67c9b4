//! Rules of HTTPRoutes and GRPCRoutes: matches, filters, backends, timeouts, retries.

use std::time::Duration;

use http::StatusCode;

use super::backend::{backend, nothing};
use super::filters::{Filters, Place, filters};
use super::values::{bounded, contradiction, duration, given_or, limit, text_within};
use super::{Scope, WithoutBackends, no_effect, refuse};
use crate::decide::retry::default_policy;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::attachment::RouteKind;
use crate::policy::model::filter::Answer;
use crate::policy::model::route::{Destination, RouteMatch, RouteRule, StringMatch};
use crate::policy::model::traffic::{Backoff, RetryCondition, RetryOn, RetryPolicy};
use crate::policy::reader::{Fields, Reader, choice, spanned, within};
use crate::policy::source::{Node, SourceSpan, Spanned};

/// The most rules of a route, and the most backends of a rule.
pub(super) const RULES: usize = 16;
const BACKENDS: usize = 16;
/// The most matches of a rule, and of all rules of a route.
pub(super) const MATCHES: usize = 64;
const ALL_MATCHES: usize = 128;
/// Retries of a rule that does not say how many (Istio's default).
const ATTEMPTS: u32 = 2;

/// Reads `rules`; a route without any has one that takes every path.
pub(super) fn rules(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
    read: impl Fn(&Reader<'_>, &Node) -> Option<RouteRule>,
) -> Vec<RouteRule> {
    let rules = bounded(fields, "rules", RULES, spanned(|cx, node| read(cx, node)));
    let matches: usize = rules.iter().map(|rule| rule.matches.len()).sum();
    if let Some(node) = fields.node("rules").filter(|_| matches > ALL_MATCHES) {
        cx.invalid::<()>(
            node,
            format!("`rules`: expected at most {ALL_MATCHES} matches in all, found {matches}"),
        );
    }
    check_names(cx, &rules);
    rules.into_iter().map(|rule| rule.value).collect()
}

fn check_names(cx: &Reader<'_>, rules: &[Spanned<RouteRule>]) {
    let named: Vec<(&str, SourceSpan)> = rules
        .iter()
        .filter_map(|rule| Some((rule.name.as_deref()?, rule.span)))
        .collect();
    super::super::names::refuse_duplicates(cx, "rule", &named);
}

/// What a rule has beside its matches.
pub(super) fn finish_rule(
    cx: &Reader<'_>,
    fields: &mut Fields<'_, '_, '_>,
    scope: Scope<'_>,
    (kind, matches): (RouteKind, Vec<RouteMatch>),
) -> RouteRule {
    let mut rule = RouteRule {
        name: fields.optional("name", super::names::section),
        origin: cx.origin(fields.span()),
        ..RouteRule::default()
    };
    let own = filters(fields, scope, Place::Rule(kind));
    let backends = bounded(fields, "backendRefs", BACKENDS, |cx, node| {
        backend(cx, node, scope, kind)
    });
    let names_backends = fields.node("backendRefs").is_some_and(|node| !node.items().is_empty());
    if let Some(redirect) = own.redirect.as_ref().filter(|_| names_backends) {
        let span = fields.entry("backendRefs").map_or(redirect.span, |(key, _)| key.span);
        let message = "a rule that redirects has no `backendRefs`: no request gets there";
        let told = Diagnostic::new(Code::INVALID_POLICY, span, message);
        cx.report(told.with_label(redirect.span, "redirects every request"));
    }
    let prefixes = own
        .prefixes
        .iter()
        .chain(backends.iter().flat_map(|(_, filters)| &filters.prefixes));
    check_prefixes(cx, &matches, prefixes);
    rule.matches = matches;
    rule.headers = own.headers.clone();
    rule.rewrite = own.rewrite.clone();
    rule.cors = own.cors.clone();
    let may_be_empty = scope.without_backends == WithoutBackends::Parent && own.unresolved.is_none();
    if names_backends || !may_be_empty {
        rule.destinations = destinations(cx, fields.span(), &own, (names_backends, backends));
    }
    rule.mirrors = own.mirrors;
    let redirect = own.redirect.filter(|_| own.unresolved.is_none());
    rule.answer = redirect.map(|redirect| Answer::Redirect(redirect.value));
    fields.optional("sessionPersistence", session);
    refuse(
        fields,
        "sessionPersistence",
        "requests of a session are balanced like others",
    );
    rule
}

/// Reads `sessionPersistence`, which is not in force.
fn session(cx: &Reader<'_>, node: &Node) -> Option<()> {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Kept {
        Cookie,
        Header,
    }
    let mut fields = cx.mapping(node)?;
    fields.optional("sessionName", text_within(128));
    let types = [("Cookie", Kept::Cookie), ("Header", Kept::Header)];
    let kept = given_or(&mut fields, "type", Kept::Cookie, choice(&types));
    fields.optional("absoluteTimeout", duration);
    fields.optional("idleTimeout", duration);
    let lifetime = fields.optional("cookieConfig", |cx, node| {
        let mut fields = cx.mapping(node)?;
        let lifetime = given_or(
            &mut fields,
            "lifetimeType",
            "Session",
            choice(&[("Session", "Session"), ("Permanent", "Permanent")]),
        );
        fields.finish();
        lifetime
    });
    if lifetime == Some("Permanent") && fields.node("absoluteTimeout").is_none() {
        fields.missing(&["absoluteTimeout"]);
    }
    if let Some((key, _)) = fields.entry("cookieConfig").filter(|_| kept == Some(Kept::Header)) {
        contradiction(cx, key.span, "`cookieConfig` does not belong to `type: Header`");
    }
    fields.finish();
    Some(())
}

/// What replaces a prefix needs to know which.
fn check_prefixes<'s>(cx: &Reader<'_>, matches: &[RouteMatch], used: impl Iterator<Item = &'s SourceSpan>) {
    let has_one = matches!(
        matches,
        [RouteMatch {
            path: Some(StringMatch::SegmentPrefix(_)),
            ..
        }]
    );
    for span in used.filter(|_| !has_one) {
        let message = "`replacePrefixMatch` needs a rule with exactly one match, of a `PathPrefix`";
        contradiction(cx, *span, message);
    }
}

/// A rule that names no backend, or only such without a share, answers with 500; so does one whose filter is not there.
fn destinations(
    cx: &Reader<'_>,
    span: SourceSpan,
    own: &Filters,
    (names_backends, backends): (bool, Vec<(Destination, Filters)>),
) -> Vec<Destination> {
    if own.redirects && own.unresolved.is_none() {
        return Vec::new();
    }
    let backends: Vec<Destination> = backends.into_iter().map(|(backend, _)| backend).collect();
    let reason = match &own.unresolved {
        Some(reason) => reason.as_str(),
        None if !names_backends => "the rule names no backend",
        None if backends.iter().all(|backend| backend.weight == 0) => "the weights of all backends are 0",
        None => return backends,
    };
    if own.unresolved.is_none() && (!names_backends || !backends.is_empty()) {
        no_effect(cx, span, &format!("{reason}: requests are answered with 500"));
    }
    vec![nothing(cx.origin(span), reason)]
}

/// Reads `timeouts` and `retry`.
pub(super) fn times(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, rule: &mut RouteRule) {
    let timeouts = fields.optional("timeouts", timeouts);
    let retry = fields.optional("retry", retry);
    let (request, per_try) = timeouts.unwrap_or_default();
    rule.timeout = request;
    rule.retry = match (retry, per_try) {
        (Some(retry), per_try_timeout) => Some(RetryPolicy {
            per_try_timeout,
            ..retry
        }),
        // The limit of a single try changes nothing about what is tried again by default.
        (None, Some(_)) => Some(RetryPolicy {
            per_try_timeout: per_try,
            origin: cx.origin(fields.span()),
            ..default_policy()
        }),
        (None, None) => None,
    };
}

/// Limits of the request and of a single try.
type Timeouts = (Option<Duration>, Option<Duration>);

fn timeouts(cx: &Reader<'_>, node: &Node) -> Option<Timeouts> {
    let mut fields = cx.mapping(node)?;
    let request = given_or(&mut fields, "request", None, limit);
    let per_try = given_or(&mut fields, "backendRequest", None, limit);
    let per_try_node = fields.node("backendRequest");
    fields.finish();
    let (request, per_try) = (request?, per_try?);
    let is_longer = request.zip(per_try).is_some_and(|(request, own)| own > request);
    if let Some(node) = per_try_node.filter(|_| is_longer) {
        let message = "`backendRequest` must not be longer than `request`: a try is part of it";
        contradiction(cx, node.span, message);
        return None;
    }
    Some((request, per_try))
}

/// Connections that fail are always tried again once a rule says anything of retries (GEP-1731).
fn retry(cx: &Reader<'_>, node: &Node) -> Option<RetryPolicy> {
    let mut fields = cx.mapping(node)?;
    let codes = bounded(&mut fields, "codes", usize::MAX, |cx, node| {
        StatusCode::from_u16(within::<u16>(400..=599)(cx, node)?).ok()
    });
    let attempts = given_or(&mut fields, "attempts", ATTEMPTS, within::<u32>(1..=i32::MAX.into()));
    let pause = given_or(&mut fields, "backoff", None, |cx, node| duration(cx, node).map(Some));
    fields.finish();
    let mut conditions = vec![
        RetryCondition::ConnectFailure,
        RetryCondition::RefusedStream,
        RetryCondition::Reset,
    ];
    if !codes.is_empty() {
        conditions.push(RetryCondition::RetriableStatusCodes);
    }
    let on = RetryOn {
        conditions,
        codes,
        ..RetryOn::default()
    };
    let mut policy = RetryPolicy::new(attempts?, on, cx.origin(node.span));
    if let Some(pause) = pause? {
        policy.backoff = Backoff::at_least(pause);
    }
    Some(policy)
}

/// Reports what is given twice where names must differ.
pub(super) fn duplicate(cx: &Reader<'_>, span: SourceSpan, first: SourceSpan, message: &str) {
    let told = Diagnostic::new(Code::DUPLICATE_DEFINITION, span, message);
    cx.report(told.with_label(first, "given here first"));
}
