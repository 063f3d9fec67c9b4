//! Conditions on the token that a request bears.
//!
//! Without a token, or without the claim, the condition is unknown: it never allows, and denies.

use super::condition::{Check, Side};
use super::{InvalidPattern, Truth};
use crate::decide::jwt::VerifiedToken;
use crate::decide::route::string::{PatternMatcher, PatternSet};
use crate::policy::model::authz::{Action, Attribute, Condition, Pattern};
use crate::request::RequestView;

/// A condition on a claim.
#[derive(Debug)]
pub(super) enum TokenCheck {
    /// On issuer and subject.
    Principal(Check<PrincipalSet>),
    /// On a claim that is a text or a list of texts.
    Claim(Box<[String]>, Check<PatternSet>),
}

impl TokenCheck {
    /// The condition of a `when`, where its attribute is one of the token's.
    pub(super) fn of(
        attribute: &Attribute,
        values: &Condition<Pattern>,
        action: Action,
    ) -> Result<Option<Self>, InvalidPattern> {
        let claim = |path: &[&str]| {
            let path = path.iter().map(|name| (*name).to_owned()).collect();
            Ok(Some(Self::Claim(path, super::condition::texts(values)?)))
        };
        match attribute {
            Attribute::RequestPrincipal => Ok(Some(Self::Principal(principals(values, action)?))),
            Attribute::Audiences => claim(&["aud"]),
            Attribute::Presenter => claim(&["azp"]),
            Attribute::Claims(path) => claim(&path.iter().map(String::as_str).collect::<Vec<_>>()),
            _ => Ok(None),
        }
    }

    pub(super) fn truth(&self, request: Option<&RequestView<'_>>) -> Truth {
        let token = request.and_then(|request| request.token);
        match self {
            Self::Principal(check) => with_principal(check, token),
            Self::Claim(path, check) => {
                let texts = token.and_then(|token| token.texts(path));
                check.test(texts, |set, texts| texts.any(|text| set.is_match(text)))
            }
        }
    }
}

/// Whether a condition on issuer and subject holds.
pub(super) fn with_principal(check: &Check<PrincipalSet>, token: Option<&VerifiedToken>) -> Truth {
    if check.is_unset() {
        return Truth::True;
    }
    check.test(token.and_then(Principal::of), |set, principal| set.is_match(principal))
}

/// Who a token is of.
#[derive(Clone, Copy)]
pub(super) struct Principal<'t> {
    issuer: &'t str,
    subject: &'t str,
    /// Both, with `/` between them.
    whole: &'t str,
}

impl<'t> Principal<'t> {
    fn of(token: &'t VerifiedToken) -> Option<Self> {
        Some(Self {
            issuer: token.issuer()?,
            subject: token.subject()?,
            whole: token.principal()?,
        })
    }
}

/// Patterns of issuer and subject.
#[derive(Debug)]
pub(super) struct PrincipalSet {
    pairs: Box<[Pair]>,
    /// What is compared with the whole principal: regular expressions; and where a match leads to a denial, all of them, since
    /// a subject with a `/` in it could hide from the pairs.
    whole: PatternSet,
}

/// `iss/sub`, split at the last `/` as Istio does: a wildcard at one side then never reaches into the other.
#[derive(Debug)]
struct Pair {
    issuer: PatternMatcher,
    subject: PatternMatcher,
}

pub(super) fn principals(
    condition: &Condition<Pattern>,
    action: Action,
) -> Result<Check<PrincipalSet>, InvalidPattern> {
    Check::new(condition, |patterns, side: Side| {
        let is_whole = |pattern: &&Pattern| side.denies(action) || halves(pattern).is_none();
        let pairs = patterns.iter().filter_map(halves);
        Ok(PrincipalSet {
            pairs: pairs.map(Pair::new).collect::<Result<_, _>>()?,
            whole: patterns
                .iter()
                .filter(is_whole)
                .map(compiled)
                .collect::<Result<_, _>>()?,
        })
    })
}

impl PrincipalSet {
    fn is_match(&self, principal: Principal<'_>) -> bool {
        let is_pair = |pair: &Pair| pair.issuer.is_match(principal.issuer) && pair.subject.is_match(principal.subject);
        self.pairs.iter().any(is_pair) || self.whole.is_match(principal.whole)
    }
}

impl Pair {
    fn new((issuer, subject): (Pattern, Pattern)) -> Result<Self, InvalidPattern> {
        Ok(Self {
            issuer: compiled(&issuer)?,
            subject: compiled(&subject)?,
        })
    }
}

fn compiled(pattern: &Pattern) -> Result<PatternMatcher, InvalidPattern> {
    PatternMatcher::checked(pattern).map_err(|error| InvalidPattern::Path(error.into()))
}

/// What issuer and subject are compared with; `None` for patterns that have no halves.
fn halves(pattern: &Pattern) -> Option<(Pattern, Pattern)> {
    Some(match pattern {
        Pattern::Exact(text) => match text.rsplit_once('/') {
            Some((issuer, subject)) => (exact(issuer), exact(subject)),
            // No principal is a text without `/`.
            None => (exact(text), exact("")),
        },
        Pattern::Prefix(text) => match text.rsplit_once('/') {
            Some((issuer, subject)) => (exact(issuer), prefix(subject)),
            None => (prefix(text), Pattern::Present),
        },
        Pattern::Suffix(text) => match text.rsplit_once('/') {
            Some((issuer, subject)) => (suffix(issuer), exact(subject)),
            None => (Pattern::Present, suffix(text)),
        },
        Pattern::Present => (Pattern::Present, Pattern::Present),
        Pattern::Glob(_) | Pattern::Template(_) | Pattern::Regex(_) => return None,
    })
}

/// `*` alone is any text.
fn exact(text: &str) -> Pattern {
    if text == "*" {
        Pattern::Present
    } else {
        Pattern::Exact(text.into())
    }
}

fn prefix(text: &str) -> Pattern {
    if text.is_empty() {
        Pattern::Present
    } else {
        Pattern::Prefix(text.into())
    }
}

fn suffix(text: &str) -> Pattern {
    if text.is_empty() {
        Pattern::Present
    } else {
        Pattern::Suffix(text.into())
    }
}
