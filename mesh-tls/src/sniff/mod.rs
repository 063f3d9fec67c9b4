//! One port for TLS and plain text: told apart by the first byte, which stays unread.
//!
//! A TLS connection starts with a handshake record, whose first byte is 0x16 (RFC 8446, 5.1). No
//! HTTP request and no HTTP/2 preface starts with a control character, so one byte decides. It
//! also must: a socket with one byte of three waiting is always ready, and waiting for the rest by
//! peeking would spin. A stream of another protocol that starts with 0x16 is taken for TLS and
//! fails its handshake, which is the safe way to be wrong.

#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The content type of a TLS handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// A TLS handshake.
    Tls,
    /// Anything else: HTTP/1, HTTP/2 with prior knowledge, or another protocol.
    Plaintext,
    /// Nothing has come yet.
    NeedMore,
}

/// Why a connection could not be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SniffError {
    /// The peer sent nothing in time.
    #[error("peer sent nothing within {0:?}")]
    Timeout(Duration),
    /// The peer closed the connection before its first byte.
    #[error("peer closed the connection before its first byte")]
    Closed,
    /// The connection failed.
    #[error("connection failed before its first byte: {0}")]
    Io(#[from] io::Error),
}

/// Tells by the first bytes of a connection.
///
/// ```
/// use mesh_tls::sniff::{Sniffed, first_bytes};
///
/// assert_eq!(first_bytes(&[0x16, 0x03, 0x01]), Sniffed::Tls);
/// assert_eq!(first_bytes(b"PRI * HTTP/2.0"), Sniffed::Plaintext);
/// assert_eq!(first_bytes(b""), Sniffed::NeedMore);
/// ```
#[must_use]
pub fn first_bytes(bytes: &[u8]) -> Sniffed {
    match bytes.first() {
        None => Sniffed::NeedMore,
        Some(&HANDSHAKE_RECORD) => Sniffed::Tls,
        Some(_) => Sniffed::Plaintext,
    }
}

/// Waits for the first byte of a TCP connection and leaves it there. Never [`Sniffed::NeedMore`].
///
/// # Errors
///
/// [`SniffError`] where no byte comes within `timeout`.
///
/// # Cancel safety
///
/// Nothing is consumed; it may be called again.
pub async fn sniff(stream: &TcpStream, timeout: Duration) -> Result<Sniffed, SniffError> {
    let mut first = [0];
    match tokio::time::timeout(timeout, stream.peek(&mut first)).await {
        Err(_) => Err(SniffError::Timeout(timeout)),
        Ok(Ok(0)) => Err(SniffError::Closed),
        Ok(peeked) => {
            peeked?;
            Ok(first_bytes(&first))
        }
    }
}

/// Waits for the first byte of any stream and gives the stream back with that byte in front.
///
/// # Errors
///
/// [`SniffError`] where no byte comes within `timeout`; the stream is closed.
///
/// # Cancel safety
///
/// Dropping the future closes the stream.
pub async fn sniff_stream<IO>(mut stream: IO, timeout: Duration) -> Result<(Sniffed, Prefixed<IO>), SniffError>
where
    IO: AsyncRead + Unpin,
{
    let mut first = [0];
    match tokio::time::timeout(timeout, stream.read(&mut first)).await {
        Err(_) => Err(SniffError::Timeout(timeout)),
        Ok(Ok(0)) => Err(SniffError::Closed),
        Ok(read) => {
            read?;
            Ok((first_bytes(&first), Prefixed::new(first.to_vec(), stream)))
        }
    }
}

/// A stream with bytes in front that were read from it before. Writes pass through.
#[derive(Debug)]
pub struct Prefixed<IO> {
    prefix: io::Cursor<Vec<u8>>,
    inner: IO,
}

impl<IO> Prefixed<IO> {
    /// Puts `prefix` in front of what `inner` will yield.
    #[must_use]
    pub fn new(prefix: Vec<u8>, inner: IO) -> Self {
        Self {
            prefix: io::Cursor::new(prefix),
            inner,
        }
    }

    /// The stream behind.
    pub fn inner(&self) -> &IO {
        &self.inner
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Prefixed<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.prefix).poll_read(cx, buf))?;
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Prefixed<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }
}
