//! Documents in, model or exact diagnostics out.

use crate::policy::Loaded;
use crate::policy::model::Policy;
use crate::policy::model::route::{RouteRule, RouteTable};

mod attachment;
mod files;
mod filters;
mod gateway;
mod grpc_route;
mod http_route;
mod refused;
mod streams;

const GROUP: &str = "gateway.networking.k8s.io/v1";

/// All findings, each `line:column: severity[CODE]: message`.
fn lines(text: &str) -> Vec<String> {
    let loaded = Loaded::from_files([("f", text)]);
    let lines = loaded.report.lines(&loaded.sources);
    lines
        .iter()
        .map(|line| line.trim_start_matches("f:").to_owned())
        .collect()
}

/// The policy of documents without a finding.
#[track_caller]
fn clean(text: &str) -> Policy {
    assert_eq!(lines(text), [""; 0], "{text}");
    Loaded::from_files([("f", text)]).policy.unwrap()
}

/// The policy of documents that have warnings only.
fn warned(text: &str) -> Policy {
    Loaded::from_files([("f", text)]).policy.unwrap()
}

fn object(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: {GROUP}\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {namespace} }}\nspec:\n  {spec}\n---\n"
    )
}

/// A route of the service `echo` with one rule, which begins in line 7, column 5.
fn http(rule: &str) -> String {
    let spec = format!("parentRefs: [{{ group: '', kind: Service, name: echo }}]\n  rules:\n  - {rule}");
    object("HTTPRoute", "shop", "r", &spec)
}

/// A route of the gateway `door` of the same namespace.
fn at_door(kind: &str, name: &str, hosts: &str, rule: &str) -> String {
    let spec = format!("{{ parentRefs: [{{ name: door }}], hostnames: [{hosts}], rules: [{rule}] }}");
    object(kind, "shop", name, &spec)
}

fn door(listeners: &str) -> String {
    object(
        "Gateway",
        "shop",
        "door",
        &format!("{{ gatewayClassName: mesh, listeners: [{listeners}] }}"),
    )
}

const TO_A: &str = "backendRefs: [{ name: a, port: 80 }]";

fn table(policy: &Policy) -> &RouteTable {
    let [table] = policy.routes.as_slice() else {
        panic!("{} tables", policy.routes.len())
    };
    table
}

fn rule(policy: &Policy) -> &RouteRule {
    &table(policy).rules[0]
}

/// Each rule, beside all that is said about it.
#[track_caller]
fn assert_lines(cases: &[(&str, &[&str])]) {
    let cases: Vec<_> = cases.iter().map(|(rule, expected)| (http(rule), *expected)).collect();
    assert_told(&cases);
}

/// Documents, beside all that is said about them.
#[track_caller]
fn assert_told(cases: &[(String, &[&str])]) {
    let mut failures = Vec::new();
    for (text, expected) in cases {
        let found = lines(text);
        if found != *expected {
            failures.push(format!("{text}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
