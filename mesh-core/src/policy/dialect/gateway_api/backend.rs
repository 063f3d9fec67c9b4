//! `backendRefs`: where requests go.

use super::Scope;
use super::filters::{Filters, Place, filters};
use super::values::{Defaults, given_or, reference};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::names::is_dns_name;
use crate::policy::model::Origin;
use crate::policy::model::attachment::RouteKind;
use crate::policy::model::route::Destination;
use crate::policy::reader::{Fields, Reader, within};
use crate::policy::source::Node;

const SERVICE: Defaults = Defaults {
    group: "",
    kind: "Service",
};

/// The weight of a backend that names none.
const WEIGHT: u32 = 1;
/// The greatest weight.
const MAX_WEIGHT: i64 = 1_000_000;

/// Reads a backend with its weight and filters.
pub(super) fn backend(
    cx: &Reader<'_>,
    node: &Node,
    scope: Scope<'_>,
    kind: RouteKind,
) -> Option<(Destination, Filters)> {
    let mut fields = cx.mapping(node)?;
    let target = target(cx, &mut fields, scope);
    let weight = given_or(&mut fields, "weight", WEIGHT, within(0..=MAX_WEIGHT));
    let applied = match kind {
        RouteKind::Http | RouteKind::Grpc => filters(&mut fields, scope, Place::Backend(kind)),
        RouteKind::Tls | RouteKind::Tcp => Filters::default(),
    };
    fields.finish();
    let mut target = target?;
    target.weight = weight?;
    target.headers = applied.headers.clone();
    target.rewrite = applied.rewrite.clone();
    if let Some(reason) = &applied.unresolved {
        target.unresolved = Some(reason.clone());
    }
    Some((target, applied))
}

/// Reads a backend without a weight: `{ group, kind, name, namespace, port }`.
pub(super) fn bare(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Destination> {
    let mut fields = cx.mapping(node)?;
    let target = target(cx, &mut fields, scope);
    fields.finish();
    target
}

fn target(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Option<Destination> {
    let reference = reference(fields, SERVICE);
    let port = given_or(fields, "port", None, |cx, node| cx.port(node).map(Some));
    let (reference, port) = (reference?, port?);
    let namespace = reference.namespace.as_deref().unwrap_or(scope.namespace);
    let mut target = Destination {
        port,
        weight: WEIGHT,
        origin: cx.origin(reference.span),
        ..Destination::default()
    };
    match (reference.group, reference.kind) {
        ("", "Service") => target.host = scope.service(&reference.name.to_ascii_lowercase(), namespace),
        ("networking.istio.io", "Hostname") => target.host = reference.name.to_ascii_lowercase(),
        (group, kind) => {
            let reason = format!("{} of {} is no kind of backend", quoted(kind), quoted(group));
            let message = format!("{reason} that a process calls: its share of the requests is answered with 500");
            let help = "backends are services: leave `group` and `kind` out";
            cx.report(Diagnostic::new(Code::UNRESOLVED_REFERENCE, reference.span, message).with_help(help));
            target.host = reference.name.to_ascii_lowercase();
            target.unresolved = Some(reason);
            return Some(target);
        }
    }
    if !is_dns_name(&target.host) {
        let reason = format!("{} is no name that a service can have", quoted(&reference.name));
        let message = format!("{reason}: its share of the requests is answered with 500");
        cx.report(Diagnostic::new(Code::UNRESOLVED_REFERENCE, reference.span, message));
        target.host = reference.name;
        target.unresolved = Some(reason);
        return Some(target);
    }
    if port.is_none() {
        let message = format!("backend {} has no `port`", quoted(&reference.name));
        cx.report(Diagnostic::new(Code::MISSING_FIELD, reference.span, message).with_help("a service needs a port"));
        return None;
    }
    Some(target)
}

/// What stands in for the backends of a rule that has none, or only such of weight 0.
pub(super) fn nothing(origin: Origin, reason: &str) -> Destination {
    Destination {
        weight: WEIGHT,
        unresolved: Some(reason.into()),
        origin,
        ..Destination::default()
    }
}
