//! `HTTPLocalRateLimitPolicy`: how many requests a second a server takes, of all callers and of each.

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Policy;
use crate::policy::model::authz::Pattern;
use crate::policy::model::server::{RateLimit, RateOverride};
use crate::policy::reader::{Fields, Reader, list_of, within};
use crate::policy::source::Node;

use super::reference::local_ref;
use super::{GROUP, NOT_YET, Object, identity, required_spec};

/// Reads an `HTTPLocalRateLimitPolicy`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let trust_domain = policy.mesh.trust_domain.clone();
    let read = required_spec(cx, object).and_then(|spec| {
        let mut fields = cx.mapping(spec)?;
        let server = fields.required("targetRef", server);
        let mut limit = RateLimit {
            meta: object.meta.clone(),
            total: rate_of(&mut fields, "total"),
            identity: rate_of(&mut fields, "identity"),
            overrides: fields.list("overrides", |cx, node| one(cx, node, object, &trust_domain)),
            ..RateLimit::default()
        };
        let says_nothing = ["total", "identity", "overrides"]
            .iter()
            .all(|name| spec.get(name).is_none());
        if says_nothing {
            fields.missing(&["total", "identity", "overrides"]);
        }
        fields.finish();
        limit.server = server?;
        Some(limit)
    });
    let kind = object.node.get("kind").unwrap_or(object.node).span;
    if read.is_some() {
        let reason = "requests are not counted by the second";
        let message = format!("kind {} is {}: {reason}", quoted(object.kind), NOT_YET.title());
        cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, kind, message));
    }
    policy.rate_limits.extend(read);
}

fn server(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let reference = local_ref(cx, node)?;
    if (reference.group, reference.kind) == (GROUP, "Server") {
        return Some(reference.name);
    }
    let found = quoted(reference.kind);
    cx.invalid(
        node,
        format!("expected a `Server` of `policy.linkerd.io`, found {found}"),
    )
}

fn rate_of(fields: &mut Fields<'_, '_, '_>, name: &'static str) -> Option<u32> {
    fields.optional(name, |cx, node| {
        let mut fields = cx.mapping(node)?;
        let rate = fields.required("requestsPerSecond", rate);
        fields.finish();
        rate
    })
}

fn rate(cx: &Reader<'_>, node: &Node) -> Option<u32> {
    within(1..=u32::MAX.into())(cx, node)
}

fn one(cx: &Reader<'_>, node: &Node, object: &Object<'_>, trust_domain: &str) -> Option<RateOverride> {
    let mut fields = cx.mapping(node)?;
    let rate = fields.required("requestsPerSecond", rate);
    let clients = fields.required(
        "clientRefs",
        list_of(|cx: &Reader<'_>, node| client(cx, node, object, trust_domain)),
    );
    fields.finish();
    Some(RateOverride::new(rate?, clients?))
}

fn client(cx: &Reader<'_>, node: &Node, object: &Object<'_>, trust_domain: &str) -> Option<Pattern> {
    let reference = local_ref(cx, node)?;
    if !matches!((reference.group, reference.kind), ("" | "core", "ServiceAccount")) {
        let found = quoted(reference.kind);
        return cx.invalid(node, format!("expected a `ServiceAccount`, found {found}"));
    }
    let namespace = reference.namespace.as_deref().unwrap_or(&object.meta.namespace);
    Some(identity::account(trust_domain, namespace, &reference.name))
}
