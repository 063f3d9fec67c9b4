//! Expectations against what was found: a subset, field by field.

use serde_json::Value as Json;

use super::Difference;
use super::read::{Expectation, Expected};
use crate::policy::diagnostic::nearest;
use crate::time::parse_duration;

/// The field with the policies that could have allowed a request that is denied as none did.
pub(super) const UNMATCHED: &str = "unmatched";

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
        _ => out.push(difference(field, expected, found)),
    }
}

/// Some fields of a test are questions to the answer, not fields of it.
fn named(path: String, name: &str, expected: &Expectation, found: Option<&Json>, out: &mut Vec<Difference>) {
    let there = found.and_then(|found| found.get(name));
    match name {
        "destinations" if matches!(expected.value, Expected::Fields(_)) => shares(&path, expected, there, out),
        "policy" if is_unmatched(expected, found) => {}
        "within" => within(path, expected, found, out),
        "contains" => contains(path, expected, found, out),
        "path" | "authority" | "request_headers" | "response_headers" if there.is_none() => {
            let first = found.and_then(|found| found.get("destinations")?.get(0)?.get(name));
            absent(path, name, expected, (first, None), out);
        }
        _ => absent(path, name, expected, (there, found), out),
    }
}

/// What does not apply is left out of an answer, and then is as good as null; unless the name is only misspelt.
fn absent(
    path: String,
    name: &str,
    expected: &Expectation,
    (there, among): (Option<&Json>, Option<&Json>),
    out: &mut Vec<Difference>,
) {
    if there.is_some() {
        return compare(path, expected, there, out);
    }
    let known = among
        .and_then(Json::as_object)
        .into_iter()
        .flat_map(|fields| fields.keys());
    let near = nearest(name, known.map(String::as_str));
    if near.is_none() && matches!(expected.value, Expected::Value(Json::Null)) {
        return;
    }
    let mut difference = difference(path, expected, None);
    difference.help = near.map(|near| format!("did you mean `{near}`?"));
    out.push(difference);
}

/// `destinations: { v2: 1.0 }`: shares by subset, full name of the service, or its first label. `{}` is none at all.
fn shares(path: &str, expected: &Expectation, found: Option<&Json>, out: &mut Vec<Difference>) {
    let Expected::Fields(fields) = &expected.value else {
        return;
    };
    let none = Vec::new();
    let there = found.and_then(Json::as_array).unwrap_or(&none);
    if fields.is_empty() && !there.is_empty() {
        out.push(difference(path.to_owned(), expected, Some(&by_name(there))));
    }
    for (name, share) in fields {
        let of_name: Vec<_> = there.iter().filter(|one| is_called(one, name)).collect();
        let sum: f64 = of_name.iter().filter_map(|one| one.get("share")?.as_f64()).sum();
        // Sums of fractions are not exact; what nobody can see is not told either.
        let sum = Json::from((sum * 1e9).round() / 1e9);
        let path = format!("{path}.{name}");
        if of_name.is_empty() && !matches!(&share.value, Expected::Value(value) if is_same(value, &sum)) {
            out.push(difference(path, share, Some(&by_name(there))));
        } else {
            compare(path, share, Some(&sum), out);
        }
    }
}

/// All shares, for who has looked for another one.
fn by_name(destinations: &[Json]) -> Json {
    let named = destinations.iter().map(|one| {
        let name = ["subset", "service"].iter().find_map(|field| one.get(field)?.as_str());
        let share = one.get("share").cloned().unwrap_or_default();
        (name.unwrap_or_default().to_owned(), share)
    });
    Json::Object(named.collect())
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
    if is_met {
        return;
    }
    let took = elapsed.map(|elapsed| Json::String(format!("{elapsed}ms")));
    let mut difference = difference(path, expected, took.as_ref());
    difference.help = match (limit, elapsed) {
        (None, _) => Some("expected a duration such as `200ms`".into()),
        (_, None) => Some("only a test with `upstream` takes time".into()),
        _ => None,
    };
    out.push(difference);
}

/// A denial that no rule decides belongs to every policy that could have allowed the request.
fn is_unmatched(expected: &Expectation, found: Option<&Json>) -> bool {
    let unmatched = found.and_then(|found| found.get(UNMATCHED)?.as_array());
    match (&expected.value, unmatched) {
        (Expected::Value(name), Some(unmatched)) => unmatched.contains(name),
        _ => false,
    }
}

/// `contains: text`: some message, or the reason, says so.
fn contains(path: String, expected: &Expectation, found: Option<&Json>, out: &mut Vec<Difference>) {
    let there = found.and_then(|found| found.get("messages").or_else(|| found.get("reason")));
    let says = |message: &Json| match (&expected.value, message) {
        (Expected::Value(Json::String(text)), Json::String(message)) => message.contains(text.as_str()),
        _ => false,
    };
    let is_said = match there {
        Some(Json::Array(messages)) => messages.iter().any(says),
        Some(message) => says(message),
        None => false,
    };
    if !is_said {
        out.push(difference(path, expected, there));
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
        help: None,
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
