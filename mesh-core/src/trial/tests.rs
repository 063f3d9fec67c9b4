use super::{Selection, TrialReport, Verdict, run, run_selected};

const SHOP: &str = "\
namespace: shop
services:
  orders:
    endpoints: [{ address: '10.0.0.4:8080', labels: { version: v1 } }, { address: '10.0.0.5:8080', labels: { version: v2 } }]
    subsets: { v1: { version: v1 }, v2: { version: v2 } }
    routes:
      - { name: canary-testers, match: { headers: { x-version: canary } }, to: v2 }
      - { name: split, to: { v1: 90, v2: 10 }, timeout: 1s, retry: { attempts: 2, per_try_timeout: 300ms, on: [5xx, reset, connect-failure, unavailable] } }
authorization:
  - { name: orders-api, service: orders, allow: [{ from: [cluster.local/ns/shop/sa/web], methods: [GET] }] }
  - { name: keep-orders, service: orders, deny: [{ methods: [DELETE] }] }
";

/// One test of the shop, with these fields.
fn shop(fields: &str) -> TrialReport {
    run_files(&format!("policy: ../policy\ntests:\n  - name: it\n{fields}"))
}

fn run_files(text: &str) -> TrialReport {
    run("shop.test.yaml", text, &mut |path| match path {
        "../policy" => Ok(vec![("../policy/shop.yaml".into(), SHOP.into())]),
        _ => Err(format!("`{path}` does not exist")),
    })
}

#[track_caller]
fn passes(fields: &str) {
    let report = shop(fields);
    assert!(report.is_ok() && report.passed() == 1, "{report}");
}

/// The field, the two sides.
#[track_caller]
fn differences(fields: &str) -> Vec<(String, String, String)> {
    let report = shop(fields);
    match &report.results[0].verdict {
        Verdict::Failed(differences) => differences
            .iter()
            .map(|one| (one.field.clone(), one.expected.clone(), one.found.clone()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn upstream(steps: &str, expect: &str) -> String {
    format!("    outbound: {{ url: http://orders/ }}\n    upstream: {steps}\n    expect: {expect}\n")
}

/// What is wrong with a file, line by line.
fn problems(text: &str) -> Vec<String> {
    let report = run_files(text);
    assert!(!report.is_ok() && report.results.is_empty(), "{report}");
    let findings = report.findings.unwrap().diagnostics;
    let told = findings.iter().map(|one| {
        let help = one.help.as_deref().map(|help| format!(" ({help})"));
        format!(
            "{}:{}: {}{}",
            one.line.unwrap_or_default(),
            one.column.unwrap_or_default(),
            one.message,
            help.unwrap_or_default()
        )
    });
    told.collect()
}

#[test]
fn the_example_of_a_test_file_passes_as_it_is_printed() {
    let text = "\
policy: ../policy          # file or directory
tests:
  - name: web cannot delete orders
    inbound: { as: { namespace: shop, app: orders }, from: spiffe://cluster.local/ns/shop/sa/web, method: DELETE, url: http://orders/orders/7, headers: {} }
    expect: { decision: deny, policy: keep-orders, status: 403 }
  - name: canary by header
    outbound: { as: { namespace: shop }, method: GET, url: http://orders/orders/7, headers: { x-version: canary } }
    expect: { route: canary-testers, destinations: { v2: 1.0 } }
  - name: reads retry twice
    outbound: { method: GET, url: http://orders/orders/7 }
    upstream: [ { status: 503 }, { status: 503 }, { status: 200, after: 30ms } ]
    expect: { status: 200, attempts: 3, within: 200ms }
";
    let report = run_files(text);
    assert_eq!(report.to_string(), "shop.test.yaml: 3 passed, 0 failed");
}

#[test]
fn a_wrong_expectation_shows_both_sides_its_place_and_the_reason() {
    let report = shop(
        "    outbound: { url: http://orders/ }\n    expect:\n      destinations: { v1: 0.5 }\n      timeout_ms: 2000\n",
    );
    assert_eq!(
        report.to_string(),
        "FAILED shop.test.yaml:3: it\n\
         \x20 destinations.v1  (shop.test.yaml:6)\n    expected 0.5\n    found    0.9\n\
         \x20 timeout_ms  (shop.test.yaml:7)\n    expected 2000\n    found    1000\n\
         \x20 reason: route `split` at ../policy/shop.yaml:8:9\n\
         shop.test.yaml: 0 passed, 1 failed"
    );
}

#[test]
fn shares_are_by_subset_service_or_its_first_label() {
    passes(
        "    outbound: { url: http://orders/ }\n    expect: { destinations: { v1: 0.9, v2: 0.1, orders: 1, orders.shop.svc.cluster.local: 1.0, v3: 0 } }\n",
    );
    let unknown = differences("    outbound: { url: http://orders/ }\n    expect: { destinations: { v3: 0.1 } }\n");
    assert_eq!(
        unknown,
        [("destinations.v3".into(), "0.1".into(), "{\"v1\":0.9,\"v2\":0.1}".into())]
    );
    let none = differences("    outbound: { url: http://orders/ }\n    expect: { destinations: {} }\n");
    assert_eq!(none[0].0, "destinations");
}

#[test]
fn parts_of_the_answer_are_compared_and_the_rest_is_not() {
    passes(
        "    outbound: { url: http://orders/ }\n    expect: { outcome: routed, status: null, redirect: null, retry: { attempts: 2, on: [5xx, reset, connect-failure, unavailable] }, contains: split }\n",
    );
    let found = differences("    outbound: { url: http://orders/ }\n    expect: { retry: { on: [5xx] } }\n");
    assert_eq!(found[0].0, "retry.on");
}

#[test]
fn a_misspelt_expectation_never_passes() {
    let report = shop("    outbound: { url: http://orders/ }\n    expect: { timeout_m: null }\n");
    let Verdict::Failed(differences) = &report.results[0].verdict else {
        panic!("{report}")
    };
    assert_eq!(differences[0].help.as_deref(), Some("did you mean `timeout_ms`?"));
}

#[test]
fn a_caller_that_is_not_named_stands_where_the_service_is() {
    passes("    outbound: { url: http://orders/ }\n    expect: { outcome: routed }\n");
    passes("    outbound: { as: { app: web }, url: http://orders/ }\n    expect: { outcome: passthrough }\n");
    passes("    outbound: { url: http://payments/ }\n    expect: { outcome: passthrough }\n");
}

#[test]
fn callers_come_with_an_identity_or_in_plain_text() {
    for (from, decision) in [
        ("from: cluster.local/ns/shop/sa/web, ", "allow"),
        ("from: spiffe://cluster.local/ns/shop/sa/x, ", "deny"),
        ("from: plaintext, ", "deny"),
        ("", "deny"),
    ] {
        passes(&format!(
            "    inbound: {{ as: {{ namespace: shop, app: orders }}, {from}url: http://orders/ }}\n    expect: {{ decision: {decision} }}\n"
        ));
    }
}

#[test]
fn a_denial_that_no_rule_decides_is_that_of_each_policy_that_could_allow() {
    let inbound = "    inbound: { as: { namespace: shop, app: orders }, from: cluster.local/ns/shop/sa/x, url: http://orders/ }\n";
    passes(&format!(
        "{inbound}    expect: {{ decision: deny, policy: orders-api }}\n"
    ));
    passes(&format!("{inbound}    expect: {{ decision: deny, policy: null }}\n"));
    let found = differences(&format!("{inbound}    expect: {{ policy: keep-orders }}\n"));
    assert_eq!(found, [("policy".into(), "\"keep-orders\"".into(), "null".into())]);
}

#[test]
fn tries_end_with_the_first_answer_that_nobody_wants_again() {
    for (steps, expect) in [
        (
            "[{ status: 200 }]",
            "{ status: 200, attempts: 1, flags: '-', within: 0ms, details: via_upstream }",
        ),
        ("[{ reset: true }, { status: 404 }]", "{ status: 404, attempts: 2 }"),
        (
            "[{ connect_failure: true }, { status: 200 }]",
            "{ status: 200, attempts: 2 }",
        ),
        ("[{ refused: true }, { status: 200 }]", "{ status: 200, attempts: 2 }"),
        (
            "[{ status: 503 }, { status: 503 }, { status: 503 }]",
            "{ status: 503, attempts: 3, flags: URX }",
        ),
        (
            "[{ status: 503, headers: { x-envoy-ratelimited: 'true' } }]",
            "{ status: 503, attempts: 1 }",
        ),
        ("[{ status: 503, rate_limited: true }]", "{ status: 503, attempts: 1 }"),
        (
            "[{ status: 200, after: 2s }, { status: 200, after: 2s }, { status: 200, after: 2s }]",
            "{ status: 504, attempts: 3, elapsed_ms: 900, flags: 'UT,URX' }",
        ),
    ] {
        let fields = upstream(steps, expect);
        if steps.contains("2s") {
            // The pauses between the tries are drawn: three limits of 300 ms, and less than the whole second.
            let found = differences(&fields);
            assert_eq!(found.len(), 1, "{found:?}");
            let elapsed: u64 = found[0].2.parse().unwrap();
            assert!((900..=1000).contains(&elapsed), "{elapsed}");
        } else {
            passes(&fields);
        }
    }
}

#[test]
fn requests_that_must_not_be_sent_twice_are_not() {
    passes(
        "    outbound: { method: POST, url: http://orders/ }\n    upstream: [{ status: 503 }]\n    expect: { status: 503, attempts: 1 }\n",
    );
    passes(
        "    outbound: { method: POST, url: http://orders/ }\n    upstream: [{ connect_failure: true }, { status: 201 }]\n    expect: { status: 201, attempts: 2 }\n",
    );
}

#[test]
fn grpc_statuses_are_read_of_grpc_requests() {
    passes(
        "    outbound: { method: POST, url: http://orders/a.B/C, headers: { content-type: application/grpc } }\n    upstream: [{ status: 200, grpc_status: 14 }, { status: 200, headers: { grpc-status: '0' } }]\n    expect: { status: 200, grpc_status: 0, attempts: 2 }\n",
    );
    let text = "policy: ../policy\ntests:\n  - name: it\n    outbound: { url: http://orders/ }\n    upstream: [{ status: 200, grpc_status: 14 }]\n    expect: { status: 200 }\n";
    assert_eq!(
        problems(text),
        [
            "5:5: a gRPC status is looked at only where the request is of gRPC (give the request the header `content-type: application/grpc`)"
        ]
    );
}

#[test]
fn the_budget_of_retries_holds_in_tests_as_well() {
    let policy = "policy: |\n  services:\n    a: { endpoints: [10.0.0.1:80], retry: { attempts: 2, on: [5xx] }, retry_budget: { percent: 20, min_per_second: 0 } }\n";
    let report = run_files(&format!(
        "{policy}tests:\n  - name: it\n    outbound: {{ url: http://a/ }}\n    upstream: [{{ status: 503 }}]\n    expect: {{ status: 503, attempts: 1 }}\n"
    ));
    assert!(report.is_ok(), "{report}");
}

#[test]
fn a_service_without_endpoints_answers_itself() {
    let report = run_files(
        "policy: |\n  services: { a: { endpoints: [] } }\ntests:\n  - name: it\n    outbound: { url: http://a/ }\n    upstream: [{ status: 200 }]\n    expect: { status: 503, attempts: 0, flags: UH }\n",
    );
    assert!(report.is_ok(), "{report}");
}

#[test]
fn faults_are_drawn_before_any_server_is_called() {
    let file = |fault: &str, expect: &str| {
        run_files(&format!(
            "policy: |\n  apiVersion: networking.istio.io/v1\n  kind: VirtualService\n  metadata: {{ name: a, namespace: default }}\n  spec: {{ hosts: [a], http: [{{ fault: {fault}, route: [{{ destination: {{ host: a }} }}] }}] }}\n  ---\n  services: {{ a: {{ endpoints: [10.0.0.1:80] }} }}\ntests:\n  - name: it\n    outbound: {{ url: http://a/ }}\n    upstream: [{{ status: 200, after: 1ms }}]\n    expect: {expect}\n"
        ))
    };
    for (fault, expect) in [
        (
            "{ abort: { httpStatus: 418, percentage: { value: 100 } } }",
            "{ status: 418, attempts: 0, flags: FI, details: fault_filter_abort }",
        ),
        (
            "{ abort: { httpStatus: 418, percentage: { value: 0 } } }",
            "{ status: 200, attempts: 1, elapsed_ms: 1 }",
        ),
        (
            "{ delay: { fixedDelay: 2s, percentage: { value: 100 } } }",
            "{ status: 200, attempts: 1, elapsed_ms: 2001, flags: DI }",
        ),
    ] {
        let report = file(fault, expect);
        assert!(report.is_ok(), "{report}");
    }
}

#[test]
fn hosts_that_no_policy_names_are_called_as_well() {
    passes(
        "    outbound: { url: http://elsewhere.example/ }\n    upstream: [{ connect_failure: true }, { status: 200 }]\n    expect: { outcome: passthrough, status: 200, attempts: 2 }\n",
    );
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_left_alone() {
    let policy = "policy: |\n  services:\n    a: { endpoints: [10.0.0.1:80], retry: { attempts: 5, on: [5xx] }, outliers: { consecutive_5xx: 2, interval: 10s, base_ejection: 30s, max_ejected_percent: 100 } }\n";
    let report = run_files(&format!(
        "{policy}tests:\n  - name: it\n    outbound: {{ url: http://a/ }}\n    upstream: [{{ status: 503 }}, {{ status: 503 }}]\n    expect: {{ status: 503, attempts: 2, flags: UH }}\n"
    ));
    assert!(report.is_ok(), "{report}");
}

#[test]
fn a_seed_repeats_its_run() {
    let file = |seed: u64| {
        run_files(&format!(
            "policy: ../policy\nseed: {seed}\ntests:\n  - name: it\n    outbound: {{ url: http://orders/ }}\n    upstream: [{{ status: 503 }}, {{ status: 503 }}, {{ status: 200 }}]\n    expect: {{ elapsed_ms: 1000000 }}\n"
        ))
        .to_string()
    };
    assert_eq!(file(7), file(7));
    let runs: std::collections::BTreeSet<_> = (0..20).map(file).collect();
    assert!(runs.len() > 1);
}

#[test]
fn a_script_that_ends_early_or_is_never_asked_is_told() {
    for (fields, reason) in [
        (upstream("[{ status: 503 }]", "{ status: 503 }"), "try 2 has no answer: `upstream` has 1 of them"),
        (
            "    outbound: { as: { namespace: shop }, method: TRACE, url: http://orders/ }\n    upstream: [{ status: 200 }]\n    expect: { status: 200 }\n".into(),
            "`upstream` has no effect",
        ),
    ] {
        let report = shop(&fields);
        let Verdict::Unusable(told) = &report.results[0].verdict else { panic!("{report}") };
        assert!(told.starts_with(reason), "{told}");
    }
}

#[test]
fn loading_is_a_test_of_its_own() {
    let text = "\
tests:
  - name: refused
    policy: |
      services:
        orders: { endpoint: [] }
    load: {}
    expect: { valid: false, code: MESH0101, line: 2, column: 13, contains: endpoint, errors: 1 }
  - name: taken
    policy: { a.yaml: 'services: { a: {} }', b.yaml: 'services: { b: {} }' }
    load: true
    expect: { valid: true, warnings: 0, codes: [] }
";
    let report = run_files(text);
    assert!(report.is_ok(), "{report}");
}

#[test]
fn a_policy_that_does_not_load_fails_its_tests_with_the_reason() {
    let report = run_files(
        "policy: \"services: { a: { endpoint: [] } }\\n\"\ntests:\n  - { name: it, outbound: { url: http://a/ }, expect: { outcome: routed } }\n",
    );
    let Verdict::Unusable(reason) = &report.results[0].verdict else {
        panic!("{report}")
    };
    assert!(
        reason.starts_with("the policy does not load\n") && reason.contains("unknown field `endpoint`"),
        "{reason}"
    );
}

#[test]
fn wrong_files_are_told_by_place() {
    for (text, expected) in [
        (
            "",
            vec![
                "0:0: no document found, the file is empty or has only comments (remove the file, or write a policy into it)",
            ],
        ),
        ("policy: ../policy\n", vec!["1:1: missing field `tests`"]),
        (
            "apiVersion: v1\nkind: Service\nmetadata: { name: a }\n---\nservices: { a: {} }\n",
            vec![
                "1:1: this is a policy, and no file of tests (`mesh check` reads it; a file of tests has `policy`, which names it, and `tests`)",
            ],
        ),
        ("policy: ../policy\ntests: []\n", vec!["1:1: there is no test"]),
        (
            "policy: missing\ntests: [{ name: a, outbound: { url: http://a }, expect: { route: a } }]\n",
            vec!["1:9: `policy`: `missing` does not exist"],
        ),
        (
            "tests: [{ name: a, outbound: { url: http://a }, expect: { route: a } }]\n",
            vec!["1:9: neither the test nor its document names a `policy`"],
        ),
        (
            "policy: ../policy\ntests:\n  - { nam: a, outbund: { url: http://a }, expect: {} }\n",
            vec![
                "3:7: unknown field `nam` (did you mean `name`?)",
                "3:15: unknown field `outbund` (did you mean `outbound`?)",
                "3:51: `expect`: expected at least one field",
            ],
        ),
        (
            "policy: ../policy\ntests:\n  - { name: a, inbound: { url: http://a, from: cluster.local }, expect: { a: 1 }, upstream: [] }\n  - { name: a, inbound: { url: /a, as: { namspace: b }, source_ip: x, method: 'a b' }, expect: { a: 1 } }\n",
            vec![
                "3:48: `from`: the id names a trust domain, expected a workload such as `cluster.local/ns/shop/sa/web`",
                "3:83: `upstream` is for `outbound`: it says what the called server answers",
                "4:32: `url`: expected a URL such as `http://orders/7`, found `/a`",
                "4:42: unknown field `namspace` (did you mean `namespace`?)",
                "4:68: `source_ip`: expected an IP address, found `x`",
                "4:79: `method`: expected a method, found `a b`",
            ],
        ),
        (
            "policy: ../policy\ntests:\n  - { name: a, outbound: { url: http://a }, upstream: [{ reset: true, status: 200 }, { reset: false }, { after: 1 }, { refused: true, grpc_status: 1 }], expect: { a: 1 } }\n",
            vec![
                "3:71: fields `reset` and `status` exclude each other",
                "3:95: `upstream`: expected `true`, or the field left out",
            ],
        ),
    ] {
        let found = problems(text);
        for line in &expected {
            assert!(found.iter().any(|one| one == line), "{text}\n{line}\n{found:#?}");
        }
    }
}

#[test]
fn names_are_unique_in_a_file() {
    let found = problems(
        "policy: ../policy\ntests:\n  - { name: a, outbound: { url: http://a }, expect: { route: a } }\n  - { name: a, outbound: { url: http://a }, expect: { route: a } }\n",
    );
    assert_eq!(found, ["4:13: a test `a` is there already"]);
}

#[test]
fn some_tests_can_be_chosen_by_their_name() {
    let text = "policy: ../policy\ntests:\n  - { name: one of two, outbound: { url: http://orders }, expect: { outcome: routed } }\n  - { name: two, outbound: { url: http://orders }, expect: { outcome: refused } }\n";
    let mut files = |_: &str| Ok(vec![("shop.yaml".to_owned(), SHOP.as_bytes().to_vec())]);
    let report = run_selected("a", text.as_bytes(), Selection::Named("one"), &mut files);
    assert_eq!(report.to_string(), "a: 1 passed, 0 failed, 1 left out");
}

#[test]
fn a_gateway_takes_requests_by_its_name() {
    let policy = "\
policy: |
  apiVersion: networking.istio.io/v1
  kind: Gateway
  metadata: { name: front, namespace: shop }
  spec: { selector: { app: front }, servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'] }] }
  ---
  apiVersion: networking.istio.io/v1
  kind: VirtualService
  metadata: { name: shop, namespace: shop }
  spec: { hosts: [shop.example], gateways: [front], http: [{ name: all, route: [{ destination: { host: orders } }] }] }
  ---
  namespace: shop
  services: { orders: { endpoints: [10.0.0.1:80] } }
tests:
  - name: taken
    outbound: { as: { namespace: shop, app: front }, gateway: front, url: http://shop.example/ }
    upstream: [{ status: 204 }]
    expect: { gateway: front, route: all, status: 204 }
  - { name: another host, outbound: { as: { namespace: shop, app: front }, gateway: front, url: http://orders/ }, expect: { outcome: no_route, status: 404 } }
  - { name: another gateway, outbound: { as: { namespace: shop, app: front }, gateway: back, url: http://orders/ }, expect: { outcome: refused, contains: serves no gateway } }
";
    let report = run_files(policy);
    assert!(report.is_ok(), "{report}");
}

#[test]
fn garbage_is_refused_and_never_panics() {
    for text in [
        "{",
        "\u{0}",
        "- - -",
        "tests: 1",
        "tests: [1, {}]",
        "policy: []\ntests: [{}]",
        "tests: {a: b}",
        "a\n---\nb",
        "policy: {a: []}\ntests: []",
    ] {
        assert!(run_files(text).problems.is_some(), "{text:?}");
    }
    let report = run_selected("a", b"\xff\xfe", Selection::All, &mut |_| Err(String::new()));
    assert!(report.problems.is_some());
}
