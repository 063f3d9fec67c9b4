//! Printing: a policy of any dialect as native documents, and the schema of these.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::form::{Form, List, Schema, Text, Tree};
use super::item::section;
use super::{
    authorization, destination, endpoint, gateway, jwt, mesh, mtls, profile, route, server, service, sidecar, telemetry,
};
use crate::policy::model::{MeshSettings, Meta, Policy};

/// Prints a policy as documents: one with the settings of the mesh, where they are not the default, and one for each namespace.
///
/// Reading them gives the same policy, but for the places where its items were written.
#[must_use]
pub fn write(policy: &Policy) -> Vec<Tree> {
    let mut documents = Vec::new();
    if policy.mesh != MeshSettings::default() {
        let mut map = Tree::map();
        map.put("mesh", mesh::write(&policy.mesh));
        documents.push(map);
    }
    let spaces: BTreeSet<&str> = metas(policy).iter().map(|meta| meta.namespace.as_str()).collect();
    documents.extend(spaces.into_iter().map(|namespace| document(policy, namespace)));
    documents
}

/// Name and place of all items.
fn metas(policy: &Policy) -> Vec<&Meta> {
    let mut all: Vec<&Meta> = Vec::new();
    all.extend(policy.services.iter().map(|one| &one.meta));
    all.extend(policy.workload_entries.iter().map(|one| &one.meta));
    all.extend(policy.destinations.iter().map(|one| &one.meta));
    all.extend(policy.routes.iter().map(|one| &one.meta));
    all.extend(policy.profiles.iter().map(|one| &one.meta));
    all.extend(policy.gateways.iter().map(|one| &one.meta));
    all.extend(policy.peer_authentications.iter().map(|one| &one.meta));
    all.extend(policy.authorizations.iter().map(|one| &one.meta));
    all.extend(policy.sidecars.iter().map(|one| &one.meta));
    all.extend(policy.servers.iter().map(|one| &one.meta));
    all.extend(policy.rate_limits.iter().map(|one| &one.meta));
    all.extend(policy.request_authentications.iter().map(|one| &one.meta));
    all.extend(policy.telemetries.iter().map(|one| &one.meta));
    all
}

fn document(policy: &Policy, namespace: &str) -> Tree {
    let mut map = Tree::map();
    map.put("namespace", Tree::text(namespace));
    let it = &mut map;
    section(
        it,
        "services",
        &policy.services,
        |one| &one.meta,
        namespace,
        service::ServiceForm::write,
    );
    let workloads = &policy.workload_entries;
    section(
        it,
        "workloads",
        workloads,
        |one| &one.meta,
        namespace,
        endpoint::WorkloadForm::write,
    );
    let destinations = &policy.destinations;
    section(
        it,
        "destinations",
        destinations,
        |one| &one.meta,
        namespace,
        destination::DestinationForm::write,
    );
    section(
        it,
        "routes",
        &policy.routes,
        |one| &one.meta,
        namespace,
        route::write_table,
    );
    section(
        it,
        "profiles",
        &policy.profiles,
        |one| &one.meta,
        namespace,
        profile::ProfileForm::write,
    );
    section(
        it,
        "gateways",
        &policy.gateways,
        |one| &one.meta,
        namespace,
        gateway::GatewayForm::write,
    );
    section(
        it,
        "mtls",
        &policy.peer_authentications,
        |one| &one.meta,
        namespace,
        mtls::write,
    );
    let policies = &policy.authorizations;
    section(
        it,
        "authorization",
        policies,
        |one| &one.meta,
        namespace,
        authorization::write_policy,
    );
    section(
        it,
        "sidecars",
        &policy.sidecars,
        |one| &one.meta,
        namespace,
        sidecar::SidecarForm::write,
    );
    section(
        it,
        "servers",
        &policy.servers,
        |one| &one.meta,
        namespace,
        server::ServerForm::write,
    );
    section(
        it,
        "rate_limits",
        &policy.rate_limits,
        |one| &one.meta,
        namespace,
        server::RateLimitForm::write,
    );
    let tokens = &policy.request_authentications;
    section(
        it,
        "request_authentication",
        tokens,
        |one| &one.meta,
        namespace,
        jwt::RequestAuthenticationForm::write,
    );
    section(
        it,
        "telemetry",
        &policy.telemetries,
        |one| &one.meta,
        namespace,
        telemetry::TelemetryForm::write,
    );
    map
}

/// A document of what is not yet in force.
pub(in crate::policy) fn deferring(texts: Vec<String>) -> Tree {
    let mut map = Tree::map();
    map.put("deferred", Tree::List(texts.into_iter().map(Tree::Text).collect()));
    map
}

/// The JSON Schema (draft 2020-12) of a native document.
#[must_use]
pub fn schema() -> Json {
    let mut schema = Schema::default();
    let root = {
        let mut object = super::form::schema::Object::default();
        let it = &mut schema;
        object.property("namespace", Text::schema(it), false);
        object.property("mesh", mesh::schema(it), false);
        let both =
            |short: Json, full: Json| json!({ "oneOf": [{ "type": "object", "additionalProperties": short }, full] });
        let services = both(service::short_schema(it), List::<service::ServiceForm>::schema(it));
        object.property("services", services, false);
        let workloads = both(
            endpoint::EndpointForm::schema(it),
            List::<endpoint::WorkloadForm>::schema(it),
        );
        object.property("workloads", workloads, false);
        let destinations = both(
            destination::short_schema(it),
            List::<destination::DestinationForm>::schema(it),
        );
        object.property("destinations", destinations, false);
        let routes = json!({ "type": "array", "items": route::table_schema(it) });
        object.property("routes", routes, false);
        let profiles = both(profile::short_schema(it), List::<profile::ProfileForm>::schema(it));
        object.property("profiles", profiles, false);
        let gateways = both(gateway::short_schema(it), List::<gateway::GatewayForm>::schema(it));
        object.property("gateways", gateways, false);
        object.property("mtls", json!({ "type": "array", "items": mtls::schema(it) }), false);
        let authorization = json!({ "type": "array", "items": authorization::schema(it) });
        object.property("authorization", authorization, false);
        object.property("sidecars", List::<sidecar::SidecarForm>::schema(it), false);
        object.property("servers", List::<server::ServerForm>::schema(it), false);
        object.property("rate_limits", List::<server::RateLimitForm>::schema(it), false);
        let tokens = List::<jwt::RequestAuthenticationForm>::schema(it);
        object.property("request_authentication", tokens, false);
        object.property("telemetry", List::<telemetry::TelemetryForm>::schema(it), false);
        object.property("deferred", List::<Text>::schema(it), false);
        object.close()
    };
    schema.finish(root)
}
