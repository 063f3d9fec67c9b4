//! Forms made of forms.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde_json::{Value as Json, json};

use super::{Form, Schema, Scope, Tree};
use crate::policy::reader::{Reader, list_of};
use crate::policy::source::{Key, Node, Value};

/// A value that may be absent.
pub(in crate::policy::dialect::native) struct Opt<F>(PhantomData<F>);

impl<F: Form> Form for Opt<F> {
    type Of = Option<F::Of>;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of> {
        F::read(cx, node, scope).map(Some)
    }

    fn write(value: &Self::Of) -> Tree {
        value.as_ref().map_or(Tree::Nothing, F::write)
    }

    fn schema(schema: &mut Schema) -> Json {
        F::schema(schema)
    }
}

/// A list.
pub(in crate::policy::dialect::native) struct List<F>(PhantomData<F>);

impl<F: Form> Form for List<F> {
    type Of = Vec<F::Of>;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of> {
        list_of(|cx: &Reader<'_>, node: &Node| F::read(cx, node, scope))(cx, node)
    }

    fn write(value: &Self::Of) -> Tree {
        Tree::List(value.iter().map(F::write).collect())
    }

    fn schema(schema: &mut Schema) -> Json {
        json!({ "type": "array", "items": F::schema(schema) })
    }
}

/// A list with at least one item, where an empty one would mean something else than its absence.
pub(in crate::policy::dialect::native) struct NonEmpty<F>(PhantomData<F>);

impl<F: Form> Form for NonEmpty<F> {
    type Of = Vec<F::Of>;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of> {
        if matches!(&node.value, Value::Sequence(items) if items.is_empty()) {
            return cx.invalid(node, "expected at least one value, found an empty list");
        }
        List::<F>::read(cx, node, scope)
    }

    fn write(value: &Self::Of) -> Tree {
        List::<F>::write(value)
    }

    fn schema(schema: &mut Schema) -> Json {
        json!({ "type": "array", "minItems": 1, "items": F::schema(schema) })
    }
}

/// A value that holds others of its sort.
pub(in crate::policy::dialect::native) struct Boxed<F>(PhantomData<F>);

impl<F: Form> Form for Boxed<F> {
    type Of = Box<F::Of>;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of> {
        F::read(cx, node, scope).map(Box::new)
    }

    fn write(value: &Self::Of) -> Tree {
        F::write(value)
    }

    fn schema(schema: &mut Schema) -> Json {
        F::schema(schema)
    }
}

/// How the key of a mapping is written.
pub(in crate::policy::dialect::native) trait Place {
    /// The key.
    type Of: PartialEq;
    /// Reads it.
    fn read_key(cx: &Reader<'_>, key: &Key) -> Option<Self::Of>;
    /// Prints it.
    fn write_key(key: &Self::Of) -> String;
}

/// A mapping whose order counts, as a list of pairs. A key that comes again needs a list of mappings.
pub(in crate::policy::dialect::native) struct Pairs<K, F>(PhantomData<(K, F)>);

impl<K: Place, F: Form> Form for Pairs<K, F> {
    type Of = Vec<(K::Of, F::Of)>;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of> {
        match &node.value {
            Value::Mapping(entries) => Some(pairs::<K, F>(cx, entries, scope)),
            Value::Sequence(items) => {
                let mut all = Vec::new();
                for item in items {
                    match &item.value {
                        Value::Mapping(entries) => all.extend(pairs::<K, F>(cx, entries, scope)),
                        _ => return cx.wrong_type(item, "a mapping"),
                    }
                }
                Some(all)
            }
            _ => cx.wrong_type(node, "a mapping"),
        }
    }

    fn write(value: &Self::Of) -> Tree {
        let entry = |(key, value): &(K::Of, F::Of)| (K::write_key(key), F::write(value));
        let is_again = |index: usize, key: &K::Of| value.iter().take(index).any(|(other, _)| other == key);
        match value.iter().enumerate().any(|(index, (key, _))| is_again(index, key)) {
            true => Tree::List(value.iter().map(|pair| Tree::Map(vec![entry(pair)])).collect()),
            false => Tree::Map(value.iter().map(entry).collect()),
        }
    }

    fn schema(schema: &mut Schema) -> Json {
        let value = F::schema(schema);
        let map = json!({ "type": "object", "additionalProperties": value });
        json!({ "oneOf": [map, { "type": "array", "items": map }] })
    }
}

fn pairs<K: Place, F: Form>(cx: &Reader<'_>, entries: &[(Key, Node)], scope: Scope<'_>) -> Vec<(K::Of, F::Of)> {
    let mut pairs: Vec<(K::Of, F::Of)> = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let value = cx.in_key(key, || F::read(cx, node, scope));
        let Some(name) = K::read_key(cx, key) else { continue };
        if pairs.iter().any(|(other, _)| *other == name) {
            cx.invalid_key(key, "the same key, written otherwise, is given before");
        }
        pairs.extend(value.map(|value| (name, value)));
    }
    pairs
}

/// A mapping by keys that the user chooses.
pub(in crate::policy::dialect::native) struct TextMap<K, F>(PhantomData<(K, F)>);

impl<K: Place, F: Form> Form for TextMap<K, F>
where
    K::Of: Ord,
{
    type Of = BTreeMap<K::Of, F::Of>;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of> {
        match &node.value {
            Value::Mapping(entries) => Some(pairs::<K, F>(cx, entries, scope).into_iter().collect()),
            _ => cx.wrong_type(node, "a mapping"),
        }
    }

    fn write(value: &Self::Of) -> Tree {
        let entry = |(key, value): (&K::Of, &F::Of)| (K::write_key(key), F::write(value));
        Tree::Map(value.iter().map(entry).collect())
    }

    fn schema(schema: &mut Schema) -> Json {
        json!({ "type": "object", "additionalProperties": F::schema(schema) })
    }
}
