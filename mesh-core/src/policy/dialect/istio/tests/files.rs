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

/// What upstream accepts may only be refused as not in force.
#[track_caller]
fn assert_accepted(files: Vec<(String, String)>) {
    let mut failures = Vec::new();
    for (name, text) in files {
        for diagnostic in load(&text).diagnostics {
            let is_refusal = [Code::NOT_YET_IN_FORCE, Code::NOT_IN_PROCESS].contains(&diagnostic.code);
            if diagnostic.severity == Severity::Error && !is_refusal {
                failures.push(format!("{name}: {}: {}", diagnostic.code, diagnostic.message));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn upstreams_samples_load_or_are_not_yet_in_force() {
    assert_accepted(corpus("istio/samples", ".yaml"));
}

#[test]
fn upstreams_valid_documents_load_or_are_not_yet_in_force() {
    assert_accepted(corpus("istio/pkg/config/validation/testdata/crds", "-valid.yaml"));
    assert_accepted(corpus("istio/pkg/test", ".yaml"));
    assert_accepted(corpus("istio/tests/testdata", ".yaml"));
    assert_accepted(corpus("istio/pilot/pkg/security", "-in.yaml"));
    assert_accepted(corpus("istio-api", ".yaml"));
}

#[test]
fn upstreams_invalid_documents_are_refused() {
    for (name, text) in corpus("istio/pkg/config/validation/testdata/crds", "-invalid.yaml") {
        for document in text.split("\n---\n") {
            let (reason, object): (Vec<&str>, Vec<&str>) = document.lines().partition(|line| line.starts_with("_err:"));
            let loaded = load(&object.join("\n"));
            let has_error = loaded
                .diagnostics
                .iter()
                .any(|diagnostic| diagnostic.severity == Severity::Error);
            assert!(has_error, "{name}: {reason:?}");
        }
    }
}
