//! What a request leaves behind for the access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, Version};
use mesh_core::decide::authz::{RuleInfo, Verdict};
use mesh_core::policy::model::Origin;

use crate::clock::Clock;
use crate::telemetry::metrics::{CheckResult, Reporter};

/// One request, to be logged. Its values are shared with the request, not copied; nothing is formatted yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessRecord {
    /// Whether it belongs to the share that the log gets. Subscribers get all.
    pub is_sampled: bool,
    /// Which side saw the request.
    pub reporter: Reporter,
    /// When the request ended, by the wall clock; its start is `duration` earlier.
    pub ended: SystemTime,
    /// From the request's start to the end of its response.
    pub duration: Duration,
    /// The method.
    pub method: Method,
    /// Path and query, as they were sent.
    pub path: Text,
    /// The protocol's version.
    pub protocol: Version,
    /// The status that the caller got; 0 where it got none.
    pub response_code: u16,
    /// Envoy's response flags, `-` for none.
    pub response_flags: &'static str,
    /// What happened, in Envoy's words.
    pub response_code_details: &'static str,
    /// The gRPC status, for gRPC.
    pub grpc_status: Option<u8>,
    /// Why the connection to the server failed.
    pub upstream_transport_failure_reason: Option<Arc<str>>,
    /// Bytes of the request's body.
    pub bytes_received: u64,
    /// Bytes of the response's body.
    pub bytes_sent: u64,
    /// Until the server's response headers arrived.
    pub upstream_service_time: Option<Duration>,
    /// The `x-forwarded-for` header.
    pub x_forwarded_for: Option<HeaderValue>,
    /// The `user-agent` header.
    pub user_agent: Option<HeaderValue>,
    /// The `x-request-id` header.
    pub request_id: Option<HeaderValue>,
    /// The host that was asked for.
    pub authority: Option<Text>,
    /// The endpoint that answered.
    pub upstream_host: Option<SocketAddr>,
    /// The service, subset and port that the route led to.
    pub upstream_cluster: Option<Arc<str>>,
    /// The address at which the request came in.
    pub downstream_local_address: Option<SocketAddr>,
    /// The address that the request came from.
    pub downstream_remote_address: Option<SocketAddr>,
    /// The server name of the TLS handshake.
    pub requested_server_name: Option<Arc<str>>,
    /// The name of the route.
    pub route_name: Option<Arc<str>>,
    /// The rule that decided: of the route, or of the denial.
    pub policy_origin: Option<Origin>,
    /// The `AUDIT` rule that marked the request.
    pub audited_by: Option<Arc<RuleInfo>>,
    /// What the authorization policies on trial would have decided.
    pub trial: Option<Verdict>,
    /// The external authorizer that was asked, and how that ended.
    pub asked: Option<(Arc<str>, CheckResult)>,
    /// The generation of the policy that the request went by; 0 where it is not known.
    pub policy_generation: u64,
    /// How many times the request was sent.
    pub attempts: u32,
    /// The caller's identity.
    pub source_principal: Option<Arc<str>>,
    /// Issuer and subject of the request's token, `iss/sub`.
    pub request_principal: Option<Arc<str>>,
    /// The identity of a trusted caller's client, as that caller tells it: data, and no proof.
    pub forwarded_client: Option<Arc<str>>,
    /// The server's identity.
    pub destination_principal: Option<Arc<str>>,
    /// The trace that the request belongs to.
    pub trace_id: Option<u128>,
}

impl AccessRecord {
    /// A record that ends now, of HTTP/1.1, with all else unknown.
    #[must_use]
    pub fn new(reporter: Reporter, method: Method, path: impl Into<Text>) -> Self {
        Self {
            is_sampled: true,
            reporter,
            ended: Clock::new().wall(),
            duration: Duration::ZERO,
            method,
            path: path.into(),
            protocol: Version::HTTP_11,
            response_code: 0,
            response_flags: "-",
            response_code_details: "-",
            grpc_status: None,
            upstream_transport_failure_reason: None,
            bytes_received: 0,
            bytes_sent: 0,
            upstream_service_time: None,
            x_forwarded_for: None,
            user_agent: None,
            request_id: None,
            authority: None,
            upstream_host: None,
            upstream_cluster: None,
            downstream_local_address: None,
            downstream_remote_address: None,
            requested_server_name: None,
            route_name: None,
            policy_origin: None,
            audited_by: None,
            trial: None,
            asked: None,
            policy_generation: 0,
            attempts: 0,
            source_principal: None,
            request_principal: None,
            forwarded_client: None,
            destination_principal: None,
            trace_id: None,
        }
    }

    /// When the request started.
    pub(super) fn started(&self) -> SystemTime {
        self.ended.checked_sub(self.duration).unwrap_or(self.ended)
    }
}

/// A text that is shared with where it came from, or owned.
#[derive(Clone, Debug)]
pub enum Text {
    /// A path with its query, of a URI.
    Path(http::uri::PathAndQuery),
    /// A host, of a URI.
    Authority(http::uri::Authority),
    /// A header's value.
    Header(HeaderValue),
    /// A shared text.
    Shared(Arc<str>),
}

impl Text {
    /// The bytes; a header's need not be UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Path(path) => path.as_str().as_bytes(),
            Self::Authority(authority) => authority.as_str().as_bytes(),
            Self::Header(value) => value.as_bytes(),
            Self::Shared(text) => text.as_bytes(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Shared(text.into())
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<http::uri::PathAndQuery> for Text {
    fn from(path: http::uri::PathAndQuery) -> Self {
        Self::Path(path)
    }
}

impl From<http::uri::Authority> for Text {
    fn from(authority: http::uri::Authority) -> Self {
        Self::Authority(authority)
    }
}

impl From<HeaderValue> for Text {
    fn from(value: HeaderValue) -> Self {
        Self::Header(value)
    }
}
