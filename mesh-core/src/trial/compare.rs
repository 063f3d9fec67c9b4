//! Expectations against what was found: a subset, field by field.

use serde_json::Value as Json;

use super::Difference;
use super::read::{Expectation, Expected};
use crate::time::parse_duration;

/// The differences between what is expected and what is there. What nobody expects is not looked at.
pub(super) fn differences(expected: &Expectation, found: &Json) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare(String::new(), expected, Some(found), &mut differences);
    differences
}

fn compare(field: String, expected: &Expectation, found: Option<&Json>, out: &mut Vec<Difference>) {
    match (&expected.value, found) {
        (Expected::Fields(fields), Some(Json::Object(_))) => {
            for (name, one) in fields {
                let path = if field.is_empty() {
                    name.clone()
                } else {
                    format!("{field}.{name}")
                };
                named(path, name, one, found, out);
            }
        }
        (Expected::List(items), Some(Json::Array(there))) if items.len() == there.len() => {
            for (index, (item, there)) in items.iter().zip(there).enumerate() {
                compare(format!("{field}[{index}]"), item, Some(there), out);
            }
        }
        (Expected::Value(value), Some(there)) if is_same(value, there) => {}
        // What is left out of an answer is null in it.
        (Expected::Value(Json::Null), None) => {}
        _ => out.push(difference(field, expected, found)),
    }
}

/// Some fields of a test are questions to the answer, not fields of it.
fn named(path: String, name: &str, expected: &Expectation, found: Option<&Json>, out: &mut Vec<Difference>) {
    let there = found.and_then(|found| found.get(name));
    match name {
        "destinations" if matches!(expected.value, Expected::Fields(_)) => shares(&path, expected, there, out),
        "within" => within(path, expected, found, out),
        "contains" => contains(path, expected, found, out),
        "path" | "authority" | "request_headers" | "response_headers" if there.is_none() => {
            let first = found.and_then(|found| found.get("destinations")?.get(0)?.get(name));
            compare(path, expected, first, out);
        }
        _ => compare(path, expected, there, out),
    }
}

/// `destinations: { v2: 1.0 }`: shares by subset, full name of the service, or its first label.
fn shares(path: &str, expected: &Expectation, found: Option<&Json>, out: &mut Vec<Difference>) {
    let Expected::Fields(fields) = &expected.value else {
        return;
    };
    let none = Vec::new();
    let there = found.and_then(Json::as_array).unwrap_or(&none);
    for (name, share) in fields {
        let of_name = there.iter().filter(|one| is_called(one, name));
        let sum = of_name
            .filter_map(|one| one.get("share")?.as_f64())
            .fold(0.0, |sum, share| sum + share);
        let path = format!("{path}.{name}");
        compare(path, share, Some(&Json::from(sum)), out);
    }
}

fn is_called(destination: &Json, name: &str) -> bool {
    let text = |field: &str| destination.get(field).and_then(Json::as_str);
    let service = text("service").unwrap_or_default();
    text("subset") == Some(name) || service == name || service.split('.').next() == Some(name)
}

/// `within: 200ms`: the request took no longer.
fn within(path: String, expected: &Expectation, found: Option<&Json>, out: &mut Vec<Difference>) {
    let elapsed = found.and_then(|found| found.get("elapsed_ms"));
    let limit = match &expected.value {
        Expected::Value(Json::String(text)) => parse_duration(text).ok(),
        _ => None,
    };
    let is_met = limit
        .zip(elapsed.and_then(Json::as_u64))
        .is_some_and(|(limit, elapsed)| u128::from(elapsed) <= limit.as_millis());
    if !is_met {
        out.push(difference(path, expected, elapsed));
    }
}

/// `contains: text`: some message says so.
fn contains(path: String, expected: &Expectation, found: Option<&Json>, out: &mut Vec<Difference>) {
    let messages = found.and_then(|found| found.get("message"));
    let is_said = match (&expected.value, messages) {
        (Expected::Value(Json::String(text)), Some(Json::String(message))) => message.contains(text.as_str()),
        _ => false,
    };
    if !is_said {
        out.push(difference(path, expected, messages));
    }
}

/// Numbers are equal whatever their form: `1` is `1.0`; shares are sums of fractions.
fn is_same(expected: &Json, found: &Json) -> bool {
    match (expected.as_f64(), found.as_f64()) {
        (Some(expected), Some(found)) => (expected - found).abs() < 1e-6,
        _ => expected == found,
    }
}

fn difference(field: String, expected: &Expectation, found: Option<&Json>) -> Difference {
    Difference {
        field,
        expected: text(expected),
        found: found.map_or_else(|| "nothing".into(), Json::to_string),
        line: expected.line,
    }
}

fn text(expected: &Expectation) -> String {
    match &expected.value {
        Expected::Value(value) => value.to_string(),
        Expected::List(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(",")),
        Expected::Fields(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("{name:?}:{}", text(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}
