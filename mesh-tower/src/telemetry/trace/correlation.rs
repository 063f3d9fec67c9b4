//! What ties a request to others: its trace and its request id.

use std::future::Future;

use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::random::Rng;
use tokio::task::futures::TaskLocalFuture;

use super::context::{header_value, put_hex};
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
        let found = Found::in_headers(headers);
        let (known_trace, known_id) = (found.trace(), found.request_id().cloned());
        let (too_much_state, too_much_baggage) = (found.tracestate.exceeds(), found.baggage.exceeds());
        let has_state = found.tracestate.members > 0;
        let (served_trace, served_id) = served.map(|served| (served.trace, served.request_id)).unzip();
        let trace = known_trace.unwrap_or_else(|| {
            let trace = served_trace.unwrap_or_else(|| TraceContext::generate(sampling, rng));
            headers.insert(TRACEPARENT, trace.to_header());
            trace
        });
        // The state of another trace means nothing in this one.
        if has_state && (known_trace.is_none() || too_much_state) {
            headers.remove(TRACESTATE);
        }
        if too_much_baggage {
            headers.remove(BAGGAGE);
        }
        let request_id = known_id.unwrap_or_else(|| {
            let id = served_id.unwrap_or_else(|| new_request_id(rng));
            headers.insert(REQUEST_ID, id.clone());
            id
        });
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
/// The headers that tie a request to others, found in one pass: most requests have none of them.
#[derive(Default)]
struct Found<'a> {
    traceparent: Single<'a>,
    request_id: Single<'a>,
    tracestate: Size<TRACESTATE_MEMBERS, TRACESTATE_BYTES>,
    baggage: Size<BAGGAGE_MEMBERS, BAGGAGE_BYTES>,
}

impl<'a> Found<'a> {
    fn in_headers(headers: &'a HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "traceparent" => found.traceparent.add(value),
                "x-request-id" => found.request_id.add(value),
                "tracestate" => found.tracestate.add(value),
                "baggage" => found.baggage.add(value),
                _ => {}
            }
        }
        found
    }

    fn trace(&self) -> Option<TraceContext> {
        TraceContext::parse(self.traceparent.get()?.as_bytes())
    }

    fn request_id(&self) -> Option<&'a HeaderValue> {
        let id = self.request_id.get()?;
        let is_sane = (1..=REQUEST_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
        is_sane.then_some(id)
    }
}

/// A header that counts where it stands once.
#[derive(Default)]
enum Single<'a> {
    #[default]
    None,
    One(&'a HeaderValue),
    Several,
}

impl<'a> Single<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        *self = match self {
            Self::None => Self::One(value),
            Self::One(_) | Self::Several => Self::Several,
        };
    }

    const fn get(&self) -> Option<&'a HeaderValue> {
        match self {
            Self::One(value) => Some(value),
            Self::None | Self::Several => None,
        }
    }
}

/// How much a list holds, over all its lines.
#[derive(Default)]
struct Size<const MEMBERS: usize, const BYTES: usize> {
    members: usize,
    bytes: usize,
}

impl<const MEMBERS: usize, const BYTES: usize> Size<MEMBERS, BYTES> {
    fn add(&mut self, value: &HeaderValue) {
        self.bytes += value.len();
        self.members += value.as_bytes().split(|byte| *byte == b',').count();
    }

    const fn exceeds(&self) -> bool {
        self.members > MEMBERS || self.bytes > BYTES
    }
}

fn new_request_id(rng: &mut (impl Rng + ?Sized)) -> HeaderValue {
    let (high, low) = (rng.next_u64(), rng.next_u64());
    let high = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
    let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    let mut text = [b'-'; 36];
    let groups = [
        (0, high >> 32, 8),
        (9, high >> 16, 4),
        (14, high, 4),
        (19, low >> 48, 4),
        (24, low, 12),
    ];
    for (at, value, digits) in groups {
        put_hex(&mut text, at, value, digits);
    }
    header_value(&text)
}
