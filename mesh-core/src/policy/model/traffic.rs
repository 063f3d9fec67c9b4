//! How to talk to a service: balancing, limits, outlier detection, TLS, retries.

use std::time::Duration;

use http::StatusCode;

use super::filter::Fraction;
use super::profile::ResponseClass;
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
    /// Labels that the calling workload must have; empty is any. Such a policy inherits nothing from others.
    pub workloads: Labels,
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
    /// What is hashed, where `balance` goes by a hash.
    pub hash: Option<HashKey>,
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
    /// Limit on retries at a time, relative to the requests under way (`retryBudget` of a `DestinationRule`).
    pub retry_concurrency: Option<RetryConcurrency>,
    /// How new endpoints are eased in.
    pub warmup: Option<Warmup>,
    /// Which endpoints are preferred by their locality.
    pub locality: Option<Locality>,
}

/// Limit on retries at a time: a share of the requests under way or waiting, and never less than a minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryConcurrency {
    /// Share of the requests under way. Default 20 %.
    pub share: Fraction,
    /// Retries at a time that are always allowed. Default 3.
    pub min: u32,
}

impl Default for RetryConcurrency {
    fn default() -> Self {
        Self {
            share: Fraction::from_millionths(200_000),
            min: 3,
        }
    }
}

/// How the weight of a new endpoint grows (Envoy's slow start): `max(minimum, (age / duration)^(1 / aggression))`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Warmup {
    /// How long it takes.
    pub duration: Duration,
    /// The weight at the start, in percent of the full one. Default 10.
    pub minimum_percent: f64,
    /// 1 is linear, more is faster at first. Default 1.
    pub aggression: f64,
}

impl Warmup {
    /// A linear growth from a tenth over `duration`.
    #[must_use]
    pub const fn new(duration: Duration) -> Self {
        Self {
            duration,
            minimum_percent: 10.0,
            aggression: 1.0,
        }
    }
}

/// Which endpoints are preferred by their locality (Istio's `localityLbSetting`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Locality {
    /// `false` switches it off.
    pub enabled: Option<bool>,
    /// For callers of a locality (or a pattern of one): shares of localities, in percent.
    pub distribute: Vec<(String, Vec<(String, u32)>)>,
    /// For callers of a region: the region that takes over.
    pub failover: Vec<(String, String)>,
    /// Labels that are compared in this order, `key` or `key=value`.
    pub failover_priority: Vec<String>,
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
    /// The address that the caller dialled.
    Passthrough,
    /// The same one for the same [`TrafficPolicy::hash`], by a ring of at least so many entries (ketama).
    RingHash(u64),
    /// The same one for the same [`TrafficPolicy::hash`], by Maglev's table of this size, a prime.
    Maglev(u64),
}

/// What is hashed to choose an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// The first value of a header.
    Header(http::HeaderName),
    /// The first value of a query parameter.
    Query(String),
    /// The caller's address, without its port.
    SourceIp,
    /// A cookie, made for callers without one where `ttl` is set.
    Cookie {
        /// Its name.
        name: String,
        /// Its path.
        path: Option<String>,
        /// How long it lasts; zero is until the browser ends.
        ttl: Option<Duration>,
        /// Further attributes.
        attributes: Vec<(String, String)>,
    },
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
    /// Whether the version of HTTP is that of the caller's request (`useClientProtocol`).
    pub client_protocol: ClientProtocol,
    /// Probes of idle TCP connections.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Pings on HTTP/2 connections: every `.0`, answered within `.1`.
    pub http2_keepalive: Option<(Duration, Duration)>,
}

/// Whether the version of HTTP is that of the caller's request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is or it is not")]
pub enum ClientProtocol {
    /// It is chosen by the endpoint's.
    #[default]
    Ignore,
    /// It is.
    Use,
}

/// Probes of idle TCP connections; what is `None` is the system's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpKeepalive {
    /// Lost probes after which the connection is closed.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
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
            client_protocol: ClientProtocol::Ignore,
            tcp_keepalive: None,
            http2_keepalive: None,
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
    /// Failures to connect and timeouts in a row, counted apart; `None` counts them as 5xx.
    pub consecutive_local_failures: Option<u32>,
    /// The only statuses that count as errors; empty is every 5xx.
    pub error_codes: Vec<StatusCode>,
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
            consecutive_local_failures: None,
            error_codes: Vec::new(),
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
    /// TLS to a server with a certificate of a public or private authority (`SIMPLE`, `MUTUAL`, `BackendTLSPolicy`).
    Origination(TlsOrigination),
}

/// TLS to a server that is not of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TlsOrigination {
    /// The name in the handshake; `None` is the request's host.
    pub sni: Option<String>,
    /// Names that the certificate must have one of; empty is `sni`, else the request's host.
    pub subject_alt_names: Vec<String>,
    /// The file, or the folder below the credentials directory, with the authorities; `None` is the system's.
    pub authorities: Option<String>,
    /// The own certificate and its key: two files, or the folder of both.
    pub certificate: Option<(String, String)>,
    /// The file with certificates that are revoked.
    pub revoked: Option<String>,
    /// The folder, below the credentials directory, with certificate, key and authorities (`credentialName`).
    pub credential_name: Option<String>,
    /// Whether the server's certificate is looked at.
    pub verification: Verification,
}

/// Whether a server's certificate is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "it is or it is not")]
pub enum Verification {
    /// It must be valid.
    #[default]
    Verify,
    /// Any is taken (`insecureSkipVerify`).
    Skip,
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
    /// Whether endpoints that have failed the request are avoided (`retryIgnorePreviousHosts`).
    pub previous_hosts: PreviousHosts,
    /// Whether further tries may go to other localities (`retryRemoteLocalities`).
    pub remote_localities: RemoteLocalities,
    /// Where it was written.
    pub origin: Origin,
}

/// Whether endpoints that have failed a request are avoided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they are or they are not")]
pub enum PreviousHosts {
    /// They are, as long as there is another.
    #[default]
    Avoid,
    /// Each try picks anew.
    Allow,
}

/// Whether further tries may leave the locality of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they may or they may not")]
pub enum RemoteLocalities {
    /// They stay.
    #[default]
    Stay,
    /// They may leave.
    Leave,
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
            previous_hosts: PreviousHosts::Avoid,
            remote_localities: RemoteLocalities::Stay,
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
    /// Where given, a failure by these classes is tried again, whatever the method: whoever wrote them says that this is
    /// safe (Linkerd's `isRetryable`).
    pub classes: Option<Vec<ResponseClass>>,
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
    /// Headers of the response that a policy would name; none can, so that it never holds (Envoy).
    RetriableHeaders,
    /// The response has `x-envoy-ratelimited`.
    EnvoyRatelimited,
    /// An HTTP/3 connection failed after it was made; HTTP/3 is not spoken, so that it never holds.
    Http3PostConnectFailure,
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
    /// No pause is shorter. Default zero.
    pub least: Duration,
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
            least: Duration::ZERO,
        }
    }

    /// A backoff whose every pause is at least `base` and at most ten times that (Gateway API, GEP-1731).
    #[must_use]
    pub const fn at_least(base: Duration) -> Self {
        let backoff = Self::from_base(base);
        Self { least: base, ..backoff }
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
