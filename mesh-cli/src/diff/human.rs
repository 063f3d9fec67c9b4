//! Changes, told to people.

use mesh_core::diff::impact::{Group, Impact};
use mesh_core::diff::{Area, Change, Changes, Fact, Kind};
use mesh_core::explain::Place;
use mesh_core::policy::diagnostic::Paint;

use crate::terminal::{Style, styled};

/// The whole answer.
pub(super) fn answer(changes: &Changes, impact: Option<&Impact>, paint: Paint) -> String {
    let mut text = String::new();
    let mut last = None;
    for change in &changes.changes {
        if last != Some(change.area) {
            text.push_str(&format!("{}\n", styled(paint, Style::Label, title(change.area))));
            last = Some(change.area);
        }
        tell(change, changes.workloads.len(), paint, &mut text);
    }
    for note in &changes.notes {
        text.push_str(&format!("{}: {note}\n", styled(paint, Style::Warning, "note")));
    }
    text.push_str(&summary(changes));
    if let Some(impact) = impact {
        text.push('\n');
        tell_impact(impact, paint, &mut text);
    }
    text
}

const fn title(area: Area) -> &'static str {
    match area {
        Area::Access => "access",
        Area::Mtls => "mtls",
        Area::Tokens => "tokens",
        Area::Routes => "routes",
        Area::Services => "services",
        Area::Gateways => "gateways",
        _ => "mesh",
    }
}

/// The sign of a change, and how it is stressed.
const fn sign(kind: Kind) -> (&'static str, Style) {
    match kind {
        Kind::Added => ("+", Style::Good),
        Kind::Removed => ("-", Style::Bad),
        Kind::Gained => ("+ gained by", Style::Warning),
        Kind::Lost => ("- lost by", Style::Bad),
        _ => ("~", Style::Warning),
    }
}

fn tell(change: &Change, workloads: usize, paint: Paint, text: &mut String) {
    let (sign, style) = sign(change.kind);
    let places = match (&change.old, &change.new) {
        (None, None) => String::new(),
        (old, new) => format!("  ({} → {})", place(old.as_ref()), place(new.as_ref())),
    };
    text.push_str(&format!(
        "  {} {}{places}\n",
        styled(paint, style, sign),
        change.subject
    ));
    facts(&change.facts, text);
    requests(&change.requests, change.more_requests, text);
    if change.workloads.len() < workloads || change.area == Area::Access {
        let verb = if matches!(change.area, Area::Access | Area::Mtls | Area::Tokens) {
            "at"
        } else {
            "sent by"
        };
        text.push_str(&format!("      {verb} {}\n", some(&change.workloads)));
    }
}

/// Names that are told at most; others are counted.
const NAMES: usize = 6;

fn some(names: &[String]) -> String {
    let told = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join("; ");
    match names.len().saturating_sub(NAMES) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

fn place(place: Option<&Place>) -> String {
    place.map_or_else(|| "none".into(), |place| format!("{}:{}", place.file, place.line))
}

fn facts(facts: &[Fact], text: &mut String) {
    for fact in facts {
        text.push_str(&format!("      {fact}\n"));
    }
}

fn requests(requests: &[String], more: usize, text: &mut String) {
    for (index, request) in requests.iter().enumerate() {
        let word = if index == 0 { "for" } else { "   " };
        text.push_str(&format!("      {word} {request}\n"));
    }
    if more > 0 {
        text.push_str(&format!("          and {more} more\n"));
    }
}

fn summary(changes: &Changes) -> String {
    let asked = counted(changes.workloads.len(), "workload");
    match changes.changes.len() {
        0 => format!("no change in meaning, asked for {asked}\n"),
        number => format!("{}, asked for {asked}\n", counted(number, "change")),
    }
}

fn tell_impact(impact: &Impact, paint: Paint, text: &mut String) {
    text.push_str(&format!("{}\n", styled(paint, Style::Label, "impact")));
    for group in &impact.groups {
        tell_group(group, text);
    }
    let skipped = match impact.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} could not be asked"),
    };
    text.push_str(&format!(
        "{} of {} change{skipped}\n",
        impact.changed,
        counted(impact.requests, "recorded request")
    ));
}

fn tell_group(group: &Group, text: &mut String) {
    let number = counted(group.requests, &format!("{} request", group.direction));
    text.push_str(&format!("  ~ {number}\n"));
    facts(&group.facts, text);
    let told = group
        .examples
        .iter()
        .map(|one| format!("{}  (line {}, {})", one.request, one.line, one.workload));
    let told: Vec<String> = told.collect();
    requests(&told, group.requests - group.examples.len(), text);
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}
