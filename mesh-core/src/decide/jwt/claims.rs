//! What a verified token says.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::Refusal;

/// The end of the year 9999: no time of a token is later.
const LATEST: f64 = 253_402_300_799.0;

/// Claims whose text is always a list, separated by blanks (as in Istio).
const LISTS: [&str; 2] = ["scope", "permission"];

/// What a token says whose signature, issuer, time and audience were verified. Nothing but a verification makes one.
#[derive(Clone, PartialEq)]
pub struct VerifiedToken {
    pub(super) claims: Map<String, Value>,
    /// `iss/sub`, where it has both.
    principal: Option<Box<str>>,
    times: Times,
    /// Names of further claims whose text is a list.
    lists: Arc<[String]>,
    /// The payload as it was in the token.
    payload: Box<str>,
}

/// Who it is of; not what else it says, which may be a secret.
impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// When a token is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    not_before: Option<u64>,
    expires: Option<u64>,
}

impl Times {
    /// Reads `exp`, `nbf` and `iat`, which must be numbers where they are there.
    pub(super) fn of(claims: &Map<String, Value>) -> Result<Self, Refusal> {
        let time = |name| claims.get(name).map(seconds).transpose();
        time("iat")?;
        Ok(Self {
            // Parts of a second count against the token.
            not_before: time("nbf")?.map(|seconds| seconds.ceil() as u64),
            expires: time("exp")?.map(|seconds| seconds.floor() as u64),
        })
    }

    /// Whether a token is valid `now`, with clocks that differ by `leeway` at most.
    pub(super) fn check(self, now: u64, leeway: u64) -> Result<(), Refusal> {
        if self.expires.is_some_and(|end| now >= end.saturating_add(leeway)) {
            return Err(Refusal::Expired);
        }
        match self.not_before.is_some_and(|start| now.saturating_add(leeway) < start) {
            true => Err(Refusal::NotYetValid),
            false => Ok(()),
        }
    }
}

/// A time of a token (RFC 7519 §2, `NumericDate`).
fn seconds(value: &Value) -> Result<f64, Refusal> {
    let seconds = value.as_number().and_then(Number::as_f64);
    seconds
        .filter(|seconds| (0.0..=LATEST).contains(seconds))
        .ok_or(Refusal::ClaimType)
}

/// `iss` and `sub` must be texts where they are there.
pub(super) fn text_claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<Option<&'c str>, Refusal> {
    claims
        .get(name)
        .map(|value| value.as_str().ok_or(Refusal::ClaimType))
        .transpose()
}

/// Whom a token is for.
pub(super) fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, Refusal> {
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(several)) => several
            .iter()
            .map(|one| one.as_str().ok_or(Refusal::ClaimType))
            .collect(),
        Some(_) => Err(Refusal::ClaimType),
    }
}

impl VerifiedToken {
    pub(super) fn new(claims: Map<String, Value>, times: Times, payload: &str, lists: &Arc<[String]>) -> Self {
        let text = |name| claims.get(name).and_then(Value::as_str);
        let principal = text("iss")
            .zip(text("sub"))
            .map(|(iss, sub)| format!("{iss}/{sub}").into());
        Self {
            principal,
            times,
            lists: Arc::clone(lists),
            payload: payload.into(),
            claims,
        }
    }

    /// What a token with these claims would be: no request has borne it.
    pub(super) fn supposed(claims: Map<String, Value>, lists: &Arc<[String]>) -> Self {
        Self::new(claims, Times::default(), "", lists)
    }

    pub(super) const fn times(&self) -> Times {
        self.times
    }

    /// Issuer and subject as `iss/sub`; `None` where it lacks one of them.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// Who issued it.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Whom it is about.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    /// When it ends, in seconds since 1970.
    #[must_use]
    pub const fn expires(&self) -> Option<u64> {
        self.times.expires
    }

    /// All claims.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The payload as it was in the token, in base64url.
    #[must_use]
    pub fn payload(&self) -> &str {
        &self.payload
    }

    /// The claim at a path of names, as texts; `None` where there is none, or where it is neither a text nor a list of texts.
    #[must_use]
    pub fn texts<N: AsRef<str>>(&self, path: &[N]) -> Option<Texts<'_>> {
        let (last, parents) = path.split_last()?;
        let mut members = &self.claims;
        for parent in parents {
            members = members.get(parent.as_ref())?.as_object()?;
        }
        let name = last.as_ref();
        match members.get(name)? {
            Value::String(text) if self.is_list(name) => Some(Texts::Words(text)),
            Value::String(text) => Some(Texts::One(text)),
            Value::Array(list) if list.iter().all(Value::is_string) => Some(Texts::Several(list)),
            _ => None,
        }
    }

    fn is_list(&self, name: &str) -> bool {
        LISTS.contains(&name) || self.lists.iter().any(|list| list == name)
    }

    /// A claim as the text of a header: text, number or truth value. The name may be a path with dots.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<String> {
        let found = self.claims.get(name).or_else(|| {
            let mut names = name.split('.');
            let first = self.claims.get(names.next()?)?;
            names.try_fold(first, |value, name| value.as_object()?.get(name))
        });
        match found? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            _ => None,
        }
    }
}

/// The texts of a claim.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a claim is one text or a list of them, in one of two notations"
)]
pub enum Texts<'c> {
    /// A text.
    One(&'c str),
    /// Texts with blanks between them.
    Words(&'c str),
    /// A list of texts.
    Several(&'c [Value]),
}

impl Texts<'_> {
    /// Whether `test` holds for any of them.
    pub fn any(self, test: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(text) => test(text),
            Self::Words(text) => text.split(' ').filter(|word| !word.is_empty()).any(test),
            Self::Several(list) => list.iter().filter_map(Value::as_str).any(test),
        }
    }
}
