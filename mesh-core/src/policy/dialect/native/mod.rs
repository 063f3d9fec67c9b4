//! The native dialect: short, made for a service's own repository.
//!
//! A document has sections ([`SECTIONS`]) and no envelope. `docs/policy.md` has every field with its type, unit and
//! default. Names are snake_case; alternatives are mappings of one key (`prefix: /x`), so that a mistake
//! has one exact place; a field without a value counts as absent, a section without one is an error.
//!
//! ```
//! use mesh_core::policy::Loaded;
//! use mesh_core::policy::model::traffic::Algorithm;
//!
//! let loaded = Loaded::from_files([("orders.yaml", "
//! services:
//!   orders:
//!     endpoints: [{ address: 10.0.0.4:8080, labels: { version: v1 } }, { address: 10.0.0.5:8080, labels: { version: v2 } }]
//!     subsets: { v1: { version: v1 }, v2: { version: v2 } }
//!     routes: [{ to: { v1: 90, v2: 10 }, timeout: 10s }]
//!     balance: round_robin
//! ")]);
//! let policy = loaded.policy.unwrap();
//! assert_eq!(policy.routes[0].rules[0].destinations[1].weight, 10);
//! assert_eq!(policy.destinations[0].traffic.balance, Some(Algorithm::RoundRobin));
//! ```

use super::envelope::{self, DEFAULT_NAMESPACE};
use super::values;
use super::{names, path_template, pattern};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::ledger::Ledger;
use crate::policy::model::Policy;
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::{Key, Node, Value};

mod access_pattern;
mod authorization;
mod authorizer;
mod balance;
mod connections;
mod destination;
mod endpoint;
mod filter;
mod form;
mod forwarding;
mod gateway;
mod item;
mod jwt;
mod mesh;
mod mtls;
mod profile;
mod retry;
mod route;
mod route_match;
mod scope;
mod server;
mod service;
mod sidecar;
mod synonyms;
mod telemetry;
mod traffic;
mod write;

use scope::Scope;

pub use form::Tree;
pub(in crate::policy) use synonyms::SYNONYMS;
pub(in crate::policy) use write::deferring;
pub use write::{schema, write};

/// The sections of a document, all of them optional. `namespace` is that of all the others.
pub const SECTIONS: &[&str] = &[
    "namespace",
    "mesh",
    "services",
    "workloads",
    "destinations",
    "routes",
    "profiles",
    "gateways",
    "mtls",
    "authorization",
    "authorizers",
    "sidecars",
    "servers",
    "rate_limits",
    "request_authentication",
    "telemetry",
    "deferred",
];

/// The settings of the mesh, if a document has any.
pub(in crate::policy) fn settings(node: &Node) -> Option<&Node> {
    node.get("mesh").filter(|node| !node.is_null())
}

/// Reads these settings.
pub(in crate::policy) fn read_settings(cx: &Reader<'_>, settings: &Node, policy: &mut Policy) {
    mesh::read(cx, settings, policy);
}

/// Reads all sections but `mesh`.
pub(in crate::policy) fn lower(cx: &Reader<'_>, node: &Node, policy: &mut Policy, ledger: &mut Ledger) {
    let Some(mut fields) = cx.mapping(node) else {
        return;
    };
    let namespace = fields.optional("namespace", envelope::namespace);
    let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.into());
    let mesh = policy.mesh.clone();
    let scope = Scope::new(&namespace, &mesh);
    fields.skip(&["mesh"]);
    let mut sink = Sink { policy, ledger, scope };
    if !full::<service::ServiceForm>(&mut fields, "services", &mut sink, &service::SHELF) {
        each(&mut fields, "services", |cx, key, node| {
            service::read(cx, key, node, &mut sink)
        });
    }
    if !full::<endpoint::WorkloadForm>(&mut fields, "workloads", &mut sink, &endpoint::WORKLOADS) {
        each(&mut fields, "workloads", |cx, key, node| {
            endpoint::workload(cx, key, node, &mut sink);
        });
    }
    if !full::<destination::DestinationForm>(&mut fields, "destinations", &mut sink, &destination::SHELF) {
        each(&mut fields, "destinations", |cx, key, node| {
            destination::read(cx, key, node, &mut sink);
        });
    }
    fields.list("routes", |cx, node| route::table(cx, node, &mut sink));
    if !full::<profile::ProfileForm>(&mut fields, "profiles", &mut sink, &profile::SHELF) {
        each(&mut fields, "profiles", |cx, key, node| {
            profile::read(cx, key, node, &mut sink)
        });
    }
    if !full::<gateway::GatewayForm>(&mut fields, "gateways", &mut sink, &gateway::SHELF) {
        each(&mut fields, "gateways", |cx, key, node| {
            gateway::read(cx, key, node, &mut sink)
        });
    }
    fields.list("mtls", |cx, node| mtls::read(cx, node, &mut sink));
    fields.list("authorization", |cx, node| authorization::read(cx, node, &mut sink));
    lists(&mut fields, &mut sink);
    fields.finish();
    check_sections(cx, node);
}

/// Reads the sections that are lists alone.
fn lists(fields: &mut Fields<'_, '_, '_>, sink: &mut Sink<'_>) {
    fields.optional("authorizers", |cx, node| {
        item::items::<authorizer::AuthorizerForm>(cx, node, sink, &authorizer::SHELF)
    });
    fields.optional("sidecars", |cx, node| {
        item::items::<sidecar::SidecarForm>(cx, node, sink, &sidecar::SHELF)
    });
    fields.optional("servers", |cx, node| {
        item::items::<server::ServerForm>(cx, node, sink, &server::SHELF)
    });
    fields.optional("rate_limits", |cx, node| {
        item::items::<server::RateLimitForm>(cx, node, sink, &server::LIMITS)
    });
    fields.optional("request_authentication", |cx, node| {
        item::items::<jwt::RequestAuthenticationForm>(cx, node, sink, &jwt::SHELF)
    });
    fields.optional("telemetry", |cx, node| {
        item::items::<telemetry::TelemetryForm>(cx, node, sink, &telemetry::SHELF)
    });
    fields.list("deferred", deferred);
}

/// Reads what another dialect said and this one cannot say yet: it is not in force, and is told so.
fn deferred(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let text = cx.name(node)?;
    cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, node.span, text));
    Some(())
}

/// Reads a section that is a list of items in full, and says whether it is one.
fn full<F>(fields: &mut Fields<'_, '_, '_>, name: &'static str, sink: &mut Sink<'_>, shelf: &item::Shelf<F::Of>) -> bool
where
    F: form::Form,
    F::Of: item::Named,
{
    let is_list = fields
        .node(name)
        .is_some_and(|node| matches!(node.value, Value::Sequence(_)));
    if is_list {
        fields.optional(name, |cx, node| item::items::<F>(cx, node, sink, shelf));
    }
    is_list
}

/// Where a section is read into.
struct Sink<'p> {
    policy: &'p mut Policy,
    ledger: &'p mut Ledger,
    scope: Scope<'p>,
}

/// Reads a mapping from names that the user chooses.
fn each(fields: &mut Fields<'_, '_, '_>, name: &'static str, mut read: impl FnMut(&Reader<'_>, &Key, &Node)) {
    fields.optional(name, |cx, node| {
        let Value::Mapping(entries) = &node.value else {
            return cx.wrong_type(node, "a mapping");
        };
        entries.iter().for_each(|(key, node)| read(cx, key, node));
        Some(())
    });
}

/// A section without a value is a section that got lost, such as rules of which only the title is left.
fn check_sections(cx: &Reader<'_>, node: &Node) {
    refuse_nothing(cx, node, "the section");
    let defines = |(key, value): &(Key, Node)| !value.is_null() && &*key.name != "namespace";
    if !node.entries().iter().any(defines) && node.entries().iter().all(|(_, value)| !value.is_null()) {
        let message = "the document defines nothing: it has only a namespace";
        cx.report(Diagnostic::new(Code::NO_DOCUMENT, node.span, message));
    }
}

/// Refuses fields without a value.
fn refuse_nothing(cx: &Reader<'_>, node: &Node, what: &str) {
    for (key, _) in node.entries().iter().filter(|(_, value)| value.is_null()) {
        let message = format!("{what} {} has no value", quoted(&key.name));
        cx.report(
            Diagnostic::new(Code::INVALID_VALUE, key.span, message).with_help("leave it out if nothing is meant"),
        );
    }
}

#[cfg(test)]
mod tests;
