//! A document that is to be printed.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// A value of a document, its mappings in the order in which they are printed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Tree {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A mapping.
    Map(Vec<(String, Self)>),
    /// What is not printed.
    Nothing,
}

impl Tree {
    pub(in crate::policy::dialect::native) const fn map() -> Self {
        Self::Map(Vec::new())
    }

    pub(in crate::policy::dialect::native) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(in crate::policy::dialect::native) fn number(number: impl Into<i64>) -> Self {
        Self::Number(number.into())
    }

    /// Adds an entry to a mapping, unless there is nothing to print.
    pub(in crate::policy::dialect::native) fn put(&mut self, name: impl Into<String>, value: Self) {
        match self {
            Self::Map(entries) if value != Self::Nothing => entries.push((name.into(), value)),
            _ => {}
        }
    }

    /// Whether it is a mapping or a list without anything in it.
    pub(in crate::policy::dialect::native) const fn is_empty(&self) -> bool {
        match self {
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            _ => false,
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}
