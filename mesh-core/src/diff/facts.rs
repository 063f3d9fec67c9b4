//! Answers as flat lists of facts, and what differs between two of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

/// One fact on both sides; what is not there is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Fact {
    /// Its name, such as `retry.attempts`.
    pub field: String,
    /// What it was.
    pub old: Json,
    /// What it is.
    pub new: Json,
}

/// Facts by name.
pub(super) type Facts = BTreeMap<String, Json>;

/// The facts that differ, by name. What one side does not say is null.
pub(super) fn differences(old: &Facts, new: &Facts) -> Vec<Fact> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let fact = |field: &String| {
        let value = |facts: &Facts| facts.get(field).cloned().unwrap_or_default();
        Fact {
            field: field.clone(),
            old: value(old),
            new: value(new),
        }
    };
    names
        .into_iter()
        .map(fact)
        .filter(|fact| !is_same(&fact.old, &fact.new))
        .collect()
}

/// The same of two answers: what becomes of the request first; where that differs, how long and how often it would be
/// tried is no news of its own.
pub(super) fn of_answers(old: &Json, new: &Json) -> Vec<Fact> {
    between(&of_answer(old), &of_answer(new))
}

/// The same of facts of two answers.
pub(super) fn between(old: &Facts, new: &Facts) -> Vec<Fact> {
    let mut facts = differences(old, new);
    let is_outcome = |fact: &Fact| matches!(fact.field.as_str(), "outcome" | "decision");
    if facts.iter().any(is_outcome) {
        facts.retain(|fact| !fact.field.starts_with("retry.") && fact.field != "timeout_ms");
        facts.sort_by_key(|fact| !is_outcome(fact));
    }
    facts
}

fn is_same(old: &Json, new: &Json) -> bool {
    match (old.as_f64(), new.as_f64()) {
        (Some(old), Some(new)) => (old - new).abs() < 1e-6,
        _ => old == new,
    }
}

/// What an answer of `explain` says of a request, without where it is written and how it is told.
pub(super) fn of_answer(answer: &Json) -> Facts {
    let mut facts = Facts::new();
    for (name, value) in answer.as_object().into_iter().flatten() {
        match name.as_str() {
            "direction" | "route" | "origin" | "delegated" | "reason" | "policy" | "rule" => {}
            "destinations" => by_service(value, "destination", &mut facts),
            "mirrors" => by_service(value, "mirror", &mut facts),
            _ => flatten(name, value, &mut facts),
        }
    }
    facts
}

/// Destinations have names, not places: their order says nothing, and two to the same service are one.
fn by_service(list: &Json, what: &str, facts: &mut Facts) {
    for one in list.as_array().into_iter().flatten() {
        let text = |field: &str| one.get(field).and_then(Json::as_str);
        let mut name = format!("{what} {}", text("service").unwrap_or_default());
        if let Some(port) = one.get("port") {
            name.push_str(&format!(":{port}"));
        }
        if let Some(subset) = text("subset") {
            name.push_str(&format!(" subset {subset}"));
        }
        for (field, value) in one.as_object().into_iter().flatten() {
            match field.as_str() {
                "service" | "subset" | "port" | "endpoints" => {}
                "share" | "percent" => add_share(&format!("{name} {field}"), value, facts),
                _ => flatten(&format!("{name} {field}"), value, facts),
            }
        }
    }
}

fn add_share(name: &str, share: &Json, facts: &mut Facts) {
    let before = facts.get(name).and_then(Json::as_f64).unwrap_or_default();
    let sum = before + share.as_f64().unwrap_or_default();
    facts.insert(name.to_owned(), Json::from((sum * 1e6).round() / 1e6));
}

/// Null says nothing; the order of conditions of a retry says nothing either.
pub(super) fn flatten(name: &str, value: &Json, facts: &mut Facts) {
    match value {
        Json::Null => {}
        Json::Object(fields) => {
            for (field, value) in fields {
                flatten(&format!("{name}.{field}"), value, facts);
            }
        }
        Json::Array(items) if name == "retry.on" => {
            let mut sorted = items.clone();
            sorted.sort_by_key(Json::to_string);
            facts.insert(name.to_owned(), Json::Array(sorted));
        }
        Json::Array(items) if items.is_empty() => {}
        value => {
            facts.insert(name.to_owned(), value.clone());
        }
    }
}

/// `timeout: 5s → 9s`.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Unit::of(&self.field);
        let field = self.field.replace("_ms", "");
        let field = unit.strip(&field);
        write!(f, "{field}: {} → {}", unit.text(&self.old), unit.text(&self.new))
    }
}

/// How a value is told to people.
#[derive(Clone, Copy)]
enum Unit {
    Share,
    Percent,
    Millis,
    Plain,
}

impl Unit {
    fn of(field: &str) -> Self {
        if field.ends_with(" share") {
            Self::Share
        } else if field.ends_with("percent") {
            Self::Percent
        } else if field.ends_with("_ms") {
            Self::Millis
        } else {
            Self::Plain
        }
    }

    fn strip(self, field: &str) -> &str {
        match self {
            Self::Share => field.strip_suffix(" share").unwrap_or(field),
            _ => field,
        }
    }

    fn text(self, value: &Json) -> String {
        match (self, value) {
            (_, Json::Null) => "none".into(),
            (Self::Share, value) => percent(value.as_f64().unwrap_or_default() * 100.0),
            (Self::Percent, value) => percent(value.as_f64().unwrap_or_default()),
            (Self::Millis, value) => duration(value.as_u64().unwrap_or_default()),
            (_, Json::String(text)) => text.clone(),
            (_, Json::Array(items)) => {
                let items = items.iter().map(|item| Self::Plain.text(item));
                items.collect::<Vec<_>>().join(", ")
            }
            (_, value) => value.to_string(),
        }
    }
}

fn percent(value: f64) -> String {
    format!("{}%", (value * 1e4).round() / 1e4)
}

fn duration(millis: u64) -> String {
    match millis {
        0 => "0s".into(),
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}
