use std::{num::NonZeroU32, time::Duration};

use crate::client::{
    connect::{ConnectOptions, HttpVersion},
    hop::Upgrades,
};

/// The parameters of a pool. All may change while it runs ([`super::Pool::configure`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// The HTTP version. Default: what ALPN settles on.
    pub version: HttpVersion,
    /// How connections are made.
    pub connect: ConnectOptions,
    /// Requests that a connection serves before it is closed; 1 disables keep-alive. Default: no
    /// limit.
    pub max_requests_per_connection: Option<NonZeroU32>,
    /// How long a connection stays open without a request; `None` is for ever. Default: 1 h, as
    /// Istio.
    pub idle_timeout: Option<Duration>,
    /// Age at which a connection takes no more requests. Default: none.
    pub max_connection_duration: Option<Duration>,
    /// Concurrent requests on one HTTP/2 connection; the peer's own limit holds as well. Default:
    /// the peer's.
    pub max_concurrent_streams: Option<NonZeroU32>,
    /// HTTP/2 pings. Default: none.
    pub http2_keepalive: Option<Http2Keepalive>,
    /// Whether requests may upgrade. Default: `Upgrade` is removed.
    pub upgrades: Upgrades,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            version: HttpVersion::Auto,
            connect: ConnectOptions::default(),
            max_requests_per_connection: None,
            idle_timeout: Some(Duration::from_secs(3600)),
            max_connection_duration: None,
            max_concurrent_streams: None,
            http2_keepalive: None,
            upgrades: Upgrades::Strip,
        }
    }
}

impl PoolConfig {
    pub(super) fn request_limit(&self) -> u32 {
        self.max_requests_per_connection.map_or(u32::MAX, NonZeroU32::get)
    }

    pub(super) fn stream_limit(&self) -> usize {
        self.max_concurrent_streams.map_or(usize::MAX, |max| max.get() as usize)
    }
}

/// Pings that find out whether an HTTP/2 peer is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Keepalive {
    /// Time between pings.
    pub interval: Duration,
    /// Time for the answer; then the connection is closed.
    pub timeout: Duration,
}
