//! External authorization: what a rule of the action `CUSTOM` demands, asked of the service that the policy names.
//!
//! The question is [`mesh_core`]'s ([`PeerRules::question`]); here it is sent, by the mesh's own client, and its answer
//! brought to the request. Asked is about the canonical request, which is what the application would get.
//!
//! | the authorizer | the request |
//! |---|---|
//! | allows | goes on to the other rules, with what the answer changes in it |
//! | denies | is answered as the authorizer says; 403 where it does not |
//! | is not there, too slow, or answers nonsense | is denied ([`failure_status`]), or goes on where the policy [lets it](OnFailure::Allow) |
//! | cannot be asked, for what the caller sent | is denied, whatever the policy says: no caller talks himself past an authorizer |
//!
//! A check that would have to be checked itself would never end where an authorizer guards itself: a check says how deep
//! it is, and one that is too deep is denied.
//!
//! [`PeerRules::question`]: mesh_core::decide::authz::PeerRules::question
//! [`failure_status`]: mesh_core::policy::model::authorizer::ExternalAuthorizer::failure_status
//! [`OnFailure::Allow`]: mesh_core::policy::model::authorizer::OnFailure::Allow

mod changes;
mod denial;
mod grpc;
mod http;
mod proto;
mod sample;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{HeaderName, HeaderValue};
use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use mesh_core::decide::authz::Authorizer;
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::authorizer::{ExternalAuthorizer, OnFailure, Protocol};
use mesh_core::request::Transport;
use mesh_core::snapshot::AskedAuthorizer;

use super::connection::Connection;
use crate::body::{Body, DeadlineExceeded};
use crate::client::call::{Callee, call};
use crate::mesh::Live;
use crate::telemetry::metrics::CheckResult;
use changes::{Changes, HeaderChange};
pub(super) use denial::Denial;
use sample::{NoSample, Sample, sample};

/// The longest answer: one that is longer is none.
const ANSWER_LIMIT: usize = 1 << 20;

/// How many checks a check is made for.
const DEPTH: HeaderName = HeaderName::from_static("x-mesh-check-depth");

/// An authorizer may be guarded by another, and that by a third.
const DEEPEST: u8 = 3;

/// How many checks a request is made for, as it says; to be read before headers of the mesh are removed, and only where
/// somebody may be asked. Who lies about it is denied at the worst.
pub(super) fn depth(authorizer: &Authorizer, headers: &HeaderMap) -> u8 {
    if authorizer.providers().is_empty() {
        return 0;
    }
    let depth = headers.get(&DEPTH);
    depth.map_or(0, |depth| {
        depth
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(DEEPEST)
    })
}

/// What the authorizer says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Allowed(Changes),
    Denied(Denial),
}

/// That there is no answer, and why.
#[derive(Debug)]
struct Failure {
    result: CheckResult,
    reason: Cow<'static, str>,
}

impl Failure {
    fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            result: CheckResult::Error,
            reason: reason.into(),
        }
    }

    fn timeout() -> Self {
        Self {
            result: CheckResult::Timeout,
            reason: "the authorizer did not answer in time".into(),
        }
    }
}

/// Why a check ends without an answer.
#[derive(Debug)]
enum Ended {
    /// The authorizer gave none.
    Unanswered(Failure),
    /// It was not asked, for what the caller sent.
    NotAsked(Failure),
    /// The request's body is larger than a check may have.
    TooLarge,
}

/// What follows from a check.
pub(super) enum Checked {
    /// The request goes on; these headers are for its response.
    Allowed(ForResponse),
    /// It is answered.
    Denied(Outcome, Denial),
}

/// Headers that an answer has for the caller.
#[derive(Debug, Default)]
pub(super) struct ForResponse(Vec<HeaderChange>);

impl ForResponse {
    pub(super) fn apply<B>(self, response: &mut Response<B>) {
        if !self.0.is_empty() {
            changes::change(response.headers_mut(), self.0);
        }
    }
}

/// Asks about a request whose URI is canonical, brings the answer to it, and counts it.
///
/// # Cancel safety
///
/// Dropping the future gives the check up. The request is lost with it, since its body may have been read.
pub(super) async fn check(
    connection: &Connection,
    live: &Live,
    authorizer: &Arc<AskedAuthorizer>,
    request: &mut Request<Body>,
    depth: u8,
) -> (CheckResult, Checked) {
    let shared = &connection.shared;
    let metrics = live.checks(&shared.metrics, &authorizer.name);
    let start = shared.clock.now();
    let (result, checked) = match answer(connection, live, authorizer, request, depth).await {
        Ok(Answer::Allowed(changes)) => allow(changes, authorizer, request),
        Ok(Answer::Denied(denial)) => (CheckResult::Denied, Checked::Denied(Outcome::DeniedExternally, denial)),
        Err(Ended::TooLarge) => {
            let outcome = Outcome::CheckedBodyTooLarge;
            (
                CheckResult::Denied,
                Checked::Denied(outcome, Denial::of(outcome.status())),
            )
        }
        Err(Ended::NotAsked(failure)) => denied(&failure, authorizer),
        Err(Ended::Unanswered(failure)) => unanswered(&failure, authorizer),
    };
    metrics.checked(result, shared.clock.now().since(start));
    (result, checked)
}

fn allow(changes: Changes, authorizer: &AskedAuthorizer, request: &mut Request<Body>) -> (CheckResult, Checked) {
    match changes.apply(request) {
        Ok(response) => (CheckResult::Allowed, Checked::Allowed(ForResponse(response))),
        Err(error) => denied(
            &Failure::new(format!("the answer makes no request: {error}")),
            authorizer,
        ),
    }
}

/// What becomes of a request of which the authorizer gave no answer.
fn unanswered(failure: &Failure, authorizer: &AskedAuthorizer) -> (CheckResult, Checked) {
    match authorizer.settings.on_failure {
        OnFailure::Deny => denied(failure, authorizer),
        OnFailure::Allow => {
            tracing::debug!(authorizer = %authorizer.name, reason = %failure.reason, "let through without an answer");
            (CheckResult::FailedOpen, Checked::Allowed(ForResponse::default()))
        }
    }
}

fn denied(failure: &Failure, authorizer: &AskedAuthorizer) -> (CheckResult, Checked) {
    tracing::debug!(authorizer = %authorizer.name, reason = %failure.reason, "denied without an answer");
    let denial = Denial::of(authorizer.settings.failure_status);
    (failure.result, Checked::Denied(Outcome::AuthorizerFailed, denial))
}

/// The answer, within the time that the policy gives it.
async fn answer(
    connection: &Connection,
    live: &Live,
    authorizer: &AskedAuthorizer,
    request: &mut Request<Body>,
    depth: u8,
) -> Result<Answer, Ended> {
    if depth >= DEEPEST {
        let failure = Failure::new("the request is itself a check: authorizers guard each other");
        return Err(Ended::NotAsked(failure));
    }
    let settings = &authorizer.settings;
    let clock = &connection.shared.clock;
    let deadline = clock.now() + settings.timeout;
    let sample = match settings.body {
        Some(wanted) => {
            let sampled = tokio::time::timeout_at(clock.instant(deadline), sample(request, wanted));
            Some(sampled.await.map_err(|_| Ended::NotAsked(Failure::timeout()))??)
        }
        None => None,
    };
    // However long the caller took for its body, the authorizer has its time.
    let left = settings.timeout;
    let mut check = question(connection, settings, request, sample).map_err(Ended::NotAsked)?;
    let next = HeaderValue::from(u16::from(depth) + 1);
    check.headers_mut().insert(DEPTH, next);
    ask(connection, live, authorizer, (check, left))
        .await
        .map_err(Ended::Unanswered)
}

impl From<NoSample> for Ended {
    fn from(none: NoSample) -> Self {
        match none {
            NoSample::TooLarge => Self::TooLarge,
            NoSample::Broken(error) => Self::NotAsked(Failure::new(format!("the request's body failed: {error}"))),
        }
    }
}

/// The request that asks.
fn question(
    connection: &Connection,
    settings: &ExternalAuthorizer,
    request: &Request<Body>,
    sample: Option<Sample>,
) -> Result<Request<Body>, Failure> {
    let at = (settings.service.as_str(), settings.port);
    match &settings.protocol {
        Protocol::Http(check) => http::check(check, at, request, sample),
        _ => {
            let form = settings.body.map(|body| body.form).unwrap_or_default();
            let sample = sample.map(|sample| (sample, form));
            let message = tell(connection, |parties| grpc::question(request, parties, sample));
            grpc::call(at, &message)
        }
    }
}

/// Who asks and who is asked.
fn tell<T>(connection: &Connection, question: impl FnOnce(&grpc::Parties<'_>) -> T) -> T {
    let own = connection.shared.identity.as_ref().map(|own| own.current());
    let source = connection.security.identity();
    question(&grpc::Parties {
        source: connection.remote,
        source_principal: source.map_or("", |peer| peer.id().as_str()),
        destination: connection.local,
        destination_principal: own.as_ref().map_or("", |own| own.svid().id().as_str()),
        server_name: connection.security.server_name(),
        scheme: match connection.transport() {
            Transport::Tls => "https",
            Transport::Plain => "http",
        },
        now: connection.shared.clock.wall(),
    })
}

async fn ask(
    connection: &Connection,
    live: &Live,
    authorizer: &AskedAuthorizer,
    (check, left): (Request<Body>, Duration),
) -> Result<Answer, Failure> {
    let settings = &authorizer.settings;
    let callee = Callee {
        target: authorizer.target,
        port: settings.port,
        timeout: left,
        name: &authorizer.name,
        origin: &settings.meta.origin,
    };
    let response = call(&connection.shared, live, callee, check).await;
    let response = response.map_err(|error| match error.is_timeout() {
        true => Failure::timeout(),
        false => Failure::new(error.to_string()),
    })?;
    let (response, trailers) = whole(response).await?;
    match &settings.protocol {
        Protocol::Http(check) => http::answer(check, response),
        _ => grpc::answer(&response, trailers.as_ref()),
    }
}

/// An answer with all of its body, and its trailers.
async fn whole(response: Response<Body>) -> Result<(Response<Bytes>, Option<HeaderMap>), Failure> {
    let (parts, body) = response.into_parts();
    let collected = Limited::new(body, ANSWER_LIMIT).collect().await;
    let collected = collected.map_err(|error| match error.is::<DeadlineExceeded>() {
        true => Failure::timeout(),
        false => Failure::new(format!("the authorizer's answer failed: {error}")),
    })?;
    let trailers = collected.trailers().cloned();
    Ok((Response::from_parts(parts, collected.to_bytes()), trailers))
}
