//! The examples of the codes' long texts do what they say, and print what `snapshots/` holds.
//!
//! `MESH_UPDATE=1 cargo test -p mesh-core examples` writes the snapshots anew, to be read before they are kept.

#![expect(clippy::disallowed_methods, reason = "tests read and write their snapshots")]

use std::time::Duration;

use super::{Code, Paint};
use crate::policy::Loaded;
use crate::policy::seen::{self, PlainCaller, PlainCallers, SeenWorkload};
use crate::snapshot::Snapshot;
use crate::workload::Workload;

/// The blocks of code of a text.
fn blocks(text: &str) -> Vec<&str> {
    let bodies = text.split("```yaml\n").skip(1);
    bodies.map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// A file with this text, in the encoding that its code is about.
fn loaded(code: Code, text: &str) -> Loaded {
    let latin_1 = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let bytes = if code == Code::NOT_UTF8 {
        latin_1(text)
    } else {
        text.as_bytes().to_vec()
    };
    let mut loaded = Loaded::from_files([("policy.yaml", bytes)]);
    if let Some(policy) = loaded.policy.as_ref().filter(|_| code == Code::CUTS_OFF_CALLERS) {
        seen::check(policy, &[seen_caller()], Duration::from_secs(3_600), &mut loaded.report);
    }
    loaded
}

/// What a server of the example has seen.
fn seen_caller() -> PlainCallers {
    PlainCallers {
        now: 10_000,
        workload: SeenWorkload::from(&Workload::new("shop", "legacy").label("app", "legacy")),
        service: "legacy.shop.svc.cluster.local".into(),
        callers: vec![PlainCaller {
            address: "10.0.0.7".parse().unwrap(),
            port: 8080,
            requests: 12,
            first_seen: 2_000,
            last_seen: 9_990,
            user_agent: Some("curl/8.5.0".into()),
        }],
        forgotten: 0,
    }
}

/// Findings that stand beside a code wherever it is: later versions put TLS of this kind in force, and what configures
/// nothing is told of by itself, too.
const BESIDE: &[(Code, Code)] = &[
    (Code::SYSTEM_AUTHORITIES, Code::NOT_YET_IN_FORCE),
    (Code::NOTHING_CONFIGURED, Code::NO_EFFECT),
];

/// What is found in the example of a code.
fn codes(example: Code, loaded: &Loaded) -> Vec<Code> {
    let found = loaded.report.sorted(&loaded.sources).into_iter().map(|one| one.code);
    let mut codes: Vec<Code> = found.filter(|code| !BESIDE.contains(&(example, *code))).collect();
    codes.dedup();
    codes
}

#[test]
fn the_wrong_example_of_a_code_gives_this_code_alone_and_the_right_one_gives_none() {
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let examples = blocks(code.text());
        assert_eq!(examples.len(), 2, "{code}");
        let (bad, good) = (loaded(*code, examples[0]), loaded(*code, examples[1]));
        if codes(*code, &bad) != [*code] || !codes(*code, &good).is_empty() {
            let lines = [bad.report.lines(&bad.sources), good.report.lines(&good.sources)];
            wrong.push(format!("{code}: {lines:#?}"));
        }
        if let Some(policy) = &good.policy {
            Snapshot::compile(policy, &Workload::default(), 1).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_wrong_example_of_a_code_prints_its_snapshot() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/diagnostic/snapshots");
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let bad = loaded(*code, blocks(code.text())[0]);
        let printed = bad.report.render(&bad.sources, Paint::Plain);
        let path = format!("{folder}/{code}.txt");
        if std::env::var_os("MESH_UPDATE").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&path, &printed).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        if kept != printed {
            wrong.push(format!("{path} is\n{kept}\nprinted is\n{printed}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_long_text_says_what_is_wrong_what_is_right_and_why() {
    for code in Code::ALL {
        let text = code.text();
        let parts: Vec<&str> = text.split("\n```").collect();
        assert!(
            parts[0].ends_with("\n\nWrong:\n") && !parts[0].starts_with("Wrong"),
            "{code}"
        );
        assert!(parts[2].ends_with("\n\nRight:\n"), "{code}");
        assert!(parts[4].trim().ends_with('.'), "{code}");
    }
}

#[test]
fn the_table_of_the_documentation_has_every_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/diagnostics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rows) = page.split_once("|---|---|---|---|\n").unwrap();
    let expected: Vec<String> = Code::ALL.iter().map(row).collect();
    if std::env::var_os("MESH_UPDATE").is_some() {
        let page = format!("{before}|---|---|---|---|\n{}\n", expected.join("\n"));
        std::fs::write(path, page).unwrap();
        return;
    }
    let rows: Vec<&str> = rows.lines().collect();
    for (index, row) in expected.iter().enumerate() {
        assert_eq!(rows.get(index), Some(&row.as_str()), "the table ends the page");
    }
    assert_eq!(rows.len(), expected.len());
}

fn row(code: &Code) -> String {
    let (severity, title, meaning) = (code.severity(), code.title(), code.explanation());
    format!("| `{code}` | {severity} | {title} | {meaning} |")
}
