//! Compiled rules: which tokens are taken, and what becomes of the request.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::claims::{self, Times, VerifiedToken};
use super::compile::{InvalidTokenRule, compile_all};
use super::jws::{self, Unverified};
use super::location::{Borne, Place, without_param};
use super::source::{Hosts, KeySource};
use super::{Algorithm, KeySet, PublicKey, Refusal};
use crate::policy::model::Origin;
use crate::policy::model::jwt::{Forward, Presence, RequestAuthentication};
use crate::request::RequestView;
use crate::workload::Workload;

/// The tokens that requests to one workload may bear.
#[derive(Debug, Default)]
pub struct TokenRules {
    pub(super) rules: Box<[TokenRule]>,
    pub(super) places: Box<[Place]>,
    /// Headers that only verified tokens fill.
    pub(super) outputs: Box<[HeaderName]>,
    /// Whether any rule demands a token.
    pub(super) presence: Presence,
}

/// One kind of token.
#[derive(Debug)]
#[non_exhaustive]
pub struct TokenRule {
    /// `namespace/name` of its policy.
    pub policy: Arc<str>,
    /// Where it was written.
    pub origin: Origin,
    /// Who issues it; `None` is anybody with one of the keys.
    pub issuer: Option<Box<str>>,
    /// Where the keys come from.
    pub keys: RuleKeys,
    pub(super) audiences: Box<[String]>,
    pub(super) leeway: u64,
    pub(super) forward: Forward,
    pub(super) presence: Presence,
    pub(super) payload_header: Option<HeaderName>,
    pub(super) claim_headers: Box<[(HeaderName, String)]>,
    pub(super) lists: Arc<[String]>,
}

/// The keys of a rule.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "keys are there or have to be got")]
pub enum RuleKeys {
    /// These.
    Inline(Arc<KeySet>),
    /// They have to be got.
    From(Arc<KeySource>),
}

/// Why a token is refused, and by what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rejected<'r> {
    /// Why.
    pub refusal: Refusal,
    /// The rule that came furthest with it.
    pub rule: Option<&'r TokenRule>,
}

impl Rejected<'_> {
    /// A token that no rule has looked at.
    #[must_use]
    pub const fn unread(refusal: Refusal) -> Self {
        Self { refusal, rule: None }
    }
}

/// A token that was verified.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// What it says.
    pub token: Arc<VerifiedToken>,
    /// The rule that it was verified by, by index.
    pub rule: usize,
}

impl Accepted {
    /// A token that the rule at this index takes.
    #[must_use]
    pub const fn new(token: Arc<VerifiedToken>, rule: usize) -> Self {
        Self { token, rule }
    }
}

/// The keys that are known at the moment.
pub trait Keys {
    /// Those of a source; `None` where there are none, or where they have been too old for too long.
    fn of(&self, source: &KeySource) -> Option<Arc<KeySet>>;
}

/// The cryptography.
pub trait Signatures {
    /// Whether `signature` is that of `message`. The kind of the key fits the algorithm.
    fn is_valid(&self, algorithm: Algorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool;
}

/// What verifications need from outside.
#[derive(Clone, Copy)]
#[expect(
    clippy::exhaustive_structs,
    reason = "time, keys and cryptography are all that a verification needs"
)]
pub struct Means<'m> {
    /// Seconds since 1970.
    pub now: u64,
    /// The keys.
    pub keys: &'m dyn Keys,
    /// The cryptography.
    pub signatures: &'m dyn Signatures,
}

impl std::fmt::Debug for Means<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("now", &self.now).finish_non_exhaustive()
    }
}

impl TokenRules {
    /// Compiles the rules that hold for `workload`: those of its namespace and of the root namespace that pick it. All of
    /// them together are in force.
    ///
    /// # Errors
    ///
    /// Every rule that cannot be put in force.
    pub fn compile<'p>(
        policies: impl IntoIterator<Item = &'p RequestAuthentication>,
        workload: &Workload,
        root_namespace: &str,
        hosts: &dyn Hosts,
    ) -> Result<Self, Vec<InvalidTokenRule>> {
        let of_workload = policies
            .into_iter()
            .filter(|one| one.holds_for(workload, root_namespace));
        compile_all(of_workload, hosts)
    }

    /// Whether no request is looked at.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules.
    #[must_use]
    pub const fn rules(&self) -> &[TokenRule] {
        &self.rules
    }

    /// Where keys have to be got from.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<KeySource>> {
        self.rules.iter().filter_map(|rule| match &rule.keys {
            RuleKeys::From(source) => Some(source),
            RuleKeys::Inline(_) => None,
        })
    }

    /// Finds the token of a request. A preflight request of a browser bears none.
    ///
    /// # Errors
    ///
    /// [`Refusal::SeveralTokens`] where there is more than one, whoever they are of; [`Refusal::Missing`] where there is none
    /// and a rule demands one.
    pub fn locate<'r>(&self, request: &RequestView<'r>) -> Result<Option<Borne<'r>>, Refusal> {
        if is_preflight(request) {
            return Ok(None);
        }
        let mut borne = None;
        for (place, index) in self.places.iter().zip(0..) {
            let Some((token, prefix)) = place.find(request)? else {
                continue;
            };
            let at = (index, prefix);
            if borne.replace(Borne { token, at }).is_some() {
                return Err(Refusal::SeveralTokens);
            }
        }
        match (borne, self.presence) {
            (None, Presence::Required) => Err(Refusal::Missing),
            (borne, _) => Ok(borne),
        }
    }

    /// A token that a rule takes is enough, unless others demand theirs.
    pub(super) fn is_enough(&self, rule: &TokenRule) -> Result<(), Refusal> {
        match self.presence == rule.presence || rule.presence == Presence::Required {
            true => Ok(()),
            false => Err(Refusal::Missing),
        }
    }

    /// Verifies a token by the rules of its place; one that takes it is enough.
    ///
    /// # Errors
    ///
    /// [`Rejected`] with the reason of the rule that came furthest.
    pub fn verify(&self, borne: &Borne<'_>, means: Means<'_>) -> Result<Accepted, Rejected<'_>> {
        let unread = Rejected::unread;
        let token = jws::parse(&borne.token).map_err(unread)?;
        let times = Times::of(&token.claims).map_err(unread)?;
        let issuer = claims::text_claim(&token.claims, "iss").map_err(unread)?;
        claims::text_claim(&token.claims, "sub").map_err(unread)?;
        let audiences = claims::audiences(&token.claims).map_err(unread)?;
        let mut rejected = unread(Refusal::UnknownIssuer);
        for index in self.rules_at(borne.at) {
            let Some(rule) = self.rules.get(*index).filter(|rule| rule.is_for(issuer)) else {
                continue;
            };
            let verified = rule.verify(&token, (times, &audiences), means);
            match verified.and_then(|()| self.is_enough(rule)) {
                Ok(()) => {
                    let lists = &rule.lists;
                    let token = Arc::new(VerifiedToken::new(token.claims, times, token.payload, lists));
                    return Ok(Accepted { token, rule: *index });
                }
                Err(refusal) if refusal >= rejected.refusal => {
                    rejected = Rejected {
                        refusal,
                        rule: Some(rule),
                    }
                }
                Err(_) => {}
            }
        }
        Err(rejected)
    }

    /// Whether a token that was verified before is still valid.
    ///
    /// # Errors
    ///
    /// [`Refusal::Expired`], or [`Refusal::NotYetValid`] where the clock went back.
    pub fn still_valid(&self, accepted: &Accepted, now: u64) -> Result<(), Rejected<'_>> {
        let rule = self.rules.get(accepted.rule);
        let leeway = rule.map_or(0, |rule| rule.leeway);
        let times = accepted.token.times();
        times.check(now, leeway).map_err(|refusal| Rejected { refusal, rule })
    }

    /// Every place and prefix that rules look at.
    pub(super) fn all_places(&self) -> impl Iterator<Item = (usize, usize)> {
        let places = self.places.iter().enumerate();
        places.flat_map(|(index, place)| (0..place.prefixes()).map(move |prefix| (index, prefix)))
    }

    fn rules_at(&self, (place, prefix): (usize, usize)) -> &[usize] {
        self.places.get(place).map_or(&[], |place| place.rules(prefix))
    }

    /// Removes headers that only verified tokens fill, however the caller spells them.
    pub fn strip_outputs(&self, headers: &mut HeaderMap) {
        if self.outputs.is_empty() {
            return;
        }
        let is_output = |name: &&HeaderName| {
            self.outputs
                .iter()
                .any(|output| is_spelt(name.as_str(), output.as_str()))
        };
        let brought: Vec<HeaderName> = headers.keys().filter(is_output).cloned().collect();
        for name in brought {
            headers.remove(name);
        }
    }

    /// Removes the token, unless its rule keeps it, and fills the headers that the rule names.
    pub fn apply(&self, at: (usize, usize), accepted: &Accepted, uri: &mut Uri, headers: &mut HeaderMap) {
        let Some(rule) = self.rules.get(accepted.rule) else {
            return;
        };
        if rule.forward == Forward::Remove
            && let Some(place) = self.places.get(at.0)
        {
            place.field.remove(uri, headers);
        }
        rule.fill(&accepted.token, headers);
    }

    /// The URI without parameters that may bear tokens, whatever they are worth: what may be logged. `None` where it has
    /// none of them.
    #[must_use]
    pub fn without_tokens(&self, uri: &Uri) -> Option<Uri> {
        uri.query()?;
        let names = self.places.iter().filter_map(|place| place.field.param());
        names.fold(None, |stripped, name| {
            without_param(stripped.as_ref().unwrap_or(uri), name).or(stripped)
        })
    }
}

impl Borne<'_> {
    /// Its place, for [`TokenRules::apply`].
    #[must_use]
    pub const fn at(&self) -> (usize, usize) {
        self.at
    }
}

/// A browser asks whether it may ask (Fetch standard, CORS preflight).
fn is_preflight(request: &RequestView<'_>) -> bool {
    *request.method == Method::OPTIONS
        && request.headers.contains_key("origin")
        && request.headers.contains_key("access-control-request-method")
}

/// Whether a server may take a name for another: case, and `_` or `.` for `-`.
pub(super) fn is_spelt(name: &str, as_name: &str) -> bool {
    let fold = |byte: u8| match byte {
        b'_' | b'.' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    name.len() == as_name.len() && name.bytes().zip(as_name.bytes()).all(|(a, b)| fold(a) == fold(b))
}

impl TokenRule {
    /// Headers that its tokens fill.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &HeaderName> {
        let claims = self.claim_headers.iter().map(|(name, _)| name);
        self.payload_header.iter().chain(claims)
    }

    pub(super) fn is_for(&self, issuer: Option<&str>) -> bool {
        self.issuer.as_deref().is_none_or(|own| issuer == Some(own))
    }

    /// What costs least comes first; whom the token is for is asked of genuine tokens only.
    fn verify(
        &self,
        token: &Unverified<'_>,
        (times, audiences): (Times, &[&str]),
        means: Means<'_>,
    ) -> Result<(), Refusal> {
        times.check(means.now, self.leeway)?;
        let keys = self.keys_now(means.keys).ok_or(Refusal::NoKeys)?;
        let candidates = keys.candidates(token.algorithm, token.key_id.as_deref());
        if candidates.is_empty() {
            return Err(Refusal::UnknownKey);
        }
        let is_signed_by = |key: &&super::Key| {
            let (message, signature) = (token.message, token.signature.as_slice());
            means
                .signatures
                .is_valid(token.algorithm, &key.material, message, signature)
        };
        if !candidates.iter().any(is_signed_by) {
            return Err(Refusal::Signature);
        }
        self.check_audience(audiences)
    }

    fn keys_now(&self, keys: &dyn Keys) -> Option<Arc<KeySet>> {
        match &self.keys {
            RuleKeys::Inline(keys) => Some(Arc::clone(keys)),
            RuleKeys::From(source) => keys.of(source),
        }
    }

    pub(super) fn check_audience(&self, audiences: &[&str]) -> Result<(), Refusal> {
        let is_ours = |audience: &&str| self.audiences.iter().any(|own| own == audience);
        match (self.audiences.is_empty(), audiences.is_empty()) {
            (true, _) => Ok(()),
            (_, true) => Err(Refusal::NoAudience),
            _ if audiences.iter().any(is_ours) => Ok(()),
            _ => Err(Refusal::Audience),
        }
    }

    fn fill(&self, token: &VerifiedToken, headers: &mut HeaderMap) {
        let mut set = |name: &HeaderName, text: &str| {
            // A claim whose text no header can have stays out: the application sees that it is not there.
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name.clone(), value);
            }
        };
        if let Some(name) = &self.payload_header {
            set(name, token.payload());
        }
        for (name, claim) in &self.claim_headers {
            if let Some(text) = token.header_text(claim) {
                set(name, &text);
            }
        }
    }
}
