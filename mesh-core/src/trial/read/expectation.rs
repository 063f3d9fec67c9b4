//! What tests expect, with the place of every part.

use serde_json::Value as Json;

use crate::policy::reader::Reader;
use crate::policy::source::{Node, Style, Value};

/// What is expected, with its place.
#[derive(Debug)]
pub(in crate::trial) struct Expectation {
    pub(in crate::trial) value: Expected,
    pub(in crate::trial) line: u32,
}

#[derive(Debug)]
pub(in crate::trial) enum Expected {
    Value(Json),
    List(Vec<Expectation>),
    Fields(Vec<(String, Expectation)>),
}

/// A test that expects nothing would pass whatever the policy says.
pub(super) fn read(cx: &Reader<'_>, node: &Node) -> Option<Expectation> {
    match &node.value {
        Value::Mapping(entries) if !entries.is_empty() => Some(expectation(cx, node)),
        Value::Mapping(_) => cx.invalid(node, "expected at least one field"),
        _ => cx.wrong_type(node, "a mapping"),
    }
}

fn expectation(cx: &Reader<'_>, node: &Node) -> Expectation {
    let value = match &node.value {
        Value::Mapping(entries) => {
            let fields = entries
                .iter()
                .map(|(key, value)| (key.name.to_string(), expectation(cx, value)));
            Expected::Fields(fields.collect())
        }
        Value::Sequence(items) => Expected::List(items.iter().map(|item| expectation(cx, item)).collect()),
        Value::Scalar(scalar) if scalar.style == Style::Plain => Expected::Value(plain(&scalar.text)),
        Value::Scalar(scalar) => Expected::Value(Json::String(scalar.text.to_string())),
        _ => Expected::Value(Json::Null),
    };
    let line = cx.origin(node.span).line;
    Expectation { value, line }
}

/// A plain scalar: a boolean, a number, or text.
fn plain(text: &str) -> Json {
    match serde_json::from_str::<Json>(text) {
        Ok(value @ (Json::Bool(_) | Json::Number(_) | Json::Null)) => value,
        _ => Json::String(text.to_owned()),
    }
}
