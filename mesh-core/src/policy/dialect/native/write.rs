//! Printing: a policy of any dialect as native documents, and the schema of these.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::authorizer::AuthorizerForm;
use super::destination::DestinationForm;
use super::endpoint::{EndpointForm, WorkloadForm};
use super::form::schema::Object;
use super::form::{Form, List, Schema, Text, Tree};
use super::gateway::GatewayForm;
use super::item::{Named, section};
use super::jwt::RequestAuthenticationForm;
use super::profile::ProfileForm;
use super::server::{RateLimitForm, ServerForm};
use super::service::ServiceForm;
use super::sidecar::SidecarForm;
use super::telemetry::TelemetryForm;
use super::{authorization, destination, gateway, mesh, mtls, profile, route, service};
use crate::policy::model::{MeshSettings, Policy};

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
    let spaces = namespaces(policy);
    documents.extend(spaces.into_iter().map(|namespace| document(policy, namespace)));
    documents
}

/// The namespaces of all items.
fn namespaces(policy: &Policy) -> BTreeSet<&str> {
    let mut all = BTreeSet::new();
    add(&mut all, &policy.services);
    add(&mut all, &policy.workload_entries);
    add(&mut all, &policy.destinations);
    add(&mut all, &policy.routes);
    add(&mut all, &policy.profiles);
    add(&mut all, &policy.gateways);
    add(&mut all, &policy.peer_authentications);
    add(&mut all, &policy.authorizations);
    add(&mut all, &policy.authorizers);
    add(&mut all, &policy.sidecars);
    add(&mut all, &policy.servers);
    add(&mut all, &policy.rate_limits);
    add(&mut all, &policy.request_authentications);
    add(&mut all, &policy.telemetries);
    all
}

fn add<'p, T: Named>(all: &mut BTreeSet<&'p str>, items: &'p [T]) {
    all.extend(items.iter().map(|item| item.meta().namespace.as_str()));
}

fn document(policy: &Policy, at: &str) -> Tree {
    let tokens = &policy.request_authentications;
    let mut map = Tree::map();
    map.put("namespace", Tree::text(at));
    for (name, items) in [
        ("services", section(&policy.services, at, ServiceForm::write)),
        ("workloads", section(&policy.workload_entries, at, WorkloadForm::write)),
        (
            "destinations",
            section(&policy.destinations, at, DestinationForm::write),
        ),
        ("routes", section(&policy.routes, at, route::write_table)),
        ("profiles", section(&policy.profiles, at, ProfileForm::write)),
        ("gateways", section(&policy.gateways, at, GatewayForm::write)),
        ("mtls", section(&policy.peer_authentications, at, mtls::write)),
        (
            "authorization",
            section(&policy.authorizations, at, authorization::write_policy),
        ),
        ("authorizers", section(&policy.authorizers, at, AuthorizerForm::write)),
        ("sidecars", section(&policy.sidecars, at, SidecarForm::write)),
        ("servers", section(&policy.servers, at, ServerForm::write)),
        ("rate_limits", section(&policy.rate_limits, at, RateLimitForm::write)),
        (
            "request_authentication",
            section(tokens, at, RequestAuthenticationForm::write),
        ),
        ("telemetry", section(&policy.telemetries, at, TelemetryForm::write)),
    ] {
        map.put(name, items);
    }
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
    let mut object = Object::default();
    settings(&mut schema, &mut object);
    traffic(&mut schema, &mut object);
    access(&mut schema, &mut object);
    schema.finish(object.close())
}

fn settings(it: &mut Schema, object: &mut Object) {
    object.property("namespace", Text::schema(it), false);
    object.property("mesh", mesh::schema(it), false);
    object.property("deferred", List::<Text>::schema(it), false);
}

/// A section that is a mapping by name, or a list of items in full.
fn both<F: Form>(short: &Json, schema: &mut Schema) -> Json {
    let full = List::<F>::schema(schema);
    json!({ "oneOf": [{ "type": "object", "additionalProperties": short }, full] })
}

fn list(item: &Json) -> Json {
    json!({ "type": "array", "items": item })
}

fn traffic(it: &mut Schema, object: &mut Object) {
    object.property("services", both::<ServiceForm>(&service::short_schema(it), it), false);
    object.property("workloads", both::<WorkloadForm>(&EndpointForm::schema(it), it), false);
    let short = destination::short_schema(it);
    object.property("destinations", both::<DestinationForm>(&short, it), false);
    object.property("routes", list(&route::table_schema(it)), false);
    object.property("profiles", both::<ProfileForm>(&profile::short_schema(it), it), false);
    object.property("gateways", both::<GatewayForm>(&gateway::short_schema(it), it), false);
    object.property("sidecars", List::<SidecarForm>::schema(it), false);
}

fn access(it: &mut Schema, object: &mut Object) {
    object.property("mtls", list(&mtls::schema(it)), false);
    object.property("authorization", list(&authorization::schema(it)), false);
    object.property("authorizers", List::<AuthorizerForm>::schema(it), false);
    object.property("servers", List::<ServerForm>::schema(it), false);
    object.property("rate_limits", List::<RateLimitForm>::schema(it), false);
    let tokens = List::<RequestAuthenticationForm>::schema(it);
    object.property("request_authentication", tokens, false);
    object.property("telemetry", List::<TelemetryForm>::schema(it), false);
}
