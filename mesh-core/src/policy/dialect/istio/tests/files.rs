//! Files that are no part of the project, read in place where they are: the documents that its
//! source texts print, and upstream's own.

#![expect(
    clippy::disallowed_methods,
    reason = "the files are named at run time, by the environment"
)]

use std::path::{Path, PathBuf};

use super::*;
use crate::policy::diagnostic::{Code, Severity};

/// All files below a directory with this end of their names; none, and a word about it, where it is missing.
fn files(variable: &str, default: &str, below: &str, end: &str) -> Vec<(String, String)> {
    let root = std::env::var_os(variable)
        .map_or_else(|| PathBuf::from(default), PathBuf::from)
        .join(below);
    let mut found = Vec::new();
    collect(&root, end, &mut found);
    if found.is_empty() {
        println!(
            "skipped: no files in {}, name their place in {variable}",
            root.display()
        );
    }
    found.sort();
    found
}

fn collect(directory: &Path, end: &str, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn seeds() -> Vec<(String, String)> {
    let mut seeds = files("MESH_SEEDS", "../../shared/seeds-yaml", "", ".yaml");
    seeds.retain(|(name, _)| !name.contains("alerts"));
    seeds
}

fn corpus(below: &str, end: &str) -> Vec<(String, String)> {
    files("MESH_CORPORA", "../../shared/corpora", below, end)
}

/// How many items of each sort a policy has.
fn counts(policy: &Policy) -> [usize; 5] {
    [
        policy.routes.len(),
        policy.destinations.len(),
        policy.gateways.len(),
        policy.peer_authentications.len(),
        policy.authorizations.len(),
    ]
}

#[test]
fn every_seed_lowers_with_the_warnings_that_are_due() {
    let expected: [(&str, [usize; 5], &[Code]); 22] = [
        ("01", [1, 1, 0, 0, 0], &[]),
        ("02", [0, 1, 0, 0, 0], &[]),
        ("03", [0, 0, 0, 1, 1], &[]),
        ("04", [0, 0, 0, 1, 0], &[]),
        ("05", [1, 0, 0, 0, 0], &[]),
        ("06", [0, 1, 0, 0, 0], &[]),
        ("07", [0, 0, 0, 0, 1], &[]),
        ("08", [0, 0, 0, 0, 1], &[]),
        ("09", [1, 0, 0, 0, 0], &[]),
        ("10", [0, 0, 0, 1, 1], &[]),
        ("11", [0, 0, 0, 1, 0], &[]),
        ("12", [0, 1, 0, 0, 0], &[]),
        ("13", [1, 1, 0, 0, 0], &[]),
        ("14", [0, 0, 0, 1, 1], &[]),
        ("15", [0; 5], &[]),
        ("16", [0; 5], &[]),
        ("17", [1, 0, 1, 0, 0], &[]),
        ("18", [0, 0, 0, 1, 1], &[]),
        (
            "19",
            [0, 1, 0, 0, 0],
            &[Code::NON_STANDARD_FIELD, Code::NON_STANDARD_FIELD],
        ),
        ("20", [1, 0, 0, 0, 0], &[]),
        ("21", [1, 0, 0, 0, 0], &[]),
        (
            "22",
            [0; 5],
            &[Code::ACCEPTED_NOT_IN_FORCE, Code::ACCEPTED_NOT_IN_FORCE],
        ),
    ];
    for (name, text) in seeds() {
        let number = Path::new(&name).file_name().unwrap().to_string_lossy()[..2].to_owned();
        let Some((_, items, codes)) = expected.iter().find(|(known, _, _)| *known == number) else {
            panic!("a seed that is not listed: {name}");
        };
        let loaded = load(&text);
        let found: Vec<Code> = loaded.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        // What is SMI's or Linkerd's is tested by its dialect.
        if !matches!(number.as_str(), "15" | "16") {
            assert_eq!(
                (counts(&loaded.policy), found.as_slice()),
                (*items, *codes),
                "{name}: {:#?}",
                loaded.lines
            );
        }
    }
}

#[test]
fn a_seed_that_is_cut_anywhere_is_read_or_refused() {
    for (_, text) in seeds() {
        let ends = text.char_indices().map(|(index, _)| index);
        for end in ends {
            let loaded = load(&text[..end]);
            assert_eq!(loaded.lines.len(), loaded.diagnostics.len());
        }
    }
}

/// What upstream accepts is read without an error.
#[track_caller]
fn assert_accepted(files: Vec<(String, String)>) {
    let mut failures = Vec::new();
    for (name, text) in files {
        for diagnostic in load(&text).diagnostics {
            if diagnostic.severity == Severity::Error {
                failures.push(format!("{name}: {}: {}", diagnostic.code, diagnostic.message));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Documents that upstream's tests hold for valid, and that are refused on purpose (`docs/dialects.md`).
const REFUSED: &[&str] = &[
    // A virtual service without a route, which upstream's own validation refuses as well.
    "some-dir/missing-gateway.yaml",
    // Filters of Envoy.
    "allow-full-rule-in.yaml",
    "deny-both-http-tcp-in.yaml",
];

fn valid(below: &str, end: &str) -> Vec<(String, String)> {
    let mut files = corpus(below, end);
    files.retain(|(name, _)| !REFUSED.iter().any(|refused| name.ends_with(refused)));
    files
}

#[test]
fn upstreams_samples_load() {
    assert_accepted(valid("istio/samples", ".yaml"));
}

#[test]
fn upstreams_valid_documents_load() {
    assert_accepted(valid("istio/pkg/config/validation/testdata/crds", "-valid.yaml"));
    assert_accepted(valid("istio/pkg/test", ".yaml"));
    assert_accepted(valid("istio/tests", ".yaml"));
    assert_accepted(valid("istio/pilot/pkg/security", "-in.yaml"));
    assert_accepted(valid("istio-api", ".yaml"));
}

/// Words of upstream's reason, the words for it here, and what stands in the line that the message points to.
const REASONS: &[(&str, &str, &str)] = &[
    ("Cannot set serviceAccounts", "exclude each other", "namespaces"),
    (
        "warmup.duration: Required value",
        "missing field `duration`",
        "minimumPercent",
    ),
    ("warmup.aggression: Invalid value", "expected at least 1", "aggression"),
    ("Unsupported value: \"BLAH\"", "unknown value `BLAH`", "BLAH"),
    ("portLevelMtls requires selector", "needs a `selector`", "portLevelMtls"),
    ("port must be between", "1 to 65535", ""),
    ("only one of targetRefs or selector", "exclude each other", "targetRef"),
    ("targetRef.name: Required value", "missing field `name`", ""),
    ("cross namespace referencing", "its own namespace", "namespace"),
    ("should be at least 1 chars long", "found empty text", "\"\""),
    ("must be of type object", "expected a mapping, found nothing", "-"),
    ("fromHeaders[0].name: Required value", "missing field `name`", ""),
    ("header in body should match", "expected letters, digits", "header"),
    ("must be a valid duration", "is not a duration", "timeout"),
    ("spec: Required value", "missing field `spec`", "apiVersion"),
    (
        "only one of WorkloadSelector or Endpoints",
        "exclude each other",
        "endpoints",
    ),
    (
        "CIDR addresses are allowed only",
        "needs the resolution `NONE` or `STATIC`",
        "addresses",
    ),
    (
        "NONE mode cannot set endpoints",
        "cannot stand beside the resolution `NONE`",
        "address",
    ),
    ("DNS_ROUND_ROBIN mode cannot", "takes one endpoint", "address"),
    (
        "value must not be set when operation",
        "cannot stand beside `REMOVE`",
        "value",
    ),
    ("UDS may not be a dir", "absolute path of a socket", "unix:///dir/"),
    (
        "UDS must be an absolute path",
        "absolute path of a socket",
        "unix://relative",
    ),
    ("UDS may not include ports", "beside the `address` of a socket", "ports"),
    ("spec.ports: Invalid value", "the name of a port", "@"),
];

#[test]
fn upstreams_invalid_documents_are_refused_where_and_why_upstream_does() {
    for (name, text) in corpus("istio/pkg/config/validation/testdata/crds", "-invalid.yaml") {
        for document in text.split("\n---\n") {
            let (reason, object): (Vec<&str>, Vec<&str>) = document.lines().partition(|line| line.starts_with("_err:"));
            let loaded = load(&object.join("\n"));
            let errors: Vec<&String> = loaded.lines.iter().filter(|line| line.contains(": error[")).collect();
            assert!(!errors.is_empty(), "{name}: {reason:?}");
            let known = REASONS
                .iter()
                .find(|(upstream, _, _)| reason.concat().contains(upstream));
            let Some((_, words, subject)) = known else { continue };
            let says = |line: &&&String| {
                let place: usize = line.split(':').next().unwrap().parse().unwrap();
                line.contains(words) && object[place - 1].contains(subject)
            };
            assert!(errors.iter().any(|line| says(&line)), "{name}: {reason:?}: {errors:?}");
        }
    }
}
