//! Matchers of the patterns of authorization policies.

use regex::bytes::Regex;
use thiserror::Error;

use super::{InvalidMatch, path_text, regex};
use crate::policy::model::authz::Pattern;
use crate::request::PatternShape;

/// A compiled [`Pattern`]. Compares the whole text, with its case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternMatcher {
    /// `abc`
    Exact(Box<str>),
    /// `abc*`
    Prefix(Box<str>),
    /// `*abc`
    Suffix(Box<str>),
    /// `*`: not empty.
    Present,
    /// `a*b*c`: each `*` is any text. The start, the parts between, the end.
    Glob(Box<str>, Box<[Box<str>]>, Box<str>),
    /// A path template.
    Template(PathTemplate),
    /// All of the text.
    Regex(WholeRegex),
}

/// A regex that the whole text must match.
#[derive(Clone, Debug)]
pub struct WholeRegex(Regex);

impl PartialEq for WholeRegex {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for WholeRegex {}

/// Why a pattern cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a path template: {reason}")]
pub struct InvalidTemplate {
    text: String,
    reason: &'static str,
}

impl PatternMatcher {
    /// Compiles a pattern of any text but a path.
    #[must_use]
    pub fn compile(pattern: &Pattern) -> Self {
        match pattern {
            Pattern::Exact(text) => Self::Exact(text.as_str().into()),
            Pattern::Prefix(text) => Self::Prefix(text.as_str().into()),
            Pattern::Suffix(text) => Self::Suffix(text.as_str().into()),
            Pattern::Present => Self::Present,
            Pattern::Glob(text) | Pattern::Template(text) => glob(text),
            // A text that is no regex is let through by no dialect; it matches nothing.
            Pattern::Regex(text) => match regex(text) {
                Ok(regex) => Self::Regex(WholeRegex(regex)),
                Err(_) => Self::Exact("\u{0}".into()),
            },
        }
    }

    /// Compiles a pattern of a path: its text is brought into canonical form first.
    ///
    /// # Errors
    ///
    /// A text where no path that is served can match, or where a template is malformed.
    pub fn path(pattern: &Pattern) -> Result<Self, InvalidPath> {
        Ok(match pattern {
            Pattern::Exact(text) if text != "*" => Self::Exact(path_text(text, PatternShape::Whole)?.into()),
            Pattern::Prefix(text) => Self::Prefix(path_text(text, PatternShape::Part)?.into()),
            Pattern::Suffix(text) => Self::Suffix(path_text(text, PatternShape::Part)?.into()),
            Pattern::Template(text) => Self::Template(PathTemplate::parse(text)?),
            Pattern::Regex(text) => Self::Regex(WholeRegex(regex(text)?)),
            other => Self::compile(other),
        })
    }

    /// Compiles a pattern of any text but a path, and refuses a regex that is none.
    ///
    /// # Errors
    ///
    /// [`InvalidMatch`] for a regex that is too long, too large or none.
    pub fn checked(pattern: &Pattern) -> Result<Self, InvalidMatch> {
        match pattern {
            Pattern::Regex(text) => Ok(Self::Regex(WholeRegex(regex(text)?))),
            other => Ok(Self::compile(other)),
        }
    }

    /// Whether the text matches.
    #[must_use]
    #[inline]
    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Present => !text.is_empty(),
            Self::Glob(start, parts, end) => glob_matches(text, start, parts, end),
            Self::Template(template) => template.is_match(text),
            Self::Regex(regex) => regex.0.is_match(text.as_bytes()),
        }
    }
}

fn glob(text: &str) -> PatternMatcher {
    let Some((start, rest)) = text.split_once('*') else {
        return PatternMatcher::Exact(text.into());
    };
    let (parts, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let parts = parts.split('*').filter(|part| !part.is_empty()).map(Box::from);
    PatternMatcher::Glob(start.into(), parts.collect(), end.into())
}

/// Takes each part where it comes first: what is left for the others is then the longest. Linear in the text.
fn glob_matches(text: &str, start: &str, parts: &[Box<str>], end: &str) -> bool {
    let Some(mut rest) = text.strip_prefix(start) else {
        return false;
    };
    for part in parts {
        match rest.split_once(&**part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(end)
}

/// A path of segments with `{*}` for one of them and `{**}` for any number.
///
/// ```
/// use mesh_core::decide::route::string::PathTemplate;
/// let template = PathTemplate::parse("/tenants/{*}/files/{**}").unwrap();
/// assert!(template.is_match("/tenants/a/files/b/c"));
/// assert!(!template.is_match("/tenants/a/b/files/c"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    /// Before `{**}`, or all of it.
    head: Box<[Token]>,
    /// What follows `{**}`, where there is one.
    tail: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Box<str>),
    Segment,
}

/// Why the pattern of a path cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPath {
    /// No path that is served can match.
    #[error(transparent)]
    Text(#[from] InvalidMatch),
    /// Not a template.
    #[error(transparent)]
    Template(#[from] InvalidTemplate),
}

impl PathTemplate {
    /// Reads a template: an operator takes a whole segment, `{**}` comes last, though literal segments may follow.
    ///
    /// # Errors
    ///
    /// [`InvalidTemplate`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let invalid = |reason| InvalidTemplate {
            text: text.into(),
            reason,
        };
        let segments = text
            .strip_prefix('/')
            .ok_or_else(|| invalid("it must start with `/`"))?;
        let mut head = Vec::new();
        let mut literal = String::new();
        let mut rest_seen = false;
        for segment in segments.split('/') {
            literal.push('/');
            match segment {
                "{*}" | "{**}" if rest_seen => return Err(invalid("`{**}` must be the last operator")),
                "{*}" | "{**}" => {
                    head.push(Token::Literal(std::mem::take(&mut literal).into()));
                    match segment {
                        "{*}" => head.push(Token::Segment),
                        _ => rest_seen = true,
                    }
                }
                _ => literal.push_str(&literal_segment(segment).map_err(invalid)?),
            }
        }
        let tail = rest_seen.then(|| std::mem::take(&mut literal).into());
        if !literal.is_empty() {
            head.push(Token::Literal(literal.into()));
        }
        let head = head.into();
        Ok(Self { head, tail })
    }

    /// Whether the path matches. Linear in its length.
    #[must_use]
    pub fn is_match(&self, path: &str) -> bool {
        let mut rest = path;
        for token in &self.head {
            let after = match token {
                Token::Literal(literal) => rest.strip_prefix(&**literal),
                Token::Segment => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    rest.get(end..).filter(|_| end > 0)
                }
            };
            match after {
                Some(after) => rest = after,
                None => return false,
            }
        }
        self.tail
            .as_ref()
            .map_or(rest.is_empty(), |tail| rest.ends_with(&**tail))
    }
}

/// A literal segment in canonical form.
fn literal_segment(segment: &str) -> Result<String, &'static str> {
    if segment.contains(['{', '}']) {
        return Err("`{*}` and `{**}` must be whole segments");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte);
    if !segment.bytes().all(allowed) {
        return Err("a segment holds a character that is not allowed in templates");
    }
    path_text(segment, PatternShape::Part).map_err(|_| "a segment holds an escape that is refused in paths")
}

/// Whether any of several patterns matches. Exact texts are found by binary search.
#[derive(Clone, Debug)]
pub struct PatternSet(Patterns);

#[derive(Clone, Debug)]
enum Patterns {
    /// What most sets are.
    One(PatternMatcher),
    Several {
        exact: Box<[Box<str>]>,
        others: Box<[PatternMatcher]>,
    },
}

impl Default for PatternSet {
    /// No pattern.
    fn default() -> Self {
        Self(Patterns::Several {
            exact: Box::default(),
            others: Box::default(),
        })
    }
}

impl FromIterator<PatternMatcher> for PatternSet {
    fn from_iter<I: IntoIterator<Item = PatternMatcher>>(patterns: I) -> Self {
        let mut patterns = patterns.into_iter();
        let (first, second) = (patterns.next(), patterns.next());
        match (first, second) {
            (Some(only), None) => Self(Patterns::One(only)),
            (first, second) => Self(Patterns::several(first.into_iter().chain(second).chain(patterns))),
        }
    }
}

impl Patterns {
    fn several(patterns: impl Iterator<Item = PatternMatcher>) -> Self {
        let (mut exact, mut others) = (Vec::new(), Vec::new());
        for pattern in patterns {
            match pattern {
                PatternMatcher::Exact(text) => exact.push(text),
                other => others.push(other),
            }
        }
        exact.sort_unstable();
        exact.dedup();
        Self::Several {
            exact: exact.into(),
            others: others.into(),
        }
    }
}

impl PatternSet {
    /// Whether there is no pattern: then nothing matches.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.exact().is_empty() && self.others().is_empty()
    }

    /// Whether any pattern matches.
    #[must_use]
    #[inline]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.0 {
            Patterns::One(pattern) => pattern.is_match(text),
            Patterns::Several { others, .. } => {
                self.has_exact(text) || others.iter().any(|pattern| pattern.is_match(text))
            }
        }
    }

    /// Whether one of the patterns is this exact text.
    #[must_use]
    pub fn has_exact(&self, text: &str) -> bool {
        let exact = self.exact();
        exact.binary_search_by(|exact| (**exact).cmp(text)).is_ok()
    }

    /// The exact texts, sorted.
    pub(crate) const fn exact(&self) -> &[Box<str>] {
        match &self.0 {
            Patterns::One(PatternMatcher::Exact(text)) => std::slice::from_ref(text),
            Patterns::One(_) => &[],
            Patterns::Several { exact, .. } => exact,
        }
    }

    /// The patterns that are no exact texts.
    pub(crate) const fn others(&self) -> &[PatternMatcher] {
        match &self.0 {
            Patterns::One(PatternMatcher::Exact(_)) => &[],
            Patterns::One(other) => std::slice::from_ref(other),
            Patterns::Several { others, .. } => others,
        }
    }
}
