//! Files that are no part of the project, read in place where they are.

#![expect(
    clippy::disallowed_methods,
    reason = "the files are named at run time, by the environment"
)]

use std::path::{Path, PathBuf};

use super::*;
use crate::policy::diagnostic::{Code, Diagnostic, Severity};

/// All files below a directory with the end `.yaml`; none, and a word about it, where it is missing.
fn files(variable: &str, default: &str, below: &str) -> Vec<(String, Vec<u8>)> {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let defaults = ["../", "../../"].map(|up| PathBuf::from(format!("{up}{default}")));
    let root = given
        .or_else(|| defaults.into_iter().find(|path| path.is_dir()))
        .unwrap_or_default();
    let mut found = Vec::new();
    collect(&root.join(below), &mut found);
    if found.is_empty() {
        println!(
            "skipped: no files in {}, name their place in {variable}",
            root.display()
        );
    }
    found.sort();
    found
}

fn collect(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    files("MESH_SEEDS", "shared/seeds-yaml", "")
}

fn corpus(below: &str) -> Vec<(String, Vec<u8>)> {
    files("MESH_CORPORA", "shared/corpora", below)
}

/// The codes of all findings of one file, in order.
fn codes(loaded: &Loaded) -> Vec<Code> {
    loaded
        .report
        .sorted(&loaded.sources)
        .iter()
        .map(|one| one.code)
        .collect()
}

#[test]
fn every_seed_loads_alone_with_the_warnings_that_are_due() {
    for (name, bytes) in seeds() {
        let loaded = Loaded::from_files([(name.as_str(), bytes)]);
        let number = &Path::new(&name).file_name().unwrap().to_str().unwrap()[..2];
        let expected: &[Code] = match number {
            "19" => &[Code::NON_STANDARD_FIELD; 2],
            "22" => &[Code::ACCEPTED_NOT_IN_FORCE; 2],
            "al" => &[Code::UNKNOWN_KIND],
            _ => &[],
        };
        let lines = loaded.report.lines(&loaded.sources);
        assert_eq!(codes(&loaded), expected, "{lines:#?}");
        assert_eq!(loaded.policy.is_some(), number != "al");
    }
}

/// What upstream accepts may only be refused as not in force.
#[track_caller]
fn assert_accepted(files: Vec<(String, Vec<u8>)>) {
    let mut failures = Vec::new();
    for (name, bytes) in files {
        let loaded = Loaded::from_files([(name.as_str(), bytes)]);
        let is_refusal = |code| [Code::NOT_YET_IN_FORCE, Code::NOT_IN_PROCESS].contains(&code);
        let errors = |one: &&Diagnostic| one.severity == Severity::Error && !is_refusal(one.code);
        let found = loaded.report.sorted(&loaded.sources);
        failures.extend(
            found
                .into_iter()
                .filter(errors)
                .map(|one| format!("{name}: {}", one.message)),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn upstreams_samples_load_or_are_not_yet_in_force() {
    assert_accepted(corpus("istio/samples"));
    assert_accepted(corpus("istio/tests/testdata"));
    assert_accepted(corpus("istio/pkg/test"));
    assert_accepted(corpus("gateway-api/examples/standard"));
    assert_accepted(corpus("gateway-api/conformance"));
    assert_accepted(corpus("linkerd-website"));
    assert_accepted(corpus("linkerd2/test"));
    assert_accepted(corpus("cilium"));
}

#[test]
fn linkerds_profiles_are_read_or_refused_as_upstream_does() {
    for (name, bytes) in corpus("linkerd2/pkg/profiles") {
        let loaded = Loaded::from_files([(name.as_str(), bytes)]);
        let found = codes(&loaded);
        let is_not_yet = !found.is_empty() && found.iter().all(|code| *code == Code::NOT_YET_IN_FORCE);
        if name.ends_with("-invalid.yaml") {
            assert!(loaded.policy.is_none(), "{name}");
        } else {
            assert!(loaded.policy.is_some() || is_not_yet, "{name}: {found:?}");
        }
    }
}

#[test]
fn splits_of_the_specification_are_read() {
    let mut read = 0;
    for (name, bytes) in corpus("smi-spec/apis/traffic-split") {
        let text = String::from_utf8(bytes).unwrap();
        // Examples leave out the version, which their directory has.
        let version = Path::new(&name)
            .ancestors()
            .nth(2)
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        let is_whole = text.starts_with("kind: TrafficSplit") && !text.contains("matches:") && !text.contains("\n---");
        if is_whole {
            let text = format!("apiVersion: split.smi-spec.io/{version}\n{text}");
            let loaded = Loaded::from_files([(name.as_str(), text)]);
            assert_eq!(loaded.report.lines(&loaded.sources), [""; 0]);
            read += 1;
        }
    }
    println!("{read} splits read");
}
