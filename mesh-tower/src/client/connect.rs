//! From an address to a byte stream: TCP, then TLS when the endpoint's policy says so.
//!
//! One time limit covers both, as Envoy's `connectTimeout` does. TLS is that of the mesh: the peer has
//! proven an identity that the policy expects, or there is no connection.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use mesh_tls::{
    config::{Alpn, ClientConfig},
    handshake::{HandshakeError, connect_tls},
    peer::PeerIdentity,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::body::BoxError;
use crate::stream::Stream;

/// The HTTP version that is spoken to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 from the first byte, in plain text too.
    Http2PriorKnowledge,
    /// What ALPN settles on; HTTP/1.1 in plain text.
    #[default]
    Auto,
}

/// How a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Time limit for TCP and TLS together. Default: 10 s, as Istio.
    pub timeout: Duration,
    /// TCP keep-alive probes. Default: none.
    pub keepalive: Option<Keepalive>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            keepalive: None,
        }
    }
}

/// TCP keep-alive; what is `None` is left to the operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe, whole seconds.
    pub time: Option<Duration>,
    /// Time between probes, whole seconds.
    pub interval: Option<Duration>,
    /// Unanswered probes before the connection counts as dead.
    pub probes: Option<u32>,
}

/// How an endpoint is spoken to in TLS.
#[derive(Clone)]
pub struct TlsTarget {
    /// Verifies the peer, holds the own identity and offers the protocols of the wanted HTTP version.
    pub config: Arc<ClientConfig>,
    /// The name for SNI.
    pub server_name: String,
}

impl fmt::Debug for TlsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTarget")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// The peer's socket address.
    pub address: SocketAddr,
    /// Who the peer is, proven by the handshake; `None` in plain text.
    pub identity: Option<PeerIdentity>,
    /// The protocol that ALPN settled on.
    pub alpn: Option<Alpn>,
}

/// A connection that is ready for its first byte.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The byte stream.
    pub io: Stream,
    /// Who is at the other end.
    pub peer: Peer,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("connection to `{address}` refused")]
    Refused {
        /// The address that was tried.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// TCP and TLS took longer than [`ConnectOptions::timeout`].
    #[error("connection to `{address}` not made within {limit:?}")]
    Timeout {
        /// The address that was tried.
        address: SocketAddr,
        /// The limit.
        limit: Duration,
    },
    /// Any other failure of the network.
    #[error("connection to `{address}` failed")]
    Io {
        /// The address that was tried.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with `{address}` failed: {source}")]
    Tls {
        /// The address that was tried.
        address: SocketAddr,
        /// Whose fault it was, and why.
        source: HandshakeError,
    },
    /// The connection was made and ended before the peer sent anything. A TLS 1.3 server that
    /// refuses our certificate does so here, after our side of the handshake: the source is a
    /// [`HandshakeError`] then, and a request may already be on its way.
    #[error("connection to `{address}` ended before the peer sent anything")]
    Http {
        /// The address that was tried.
        address: SocketAddr,
        /// The error of TLS or of HTTP, if the peer did not just close.
        source: Option<BoxError>,
    },
}

impl ConnectError {
    /// Whether TLS failed, for whatever reason, in the handshake or right after our side of it.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Tls { .. } => true,
            Self::Http { source, .. } => source.as_ref().is_some_and(|source| source.is::<HandshakeError>()),
            _ => false,
        }
    }

    /// Whether the peer is not who the policy expects, or could not prove it.
    #[must_use]
    pub fn is_identity_mismatch(&self) -> bool {
        matches!(self, Self::Tls { source, .. } if source.is_peer_identity())
    }
}

/// Connects to an address.
///
/// # Cancel safety
///
/// Dropping the future closes the socket; nothing else remains.
///
/// # Errors
///
/// See [`ConnectError`].
pub async fn connect(
    address: SocketAddr,
    tls: Option<&TlsTarget>,
    options: &ConnectOptions,
) -> Result<Connected, ConnectError> {
    let limit = options.timeout;
    tokio::time::timeout(limit, connect_unbounded(address, tls, options))
        .await
        .unwrap_or(Err(ConnectError::Timeout { address, limit }))
}

async fn connect_unbounded(
    address: SocketAddr,
    tls: Option<&TlsTarget>,
    options: &ConnectOptions,
) -> Result<Connected, ConnectError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| tcp_error(address, source))?;
    configure(&stream, options).map_err(|source| tcp_error(address, source))?;
    let Some(tls) = tls else {
        let peer = Peer {
            address,
            identity: None,
            alpn: None,
        };
        return Ok(Connected {
            io: Stream::plain(stream),
            peer,
        });
    };
    let (stream, identity, alpn) = connect_tls(stream, Arc::clone(&tls.config), &tls.server_name, options.timeout)
        .await
        .map_err(|source| handshake_error(address, source))?;
    let identity = Some(identity);
    let peer = Peer {
        address,
        identity,
        alpn,
    };
    Ok(Connected {
        io: Stream::tls(stream),
        peer,
    })
}

fn configure(stream: &TcpStream, options: &ConnectOptions) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(keepalive) = &options.keepalive else {
        return Ok(());
    };
    let mut probes = TcpKeepalive::new();
    if let Some(time) = keepalive.time {
        probes = probes.with_time(time);
    }
    if let Some(interval) = keepalive.interval {
        probes = probes.with_interval(interval);
    }
    if let Some(retries) = keepalive.probes {
        probes = probes.with_retries(retries);
    }
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

fn handshake_error(address: SocketAddr, source: HandshakeError) -> ConnectError {
    match source {
        HandshakeError::Timeout(limit) => ConnectError::Timeout { address, limit },
        source => ConnectError::Tls { address, source },
    }
}

fn tcp_error(address: SocketAddr, source: io::Error) -> ConnectError {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused { address, source },
        _ => ConnectError::Io { address, source },
    }
}
