//! From policies to rules: what cannot be put in force is told.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE};
use thiserror::Error;

use super::location::{Field, Place};
use super::rules::{RuleKeys, TokenRule, TokenRules, is_spelt};
use super::source::{self, Hosts, InvalidAddress, KeyPlace, KeySource};
use super::{KeySet, KeySetError};
use crate::policy::model::Origin;
use crate::policy::model::jwt::{JwtKeys, JwtRule, Presence, RequestAuthentication};
use crate::request::is_mesh_managed;

/// A rule that cannot be put in force.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("policy `{policy}`: {reason}")]
#[non_exhaustive]
pub struct InvalidTokenRule {
    /// `namespace/name` of its policy.
    pub policy: String,
    /// Where it was written.
    pub origin: Origin,
    /// Why.
    pub reason: InvalidToken,
}

/// Why a rule cannot be put in force.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidToken {
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] KeySetError),
    /// The address of its keys.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// The name of a header.
    #[error("`{0}` is not the name of a header")]
    Header(String),
    /// A header that is not for the application.
    #[error("`{0}` cannot be filled from a token: it frames the message, or belongs to the mesh")]
    Output(String),
    /// A leeway with parts of a second.
    #[error("expected a leeway of whole seconds, found {0:?}")]
    Leeway(Duration),
    /// A header that tokens are looked for in.
    #[error("`{0}` cannot be filled from a token: tokens are looked for there")]
    Place(String),
    /// A header that would have two values.
    #[error("`{0}` would be filled twice")]
    Repeated(String),
}

/// Compiles all rules of some policies.
pub(super) fn compile_all<'p>(
    policies: impl IntoIterator<Item = &'p RequestAuthentication>,
    hosts: &dyn Hosts,
) -> Result<TokenRules, Vec<InvalidTokenRule>> {
    let (mut rules, mut places, mut invalid) = (Vec::new(), Vec::new(), Vec::new());
    for policy in policies {
        for rule in &policy.rules {
            match TokenRule::new(policy, rule, hosts) {
                Ok(compiled) => {
                    add_places(&mut places, rule, rules.len());
                    rules.push(compiled);
                }
                Err(reason) => invalid.push(InvalidTokenRule::new(policy, rule, reason)),
            }
        }
    }
    invalid.extend(rules.iter().filter_map(|rule| fills_place(rule, &places)));
    match invalid.is_empty() {
        true => Ok(TokenRules {
            outputs: outputs(&rules),
            presence: presence(&rules),
            rules: rules.into(),
            places: places.into(),
        }),
        false => Err(invalid),
    }
}

/// A rule whose tokens fill a header in which tokens are looked for: what it fills is removed from what comes in.
fn fills_place(rule: &TokenRule, places: &[Place]) -> Option<InvalidTokenRule> {
    let header = rule.outputs().find(|name| is_place(places, name))?;
    Some(InvalidTokenRule {
        policy: rule.policy.to_string(),
        origin: rule.origin.clone(),
        reason: InvalidToken::Place(header.to_string()),
    })
}

/// Whether tokens are looked for in a header, in any spelling of it.
fn is_place(places: &[Place], header: &HeaderName) -> bool {
    places.iter().any(|place| match &place.field {
        Field::Header(name) => is_spelt(name.as_str(), header.as_str()),
        Field::Cookie(_) => *header == COOKIE,
        Field::Param(_) => false,
    })
}

fn presence(rules: &[TokenRule]) -> Presence {
    match rules.iter().any(|rule| rule.presence == Presence::Required) {
        true => Presence::Required,
        false => Presence::Optional,
    }
}

fn outputs(rules: &[TokenRule]) -> Box<[HeaderName]> {
    let mut names: Vec<_> = rules.iter().flat_map(TokenRule::outputs).cloned().collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names.into()
}

/// Where a rule's tokens are; without a word on it, where RFC 6750 has them.
fn add_places(places: &mut Vec<Place>, rule: &JwtRule, index: usize) {
    let mut add = |field: Field, prefix: &str| {
        if let Some(place) = places.iter_mut().find(|place| place.field == field) {
            return place.add(prefix, index);
        }
        let mut place = Place::new(field);
        place.add(prefix, index);
        places.push(place);
    };
    let headers = rule.from_headers.iter();
    for (name, prefix) in headers {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            add(Field::Header(name), prefix);
        }
    }
    for name in &rule.from_params {
        add(Field::Param(name.as_str().into()), "");
    }
    for name in &rule.from_cookies {
        add(Field::Cookie(name.as_str().into()), "");
    }
    if rule.from_headers.is_empty() && rule.from_params.is_empty() && rule.from_cookies.is_empty() {
        add(Field::Header(AUTHORIZATION), "Bearer ");
        add(Field::Param("access_token".into()), "");
    }
}

/// Finds the rules of a policy that cannot be put in force, whatever workload it holds for.
#[must_use]
pub fn check(policy: &RequestAuthentication, hosts: &dyn Hosts) -> Vec<InvalidTokenRule> {
    compile_all([policy], hosts).err().unwrap_or_default()
}

impl InvalidTokenRule {
    fn new(policy: &RequestAuthentication, rule: &JwtRule, reason: InvalidToken) -> Self {
        Self {
            policy: format!("{}/{}", policy.meta.namespace, policy.meta.name),
            origin: rule.origin.clone(),
            reason,
        }
    }
}

impl TokenRule {
    fn new(policy: &RequestAuthentication, rule: &JwtRule, hosts: &dyn Hosts) -> Result<Self, InvalidToken> {
        for (name, _) in &rule.from_headers {
            header_name(name)?;
        }
        Ok(Self {
            policy: format!("{}/{}", policy.meta.namespace, policy.meta.name).into(),
            origin: rule.origin.clone(),
            issuer: Some(rule.issuer.as_str())
                .filter(|issuer| !issuer.is_empty())
                .map(Into::into),
            keys: keys(rule, hosts)?,
            audiences: rule.audiences.clone().into(),
            leeway: leeway(rule)?,
            forward: rule.forward,
            presence: rule.presence,
            payload_header: rule.payload_header.as_deref().map(output_name).transpose()?,
            claim_headers: claim_headers(rule)?,
            lists: rule.space_delimited_claims.clone().into(),
        })
    }
}

fn keys(rule: &JwtRule, hosts: &dyn Hosts) -> Result<RuleKeys, InvalidToken> {
    let from = match &rule.keys {
        JwtKeys::Inline(text) => return Ok(RuleKeys::Inline(Arc::new(KeySet::parse(text.as_bytes())?))),
        JwtKeys::File(path) => KeyPlace::File(path.clone()),
        JwtKeys::Fetched(text) => KeyPlace::At(source::address(text, hosts)?),
        JwtKeys::Discovered => {
            // An issuer that is no address has no keys, so that each of its tokens is refused.
            match source::address(&source::discovery(&rule.issuer), hosts) {
                Ok(_) | Err(InvalidAddress::Malformed(_)) => KeyPlace::Discovered(rule.issuer.clone()),
                Err(error) => return Err(error.into()),
            }
        }
    };
    Ok(RuleKeys::From(Arc::new(KeySource {
        from,
        refresh: rule.refresh.unwrap_or(source::REFRESH),
        stale: rule.stale.unwrap_or(source::STALE),
        timeout: rule.timeout.unwrap_or(source::TIMEOUT),
    })))
}

/// Times of tokens are compared in seconds.
fn leeway(rule: &JwtRule) -> Result<u64, InvalidToken> {
    let leeway = rule.leeway.unwrap_or_default();
    match leeway.subsec_nanos() {
        0 => Ok(leeway.as_secs()),
        _ => Err(InvalidToken::Leeway(leeway)),
    }
}

fn header_name(name: &str) -> Result<HeaderName, InvalidToken> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| InvalidToken::Header(name.into()))
}

/// Headers that say where a message ends or goes.
const FRAMING: [&str; 7] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "trailer",
];

fn output_name(name: &str) -> Result<HeaderName, InvalidToken> {
    let header = header_name(name)?;
    match FRAMING.contains(&header.as_str()) || is_mesh_managed(header.as_str()) {
        true => Err(InvalidToken::Output(name.into())),
        false => Ok(header),
    }
}

fn claim_headers(rule: &JwtRule) -> Result<Box<[(HeaderName, String)]>, InvalidToken> {
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    for (name, claim) in &rule.claim_headers {
        let header = output_name(name)?;
        let is_payload = rule
            .payload_header
            .as_deref()
            .is_some_and(|payload| payload.eq_ignore_ascii_case(name));
        if is_payload || headers.iter().any(|(known, _)| *known == header) {
            return Err(InvalidToken::Repeated(name.clone()));
        }
        headers.push((header, claim.clone()));
    }
    Ok(headers.into())
}
