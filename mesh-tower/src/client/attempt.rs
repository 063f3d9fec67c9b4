//! The tries of a request: pick an endpoint, send, judge, and try again where the policy says so.

use std::net::SocketAddr;

use http::{HeaderName, Request, Response, StatusCode, Version};
use mesh_core::decide::cluster::{Permit, PickError, RetryRefusal};
use mesh_core::decide::deadline::{Expiry, GRPC_TIMEOUT, format_grpc_timeout};
use mesh_core::decide::health::Verdict;
use mesh_core::decide::retry::{Attempt, Progress, Repeat, backoff, decide};
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::traffic::{PreviousHosts, RetryCondition};
use mesh_core::time::Timestamp;

use super::clusters::Way;
use super::connect::ConnectError;
use super::error::Error;
use super::exchange::{Exchange, Held, Judgement};
use super::pool::{Awaited, Failure, Pool, SendError, SendErrorKind};
use super::repeat::{Copies, Repeatable};
use super::stack::Plan;
use crate::body::Body;
use crate::mesh::Shared;
use crate::telemetry::head::grpc_status;
use crate::telemetry::metrics::RetryResult;

/// Marks answers of a rate limit.
static RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

/// The tries of one request.
pub(super) struct Tries<'a> {
    plan: &'a Plan,
    request: Repeatable,
    version: Version,
    /// Endpoints whose tries the policy was not content with.
    tried: Vec<SocketAddr>,
}

/// A try that is about to be sent.
struct Started {
    pool: Pool,
    request: Box<Request<Body>>,
    /// When it is given up, and whose limit that is.
    at: Option<tokio::time::Instant>,
    expiry: Option<Expiry>,
}

/// A try without a response.
struct Failed {
    attempt: Attempt,
    error: Error,
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
    pub(super) async fn run(&mut self, exchange: &mut Exchange, mut now: Timestamp) -> Result<Response<Body>, Error> {
        let mut retry_permit = None;
        for number in 1.. {
            // One response in one place: it is large, and each further hand that it went through would move it.
            let result = match self.start(exchange, retry_permit.take(), (number, now)) {
                Ok(started) => {
                    let begun = exchange.shared.clock.instant(now);
                    let sent = started.pool.send_until(started.request, started.at, begun).await;
                    sent.map_err(|failure| self.failed(exchange, failure, started.expiry))
                }
                Err(error) => Err(Failed::refused(error)),
            };
            let attempt = match &result {
                Ok(response) => self.answered(exchange, response),
                Err(failed) => failed.attempt,
            };
            let wants_more = decide(&self.plan.retry.on, &attempt, self.plan.repeat).is_retry();
            if number > 1 {
                let is_answered = result.is_ok() && !wants_more;
                self.plan.cluster.metrics.retry(match is_answered {
                    true => RetryResult::Success,
                    false => RetryResult::Failure,
                });
                exchange.retry_is_over();
            }
            if !wants_more {
                return result.map_err(|failed| failed.error);
            }
            if number > self.plan.retry.attempts {
                exchange.retries_spent = self.plan.retry.attempts > 0;
                return result.map_err(|failed| failed.error);
            }
            // Boxed: most requests need one try.
            match Box::pin(self.next_try(exchange, result, number)).await {
                Ok(permit) => retry_permit = Some(permit),
                Err(result) => return result.map_err(|failed| failed.error),
            }
            now = exchange.shared.clock.now();
        }
        // INVARIANT: the loop has no end of its own.
        Err(Error::new(Outcome::UpstreamReset))
    }

    /// Whether there is another try: a body that can be sent again, time, a place and budget for it. Waits out the pause.
    async fn next_try(
        &mut self,
        exchange: &mut Exchange,
        result: Result<Response<Body>, Failed>,
        number: u32,
    ) -> Result<Permit, Result<Response<Body>, Failed>> {
        let shared = &exchange.shared;
        let now = shared.clock.now();
        let pause = backoff(number, &self.plan.retry.backoff, &mut &shared.entropy);
        if !self.request.can_repeat() || !self.plan.deadline.allows_pause(pause, now) {
            return Err(result);
        }
        let permit = match self.plan.cluster.state.try_retry(now) {
            Ok(permit) => permit,
            Err(refusal) => {
                if refusal == RetryRefusal::Budget {
                    self.plan.cluster.metrics.retry(RetryResult::BudgetExhausted);
                }
                return Err(result);
            }
        };
        // A server may refuse a request whose body is still on its way. What goes on to it could not be sent again.
        if !self.request.take_over() {
            return Err(result);
        }
        drop(result);
        self.avoid(exchange);
        let until = shared.clock.instant(now + pause);
        exchange.release();
        tokio::time::sleep_until(until).await;
        Ok(permit)
    }

    /// The next try goes elsewhere, whatever this one's answer says of its endpoint: the policy does not want it.
    fn avoid(&mut self, exchange: &Exchange) {
        let endpoint = exchange.endpoint().map(|endpoint| endpoint.address());
        if let Some(address) = endpoint.filter(|address| !self.tried.contains(address)) {
            self.tried.push(address);
        }
    }

    /// Everything of a try that needs no waiting: a place, an endpoint, a copy of the request.
    fn start(
        &mut self,
        exchange: &mut Exchange,
        retry: Option<Permit>,
        (number, now): (u32, Timestamp),
    ) -> Result<Started, Error> {
        let held = self.place(&exchange.shared, retry, now)?;
        exchange.attempts = number;
        exchange.judgement = Judgement::Open;
        let equipped = self.equip(&held, now, exchange);
        exchange.held = Some(held);
        equipped.inspect_err(|error| self.account_for(exchange, error))
    }

    fn place(&mut self, shared: &Shared, retry: Option<Permit>, now: Timestamp) -> Result<Held, Error> {
        let cluster = &self.plan.cluster.state;
        let avoided = match self.plan.retry.previous_hosts {
            PreviousHosts::Avoid => self.tried.as_slice(),
            PreviousHosts::Allow => &[],
        };
        let picked = cluster.pick(avoided, now, &mut &shared.entropy);
        let endpoint = picked.map_err(|error| no_endpoint(error, &self.plan.cluster.name))?;
        if self.tried.contains(&endpoint.address()) {
            // All have failed it: another round begins.
            self.tried.clear();
        }
        let request = cluster.try_request().ok_or_else(|| {
            let message = format!("too many requests are under way to `{}`", self.plan.cluster.name);
            Error::new(Outcome::Overflow).message(message)
        })?;
        Ok(Held {
            in_flight: cluster.begin(endpoint),
            _request: request,
            retry,
        })
    }

    fn equip(&mut self, held: &Held, now: Timestamp, exchange: &Exchange) -> Result<Started, Error> {
        let endpoint = held.in_flight.endpoint();
        let Way { pool, speaks_http2 } = endpoint
            .attachment()
            .way(self.version, (&*self.plan.cluster, endpoint.address()))
            .map_err(|error| own(Error::new(Outcome::TlsFailure).message(error.to_string())))?;
        let copies = self.wants_copy(speaks_http2);
        let unrepeatable = || own(Error::new(Outcome::UpstreamReset).message("the request cannot be sent again"));
        let mut request = self.request.take(copies).ok_or_else(unrepeatable)?;
        if exchange.is_grpc() {
            self.send_deadline_on(&mut request, now);
        }
        let limit = self.plan.deadline.next(now);
        Ok(Started {
            pool,
            request,
            at: limit.map(|(at, _)| exchange.shared.clock.instant(at)),
            expiry: limit.map(|(_, expiry)| expiry),
        })
    }

    /// A gRPC server stops its work when nobody waits for it any more: each try tells what is left by then.
    fn send_deadline_on(&self, request: &mut Request<Body>, now: Timestamp) {
        if let Some(remaining) = self.plan.deadline.remaining(now) {
            let remaining = format_grpc_timeout(remaining);
            request.headers_mut().insert(&GRPC_TIMEOUT, remaining);
        }
    }

    /// What an answer means, for another try and for its endpoint.
    fn answered(&mut self, exchange: &mut Exchange, response: &Response<Body>) -> Attempt {
        let grpc = exchange.is_grpc().then(|| grpc_status(response.headers())).flatten();
        let mut attempt = Attempt::response(response.status(), grpc);
        // Such an answer is tried again only where the policy says just that.
        if self.may_retry(response.status(), grpc) && response.headers().contains_key(&RATE_LIMITED) {
            attempt = attempt.rate_limited();
        }
        let by_status = self.plan.cluster.state.verdict(response.status());
        let verdict = match (exchange.is_grpc(), grpc) {
            (true, Some(status)) => Some(Verdict::from_grpc_status(status)),
            // The trailers of a call will tell, unless HTTP itself says that it failed.
            (true, None) => (by_status != Verdict::Success).then_some(by_status),
            (false, _) => Some(by_status),
        };
        // What the headers alone say: failures count at once, and once; successes once the body is over.
        match verdict {
            Some(verdict) if verdict != Verdict::Success => {
                exchange.judgement = Judgement::Told;
                self.record(exchange, verdict);
            }
            Some(verdict) => exchange.judgement = Judgement::Expected(verdict),
            None => {}
        }
        attempt
    }

    /// Whether the policy may have an answer of this status tried again.
    fn may_retry(&self, status: StatusCode, grpc: Option<u8>) -> bool {
        let on = &self.plan.retry.on;
        let by_header = on.conditions.contains(&RetryCondition::EnvoyRatelimited);
        let has_failed = !status.is_success() || grpc.is_some_and(|status| status != 0);
        self.plan.retry.attempts > 0 && (has_failed || by_header || !on.codes.is_empty() || on.classes.is_some())
    }

    /// A try without a response; a request that was not sent comes back.
    fn failed(&mut self, exchange: &mut Exchange, failure: Failure, expiry: Option<Expiry>) -> Failed {
        let cluster = &self.plan.cluster.name;
        let failed = match failure {
            Failure::Send(mut error) => {
                if let Some(request) = error.take_request() {
                    self.request.give_back(request);
                }
                Failed::sending(error, cluster)
            }
            // INVARIANT: only a limit can be over.
            Failure::Elapsed => Failed::timed_out(expiry.unwrap_or(Expiry::Request), cluster),
            Failure::Unsent(request, awaited) => {
                self.request.give_back(request);
                Failed::timed_out(expiry.unwrap_or(Expiry::Request), cluster).while_waiting(awaited)
            }
        };
        self.account_for(exchange, &failed.error);
        failed
    }

    /// Tells the cluster what the failure of a try says of the endpoint. The try is over.
    fn account_for(&self, exchange: &mut Exchange, error: &Error) {
        if let Some(source) = std::error::Error::source(error) {
            exchange.transport_failure = Some(source.to_string().into());
        }
        self.record(exchange, error_verdict(error));
        exchange.release();
    }

    fn record(&self, exchange: &Exchange, verdict: Verdict) {
        let Some(endpoint) = exchange.endpoint() else {
            return;
        };
        let now = exchange.shared.clock.now();
        if let Some(event) = self.plan.cluster.state.record(endpoint, verdict, now) {
            self.plan.cluster.observe(&event);
        }
    }

    /// Whether a try may fail in a way that the policy answers with another one, and that does not give the request back.
    fn wants_copy(&self, speaks_http2: bool) -> Copies {
        let retry = &self.plan.retry;
        let needs = |condition: &RetryCondition| match condition {
            // Such requests come back.
            RetryCondition::ConnectFailure | RetryCondition::ResetBeforeRequest => false,
            RetryCondition::RefusedStream => speaks_http2,
            RetryCondition::RetriableStatusCodes => !retry.on.codes.is_empty() && self.plan.repeat == Repeat::Safe,
            RetryCondition::EnvoyRatelimited => self.plan.repeat == Repeat::Safe,
            RetryCondition::RetriableHeaders | RetryCondition::Http3PostConnectFailure => false,
            RetryCondition::FiveXx
            | RetryCondition::GatewayError
            | RetryCondition::Reset
            | RetryCondition::Retriable4xx => self.plan.repeat == Repeat::Safe || speaks_http2,
            // The rest are gRPC's, which is HTTP/2.
            _ => speaks_http2,
        };
        if retry.attempts > 0 && (retry.on.classes.is_some() || retry.on.conditions.iter().any(needs)) {
            Copies::Keep
        } else {
            Copies::None
        }
    }
}

impl Failed {
    /// The mesh itself refuses: nothing was sent, and no endpoint is to blame.
    fn refused(error: Error) -> Self {
        Self {
            attempt: Attempt::failed(error.outcome()),
            error,
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
            error: error.blaming(expiry.verdict()),
        }
    }

    /// The same before there was a connection: the endpoint is asked of nothing while others have all that it may have.
    fn while_waiting(self, awaited: Awaited) -> Self {
        Self {
            attempt: self.attempt.with_progress(Progress::NotSent),
            error: match awaited {
                Awaited::Connection => self.error,
                Awaited::Turn => self.error.blaming(Verdict::Neutral),
            },
        }
    }

    fn sending(error: SendError, cluster: &str) -> Self {
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
            error: Error::new(outcome).message(message).caused_by(error),
        }
    }
}

/// What the mesh itself refuses: nothing was sent, and no endpoint is to blame.
fn own(error: Error) -> Error {
    error.blaming(Verdict::Neutral)
}

fn no_endpoint(error: PickError, cluster: &str) -> Error {
    Error::new(Outcome::NoHealthyEndpoint).message(format!("`{cluster}`: {error}"))
}

fn error_verdict(error: &Error) -> Verdict {
    error
        .verdict()
        .unwrap_or_else(|| Verdict::from_outcome(error.outcome()))
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
