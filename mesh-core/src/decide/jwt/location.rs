//! Where in a request tokens are.

use std::borrow::Cow;

use http::header::COOKIE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::Refusal;
use crate::request::RequestView;

/// A field of a request that may hold a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Header(HeaderName),
    Param(Box<str>),
    Cookie(Box<str>),
}

/// A field, and what may stand before the token in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) field: Field,
    /// Longer ones first, each with the rules that it is of.
    prefixes: Vec<(Box<str>, Vec<usize>)>,
}

/// A token that a request bears.
#[derive(Clone, Debug)]
pub struct Borne<'r> {
    /// Its text. Nothing is known of it but its place.
    pub(super) token: Cow<'r, str>,
    /// The place and the prefix, by index.
    pub(super) at: (usize, usize),
}

impl Borne<'_> {
    /// The token, as it is in the request.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.token
    }
}

impl Place {
    pub(super) const fn new(field: Field) -> Self {
        Self {
            field,
            prefixes: Vec::new(),
        }
    }

    /// Has a rule look here, behind `prefix`.
    pub(super) fn add(&mut self, prefix: &str, rule: usize) {
        match self
            .prefixes
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(prefix))
        {
            Some((_, rules)) => rules.push(rule),
            None => self.prefixes.push((prefix.into(), vec![rule])),
        }
        self.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    }

    /// How many prefixes are known.
    pub(super) const fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// The rules whose tokens stand behind the prefix at `index`.
    pub(super) fn rules(&self, index: usize) -> &[usize] {
        self.prefixes.get(index).map_or(&[], |(_, rules)| rules)
    }

    /// The token in the field, and its prefix's index. A field that is there twice has no token that all would agree on.
    pub(super) fn find<'r>(&self, request: &RequestView<'r>) -> Result<Option<(Cow<'r, str>, usize)>, Refusal> {
        let mut found = None;
        self.values(request, |value| {
            let token = self.without_prefix(value)?;
            match token.is_some() && found.is_some() {
                true => return Err(Refusal::SeveralTokens),
                false => found = found.take().or(token),
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `visit` for each value of the field.
    fn values<'r>(
        &self,
        request: &RequestView<'r>,
        mut visit: impl FnMut(&'r [u8]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match &self.field {
            Field::Header(name) => {
                let lines = request.headers.get_all(name).iter();
                lines.map(|line| line.as_bytes().trim_ascii()).try_for_each(visit)
            }
            Field::Param(name) => params(request.query)
                .filter(|(key, _)| is_named(key, name))
                .try_for_each(|(_, value)| visit(value.as_bytes())),
            Field::Cookie(name) => cookies(request.headers)
                .filter(|(key, _)| *key == name.as_bytes())
                .try_for_each(|(_, value)| visit(value)),
        }
    }

    /// What stands behind the longest prefix that fits; the scheme of an authorization has no case (RFC 9110 §11.1).
    fn without_prefix<'v>(&self, value: &'v [u8]) -> Result<Option<(Cow<'v, str>, usize)>, Refusal> {
        let fits = |(index, (prefix, _)): (usize, &(Box<str>, Vec<usize>))| {
            let (start, rest) = value.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix.as_bytes()).then_some((rest, index))
        };
        let Some((rest, index)) = self.prefixes.iter().enumerate().find_map(fits) else {
            return Ok(None);
        };
        let token = std::str::from_utf8(rest.trim_ascii()).map_err(|_| Refusal::BadFormat)?;
        Ok(Some((Cow::Borrowed(token), index)))
    }
}

impl Field {
    /// The parameter of the query that it is.
    pub(super) fn param(&self) -> Option<&str> {
        match self {
            Self::Param(name) => Some(name),
            Self::Header(_) | Self::Cookie(_) => None,
        }
    }

    /// Takes the field out of a request.
    pub(super) fn remove(&self, uri: &mut Uri, headers: &mut HeaderMap) {
        match self {
            Self::Header(name) => {
                headers.remove(name);
            }
            Self::Param(name) => {
                if let Some(stripped) = without_param(uri, name) {
                    *uri = stripped;
                }
            }
            Self::Cookie(name) => remove_cookie(headers, name),
        }
    }
}

fn params(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether a key of a query is this name, whatever of it is escaped.
fn is_named(key: &str, name: &str) -> bool {
    key == name || (key.contains('%') && unescaped(key) == name.as_bytes())
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digits = || {
            let mut ahead = bytes.clone();
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (high, low) = (digit(ahead.next()?)?, digit(ahead.next()?)?);
            u8::try_from(high * 16 + low).ok().map(|value| (value, ahead))
        };
        match (byte == b'%').then(digits).flatten() {
            Some((value, ahead)) => {
                out.push(value);
                bytes = ahead;
            }
            None => out.push(byte),
        }
    }
    out
}

/// The URI without a parameter of its query; `None` where there is none.
pub(super) fn without_param(uri: &Uri, name: &str) -> Option<Uri> {
    let query = uri.query()?;
    let pairs = query.split('&');
    let kept: Vec<_> = pairs
        .filter(|pair| !is_named(pair.split_once('=').map_or(*pair, |(key, _)| key), name))
        .collect();
    let target = match kept.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), kept.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// Cookies by name, of all lines.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = pair.split_at_checked(at)?;
        Some((key.trim_ascii(), unquoted(value.get(1..)?.trim_ascii())))
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', content @ .., b'"'] => content,
        value => value,
    }
}

fn remove_cookie(headers: &mut HeaderMap, name: &str) {
    let is_kept = |pair: &&[u8]| {
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        key.trim_ascii() != name.as_bytes()
    };
    let lines: Vec<Vec<u8>> = headers
        .get_all(COOKIE)
        .iter()
        .map(|line| {
            let pairs = line.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            pairs.filter(is_kept).collect::<Vec<_>>().join(&b"; "[..])
        })
        .collect();
    headers.remove(COOKIE);
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        if let Ok(value) = HeaderValue::from_bytes(&line) {
            headers.append(COOKIE, value);
        }
    }
}
