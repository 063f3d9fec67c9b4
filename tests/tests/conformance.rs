//! What the projects whose policies are read here document, case by case: `tests/conformance` holds the cases as policy
//! tests, this runs them all and prints how many pass.
//!
//! `cargo test -p mesh-tests --test conformance -- --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking, and tells its figures"
)]

use std::path::PathBuf;

use mesh_core::trial::{TestResult, Verdict, run};

/// Cases that are decided otherwise on purpose: the file, how the name of the case begins, and the reason. docs/dialects.md
/// lists them for users.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("attacks.yaml", "D10 any value of nothing", ISTIOS_PRESENCE),
    ("linkerd-ztunnel-authorization.yaml", "AZ-4b P", UNKNOWN),
    ("linkerd-ztunnel-authorization.yaml", "AZ-4d P", UNKNOWN),
    ("linkerd-ztunnel-authorization.yaml", "AZ-8i", SAME_MACHINE),
    ("linkerd-ztunnel-routing.yaml", "HN-5", TWO_HOSTS),
    ("linkerd-ztunnel-routing.yaml", "RD-1 ", REDIRECTED),
    ("linkerd-ztunnel-routing.yaml", "RD-7", QUERY_STAYS),
    ("linkerd-ztunnel-routing.yaml", "RT-2g order", REGEXES_LAST),
    ("linkerd-ztunnel-routing.yaml", "RT-3g", RAW_QUERY),
    ("linkerd-ztunnel-routing.yaml", "RT-4b", JOINED),
    ("linkerd-ztunnel-routing.yaml", "RT-4d lines", JOINED),
    ("linkerd-ztunnel-routing.yaml", "RT-7b outbound", BY_PATH),
    ("linkerd-ztunnel-routing.yaml", "RY-9 headers", NO_HEADERS),
];

const ISTIOS_PRESENCE: &str = "`*` for a header is translated by Istio to a header that is there, empty or not";
const UNKNOWN: &str =
    "a peer in plain text may be anyone, the one that is excepted too: what is not known allows nothing";
const SAME_MACHINE: &str =
    "Linkerd's proxy trusts its own pod; a library shares the machine with processes that are not the workload";
const TWO_HOSTS: &str = "a request that names two hosts has no unambiguous form, and is refused (ADR 2)";
const REDIRECTED: &str = "a redirect is what the route says, as in Envoy, also to where the request came from";
const QUERY_STAYS: &str = "a new path without a query leaves the request's query, as in Envoy";
const REGEXES_LAST: &str = "regexes stand behind prefixes, as in Istio: Gateway API leaves their place open";
const RAW_QUERY: &str = "parameters are compared as they were sent, as Envoy does";
const JOINED: &str = "lines of a header are compared as one value, joined by commas, as RFC 9110 and Envoy say (ADR 2)";
const BY_PATH: &str =
    "a GRPCRoute of clients and gateways looks at paths and headers, as in Istio; one of a server at the method too";
const NO_HEADERS: &str = "headers of a request do not steer the mesh: what is tried again is the policy's";

fn cases() -> Vec<(String, String)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files
        .iter()
        .map(|path| (name(path), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn is_on_purpose(file: &str, result: &TestResult) -> bool {
    DIFFERENCES
        .iter()
        .any(|(of, start, _)| *of == file && result.name.starts_with(start))
}

#[test]
fn at_least_ninety_eight_of_a_hundred_cases_pass_and_the_rest_is_listed() {
    let (mut passed, mut all, mut unlisted) = (0, 0, String::new());
    for (name, text) in cases() {
        let report = run(&name, &text, &mut |path| {
            Err(format!("cases hold their policy themselves, not `{path}`"))
        });
        assert!(report.problems.is_none(), "{report}");
        let good = report
            .results
            .iter()
            .filter(|result| result.verdict == Verdict::Passed)
            .count();
        println!("{name}: {good} of {} cases pass", report.results.len());
        passed += good;
        all += report.results.len();
        if report.failures().any(|result| !is_on_purpose(&name, result)) {
            unlisted.push_str(&format!("{report}\n"));
        }
    }
    println!("all: {passed} of {all} cases pass");
    assert!(unlisted.is_empty(), "{unlisted}");
    assert!(passed * 100 >= all * 98, "{passed} of {all}");
}

#[test]
fn what_is_listed_as_different_is_different() {
    let files = cases();
    for (file, start, reason) in DIFFERENCES {
        let (_, text) = files.iter().find(|(name, _)| name == file).unwrap();
        let report = run(file, text, &mut |_| Err(String::new()));
        let listed = report.failures().any(|result| result.name.starts_with(start));
        assert!(listed, "{file}: {start} passes now: {reason}");
    }
}
