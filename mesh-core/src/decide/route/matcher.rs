//! A compiled match: conditions on path, method, headers and query.

use super::claim::ClaimMatcher;
use super::class::CompiledCondition;
use super::string::{HeaderMatcher, InvalidMatch, QueryMatcher, TextMatcher};
use crate::policy::model::profile::RequestCondition;
use crate::policy::model::route::{RouteMatch, StringMatch};
use crate::request::RequestView;

/// Why a match does not compile.
pub type MatchError = InvalidMatch;

/// The conditions of one [`RouteMatch`] that depend on the request.
#[derive(Debug, Default)]
pub struct Matcher {
    path: Option<TextMatcher>,
    method: Option<TextMatcher>,
    scheme: Option<TextMatcher>,
    authority: Option<TextMatcher>,
    port: Option<u16>,
    not_ports: Box<[u16]>,
    headers: Box<[HeaderMatcher]>,
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

impl Matcher {
    /// Matches every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Matches the requests to every port but these.
    #[must_use]
    pub fn other_ports(ports: &[u16]) -> Self {
        Self {
            not_ports: ports.into(),
            ..Self::default()
        }
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
        Ok(Self {
            path,
            method: text(&conditions.method)?,
            scheme: text(&conditions.scheme)?,
            authority: text(&conditions.authority)?,
            port: conditions.port,
            not_ports: Box::default(),
            headers: headers(conditions)?,
            query: query(conditions)?,
            claims: claims(conditions)?,
            class: None,
        })
    }

    /// Compiles the condition of a route class.
    ///
    /// # Errors
    ///
    /// A regex that does not compile.
    pub fn of_class(condition: &RequestCondition) -> Result<Self, MatchError> {
        Ok(Self {
            class: Some(CompiledCondition::new(condition)?),
            ..Self::default()
        })
    }

    pub(super) fn path_key(&self) -> PathKey<'_> {
        self.path.as_ref().map_or(PathKey::Any, TextMatcher::key)
    }

    /// Whether all conditions hold.
    #[must_use]
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        let holds = |matcher: &Option<TextMatcher>, text: &str| {
            matcher.as_ref().is_none_or(|matcher| matcher.is_match(text.as_bytes()))
        };
        holds(&self.path, request.path)
            && holds(&self.method, request.method.as_str())
            && holds(&self.scheme, request.scheme)
            && holds(&self.authority, request.authority)
            && self.port.is_none_or(|port| port == request.effective_port())
            && (self.not_ports.is_empty() || !self.not_ports.contains(&request.effective_port()))
            && self.headers.iter().all(|matcher| matcher.is_match(request.headers))
            && self.query.iter().all(|matcher| matcher.is_match(request.query))
            && self.claims.iter().all(|matcher| matcher.is_match(request.token))
            && self.class.as_ref().is_none_or(|class| class.holds(request))
    }
}

fn headers(conditions: &RouteMatch) -> Result<Box<[HeaderMatcher]>, MatchError> {
    let with = conditions.headers.iter();
    let with = with.map(|(name, value)| HeaderMatcher::with(name.clone(), value));
    let without = conditions.without_headers.iter();
    let without = without.map(|(name, value)| HeaderMatcher::without(name.clone(), value));
    with.chain(without).collect()
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
