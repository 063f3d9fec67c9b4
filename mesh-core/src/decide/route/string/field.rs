//! Matchers of header fields and query parameters.

use http::{HeaderMap, HeaderName};

use super::{InvalidMatch, TextMatcher};
use crate::policy::model::route::StringMatch;
use crate::request::joined;

/// A condition on a header, or on its not matching.
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    name: HeaderName,
    value: TextMatcher,
    sense: Sense,
}

#[derive(Clone, Copy, Debug)]
enum Sense {
    With,
    Without,
}

impl HeaderMatcher {
    /// The header is there and its lines, joined by commas, match.
    ///
    /// # Errors
    ///
    /// [`InvalidMatch`] as for [`TextMatcher::compile`].
    pub fn with(name: HeaderName, value: &StringMatch) -> Result<Self, InvalidMatch> {
        let (value, sense) = (TextMatcher::compile(value)?, Sense::With);
        Ok(Self { name, value, sense })
    }

    /// The header does not match. A missing header counts as an empty text, so that it satisfies `without` an exact
    /// `a`, but not `without` an exact empty text or the regex `.*`. Without presence it must be missing.
    ///
    /// # Errors
    ///
    /// [`InvalidMatch`] as for [`TextMatcher::compile`].
    pub fn without(name: HeaderName, value: &StringMatch) -> Result<Self, InvalidMatch> {
        let (value, sense) = (TextMatcher::compile(value)?, Sense::Without);
        Ok(Self { name, value, sense })
    }

    /// The header.
    #[must_use]
    pub const fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The only value that the header may have, where there is but one.
    #[must_use]
    pub fn exact(&self) -> Option<&[u8]> {
        match self.sense {
            Sense::With => self.value.exact(),
            Sense::Without => None,
        }
    }

    /// Whether the condition holds.
    #[must_use]
    pub fn is_match(&self, headers: &HeaderMap) -> bool {
        self.holds(joined(headers, &self.name).as_deref())
    }

    /// Whether the condition holds for the lines of the header, [joined]; `None` where there is none.
    #[must_use]
    #[inline]
    pub fn holds(&self, value: Option<&[u8]>) -> bool {
        match self.sense {
            Sense::With => value.is_some_and(|value| self.value.is_match(value)),
            Sense::Without if self.value.is_presence() => value.is_none(),
            Sense::Without => !self.value.is_match(value.unwrap_or_default()),
        }
    }
}

/// A condition on a query parameter: its first occurrence, as raw text.
#[derive(Clone, Debug)]
pub struct QueryMatcher {
    name: Box<str>,
    value: TextMatcher,
}

impl QueryMatcher {
    /// The parameter is there and its value matches.
    ///
    /// # Errors
    ///
    /// [`InvalidMatch`] as for [`TextMatcher::compile`].
    pub fn new(name: &str, value: &StringMatch) -> Result<Self, InvalidMatch> {
        let (name, value) = (name.into(), TextMatcher::compile(value)?);
        Ok(Self { name, value })
    }

    /// Whether the condition holds.
    #[must_use]
    pub fn is_match(&self, query: Option<&str>) -> bool {
        query_value(query, &self.name).is_some_and(|value| self.value.is_match(value.as_bytes()))
    }
}

/// The raw value of the first parameter of this name; `?name` has the empty value.
///
/// ```
/// use mesh_core::decide::route::string::query_value;
/// assert_eq!(query_value(Some("a=1&b&a=2"), "a"), Some("1"));
/// assert_eq!(query_value(Some("a=1&b&a=2"), "b"), Some(""));
/// assert_eq!(query_value(None, "a"), None);
/// ```
#[must_use]
pub fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}
