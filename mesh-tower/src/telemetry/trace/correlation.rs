//! What ties a request to others: its trace and its request id.

use std::future::Future;

use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::random::Rng;
use tokio::task::futures::TaskLocalFuture;

use super::context::{header_value, push_hex};
use super::{Sampling, TraceContext};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is taken of others' headers: the limits of the W3C recommendations, and a request id of a line's length.
const TRACESTATE_MEMBERS: usize = 32;
const TRACESTATE_BYTES: usize = 8_192;
const BAGGAGE_MEMBERS: usize = 64;
const BAGGAGE_BYTES: usize = 8_192;
const REQUEST_ID_BYTES: usize = 128;

tokio::task_local! {
    static SERVED: Correlation;
}

/// The trace and the id of a request. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correlation {
    trace: TraceContext,
    request_id: HeaderValue,
}

impl Correlation {
    /// Reads what the headers say, and puts right what they lack: a server's side.
    ///
    /// `traceparent` and `x-request-id` are kept where they are sane, else made anew; `tracestate` without a valid
    /// `traceparent`, and `tracestate` and `baggage` beyond the limits of their standards, are removed.
    pub fn ensure(headers: &mut HeaderMap, sampling: Sampling, rng: &mut (impl Rng + ?Sized)) -> Self {
        Self::complete(headers, None, sampling, rng)
    }

    /// The same for a request that goes out: what its headers lack is taken from the request that the current task
    /// serves ([`Correlation::scope`]), and made anew where it serves none.
    pub fn propagate(headers: &mut HeaderMap, sampling: Sampling, rng: &mut (impl Rng + ?Sized)) -> Self {
        let served = SERVED.try_with(Self::clone).ok();
        Self::complete(headers, served, sampling, rng)
    }

    fn complete(
        headers: &mut HeaderMap,
        served: Option<Self>,
        sampling: Sampling,
        rng: &mut (impl Rng + ?Sized),
    ) -> Self {
        let (served_trace, served_id) = served.map(|served| (served.trace, served.request_id)).unzip();
        let trace = trace_of(headers).unwrap_or_else(|| {
            let trace = served_trace.unwrap_or_else(|| TraceContext::generate(sampling, rng));
            // The state of another trace means nothing in this one.
            headers.remove(TRACESTATE);
            headers.insert(TRACEPARENT, trace.to_header());
            trace
        });
        let request_id = request_id_of(headers).unwrap_or_else(|| {
            let id = served_id.unwrap_or_else(|| new_request_id(rng));
            headers.insert(REQUEST_ID, id.clone());
            id
        });
        limit(headers, &TRACESTATE, TRACESTATE_MEMBERS, TRACESTATE_BYTES);
        limit(headers, &BAGGAGE, BAGGAGE_MEMBERS, BAGGAGE_BYTES);
        Self { trace, request_id }
    }

    /// Runs a future as the service of this request: what it sends through the mesh belongs to the same trace.
    ///
    /// Tasks that it spawns have a scope of their own and start new traces.
    pub fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        SERVED.scope(self, future)
    }

    /// The trace.
    #[must_use]
    pub const fn trace(&self) -> &TraceContext {
        &self.trace
    }

    /// The request's id, as `x-request-id` has it.
    #[must_use]
    pub const fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }
}

/// The trace of the one valid `traceparent`; two are none.
fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(single(headers, &TRACEPARENT)?.as_bytes())
}

/// The one request id, where it is short and of visible ASCII.
fn request_id_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = single(headers, &REQUEST_ID)?;
    let is_sane = (1..=REQUEST_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    is_sane.then(|| id.clone())
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Removes a list header that is longer than its standard allows.
fn limit(headers: &mut HeaderMap, name: &HeaderName, members: usize, bytes: usize) {
    let (mut found_members, mut found_bytes) = (0, 0);
    for value in headers.get_all(name) {
        found_bytes += value.len();
        found_members += value.as_bytes().split(|byte| *byte == b',').count();
    }
    if found_members > members || found_bytes > bytes {
        headers.remove(name);
    }
}

/// A random UUID (RFC 9562, version 4).
fn new_request_id(rng: &mut (impl Rng + ?Sized)) -> HeaderValue {
    let (high, low) = (rng.next_u64(), rng.next_u64());
    let high = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
    let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    let mut text = Vec::with_capacity(36);
    push_hex(&mut text, high >> 32, 8);
    for group in [high >> 16, high, low >> 48] {
        text.push(b'-');
        push_hex(&mut text, group, 4);
    }
    text.push(b'-');
    push_hex(&mut text, low, 12);
    header_value(text)
}
