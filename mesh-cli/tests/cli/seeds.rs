//! Policies from elsewhere that have to load as they are, read in place where they are.

use std::path::{Path, PathBuf};

use crate::mesh::run_in;

/// The policies, without rules for alerts; none where the directory is missing.
pub(crate) fn seeds() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let named = std::env::var_os("MESH_SEEDS").map(PathBuf::from);
    let directory = root.join(named.unwrap_or_else(|| "../shared/seeds-yaml".into()));
    let entries = std::fs::read_dir(&directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml") && !name(path).starts_with("alerts"));
    files.sort();
    if files.is_empty() {
        println!(
            "skipped: no policies in {}, name their place in MESH_SEEDS",
            directory.display()
        );
    }
    files
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn every_seed_is_checked_without_errors() {
    for path in seeds() {
        let run = run_in(path.parent().unwrap(), &["check", "-o", "json", name(&path)], "");

        assert_eq!(run.code, 0, "{run:#?}");
        let warnings = match &name(&path)[..2] {
            "19" => 2,
            // Their subsets, or the endpoints of these, are defined elsewhere.
            "01" | "05" | "09" | "13" | "20" | "21" => 1,
            // What is not yet in force is said, until it is.
            "22" => continue,
            _ => 0,
        };
        assert_eq!(run.json()["warnings"], warnings, "{run:#?}");
    }
}

#[test]
fn the_split_and_the_canary_of_a_seed_are_explained() {
    let Some(path) = seeds().into_iter().find(|path| name(path).starts_with("01-")) else {
        return;
    };
    let explain = |arguments: &[&str]| {
        let fixed = [
            "explain",
            "-o",
            "json",
            "--policy",
            name(&path),
            "http://product-service/",
        ];
        run_in(path.parent().unwrap(), &[&fixed, arguments].concat(), "").json()
    };
    let shares = |answer: &serde_json::Value| -> Vec<(String, f64)> {
        let destinations = answer["destinations"].as_array().unwrap();
        let share = |one: &serde_json::Value| {
            (
                one["subset"].as_str().unwrap().to_owned(),
                one["share"].as_f64().unwrap(),
            )
        };
        destinations.iter().map(share).collect()
    };

    assert_eq!(
        shares(&explain(&[])),
        [("stable".to_owned(), 0.95), ("canary".to_owned(), 0.05)]
    );
    assert_eq!(
        shares(&explain(&["-H", "x-canary: true"])),
        [("canary".to_owned(), 1.0)]
    );
}
