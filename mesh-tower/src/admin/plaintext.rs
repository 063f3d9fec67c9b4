//! The callers in plain text, on the page that lists the others.

use std::fmt::Write as _;

use mesh_core::policy::seen::{PlainCaller, PlainCallers};
use serde_json::Value;

use super::AdminSource;

/// So many are shown; the page `/plaintext` has all.
const SHOWN: usize = 20;

/// A table of the latest callers; nothing where there are none.
pub(super) fn section(source: &dyn AdminSource) -> String {
    let list: Option<PlainCallers> = match source.plaintext() {
        Value::Null => None,
        told => serde_json::from_value(told).ok(),
    };
    let Some(list) = list.filter(|list| !list.callers.is_empty()) else {
        return String::new();
    };
    let mut page = String::from(
        "<h2>callers in plain text</h2>\n<table>\n<tr><th>address</th><th>port</th><th>requests</th><th>seconds ago, first and last</th><th>user agent</th></tr>\n",
    );
    for caller in list.callers.iter().take(SHOWN) {
        page.push_str(&row(caller, list.now));
    }
    page.push_str("</table>\n");
    page
}

fn row(caller: &PlainCaller, now: u64) -> String {
    let (first, last) = (
        now.saturating_sub(caller.first_seen),
        now.saturating_sub(caller.last_seen),
    );
    let agent = escaped(caller.user_agent.as_deref().unwrap_or("-"));
    let mut row = String::new();
    let _ = writeln!(
        row,
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{first}, {last}</td><td>{agent}</td></tr>",
        caller.address, caller.port, caller.requests
    );
    row
}

/// A text that a caller chose.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
