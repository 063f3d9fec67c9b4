//! The tree of a document.

use std::sync::Arc;

use super::{SourceSpan, Text};

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Document {
    /// Its outermost node; documents are cheap to clone.
    pub root: Arc<Node>,
}

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// Where it is written. What came through an alias has the span of its definition.
    pub span: SourceSpan,
    /// What is written there.
    pub value: Value,
}

/// What a node holds. The set is complete: YAML and JSON know no other kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or a plain `null`.
    Null,
    /// A single value; its type is decided by the reader that asks.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the text, without duplicate keys.
    Mapping(Vec<(Key, Node)>),
    /// Something that is reported already (a tag, a bad alias): readers pass it over in silence.
    Refused,
}

/// The text of a scalar, unescaped, and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scalar {
    /// The text without quotes and escapes.
    pub text: Text,
    /// Whether it was quoted.
    pub style: Style,
}

/// How a scalar was written: a quoted one is always text. The set is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: text, a number or a boolean.
    Plain,
    /// In single or double quotes, or as a block (`|`, `>`).
    Quoted,
}

/// The key of a mapping's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// The text without quotes and escapes.
    pub name: Text,
    /// Where it is written.
    pub span: SourceSpan,
}

impl Node {
    pub(super) const fn new(span: SourceSpan, value: Value) -> Self {
        Self { span, value }
    }

    /// The value under a key, where this is a mapping that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find_map(|(key, node)| key.name.is(name).then_some(node))
    }

    /// The entries of a mapping; none of anything else.
    #[must_use]
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar, quoted or not.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether this is nothing, `~` or a plain `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }
}
