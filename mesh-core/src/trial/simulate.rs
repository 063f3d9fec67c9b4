//! A request against a scripted server, in virtual time.

use http::HeaderMap;
use serde_json::{Map, Value as Json, json};

use super::read::{RateLimited, Sent, Step, StepAnswer};
use crate::decide::deadline::{Deadline, Expiry, grpc_timeout};
use crate::decide::retry::{Attempt, Progress, Repeat, backoff, decide};
use crate::outcome::Outcome;
use crate::policy::model::traffic::RetryPolicy;
use crate::random::SplitMix64;
use crate::request::is_grpc;
use crate::time::Timestamp;

/// What a route says of the tries of a request.
pub(super) struct Limits<'a> {
    pub(super) retry: &'a RetryPolicy,
    pub(super) timeout: Option<std::time::Duration>,
}

/// How the request ends: `status`, `attempts`, `elapsed_ms` and `flags`.
pub(super) fn run(sent: &Sent, limits: &Limits<'_>, script: &[Step], seed: u64) -> Result<Map<String, Json>, String> {
    let mut rng = SplitMix64::new(seed);
    let deadline = Deadline::new(Timestamp::default(), limits.timeout, limits.retry.per_try_timeout)
        .with_caller_limit(own_limit(&sent.headers));
    let repeat = Repeat::of(&sent.method, &sent.headers);
    let mut now = Timestamp::default();
    for number in 1.. {
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let step = script.get(index).ok_or_else(|| {
            let answers = script.len();
            format!("try {number} has no answer: `upstream` has {answers}")
        })?;
        let (attempt, status) = once(step, &mut now, &deadline);
        let wants_more = decide(&limits.retry.on, &attempt, repeat).is_retry();
        let pause = backoff(number, &limits.retry.backoff, &mut rng);
        if !wants_more || number > limits.retry.attempts || !deadline.allows_pause(pause, now) {
            let is_spent = wants_more && number > limits.retry.attempts && limits.retry.attempts > 0;
            return Ok(ended(status, number, now, is_spent));
        }
        now = now + pause;
    }
    Err("the request has no end".into())
}

fn own_limit(headers: &HeaderMap) -> Option<std::time::Duration> {
    is_grpc(headers).then(|| grpc_timeout(headers).ok().flatten()).flatten()
}

/// How a try ends, and the status that its end would be for the caller.
fn once(step: &Step, now: &mut Timestamp, deadline: &Deadline) -> (Attempt, Ending) {
    let answered = *now + step.after;
    if let Some((at, expiry)) = deadline.next(*now).filter(|(at, _)| *at <= answered) {
        *now = at;
        return expired(expiry);
    }
    *now = answered;
    let failed = |outcome: Outcome, progress: Progress| {
        let attempt = Attempt::failed(outcome).with_progress(progress);
        (attempt, Ending::Local(outcome))
    };
    match step.answer {
        StepAnswer::Response(status, grpc, limited) => {
            let attempt = Attempt::response(status, grpc);
            let attempt = if limited == RateLimited::Yes {
                attempt.rate_limited()
            } else {
                attempt
            };
            (attempt, Ending::Response(status.as_u16(), grpc))
        }
        StepAnswer::Reset => failed(Outcome::UpstreamReset, Progress::Sent),
        StepAnswer::ConnectFailure => failed(Outcome::ConnectFailure, Progress::NotSent),
        StepAnswer::Refused => failed(Outcome::UpstreamReset, Progress::Refused),
    }
}

fn expired(expiry: Expiry) -> (Attempt, Ending) {
    let outcome = expiry.outcome();
    (Attempt::failed(outcome), Ending::Local(outcome))
}

/// The end of a try.
#[derive(Clone, Copy)]
enum Ending {
    Response(u16, Option<u8>),
    Local(Outcome),
}

fn ended(ending: Ending, attempts: u32, now: Timestamp, is_spent: bool) -> Map<String, Json> {
    let (status, grpc, outcome) = match ending {
        Ending::Response(status, grpc) => (status, grpc, Outcome::Response),
        Ending::Local(outcome) => (outcome.response_code(), Some(outcome.grpc_status()), outcome),
    };
    let flags = match is_spent {
        true => crate::outcome::flags_with_retries_spent(outcome),
        false => outcome.flag(),
    };
    let elapsed = now.since(Timestamp::default()).as_millis();
    let mut told = Map::new();
    told.insert("status".into(), json!(status));
    told.insert("attempts".into(), json!(attempts));
    told.insert("elapsed_ms".into(), json!(u64::try_from(elapsed).unwrap_or(u64::MAX)));
    told.insert("flags".into(), json!(flags));
    if let Some(grpc) = grpc {
        told.insert("grpc_status".into(), json!(grpc));
    }
    told
}
