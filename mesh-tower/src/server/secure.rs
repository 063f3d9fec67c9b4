//! From an accepted socket to a stream whose peer is known.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::policy::model::identity::MtlsMode;
use mesh_tls::config::Alpn;
use mesh_tls::handshake::{HandshakeError, accept_tls};
use mesh_tls::sniff::{SniffError, Sniffed, sniff};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::{Connection, Security};
use crate::mesh::{Shared, tls_policy};
use crate::stream::Stream;

/// What comes out of a handshake.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) stream: Stream,
    pub(crate) connection: Arc<Connection>,
    pub(crate) http: Http,
}

/// The version of HTTP on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

/// Why a connection is closed before its first request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the port takes mTLS only, and the caller does not use TLS")]
    PlainText,
    #[error("the port takes plain text only, and the caller uses TLS")]
    Tls,
    #[error("the port needs mTLS, and this process has no identity")]
    NoIdentity,
    #[error(transparent)]
    Sniff(#[from] SniffError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("others waited for its place, which it had had for {0:?}")]
    GaveWay(Duration),
    #[error("TLS cannot be configured: {0}")]
    Config(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The protocols that the mesh's servers offer.
pub(crate) const OFFERED: [Alpn; 2] = [Alpn::H2, Alpn::Http1];

/// Secures a connection of the mesh, as the policy wants it on this port.
pub(crate) async fn mesh(shared: &Arc<Shared>, stream: TcpStream, remote: SocketAddr) -> Result<Secured, Refused> {
    let deadline = Instant::now() + shared.settings.handshake_timeout;
    let local = stream.local_addr()?;
    stream.set_nodelay(true)?;
    let mode = shared.live.load().snapshot.inbound.mtls(local.port()).0;
    let first = sniff(&stream, left(deadline)).await?;
    match (mode, first) {
        (MtlsMode::Disable, Sniffed::Tls) => Err(Refused::Tls),
        (MtlsMode::Strict, Sniffed::Plaintext | Sniffed::NeedMore) => Err(Refused::PlainText),
        (_, Sniffed::Tls) => mutual(shared, stream, (remote, local), deadline).await,
        (_, _) => plain(shared, stream, (remote, local), deadline).await,
    }
}

async fn mutual(
    shared: &Arc<Shared>,
    stream: TcpStream,
    (remote, local): (SocketAddr, SocketAddr),
    deadline: Instant,
) -> Result<Secured, Refused> {
    let identity = shared.identity.as_ref().ok_or(Refused::NoIdentity)?;
    let policy = tls_policy(&shared.live.load().snapshot.mesh.tls);
    let current = identity.current();
    let config = current
        .server_config_under(policy, &OFFERED)
        .map_err(|error| Refused::Config(error.to_string()))?;
    let accepted = accept_tls(stream, config, left(deadline)).await;
    let (stream, peer, alpn) = accepted.inspect_err(|error| shared.handshakes.failed(remote, error))?;
    shared.handshakes.succeeded(Some(&peer));
    // Names of hosts have no case: rules compare them in lower case.
    let asked_for = stream.get_ref().1.server_name().map(str::to_ascii_lowercase);
    let security = Security::Mutual(peer, asked_for.map(Arc::from));
    let connection = Connection::new(Arc::clone(shared), security, remote, local);
    Ok(Secured {
        stream: Stream::tls(stream),
        connection: Arc::new(connection.verified_under(current.generation(), policy.revocation)),
        http: version(alpn),
    })
}

async fn plain(
    shared: &Arc<Shared>,
    stream: TcpStream,
    (remote, local): (SocketAddr, SocketAddr),
    deadline: Instant,
) -> Result<Secured, Refused> {
    Ok(Secured {
        http: plain_version_within(&stream, deadline).await?,
        connection: Arc::new(Connection::new(Arc::clone(shared), Security::Plain, remote, local)),
        stream: Stream::plain(stream),
    })
}

pub(crate) fn version(alpn: Option<Alpn>) -> Http {
    match alpn {
        Some(Alpn::H2) => Http::Two,
        _ => Http::One,
    }
}

pub(crate) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// The first bytes of HTTP/2 with prior knowledge (RFC 9113 section 3.4). No method begins like this.
const PREFACE: &[u8] = b"PRI * HTTP/2";
/// How long to wait for more of what may be a preface.
const PREFACE_PAUSE: Duration = Duration::from_millis(2);

/// The version of HTTP that the first bytes speak, if they come in time.
pub(crate) async fn plain_version_within(stream: &TcpStream, deadline: Instant) -> Result<Http, Refused> {
    let limit = left(deadline);
    let seen = tokio::time::timeout_at(deadline, plain_version(stream)).await;
    Ok(seen.map_err(|_| SniffError::Timeout(limit))??)
}

/// Looks at the first bytes and leaves them there.
async fn plain_version(stream: &TcpStream) -> io::Result<Http> {
    let mut first = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        let seen = first.get(..length).unwrap_or_default();
        if !PREFACE.starts_with(seen) || length == 0 {
            return Ok(Http::One);
        }
        if length == PREFACE.len() {
            return Ok(Http::Two);
        }
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}
