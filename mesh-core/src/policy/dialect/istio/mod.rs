//! Istio's resources, as its API documents them.
//!
//! One row of `KINDS` is one kind. A kind that configures what this mesh does is lowered into the
//! model by its own file, field by field; the others are known, and refused with a reason. The rules
//! are those of Istio's own validation: what Istio rejects is an error here, what it deprecates is a
//! warning, and what is not in force says so: what a later version brings is read, checked and told
//! with a warning, what has no meaning in a process is refused (`docs/dialects.md` has the table). All served versions of a kind have the same fields.
//!
//! Where an item of a list is wrong, the others are read still: a policy with errors never comes in
//! force, and a half-read document gives fewer findings about missing names than none.

use super::{Dialect, Object, authorizer_values, kind_span, names, path_template, pattern, required_spec, values};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Policy;
use crate::policy::reader::{Fields, Reader, Spelling};

pub(in crate::policy::dialect) mod authorization_policy;
mod authorization_rule;
pub(in crate::policy::dialect) mod authorization_when;
mod client_tls;
mod connection_pool;
mod consistent_hash;
pub(in crate::policy) mod delegate;
mod destination_rule;
mod extension_provider;
mod faults;
mod filters;
mod gateway;
mod gateway_tls;
mod load_balancer;
mod locality;
mod mesh_config;
mod outlier_detection;
mod peer_authentication;
mod request_authentication;
mod resolution;
mod retries;
mod route_match;
mod scope;
pub(in crate::policy::dialect) mod selection;
mod service_entry;
mod service_port;
mod sidecar;
mod stream_route;
mod string_match;
mod telemetry;
mod topology;
mod traffic_policy;
mod virtual_service;
mod without_effect;
mod workload_entry;

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "istio",
    spelling: Spelling::CamelOrSnake,
    knows,
    is_settings,
    lower,
};

/// What becomes of a kind.
#[derive(Clone, Copy)]
enum Lowering {
    /// It is read into the policy.
    Read(fn(&Reader<'_>, &Object<'_>, &mut Policy)),
    /// It is refused for this reason.
    Refuse(Code, &'static str),
}

struct Kind {
    group: &'static str,
    name: &'static str,
    lowering: Lowering,
}

const fn read(group: &'static str, name: &'static str, lower: fn(&Reader<'_>, &Object<'_>, &mut Policy)) -> Kind {
    let lowering = Lowering::Read(lower);
    Kind { group, name, lowering }
}

const fn refuse(group: &'static str, name: &'static str, code: Code, reason: &'static str) -> Kind {
    let lowering = Lowering::Refuse(code, reason);
    Kind { group, name, lowering }
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const TELEMETRY: &str = "telemetry.istio.io";
const EXTENSIONS: &str = "extensions.istio.io";
const INSTALL: &str = "install.istio.io";

/// The versions that a group serves.
const VERSIONS: &[(&str, &[&str])] = &[
    (NETWORKING, &["v1", "v1beta1", "v1alpha3"]),
    (SECURITY, &["v1", "v1beta1"]),
    (TELEMETRY, &["v1", "v1alpha1"]),
    (EXTENSIONS, &["v1alpha1"]),
    (INSTALL, &["v1alpha1"]),
];

const NOT_YET: Code = Code::NOT_YET_IN_FORCE;
const NOT_HERE: Code = Code::NOT_IN_PROCESS;

const KINDS: &[Kind] = &[
    read(NETWORKING, "VirtualService", virtual_service::lower),
    read(NETWORKING, "DestinationRule", destination_rule::lower),
    read(NETWORKING, "ServiceEntry", service_entry::lower),
    read(NETWORKING, "WorkloadEntry", workload_entry::lower),
    read(NETWORKING, "Gateway", gateway::lower),
    read(NETWORKING, "Sidecar", sidecar::lower),
    read(NETWORKING, "WorkloadGroup", without_effect::workload_group),
    read(NETWORKING, "ProxyConfig", without_effect::proxy_config),
    read(SECURITY, "PeerAuthentication", peer_authentication::lower),
    read(SECURITY, "AuthorizationPolicy", authorization_policy::lower),
    read(INSTALL, SETTINGS, mesh_config::lower),
    read(SECURITY, "RequestAuthentication", request_authentication::lower),
    read(TELEMETRY, "Telemetry", telemetry::lower),
    refuse(NETWORKING, "EnvoyFilter", NOT_HERE, "there is no Envoy to patch"),
    refuse(
        EXTENSIONS,
        "WasmPlugin",
        NOT_HERE,
        "there is no proxy to extend, add a tower layer",
    ),
    refuse(
        EXTENSIONS,
        "TrafficExtension",
        NOT_HERE,
        "there is no proxy to extend, add a tower layer",
    ),
];

/// The kind that sets the mesh's settings.
const SETTINGS: &str = "IstioOperator";

fn kind(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/')?;
    let (_, versions) = VERSIONS.iter().find(|(name, _)| *name == group)?;
    if !versions.contains(&version) {
        return None;
    }
    KINDS.iter().find(|known| known.group == group && known.name == kind)
}

fn knows(api_version: &str, name: &str) -> bool {
    kind(api_version, name).is_some()
}

fn is_settings(kind: &str) -> bool {
    kind == SETTINGS
}

fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    match kind(object.api_version, object.kind).map(|known| known.lowering) {
        Some(Lowering::Read(lower)) => lower(cx, object, policy),
        Some(Lowering::Refuse(code, reason)) => {
            let message = format!("kind {} is {}: {reason}", quoted(object.kind), code.title());
            cx.report(Diagnostic::new(code, kind_span(object), message));
        }
        None => {}
    }
}

/// Refuses each of these fields that is given: `(name, reason)`.
fn refuse_all(fields: &mut Fields<'_, '_, '_>, code: Code, refused: &[(&'static str, &str)]) {
    for (name, reason) in refused {
        fields.refuse(name, code, reason);
    }
}

#[cfg(test)]
mod tests;
