//! Matchers of claims.

use super::string::{InvalidMatch, TextMatcher};
use crate::decide::jwt::VerifiedToken;
use crate::policy::model::route::StringMatch;

/// A condition on a claim of the request's token, or on its not matching.
#[derive(Debug)]
pub(super) struct ClaimMatcher {
    path: Box<[String]>,
    value: TextMatcher,
    sense: Sense,
}

#[derive(Clone, Copy, Debug)]
enum Sense {
    With,
    Without,
}

impl ClaimMatcher {
    /// The claim, or one element of it, matches.
    pub(super) fn with(path: &[String], value: &StringMatch) -> Result<Self, InvalidMatch> {
        Self::new(path, value, Sense::With)
    }

    /// There is no such claim, or nothing of it matches.
    pub(super) fn without(path: &[String], value: &StringMatch) -> Result<Self, InvalidMatch> {
        Self::new(path, value, Sense::Without)
    }

    fn new(path: &[String], value: &StringMatch, sense: Sense) -> Result<Self, InvalidMatch> {
        Ok(Self {
            path: path.into(),
            value: TextMatcher::compile(value)?,
            sense,
        })
    }

    pub(super) fn is_match(&self, token: Option<&VerifiedToken>) -> bool {
        let texts = token.and_then(|token| token.texts(&self.path));
        let has = texts.is_some_and(|texts| texts.any(|text| self.value.is_match(text.as_bytes())));
        match self.sense {
            Sense::With => has,
            Sense::Without => !has,
        }
    }
}
