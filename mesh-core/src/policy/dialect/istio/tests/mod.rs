//! Documents in, model or exact diagnostics out.

use crate::policy::diagnostic::{Diagnostic, Report};
use crate::policy::dialect::{DIALECTS, Object};
use crate::policy::model::{Meta, Policy};
use crate::policy::reader::{Reader, Spelling};
use crate::policy::source::{Document, Sources, parse};

mod authorization_policy;
mod authorization_when;
mod client_tls;
mod delegates;
mod destination_rule;
mod extension_provider;
mod files;
mod filters;
mod gateway;
mod header_conditions;
mod kinds;
mod load_balancer;
mod mesh_config;
mod names;
mod peer_authentication;
mod service_entry;
mod sidecar;
mod virtual_service;

/// What became of some text.
struct Loaded {
    policy: Policy,
    /// `line:column: severity[CODE]: message`, in order.
    lines: Vec<String>,
    diagnostics: Vec<Diagnostic>,
}

fn load(text: &str) -> Loaded {
    let mut sources = Sources::new();
    let mut report = Report::new();
    let file = sources.add("f", text);
    let documents = parse(&sources, file, &mut report);
    let mut policy = Policy::default();
    let cx = Reader::new(&sources, &mut report).with_spelling(Spelling::CamelOrSnake);
    let is_settings =
        |document: &&Document| document.root.get("kind").and_then(|kind| kind.as_text()) == Some("IstioOperator");
    for document in documents.iter().filter(is_settings) {
        lower(&cx, document, &mut policy);
    }
    for document in documents.iter().filter(|document| !is_settings(document)) {
        lower(&cx, document, &mut policy);
    }
    let lines = report.lines(&sources);
    let lines = lines
        .into_iter()
        .map(|line| line.trim_start_matches("f:").to_owned())
        .collect();
    let diagnostics = report.sorted(&sources).into_iter().cloned().collect();
    Loaded {
        policy,
        lines,
        diagnostics,
    }
}

/// Reads the envelope only as far as the tests need it.
fn lower(cx: &Reader<'_>, document: &Document, policy: &mut Policy) {
    let root = &document.root;
    let text = |name: &str| root.get(name).and_then(|node| node.as_text());
    let metadata = |name: &str| root.get("metadata").and_then(|node| node.get(name)?.as_text());
    let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return;
    };
    let object = Object {
        api_version,
        kind,
        meta: Meta {
            name: metadata("name").unwrap_or_default().into(),
            namespace: metadata("namespace").unwrap_or("default").into(),
            created: 0,
            origin: cx.origin(root.span),
        },
        spec: root.get("spec").filter(|node| !node.is_null()),
        node: root,
    };
    if let Some(dialect) = DIALECTS.iter().find(|dialect| (dialect.knows)(api_version, kind)) {
        (dialect.lower)(cx, &object, policy);
    }
}

/// An object of this kind in the namespace `shop`; its `spec` begins in line 3.
fn object(kind: &str, spec: &str) -> String {
    let group = match kind {
        "PeerAuthentication" | "AuthorizationPolicy" => "security.istio.io",
        _ => "networking.istio.io",
    };
    format!(
        "{{ apiVersion: {group}/v1, kind: {kind}, metadata: {{ name: test, namespace: shop }}, spec:\n{{\n{spec}\n}}}}"
    )
}

fn load_spec(kind: &str, spec: &str) -> Loaded {
    load(&object(kind, spec))
}

/// The policy of a document without a finding.
#[track_caller]
fn clean(kind: &str, spec: &str) -> Policy {
    let loaded = load_spec(kind, spec);
    assert_eq!(loaded.lines, [""; 0], "{spec}");
    loaded.policy
}

/// Each document, beside all that is said about it.
#[track_caller]
fn assert_lines(kind: &str, table: &[(&str, &[&str])]) {
    let mut failures = Vec::new();
    for (spec, expected) in table {
        let lines = load_spec(kind, spec).lines;
        if lines != *expected {
            failures.push(format!("{spec}\n  expected {expected:#?}\n  found {lines:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
