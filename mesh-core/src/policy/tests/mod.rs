//! Files in, policy or exact findings out.

use super::*;

mod bad_input;
mod envelopes;
mod loader;
mod mistakes;
mod properties;
mod seeds;
mod sets;

/// All findings about some text, each `line:column: severity[CODE]: message`.
fn lines(text: &str) -> Vec<String> {
    let loaded = Loaded::from_files([("f", text)]);
    let lines = loaded.report.lines(&loaded.sources).into_iter();
    lines.map(|line| line.trim_start_matches("f:").to_owned()).collect()
}

/// Each document, beside all that is said about it.
#[track_caller]
fn assert_lines(table: &[(&str, &[&str])]) {
    let mut failures = Vec::new();
    for (text, expected) in table {
        let found = lines(text);
        if found != *expected {
            failures.push(format!("{text}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
