//! The keys of mappings: plain text, each once.

use std::collections::BTreeSet;

use super::SourceSpan;
use super::tree::{Key, Node, Style, Value};
use crate::policy::diagnostic::{Code, Diagnostic, Report, quoted};

/// Takes a node as a key; `None` where it is none, and reported.
pub(super) fn key(node: Node, report: &mut Report) -> Option<Key> {
    let problem = match node.value {
        Value::Scalar(scalar) if scalar.style == Style::Plain && *scalar.text == *"<<" => {
            Diagnostic::new(Code::MERGE_KEY, node.span, "merge keys (`<<`) are not supported")
                .with_help("write the keys out, or give the whole mapping by an alias (`key: *anchor`)")
        }
        Value::Scalar(scalar) => {
            return Some(Key {
                name: scalar.text,
                span: node.span,
            });
        }
        Value::Refused => return None,
        Value::Null => Diagnostic::new(Code::SYNTAX, node.span, "expected a key before `:`, found nothing"),
        Value::Sequence(_) | Value::Mapping(_) => Diagnostic::new(
            Code::SYNTAX,
            node.span,
            "expected a key of plain text, found a list or mapping",
        )
        .with_help("text that begins with `{` or `[` needs quotes; templates are rendered before they are loaded"),
    };
    report.push(problem);
    None
}

/// Reports keys that are given twice, and keeps the first of each. O(n log n).
pub(super) fn without_duplicates(mut entries: Vec<(Key, Node)>, report: &mut Report) -> Vec<(Key, Node)> {
    let mut order: Vec<(&Key, usize)> = entries.iter().map(|(key, _)| key).zip(0..).collect();
    order.sort_by_key(|(key, _)| &*key.name);
    let mut duplicates = BTreeSet::new();
    let mut first: Option<&Key> = None;
    for (key, index) in order {
        match first {
            Some(first) if first.name == key.name => {
                report.push(duplicate(key, first.span));
                duplicates.insert(index);
            }
            _ => first = Some(key),
        }
    }
    let mut indexes = 0..;
    entries.retain(|_| indexes.next().is_none_or(|index| !duplicates.contains(&index)));
    entries
}

fn duplicate(key: &Key, first: SourceSpan) -> Diagnostic {
    let message = format!("key {} is given twice", quoted(&key.name));
    Diagnostic::new(Code::DUPLICATE_KEY, key.span, message)
        .with_label(first, "first given here")
        .with_help("remove one of the two")
}
