//! `-o sarif`: a log of SARIF 2.1.0, which code scanning takes.
//!
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use mesh_core::policy::diagnostic::{Code, JsonDiagnostic, JsonFix, JsonPlace, JsonReport, Severity};
use serde_json::{Map, Value, json};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log: one run, whose rules are all codes, so that the index of a rule never depends on the findings.
pub(super) fn log(report: &JsonReport) -> Value {
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "mesh",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": Code::ALL.iter().map(rule).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": report.diagnostics.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn rule(code: &Code) -> Value {
    json!({
        "id": code.id(),
        "name": code.title(),
        "shortDescription": { "text": code.title() },
        "fullDescription": { "text": code.explanation() },
        "help": { "text": code.explanation() },
        "defaultConfiguration": { "level": level(code.severity()) },
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn result(one: &JsonDiagnostic) -> Value {
    let text = match &one.help {
        Some(help) => format!("{}\nhelp: {help}", one.message),
        None => one.message.clone(),
    };
    let mut result = json!({
        "ruleId": one.code,
        "ruleIndex": Code::ALL.iter().position(|code| code.id() == one.code),
        "level": level(one.severity),
        "message": { "text": text },
    });
    let place = place_of(one);
    let related = one.labels.iter().enumerate().filter_map(|(id, label)| {
        let location = location(&label.place)?;
        Some(with(
            location,
            [("id", json!(id)), ("message", json!({ "text": label.message }))],
        ))
    });
    let related: Vec<Value> = related.collect();
    let fixes = one.fix.as_ref().and_then(fix).map(|fix| vec![fix]);
    let parts = [
        ("locations", location(&place).map(|location| vec![location])),
        ("relatedLocations", Some(related).filter(|related| !related.is_empty())),
        ("fixes", fixes),
    ];
    if let Some(object) = result.as_object_mut() {
        let given = parts
            .into_iter()
            .filter_map(|(name, part)| Some((name.into(), json!(part?))));
        object.extend(given);
    }
    result
}

fn place_of(one: &JsonDiagnostic) -> JsonPlace {
    let mut place = JsonPlace::default();
    place.file.clone_from(&one.file);
    (place.line, place.column) = (one.line, one.column);
    (place.end_line, place.end_column) = (one.end_line, one.end_column);
    place
}

/// A file, and the range in it where there is one.
fn location(place: &JsonPlace) -> Option<Value> {
    let mut physical = Map::new();
    physical.insert("artifactLocation".into(), json!({ "uri": uri(place.file.as_deref()?) }));
    if place.line.is_some() {
        physical.insert("region".into(), region(place));
    }
    Some(json!({ "physicalLocation": physical }))
}

fn region(place: &JsonPlace) -> Value {
    let fields = [
        ("startLine", place.line),
        ("startColumn", place.column),
        ("endLine", place.end_line),
        ("endColumn", place.end_column),
    ];
    let given = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.into(), json!(value?))));
    Value::Object(given.collect())
}

fn fix(fix: &JsonFix) -> Option<Value> {
    let change = json!({
        "artifactLocation": { "uri": uri(fix.place.file.as_deref()?) },
        "replacements": [{
            "deletedRegion": region(&fix.place),
            "insertedContent": { "text": fix.replacement },
        }],
    });
    Some(json!({
        "description": { "text": format!("write `{}`", fix.replacement) },
        "artifactChanges": [change],
    }))
}

fn with<const N: usize>(mut value: Value, fields: [(&str, Value); N]) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.extend(fields.map(|(name, value)| (name.into(), value)));
    }
    value
}

/// A path as a reference by RFC 3986: relative paths stay relative, `\` is `/`.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    let path = path.strip_prefix("./").unwrap_or(path).replace('\\', "/");
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_references() {
        assert_eq!(uri("./policy/my shop.yaml"), "policy/my%20shop.yaml");
        assert_eq!(uri("/etc/mesh/a.yaml"), "file:///etc/mesh/a.yaml");
        assert_eq!(uri("ä:b"), "%C3%A4%3Ab");
        assert_eq!(uri("a\\b"), "a/b");
    }
}
