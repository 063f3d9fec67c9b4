//! Native documents in, model or exact findings out.

use crate::policy::Loaded;
use crate::policy::model::Policy;

mod authorization;
mod forwarding;
mod gateways;
mod mistakes;
mod mistakes_of_items;
mod routes;
mod services;
mod traffic;
mod whole;

fn load(text: &str) -> Loaded {
    Loaded::from_files([("f", text)])
}

/// The policy of a document without a finding.
#[track_caller]
fn clean(text: &str) -> Policy {
    let loaded = load(text);
    assert_eq!(loaded.report.lines(&loaded.sources), [""; 0], "{text}");
    loaded.policy.unwrap()
}

/// Each text put into `frame` in the place of `@`, beside all that is said about it: `column: severity[CODE]: message`.
#[track_caller]
fn assert_lines(frame: &str, table: &[(&str, &[&str])]) {
    let mut failures = Vec::new();
    for (text, expected) in table {
        let loaded = load(&frame.replace('@', text));
        let lines = loaded.report.lines(&loaded.sources);
        let found: Vec<&str> = lines
            .iter()
            .map(|line| line.strip_prefix("f:1:").unwrap_or(line))
            .collect();
        if found != *expected {
            failures.push(format!("{text}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The help of the only finding about a document.
#[track_caller]
fn help(text: &str) -> String {
    let loaded = load(text);
    let found = loaded.report.sorted(&loaded.sources);
    let [diagnostic] = found.as_slice() else {
        panic!("one finding: {found:?}");
    };
    diagnostic.help.clone().unwrap_or_default()
}
