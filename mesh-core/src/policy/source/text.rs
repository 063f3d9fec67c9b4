//! Texts of scalars and keys, which stay where they were read.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::file::offset;

/// A piece of a file's text, or a text of its own where the file writes it in another way.
///
/// Most texts stand in the file as they are: a piece shares the file's text, and costs no allocation.
#[derive(Clone)]
pub struct Text {
    whole: Arc<str>,
    start: u32,
    end: u32,
}

impl Text {
    /// The bytes `start..end` of a text, which are its whole characters; empty where they are not.
    pub(super) fn piece(whole: &Arc<str>, start: u32, end: u32) -> Self {
        let whole = Arc::clone(whole);
        Self { whole, start, end }
    }

    /// The text as it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.whole
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// How many bytes it has, without a look at them.
    pub(in crate::policy) const fn length(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether this is the text, where most are not: lengths are compared first.
    pub(in crate::policy) fn is(&self, text: &str) -> bool {
        self.length() == text.len() && self.as_str() == text
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self {
            whole: text.into(),
            start: 0,
            end: offset(text.len()),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}
