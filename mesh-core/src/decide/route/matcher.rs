//! A compiled match: conditions on path, method, headers and query.

use std::borrow::Cow;

use http::header::HOST;
use http::{HeaderMap, HeaderName};
use rustc_hash::FxHashMap;

use super::claim::ClaimMatcher;
use super::class::CompiledCondition;
use super::string::{HeaderMatcher, InvalidMatch, QueryMatcher, TextMatcher};
use crate::policy::model::profile::RequestCondition;
use crate::policy::model::route::{RouteMatch, StringMatch};
use crate::request::{RequestView, joined};

/// Why a match does not compile.
pub type MatchError = InvalidMatch;

/// The conditions of one [`RouteMatch`] that depend on the request.
#[derive(Debug, Default)]
pub struct Matcher {
    path: Option<TextMatcher>,
    method: Option<TextMatcher>,
    headers: Box<[NumberedHeader]>,
    /// What few matches have.
    further: Option<Box<Further>>,
}

/// A condition on a header, and the number of the header in the list that the match is part of.
#[derive(Debug)]
struct NumberedHeader {
    matcher: HeaderMatcher,
    number: u32,
}

/// Conditions that few matches have.
#[derive(Debug, Default)]
struct Further {
    scheme: Option<TextMatcher>,
    authority: Option<TextMatcher>,
    port: Option<u16>,
    not_ports: Box<[u16]>,
    query: Box<[QueryMatcher]>,
    claims: Box<[ClaimMatcher]>,
    class: Option<CompiledCondition>,
}

/// What an index may file a match under: no other path can match it.
#[derive(Debug)]
pub(super) enum PathKey<'a> {
    Any,
    Exact(&'a [u8]),
    Prefix(&'a [u8]),
}

/// The headers that the matches of a list ask for, each with a number.
#[derive(Debug, Default)]
pub(super) struct HeaderNumbers {
    numbers: FxHashMap<HeaderName, u32>,
    /// By number.
    names: Vec<HeaderName>,
}

impl HeaderNumbers {
    /// The number of a header, a further one where it has none.
    fn number(&mut self, name: &HeaderName) -> u32 {
        let next = u32::try_from(self.names.len()).unwrap_or(NO_HEADER);
        *self.numbers.entry(name.clone()).or_insert_with(|| {
            self.names.push(name.clone());
            next
        })
    }
}

/// The header of a request that was looked up last: rules next to each other mostly ask for the same one.
#[derive(Debug)]
pub(super) struct SeenHeaders<'l, 'r> {
    headers: &'r HeaderMap,
    authority: &'r str,
    names: &'l [HeaderName],
    /// The number of that header; of none at first.
    number: u32,
    digest: u32,
    value: Option<Cow<'r, [u8]>>,
}

/// No list has as many headers.
const NO_HEADER: u32 = u32::MAX;

/// What tells of a match that was found by its path whether it holds, or that it cannot, without a look at it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hint {
    /// Nothing does.
    None,
    /// It asks for nothing but the path.
    Sure,
    /// It asks for this header, with a value of this digest. Enough to pass over most of the matches that cannot hold.
    Header { number: u32, digest: u32 },
}

/// Words at the end of a value that count for its digest, beside the first one.
const DIGESTED: usize = 4;

/// Values of one digest may differ. Only so many words are looked at: whoever sends a long value must not make each rule costly.
fn digest(value: &[u8]) -> u32 {
    let first = value
        .first_chunk::<8>()
        .map_or_else(|| short(value), |word| u64::from_le_bytes(*word));
    let (_, words) = value.as_rchunks::<8>();
    let mixed = |digest: u64, word: u64| (digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let last = words.iter().rev().take(DIGESTED);
    let digest = last.fold(mixed(value.len() as u64, first), |digest, word| {
        mixed(digest, u64::from_le_bytes(*word))
    });
    (digest >> 32) as u32
}

/// All bytes of a value that is shorter than a word.
fn short(value: &[u8]) -> u64 {
    match (value.first_chunk::<4>(), value.last_chunk::<4>()) {
        (Some(first), Some(last)) => u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)),
        _ => value.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

impl<'l, 'r> SeenHeaders<'l, 'r> {
    pub(super) fn of(request: &RequestView<'r>, numbers: &'l HeaderNumbers) -> Self {
        Self {
            headers: request.headers,
            authority: request.authority,
            names: &numbers.names,
            number: NO_HEADER,
            digest: 0,
            value: None,
        }
    }

    /// Whether the header with this number cannot have the value that has this digest.
    #[inline]
    pub(super) fn exclude(&mut self, number: u32, digest: u32) -> bool {
        self.look_up(number);
        digest != self.digest
    }

    /// The value of the header with this number, its lines joined.
    #[inline]
    fn value(&mut self, number: u32) -> Option<&[u8]> {
        self.look_up(number);
        self.value.as_deref()
    }

    #[inline]
    fn look_up(&mut self, number: u32) {
        if self.number != number {
            self.look_up_other(number);
        }
    }

    /// Out of line, since most rules next to each other ask for the same header.
    #[inline(never)]
    fn look_up_other(&mut self, number: u32) {
        self.number = number;
        // Each number has a name.
        let name = self.names.get(number as usize);
        self.value = name.and_then(|name| value(self.authority, self.headers, name));
        self.digest = self.value.as_deref().map_or(0, digest);
    }
}

impl Matcher {
    /// Matches every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Matches the requests to every port but these.
    #[must_use]
    pub fn other_ports(ports: &[u16]) -> Self {
        Self::with_further(Further {
            not_ports: ports.into(),
            ..Further::default()
        })
    }

    /// Compiles the conditions; those on the caller (labels, namespace, gateways) are the compiler's business.
    ///
    /// # Errors
    ///
    /// A regex that does not compile.
    pub fn new(conditions: &RouteMatch) -> Result<Self, MatchError> {
        let text = |condition: &Option<StringMatch>| condition.as_ref().map(TextMatcher::compile).transpose();
        let path = conditions.path.as_ref();
        let path = path
            .map(|path| TextMatcher::path(path, conditions.path_case))
            .transpose()?;
        let further = Further {
            scheme: text(&conditions.scheme)?,
            authority: text(&conditions.authority)?,
            port: conditions.port,
            not_ports: Box::default(),
            query: query(conditions)?,
            claims: claims(conditions)?,
            class: None,
        };
        Ok(Self {
            path,
            method: text(&conditions.method)?,
            headers: headers(conditions)?,
            ..Self::with_further(further)
        })
    }

    /// Compiles the condition of a route class.
    ///
    /// # Errors
    ///
    /// A regex that does not compile.
    pub fn of_class(condition: &RequestCondition) -> Result<Self, MatchError> {
        Ok(Self::with_further(Further {
            class: Some(CompiledCondition::new(condition)?),
            ..Further::default()
        }))
    }

    fn with_further(further: Further) -> Self {
        Self {
            further: (!further.is_unset()).then(|| Box::new(further)),
            ..Self::default()
        }
    }

    pub(super) fn path_key(&self) -> PathKey<'_> {
        self.path.as_ref().map_or(PathKey::Any, TextMatcher::key)
    }

    /// Gives the headers the numbers that they have in a list, further ones where they have none.
    pub(super) fn number_headers(&mut self, numbers: &mut HeaderNumbers) {
        for header in &mut self.headers {
            header.number = numbers.number(header.matcher.name());
        }
    }

    /// What tells of it, once its headers have numbers.
    pub(super) fn hint(&self) -> Hint {
        if self.path.as_ref().is_none_or(TextMatcher::is_found_by_key)
            && self.method.is_none()
            && self.headers.is_empty()
            && self.further.is_none()
        {
            return Hint::Sure;
        }
        // A method is compared before a header is looked for.
        let mut headers = self.headers.iter().filter(|_| self.method.is_none());
        let exact = headers.find_map(|header| {
            let digest = digest(header.matcher.exact()?);
            let number = header.number;
            Some(Hint::Header { number, digest })
        });
        exact.unwrap_or(Hint::None)
    }

    /// Whether all conditions hold.
    #[must_use]
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        let path = request.path.as_bytes();
        self.path.as_ref().is_none_or(|matcher| matcher.is_match(path))
            && self.has_method(request)
            && self.headers.iter().all(|header| header.is_met(request))
            && self.has_further(request)
    }

    /// The same of a match that was found by its [path](Self::path_key), in a list that has numbered its headers.
    #[inline]
    pub(super) fn matches_found(&self, request: &RequestView<'_>, headers: &mut SeenHeaders<'_, '_>) -> bool {
        let path = request.path.as_bytes();
        self.path.as_ref().is_none_or(|matcher| matcher.is_match_found(path))
            && self.has_method(request)
            && self.headers.iter().all(|header| header.holds(headers))
            && self.has_further(request)
    }

    fn has_method(&self, request: &RequestView<'_>) -> bool {
        let method = self.method.as_ref();
        method.is_none_or(|matcher| matcher.is_match(request.method.as_str().as_bytes()))
    }

    #[inline]
    fn has_further(&self, request: &RequestView<'_>) -> bool {
        self.further.as_ref().is_none_or(|further| further.holds(request))
    }
}

/// The lines of a header as one value. `host` is the authority, as in Envoy: HTTP/2 has no such header.
fn value<'r>(authority: &'r str, headers: &'r HeaderMap, name: &HeaderName) -> Option<Cow<'r, [u8]>> {
    match *name == HOST {
        true => Some(Cow::Borrowed(authority.as_bytes())),
        false => joined(headers, name),
    }
}

impl NumberedHeader {
    fn is_met(&self, request: &RequestView<'_>) -> bool {
        let value = value(request.authority, request.headers, self.matcher.name());
        self.matcher.holds(value.as_deref())
    }

    #[inline]
    fn holds(&self, headers: &mut SeenHeaders<'_, '_>) -> bool {
        self.matcher.holds(headers.value(self.number))
    }
}

impl From<HeaderMatcher> for NumberedHeader {
    fn from(matcher: HeaderMatcher) -> Self {
        Self { matcher, number: 0 }
    }
}

impl Further {
    fn is_unset(&self) -> bool {
        let texts = [&self.scheme, &self.authority];
        texts.iter().all(|text| text.is_none())
            && self.port.is_none()
            && self.not_ports.is_empty()
            && self.query.is_empty()
            && self.claims.is_empty()
            && self.class.is_none()
    }

    /// Out of line, since few matches ask so much.
    #[inline(never)]
    fn holds(&self, request: &RequestView<'_>) -> bool {
        let holds = |matcher: &Option<TextMatcher>, text: &str| {
            matcher.as_ref().is_none_or(|matcher| matcher.is_match(text.as_bytes()))
        };
        holds(&self.scheme, request.scheme)
            && holds(&self.authority, request.authority)
            && self.port.is_none_or(|port| port == request.effective_port())
            && (self.not_ports.is_empty() || !self.not_ports.contains(&request.effective_port()))
            && self.query.iter().all(|matcher| matcher.is_match(request.query))
            && self.claims.iter().all(|matcher| matcher.is_match(request.token))
            && self.class.as_ref().is_none_or(|class| class.holds(request))
    }
}

fn headers(conditions: &RouteMatch) -> Result<Box<[NumberedHeader]>, MatchError> {
    let with = conditions.headers.iter();
    let with = with.map(|(name, value)| HeaderMatcher::with(name.clone(), value));
    let without = conditions.without_headers.iter();
    let without = without.map(|(name, value)| HeaderMatcher::without(name.clone(), value));
    let matchers = with.chain(without);
    matchers.map(|matcher| matcher.map(NumberedHeader::from)).collect()
}

fn claims(conditions: &RouteMatch) -> Result<Box<[ClaimMatcher]>, MatchError> {
    let with = conditions
        .claims
        .iter()
        .map(|(path, value)| ClaimMatcher::with(path, value));
    let without = conditions.without_claims.iter();
    let without = without.map(|(path, value)| ClaimMatcher::without(path, value));
    with.chain(without).collect()
}

fn query(conditions: &RouteMatch) -> Result<Box<[QueryMatcher]>, MatchError> {
    let conditions = conditions.query.iter();
    conditions.map(|(name, value)| QueryMatcher::new(name, value)).collect()
}
