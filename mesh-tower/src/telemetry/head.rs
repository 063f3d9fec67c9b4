//! What is kept of a request's head until the end of its response, the same on both sides.

use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use mesh_core::outcome::Outcome;
use mesh_core::request::is_grpc;

use crate::body::Body;
use crate::brought::Brought;
use crate::telemetry::access_log::{AccessRecord, Readers, Text};
use crate::telemetry::metrics::{Protocol, Reporter};
use crate::telemetry::trace::{Correlation, TraceContext};

/// Method, target and version of a request, and what the access log wants beside them.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) protocol: Protocol,
    pub(crate) version: Version,
    /// Only where somebody reads the record of the request.
    logged: Option<Box<Logged>>,
}

/// What only the access log wants.
#[derive(Debug)]
struct Logged {
    is_sampled: bool,
    method: Method,
    uri: Uri,
    request_id: Option<HeaderValue>,
    trace_id: Option<u128>,
    user_agent: Option<HeaderValue>,
    x_forwarded_for: Option<HeaderValue>,
    host: Option<HeaderValue>,
    request_bytes: u64,
}

impl Head {
    pub(crate) fn of(request: &Request<Body>, brought: Brought, correlation: &Correlation, readers: Readers) -> Self {
        Self {
            protocol: match brought.content_type && is_grpc(request.headers()) {
                true => Protocol::Grpc,
                false => Protocol::Http,
            },
            version: request.version(),
            logged: (readers != Readers::None).then(|| Box::new(Logged::of(request, correlation, readers))),
        }
    }

    /// The same for a copy of the request, which nobody logs.
    pub(crate) fn copy(&self) -> Self {
        Self {
            protocol: self.protocol,
            version: self.version,
            logged: None,
        }
    }

    /// Keeps what `without` leaves out of the target out of the log.
    pub(crate) fn hide(&mut self, without: impl FnOnce(&Uri) -> Option<Uri>) {
        if let Some(logged) = &mut self.logged
            && let Some(uri) = without(&logged.uri)
        {
            logged.uri = uri;
        }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.protocol == Protocol::Grpc
    }

    /// The HTTP status of an answer that the mesh makes: gRPC's is 200, and says the rest in its own words.
    pub(crate) fn local_status(&self, outcome: Outcome) -> u16 {
        match outcome.response_code() {
            0 => 0,
            _ if self.is_grpc() => 200,
            code => code,
        }
    }

    /// The gRPC status of what a server said, or of what the mesh made of it.
    pub(crate) fn grpc_code(&self, said: Option<u8>, outcome: Outcome) -> Option<u8> {
        let local = || outcome.is_local().then(|| outcome.grpc_status());
        self.is_grpc().then(|| said.or_else(local)).flatten()
    }

    /// Whether anybody reads the record of the request.
    pub(crate) fn is_logged(&self) -> bool {
        self.logged.is_some()
    }

    /// The record of a request that ends now, as far as its head tells; none of one that began while nobody read the log.
    pub(crate) fn record(
        &self,
        reporter: Reporter,
        outcome: Outcome,
        status: u16,
        duration: Duration,
    ) -> Option<AccessRecord> {
        let logged = self.logged.as_deref()?;
        let mut record = AccessRecord::new(reporter, logged.method.clone(), logged.path());
        record.duration = duration;
        record.protocol = self.version;
        record.response_code = status;
        record.response_code_details = outcome.details();
        logged.fill(&mut record);
        Some(record)
    }
}

impl Logged {
    fn of(request: &Request<Body>, correlation: &Correlation, readers: Readers) -> Self {
        let header = |name| request.headers().get(name).cloned();
        Self {
            is_sampled: readers == Readers::Log,
            method: request.method().clone(),
            uri: request.uri().clone(),
            request_id: correlation.request_id().cloned(),
            trace_id: correlation.trace().map(TraceContext::trace_id),
            user_agent: request.headers().get(USER_AGENT).cloned(),
            x_forwarded_for: header("x-forwarded-for"),
            host: request.headers().get(HOST).cloned(),
            request_bytes: http_body::Body::size_hint(request.body()).exact().unwrap_or_default(),
        }
    }

    fn path(&self) -> Text {
        let path = self.uri.path_and_query().cloned();
        path.map_or_else(|| Text::from("/"), Text::from)
    }

    fn fill(&self, record: &mut AccessRecord) {
        record.is_sampled = self.is_sampled;
        record.request_id.clone_from(&self.request_id);
        record.trace_id = self.trace_id;
        record.user_agent.clone_from(&self.user_agent);
        record.x_forwarded_for.clone_from(&self.x_forwarded_for);
        record.bytes_received = self.request_bytes;
        let named = self.uri.authority().cloned().map(Text::from);
        record.authority = named.or_else(|| self.host.clone().map(Text::from));
    }
}

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// `grpc-status` of headers or trailers.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    headers.get(&GRPC_STATUS)?.to_str().ok()?.trim().parse().ok()
}
