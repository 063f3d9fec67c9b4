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

/// What becomes of a trace and an id that a request does not bring along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// They are made: somebody records them, or wants them sent.
    #[default]
    Make,
    /// They stay absent: nobody would read them.
    Leave,
}

/// The trace and the id of a request, as far as it has them. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correlation {
    trace: Option<TraceContext>,
    request_id: Option<HeaderValue>,
}

impl Correlation {
    /// Reads what the headers say, and puts right what they lack: a server's side.
    ///
    /// `traceparent` and `x-request-id` are kept where they are sane, else made anew or removed, as `missing` says;
    /// `tracestate` without a valid `traceparent`, and `tracestate` and `baggage` beyond the limits of their standards, are
    /// removed.
    pub fn ensure(
        headers: &mut HeaderMap,
        missing: Missing,
        sampling: Sampling,
        rng: &mut (impl Rng + ?Sized),
    ) -> Self {
        Self::complete(headers, Self::default(), missing, sampling, rng)
    }

    /// The same for a request that goes out: what its headers lack is taken from the request that the current task
    /// serves ([`Correlation::scope`]); `missing` says what becomes of what that has not either.
    pub fn propagate(
        headers: &mut HeaderMap,
        missing: Missing,
        sampling: Sampling,
        rng: &mut (impl Rng + ?Sized),
    ) -> Self {
        let served = SERVED.try_with(Self::clone).unwrap_or_default();
        Self::complete(headers, served, missing, sampling, rng)
    }

    fn complete(
        headers: &mut HeaderMap,
        served: Self,
        missing: Missing,
        sampling: Sampling,
        rng: &mut (impl Rng + ?Sized),
    ) -> Self {
        let found = Found::in_headers(headers);
        if found.is_nothing() && missing == Missing::Leave && served.is_empty() {
            return served;
        }
        let brought = Self {
            trace: found.trace(),
            request_id: found.request_id().cloned(),
        };
        found.removed(&brought).take_out(headers);
        let is_made = missing == Missing::Make;
        let new_trace = || is_made.then(|| TraceContext::generate(sampling, rng));
        let trace = brought.trace.or_else(|| {
            let trace = served.trace.or_else(new_trace)?;
            headers.insert(TRACEPARENT, trace.to_header());
            Some(trace)
        });
        let new_id = || is_made.then(|| new_request_id(rng));
        let request_id = brought.request_id.or_else(|| {
            let id = served.request_id.or_else(new_id)?;
            headers.insert(REQUEST_ID, id.clone());
            Some(id)
        });
        Self { trace, request_id }
    }

    /// Runs a future as the service of this request: what it sends through the mesh belongs to the same trace.
    ///
    /// Tasks that it spawns have a scope of their own and start new traces.
    pub fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        SERVED.scope(self, future)
    }

    /// Whether the current task serves a request whose trace and id what it sends would get.
    pub(crate) fn is_in_scope() -> bool {
        SERVED.try_with(|_| ()).is_ok()
    }

    /// Whether the request has neither.
    pub(crate) const fn is_empty(&self) -> bool {
        self.trace.is_none() && self.request_id.is_none()
    }

    /// The trace.
    #[must_use]
    pub const fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// The request's id, as `x-request-id` has it.
    #[must_use]
    pub const fn request_id(&self) -> Option<&HeaderValue> {
        self.request_id.as_ref()
    }
}

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

    /// Whether there is none of them.
    const fn is_nothing(&self) -> bool {
        let has_values = self.traceparent.is_given() || self.request_id.is_given();
        !has_values && self.tracestate.members == 0 && self.baggage.members == 0
    }

    /// The trace of the one valid `traceparent`; two are none.
    fn trace(&self) -> Option<TraceContext> {
        TraceContext::parse(self.traceparent.get()?.as_bytes())
    }

    fn request_id(&self) -> Option<&'a HeaderValue> {
        let id = self.request_id.get()?;
        let is_sane = (1..=REQUEST_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
        is_sane.then_some(id)
    }
}

impl Found<'_> {
    /// What of it may not stay, where this is what is taken of it.
    fn removed(&self, taken: &Correlation) -> Removed {
        Removed {
            trace: taken.trace.is_none() && self.traceparent.is_given(),
            request_id: taken.request_id.is_none() && self.request_id.is_given(),
            // The state of another trace means nothing in this one.
            state: self.tracestate.members > 0 && (taken.trace.is_none() || self.tracestate.exceeds()),
            baggage: self.baggage.exceeds(),
        }
    }
}

/// Headers that are taken out.
struct Removed {
    trace: bool,
    request_id: bool,
    state: bool,
    baggage: bool,
}

impl Removed {
    fn take_out(&self, headers: &mut HeaderMap) {
        if !(self.trace || self.request_id || self.state || self.baggage) {
            return;
        }
        let all = [
            (self.trace, TRACEPARENT),
            (self.request_id, REQUEST_ID),
            (self.state, TRACESTATE),
            (self.baggage, BAGGAGE),
        ];
        for (_, name) in all.into_iter().filter(|(is_removed, _)| *is_removed) {
            headers.remove(name);
        }
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

    const fn is_given(&self) -> bool {
        !matches!(self, Self::None)
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
