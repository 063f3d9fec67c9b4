//! docs/security.md against the tree: every test that it names exists, and every attack has a test that carries its id.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking, and tells its figures"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

/// The rows of the list of attacks, a group of numbers for each letter.
const ROWS: &[(&str, &[u32])] = &[
    (
        "A",
        &[3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 16, 17, 18, 19, 20, 22, 25, 26, 27],
    ),
    ("B", &[1, 2, 3, 5, 7, 8, 9, 11, 12, 13, 14, 15, 16]),
    ("C", &[1, 2, 3, 4, 5, 6, 7, 9, 10, 11]),
    ("D", &[1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 14, 16, 18, 19]),
    ("E", &[1, 2, 3, 5, 6, 7, 8, 9, 10, 11]),
    (
        "F",
        &[
            1, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 19, 20, 21, 22, 23, 24, 26, 27, 28, 30, 34, 35, 36, 37,
        ],
    ),
    ("G", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]),
    ("H", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 15, 17, 18]),
    ("I", &[1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
    ("J", &[1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("K", &[1, 2, 3, 4, 5, 6, 7, 10, 11, 13]),
    ("L", &[2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 18, 20, 22, 23, 24]),
    ("M", &[2, 3, 4, 5, 6, 8, 9, 10, 11, 12]),
];

/// Rows that the page says are otherwise here, so that there is nothing to try.
const OTHERWISE: &[&str] = &["K5", "K10", "L4"];

/// The rows of the list of behaviours.
const BEHAVIOURS: &[(&str, &str)] = &[
    (
        "AZ",
        "1b 1d 2a 2b 2d 2e 3 4a 4b 4d 4e 4g 4j 4k 4l 4m 5a 5b 5h 5i 5k 6b 6c 6d 6f 6g 6h 6i 6j",
    ),
    (
        "AZ",
        "7a 7c 7d 7e 7f 7g 7h 7i 8a 8b 8c 8d 8e 8f 8g 8h 8i 9a 9b 9c 9d 9i 10b 10d",
    ),
    ("ID", "1a 1b 1d 2a 2c 2d 2f 2g 2i 2j 2k 2n 3 4"),
    ("TD", "1 2 3 7 8 10 11 12 15 16"),
    ("CM", "2 3 5 6 7 8 9 10 11 12 14"),
];

/// Behaviours that the page says are not here.
const NOT_HERE: &[&str] = &["TD-12", "TD-15", "TD-16"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/security.md")).unwrap()
}

fn all() -> BTreeSet<String> {
    let of = |(letter, numbers): &(&str, &[u32])| {
        numbers
            .iter()
            .map(|number| format!("{letter}{number}"))
            .collect::<Vec<_>>()
    };
    ROWS.iter().flat_map(of).collect()
}

/// Every file of the members of the workspace that ends like this.
fn files(ending: &str) -> Vec<PathBuf> {
    let members = [
        "mesh-core",
        "mesh-tls",
        "mesh-tower",
        "mesh-cli",
        "tests",
        "benches",
        "examples",
    ];
    let mut open: Vec<PathBuf> = members.iter().map(|member| root().join(member)).collect();
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if !path.ends_with("target") => open.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// The ids at the beginning of a comment: `B16, G8: however it comes`, `C7.`, `F22 (an advisory): what happens`
fn ids(text: &str) -> impl Iterator<Item = &str> {
    let list = text.split([':', '.']).next().unwrap_or_default();
    list.split(", ").map_while(|word| {
        let word = word.split(" (").next()?;
        let (letter, number) = word.split_at_checked(1)?;
        let is_id = letter.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_number = !number.is_empty() && number.len() < 3 && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_id && is_number).then_some(word)
    })
}

/// The tests that carry each id: comments of functions that are tests, and names of cases.
fn carried() -> BTreeMap<String, BTreeSet<String>> {
    let mut carried: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut note = |id: &str, path: &Path| {
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        carried.entry(id.to_owned()).or_default().insert(path);
    };
    let commented =
        Regex::new(r"(?m)^[ \t]*/// (.*)\n(?:[ \t]*///.*\n)*(?:[ \t]*#\[.*\n)*?[ \t]*#\[(?:tokio::)?test").unwrap();
    // An example that must not compile is a test, too.
    let refused = Regex::new(r"(?m)^/// (.*)\n(?:///.*\n){0,3}?/// ```compile_fail").unwrap();
    for path in files(".rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        for found in commented.captures_iter(&text).chain(refused.captures_iter(&text)) {
            ids(found.get(1).unwrap().as_str()).for_each(|id| note(id, &path));
        }
    }
    let named = Regex::new(r"name: '?([A-M][0-9]+)\b").unwrap();
    for path in files(".yaml")
        .into_iter()
        .filter(|path| path.parent().unwrap().ends_with("conformance"))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        named.captures_iter(&text).for_each(|found| note(&found[1], &path));
    }
    carried
}

#[test]
fn the_page_has_a_row_for_every_attack() {
    let row = Regex::new(r"(?m)^\| ([A-M][0-9]+) \| .+ \|$").unwrap();
    let page = page();
    let (_, table) = page.split_once("## Every row").unwrap();
    let rows: BTreeSet<String> = row.captures_iter(table).map(|found| found[1].to_owned()).collect();
    assert_eq!(rows, all());
}

#[test]
fn every_attack_has_a_test() {
    let (carried, known) = (carried(), all());
    let missing: Vec<_> = known
        .iter()
        .filter(|id| !carried.contains_key(*id) && !OTHERWISE.contains(&id.as_str()))
        .collect();
    println!("{} rows, {} of them otherwise here", known.len(), OTHERWISE.len());
    assert!(missing.is_empty(), "no test carries {missing:?}");
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let name = Regex::new(r"`([a-z0-9_./-]+\.rs)::([a-z0-9_]+)`").unwrap();
    let page = page();
    let mut named = 0;
    for found in name.captures_iter(&page) {
        let path = root().join(&found[1]);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", &found[1]));
        assert!(
            text.contains(&format!("fn {}(", &found[2])),
            "{} has no test `{}`",
            &found[1],
            &found[2]
        );
        named += 1;
    }
    assert!(named >= 15, "the page names {named} tests");
    // What is otherwise has its reason on the page.
    let (_, otherwise) = page.split_once("## What is otherwise here").unwrap();
    let (otherwise, _) = otherwise.split_once("## Every row").unwrap();
    for id in OTHERWISE {
        assert!(
            Regex::new(&format!(r"\b{id}\b")).unwrap().is_match(otherwise),
            "{id} has no reason"
        );
    }
}

/// What tests say of behaviours: lines of comments, names of tests and of cases.
fn told_of_behaviours() -> BTreeSet<String> {
    let id = Regex::new(r"\b(AZ|ID|TD|CM)-[0-9]+[a-z]?\b").unwrap();
    let renewal = Regex::new(r"fn cm_([0-9]+)_").unwrap();
    let case = Regex::new(r"name: '?(AZ-[0-9]+[a-z]?)\b").unwrap();
    let mut told = BTreeSet::new();
    for path in files(".rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let comments = text.lines().filter(|line| line.trim_start().starts_with("///"));
        told.extend(
            comments
                .flat_map(|line| id.find_iter(line))
                .map(|found| found.as_str().to_owned()),
        );
        told.extend(renewal.captures_iter(&text).map(|found| format!("CM-{}", &found[1])));
    }
    for path in files(".yaml") {
        let text = std::fs::read_to_string(&path).unwrap();
        told.extend(case.captures_iter(&text).map(|found| found[1].to_owned()));
    }
    told
}

#[test]
fn every_behaviour_has_a_test_or_a_reason() {
    let (told, page) = (told_of_behaviours(), page());
    let rows = BEHAVIOURS
        .iter()
        .flat_map(|(group, rows)| rows.split(' ').map(move |row| format!("{group}-{row}")));
    let is_told = |row: &str| {
        // A row of a table may be told by the whole table.
        told.contains(row) || told.contains(row.trim_end_matches(|letter: char| letter.is_ascii_lowercase()))
    };
    let (missing, all): (Vec<_>, Vec<_>) = rows.partition(|row| !is_told(row));
    println!("{} of {} behaviours have tests", all.len(), all.len() + missing.len());
    assert_eq!(missing, NOT_HERE);
    assert!(NOT_HERE.iter().all(|row| page.contains(&format!("`{row}`"))));
}
