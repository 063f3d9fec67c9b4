use std::fmt::Write as _;

use super::{Kind, Line, Verdict};

/// The comparison for people: a row a case, what failed marked.
#[must_use]
pub fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:<44} {:<13} {:>12} {:>12} {:>9}\n",
        "case", "", "expected", "found", "change"
    );
    for line in lines {
        let (expected, found) = (number(line.kind, line.expected), number(line.kind, line.found));
        let (kind, change, says) = (kind(line.kind), change(line), says(line.verdict));
        let row = format!(
            "{:<44} {kind:<13} {expected:>12} {found:>12} {change:>9}  {says}",
            line.what
        );
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Instructions => "instructions",
        Kind::Added => "mesh - bare",
        Kind::Growth => "growth",
        Kind::Allocations => "allocations",
    }
}

fn number(kind: Kind, number: Option<f64>) -> String {
    match (kind, number) {
        (_, None) => "-".to_owned(),
        (Kind::Instructions | Kind::Added, Some(number)) => format!("{number:.0}"),
        (Kind::Growth | Kind::Allocations, Some(number)) => format!("{number:.2}"),
    }
}

fn change(line: &Line) -> String {
    match (line.expected, line.found) {
        // It may be next to nothing, of which a share says nothing.
        (Some(expected), Some(found)) if line.kind == Kind::Added => format!("{:+.0}", found - expected),
        (Some(expected), Some(found)) if expected != 0.0 => {
            format!("{:+.2} %", (found - expected) / expected.abs() * 100.0)
        }
        _ => String::new(),
    }
}

const fn says(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Kept => "",
        Verdict::Worse => "WORSE",
        Verdict::Better => "better: worth blessing",
        Verdict::Gone => "GONE",
        Verdict::New => "NEW: not in the baseline",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_changed_and_by_how_much() {
        let line = Line {
            what: "route_10".to_owned(),
            kind: Kind::Instructions,
            expected: Some(2_000.0),
            found: Some(2_100.0),
            verdict: Verdict::Worse,
        };
        let text = table(&[line]);
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["route_10", "instructions", "2000", "2100", "+5.00", "%", "WORSE"]);
    }

    #[test]
    fn what_is_added_changes_by_a_number() {
        let line = Line {
            what: "request_full_mesh_mtls".to_owned(),
            kind: Kind::Added,
            expected: Some(-27.0),
            found: Some(-4.0),
            verdict: Verdict::Kept,
        };
        let text = table(&[line]);
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["request_full_mesh_mtls", "mesh", "-", "bare", "-27", "-4", "+23"]);
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        let line = Line {
            what: "new".to_owned(),
            kind: Kind::Allocations,
            expected: None,
            found: Some(1.5),
            verdict: Verdict::New,
        };
        let text = table(&[line]);
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..4], ["new", "allocations", "-", "1.50"]);
    }
}
