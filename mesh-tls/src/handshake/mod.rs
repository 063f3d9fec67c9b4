//! Handshakes with a time limit: [`accept_tls`] and [`connect_tls`].
//!
//! What comes out is a stream, a proven [`PeerIdentity`] and the agreed protocol. What goes wrong
//! says whose fault it is: this process's identity, the peer's, or the network's. A client never
//! falls back to plain text.

#[cfg(test)]
mod resumption_tests;
#[cfg(test)]
mod tests;

mod reason;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

pub use self::reason::Reason;
use crate::config::{Alpn, ClientConfig, ServerConfig};
use crate::leaf::Role;
use crate::peer::PeerIdentity;
use crate::svid::OwnIdentityError;
use crate::verify::PeerError;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It did not end in time.
    #[error("TLS handshake did not finish within {0:?}")]
    Timeout(Duration),
    /// This process's own certificate is not valid now.
    #[error(transparent)]
    OwnIdentity(#[from] OwnIdentityError),
    /// The name to send to the server is no host name and no address.
    #[error("server name `{}` is no host name and no IP address", .0.escape_debug())]
    ServerName(String),
    /// The peer's certificate was refused.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The peer refused the handshake with this alert; often it did not accept our certificate.
    #[error("peer refused the TLS handshake: {0}")]
    PeerRefused(String),
    /// The peer does not speak TLS as it should, or no version, cipher or protocol is shared.
    #[error("TLS handshake failed: {0}")]
    Protocol(rustls::Error),
    /// The connection failed or was closed.
    #[error("connection failed during the TLS handshake: {0}")]
    Io(io::Error),
}

impl HandshakeError {
    /// Whether the peer's certificate, or the lack of one, is the cause.
    #[must_use]
    pub fn is_peer_identity(&self) -> bool {
        matches!(self, Self::Peer(_))
    }

    /// Whether this process's own certificate is the cause.
    #[must_use]
    pub fn is_own_identity(&self) -> bool {
        matches!(self, Self::OwnIdentity(_))
    }

    /// Whether the time ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

/// Accepts a mesh connection: the client must prove an identity.
///
/// # Errors
///
/// [`HandshakeError`]; the stream is closed.
///
/// # Cancel safety
///
/// Dropping the future closes the stream.
pub async fn accept_tls<IO>(
    stream: IO,
    config: Arc<ServerConfig>,
    timeout: Duration,
) -> Result<(server::TlsStream<IO>, PeerIdentity, Option<Alpn>), HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    config.own().check()?;
    let stream = within(timeout, TlsAcceptor::from(config.inner()).accept(stream)).await?;
    let (_, session) = stream.get_ref();
    let peer = PeerIdentity::verified(session, Role::Client)?;
    if peer.is_resumed() {
        config.judge(&peer)?;
    }
    let alpn = session.alpn_protocol().and_then(Alpn::from_bytes);
    Ok((stream, peer, alpn))
}

/// Opens a mesh connection: the server must prove one of the expected identities.
///
/// `server_name` is sent as SNI where it is a host name; it plays no part in the verification.
///
/// Under TLS 1.3 the server judges our certificate after this returns; its refusal shows as the
/// error of the first read ([`classify`] tells it from a lost connection).
///
/// # Errors
///
/// [`HandshakeError`]; the stream is closed.
///
/// # Cancel safety
///
/// Dropping the future closes the stream.
pub async fn connect_tls<IO>(
    stream: IO,
    config: Arc<ClientConfig>,
    server_name: &str,
    timeout: Duration,
) -> Result<(client::TlsStream<IO>, PeerIdentity, Option<Alpn>), HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    config.own().check()?;
    let name = parse_server_name(server_name)?;
    let stream = within(timeout, TlsConnector::from(config.inner()).connect(name, stream)).await?;
    let (_, session) = stream.get_ref();
    let peer = PeerIdentity::verified(session, Role::Server)?;
    if peer.is_resumed() {
        config.judge(&peer)?;
    }
    let alpn = session.alpn_protocol().and_then(Alpn::from_bytes);
    Ok((stream, peer, alpn))
}

pub(crate) fn parse_server_name(name: &str) -> Result<ServerName<'static>, HandshakeError> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    ServerName::try_from(bare.unwrap_or(name).to_owned()).map_err(|_| HandshakeError::ServerName(name.to_owned()))
}

pub(crate) async fn within<T>(
    timeout: Duration,
    handshake: impl Future<Output = io::Result<T>>,
) -> Result<T, HandshakeError> {
    match tokio::time::timeout(timeout, handshake).await {
        Ok(done) => done.map_err(classify),
        Err(_) => Err(HandshakeError::Timeout(timeout)),
    }
}

/// Says what an I/O error of a TLS stream means: the peer's refusal, ours, or a lost connection.
#[must_use]
pub fn classify(error: io::Error) -> HandshakeError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(tls) = tls else {
        return HandshakeError::Io(error);
    };
    if let Some(reason) = PeerError::of(tls) {
        return HandshakeError::Peer(reason.clone());
    }
    match tls {
        rustls::Error::NoCertificatesPresented => HandshakeError::Peer(PeerError::NoCertificate),
        rustls::Error::AlertReceived(alert) => HandshakeError::PeerRefused(format!("{alert:?}")),
        other => HandshakeError::Protocol(other.clone()),
    }
}
