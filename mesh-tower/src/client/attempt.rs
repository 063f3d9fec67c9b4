//! The tries of a request: pick an endpoint, send, judge, and try again where the policy says so.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Request, Response, Version};
use mesh_core::decide::cluster::{Endpoint, InFlight, Permit, PickError, RetryRefusal};
use mesh_core::decide::deadline::Expiry;
use mesh_core::decide::health::Verdict;
use mesh_core::decide::retry::{Attempt, Progress, Repeat, backoff, decide};
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::traffic::{PreviousHosts, RetryCondition};

use super::clusters::Attachment;
use super::connect::ConnectError;
use super::error::Error;
use super::exchange::{Exchange, Settle};
use super::pool::{SendError, SendErrorKind};
use super::repeat::{Copies, Repeatable};
use super::stack::Plan;
use crate::body::Body;
use crate::telemetry::head::grpc_status;
use crate::telemetry::metrics::RetryResult;

/// The tries of one request.
pub(super) struct Tries<'a> {
    plan: &'a Plan,
    request: Repeatable,
    version: Version,
    /// Endpoints that have failed this request.
    tried: Vec<SocketAddr>,
}

/// A response, with what it holds until its end.
pub(super) struct Answer {
    response: Response<Body>,
    held: Held,
    verdict: Option<Verdict>,
    deadline: Option<tokio::time::Instant>,
}

/// What a try holds while it is under way.
struct Held {
    in_flight: InFlight<Attachment>,
    request: Permit,
    retry: Option<Permit>,
}

/// How a try ended.
struct Tried {
    attempt: Attempt,
    result: Result<Answer, Error>,
}

impl Answer {
    /// The response, whose end settles the accounts.
    pub(super) fn settle_later(self, mut exchange: Exchange) -> Response<Body> {
        exchange.answered(&self.response);
        let settle = Settle {
            exchange,
            in_flight: self.held.in_flight,
            verdict: self.verdict,
            _request: self.held.request,
            _retry: self.held.retry,
        };
        self.response.map(|body| {
            let body = match self.deadline {
                Some(at) => body.with_deadline(at),
                None => body,
            };
            body.on_end(settle)
        })
    }
}

impl<'a> Tries<'a> {
    pub(super) fn new(plan: &'a Plan, exchange: &Exchange, request: Box<Request<Body>>) -> Self {
        Self {
            plan,
            version: request.version(),
            request: Repeatable::new(request, exchange.shared.settings.replay_limit),
            tried: Vec::new(),
        }
    }

    /// Tries until the policy is content, or attempts, time or budget are spent.
    pub(super) async fn run(&mut self, exchange: &mut Exchange) -> Result<Answer, Error> {
        let mut retry_permit = None;
        for number in 1.. {
            let tried = self.once(exchange, retry_permit.take(), number).await;
            let wants_more = decide(&self.plan.retry.on, &tried.attempt, self.plan.repeat).is_retry();
            if number > 1 {
                let result = if wants_more {
                    RetryResult::Failure
                } else {
                    RetryResult::Success
                };
                self.plan.cluster.metrics.retry(result);
            }
            if !wants_more {
                return tried.result;
            }
            if number > self.plan.retry.attempts {
                exchange.retries_spent = self.plan.retry.attempts > 0;
                return tried.result;
            }
            match self.next_try(exchange, tried, number).await {
                Ok(permit) => retry_permit = Some(permit),
                Err(tried) => return tried.result,
            }
        }
        // INVARIANT: the loop has no end of its own.
        Err(Error::new(Outcome::UpstreamReset))
    }

    /// Whether there is another try: a body that can be sent again, time, a place and budget for it. Waits out the pause.
    async fn next_try(&mut self, exchange: &Exchange, tried: Tried, number: u32) -> Result<Permit, Tried> {
        let shared = &exchange.shared;
        let now = shared.clock.now();
        let pause = backoff(number, &self.plan.retry.backoff, &mut &shared.entropy);
        if !self.request.can_repeat() || !self.plan.deadline.allows_pause(pause, now) {
            return Err(tried);
        }
        let permit = match self.plan.cluster.state.try_retry(now) {
            Ok(permit) => permit,
            Err(refusal) => {
                if refusal == RetryRefusal::Budget {
                    self.plan.cluster.metrics.retry(RetryResult::BudgetExhausted);
                }
                return Err(tried);
            }
        };
        // The failed response goes first: a body that it still reads could not be sent again.
        drop(tried);
        tokio::time::sleep_until(shared.clock.instant(now + pause)).await;
        Ok(permit)
    }

    async fn once(&mut self, exchange: &mut Exchange, retry: Option<Permit>, number: u32) -> Tried {
        let shared = Arc::clone(&exchange.shared);
        let now = shared.clock.now();
        let cluster = &self.plan.cluster.state;
        let avoided = match self.plan.retry.previous_hosts {
            PreviousHosts::Avoid => self.tried.as_slice(),
            PreviousHosts::Allow => &[],
        };
        let endpoint = match cluster.pick(avoided, now, &mut &shared.entropy) {
            Ok(endpoint) => endpoint,
            Err(error) => return Tried::refused(no_endpoint(error, &self.plan.cluster.name)),
        };
        if self.tried.contains(&endpoint.address()) {
            // All have failed it: another round begins.
            self.tried.clear();
        }
        let Some(request_permit) = cluster.try_request() else {
            let message = format!("too many requests are under way to `{}`", self.plan.cluster.name);
            return Tried::refused(Error::new(Outcome::Overflow).message(message));
        };
        let held = Held {
            in_flight: cluster.begin(&endpoint),
            request: request_permit,
            retry,
        };
        exchange.endpoint = Some(Arc::clone(&endpoint));
        exchange.attempts = number;
        let mut tried = self.send(exchange, held).await;
        self.account(exchange, &endpoint, &mut tried);
        tried
    }

    async fn send(&mut self, exchange: &Exchange, held: Held) -> Tried {
        let shared = &exchange.shared;
        let attachment = held.in_flight.endpoint().attachment();
        let pool = match attachment.pool(self.version, || self.plan.cluster.seed()) {
            Ok(pool) => pool,
            Err(error) => return Tried::refused(Error::new(Outcome::TlsFailure).message(error.to_string())),
        };
        let copies = self.wants_copy(attachment);
        let Some(request) = self.request.take(copies) else {
            return Tried::refused(Error::new(Outcome::UpstreamReset).message("the request cannot be sent again"));
        };
        let limit = self.plan.deadline.next(shared.clock.now());
        let sent = match limit {
            Some((at, expiry)) => tokio::time::timeout_at(shared.clock.instant(at), pool.send(request))
                .await
                .map_err(|_| expiry),
            None => Ok(pool.send(request).await),
        };
        match sent {
            Ok(Ok(response)) => {
                let at = self.plan.deadline.request().map(|at| shared.clock.instant(at));
                let verdict = self.plan.cluster.state.verdict(response.status());
                Tried::answered(response, held, at, (verdict, exchange.is_grpc()))
            }
            Ok(Err(error)) => self.failed(error),
            Err(expiry) => Tried::timed_out(expiry, &self.plan.cluster.name),
        }
    }

    /// A try without a response; a request that was not sent comes back.
    fn failed(&mut self, mut error: SendError) -> Tried {
        if let Some(request) = error.take_request() {
            self.request.give_back(request);
        }
        Tried::failed(error, &self.plan.cluster.name)
    }

    /// Tells the cluster what the try says of its endpoint, and this request where not to go again.
    fn account(&mut self, exchange: &mut Exchange, endpoint: &Arc<Endpoint<Attachment>>, tried: &mut Tried) {
        let verdict = match &mut tried.result {
            Ok(answer) => answer.take_early_verdict(),
            Err(error) => {
                self.tried.push(endpoint.address());
                if let Some(source) = std::error::Error::source(error) {
                    exchange.transport_failure = Some(source.to_string().into());
                }
                error_verdict(error)
            }
        };
        let Some(verdict) = verdict else { return };
        if matches!(verdict, Verdict::ServerError | Verdict::GatewayError) {
            self.tried.push(endpoint.address());
        }
        let now = exchange.shared.clock.now();
        if let Some(event) = self.plan.cluster.state.record(endpoint, verdict, now) {
            self.plan.cluster.observe(&event);
        }
    }

    /// Whether a try may fail in a way that the policy answers with another one, and that does not give the request back.
    fn wants_copy(&self, endpoint: &Attachment) -> Copies {
        let retry = &self.plan.retry;
        let needs = |condition: &RetryCondition| match condition {
            // Such requests come back.
            RetryCondition::ConnectFailure | RetryCondition::ResetBeforeRequest => false,
            RetryCondition::RefusedStream => endpoint.speaks_http2(self.version),
            RetryCondition::RetriableStatusCodes => !retry.on.codes.is_empty() && self.plan.repeat == Repeat::Safe,
            RetryCondition::EnvoyRatelimited => self.plan.repeat == Repeat::Safe,
            RetryCondition::RetriableHeaders | RetryCondition::Http3PostConnectFailure => false,
            RetryCondition::FiveXx
            | RetryCondition::GatewayError
            | RetryCondition::Reset
            | RetryCondition::Retriable4xx => self.plan.repeat == Repeat::Safe || endpoint.speaks_http2(self.version),
            // The rest are gRPC's, which is HTTP/2.
            _ => endpoint.speaks_http2(self.version),
        };
        if retry.attempts > 0 && (retry.on.classes.is_some() || retry.on.conditions.iter().any(needs)) {
            Copies::Keep
        } else {
            Copies::None
        }
    }
}

impl Tried {
    /// The mesh itself refuses: nothing was sent, and no endpoint is to blame.
    fn refused(error: Error) -> Self {
        Self {
            attempt: Attempt::failed(error.outcome()),
            result: Err(error),
        }
    }

    fn answered(
        response: Response<Body>,
        held: Held,
        deadline: Option<tokio::time::Instant>,
        (by_status, is_grpc): (Verdict, bool),
    ) -> Self {
        let grpc = is_grpc.then(|| grpc_status(response.headers())).flatten();
        let mut attempt = Attempt::response(response.status(), grpc);
        if is_rate_limited(response.headers()) {
            attempt = attempt.rate_limited();
        }
        let verdict = match (is_grpc, grpc) {
            (true, Some(status)) => Some(Verdict::from_grpc_status(status)),
            // The trailers of a call will tell, unless HTTP itself says that it failed.
            (true, None) => (by_status != Verdict::Success).then_some(by_status),
            (false, _) => Some(by_status),
        };
        let answer = Answer {
            response,
            held,
            verdict,
            deadline,
        };
        Self {
            attempt,
            result: Ok(answer),
        }
    }

    fn timed_out(expiry: Expiry, cluster: &str) -> Self {
        let what = match expiry {
            Expiry::PerTry => "a try took longer than the policy allows",
            Expiry::Caller => "the caller's own deadline has passed",
            _ => "the exchange took longer than the route allows",
        };
        let error = Error::new(expiry.outcome()).message(format!("`{cluster}` did not answer in time: {what}"));
        Self {
            attempt: Attempt::failed(expiry.outcome()),
            result: Err(error.blaming(expiry.verdict())),
        }
    }

    fn failed(error: SendError, cluster: &str) -> Self {
        let outcome = outcome_of(&error);
        let progress = match error.kind() {
            SendErrorKind::Refused => Progress::Refused,
            _ if error.is_unsent() => Progress::NotSent,
            _ => Progress::Sent,
        };
        // Why there is no connection is what people look for first.
        let message = match error.connect_error() {
            Some(why) => format!("`{cluster}`: {why}"),
            None => format!("`{cluster}`: {error}"),
        };
        Self {
            attempt: Attempt::failed(outcome).with_progress(progress),
            result: Err(Error::new(outcome).message(message).caused_by(error)),
        }
    }
}

impl Answer {
    /// What the headers alone say of the endpoint: failures count at once, and once; successes at the end of the body.
    fn take_early_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take_if(|verdict| *verdict != Verdict::Success)
    }
}

fn is_rate_limited(headers: &HeaderMap) -> bool {
    headers.contains_key("x-envoy-ratelimited")
}

fn no_endpoint(error: PickError, cluster: &str) -> Error {
    Error::new(Outcome::NoHealthyEndpoint).message(format!("`{cluster}`: {error}"))
}

fn error_verdict(error: &Error) -> Option<Verdict> {
    Some(
        error
            .verdict()
            .unwrap_or_else(|| Verdict::from_outcome(error.outcome())),
    )
}

fn outcome_of(error: &SendError) -> Outcome {
    match error.kind() {
        SendErrorKind::Overflow => Outcome::Overflow,
        SendErrorKind::Connect => error.connect_error().map_or(Outcome::ConnectFailure, connect_outcome),
        SendErrorKind::Canceled => Outcome::UpstreamClosed,
        SendErrorKind::Protocol => Outcome::UpstreamProtocol,
        SendErrorKind::RequestBody => Outcome::CallerGone,
        // A closed pool belongs to an endpoint that the policy has just dropped.
        SendErrorKind::Closed => Outcome::NoHealthyEndpoint,
        _ => Outcome::UpstreamReset,
    }
}

fn connect_outcome(error: &ConnectError) -> Outcome {
    if error.is_identity_mismatch() {
        Outcome::IdentityMismatch
    } else if error.is_tls() {
        Outcome::TlsFailure
    } else {
        Outcome::ConnectFailure
    }
}
