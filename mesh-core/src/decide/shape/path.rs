//! Paths, written anew.

use regex::{Captures, Regex, RegexBuilder};

use super::InvalidShape;
use crate::decide::route::string::InvalidMatch;
use crate::policy::model::filter::PathRewrite;
use crate::policy::model::route::{RouteMatch, StringMatch};
use crate::request::{PatternShape, route_pattern};

/// Memory that a compiled regex may take.
const REGEX_SIZE: usize = 1 << 20;

/// A compiled [`PathRewrite`], for the requests of one match.
#[derive(Clone, Debug)]
pub struct PathRewriter(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Full(Box<str>),
    /// So many bytes at the start become this text.
    Prefix(usize, Box<str>),
    /// The same by whole segments; both are without a final slash.
    SegmentPrefix(usize, Box<str>),
    Regex(Regex, Box<[Piece]>),
}

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<str>),
    Group(usize),
}

impl PathRewriter {
    /// Compiles a rewrite for the paths that `conditions` match.
    ///
    /// # Errors
    ///
    /// [`InvalidShape`] for a regex that is none, and a substitution that refers to a group it does not have.
    pub fn compile(rewrite: &PathRewrite, conditions: &RouteMatch) -> Result<Self, InvalidShape> {
        Ok(Self(match rewrite {
            PathRewrite::Full(path) => Kind::Full(path.as_str().into()),
            PathRewrite::Prefix(text) => match &conditions.path {
                // A rule without a condition on the path matches the prefix `/`.
                None => Kind::Prefix(1, text.as_str().into()),
                Some(StringMatch::Prefix(prefix)) => Kind::Prefix(canonical(prefix).len(), text.as_str().into()),
                Some(StringMatch::SegmentPrefix(prefix)) => segments(prefix, text),
                Some(_) => Kind::Full(text.as_str().into()),
            },
            PathRewrite::SegmentPrefix(text) => match &conditions.path {
                None => segments("/", text),
                Some(StringMatch::Prefix(prefix) | StringMatch::SegmentPrefix(prefix)) => segments(prefix, text),
                Some(_) => Kind::Full(text.as_str().into()),
            },
            PathRewrite::Regex { pattern, substitution } => regex(pattern, substitution)?,
        }))
    }

    /// The new path of a request. `path` is the canonical one, without the query.
    #[must_use]
    pub fn rewrite(&self, path: &str) -> String {
        match &self.0 {
            Kind::Full(full) => full.to_string(),
            Kind::Prefix(len, text) => format!("{text}{}", path.get(*len..).unwrap_or_default()),
            Kind::SegmentPrefix(len, text) => {
                let rest = path.get(*len..).unwrap_or_default();
                if text.is_empty() && rest.is_empty() {
                    "/".into()
                } else {
                    format!("{text}{rest}")
                }
            }
            Kind::Regex(regex, pieces) => regex
                .replace_all(path, |found: &Captures<'_>| substituted(pieces, found))
                .into_owned(),
        }
    }
}

/// The prefix as it stands in the paths that it matches.
fn canonical(prefix: &str) -> String {
    route_pattern(prefix, PatternShape::Part).unwrap_or_else(|_| prefix.to_owned())
}

fn segments(prefix: &str, text: &str) -> Kind {
    Kind::SegmentPrefix(
        canonical(prefix).trim_end_matches('/').len(),
        text.trim_end_matches('/').into(),
    )
}

fn regex(pattern: &str, substitution: &str) -> Result<Kind, InvalidShape> {
    let regex = RegexBuilder::new(pattern)
        .size_limit(REGEX_SIZE)
        .build()
        .map_err(|error| InvalidMatch::Regex {
            text: pattern.into(),
            reason: error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
        })?;
    let pieces = pieces(substitution);
    let groups = regex.captures_len() - 1;
    let missing = pieces.iter().find_map(|piece| match piece {
        Piece::Group(group) if *group > groups => Some(*group),
        _ => None,
    });
    match missing {
        Some(group) => Err(InvalidShape::Group {
            substitution: substitution.into(),
            group,
            groups,
        }),
        None => Ok(Kind::Regex(regex, pieces)),
    }
}

/// `\1` is a group, `\0` all that was matched, `\\` a backslash (RE2's rewrite syntax).
fn pieces(substitution: &str) -> Box<[Piece]> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut chars = substitution.chars();
    while let Some(c) = chars.next() {
        let next = if c == '\\' { chars.next() } else { Some(c) };
        match (c, next.and_then(|next| next.to_digit(10))) {
            ('\\', Some(group)) => {
                pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                pieces.push(Piece::Group(group as usize));
            }
            _ => text.extend(next),
        }
    }
    pieces.push(Piece::Text(text.into()));
    pieces.into()
}

fn substituted(pieces: &[Piece], found: &Captures<'_>) -> String {
    let mut text = String::new();
    for piece in pieces {
        text.push_str(match piece {
            Piece::Text(text) => text,
            Piece::Group(group) => found.get(*group).map_or("", |group| group.as_str()),
        });
    }
    text
}
