//! What is known of a request while it is under way, and the accounts that are settled at its end.
//!
//! A request ends once: with an error, with the last byte of its response, or with its caller going away. Metrics, access
//! log and span are written then and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use mesh_core::decide::cluster::{Endpoint, InFlight, Permit};
use mesh_core::decide::deadline::{Deadline, Expiry};
use mesh_core::decide::health::{LocalError, Verdict};
use mesh_core::outcome::{Outcome, flags_after_delay, flags_after_delay_with_retries_spent, flags_with_retries_spent};
use mesh_core::policy::model::Origin;
use mesh_core::snapshot::Snapshot;
use mesh_core::time::Timestamp;

use super::clusters::{Attachment, ClusterRuntime};
use super::pool::is_of_request;
use crate::body::{Body, BoxError, DeadlineExceeded, End, OnEnd};
use crate::brought::Brought;
use crate::in_place::boxed;
use crate::mesh::Shared;
use crate::telemetry::access_log::AccessRecord;
use crate::telemetry::head::{Head, grpc_status};
use crate::telemetry::metrics::{Reporter, RequestRecord, SeriesGroup};
use crate::telemetry::trace::{Correlation, Missing, RequestSpan, Sampling, SpanEnd};

/// A request under way. Dropped unfinished, it counts as one whose caller went away.
///
/// It has one allocation from begin to end: the body of its response holds it until that has ended.
pub(super) struct Exchange {
    pub(super) shared: Arc<Shared>,
    pub(super) start: Timestamp,
    pub(super) span: RequestSpan,
    pub(super) route: Option<Arc<str>>,
    pub(super) origin: Option<Origin>,
    pub(super) cluster: Option<Arc<ClusterRuntime>>,
    /// Where the last try went that is over.
    endpoint: Option<Arc<Endpoint<Attachment>>>,
    pub(super) attempts: u32,
    /// Whether the policy would have liked another try, and there was none left.
    pub(super) retries_spent: bool,
    /// Whether a fault made it wait.
    pub(super) is_delayed: bool,
    /// Why the last try failed below HTTP.
    pub(super) transport_failure: Option<Arc<str>>,
    /// Where requests are counted that reach no cluster.
    pub(super) fallback: Option<SeriesGroup>,
    generation: u64,
    head: Head,
    /// When the server's response came, and its status.
    served: Option<(Option<Timestamp>, u16)>,
    grpc_status: Option<u8>,
    response_bytes: u64,
    /// What the try that is under way, or answered, says of its endpoint.
    pub(super) judgement: Judgement,
    /// Whose limit its answer has.
    limit: Option<Expiry>,
    /// What the try holds that is under way, or whose answer it is.
    pub(super) held: Option<Held>,
    is_settled: bool,
}

impl Exchange {
    /// Starts the accounts, and completes the headers that tie the request to its trace.
    pub(super) fn begin(
        shared: Arc<Shared>,
        snapshot: &Snapshot,
        request: &mut Request<Body>,
        brought: Brought,
    ) -> Box<Self> {
        let entropy = &mut &shared.entropy;
        let span = RequestSpan::client(request);
        let readers = shared.access_log.readers(entropy);
        let missing = span.missing(readers, snapshot.mesh.request_ids);
        let has_any = brought.correlation || missing == Missing::Make || Correlation::is_in_scope();
        let correlation = match has_any {
            true => Correlation::propagate(request.headers_mut(), missing, Sampling::default(), entropy),
            false => Correlation::default(),
        };
        span.in_trace(correlation.trace());
        let mut head = Head::of(request, brought, &correlation, readers);
        let tokens = &snapshot.inbound.tokens;
        if !tokens.is_empty() {
            // A gateway forwards what its own log leaves out.
            head.hide(|uri| tokens.without_tokens(uri));
        }
        boxed(|| Self {
            start: shared.clock.now(),
            span,
            route: None,
            origin: None,
            cluster: None,
            endpoint: None,
            attempts: 0,
            retries_spent: false,
            is_delayed: false,
            transport_failure: None,
            fallback: None,
            generation: snapshot.generation,
            head,
            served: None,
            grpc_status: None,
            response_bytes: 0,
            judgement: Judgement::Open,
            limit: None,
            held: None,
            is_settled: false,
            shared,
        })
    }

    /// A copy of the request is under way: its end is nobody's, and is not accounted for.
    pub(super) fn beside(&self) -> Box<Self> {
        Box::new(Self {
            shared: Arc::clone(&self.shared),
            start: self.shared.clock.now(),
            span: RequestSpan::none(),
            route: self.route.clone(),
            origin: self.origin.clone(),
            cluster: None,
            endpoint: None,
            attempts: 0,
            retries_spent: false,
            is_delayed: false,
            transport_failure: None,
            fallback: None,
            generation: self.generation,
            head: self.head.copy(),
            served: None,
            grpc_status: None,
            response_bytes: 0,
            judgement: Judgement::Open,
            limit: None,
            held: None,
            is_settled: true,
        })
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.head.is_grpc()
    }

    /// The endpoint of the last try.
    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint<Attachment>>> {
        let held = self.held.as_ref().map(|held| held.in_flight.endpoint());
        held.or(self.endpoint.as_ref())
    }

    /// The try is over: what it holds is free.
    pub(super) fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.endpoint = Some(Arc::clone(held.in_flight.endpoint()));
        }
    }

    /// The policy has judged the try: it holds up no other retry.
    pub(super) fn retry_is_over(&mut self) {
        if let Some(held) = &mut self.held {
            held.retry = None;
        }
    }

    /// The answer of the last try. Its end settles; it fails at the limit of the whole exchange.
    pub(super) fn settle_later(
        mut self: Box<Self>,
        mut response: Response<Body>,
        deadline: &Deadline,
    ) -> Response<Body> {
        self.answered(&response);
        let body = response.body_mut();
        if let Some((at, whose)) = deadline.of_request() {
            self.limit = Some(whose);
            body.limit(self.shared.clock.instant(at));
        }
        body.hook(self);
        response
    }

    /// The server answered: from here on the end of the body settles.
    pub(super) fn answered(&mut self, response: &Response<Body>) {
        // When it came is read in the log alone.
        let at = self.head.is_logged().then(|| self.shared.clock.now());
        self.served = Some((at, response.status().as_u16()));
        self.grpc_status = self.is_grpc().then(|| grpc_status(response.headers())).flatten();
    }

    /// Settles, once.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        if !self.is_settled {
            self.settle_at(outcome, self.shared.clock.now());
        }
    }

    /// Settles what is not settled yet.
    fn settle_at(&mut self, outcome: Outcome, now: Timestamp) {
        self.is_settled = true;
        let duration = now.since(self.start);
        let status = self
            .served
            .map_or_else(|| self.head.local_status(outcome), |(_, status)| status);
        let flags = self.flags(outcome);
        let mut record = RequestRecord::new(self.head.protocol, status, duration);
        record.grpc_status = self.head.grpc_code(self.grpc_status, outcome);
        record.flags = flags;
        self.count(&record);
        self.finish_span(outcome, status);
        if self.head.is_logged() {
            let access_log = &self.shared.access_log;
            access_log.record(|| self.access_record(outcome, status, flags, duration));
        }
    }

    pub(super) fn flags(&self, outcome: Outcome) -> &'static str {
        match (self.is_delayed, self.retries_spent) {
            (false, false) => outcome.flag(),
            (true, false) => flags_after_delay(outcome),
            (false, true) => flags_with_retries_spent(outcome),
            (true, true) => flags_after_delay_with_retries_spent(outcome),
        }
    }

    /// Counts the request where it came to.
    fn count(&self, record: &RequestRecord) {
        if let Some(endpoint) = self.endpoint() {
            return endpoint.attachment().record(record);
        }
        let unserved = self.cluster.as_ref().map(|cluster| &cluster.unserved);
        if let Some(series) = unserved.or(self.fallback.as_ref()) {
            series.record(record);
        }
    }

    fn finish_span(&self, outcome: Outcome, status: u16) {
        if !self.span.is_recorded() {
            return;
        }
        let peer = self.endpoint().and_then(|endpoint| endpoint.attachment().peer());
        let mut end = SpanEnd::new(outcome, status);
        end.route = self.route.as_deref();
        end.endpoint = self.endpoint().map(|endpoint| endpoint.address());
        end.peer = peer.as_deref();
        end.attempts = self.attempts;
        self.span.finish(&end);
    }

    fn access_record(
        &self,
        outcome: Outcome,
        status: u16,
        flags: &'static str,
        duration: Duration,
    ) -> Option<AccessRecord> {
        let mut record = self.head.record(Reporter::Source, outcome, status, duration)?;
        record.response_flags = flags;
        record.grpc_status = self.head.grpc_code(self.grpc_status, outcome);
        record
            .upstream_transport_failure_reason
            .clone_from(&self.transport_failure);
        record.bytes_sent = self.response_bytes;
        record.upstream_service_time = self.served.and_then(|(at, _)| at).map(|at| at.since(self.start));
        record.upstream_host = self.endpoint().map(|endpoint| endpoint.address());
        record.upstream_cluster = self.cluster.as_ref().map(|cluster| Arc::clone(&cluster.name));
        record.route_name.clone_from(&self.route);
        record.policy_origin.clone_from(&self.origin);
        record.policy_generation = self.generation;
        record.attempts = self.attempts;
        record.destination_principal = self.endpoint().and_then(|endpoint| endpoint.attachment().peer());
        record.source_principal = self
            .shared
            .identity
            .as_ref()
            .map(|own| own.current().svid().id().as_str().into());
        Some(record)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.settle(Outcome::CallerGone);
    }
}

/// What a try says of its endpoint: once, whatever comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Its end will tell; a gRPC call is judged by its trailers.
    Open,
    /// This, unless it fails under way.
    Expected(Verdict),
    /// The endpoint's failure was told at once.
    Told,
}

/// What a try holds while it is under way, and while its answer is.
pub(super) struct Held {
    pub(super) in_flight: InFlight<Attachment>,
    pub(super) _request: Permit,
    /// Until it is decided whether the policy is content: its answer may last for hours.
    pub(super) retry: Option<Permit>,
}

impl OnEnd for Exchange {
    fn on_data(&mut self, length: usize) {
        self.response_bytes += length as u64;
    }

    fn on_end(&mut self, end: End<'_>) {
        let now = self.shared.clock.now();
        let outcome = match end {
            End::Complete(trailers) => {
                self.complete(trailers, now);
                Outcome::Response
            }
            End::Failed(error) => self.failed(error, now),
            End::Dropped => {
                self.judge_by_head(now);
                Outcome::CallerGone
            }
        };
        // A copy is nobody's, and is not accounted for.
        if !self.is_settled {
            self.settle_at(outcome, now);
        }
    }
}

impl Exchange {
    fn complete(&mut self, trailers: Option<&HeaderMap>, now: Timestamp) {
        if let Some(status) = trailers.and_then(grpc_status) {
            self.grpc_status = Some(status);
        }
        let by_trailers = || self.grpc_status.map(Verdict::from_grpc_status);
        let verdict = match self.judgement {
            Judgement::Expected(verdict) => Some(verdict),
            _ => by_trailers(),
        };
        if let Some(verdict) = verdict {
            self.judge(verdict, now);
        }
    }

    fn failed(&mut self, error: &BoxError, now: Timestamp) -> Outcome {
        if let Some(late) = error.downcast_ref() {
            self.judge_late(*late, now);
            return Outcome::RequestTimeout;
        }
        if is_of_request(&**error) {
            return Outcome::CallerGone;
        }
        self.judge(Verdict::LocalOrigin(LocalError::Reset), now);
        Outcome::UpstreamReset
    }

    /// Its body was not over in time: the endpoint is to blame where it was waited for, and the caller did not choose how long.
    fn judge_late(&mut self, late: DeadlineExceeded, now: Timestamp) {
        match self.limit {
            Some(limit) if !late.is_by_reader() && limit != Expiry::Caller => self.judge(limit.verdict(), now),
            _ => self.judge_by_head(now),
        }
    }

    /// The caller has stopped to read: a head that said something has said it of the endpoint.
    fn judge_by_head(&mut self, now: Timestamp) {
        if let Judgement::Expected(verdict) = self.judgement {
            self.judge(verdict, now);
        }
    }

    fn judge(&mut self, verdict: Verdict, now: Timestamp) {
        if std::mem::replace(&mut self.judgement, Judgement::Told) == Judgement::Told {
            return;
        }
        let (Some(cluster), Some(held)) = (&self.cluster, &self.held) else {
            return;
        };
        if let Some(event) = cluster.state.record(&held.in_flight, verdict, now) {
            cluster.observe(&event);
        }
    }
}
