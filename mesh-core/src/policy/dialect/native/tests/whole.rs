//! Whole documents: the example of the documentation, sections, spelling.

use std::time::Duration;

use http::HeaderName;

use super::*;
use crate::policy::convert;
use crate::policy::model::authz::{Action, Pattern};
use crate::policy::model::filter::Fraction;
use crate::policy::model::identity::MtlsMode;
use crate::policy::model::route::{Binding, StringMatch};
use crate::policy::model::service::EndpointSource;
use crate::policy::model::traffic::{Algorithm, Limits, OutlierDetection, RetryCondition};
use crate::policy::model::{AccessLog, AccessLogEncoding, Labels, OutboundMode};

const EXAMPLE: &str = r#"
mesh: { trust_domain: cluster.local, mtls: strict }
services:
  orders:
    hosts: [orders, orders.production.svc.cluster.local]     # default: the key
    endpoints:
      - { address: 10.0.0.4:8080, labels: { version: v1 } }
      - { address: 10.0.0.5:8080, labels: { version: v2 }, zone: eu-west-1a, weight: 2 }
    subsets: { v1: { version: v1 }, v2: { version: v2 } }
    routes:
      - name: canary-testers
        match: { headers: { x-version: canary } }
        to: v2
      - to: { v1: 90, v2: 10 }
        timeout: 10s
        retry: { attempts: 3, per_try_timeout: 3s, on: [5xx, reset, connect-failure] }
    balance: least_request
    limits: { connections: 100, pending: 100, requests: 1000 }
    outliers: { consecutive_5xx: 5, interval: 30s, base_ejection: 30s, max_ejected_percent: 50 }
authorization:
  - name: orders-api
    service: orders
    allow:
      - { from: [cluster.local/ns/production/sa/api-service], methods: [GET, POST], paths: ["/api/orders*"] }
"#;

const FULL: &str = "orders.default.svc.cluster.local";

fn labels(key: &str, value: &str) -> Labels {
    Labels::from([(key.into(), value.into())])
}

#[test]
fn the_example_says_where_orders_are() {
    let policy = clean(EXAMPLE);
    let service = &policy.services[0];
    assert_eq!(service.hosts, [FULL, "orders.production.svc.cluster.local"]);
    assert_eq!(service.meta.origin.to_string(), "f:4:3");
    let EndpointSource::Listed(endpoints) = &service.endpoints else {
        panic!("endpoints are listed");
    };
    assert_eq!(
        (endpoints[0].address.as_str(), endpoints[0].port),
        ("10.0.0.4", Some(8080))
    );
    assert_eq!(
        (endpoints[0].weight, &endpoints[0].labels),
        (1, &labels("version", "v1"))
    );
    assert_eq!(
        (endpoints[1].weight, &endpoints[1].labels),
        (2, &labels("version", "v2"))
    );
    assert_eq!(endpoints[1].locality, "/eu-west-1a");
    assert_eq!(endpoints[1].origin.to_string(), "f:8:9");
}

#[test]
fn the_example_routes_testers_to_the_canary_and_splits_the_rest() {
    let policy = clean(EXAMPLE);
    let table = &policy.routes[0];
    let hosts: Vec<&str> = table.hosts.iter().map(|host| host.host.as_str()).collect();
    assert_eq!(hosts, [FULL, "orders.production.svc.cluster.local"]);
    assert_eq!(
        (table.meta.name.as_str(), table.bindings.as_slice()),
        ("orders", [Binding::Mesh].as_slice())
    );
    let [testers, rest] = table.rules.as_slice() else {
        panic!("two rules");
    };
    assert_eq!(testers.name.as_deref(), Some("canary-testers"));
    let canary = (
        HeaderName::from_static("x-version"),
        StringMatch::Exact("canary".into()),
    );
    assert_eq!(testers.matches[0].headers, [canary]);
    assert_eq!(testers.destinations[0].subset.as_deref(), Some("v2"));
    let shares: Vec<_> = rest
        .destinations
        .iter()
        .map(|one| (one.host.as_str(), one.subset.as_deref(), one.weight))
        .collect();
    assert_eq!(shares, [(FULL, Some("v1"), 90), (FULL, Some("v2"), 10)]);
    assert_eq!(
        (rest.timeout, rest.origin.to_string()),
        (Some(Duration::from_secs(10)), "f:14:9".into())
    );
    let retry = rest.retry.as_ref().unwrap();
    assert_eq!(
        (retry.attempts, retry.per_try_timeout),
        (3, Some(Duration::from_secs(3)))
    );
    let on = [
        RetryCondition::FiveXx,
        RetryCondition::Reset,
        RetryCondition::ConnectFailure,
    ];
    assert_eq!(retry.on.conditions, on);
}

#[test]
fn the_example_limits_and_ejects() {
    let policy = clean(EXAMPLE);
    let destination = &policy.destinations[0];
    assert_eq!(
        (destination.host.as_str(), &destination.meta),
        (FULL, &policy.services[0].meta)
    );
    let subsets: Vec<_> = destination
        .subsets
        .iter()
        .map(|one| (one.name.as_str(), &one.labels))
        .collect();
    assert_eq!(
        subsets,
        [("v1", &labels("version", "v1")), ("v2", &labels("version", "v2"))]
    );
    assert_eq!(destination.traffic.balance, Some(Algorithm::LeastRequest));
    let limits = Limits {
        connections: Some(100),
        pending: Some(100),
        requests: Some(1000),
        ..Limits::default()
    };
    assert_eq!(destination.traffic.limits, Some(limits));
    let outliers = OutlierDetection {
        interval: Duration::from_secs(30),
        max_ejected_percent: 50,
        ..OutlierDetection::default()
    };
    assert_eq!(destination.traffic.outliers, Some(outliers));
}

#[test]
fn the_example_lets_one_caller_in_over_mtls() {
    let policy = clean(EXAMPLE);
    let mtls = &policy.peer_authentications[0];
    assert_eq!(
        (mtls.mode, mtls.meta.namespace.as_str()),
        (Some(MtlsMode::Strict), "istio-system")
    );
    assert_eq!(mtls.selector, Labels::new());
    let authorization = &policy.authorizations[0];
    assert_eq!(
        (authorization.meta.name.as_str(), authorization.action),
        ("orders-api", Action::Allow)
    );
    assert_eq!(authorization.selector, labels("app", "orders"));
    let rule = &authorization.rules[0];
    let caller = Pattern::Exact("cluster.local/ns/production/sa/api-service".into());
    assert_eq!(rule.from[0].principals.any_of, [caller]);
    let methods = ["GET", "POST"].map(|name| Pattern::Exact(name.into()));
    assert_eq!(rule.to[0].methods.any_of, methods);
    assert_eq!(rule.to[0].paths.any_of, [Pattern::Prefix("/api/orders".into())]);
    assert_eq!(rule.origin.to_string(), "f:24:9");
}

const PAGE: &str = include_str!("../../../../../../docs/policy.md");

/// The examples of the documentation.
fn examples() -> Vec<&'static str> {
    let blocks = PAGE.split("```yaml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn the_documentations_examples_are_clean() {
    for text in examples() {
        clean(text);
    }
    assert!(examples().len() >= 10, "{} examples", examples().len());
}

/// Those of what is not yet in force.
fn deferred_examples() -> Vec<&'static str> {
    let blocks = PAGE.split("```yml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn what_is_not_yet_in_force_is_read_and_told_at_each_field() {
    let loaded = Loaded::from_files([("f", deferred_examples()[0])]);
    let lines = loaded.report.lines(&loaded.sources);
    assert!(
        lines.iter().all(|line| line.contains("warning[MESH0401]")),
        "{lines:#?}"
    );
    assert!(lines.len() > 15, "{lines:#?}");
    assert!(loaded.policy.is_some());
    assert!(loaded.in_force().policy.is_none());
}

/// All names of fields in a schema.
fn properties(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            let names = map.get("properties").and_then(serde_json::Value::as_object);
            found.extend(names.into_iter().flat_map(|names| names.keys().cloned()));
            map.values().for_each(|value| properties(value, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| properties(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_schema_is_documented() {
    let mut names = std::collections::BTreeSet::new();
    properties(&super::super::schema(), &mut names);
    let is_told = |name: &String| PAGE.contains(&format!("`{name}`")) || PAGE.contains(&format!("{name}:"));
    let missing: Vec<&String> = names.iter().filter(|name| !is_told(name)).collect();
    assert!(
        missing.is_empty() && names.len() > 200,
        "{missing:?} of {}",
        names.len()
    );
}

/// M12.
#[test]
fn examples_are_the_same_when_they_are_printed_and_read_again() {
    for text in examples().into_iter().chain(deferred_examples()) {
        let loaded = Loaded::from_files([("f", text)]);
        let printed = |policy: &Policy| serde_json::to_string(&super::super::write(policy)).unwrap();
        let before = printed(loaded.policy.as_ref().unwrap());
        let documents: Vec<String> = super::super::write(loaded.policy.as_ref().unwrap())
            .iter()
            .map(|document| format!("---\n{}\n", serde_json::to_string(document).unwrap()))
            .collect();
        let again = Loaded::from_files([("again", documents.concat())]);
        let policy = again
            .policy
            .unwrap_or_else(|| panic!("{:#?}", again.report.lines(&again.sources)));
        assert_eq!(printed(&policy), before);
    }
}

#[test]
fn every_field_of_the_documentation_has_an_example() {
    let text = examples().concat() + &deferred_examples().concat();
    let cells = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split("`, `"));
    let names: Vec<&str> = names
        .map(|name| name.trim_end_matches('`').rsplit('.').next().unwrap())
        .collect();
    let missing: Vec<&&str> = names
        .iter()
        .filter(|name| !text.contains(&format!("{name}:")))
        .collect();
    assert!(missing.is_empty() && names.len() > 90, "{missing:?} of {}", names.len());
}

#[test]
fn every_section_is_documented() {
    for section in super::super::SECTIONS {
        let is_row = |line: &str| {
            line.starts_with(&format!("| `{section}` |"))
                || (line.starts_with("| [`") && line.contains(&format!("[`{section}`]")))
        };
        assert!(PAGE.lines().any(is_row), "{section}");
    }
}

#[test]
fn the_settings_of_the_mesh_are_read() {
    let policy = clean(
        "mesh: { trust_domain: td.example, root_namespace: root, cluster_domain: c.example, outbound: registry_only, access_log: { path: /dev/stdout, encoding: json } }",
    );
    assert_eq!(policy.mesh.trust_domain, "td.example");
    assert_eq!(policy.mesh.root_namespace, "root");
    assert_eq!(policy.mesh.cluster_domain, "c.example");
    assert_eq!(policy.mesh.outbound, OutboundMode::RegistryOnly);
    let log = AccessLog::new("/dev/stdout".into(), AccessLogEncoding::Json);
    assert_eq!(policy.mesh.access_log, Some(log));
    assert_eq!(policy.peer_authentications, []);

    let policy = clean("mesh: { access_log: { path: /dev/stdout, percent: 1 } }");
    let log = AccessLog::new("/dev/stdout".into(), AccessLogEncoding::Text).of_share(Fraction::from_percent(1.0));
    assert_eq!(policy.mesh.access_log, Some(log));
}

#[test]
fn settings_that_are_wrong_are_told() {
    assert_lines(
        "mesh: { @ }",
        &[
            ("trust_domian: a", &["9: error[MESH0101]: unknown field `trust_domian`"]),
            (
                "trust_domain: A.b, root_namespace: a.b, cluster_domain: 'a b'",
                &[
                    "23: error[MESH0104]: `trust_domain`: expected a domain such as `cluster.local`, in lower case, found `A.b`",
                    "44: error[MESH0104]: `root_namespace`: expected a namespace of lower-case letters, digits and `-`, at most 63, found `a.b`",
                    "65: error[MESH0104]: `cluster_domain`: expected a domain such as `cluster.local`, in lower case, found `a b`",
                ],
            ),
            (
                "mtls: STRICT, outbound: allow",
                &[
                    "15: error[MESH0104]: `mtls`: unknown value `STRICT`, expected `strict`, `permissive` or `disable`",
                    "33: error[MESH0104]: `outbound`: unknown value `allow`, expected `allow_any` or `registry_only`",
                ],
            ),
            (
                "access_log: { encoding: text }",
                &["21: error[MESH0103]: missing field `path`"],
            ),
            (
                "access_log: { path: a, percent: 0 }",
                &[
                    "41: error[MESH0104]: `percent`: expected a percentage above 0, found 0; leave `access_log` out for no log",
                ],
            ),
        ],
    );
}

#[test]
fn sections_that_are_misspelt_or_of_another_type_are_told() {
    assert_lines(
        "@",
        &[
            ("servces: {}", &["1: error[MESH0101]: unknown field `servces`"]),
            (
                "services: here",
                &["11: error[MESH0102]: `services`: expected a mapping, found the text `here`"],
            ),
            (
                "{ namespace: Shop, services: { a: } }",
                &[
                    "14: error[MESH0104]: `namespace`: expected a namespace of lower-case letters, digits and `-`, at most 63, found `Shop`",
                    "33: error[MESH0102]: `services`: expected a mapping, found nothing",
                ],
            ),
            (
                "authorization: { a: {} }",
                &["16: error[MESH0102]: `authorization`: expected a list, found a mapping"],
            ),
        ],
    );
    assert_eq!(help("servces: {}"), "did you mean `services`?");
}

const DEFERRED: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front, namespace: shop }
spec:
  servers:
    - { port: { number: 1, name: a, protocol: TCP }, hosts: ["*"] }
    - { port: { number: 2, name: b, protocol: TCP }, hosts: ["*"] }
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: users, namespace: shop }
spec: { jwtRules: [{ jwksUri: "https://id.example.com/keys" }] }
"#;

#[test]
fn only_what_no_field_tells_is_deferred_and_once() {
    let documents = convert::to_native(&load(DEFERRED)).unwrap();
    let [items, deferred] = documents.as_slice() else {
        panic!("two documents: {documents:?}");
    };
    assert_eq!(
        serde_json::to_value(deferred).unwrap(),
        serde_json::json!({ "deferred": ["protocol `TCP` is not yet in force: gateways speak HTTP"] })
    );
    // A token rule needs no issuer where the address of its keys is known.
    assert_eq!(
        serde_json::to_value(items).unwrap()["request_authentication"][0]["rules"],
        serde_json::json!([{ "keys": { "fetched": "https://id.example.com/keys" } }])
    );
    let text = |documents: &[convert::Tree]| {
        let texts = documents.iter().map(|one| serde_json::to_string(one).unwrap());
        texts.collect::<Vec<_>>().join("\n---\n")
    };
    let again = convert::to_native(&load(&text(&documents))).unwrap();
    assert_eq!(text(&again), text(&documents));
}

const ODD: &str = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: odd, namespace: shop }
spec:
  hosts: [orders.example.com]
  http:
    - match: [{ uri: { prefix: a.b } }, { uri: { exact: x }, ignoreUriCase: true }, { uri: { prefix: "" } }]
      route: [{ destination: { host: orders.example.com } }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: front, namespace: shop }
spec:
  gatewayClassName: mesh
  listeners: [{ name: http, port: 80, protocol: HTTP, hostname: front }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: nowhere, namespace: shop }
spec: { parentRefs: [{ name: front }], rules: [{ backendRefs: [{ name: a b, port: 80 }] }] }
"#;

#[test]
fn what_only_other_dialects_take_is_converted_to_what_loads() {
    let documents = convert::to_native(&load(ODD)).unwrap();
    let text = serde_json::to_string(&documents[0]).unwrap();
    let paths = [
        r#"{"regex":"(?:a\\.b).*"}"#,
        r#"{"regex":"(?i)(?:x)"}"#,
        r#"{"prefix":"/"}"#,
    ];
    let unresolved = r#"{"name":"a b","reason":"`a b` is no name that a service can have"}"#;
    for part in paths.into_iter().chain([r#""hosts":["*/front"]"#, unresolved]) {
        assert!(text.contains(part), "{part} in {text}");
    }
    let again = convert::to_native(&load(&text)).unwrap();
    assert_eq!(serde_json::to_string(&again[0]).unwrap(), text);
}

/// Each of two dialects has a name of its own for the service, its routes and who may call.
const NAMESAKES: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: orders }
spec: { ports: [{ name: http, port: 80 }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: orders }
spec: { hosts: [orders], http: [{ route: [{ destination: { host: orders } }] }] }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: orders }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: orders }
spec: { rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/web] } }] }] }
---
services:
  orders: { endpoints: [10.0.0.1:80], routes: [{ match: { path: { prefix: /a } }, to: [{ service: orders }] }], mtls: strict }
authorization:
  - { name: orders, allow: [{ from: [cluster.local/ns/shop/sa/app] }] }
"#;

#[test]
fn namesakes_of_two_dialects_get_two_names() {
    let documents = convert::to_native(&load(NAMESAKES)).unwrap();
    let text = serde_json::to_string(&documents[0]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for section in ["services", "routes", "mtls", "authorization"] {
        let names: Vec<_> = json[section]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["name"])
            .collect();
        assert_eq!(names, ["orders", "orders-2"], "{section}");
    }
    let again = convert::to_native(&load(&text)).unwrap();
    assert_eq!(serde_json::to_string(&again[0]).unwrap(), text);
}

#[test]
fn a_mirror_has_no_weight_and_overrides_lead_somewhere() {
    assert_lines(
        "@",
        &[
            (
                "services: { a: { endpoints: [10.0.0.1:80], routes: [{ mirrors: [{ to: { service: a, weight: 2 } }] }] } }",
                &["93: error[MESH0104]: `to`: a mirror has no `weight`, `percent` says how many requests are copied"],
            ),
            (
                "profiles: [{ name: a, host: a.b, overrides: [{ service: a.c, weight: 0 }] }]",
                &["45: error[MESH0104]: `overrides`: the weights of all destinations are 0, one must be more"],
            ),
        ],
    );
}

#[test]
fn settings_of_open_connections_and_tls_are_read() {
    use crate::policy::model::RequestIds;
    use crate::policy::model::connections::{InDoubt, Recheck, Resumption};
    let policy = clean(
        "mesh: { live: { drain: 0s, recheck: requests }, tls: { resumption: on, revocation: { unknown: allow } } }",
    );
    let (live, tls) = (policy.mesh.live, policy.mesh.tls);
    assert!(live.drain.is_zero());
    assert_eq!(live.recheck, Recheck::Requests);
    assert_eq!(tls.resumption, Resumption::On);
    assert_eq!(tls.revocation.unknown, InDoubt::Allow);
    assert_eq!(tls.revocation.expired, InDoubt::Deny);

    let defaults = clean("mesh: {}").mesh;
    assert_eq!(defaults.request_ids, RequestIds::Recorded);
    let always = clean("mesh: { request_ids: always }").mesh;
    assert_eq!(always.request_ids, RequestIds::Always);
    assert_eq!(defaults.live.drain.as_secs(), 5);
    assert_eq!(defaults.tls.resumption, Resumption::Off);
    assert_lines(
        "mesh: { @ }",
        &[
            (
                "tls: { resumption: yes }",
                &["28: error[MESH0104]: `resumption`: unknown value `yes`, expected `off` or `on`"],
            ),
            ("live: { drian: 1s }", &["17: error[MESH0101]: unknown field `drian`"]),
        ],
    );
}
