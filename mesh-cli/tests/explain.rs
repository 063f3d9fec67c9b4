//! `mesh explain` as a script uses it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

const POLICY: &str = "
namespace: shop
services:
  orders:
    endpoints:
      - { address: \"10.0.0.4:8080\", labels: { version: v1 } }
      - { address: \"10.0.0.5:8080\", labels: { version: v2 } }
    subsets: { v1: { version: v1 }, v2: { version: v2 } }
    routes:
      - { name: testers, match: { method: GET, headers: { x-version: canary } }, to: v2 }
      - { name: canary, match: { path: { prefix: /api } }, to: { v1: 95, v2: 5 }, timeout: 10s, retry: { attempts: 3, per_try_timeout: 3s, on: [5xx, reset] } }
mtls:
  - { name: strict, mode: strict }
authorization:
  - name: no-admin
    service: orders
    deny: [{ paths: [\"/api/admin*\"] }]
  - name: readers
    service: orders
    allow:
      - { from: [cluster.local/ns/shop/sa/web], methods: [GET], paths: [\"/api*\"] }
      - { from: [cluster.local/ns/shop/sa/batch] }
";

struct World(TempDir);

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("shop.yaml"), POLICY).unwrap();
        Self(directory)
    }

    fn explain(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
        command
            .args(["explain", "-o", "json", "--policy"])
            .arg(self.0.path())
            .args(arguments);
        let output = command.output().unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.code().unwrap(), json)
    }

    fn outbound(&self, arguments: &[&str]) -> Value {
        let (code, answer) = self.explain(&[&["--as", "namespace=shop,sa=web"], arguments].concat());
        assert_eq!((code, &answer["direction"]), (0, &json!("outbound")));
        answer
    }

    fn inbound(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, answer) =
            self.explain(&[&["--inbound", "--as", "namespace=shop,sa=orders,app=orders"], arguments].concat());
        assert_eq!(answer["direction"], "inbound");
        (code, answer)
    }
}

#[test]
fn a_weighted_route_has_shares_limits_and_a_place() {
    let answer = World::new().outbound(&["http://orders/api/orders"]);

    assert_eq!(
        (&answer["outcome"], &answer["route"]),
        (&json!("routed"), &json!("canary"))
    );
    assert_eq!(answer["origin"]["line"], 11);
    assert!(answer["origin"]["file"].as_str().unwrap().ends_with("shop.yaml"));
    assert_eq!(answer["timeout_ms"], 10_000);
    assert_eq!(
        answer["retry"],
        json!({ "attempts": 3, "per_try_timeout_ms": 3_000, "on": ["5xx", "reset"] })
    );
    let to = answer["destinations"].as_array().unwrap();
    assert_eq!((&to[0]["subset"], &to[1]["subset"]), (&json!("v1"), &json!("v2")));
    assert_eq!(to[0]["service"], "orders.shop.svc.cluster.local");
    let sum: f64 = to.iter().map(|one| one["share"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9 && (to[0]["share"].as_f64().unwrap() - 0.95).abs() < 1e-9);
}

#[test]
fn headers_and_methods_decide_in_order() {
    let world = World::new();
    let canary = world.outbound(&["-H", "x-version: canary", "http://orders.shop/api"]);
    assert_eq!(
        (&canary["route"], canary["destinations"].as_array().unwrap().len()),
        (&json!("testers"), 1)
    );
    let post = world.outbound(&["-X", "POST", "-H", "x-version: canary", "http://orders/api"]);
    assert_eq!(post["route"], "canary");
    let by_host = world.outbound(&["-H", "host: orders", "http://ignored/api"]);
    assert_eq!(by_host["route"], "canary");
    let dots = world.outbound(&["http://orders/x/../api"]);
    assert_eq!(dots["route"], "canary");
}

#[test]
fn what_has_no_route_says_so() {
    let world = World::new();
    assert_eq!(world.outbound(&["http://orders/other"])["outcome"], "no_route");
    let unknown = world.outbound(&["http://elsewhere.example.com/"]);
    assert_eq!(
        (&unknown["outcome"], &unknown["route"], &unknown["origin"]),
        (&json!("passthrough"), &Value::Null, &Value::Null)
    );
    let malformed = world.outbound(&["http://orders/a%2fb"]);
    assert_eq!(malformed["outcome"], "bad_request");
    let (_, other) = world.explain(&["--as", "namespace=other", "http://orders/api"]);
    assert_eq!(other["outcome"], "passthrough");
    assert!(
        other["reason"]
            .as_str()
            .unwrap()
            .contains("orders.shop.svc.cluster.local"),
        "{other}"
    );
}

#[test]
fn an_allowed_caller_and_the_rule_that_allows_it() {
    let (code, answer) = World::new().inbound(&["--from", "cluster.local/ns/shop/sa/web", "http://orders/api/orders"]);

    assert_eq!(code, 0);
    assert_eq!(
        (&answer["decision"], &answer["status"], &answer["mtls"]),
        (&json!("allow"), &json!(200), &json!("strict"))
    );
    assert_eq!(
        (&answer["policy"], &answer["rule"], &answer["origin"]["line"]),
        (&json!("readers"), &json!(0), &json!(21))
    );
    let (_, second) = World::new().inbound(&[
        "--from",
        "spiffe://cluster.local/ns/shop/sa/batch",
        "-X",
        "PUT",
        "http://orders/x",
    ]);
    assert_eq!((&second["decision"], &second["rule"]), (&json!("allow"), &json!(1)));
}

#[test]
fn a_denied_caller_exits_with_3_and_deny_goes_before_allow() {
    let world = World::new();
    for (arguments, policy) in [
        (
            &["--from", "cluster.local/ns/shop/sa/web", "http://orders/api/admin"][..],
            json!("no-admin"),
        ),
        (
            &[
                "--from",
                "cluster.local/ns/shop/sa/batch",
                "http://orders/x/..//api/admin/users",
            ],
            json!("no-admin"),
        ),
        (
            &[
                "--from",
                "cluster.local/ns/shop/sa/web",
                "-X",
                "POST",
                "http://orders/api",
            ],
            Value::Null,
        ),
        (
            &["--from", "cluster.local/ns/shop/sa/other", "http://orders/api"],
            Value::Null,
        ),
        (&["--plaintext", "http://orders/api"], Value::Null),
        (&["http://orders/api"], Value::Null),
    ] {
        let (code, answer) = world.inbound(arguments);
        assert_eq!(
            (code, &answer["decision"], &answer["status"]),
            (3, &json!("deny"), &json!(403)),
            "{arguments:?}"
        );
        assert_eq!(answer["policy"], policy, "{arguments:?}");
        assert!(!answer["reason"].as_str().unwrap().is_empty());
    }
    let (code, answer) = world.inbound(&["--from", "cluster.local/ns/shop/sa/web", "http://orders/a%2fb"]);
    assert_eq!((code, &answer["status"]), (3, &json!(400)));
}

#[test]
fn the_forms_for_people_say_the_same() {
    let world = World::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
    command
        .args(["explain", "--as", "namespace=shop", "--policy"])
        .arg(world.0.path())
        .arg("orders/api");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for wanted in [
        "routed",
        "canary",
        "shop.yaml:11",
        "95.00 %",
        "10000 ms",
        "up to 3, 3000 ms each, on 5xx, reset",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn wrong_usage_and_bad_policies_have_exit_codes_of_their_own() {
    let world = World::new();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
        command
            .arg("explain")
            .arg("--policy")
            .arg(world.0.path())
            .args(arguments)
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(
        run(&["--from", "cluster.local/ns/a/sa/b", "http://orders/"]),
        Some(2),
        "--from without --inbound"
    );
    assert_eq!(run(&["--inbound", "--from", "not an id", "http://orders/"]), Some(2));
    assert_eq!(run(&["-H", "no colon", "http://orders/"]), Some(2));
    assert_eq!(run(&["http://"]), Some(2));
    std::fs::write(world.0.path().join("bad.yaml"), "services: 7\n").unwrap();
    assert_eq!(run(&["http://orders/"]), Some(1));
}
