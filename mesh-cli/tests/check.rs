//! `mesh check` as a script uses it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn policies(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn mesh(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mesh"))
        .args(arguments)
        .output()
        .unwrap()
}

fn check(directory: &TempDir) -> (i32, Value) {
    let output = mesh(&["check", directory.path().to_str().unwrap(), "-o", "json"]);
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().unwrap(), json)
}

const GOOD: &[u8] = b"services:\n  orders: { endpoints: [10.0.0.4:8080] }\n";

#[test]
fn a_clean_policy_exits_with_0() {
    let (code, report) = check(&policies(&[("orders.yaml", GOOD)]));
    assert_eq!(code, 0);
    assert_eq!(
        report,
        serde_json::json!({ "errors": 0, "warnings": 0, "diagnostics": [] })
    );
}

#[test]
fn warnings_alone_exit_with_0() {
    let text = b"apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: orders }\nspec:\n  host: orders\n  trafficPolicy:\n    connectionPool:\n      http: { pendingRequests: 7 }\n";
    let (code, report) = check(&policies(&[("rule.yaml", text)]));
    assert_eq!(
        (code, &report["errors"], &report["warnings"]),
        (0, &0.into(), &1.into())
    );
    assert_eq!(report["diagnostics"][0]["severity"], "warning");
}

#[test]
fn all_errors_of_all_files_come_in_one_run_with_their_places() {
    let directory = policies(&[
        (
            "a.yaml",
            b"services:\n  orders: { endpionts: [10.0.0.4:8080] }\n  payments: { endpoints: 7 }\n",
        ),
        (
            "b.yaml",
            b"services:\n  users: { endpoints: [10.0.0.5:8080], retry: { attempts: many } }\n",
        ),
    ]);
    let (code, report) = check(&directory);

    assert_eq!(code, 1);
    assert!(report["errors"].as_u64().unwrap() >= 3, "{report}");
    let places: Vec<(String, u64)> = report["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let keys: Vec<&String> = one.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["code", "column", "file", "help", "line", "message", "severity"]);
            assert!(one["column"].as_u64().unwrap() > 0 && one["code"].as_str().unwrap().starts_with("MESH"));
            let file = one["file"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            (file, one["line"].as_u64().unwrap())
        })
        .collect();
    for place in [("a.yaml", 2), ("a.yaml", 3), ("b.yaml", 2)] {
        assert!(places.contains(&(place.0.to_owned(), place.1)), "{places:?}");
    }
}

#[test]
fn the_offending_text_is_underlined_for_people() {
    let directory = policies(&[("a.yaml", b"services:\n  orders: { endpionts: [10.0.0.4:8080] }\n")]);
    let output = mesh(&["check", directory.path().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("a.yaml:2:13") && text.contains("^^^^^^^^^") && text.contains("`endpoints`"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn bad_input_gets_diagnostics_and_no_panic() {
    let anchors = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(200_000), "*a, ".repeat(100_000));
    for (what, text) in [
        ("truncated", &b"services:\n  orders: { endpoints: [10.0.0"[..]),
        ("duplicate key", b"services: {}\nservices: {}\n"),
        ("wrong type", b"services: 7\n"),
        ("binary", b"\x00\xff\xfe\x01"),
        ("empty file", b""),
        ("anchors", anchors.as_bytes()),
        (
            "dangling subset",
            b"services:\n  orders:\n    endpoints: [10.0.0.4:80]\n    routes: [{ to: v9 }]\n",
        ),
    ] {
        let (code, report) = check(&policies(&[("a.yaml", text)]));
        assert_eq!(code, 1, "{what}: {report}");
        assert!(report["errors"].as_u64().unwrap() > 0, "{what}");
    }
}

#[test]
fn nothing_to_read_and_wrong_usage_exit_with_2() {
    let empty = policies(&[]);
    assert_eq!(check(&empty).0, 2);
    assert_eq!(mesh(&["check", "/does/not/exist"]).status.code(), Some(2));
    assert_eq!(mesh(&["check"]).status.code(), Some(2));
    assert_eq!(mesh(&["chekc"]).status.code(), Some(2));
}
