//! How to talk to a service: balancing, limits, outlier detection, TLS, retries.

use std::time::Duration;

use http::StatusCode;

use super::{Export, Labels, Meta, Origin};

/// A `DestinationRule`, or the traffic settings of a native service.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DestinationPolicy {
    /// Name and place.
    pub meta: Meta,
    /// The service's full name, or a pattern `*.suffix`; lower case.
    pub host: String,
    /// For all endpoints.
    pub traffic: TrafficPolicy,
    /// By service port: stands alone, in place of `traffic`.
    pub ports: Vec<(u16, TrafficPolicy)>,
    /// Named parts of the endpoints.
    pub subsets: Vec<Subset>,
    /// Who sees it.
    pub export: Export,
}

/// A named part of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Endpoints with these labels belong to it.
    pub labels: Labels,
    /// Blocks that replace those of the whole service.
    pub traffic: TrafficPolicy,
    /// By service port: stands alone, in place of both.
    pub ports: Vec<(u16, TrafficPolicy)>,
    /// Where it was written.
    pub origin: Origin,
}

/// Blocks of settings; a block that is `None` is not set here.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TrafficPolicy {
    /// How an endpoint is picked.
    pub balance: Option<Algorithm>,
    /// Limits on connections and requests.
    pub limits: Option<Limits>,
    /// When an endpoint is ejected.
    pub outliers: Option<OutlierDetection>,
    /// TLS to the endpoints; `None` is mTLS wherever the endpoint is known to speak it.
    pub tls: Option<ClientTls>,
    /// Retries of routes that set none.
    pub retry: Option<RetryPolicy>,
    /// The budget of retries.
    pub retry_budget: Option<RetryBudget>,
}

/// How an endpoint is picked. Each honours the endpoints' weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// One after the other.
    RoundRobin,
    /// Any of them.
    Random,
    /// The less busy of two (power of two choices).
    #[default]
    LeastRequest,
}

/// Limits on connections and requests of one client process to one service, subset and port. `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// HTTP/1.1 connections (`maxConnections`).
    pub connections: Option<u32>,
    /// Requests that wait for a connection (`http1MaxPendingRequests`).
    pub pending: Option<u32>,
    /// Requests at a time (`http2MaxRequests`).
    pub requests: Option<u32>,
    /// Retries at a time (`maxRetries`).
    pub retries: Option<u32>,
    /// Requests after which a connection is closed.
    pub requests_per_connection: Option<u32>,
    /// Streams at a time on an HTTP/2 connection.
    pub streams_per_connection: Option<u32>,
    /// Limit for connecting, TLS included. Default 10 s.
    pub connect_timeout: Duration,
    /// Idle connections are closed after it; `None` never. Default 1 h.
    pub idle_timeout: Option<Duration>,
    /// Connections are closed when they are this old.
    pub connection_age: Option<Duration>,
    /// Whether HTTP/2 is spoken where HTTP/1.1 would do (`h2UpgradePolicy`).
    pub h2_upgrade: H2Upgrade,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            pending: None,
            requests: None,
            retries: None,
            requests_per_connection: None,
            streams_per_connection: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Some(Duration::from_secs(3600)),
            connection_age: None,
            h2_upgrade: H2Upgrade::Default,
        }
    }
}

/// Istio's `h2UpgradePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum H2Upgrade {
    /// By ALPN over TLS; HTTP/1.1 on plain text unless the port says HTTP/2.
    #[default]
    Default,
    /// HTTP/1.1.
    DoNotUpgrade,
    /// HTTP/2, with prior knowledge on plain text.
    Upgrade,
}

/// When an endpoint is ejected, and for how long (Envoy's outlier detection, Istio's defaults).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutlierDetection {
    /// 5xx responses in a row, local failures among them; 0 is off. Default 5.
    pub consecutive_5xx: u32,
    /// 502, 503 and 504 in a row; 0 is off. Default 0.
    pub consecutive_gateway_errors: u32,
    /// Time between sweeps, at which endpoints return. Default 10 s.
    pub interval: Duration,
    /// Ejection time, times the number of ejections. Default 30 s.
    pub base_ejection: Duration,
    /// Limit of the ejection time, or `base_ejection` if that is longer. Default 300 s.
    pub max_ejection: Duration,
    /// Share of the endpoints that may be ejected at a time. Default 10.
    pub max_ejected_percent: u8,
    /// Panic threshold: with fewer healthy ones, all are used. Default 0, never.
    pub min_healthy_percent: u8,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_errors: 0,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejected_percent: 10,
            min_healthy_percent: 0,
        }
    }
}

/// TLS to the endpoints (Istio's `trafficPolicy.tls`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientTls {
    /// Plain text.
    Disable,
    /// mTLS with the workload's own identity; the server must be one of these SPIFFE ids, or any of the trust domain where empty.
    IstioMutual {
        /// Full SPIFFE ids.
        subject_alt_names: Vec<String>,
    },
}

/// When and how often a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Further tries; 0 is none.
    pub attempts: u32,
    /// Limit of a single try; `None` is the route's timeout.
    pub per_try_timeout: Option<Duration>,
    /// What is tried again.
    pub on: RetryOn,
    /// Pauses between tries.
    pub backoff: Backoff,
    /// Where it was written.
    pub origin: Origin,
}

impl RetryPolicy {
    /// `attempts` further tries on `on`, with the default backoff.
    #[must_use]
    pub const fn new(attempts: u32, on: RetryOn, origin: Origin) -> Self {
        Self {
            attempts,
            per_try_timeout: None,
            on,
            backoff: Backoff::DEFAULT,
            origin,
        }
    }
}

/// Conditions of a retry: the names are rows of [`crate::decide::retry::CONDITIONS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryOn {
    /// Names, as Envoy spells them, in the order written.
    pub conditions: Vec<RetryCondition>,
    /// Response codes that are tried again.
    pub codes: Vec<StatusCode>,
}

/// A condition on which a request is tried again, with Envoy's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryCondition {
    /// Any 5xx, or no answer at all.
    FiveXx,
    /// 502, 503, 504.
    GatewayError,
    /// No answer: disconnect, reset, per-try timeout.
    Reset,
    /// The connection ended before the request was sent.
    ResetBeforeRequest,
    /// Connecting failed or took too long.
    ConnectFailure,
    /// The server refused the HTTP/2 stream.
    RefusedStream,
    /// 409.
    Retriable4xx,
    /// One of [`RetryOn::codes`].
    RetriableStatusCodes,
    /// gRPC status 1, in the response headers.
    Cancelled,
    /// gRPC status 4, in the response headers.
    DeadlineExceeded,
    /// gRPC status 13, in the response headers.
    Internal,
    /// gRPC status 8, in the response headers.
    ResourceExhausted,
    /// gRPC status 14, in the response headers.
    Unavailable,
}

/// Pauses between tries: full jitter over an exponential ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The first ceiling. Default 25 ms.
    pub base: Duration,
    /// The last ceiling. Default 250 ms.
    pub max: Duration,
}

impl Backoff {
    /// Envoy's default: 25 ms, at most ten times that.
    pub const DEFAULT: Self = Self::from_base(Duration::from_millis(25));

    /// A backoff that starts at `base` and ends at ten times that.
    #[must_use]
    pub const fn from_base(base: Duration) -> Self {
        Self {
            base,
            max: base.saturating_mul(10),
        }
    }
}

/// How many retries a service gets beside its first tries (Finagle's and Linkerd's budget).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryBudget {
    /// Retries per hundred first tries. Default 20.
    pub percent: u32,
    /// Retries a second that are always allowed. Default 10.
    pub min_per_second: u32,
    /// How long a first try counts. Default 10 s.
    pub ttl: Duration,
}

impl RetryBudget {
    /// A budget of `percent` over `ttl`, with `min_per_second` always allowed.
    #[must_use]
    pub const fn new(percent: u32, min_per_second: u32, ttl: Duration) -> Self {
        Self {
            percent,
            min_per_second,
            ttl,
        }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(20, 10, Duration::from_secs(10))
    }
}
