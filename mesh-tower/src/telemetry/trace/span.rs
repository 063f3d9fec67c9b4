//! The span of a request.

use std::net::SocketAddr;

use http::header::HOST;
use http::{Method, Request};
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::RequestIds;
use tracing::{Span, field};

use super::{Missing, TraceContext};
use crate::telemetry::access_log::Readers;

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
    ($name:literal, $kind:literal, $request:expr) => {
        tracing::info_span!(
            target: TARGET,
            $name,
            "otel.kind" = $kind,
            "http.request.method" = known_method($request.method()),
            "url.path" = $request.uri().path(),
            "server.address" = host_of($request),
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
    /// The span `mesh.client` of a request that goes out.
    #[must_use]
    pub fn client<B>(request: &Request<B>) -> Self {
        Self {
            span: request_span!("mesh.client", "client", request),
        }
    }

    /// The span `mesh.server` of a request that came in.
    #[must_use]
    pub fn server<B>(request: &Request<B>) -> Self {
        Self {
            span: request_span!("mesh.server", "server", request),
        }
    }

    /// The span itself.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// What becomes of a trace and an id that the request lacks: they are made for who records them.
    pub(crate) fn missing(&self, readers: Readers, wanted: RequestIds) -> Missing {
        match self.is_recorded() || readers != Readers::None || wanted == RequestIds::Always {
            true => Missing::Make,
            false => Missing::Leave,
        }
    }

    /// Whether anybody records the span.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        !self.span.is_disabled()
    }

    /// Says which trace the request belongs to.
    pub fn in_trace(&self, trace: Option<&TraceContext>) {
        if let Some(trace) = trace.filter(|_| self.is_recorded()) {
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

/// The host that was asked for. Looked for only where somebody records the span.
fn host_of<B>(request: &Request<B>) -> &str {
    let host = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
    request.uri().host().or_else(host).unwrap_or_default()
}

/// OpenTelemetry's word for methods that HTTP does not define, which a client could make up.
fn known_method(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => known,
        _ => "_OTHER",
    }
}
