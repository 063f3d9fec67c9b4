//! Gateway API (`gateway.networking.k8s.io`): routes of services and of gateways.
//!
//! A route may be attached to gateways, and to services (GAMMA): then it is for the clients of the mesh. A route in the
//! service's own namespace holds for every caller; one in another namespace holds for the callers of that namespace alone,
//! in place of the others. The rules of all routes of a host compete as one list, the most specific first
//! ([`RuleOrder::Specific`](crate::policy::model::route::RuleOrder)).

use super::{Dialect, Object};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Policy;
use crate::policy::reader::{Fields, Reader, Spelling};
use crate::policy::source::Node;

mod backend;
mod backend_tls;
mod filters;
mod gateway;
mod grant;
mod grpc_route;
mod http_match;
mod http_route;
mod parents;
mod stream_route;
#[cfg(test)]
mod tests;
mod values;

pub(in crate::policy) use grant::resolve;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "gateway-api",
    spelling: Spelling::Exact,
    knows: |api_version, kind| find(api_version, kind).is_some(),
    is_settings: |_| false,
    lower,
};

const GROUP: &str = "gateway.networking.k8s.io";

type Lower = fn(&Reader<'_>, &Object<'_>, &mut Policy);

/// Kinds with the versions that they are served in.
const KINDS: &[(&str, &[&str], Lower)] = &[
    ("HTTPRoute", &["v1", "v1beta1", "v1alpha2"], http_route::lower),
    ("GRPCRoute", &["v1", "v1alpha2"], grpc_route::lower),
    ("TLSRoute", &["v1", "v1alpha3", "v1alpha2"], stream_route::lower_tls),
    ("TCPRoute", &["v1alpha2", "v1"], stream_route::lower_tcp),
    ("UDPRoute", &["v1alpha2", "v1"], udp_route),
    ("Gateway", &["v1", "v1beta1", "v1alpha2"], gateway::lower),
    ("GatewayClass", &["v1", "v1beta1", "v1alpha2"], gateway_class),
    ("ReferenceGrant", &["v1", "v1beta1", "v1alpha2"], grant::lower),
    ("BackendTLSPolicy", &["v1", "v1alpha3"], backend_tls::lower),
];

fn find(api_version: &str, kind: &str) -> Option<Lower> {
    let version = api_version.strip_prefix(GROUP)?.strip_prefix('/')?;
    let (_, versions, lower) = KINDS.iter().find(|(name, ..)| *name == kind)?;
    versions.contains(&version).then_some(*lower)
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    if let Some(lower) = find(object.api_version, object.kind) {
        lower(cx, object, policy);
    }
}

/// Implementations are chosen by it; in a process there is one.
fn gateway_class(cx: &Reader<'_>, object: &Object<'_>, _: &mut Policy) {
    let message = "kind `GatewayClass` changes nothing here: a process serves gateways itself";
    let span = object.node.get("kind").unwrap_or(object.node).span;
    cx.report(Diagnostic::new(Code::IGNORED_OBJECT, span, message));
}

fn udp_route(cx: &Reader<'_>, object: &Object<'_>, _: &mut Policy) {
    let span = object.node.get("kind").unwrap_or(object.node).span;
    let title = Code::NOT_YET_IN_FORCE.title();
    let message = format!("kind `UDPRoute` is {title}: datagrams are not carried");
    cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, span, message));
}

/// The object's `spec`, which must be given.
fn required_spec<'n>(cx: &Reader<'_>, object: &Object<'n>) -> Option<&'n Node> {
    if object.spec.is_none() {
        cx.report(Diagnostic::new(
            Code::MISSING_FIELD,
            object.node.span,
            "missing field `spec`",
        ));
    }
    object.spec
}

/// Says that each of these fields that is given is read, and not in force: `(name, reason)`.
fn not_yet(fields: &mut Fields<'_, '_, '_>, refused: &[(&'static str, &str)]) {
    for (name, reason) in refused {
        fields.refuse(name, Code::NOT_YET_IN_FORCE, reason);
    }
}

/// Reports a list that is longer than the API allows.
fn at_most(cx: &Reader<'_>, node: &Node, limit: usize) {
    let found = node.items().len();
    if found > limit {
        cx.invalid::<()>(node, format!("expected at most {limit} entries, found {found}"));
    }
}

/// Reports an unexpected value of a field.
fn unexpected<T>(cx: &Reader<'_>, node: &Node, expected: &str, found: &str) -> Option<T> {
    cx.invalid(node, format!("expected {expected}, found {}", quoted(found)))
}
