//! Texts, headers, query parameters and hosts, compared as a policy says; compiled once, bytes throughout.
//!
//! A value that is not UTF-8 is compared like any other: it never counts as absent.
//!
//! ```
//! use mesh_core::decide::route::string::TextMatcher;
//! use mesh_core::policy::model::route::StringMatch;
//!
//! let version = TextMatcher::compile(&StringMatch::Regex("v[0-9]+".into())).unwrap();
//! assert!(version.is_match(b"v12"));
//! assert!(!version.is_match(b"v12-beta")); // the whole text has to match
//! ```

mod field;
mod host;
mod pattern;
#[cfg(test)]
mod tests;

use regex::bytes::{Regex, RegexBuilder};
use thiserror::Error;

use super::matcher::PathKey;
use crate::policy::model::route::{PathCase, StringMatch};
use crate::request::{BadPath, PatternShape, canonical_pattern, route_pattern};

pub use field::{HeaderMatcher, QueryMatcher, query_value};
pub use host::{host_covers, host_matches, hosts_overlap, more_specific};
pub use pattern::{InvalidPath, InvalidTemplate, PathTemplate, PatternMatcher, PatternSet, WholeRegex};

/// Memory that a compiled regex may take; what a byte regex of 1024 characters needs.
const REGEX_SIZE: usize = 64 << 10;
/// The same for regexes with Unicode classes (`\p{L}`), whose tables are large.
const UNICODE_REGEX_SIZE: usize = 1 << 20;
/// Istio's limit on the text of a regex.
const REGEX_TEXT: usize = 1024;

/// Why a text cannot be compiled into a matcher.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidMatch {
    /// Not a regular expression, or one with look-around or back references.
    #[error("`{text}` is not a regular expression that runs in linear time: {reason}")]
    Regex {
        /// The expression.
        text: String,
        /// What the compiler said, in one line.
        reason: String,
    },
    /// Longer than 1024 bytes.
    #[error("a regular expression has {0} bytes, the limit is {REGEX_TEXT}")]
    RegexLength(usize),
    /// No request that is served can have such a path.
    #[error("no request is served whose path matches `{text}`: it {reason}")]
    Path {
        /// The text of the path rule.
        text: String,
        /// What is wrong with it.
        reason: BadPath,
    },
}

/// A compiled [`StringMatch`].
#[derive(Clone, Debug)]
pub struct TextMatcher(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Exact(Box<[u8]>),
    ExactFolded(Box<[u8]>),
    Prefix(Box<[u8]>),
    PrefixFolded(Box<[u8]>),
    /// Without its final slash.
    SegmentPrefix(Box<[u8]>, PathCase),
    Regex(Regex),
    Present,
}

impl TextMatcher {
    /// Compiles a match of any text.
    ///
    /// # Errors
    ///
    /// [`InvalidMatch`] where a regex is too long, too large or none.
    pub fn compile(text: &StringMatch) -> Result<Self, InvalidMatch> {
        Self::with_case(text, PathCase::Sensitive)
    }

    /// Compiles a match of a path: its text is brought into canonical form first, but for regexes.
    ///
    /// # Errors
    ///
    /// [`InvalidMatch`] as for [`compile`](Self::compile), and where no path that is served can match.
    pub fn path(text: &StringMatch, case: PathCase) -> Result<Self, InvalidMatch> {
        match text {
            StringMatch::Exact(text) if text != "*" => {
                Self::with_case(&StringMatch::Exact(route_text(text, PatternShape::Whole)?), case)
            }
            StringMatch::Prefix(text) => {
                Self::with_case(&StringMatch::Prefix(route_text(text, PatternShape::Part)?), case)
            }
            StringMatch::SegmentPrefix(text) => {
                Self::with_case(&StringMatch::SegmentPrefix(route_text(text, PatternShape::Part)?), case)
            }
            other => Self::with_case(other, case),
        }
    }

    fn with_case(text: &StringMatch, case: PathCase) -> Result<Self, InvalidMatch> {
        let bytes = |text: &String| Box::from(text.as_bytes());
        Ok(Self(match (text, case) {
            (StringMatch::Exact(text), PathCase::Sensitive) => Kind::Exact(bytes(text)),
            (StringMatch::Exact(text), PathCase::Folded) => Kind::ExactFolded(bytes(text)),
            (StringMatch::Prefix(text), PathCase::Sensitive) => Kind::Prefix(bytes(text)),
            (StringMatch::Prefix(text), PathCase::Folded) => Kind::PrefixFolded(bytes(text)),
            (StringMatch::SegmentPrefix(text), case) => {
                let text = text.strip_suffix('/').unwrap_or(text);
                Kind::SegmentPrefix(text.as_bytes().into(), case)
            }
            (StringMatch::Regex(text), _) => Kind::Regex(regex(text)?),
            (StringMatch::Present, _) => Kind::Present,
        }))
    }

    /// Whether it matches the whole of `text`; [`StringMatch::Present`] matches every text.
    #[must_use]
    #[inline]
    pub fn is_match(&self, text: &[u8]) -> bool {
        match &self.0 {
            Kind::Exact(exact) => **exact == *text,
            Kind::ExactFolded(exact) => exact.eq_ignore_ascii_case(text),
            Kind::Prefix(prefix) => text.starts_with(prefix),
            Kind::PrefixFolded(prefix) => folded_prefix(text, prefix),
            Kind::SegmentPrefix(prefix, case) => {
                let starts = match case {
                    PathCase::Sensitive => text.starts_with(prefix),
                    PathCase::Folded => folded_prefix(text, prefix),
                };
                starts && matches!(text.get(prefix.len()), None | Some(b'/'))
            }
            Kind::Regex(regex) => regex.is_match(text),
            Kind::Present => true,
        }
    }

    /// Whether it matches every path that an index finds by its [key](Self::key).
    pub(super) const fn is_found_by_key(&self) -> bool {
        matches!(self.0, Kind::Exact(_) | Kind::Prefix(_))
    }

    /// Whether it matches a path that an index has found by its [key](Self::key).
    #[inline]
    pub(super) fn is_match_found(&self, path: &[u8]) -> bool {
        match &self.0 {
            _ if self.is_found_by_key() => true,
            Kind::SegmentPrefix(prefix, PathCase::Sensitive) => matches!(path.get(prefix.len()), None | Some(b'/')),
            _ => self.is_match(path),
        }
    }

    /// What an index of paths may file it under. A folded path has no single spelling to file it under.
    pub(super) fn key(&self) -> PathKey<'_> {
        match &self.0 {
            Kind::Exact(path) => PathKey::Exact(path),
            Kind::Prefix(path) | Kind::SegmentPrefix(path, PathCase::Sensitive) => PathKey::Prefix(path),
            _ => PathKey::Any,
        }
    }

    /// The only text that it matches, where there is but one.
    #[must_use]
    pub fn exact(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Exact(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it only asks that there is a value.
    #[must_use]
    pub const fn is_presence(&self) -> bool {
        matches!(self.0, Kind::Present)
    }
}

fn folded_prefix(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The text of a rule that guards paths, in the form that canonical paths have.
fn path_text(text: &str, shape: PatternShape) -> Result<String, InvalidMatch> {
    canonical_pattern(text, shape).map_err(|reason| not_served(text, reason))
}

/// The same for a rule that routes.
fn route_text(text: &str, shape: PatternShape) -> Result<String, InvalidMatch> {
    route_pattern(text, shape).map_err(|reason| not_served(text, reason))
}

fn not_served(text: &str, reason: BadPath) -> InvalidMatch {
    InvalidMatch::Path {
        text: text.into(),
        reason,
    }
}

/// Compiles a regex that has to match a whole text, as RE2's `FullMatch` does.
///
/// Bytes where possible: `.` then takes what is not UTF-8, too. Only Unicode classes need the other mode.
fn regex(text: &str) -> Result<Regex, InvalidMatch> {
    if text.len() > REGEX_TEXT {
        return Err(InvalidMatch::RegexLength(text.len()));
    }
    let build = |text: &str, unicode, size| RegexBuilder::new(text).unicode(unicode).size_limit(size).build();
    let anchored = format!(r"\A(?:{text})\z");
    // The text must be an expression by itself: `a)|(?:b` would only be one inside of the anchors.
    let compiled = build(text, false, REGEX_SIZE)
        .and_then(|_| build(&anchored, false, REGEX_SIZE))
        .or_else(|_| build(text, true, UNICODE_REGEX_SIZE).and_then(|_| build(&anchored, true, UNICODE_REGEX_SIZE)));
    compiled.map_err(|error| InvalidMatch::Regex {
        text: text.into(),
        reason: last_line(&error.to_string()),
    })
}

/// The compiler draws the expression first; the reason stands in its last line.
fn last_line(message: &str) -> String {
    let line = message.lines().next_back().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
