//! Claims of a token, as files of tests write them.

use serde_json::{Map, Number, Value as Json};

use crate::policy::reader::Reader;
use crate::policy::source::{Node, Scalar, Style, Value};

/// Reads a mapping, of which plain numbers and truth values are what they look like.
pub(super) fn read(cx: &Reader<'_>, node: &Node) -> Option<Map<String, Json>> {
    match json(node)? {
        Json::Object(claims) => Some(claims),
        _ => cx.wrong_type(node, "a mapping"),
    }
}

fn json(node: &Node) -> Option<Json> {
    Some(match &node.value {
        Value::Null => Json::Null,
        Value::Scalar(value) => scalar(value),
        Value::Sequence(items) => items.iter().map(json).collect::<Option<_>>()?,
        Value::Mapping(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| Some((key.name.to_string(), json(value)?)));
            Json::Object(entries.collect::<Option<_>>()?)
        }
        Value::Refused => return None,
    })
}

fn scalar(scalar: &Scalar) -> Json {
    let plain = (scalar.style == Style::Plain).then_some(&*scalar.text);
    match plain {
        Some("true") => Json::Bool(true),
        Some("false") => Json::Bool(false),
        Some(text) => text.parse::<Number>().map_or_else(|_| text.into(), Json::Number),
        None => (*scalar.text).into(),
    }
}
