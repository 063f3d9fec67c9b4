//! The step of a request: find its token, verify it, tell the application.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use mesh_core::decide::jwt::{
    Accepted, Borne, KeySource, Means, Refusal as TokenRefusal, Rejected, RuleKeys, TokenRules,
};
use mesh_core::outcome::Outcome;
use mesh_core::request::RequestView;
use mesh_core::snapshot::Snapshot;

use super::cache::Remembered;
use super::state::SourceState;
use super::{AwsLc, Claims, KeysAt, Tokens};
use crate::body::Body;
use crate::server::exchange::Exchange;
use crate::server::respond::Refusal;

/// The token of a request, verified.
pub(crate) struct Bearer {
    accepted: Accepted,
    at: (usize, usize),
}

impl Bearer {
    /// Tells the application: by the headers that the rule names, and by [`Claims`].
    pub(crate) fn introduce(self, rules: &TokenRules, request: &mut Request<Body>) {
        let mut uri = request.uri().clone();
        rules.apply(self.at, &self.accepted, &mut uri, request.headers_mut());
        *request.uri_mut() = uri;
        request.extensions_mut().insert(Claims::new(self.accepted.token));
    }
}

/// Verifies the token of a request, where it bears one.
///
/// # Cancel safety
///
/// Cancel safe: only waiting for keys takes time.
pub(crate) async fn authenticate(
    snapshot: &Snapshot,
    tokens: &Tokens,
    view: &RequestView<'_>,
    exchange: &mut Exchange,
) -> Result<Option<Bearer>, Refusal> {
    let rules = &snapshot.inbound.tokens;
    let borne = match rules.locate(view) {
        Ok(None) => return Ok(None),
        Ok(Some(borne)) => borne,
        Err(refusal) => return Err(refused(refusal, None, exchange)),
    };
    match verified(snapshot, tokens, &borne).await {
        Ok(accepted) => {
            exchange.bears(&accepted.token);
            let at = borne.at();
            Ok(Some(Bearer { accepted, at }))
        }
        Err(rejected) => Err(refused(rejected.refusal, Some(&rejected), exchange)),
    }
}

async fn verified<'s>(snapshot: &'s Snapshot, tokens: &Tokens, borne: &Borne<'_>) -> Result<Accepted, Rejected<'s>> {
    if let Some(accepted) = tokens.remembered(snapshot, borne)? {
        return Ok(accepted);
    }
    let rejected = match tokens.verify(snapshot, borne) {
        Ok(accepted) => return Ok(accepted),
        Err(rejected) => rejected,
    };
    let Some((source, state)) = tokens.missing(&rejected) else {
        return Err(rejected);
    };
    match state.awaited(wait_limit(source), tokens.clock.now()).await {
        true => tokens.verify(snapshot, borne),
        false => Err(rejected),
    }
}

/// A request waits a little longer than the attempt may take.
fn wait_limit(source: &KeySource) -> Duration {
    source.timeout.saturating_add(Duration::from_millis(250))
}

impl Tokens {
    /// A token that was verified before, if it is still valid.
    fn remembered<'s>(&self, snapshot: &'s Snapshot, borne: &Borne<'_>) -> Result<Option<Accepted>, Rejected<'s>> {
        let Some(found) = self.cache.find(borne.text(), snapshot.generation, borne.at()) else {
            return Ok(None);
        };
        let rules = &snapshot.inbound.tokens;
        if !self.are_current(rules, &found) {
            self.cache.forget(borne.text());
            return Ok(None);
        }
        let valid = rules.still_valid(&found.accepted, self.unix_now());
        valid.inspect_err(|_| self.cache.forget(borne.text()))?;
        Ok(Some(found.accepted))
    }

    /// Whether the keys are those that the token was verified with, and not too old.
    fn are_current(&self, rules: &TokenRules, found: &Remembered) -> bool {
        let rule = rules.rules().get(found.accepted.rule);
        match (rule.map(|rule| &rule.keys), &found.keys) {
            (Some(RuleKeys::Inline(_)), _) => true,
            (Some(RuleKeys::From(source)), Some((state, version))) => {
                let held = state.held(source, self.clock.now());
                held.is_some_and(|held| held.version == *version)
            }
            _ => false,
        }
    }

    fn verify<'s>(&self, snapshot: &'s Snapshot, borne: &Borne<'_>) -> Result<Accepted, Rejected<'s>> {
        let rules = &snapshot.inbound.tokens;
        let keys = KeysAt::now(self);
        let now = self.unix_now();
        let means = Means {
            now,
            keys: &keys,
            signatures: &AwsLc,
        };
        let accepted = rules.verify(borne, means)?;
        let remembered = Remembered {
            accepted: accepted.clone(),
            generation: snapshot.generation,
            at: borne.at(),
            keys: keys.asked.into_inner(),
        };
        let is_over = |known: &Accepted| rules.still_valid(known, now).is_err();
        self.cache.put(borne.text(), remembered, is_over);
        Ok(accepted)
    }

    /// The source whose keys a token lacks.
    fn missing<'s>(&self, rejected: &Rejected<'s>) -> Option<(&'s KeySource, Arc<SourceState>)> {
        let is_missing = matches!(rejected.refusal, TokenRefusal::UnknownKey | TokenRefusal::NoKeys);
        match &rejected.rule.filter(|_| is_missing)?.keys {
            RuleKeys::From(source) => Some((source, self.state(source)?)),
            RuleKeys::Inline(_) => None,
        }
    }
}

fn refused(reason: TokenRefusal, rejected: Option<&Rejected<'_>>, exchange: &mut Exchange) -> Refusal {
    let rule = rejected.and_then(|rejected| rejected.rule);
    tracing::debug!(
        reason = reason.text(),
        policy = rule.map(|rule| &*rule.policy),
        "token refused"
    );
    exchange.token_refused(reason, rule.map(|rule| &rule.origin));
    let mut refusal = Refusal::new(outcome(reason), reason.text());
    refusal.challenge = reason.challenge();
    refusal
}

const fn outcome(reason: TokenRefusal) -> Outcome {
    match reason {
        TokenRefusal::Audience => Outcome::Denied,
        _ => Outcome::Unauthenticated,
    }
}
