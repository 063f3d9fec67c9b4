//! Tokens that callers bear: of principals and with claims that rules name, and fresh ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value as Json, json};

use super::act::with_each;
use super::of_values;
use crate::diff::sample::{ANY, of_patterns};
use crate::diff::{Side, Sides};
use crate::policy::model::authz::{Attribute, Rule, Source};
use crate::policy::model::jwt::{JwtRule, Presence};

/// What a token says, by the paths of its claims; several texts are a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token {
    issuer: String,
    subject: String,
    audiences: Vec<String>,
    claims: BTreeMap<Vec<String>, String>,
}

impl Token {
    /// All that it says.
    pub(super) fn said(&self) -> Map<String, Json> {
        let mut said = Map::new();
        for (path, text) in &self.claims {
            put(&mut said, path, text);
        }
        said.insert("iss".into(), json!(self.issuer));
        said.insert("sub".into(), json!(self.subject));
        if !self.audiences.is_empty() {
            said.insert("aud".into(), json!(self.audiences));
        }
        said
    }

    /// The same without claims that rules name; `None` where it has none of them.
    pub(super) fn plainer(&self) -> Option<Self> {
        (!self.claims.is_empty()).then(|| Self {
            claims: BTreeMap::new(),
            ..self.clone()
        })
    }

    fn set_claim(&mut self, path: &[String], text: Option<String>) {
        match text {
            Some(text) => self.claims.insert(path.to_vec(), text),
            None => self.claims.remove(path),
        };
    }
}

/// Puts a text at a path, unless another claim is in its way.
fn put(said: &mut Map<String, Json>, path: &[String], text: &str) {
    match path {
        [] => {}
        [name] => {
            said.insert(name.clone(), json!(text));
        }
        [name, rest @ ..] => {
            let inner = said.entry(name.clone()).or_insert_with(|| json!({}));
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, text);
            }
        }
    }
}

/// `a token of https://id.example.com/x (groups: staff)`.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token of {}/{}", self.issuer, self.subject)?;
        for (path, text) in &self.claims {
            write!(f, " ({}: {text})", path.join("."))?;
        }
        Ok(())
    }
}

/// Whose tokens the workload takes by either policy, and whom these have to be for.
#[derive(Debug, Default)]
pub(super) struct Issuers {
    by_name: BTreeMap<String, Audiences>,
    /// Those of rules that take any issuer's.
    any: Option<Audiences>,
    /// Whether a request has to bear one.
    is_required: bool,
}

#[derive(Clone, Debug, Default)]
struct Audiences {
    /// One of each rule.
    least: BTreeSet<String>,
    taken: BTreeSet<String>,
}

impl Audiences {
    fn add(&mut self, rule: &JwtRule) {
        self.least.extend(rule.audiences.first().cloned());
        self.taken.extend(rule.audiences.iter().cloned());
    }
}

impl Issuers {
    pub(super) fn of(sides: Sides<'_>) -> Self {
        let mut issuers = Self::default();
        for rule in [sides.old, sides.new].into_iter().flat_map(rules) {
            issuers.is_required |= rule.presence == Presence::Required;
            match rule.issuer.as_str() {
                "" => issuers.any.get_or_insert_default().add(rule),
                name => issuers.by_name.entry(name.to_owned()).or_default().add(rule),
            }
        }
        issuers
    }

    /// What each caller bears whatever rules say: where a token is demanded, a fresh one too.
    pub(super) fn demanded(&self) -> BTreeSet<Option<Token>> {
        let fresh = self.is_required.then(|| self.fresh());
        fresh.into_iter().flatten().map(Some).chain([None]).collect()
    }

    /// The tokens that a rule looks at, and none.
    pub(super) fn tokens_of(&self, rule: &Rule) -> BTreeSet<Option<Token>> {
        let principals = principals(rule);
        let claims = claims(rule);
        let mut tokens: BTreeSet<Token> = principals.iter().flat_map(|text| self.of_principal(text)).collect();
        if tokens.is_empty() && !claims.is_empty() {
            tokens.extend(self.fresh());
        }
        for (path, texts) in claims {
            tokens = with_each(&tokens, &texts, |token, text| match path.as_slice() {
                [name] if name == "aud" => self.set_audience(token, text),
                path => token.set_claim(path, text),
            });
        }
        tokens.into_iter().map(Some).chain([None]).collect()
    }

    /// One of each issuer, of a subject that no policy names.
    fn fresh(&self) -> Vec<Token> {
        self.of_principal(ANY)
    }

    /// Tokens that `issuer/subject` may be written for. An issuer whose tokens are not taken says nothing, so that another
    /// takes its place.
    fn of_principal(&self, text: &str) -> Vec<Token> {
        let (issuer, subject) = text.rsplit_once('/').unwrap_or((ANY, text));
        let subject = if subject.is_empty() { ANY } else { subject };
        let mut tokens: Vec<Token> = self.token(issuer, subject).into_iter().collect();
        if tokens.is_empty() {
            tokens.extend(self.by_name.keys().filter_map(|known| self.token(known, subject)));
        }
        // A subject may have a `/` in it.
        let longer = self.by_name.keys().filter_map(|known| {
            let rest = text.strip_prefix(known.as_str())?.strip_prefix('/')?;
            rest.contains('/').then(|| self.token(known, rest)).flatten()
        });
        tokens.extend(longer);
        tokens
    }

    fn token(&self, issuer: &str, subject: &str) -> Option<Token> {
        let audiences = self.audiences(issuer)?;
        Some(Token {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            audiences: audiences.least.iter().cloned().collect(),
            claims: BTreeMap::new(),
        })
    }

    fn audiences(&self, issuer: &str) -> Option<&Audiences> {
        self.by_name.get(issuer).or(self.any.as_ref())
    }

    /// For this audience, and for one that rules demand where they do not take it.
    fn set_audience(&self, token: &mut Token, text: Option<String>) {
        let Some(audiences) = self.audiences(&token.issuer) else {
            return;
        };
        let is_taken = text.as_ref().is_some_and(|text| audiences.taken.contains(text));
        token.audiences = text.into_iter().collect();
        if !is_taken {
            token.audiences.extend(audiences.least.iter().cloned());
        }
    }
}

fn rules(side: Side<'_>) -> impl Iterator<Item = &JwtRule> {
    let root = &side.policy.mesh.root_namespace;
    let policies = side.policy.request_authentications.iter();
    let ours = policies.filter(move |one| one.holds_for(&side.snapshot.workload, root));
    ours.flat_map(|one| &one.rules)
}

/// Texts for issuer and subject.
fn principals(rule: &Rule) -> Vec<String> {
    let of_sources = |source: &Source| of_patterns(&source.request_principals);
    let mut texts: Vec<String> = rule.from.iter().flat_map(of_sources).collect();
    let conditions = rule.when.iter();
    let named = conditions.filter(|one| one.attribute == Attribute::RequestPrincipal);
    texts.extend(named.flat_map(|one| of_values(&one.values)));
    texts
}

/// Paths of claims, with texts for them.
fn claims(rule: &Rule) -> Vec<(Vec<String>, Vec<String>)> {
    let of_condition = |attribute: &Attribute| match attribute {
        Attribute::Audiences => Some(vec!["aud".to_owned()]),
        Attribute::Presenter => Some(vec!["azp".to_owned()]),
        Attribute::Claims(path) => Some(path.clone()),
        _ => None,
    };
    let conditions = rule.when.iter();
    conditions
        .filter_map(|one| Some((of_condition(&one.attribute)?, of_values(&one.values))))
        .collect()
}
