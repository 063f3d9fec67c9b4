//! What is known of a request that is served, and the accounts that are settled at its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use mesh_core::decide::authz::{Decision, RuleInfo, Verdict};
use mesh_core::decide::jwt::{Refusal as TokenRefusal, TokenRules, VerifiedToken};
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::Origin;
use mesh_core::snapshot::Snapshot;
use mesh_core::time::Timestamp;

use super::conduct::Answer;
use super::connection::{Connection, Security};
use super::running::DeniedMeanwhile;
use crate::body::{Body, End, OnEnd};
use crate::brought::Brought;
use crate::telemetry::access_log::AccessRecord;
use crate::telemetry::head::{Head, grpc_status};
use crate::telemetry::metrics::{CheckResult, Reporter, RequestRecord};
use crate::telemetry::trace::{Correlation, Missing, RequestSpan, Sampling, SpanEnd};

/// A request that is served. Dropped unfinished, it counts as one whose caller went away, but for panics.
///
/// It has one allocation from begin to end: the body of its response holds it until that has ended.
pub(super) struct Exchange {
    pub(super) connection: Arc<Connection>,
    pub(super) span: RequestSpan,
    /// The rule that refused it.
    origin: Option<Origin>,
    audited_by: Option<Arc<RuleInfo>>,
    /// The client of a trusted caller, as that tells it.
    pub(super) forwarded_client: Option<Arc<str>>,
    /// What the policies on trial decide.
    trial: Option<Verdict>,
    /// The token that it bears, verified.
    token: Option<Arc<VerifiedToken>>,
    /// What the log says of it in place of its outcome's words.
    details: Option<&'static str>,
    /// The external authorizer that was asked, and how that ended.
    asked: Option<(Arc<str>, CheckResult)>,
    pub(super) start: Timestamp,
    /// Of the policy that it was judged by.
    pub(super) generation: u64,
    head: Head,
    answered: Option<u16>,
    grpc_status: Option<u8>,
    bytes: u64,
    /// Whether it asks for a head alone.
    is_head: bool,
    /// Followed where the peer has to take its answer in time.
    answer: Option<Answer>,
    /// How it ends if its body is complete.
    outcome: Outcome,
    is_settled: bool,
}

impl Exchange {
    pub(super) fn begin(
        connection: &Arc<Connection>,
        snapshot: &Snapshot,
        request: &mut Request<Body>,
        brought: Brought,
    ) -> (Correlation, Box<Self>) {
        let shared = &connection.shared;
        let entropy = &mut &shared.entropy;
        let span = RequestSpan::server(request);
        let readers = shared.access_log.readers(entropy);
        let missing = span.missing(readers, snapshot.mesh.request_ids);
        let correlation = match brought.correlation || missing == Missing::Make {
            true => Correlation::ensure(request.headers_mut(), missing, Sampling::default(), entropy),
            false => Correlation::default(),
        };
        span.in_trace(correlation.trace());
        connection.conduct.begins();
        let exchange = Box::new(Self {
            connection: Arc::clone(connection),
            span,
            origin: None,
            audited_by: None,
            forwarded_client: None,
            trial: None,
            token: None,
            details: None,
            asked: None,
            start: shared.clock.now(),
            generation: snapshot.generation,
            head: Head::of(request, brought, &correlation, readers),
            answered: None,
            grpc_status: None,
            bytes: 0,
            is_head: request.method() == Method::HEAD,
            answer: None,
            outcome: Outcome::Response,
            is_settled: false,
        });
        (correlation, exchange)
    }

    /// Notes what the policies say of it; counts what they want counted.
    pub(super) fn decided(&mut self, decision: &Decision<'_>) {
        let connection = &self.connection;
        if let Some(rule) = decision.audited() {
            connection.shared.metrics.audited_request();
            tracing::info!(peer = %connection.remote, policy = %rule.policy, rule = rule.index, "request audited");
            self.audited_by = Some(Arc::clone(rule));
        }
        if let Some(trial) = decision.trial() {
            connection.shared.metrics.tried_request(trial.verdict());
            tracing::debug!(peer = %connection.remote, decision = %trial, "policies on trial decide");
            self.trial = Some(trial.verdict());
        }
        if !decision.is_allowed() {
            self.origin = decision.origin().cloned();
        }
    }

    /// Keeps tokens that are part of the target out of the log.
    pub(super) fn hide_tokens(&mut self, rules: &TokenRules) {
        self.head.hide(|uri| rules.without_tokens(uri));
    }

    /// Notes who the token says that asks.
    pub(super) fn bears(&mut self, token: &Arc<VerifiedToken>) {
        self.connection.shared.metrics.tokens().verified();
        self.token = Some(Arc::clone(token));
    }

    /// Notes why its token is refused, and by which rule.
    pub(super) fn token_refused(&mut self, reason: TokenRefusal, rule: Option<&Origin>) {
        self.connection.shared.metrics.tokens().refused(reason);
        self.details = Some(reason.details());
        self.origin = rule.cloned();
    }

    /// Whether an external authorizer was asked about it.
    pub(super) const fn was_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Notes what an external authorizer said of it.
    pub(super) fn asked(&mut self, authorizer: &Arc<str>, result: CheckResult) {
        self.asked = Some((Arc::clone(authorizer), result));
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.head.is_grpc()
    }

    pub(super) fn is_http1(&self) -> bool {
        self.head.version <= Version::HTTP_11
    }

    /// The response, whose end settles the accounts.
    pub(super) fn settle_later(mut self: Box<Self>, mut response: Response<Body>, outcome: Outcome) -> Response<Body> {
        self.answered = Some(response.status().as_u16());
        self.grpc_status = self.is_grpc().then(|| grpc_status(response.headers())).flatten();
        self.answer = self.connection.conduct.answer();
        self.outcome = outcome;
        if self.is_head || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            take_body(&mut response, self.is_head);
        }
        response.body_mut().hook(self);
        response
    }

    /// Settles, once.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        let connection = &self.connection;
        let duration = connection.shared.clock.now().since(self.start);
        let status = self.answered.unwrap_or_else(|| outcome.response_code());
        let mut record = RequestRecord::new(self.head.protocol, status, duration);
        record.grpc_status = self.head.grpc_code(self.grpc_status, outcome);
        record.flags = outcome.flag();
        record.security = connection.security_policy();
        connection.series.record(&record);
        self.finish_span(outcome, status);
        if self.head.is_logged() {
            let access_log = &connection.shared.access_log;
            access_log.record(|| self.access_record(outcome, status, duration));
        }
    }

    fn finish_span(&self, outcome: Outcome, status: u16) {
        let mut end = SpanEnd::new(outcome, status);
        end.peer = self.connection.security.identity().map(|peer| peer.id().as_str());
        self.span.finish(&end);
    }

    fn access_record(&self, outcome: Outcome, status: u16, duration: Duration) -> Option<AccessRecord> {
        let connection = &self.connection;
        let mut record = self.head.record(Reporter::Destination, outcome, status, duration)?;
        record.response_flags = outcome.flag();
        record.grpc_status = self.head.grpc_code(self.grpc_status, outcome);
        record.bytes_sent = self.bytes;
        record.downstream_local_address = known(connection.local);
        record.downstream_remote_address = known(connection.remote);
        if let Security::Web { server_name, .. } = &connection.security {
            record.requested_server_name.clone_from(server_name);
        }
        record.policy_origin.clone_from(&self.origin);
        record.audited_by.clone_from(&self.audited_by);
        record.trial = self.trial;
        record.response_code_details = self.details.unwrap_or(record.response_code_details);
        let principal = self.token.as_ref().and_then(|token| token.principal());
        record.request_principal = principal.map(Arc::from);
        record.asked.clone_from(&self.asked);
        record.forwarded_client.clone_from(&self.forwarded_client);
        record.policy_generation = self.generation;
        record.source_principal = connection.security.identity().map(|peer| peer.id().as_str().into());
        let own = connection.shared.identity.as_ref();
        record.destination_principal = own.map(|own| own.current().svid().id().as_str().into());
        Some(record)
    }
}

/// Takes out a body that cannot be sent: over HTTP/1 nobody would read it, over HTTP/2 it would break the protocol. An answer to
/// `HEAD` tells its length all the same.
fn take_body(response: &mut Response<Body>, is_head: bool) {
    let body = std::mem::take(response.body_mut());
    if http_body::Body::is_end_stream(&body) {
        // Nothing but what hangs on its end.
        *response.body_mut() = body;
        return;
    }
    let headers = response.headers_mut();
    match http_body::Body::size_hint(&body).exact() {
        _ if !is_head => drop(headers.remove(CONTENT_LENGTH)),
        Some(length) if !headers.contains_key(CONTENT_LENGTH) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        _ => {}
    }
}

/// Nothing stands for the address of a peer that nobody has told us of.
fn known(address: SocketAddr) -> Option<SocketAddr> {
    (address.port() != 0).then_some(address)
}

/// How what is dropped unfinished has ended. A panic takes down what it comes through, and no caller has gone.
fn dropped() -> Outcome {
    match std::thread::panicking() {
        true => Outcome::UpstreamReset,
        false => Outcome::CallerGone,
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let outcome = dropped();
        if !self.is_settled && self.answered.is_none() && outcome == Outcome::CallerGone {
            let connection = &self.connection;
            connection
                .conduct
                .given_up(connection.shared.clock.now().since(self.start));
        }
        self.settle(outcome);
    }
}

impl OnEnd for Exchange {
    fn on_data(&mut self, length: usize) {
        self.bytes += length as u64;
        if let Some(answer) = &mut self.answer {
            answer.given(&self.connection.conduct);
        }
    }

    fn on_wait(&mut self) {
        if let Some(answer) = &mut self.answer {
            answer.taken(&self.connection.conduct);
        }
    }

    fn on_end(&mut self, end: End<'_>) {
        self.on_wait();
        let outcome = match end {
            End::Complete(trailers) => {
                self.grpc_status = trailers.and_then(grpc_status).or(self.grpc_status);
                self.outcome
            }
            End::Failed(error) if error.is::<DeniedMeanwhile>() => Outcome::Denied,
            End::Failed(_) => Outcome::UpstreamReset,
            End::Dropped => dropped(),
        };
        self.settle(outcome);
    }
}
