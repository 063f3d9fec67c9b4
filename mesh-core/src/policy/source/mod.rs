//! Source texts, positions in them, and documents with a span on every node.
//!
//! Messages about a policy are only as good as their positions, so nothing here forgets where it
//! was read. [`Sources`] holds the files, a [`SourceSpan`] is a range of bytes in one of them, and
//! [`parse`] turns a file into [`Document`]s whose every [`Node`] and [`Key`] has a span. YAML is
//! read from events, not through serde: all problems of a file come out in one run (see
//! `docs/adr/0001-yaml-events.md`). JSON is YAML: where it is well formed it takes a shorter way to
//! the same documents (see `docs/adr/0012-json-and-reload.md`).
//!
//! Documents are untrusted: size, nesting and aliases have limits ([`limits`]), and exceeding one
//! is a diagnostic.
//!
//! ```
//! use mesh_core::policy::diagnostic::Report;
//! use mesh_core::policy::source::{Sources, parse};
//!
//! let mut sources = Sources::new();
//! let mut report = Report::new();
//! let file = sources.add("shop.yaml", "kind: Shop\n---\nkind: Cart\n");
//! let documents = parse(&sources, file, &mut report);
//!
//! let kind = documents[1].root.get("kind").unwrap();
//! assert_eq!(kind.as_text(), Some("Cart"));
//! assert_eq!(sources.origin(kind.span).to_string(), "shop.yaml:3:7");
//! assert!(!report.has_errors());
//! ```

use std::fmt;
use std::sync::Arc;

mod build;
mod file;
mod json;
mod keys;
mod syntax;
mod text;
mod tree;

pub use build::{limits, parse};
pub use file::{SourceFile, Sources};
pub use text::Text;
pub use tree::{Document, Key, Node, Scalar, Style, Value};

/// Where an item of a policy was written: what errors, logs and `mesh explain` show.
///
/// Lines and columns count from 1. The default, line 0, stands for what no file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file, as it was named to the loader.
    pub file: Arc<str>,
    /// The line, from 1; 0 where no file says it.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str("built in");
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The number of a file in its [`Sources`]; files are ordered as they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(in crate::policy) u32);

/// A range of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceSpan {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

impl SourceSpan {
    /// The range `start..end` of a file; an `end` before `start` gives an empty range.
    #[must_use]
    pub const fn new(file: FileId, start: u32, end: u32) -> Self {
        let end = if end < start { start } else { end };
        Self { file, start, end }
    }
}

/// A value, and where it was written.
///
/// Only the value counts where two are compared or ordered; it is reached by `.value` or by `*`.
#[derive(Clone, Copy, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: SourceSpan,
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests;
