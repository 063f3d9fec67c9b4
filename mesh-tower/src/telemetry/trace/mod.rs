//! Spans of requests, and the headers that tie the requests of one trace together.
//!
//! A span is made for each request with OpenTelemetry's names for its fields. Without a subscriber
//! that wants it, it costs a load and a comparison; [`RequestSpan::finish`] then does nothing.
//!
//! The mesh exports no spans of its own, so it invents no parents: a valid `traceparent` passes
//! unchanged, one is made where there is none, and what is invalid is replaced. Within a server's
//! handler, calls of the mesh's client take the trace of the request that is being served
//! ([`Correlation::scope`]); nobody has to copy headers.
//!
//! ```
//! use http::HeaderMap;
//! use mesh_tower::clock::Entropy;
//! use mesh_tower::telemetry::trace::{Correlation, Sampling};
//!
//! let mut headers = HeaderMap::new();
//! let correlation = Correlation::ensure(&mut headers, Sampling::Off, &mut &Entropy::seeded(1));
//! assert_eq!(headers["traceparent"], correlation.trace().to_string());
//! assert_eq!(headers["x-request-id"], correlation.request_id());
//! ```

mod context;
mod correlation;
mod span;
#[cfg(test)]
mod tests;

pub use context::{Sampling, TraceContext};
pub use correlation::Correlation;
pub use span::{RequestSpan, SpanEnd};
