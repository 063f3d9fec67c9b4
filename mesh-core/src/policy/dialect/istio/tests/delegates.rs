use super::*;
use crate::policy::load as load_all;
use crate::policy::model::route::{RouteRule, StringMatch};

/// Files of one virtual service each: `ns/name`, and its `spec`, which begins in line 3.
fn load_files(files: &[(&str, &str)]) -> (Option<Policy>, Vec<String>) {
    let mut sources = Sources::new();
    for (name, spec) in files {
        let (namespace, short) = name.split_once('/').unwrap();
        let text = format!(
            "{{ apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{ name: {short}, namespace: {namespace} }}, spec:\n{{\n{spec}\n}}}}"
        );
        sources.add(*name, text);
    }
    let mut report = Report::new();
    let policy = load_all(&sources, &mut report);
    (policy, report.lines(&sources))
}

const TO_A: &str = "route: [{ destination: { host: a } }]";

/// The rules that a root and a delegate, both of these rules, make together, and what is said about them.
fn merged(root: &str, leaf: &str) -> (Vec<RouteRule>, Vec<String>) {
    let root = format!("hosts: [web], http: [{{ {root}, delegate: {{ name: d }} }}, {{ name: last, {TO_A} }}]");
    let leaf = format!("http: [{leaf}]");
    let (policy, lines) = load_files(&[("shop/r", &root), ("shop/d", &leaf)]);
    let mut rules = policy.unwrap().routes.remove(0).rules;
    assert_eq!(rules.pop().unwrap().name.as_deref(), Some("last"));
    (rules.to_vec(), lines)
}

fn paths(rules: &[RouteRule]) -> Vec<Option<StringMatch>> {
    rules
        .iter()
        .flat_map(|rule| &rule.matches)
        .map(|one| one.path.clone())
        .collect()
}

#[test]
fn the_rules_of_a_delegate_stand_in_the_place_of_the_rule_that_delegates() {
    let (rules, lines) = merged(
        "name: product, match: [{ uri: { prefix: /productpage } }]",
        &format!("{{ name: v1, match: [{{ uri: {{ prefix: /productpage/v1 }} }}], {TO_A} }}, {{ {TO_A} }}"),
    );
    assert_eq!(lines, [""; 0]);
    let prefix = |text: &str| Some(StringMatch::Prefix(text.into()));
    assert_eq!(paths(&rules), [prefix("/productpage/v1"), prefix("/productpage")]);
    let names: Vec<_> = rules.iter().map(|rule| rule.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["product-v1", "product"]);
    assert!(rules.iter().all(|rule| rule.delegate.is_none()));
    assert_eq!(rules[0].origin.to_string(), "shop/d:3:8");
    assert_eq!(rules[0].delegated.as_ref().unwrap().to_string(), "shop/r:3:93");
}

#[test]
fn conditions_of_both_must_hold() {
    let (rules, lines) = merged(
        "match: [{ name: m, uri: { prefix: /a }, headers: { x: { exact: '1' }, y: {} }, port: 80, sourceLabels: { app: web } }]",
        &format!(
            "{{ match: [{{ name: n, uri: {{ exact: /ab }}, method: {{ exact: GET }}, headers: {{ x: {{ exact: '1' }}, z: {{}} }}, queryParams: {{ q: {{}} }}, sourceLabels: {{ v: '2' }} }}], {TO_A} }}"
        ),
    );
    assert_eq!(lines, [""; 0]);
    let found = &rules[0].matches[0];
    assert_eq!(found.name.as_deref(), Some("m-n"));
    assert_eq!(found.path, Some(StringMatch::Exact("/ab".into())));
    assert_eq!(found.method, Some(StringMatch::Exact("GET".into())));
    let names: Vec<&str> = found.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x", "z", "y"]);
    assert_eq!(
        (found.query.len(), found.port, found.source_labels.len()),
        (1, Some(80), 2)
    );
}

#[test]
fn each_match_of_the_delegate_stands_under_every_match_it_fits() {
    let (rules, _) = merged(
        "match: [{ uri: { prefix: / } }, { uri: { prefix: /a } }, { uri: { prefix: /z } }]",
        &format!("{{ match: [{{ uri: {{ prefix: /a }} }}], {TO_A} }}"),
    );
    assert_eq!(paths(&rules).len(), 2);
}

#[test]
fn a_rule_that_contradicts_the_one_that_delegates_is_left_out() {
    let told = "shop/d:3:8: warning[MESH0505]: no request can meet the conditions of this rule and of the one that delegates to it";
    for (root, leaf) in [
        ("uri: { exact: /a }", "uri: { exact: /b }"),
        ("uri: { exact: /a }", "uri: { prefix: /a }"),
        ("uri: { prefix: /a }", "uri: { prefix: /b }"),
        ("uri: { regex: /a }", "uri: { exact: /a }"),
        ("uri: { prefix: /a }", "uri: { regex: /a }"),
        ("uri: { prefix: /a }, ignoreUriCase: true", "uri: { prefix: /a }"),
        ("method: { exact: GET }", "method: { exact: PUT }"),
        ("headers: { x: { exact: a } }", "headers: { x: {} }"),
        (
            "withoutHeaders: { x: { exact: a } }",
            "withoutHeaders: { x: { exact: b } }",
        ),
        ("queryParams: { x: { exact: a } }", "queryParams: { x: { exact: b } }"),
        ("port: 80", "port: 81"),
        ("sourceNamespace: x", "port: 81"),
        ("sourceLabels: { a: b }", "sourceLabels: { a: c }"),
        ("gateways: [mesh]", "gateways: [g]"),
    ] {
        let (rules, lines) = merged(
            &format!("match: [{{ {root} }}]"),
            &format!("{{ match: [{{ {leaf} }}], {TO_A} }}, {{ {TO_A} }}"),
        );
        assert_eq!(rules.len(), 1, "{root} {leaf}");
        assert!(lines.contains(&told.to_owned()), "{root} {leaf}: {lines:?}");
    }
}

#[test]
fn the_same_gateway_is_the_same_wherever_it_is_named() {
    let (rules, _) = merged(
        "match: [{ gateways: [mesh, ./g] }]",
        &format!("{{ match: [{{ gateways: [g] }}], {TO_A} }}"),
    );
    assert_eq!(rules.len(), 1);
}

#[test]
fn what_the_delegate_does_not_say_the_root_says() {
    let says = "timeout: 1s, retries: { attempts: 1 }, rewrite: { uri: /r }, corsPolicy: { allowOrigins: [{ exact: a }] }, headers: { request: { remove: [x] } }, mirror: { host: m }, fault: { delay: { fixedDelay: 1s, percentage: { value: 1 } } }";
    let (rules, _) = merged(says, &format!("{{ {TO_A} }}"));
    let rule = &rules[0];
    assert!(rule.timeout.is_some() && rule.retry.is_some() && rule.rewrite.is_some() && rule.cors.is_some());
    assert!(!rule.headers.is_empty() && rule.mirrors.len() == 1 && rule.fault.is_some());
    let (rules, _) = merged(says, &format!("{{ {TO_A}, timeout: 2s, rewrite: {{ authority: b }} }}"));
    assert_eq!(rules[0].timeout, Some(std::time::Duration::from_secs(2)));
    assert_eq!(rules[0].rewrite.as_ref().unwrap().path, None);
}

#[test]
fn the_authority_that_headers_set_is_merged_with_the_headers() {
    let host = |name: &str| format!("headers: {{ request: {{ set: {{ host: {name} }} }} }}");
    let found = |root: &str, leaf: &str| {
        let (rules, _) = merged(root, &format!("{{ {leaf}, {TO_A} }}"));
        let rewrite = rules[0].rewrite.clone().unwrap();
        (rewrite.authority, rewrite.path.is_some(), !rules[0].headers.is_empty())
    };
    let authority = |name: &str| Some(name.to_owned());
    let path = "rewrite: { uri: /r }";
    let remove = "headers: { request: { remove: [x] } }";
    // A delegate's own rewrite leaves the headers of the root in place, and the other way round.
    assert_eq!(found(&host("h"), path), (authority("h"), true, false));
    assert_eq!(found(path, &host("h")), (authority("h"), true, false));
    // Headers of the delegate take the place of all headers of the root.
    assert_eq!(found(&format!("{path}, {}", host("h")), remove), (None, true, true));
    assert_eq!(
        found(&format!("{path}, {remove}"), &host("h")),
        (authority("h"), true, false)
    );
    assert_eq!(
        found(&host("h"), "rewrite: { authority: r }"),
        (authority("r"), false, false)
    );
}

#[test]
fn a_delegate_that_is_not_there_takes_no_request() {
    let root = format!("hosts: [web], http: [{{ delegate: {{ name: gone, namespace: far }} }}, {{ {TO_A} }}]");
    let (policy, lines) = load_files(&[("shop/r", &root)]);
    assert_eq!(
        lines,
        [
            "shop/r:3:34: warning[MESH0506]: no file defines `far/gone`, a virtual service without `hosts`: the rule takes no request"
        ]
    );
    assert_eq!(policy.unwrap().routes[0].rules.len(), 1);
}

#[test]
fn the_nearest_delegate_is_looked_for_a_limited_number_of_times() {
    let to = |name: &str| format!("{{ delegate: {{ name: {name} }} }}");
    let rules: Vec<String> = std::iter::once(to("delegate"))
        .chain((0..60).map(|_| to("delegat")))
        .collect();
    let root = format!("hosts: [web], http: [{}]", rules.join(", "));
    let object = |name: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n"
        )
    };
    let leaf = object("delegate", &format!("http: [{{ {TO_A} }}]"));
    let loaded = crate::policy::Loaded::from_files([("r", object("r", &root)), ("d", leaf)]);
    let told = loaded.report.sorted(&loaded.sources);
    let missing = told.iter().filter(|one| one.message.contains("`default/delegat`"));
    let helped = told
        .iter()
        .filter(|one| one.help.as_deref() == Some("did you mean `default/delegate`?"));
    assert_eq!((missing.count(), helped.count()), (60, 50));
}

#[test]
fn a_delegate_must_be_exported_to_who_delegates() {
    let root = "hosts: [web], http: [{ delegate: { name: d, namespace: far } }]";
    let leaf = format!("exportTo: ['.'], http: [{{ {TO_A} }}]");
    let (policy, lines) = load_files(&[("shop/r", root), ("far/d", &leaf)]);
    assert_eq!(
        lines,
        ["shop/r:3:34: warning[MESH0506]: `far/d` is not exported to namespace `shop`: the rule takes no request"]
    );
    // A table without rules claims no host.
    assert!(policy.unwrap().routes.is_empty());
}

#[test]
fn a_delegate_to_which_nobody_delegates_is_told() {
    let leaf = format!("http: [{{ {TO_A} }}]");
    let root = format!("hosts: [web], http: [{{ {TO_A} }}]");
    let (policy, lines) = load_files(&[("shop/r", &root), ("shop/d", &leaf)]);
    assert_eq!(
        lines,
        [
            "shop/d:1:1: warning[MESH0505]: virtual service `d` has no effect: it has no `hosts`, and no rule delegates to it"
        ]
    );
    assert!(policy.unwrap().delegates.is_empty());
}

#[test]
fn beside_documents_with_errors_nothing_is_missing() {
    let root = "hosts: [web], http: [{ delegate: { name: d } }]";
    let (policy, lines) = load_files(&[("shop/r", root), ("shop/d", "http: [{}]")]);
    assert!(policy.is_none());
    assert_eq!(
        lines,
        ["shop/d:3:8: error[MESH0103]: missing field `route`, `redirect`, `directResponse` or `delegate`"]
    );
}

#[test]
fn a_delegate_has_rules_only_and_delegates_no_further() {
    assert_lines(
        "VirtualService",
        &[
            (
                &format!("gateways: [g], http: [{{ {TO_A} }}]"),
                &[
                    "3:1: error[MESH0301]: `gateways` cannot stand in a virtual service without `hosts`, which only takes what others delegate",
                ],
            ),
            (
                "http: [{ delegate: { name: other } }]",
                &["3:20: error[MESH0301]: a delegate cannot delegate again: name the last one in the rule that begins"],
            ),
            (
                "hosts: [a], http: [{ delegate: { namespace: x } }]",
                &["3:32: error[MESH0103]: missing field `name`"],
            ),
        ],
    );
}
