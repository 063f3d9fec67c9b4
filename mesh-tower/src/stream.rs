//! One type for the byte streams of both sides, in plain text or TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsStream;

/// A byte stream of a connection. Whoever holds it, the mesh can end it: when its peer is trusted no more, say.
#[derive(Debug)]
pub struct Stream {
    // ORDER: the socket is closed before others hear that it is.
    io: Io,
    tie: Tie,
    /// Who is woken when the stream is cut: as long as they stay the same, they need not say so again.
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Whether the peer takes nothing of what was last written.
    is_stuck: bool,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// A stream of plain text.
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self::of(Io::Plain(stream))
    }

    /// A stream of TLS, from either side.
    pub(crate) fn tls(stream: impl Into<TlsStream<TcpStream>>) -> Self {
        Self::of(Io::Tls(Box::new(stream.into())))
    }

    fn of(io: Io) -> Self {
        Self {
            io,
            tie: Tie(Arc::default()),
            reader: None,
            writer: None,
            is_stuck: false,
        }
    }

    /// What ends this stream from elsewhere.
    pub(crate) fn switch(&self) -> Arc<Switch> {
        Arc::clone(&self.tie.0)
    }
}

/// Ends a [`Stream`] that somebody else holds, and tells when it is gone.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    is_cut: AtomicBool,
    is_gone: AtomicBool,
    /// Goes up by one when the stream gets stuck, and again when it is free: odd while it is stuck.
    turns: AtomicU32,
    reader: AtomicWaker,
    writer: AtomicWaker,
    gone: Notify,
}

impl Switch {
    /// Fails all that is read and written from now on.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    /// Whether the stream was dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// The turn in which the stream is stuck, if it is: as long as it stays the same, the peer has taken nothing.
    pub(crate) fn stuck(&self) -> Option<u32> {
        let turn = self.turns.load(Ordering::Relaxed);
        (turn % 2 == 1).then_some(turn)
    }

    /// Waits until the stream is dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn gone(&self) {
        let gone = self.gone.notified();
        if !self.is_gone() {
            gone.await;
        }
    }

    /// Asks whether the stream is cut, and has the task woken when it is.
    fn poll_cut(&self, waker: &AtomicWaker, cx: &Context<'_>) -> bool {
        waker.register(cx.waker());
        self.is_cut.load(Ordering::Acquire)
    }

    fn check(&self) -> io::Result<()> {
        match self.is_cut.load(Ordering::Acquire) {
            true => Err(Self::error()),
            false => Ok(()),
        }
    }

    fn error() -> io::Error {
        io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "the mesh ended the connection: policy or trust has changed",
        )
    }
}

/// Says when the stream is dropped.
#[derive(Debug)]
struct Tie(Arc<Switch>);

impl Drop for Tie {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Release);
        self.0.gone.notify_waiters();
    }
}

impl Stream {
    /// Says that nothing comes or goes for now; has the task woken when the stream is cut.
    fn pending<T>(
        cut: &Switch,
        waker: &AtomicWaker,
        known: &mut Option<Waker>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<T>> {
        // A cut wakes the task that is registered already.
        if known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        *known = Some(cx.waker().clone());
        match cut.poll_cut(waker, cx) {
            true => Poll::Ready(Err(Switch::error())),
            false => Poll::Pending,
        }
    }
}

impl Stream {
    /// Notes whether the peer has room for what is written.
    fn written<T>(&mut self, polled: Poll<T>) -> Poll<T> {
        if polled.is_pending() != self.is_stuck {
            self.is_stuck = polled.is_pending();
            self.tie.0.turns.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl Io {
    /// Whether there is surely nothing to read: what TLS has was taken, and the socket has nothing for it.
    ///
    /// Each request ends with a look for the next one, and each look through TLS costs several times this one.
    fn is_dry(&self, cx: &mut Context<'_>) -> bool {
        let Self::Tls(stream) = self else { return false };
        let (socket, session) = stream.get_ref();
        session.wants_read() && socket.poll_read_ready(cx).is_pending()
    }
}

/// Calls the same method of whichever stream it is, unless the stream is cut.
macro_rules! on_stream {
    ($stream:expr, $waker:ident, $cx:expr, $method:ident($($argument:expr),*)) => {{
        let this = $stream.as_mut().get_mut();
        this.tie.0.check()?;
        let polled = match &mut this.io {
            Io::Plain(stream) => Pin::new(stream).$method($cx, $($argument),*),
            Io::Tls(stream) => Pin::new(&mut **stream).$method($cx, $($argument),*),
        };
        match polled {
            Poll::Pending => Stream::pending(&this.tie.0, &this.tie.0.$waker, &mut this.$waker, $cx),
            polled => polled,
        }
    }};
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.io.is_dry(cx) {
            let this = self.get_mut();
            this.tie.0.check()?;
            return Self::pending(&this.tie.0, &this.tie.0.reader, &mut this.reader, cx);
        }
        on_stream!(self, reader, cx, poll_read(buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = on_stream!(self, writer, cx, poll_write(buf));
        self.written(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = on_stream!(self, writer, cx, poll_flush());
        self.written(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, writer, cx, poll_shutdown())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        let polled = on_stream!(self, writer, cx, poll_write_vectored(bufs));
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
