//! `mesh explain` of requests that a workload sends.

use serde_json::{Value, json};

use crate::mesh::{Folder, keys};

const SHOP: &str = "\
namespace: production
services:
  orders:
    endpoints:
      - { address: 10.0.0.4:8080, labels: { version: v1 } }
      - { address: 10.0.0.5:8080, labels: { version: v2 } }
    subsets: { v1: { version: v1 }, v2: { version: v2 }, v3: { version: v3 } }
    routes:
      - name: testers
        match: { headers: { x-version: canary } }
        to: v2
      - name: posts
        match: { path: { prefix: /api }, method: POST }
        to: v3
      - name: split
        match: { path: { prefix: /api } }
        to: { v1: 90, v2: 10 }
        timeout: 1500ms
        retry: { attempts: 3, per_try_timeout: 250ms, on: [5xx, reset, connect-failure] }
  payments: { endpoints: [10.0.0.6:8080] }
";

fn shop() -> Folder {
    Folder::new(&[("shop.yaml", SHOP)])
}

const ME: [&str; 2] = ["--as", "namespace=production,sa=web,app=web"];

/// The JSON answer about a request of the workload in `production`.
#[track_caller]
fn explain(folder: &Folder, arguments: &[&str]) -> Value {
    let run = folder.explain(&[&ME, arguments].concat());
    assert_eq!(run.code, 0, "{run:#?}");
    run.json()
}

#[test]
fn a_weighted_route_is_told_with_its_shares_timeout_and_retries() {
    let answer = explain(&shop(), &["http://orders/api/list"]);

    let expected = json!({
        "direction": "outbound",
        "outcome": "routed",
        "status": null,
        "route": "split",
        "origin": { "file": "policy/shop.yaml", "line": 15 },
        "gateway": null,
        "destinations": [
            { "service": "orders.production.svc.cluster.local", "subset": "v1", "port": 80, "share": 0.9, "endpoints": ["10.0.0.4:8080"] },
            { "service": "orders.production.svc.cluster.local", "subset": "v2", "port": 80, "share": 0.1, "endpoints": ["10.0.0.5:8080"] },
        ],
        "timeout_ms": 1500,
        "retry": { "attempts": 3, "per_try_timeout_ms": 250, "on": ["5xx", "reset", "connect-failure"] },
        "reason": "route `split` at policy/shop.yaml:15:9",
    });
    assert_eq!(answer, expected);
}

#[test]
fn shares_sum_to_one_whatever_the_weights() {
    let weights = [("1", "2", "4"), ("33", "33", "33"), ("0", "7", "1000000")];
    for (a, b, c) in weights {
        let text = format!(
            "services:\n  a: {{ endpoints: ['10.0.0.1:80'], routes: [{{ to: [{{ service: x, weight: {a} }}, {{ service: y, weight: {b} }}, {{ service: z, weight: {c} }}] }}] }}\n  x: {{}}\n  y: {{}}\n  z: {{}}\n"
        );
        let folder = Folder::new(&[("shop.yaml", &text)]);

        let answer = folder.explain(&["http://a/"]).json();

        let destinations = answer["destinations"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer:#}"));
        let sum: f64 = destinations.iter().map(|one| one["share"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{answer:#}");
    }
}

#[test]
fn a_header_canary_is_explained_both_ways() {
    let folder = shop();

    let canary = explain(&folder, &["-H", "X-Version: canary", "http://orders/api/list"]);
    let usual = explain(&folder, &["-H", "x-version: stable", "http://orders/api/list"]);

    assert_eq!(
        (&canary["route"], &usual["route"]),
        (&json!("testers"), &json!("split"))
    );
    assert_eq!(canary["destinations"].as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &canary["destinations"][0]["subset"],
            &canary["destinations"][0]["share"]
        ),
        (&json!("v2"), &json!(1.0))
    );
    assert_eq!(canary["origin"]["line"], 9);
}

#[test]
fn method_and_path_choose_the_route() {
    let folder = shop();
    assert_eq!(explain(&folder, &["-X", "POST", "orders/api/list"])["route"], "posts");
    assert_eq!(explain(&folder, &["orders/api/../api//list?page=2"])["route"], "split");
}

#[test]
fn a_subset_without_endpoints_answers_503() {
    let folder = shop();

    let answer = explain(&folder, &["-X", "POST", "http://orders/api"]);
    assert_eq!(answer["destinations"][0]["endpoints"], json!([]));
    let reason = answer["reason"].as_str().unwrap();
    assert!(
        reason.contains("subset `v3` of `orders.production.svc.cluster.local` answers 503 (UH)"),
        "{reason}"
    );

    let run = folder.tell(&[&ME, ["-X", "POST"].as_slice(), &["http://orders/api"]].concat());
    assert!(run.fact("to")[0].ends_with("no endpoints"), "{run:#?}");
    assert_eq!(run.fact("reason").len(), 2, "{run:#?}");
}

#[test]
fn a_service_without_routes_takes_all_requests() {
    let answer = explain(&shop(), &["http://payments/charge"]);

    assert_eq!(
        (&answer["outcome"], &answer["origin"]),
        (&json!("routed"), &json!(null))
    );
    assert_eq!(answer["timeout_ms"], json!(null));
    let to = json!([{ "service": "payments.production.svc.cluster.local", "subset": null, "port": 80, "share": 1.0, "endpoints": ["10.0.0.6:8080"] }]);
    assert_eq!(answer["destinations"], to);
}

#[test]
fn no_retries_are_null() {
    let text =
        "services:\n  a: { endpoints: ['10.0.0.1:80'], routes: [{ to: [{ service: a }], retry: { attempts: 0 } }] }\n";
    let folder = Folder::new(&[("shop.yaml", text)]);

    let answer = folder.explain(&["a"]).json();

    assert_eq!((&answer["outcome"], &answer["retry"]), (&json!("routed"), &json!(null)));
    assert_eq!(folder.tell(&["a"]).fact("retries"), ["none"]);
}

#[test]
fn a_request_that_no_rule_matches_gets_404() {
    let run = shop().explain(&[&ME, ["http://orders/other"].as_slice()].concat());

    assert_eq!(run.code, 0);
    let answer = run.json();
    assert_eq!(
        (&answer["outcome"], &answer["status"], &answer["route"]),
        (&json!("no_route"), &json!(404), &json!(null))
    );
    let all = [
        "destinations",
        "direction",
        "gateway",
        "origin",
        "outcome",
        "reason",
        "retry",
        "route",
        "status",
        "timeout_ms",
    ];
    assert_eq!(keys(&answer), all);
    assert_eq!(
        (&answer["destinations"], &answer["retry"], &answer["timeout_ms"]),
        (&json!([]), &json!(null), &json!(null))
    );
}

#[test]
fn short_names_are_read_in_the_callers_namespace() {
    let folder = shop();
    for host in [
        "orders",
        "ORDERS:80",
        "orders.production",
        "orders.production.svc",
        "orders.production.svc.cluster.local.",
    ] {
        assert_eq!(
            explain(&folder, &[&format!("http://{host}/api")])["route"],
            "split",
            "{host}"
        );
    }

    let stranger = folder.explain(&["http://orders/api"]).json();

    assert_eq!(stranger["outcome"], "passthrough");
    let hint =
        "`orders.production.svc.cluster.local` is known: short names are read in the caller's namespace, `default`";
    assert!(stranger["reason"].as_str().unwrap().ends_with(hint), "{stranger:#}");
    assert_eq!(
        folder.explain(&["http://orders.production/api"]).json()["route"],
        "split"
    );
}

#[test]
fn an_unknown_host_is_left_to_dns_or_refused_as_the_mesh_says() {
    let folder = shop();
    let answer = explain(&folder, &["http://example.com:8080/"]);
    assert_eq!(
        (&answer["outcome"], &answer["status"]),
        (&json!("passthrough"), &json!(null))
    );
    assert_eq!(answer["destinations"][0]["share"], 1.0);
    assert_eq!(answer["destinations"][0]["port"], 8080);

    folder.write("mesh.yaml", b"mesh: { outbound: registry_only }\n");
    let answer = explain(&folder, &["http://example.com:8080/"]);
    assert_eq!(
        (&answer["outcome"], &answer["status"]),
        (&json!("refused"), &json!(502)),
        "{answer:#}"
    );
}

#[test]
fn a_request_without_an_unambiguous_form_is_told_with_its_status() {
    let folder = shop();
    for (arguments, status) in [
        (&["http://orders/api%2Flist"] as &[&str], 400),
        (&["-H", "host: payments", "http://orders/"], 400),
        (&["-X", "get", "http://orders/"], 400),
        (&["-X", "TRACE", "http://orders/"], 405),
        (&["-H", "content-type: application/grpc", "http://orders/"], 405),
        (&["-H", "transfer-encoding: gzip", "http://orders/"], 501),
        (&["-X", "CONNECT", "http://orders/api"], 501),
    ] {
        let answer = explain(&folder, arguments);
        let expected = (&json!("bad_request"), &json!(status));
        assert_eq!((&answer["outcome"], &answer["status"]), expected, "{arguments:?}");
    }
}

#[test]
fn a_gateway_takes_requests_for_the_hosts_that_are_bound_to_it() {
    let text = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*.example.com'] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop }
spec:
  hosts: [shop.example.com]
  gateways: [front]
  http: [{ name: all, route: [{ destination: { host: orders, port: { number: 8080 } } }] }]
";
    let folder = Folder::new(&[("front.yaml", text)]);

    let at_gateway = folder
        .explain(&["--as", "istio=ingressgateway", "http://shop.example.com/"])
        .json();
    let elsewhere = folder.explain(&["http://shop.example.com/"]).json();

    assert_eq!(
        (&at_gateway["gateway"], &at_gateway["route"]),
        (&json!("front"), &json!("all")),
        "{at_gateway:#}"
    );
    assert_eq!(at_gateway["destinations"][0]["port"], 8080);
    assert_eq!(
        (&elsewhere["gateway"], &elsewhere["outcome"]),
        (&json!(null), &json!("passthrough"))
    );
}

#[test]
fn a_rule_that_was_delegated_is_told_with_both_places() {
    let service = |name: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: {name}, namespace: production }}\nspec: {{ {spec} }}\n"
        )
    };
    let root = service(
        "root",
        "hosts: [orders], http: [{ match: [{ uri: { prefix: /api } }], delegate: { name: leaf } }, { route: [{ destination: { host: orders } }] }]",
    );
    let leaf = service(
        "leaf",
        "http: [{ name: leaf, route: [{ destination: { host: orders } }] }]",
    );
    let folder = Folder::new(&[("root.yaml", &root), ("leaf.yaml", &leaf)]);

    let answer = explain(&folder, &["http://orders/api"]);
    assert_eq!(answer["origin"], json!({ "file": "policy/leaf.yaml", "line": 4 }));
    assert_eq!(answer["delegated"], json!({ "file": "policy/root.yaml", "line": 4 }));
    assert_eq!(explain(&folder, &["http://orders/"]).get("delegated"), None);

    let run = folder.tell(&[&ME[..], &["http://orders/api"]].concat());
    assert!(
        run.out.contains("\ndelegated    by the rule at policy/root.yaml:4\n"),
        "{run:#?}"
    );
}

#[test]
fn people_get_the_same_facts_in_lines() {
    let run = shop().tell(&[&ME, ["http://orders/api/list"].as_slice()].concat());

    assert_eq!(
        (run.code, run.err.as_str()),
        (0, "warning: the policy has 1 warning: `mesh check` shows more\n")
    );
    let expected = "\
request      GET http://orders/api/list
sent by      service account web of namespace production, app=web
outcome      routed
route        split  (policy/shop.yaml:15)
to              90%  orders.production.svc.cluster.local:80 subset v1  10.0.0.4:8080
                10%  orders.production.svc.cluster.local:80 subset v2  10.0.0.5:8080
timeout      1.5s
retries      3 more tries, 250ms each on 5xx, reset, connect-failure
reason       route `split` at policy/shop.yaml:15:9
";
    assert_eq!(run.out, expected);
}

#[test]
fn a_policy_that_does_not_load_is_told_with_its_diagnostics() {
    let folder = shop();
    folder.write("bad.yaml", b"services:\n  web: { endpoint: [] }\n");

    let run = folder.explain(&["http://orders/"]);
    assert_eq!((run.code, &run.json()["errors"]), (1, &json!(1)));
    assert_eq!(run.json()["diagnostics"][0]["file"], "policy/bad.yaml");

    let run = folder.tell(&["http://orders/"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("policy/bad.yaml:2:10"), "{run:#?}");
    assert!(
        run.err.ends_with("error: the policy does not load, 1 error\n"),
        "{run:#?}"
    );
}

#[test]
fn a_policy_may_come_from_several_places_and_the_standard_input() {
    let folder = shop();
    let more = "services:\n  search: { endpoints: [10.0.0.9:80] }\n";
    let arguments = [
        "explain",
        "-o",
        "json",
        "--policy",
        "policy",
        "--policy",
        "-",
        "http://search/",
    ];

    let run = folder.mesh_reading(&arguments, more);

    assert_eq!(
        run.json()["destinations"][0]["endpoints"],
        json!(["10.0.0.9:80"]),
        "{run:#?}"
    );
}

#[test]
fn a_rule_that_answers_sends_no_copies() {
    let route = "{ redirect: { scheme: https }, mirrors: [{ to: { service: web } }] }";
    let text = format!(
        "services:\n  web: {{ endpoints: [10.0.0.5:80] }}\n  orders: {{ endpoints: [10.0.0.4:80], routes: [{route}] }}\n"
    );
    let folder = Folder::new(&[("shop.yaml", &text)]);
    let run = folder.tell(&["http://orders/"]);
    assert!(run.out.contains("outcome      redirect"), "{run:#?}");
    assert!(!run.out.contains("web"), "{run:#?}");
    assert!(run.err.contains("the policy has 1 warning"), "{run:#?}");
}
