//! `mesh test`.

use serde_json::json;

use crate::mesh::{Folder, keys};

const SHOP: &str = "\
namespace: shop
services:
  orders:
    endpoints: [{ address: '10.0.0.4:8080', labels: { version: v1 } }, { address: '10.0.0.5:8080', labels: { version: v2 } }]
    subsets: { v1: { version: v1 }, v2: { version: v2 } }
    routes:
      - { name: canary-testers, match: { headers: { x-version: canary } }, to: v2 }
      - { to: { v1: 90, v2: 10 }, timeout: 10s, retry: { attempts: 3, per_try_timeout: 3s, on: [5xx, reset] } }
authorization:
  - { name: orders-api, service: orders, deny: [{ methods: [DELETE] }] }
";

/// As the documentation of the project prints it.
const TESTS: &str = "\
policy: ../policy          # file or directory
tests:
  - name: web cannot delete orders
    inbound: { as: { namespace: shop, app: orders }, from: spiffe://cluster.local/ns/shop/sa/web, method: DELETE, url: http://orders/orders/7, headers: {} }
    expect: { decision: deny, policy: orders-api, status: 403 }
  - name: canary by header
    outbound: { as: { namespace: shop }, method: GET, url: http://orders/orders/7, headers: { x-version: canary } }
    expect: { route: canary-testers, destinations: { v2: 1.0 } }
  - name: reads retry twice
    outbound: { method: GET, url: http://orders/orders/7 }
    upstream: [ { status: 503 }, { status: 503 }, { status: 200, after: 30ms } ]
    expect: { status: 200, attempts: 3, within: 200ms }
";

/// A shop with files beside its policy.
fn shop(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new(&[("shop.yaml", SHOP)]);
    for (name, text) in files {
        folder.write(&format!("../{name}"), text.as_bytes());
    }
    folder
}

#[test]
fn good_tests_are_counted_wherever_they_are_found() {
    let folder = shop(&[
        ("tests/shop.test.yaml", TESTS),
        ("tests/.hidden.test.yaml", "{"),
        ("target/old.test.yaml", "{"),
    ]);

    for arguments in [
        &["test"] as &[&str],
        &["test", "tests"],
        &["test", "tests/shop.test.yaml"],
        &["test", "tests", "tests/shop.test.yaml"],
    ] {
        let run = folder.mesh(arguments);
        assert_eq!(
            (run.code, run.out.as_str(), run.err.as_str()),
            (0, "ok: 1 file, 3 tests passed\n", ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_wrong_expectation_shows_both_sides_and_exits_1() {
    let wrong = TESTS
        .replace("v2: 1.0", "v2: 0.5")
        .replace("attempts: 3", "attempts: 2");
    let run = shop(&[("tests/shop.test.yaml", &wrong)]).mesh(&["test"]);

    assert_eq!(run.code, 1);
    assert_eq!(
        run.out,
        "\
FAILED tests/shop.test.yaml:6: canary by header
  destinations.v2  (tests/shop.test.yaml:8)
    expected 0.5
    found    1.0
  reason: route `canary-testers` at policy/shop.yaml:7:9

FAILED tests/shop.test.yaml:9: reads retry twice
  attempts  (tests/shop.test.yaml:12)
    expected 2
    found    3
  reason: route `orders#1` at policy/shop.yaml:8:9

failed: 1 file, 1 test passed, 2 failed
"
    );
}

#[test]
fn a_filter_chooses_tests_by_their_name() {
    let folder = shop(&[("tests/shop.test.yaml", TESTS)]);
    assert_eq!(
        folder.mesh(&["test", "--filter", "retry"]).out,
        "ok: 1 file, 1 test passed, 2 left out\n"
    );

    let none = folder.mesh(&["test", "--filter", "nothing"]);
    assert_eq!(
        (none.code, none.err.as_str()),
        (2, "error: no test has `nothing` in its name\n")
    );
}

#[test]
fn a_wrong_file_of_tests_is_told_by_place_and_exits_2() {
    let wrong = TESTS
        .replace("destinations: {", "destinations: [")
        .replace("expect: { status", "expct: { status");
    let run = shop(&[("tests/shop.test.yaml", &wrong)]).mesh(&["test"]);
    assert_eq!(run.code, 2);
    assert!(run.out.contains(" --> tests/shop.test.yaml:8:"), "{}", run.out);

    let wrong = TESTS
        .replace("expect: { status", "expct: { status")
        .replace("../policy ", "missing ");
    let run = shop(&[("tests/shop.test.yaml", &wrong)]).mesh(&["test"]);
    assert_eq!(run.code, 2);
    for part in [
        "error[MESH0101]: unknown field `expct`",
        " --> tests/shop.test.yaml:12:5",
        "did you mean `expect`?",
    ] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
    assert!(
        run.out
            .ends_with("unusable: 1 file, 0 tests passed, 1 file cannot be used\n"),
        "{}",
        run.out
    );

    let wrong = TESTS.replace("../policy ", "missing ");
    let run = shop(&[("tests/shop.test.yaml", &wrong)]).mesh(&["test"]);
    assert_eq!(run.code, 2);
    assert!(
        run.out
            .contains("error[MESH0201]: `policy`: `tests/missing` does not exist"),
        "{}",
        run.out
    );
}

#[test]
fn a_policy_that_does_not_load_fails_every_test_of_it() {
    let folder = shop(&[("tests/shop.test.yaml", TESTS)]);
    folder.write("bad.yaml", b"services: { web: { endpoint: [] } }\n");
    let run = folder.mesh(&["test"]);
    assert_eq!(run.code, 1);
    assert!(
        run.out
            .contains("  the policy does not load\n  error[MESH0101]: unknown field `endpoint`"),
        "{}",
        run.out
    );
    assert!(
        run.out.ends_with("failed: 1 file, 0 tests passed, 3 failed\n"),
        "{}",
        run.out
    );
}

#[test]
fn nothing_to_try_exits_2() {
    let folder = shop(&[]);
    for arguments in [
        &["test"] as &[&str],
        &["test", "missing"],
        &["test", "--output", "yaml"],
    ] {
        let run = folder.mesh(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!run.err.is_empty());
    }
}

#[test]
fn tests_can_come_from_the_standard_input() {
    let folder = shop(&[]);
    let run = folder.mesh_reading(&["test", "-"], &TESTS.replace("../policy", "policy"));
    assert_eq!((run.code, run.out.as_str()), (0, "ok: 1 file, 3 tests passed\n"));
}

#[test]
fn programs_get_every_test_with_its_verdict() {
    let wrong = TESTS.replace("v2: 1.0", "v2: 0.5, v9: 1");
    let folder = shop(&[("tests/shop.test.yaml", &wrong), ("tests/bad.yaml", "tests: 1\n")]);
    let run = folder.mesh(&["test", "tests", "-o", "json"]);

    assert_eq!(run.code, 2);
    let answer = run.json();
    assert_eq!(keys(&answer), ["failed", "files", "passed", "skipped"]);
    assert_eq!(
        (&answer["passed"], &answer["failed"], &answer["skipped"]),
        (&json!(2), &json!(1), &json!(0))
    );
    let [bad, shop] = answer["files"].as_array().unwrap().as_slice() else {
        panic!("{answer}")
    };
    assert_eq!(bad["diagnostics"][0]["code"], "MESH0102");
    assert_eq!(
        shop["tests"][0],
        json!({ "name": "web cannot delete orders", "line": 3, "verdict": "passed", "reason": "rule 0 of policy `shop/orders-api` denies it", "differences": [] })
    );
    assert_eq!(
        shop["tests"][1]["differences"],
        json!([
            { "field": "destinations.v2", "line": 8, "expected": 0.5, "found": 1.0, "help": null },
            { "field": "destinations.v9", "line": 8, "expected": 1, "found": { "v2": 1.0 }, "help": null },
        ])
    );
}

#[test]
fn a_policy_in_the_place_of_tests_is_told_once() {
    let folder = Folder::new(&[("shop.yaml", "services: { a: {} }\n---\nservices: { b: {} }\n")]);
    let run = folder.mesh(&["test", "policy"]);

    assert_eq!(run.code, 2, "{run:#?}");
    let expected = "\
error[MESH0106]: this is a policy, and no file of tests
 --> policy/shop.yaml:1:1
  |
1 | services: { a: {} }
  | ^^^^^^^^
  |
  = help: `mesh check` reads it; a file of tests has `policy`, which names it, and `tests`
";
    assert!(run.out.starts_with(expected), "{}", run.out);
    assert_eq!(run.out.matches("error[").count(), 1, "{}", run.out);
}

#[test]
fn ci_gets_junit() {
    let wrong = TESTS.replace("v2: 1.0", "v2: 0.5").replace("canary by", "canary <by>");
    let folder = shop(&[("tests/shop.test.yaml", &wrong), ("tests/zzz.yaml", "tests: 1\n")]);
    let run = folder.mesh(&["test", "tests", "-o", "junit"]);
    for part in [
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"mesh test\">\n",
        "<testsuite name=\"tests/shop.test.yaml\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"0\">",
        "<testcase classname=\"tests/shop.test.yaml\" name=\"web cannot delete orders\" file=\"tests/shop.test.yaml\" line=\"3\"/>",
        "name=\"canary &lt;by&gt; header\"",
        "<failure message=\"destinations.v2: expected 0.5, found 1.0\">",
        "<testsuite name=\"tests/zzz.yaml\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">",
        "</testsuites>\n",
    ] {
        assert!(run.out.contains(part), "{part}\n{}", run.out);
    }
}
