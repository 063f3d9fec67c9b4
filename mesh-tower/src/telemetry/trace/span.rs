//! The span of a request.

use std::net::SocketAddr;

use http::Method;
use mesh_core::outcome::Outcome;
use tracing::{Span, field};

use super::TraceContext;

/// The target of the spans, for filters.
const TARGET: &str = "mesh::request";

/// The span of one request. Enter it, or instrument a future with [`RequestSpan::span`].
///
/// Fields are named as OpenTelemetry's semantic conventions for HTTP have it; those of the mesh start with `mesh.`.
/// The path is recorded without its query, which may hold secrets.
#[derive(Clone, Debug)]
pub struct RequestSpan {
    span: Span,
}

impl RequestSpan {
    /// A span that nobody records.
    pub(crate) fn none() -> Self {
        Self { span: Span::none() }
    }
}

macro_rules! request_span {
    ($name:literal, $kind:literal, $method:expr, $path:expr, $server:expr) => {
        tracing::info_span!(
            target: TARGET,
            $name,
            "otel.kind" = $kind,
            "http.request.method" = known_method($method),
            "url.path" = $path,
            "server.address" = $server,
            "http.response.status_code" = field::Empty,
            "error.type" = field::Empty,
            "otel.status_code" = field::Empty,
            "mesh.route" = field::Empty,
            "mesh.endpoint" = field::Empty,
            "mesh.outcome" = field::Empty,
            "mesh.attempts" = field::Empty,
            "mesh.peer" = field::Empty,
            trace_id = field::Empty,
        )
    };
}

impl RequestSpan {
    /// The span `mesh.client` of a request that goes out to the host `server`.
    #[must_use]
    pub fn client(method: &Method, path: &str, server: &str) -> Self {
        Self {
            span: request_span!("mesh.client", "client", method, path, server),
        }
    }

    /// The span `mesh.server` of a request that came in.
    #[must_use]
    pub fn server(method: &Method, path: &str, server: &str) -> Self {
        Self {
            span: request_span!("mesh.server", "server", method, path, server),
        }
    }

    /// The span itself.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// Whether anybody records the span.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        !self.span.is_disabled()
    }

    /// Says which trace the request belongs to.
    pub fn in_trace(&self, trace: &TraceContext) {
        if self.is_recorded() {
            self.span
                .record("trace_id", field::display(format_args!("{:032x}", trace.trace_id())));
        }
    }

    /// Says how the request ended. Does nothing where nobody records the span.
    pub fn finish(&self, end: &SpanEnd<'_>) {
        if !self.is_recorded() {
            return;
        }
        let span = &self.span;
        if end.status != 0 {
            span.record("http.response.status_code", end.status);
        }
        span.record("mesh.outcome", field::debug(end.outcome));
        span.record("mesh.attempts", end.attempts);
        if let Some(route) = end.route {
            span.record("mesh.route", route);
        }
        if let Some(endpoint) = end.endpoint {
            span.record("mesh.endpoint", field::display(endpoint));
        }
        if let Some(peer) = end.peer {
            span.record("mesh.peer", peer);
        }
        self.record_error(end);
    }

    /// What the mesh decided names itself; a server's own error is named by its status.
    fn record_error(&self, end: &SpanEnd<'_>) {
        let error = end.outcome.error_type();
        if !error.is_empty() {
            self.span.record("error.type", error);
        } else if end.status >= 500 {
            self.span.record("error.type", field::display(end.status));
        } else {
            return;
        }
        self.span.record("otel.status_code", "ERROR");
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SpanEnd<'a> {
    /// What happened.
    pub outcome: Outcome,
    /// The HTTP status that the caller got; 0 where it got none.
    pub status: u16,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The endpoint that answered.
    pub endpoint: Option<SocketAddr>,
    /// The other side's identity.
    pub peer: Option<&'a str>,
    /// How many times the request was sent.
    pub attempts: u32,
}

impl SpanEnd<'_> {
    /// An end of which only outcome and status are known.
    #[must_use]
    pub const fn new(outcome: Outcome, status: u16) -> Self {
        Self {
            outcome,
            status,
            route: None,
            endpoint: None,
            peer: None,
            attempts: 0,
        }
    }
}

/// OpenTelemetry's word for methods that HTTP does not define, which a client could make up.
fn known_method(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => known,
        _ => "_OTHER",
    }
}
