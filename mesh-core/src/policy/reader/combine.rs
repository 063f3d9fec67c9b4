//! Reading functions made of reading functions.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::Reader;
use crate::policy::source::{Node, Spanned, Value};

/// Keeps where the value was written.
pub fn spanned<'a, 'n, T>(
    mut read: impl FnMut(&Reader<'a>, &'n Node) -> Option<T>,
) -> impl FnMut(&Reader<'a>, &'n Node) -> Option<Spanned<T>> {
    move |cx, node| read(cx, node).map(|value| Spanned { value, span: node.span })
}

/// Reads a list; items that are wrong are left out.
pub fn list_of<'a, 'n, T>(
    mut read: impl FnMut(&Reader<'a>, &'n Node) -> Option<T>,
) -> impl FnMut(&Reader<'a>, &'n Node) -> Option<Vec<T>> {
    move |cx, node| match &node.value {
        Value::Sequence(items) => {
            let mut list = Vec::with_capacity(items.len());
            list.extend(items.iter().filter_map(|item| read(cx, item)));
            Some(list)
        }
        _ => cx.wrong_type(node, "a list"),
    }
}

/// Reads a mapping from names that the user chooses; values that are wrong are left out.
pub fn map_of<'a, 'n, T>(
    mut read: impl FnMut(&Reader<'a>, &'n Node) -> Option<T>,
) -> impl FnMut(&Reader<'a>, &'n Node) -> Option<BTreeMap<String, T>> {
    move |cx, node| match &node.value {
        Value::Mapping(entries) => {
            let values = entries
                .iter()
                .filter_map(|(key, value)| Some((key.name.to_string(), cx.in_key(key, || read(cx, value))?)));
            Some(values.collect())
        }
        _ => cx.wrong_type(node, "a mapping"),
    }
}

/// Reads one of these names; the message lists them.
pub fn choice<T: Copy>(table: &[(&'static str, T)]) -> impl Fn(&Reader<'_>, &Node) -> Option<T> {
    move |cx, node| {
        let Some(text) = node.as_text() else {
            return cx.wrong_type(node, "text");
        };
        if let Some((_, value)) = table.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        cx.unknown(node, "value", &names)
    }
}

/// Reads a whole number of this range.
pub fn within<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(&Reader<'_>, &Node) -> Option<T> {
    move |cx, node| {
        let value = cx.integer(node, &range)?;
        T::try_from(value).ok()
    }
}
