//! A request against a scripted server, in virtual time: the loop of a client's tries without its sockets.
//!
//! Every decision is the client's own: the split, faults, the deadline, the pick, limits, budget, conditions and pauses
//! of retries, outlier detection. A script takes the place of the servers, and a seed that of the entropy.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Map, Value as Json, json};

use super::question::Asked;
use super::read::{Step, StepAnswer};
use crate::decide::cluster::{Cluster, ClusterKey, EndpointSpec};
use crate::decide::deadline::{Deadline, Expiry, grpc_timeout};
use crate::decide::health::Verdict;
use crate::decide::retry::{Attempt, Progress, Repeat, backoff, decide, default_policy};
use crate::decide::route::{Choice, RouteResult, Selected};
use crate::decide::shape::draw_fault;
use crate::explain;
use crate::outcome::{
    Outcome, flags_after_delay, flags_after_delay_with_retries_spent, flags_with_retries_spent, grpc_of_http,
};
use crate::policy::model::OutboundMode;
use crate::policy::model::filter::Abort;
use crate::policy::model::traffic::RetryPolicy;
use crate::random::SplitMix64;
use crate::request::{RequestView, canonicalize, is_grpc};
use crate::snapshot::{ResolvedEndpoint, ResolvedTarget, Snapshot, TargetEndpoints};
use crate::time::Timestamp;
use crate::trial::read::RateLimited;

/// How the request ends: `status`, `attempts`, `elapsed_ms`, `flags`, `details` and, of gRPC, `grpc_status`.
///
/// # Errors
///
/// Where no server is asked at all, or is asked more often than the script says.
pub(super) fn run(
    snapshot: &Snapshot,
    asked: &Asked,
    gateway: Option<&str>,
    script: &[Step],
    seed: u64,
) -> Result<Map<String, Json>, String> {
    let request = asked.request(asked.url.clone());
    let canonical =
        canonicalize(&request, snapshot.outbound_options()).map_err(|reason| unused(&reason.to_string()))?;
    let mut rng = SplitMix64::new(seed);
    let planned = plan(snapshot, &canonical.view(), gateway, &mut rng)?;
    let ended = match planned.next {
        Next::Ended(ending) => Ended::at_once(ending, planned.delay),
        Next::Try(plan) => tries(&plan, planned.delay, script, &mut rng)?,
    };
    Ok(ended.told(is_grpc(&asked.headers)))
}

fn unused(reason: &str) -> String {
    format!("`upstream` has no effect: no server is called: {reason}")
}

/// A request before its first try.
struct Planned {
    delay: Duration,
    next: Next,
}

enum Next {
    /// The mesh answers.
    Ended(Ending),
    Try(Box<Plan>),
}

/// Where the tries go, and within which limits.
struct Plan {
    cluster: Cluster<()>,
    retry: Arc<RetryPolicy>,
    deadline: Deadline,
    repeat: Repeat,
}

fn plan(
    snapshot: &Snapshot,
    view: &RequestView<'_>,
    gateway: Option<&str>,
    rng: &mut SplitMix64,
) -> Result<Planned, String> {
    match explain::selected(snapshot, view, gateway) {
        RouteResult::Route(selected) => routed(snapshot, view, selected, rng),
        RouteResult::UnknownHost if gateway.is_none() && snapshot.mesh.outbound == OutboundMode::AllowAny => {
            let endpoint = ResolvedEndpoint::by_host(view.host, view.effective_port());
            let key = ClusterKey::new(view.host, None, view.effective_port());
            let target = ResolvedTarget::passthrough(key, Arc::default(), endpoint);
            let next = Next::Try(Box::new(Plan::new(target, Arc::new(default_policy()), None, view)));
            let delay = Duration::ZERO;
            Ok(Planned { delay, next })
        }
        _ => Err(unused("no route takes the request")),
    }
}

fn routed(
    snapshot: &Snapshot,
    view: &RequestView<'_>,
    selected: Selected<'_>,
    rng: &mut SplitMix64,
) -> Result<Planned, String> {
    let shape = selected.route.shape.as_deref();
    let fault = shape.and_then(|shape| shape.fault.as_ref());
    let fault = fault.map(|fault| draw_fault(fault, rng)).unwrap_or_default();
    let delay = fault.delay.unwrap_or_default();
    if let Some(abort) = fault.abort {
        let next = Next::Ended(aborted(abort, is_grpc(view.headers)));
        return Ok(Planned { delay, next });
    }
    if shape.is_some_and(|shape| shape.answer.is_some()) {
        return Err(unused("the route answers itself"));
    }
    let failed = |outcome| Next::Ended(Ending::Local(outcome));
    let next = match selected.route.draw(rng) {
        None => failed(Outcome::NoService),
        Some(Choice::Unresolved(_)) => failed(Outcome::UnresolvedBackend),
        Some(Choice::Target { target, .. }) => match snapshot.target(*target) {
            Some(target) if !matches!(target.endpoints, TargetEndpoints::Undefined) => {
                let dialled = view.effective_port();
                let own = selected.retry();
                let retry = own.unwrap_or_else(|| target.retry(target.service_port(dialled)));
                let target = target.resolve(dialled);
                Next::Try(Box::new(Plan::new(target, Arc::clone(retry), selected.timeout(), view)))
            }
            _ => failed(Outcome::NoService),
        },
    };
    Ok(Planned { delay, next })
}

fn aborted(abort: Abort, is_grpc: bool) -> Ending {
    match abort {
        Abort::Grpc(status) => Ending::Abort(200, Some(status)),
        Abort::Http(status) if is_grpc => Ending::Abort(200, Some(grpc_of_http(status))),
        Abort::Http(status) => Ending::Abort(status.as_u16(), None),
    }
}

impl Plan {
    fn new(target: ResolvedTarget, retry: Arc<RetryPolicy>, timeout: Option<Duration>, view: &RequestView<'_>) -> Self {
        let cluster = Cluster::new(target.key, target.settings);
        let endpoints = target.endpoints.iter().enumerate().map(|(index, endpoint)| {
            let address = endpoint
                .socket_address()
                .unwrap_or_else(|| stand_in(index, endpoint.port));
            (EndpointSpec::new(address, endpoint.weight), ())
        });
        cluster.set_endpoints(endpoints.collect(), |_, ()| (), |_, ()| ());
        let deadline = Deadline::new(Timestamp::ZERO, timeout, retry.per_try_timeout);
        Self {
            cluster,
            deadline: deadline.with_caller_limit(own_limit(view.headers)),
            retry,
            repeat: Repeat::of(view.method, view.headers),
        }
    }
}

/// What DNS would answer for a name: an address of those that are for documentation (RFC 5737).
fn stand_in(index: usize, port: u16) -> SocketAddr {
    let last = u8::try_from(index % 254 + 1).unwrap_or(1);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)), port)
}

fn own_limit(headers: &HeaderMap) -> Option<Duration> {
    is_grpc(headers).then(|| grpc_timeout(headers).ok().flatten()).flatten()
}

/// Tries until the policy is content, or attempts, time or budget are spent.
fn tries(plan: &Plan, delay: Duration, script: &[Step], rng: &mut SplitMix64) -> Result<Ended, String> {
    let mut ended = Ended::new(delay);
    let mut tried = Vec::new();
    plan.cluster.budget().deposit(Timestamp::ZERO);
    let mut permit = None;
    for number in 1.. {
        let attempt = once(plan, script, &mut tried, &mut ended, rng)?;
        drop(permit.take());
        if !decide(&plan.retry.on, &attempt, plan.repeat).is_retry() {
            return Ok(ended);
        }
        if number > plan.retry.attempts {
            ended.is_spent = plan.retry.attempts > 0;
            return Ok(ended);
        }
        let pause = backoff(number, &plan.retry.backoff, rng);
        if !plan.deadline.allows_pause(pause, ended.now) {
            return Ok(ended);
        }
        match plan.cluster.try_retry(ended.now) {
            Ok(held) => permit = Some(held),
            Err(_) => return Ok(ended),
        }
        ended.now = ended.now + pause;
    }
    Err("the request has no end".into())
}

/// One try: the pick, the limit on requests, and what the script or the clock says.
fn once(
    plan: &Plan,
    script: &[Step],
    tried: &mut Vec<SocketAddr>,
    ended: &mut Ended,
    rng: &mut SplitMix64,
) -> Result<Attempt, String> {
    let Ok(endpoint) = plan.cluster.pick(tried, ended.now, rng) else {
        return Ok(ended.locally(Outcome::NoHealthyEndpoint));
    };
    if tried.contains(&endpoint.address()) {
        tried.clear();
    }
    let Some(_permit) = plan.cluster.try_request() else {
        return Ok(ended.locally(Outcome::Overflow));
    };
    let index = usize::try_from(ended.attempts).unwrap_or(usize::MAX);
    ended.attempts += 1;
    let step = script.get(index).ok_or_else(|| {
        let number = ended.attempts;
        format!("try {number} has no answer: `upstream` has {} of them", script.len())
    })?;
    let in_flight = plan.cluster.begin(endpoint);
    let (attempt, verdict) = ended.answer(step, &plan.deadline);
    if !matches!(verdict, Verdict::Success | Verdict::Neutral) || matches!(ended.ending, Ending::Local(_)) {
        tried.push(in_flight.address());
    }
    plan.cluster.record(&in_flight, verdict, ended.now);
    Ok(attempt)
}

/// The end of a try.
#[derive(Clone, Copy)]
enum Ending {
    Response(u16, Option<u8>),
    Abort(u16, Option<u8>),
    Local(Outcome),
}

/// How far a request has come.
struct Ended {
    delay: Duration,
    /// Since the first try.
    now: Timestamp,
    attempts: u32,
    is_spent: bool,
    ending: Ending,
}

impl Ended {
    const fn new(delay: Duration) -> Self {
        Self {
            delay,
            now: Timestamp::ZERO,
            attempts: 0,
            is_spent: false,
            ending: Ending::Local(Outcome::UpstreamReset),
        }
    }

    const fn at_once(ending: Ending, delay: Duration) -> Self {
        Self {
            ending,
            ..Self::new(delay)
        }
    }

    /// The mesh itself ends the try.
    const fn locally(&mut self, outcome: Outcome) -> Attempt {
        self.ending = Ending::Local(outcome);
        Attempt::failed(outcome)
    }

    fn answer(&mut self, step: &Step, deadline: &Deadline) -> (Attempt, Verdict) {
        let answered = self.now + step.after;
        if let Some((at, expiry)) = deadline.next(self.now).filter(|(at, _)| *at <= answered) {
            self.now = at;
            return self.expired(expiry);
        }
        self.now = answered;
        let mut failed = |outcome: Outcome, progress: Progress| {
            let attempt = self.locally(outcome).with_progress(progress);
            (attempt, Verdict::from_outcome(outcome))
        };
        match step.answer {
            StepAnswer::Reset => failed(Outcome::UpstreamReset, Progress::Sent),
            StepAnswer::ConnectFailure => failed(Outcome::ConnectFailure, Progress::NotSent),
            StepAnswer::Refused => failed(Outcome::UpstreamReset, Progress::Refused),
            StepAnswer::Response { status, grpc, limited } => {
                self.ending = Ending::Response(status.as_u16(), grpc);
                let attempt = Attempt::response(status, grpc);
                let attempt = match limited {
                    RateLimited::Yes => attempt.rate_limited(),
                    RateLimited::No => attempt,
                };
                (
                    attempt,
                    grpc.map_or_else(|| Verdict::from_status(status), Verdict::from_grpc_status),
                )
            }
        }
    }

    const fn expired(&mut self, expiry: Expiry) -> (Attempt, Verdict) {
        (self.locally(expiry.outcome()), expiry.verdict())
    }

    fn told(&self, is_grpc: bool) -> Map<String, Json> {
        let (status, grpc, outcome) = match self.ending {
            Ending::Response(status, grpc) => (status, grpc, Outcome::Response),
            Ending::Abort(status, grpc) => (status, grpc, Outcome::FaultAbort),
            Ending::Local(outcome) => (outcome.response_code(), Some(outcome.grpc_status()), outcome),
        };
        let flags = match (self.delay.is_zero(), self.is_spent) {
            (true, false) => outcome.flag(),
            (false, false) => flags_after_delay(outcome),
            (true, true) => flags_with_retries_spent(outcome),
            (false, true) => flags_after_delay_with_retries_spent(outcome),
        };
        let elapsed = (self.delay + self.now.since(Timestamp::ZERO)).as_millis();
        let mut told = Map::new();
        told.insert("status".into(), json!(status));
        told.insert("attempts".into(), json!(self.attempts));
        told.insert("elapsed_ms".into(), json!(u64::try_from(elapsed).unwrap_or(u64::MAX)));
        told.insert("flags".into(), json!(flags));
        told.insert("details".into(), json!(outcome.details()));
        if let Some(grpc) = grpc.filter(|_| is_grpc) {
            told.insert("grpc_status".into(), json!(grpc));
        }
        told
    }
}
