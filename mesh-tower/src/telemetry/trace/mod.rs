//! Spans of requests, and the headers that tie the requests of one trace together.
//!
//! A span is made for each request with OpenTelemetry's names for its fields. Without a subscriber
//! that wants it, it costs a load and a comparison; [`RequestSpan::finish`] then does nothing.
//!
//! The mesh exports no spans of its own, so it invents no parents: a valid `traceparent` passes
//! unchanged, and what is invalid does not. One is made for a request that has none only where it is recorded, by the
//! access log or a subscriber, or where the policy wants it (`mesh.request_ids: always`): two headers that nobody reads
//! would cost more than all of the mesh's decisions. Within a server's
//! handler, calls of the mesh's client take the trace of the request that is being served
//! ([`Correlation::scope`]); nobody has to copy headers.
//!
//! ```
//! use http::HeaderMap;
//! use mesh_tower::clock::Entropy;
//! use mesh_tower::telemetry::trace::{Correlation, Missing, Sampling};
//!
//! let mut headers = HeaderMap::new();
//! let correlation = Correlation::ensure(&mut headers, Missing::Make, Sampling::Off, &mut &Entropy::seeded(1));
//! let (trace, id) = (correlation.trace().unwrap(), correlation.request_id().unwrap());
//! assert_eq!((&headers["traceparent"], &headers["x-request-id"]), (&trace.to_header(), id));
//! ```

mod context;
mod correlation;
mod span;
#[cfg(test)]
mod tests;

pub use context::{Sampling, TraceContext};
pub use correlation::{Correlation, Missing};
pub use span::{RequestSpan, SpanEnd};
