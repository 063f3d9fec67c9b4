//! One nameable body for everything that the stack makes.
//!
//! A request or response passes a dozen layers, and a body type that grows with each of them can't
//! be named by who uses the stack. [`Body`] is one type: empty, a whole buffer, hyper's incoming
//! stream, a pooled connection's response and a replayable request body are its own variants and
//! cost no allocation; only a foreign body is boxed.
//!
//! # The end of a body
//!
//! A response is not over at its headers. Permits, in-flight counts, latency and the status of a
//! gRPC call settle when the body ends, fails or is dropped: [`Body::on_end`] and [`Tracked`] run a
//! hook exactly once, whichever comes first.
//!
//! ```
//! use mesh_tower::body::{Body, End, OnEnd};
//!
//! struct Settle(tokio::sync::OwnedSemaphorePermit);
//!
//! impl OnEnd for Settle {
//!     fn on_end(&mut self, end: End<'_>) {
//!         println!("request is over: {end:?}");
//!     }
//! }
//!
//! # fn with_permit(permit: tokio::sync::OwnedSemaphorePermit) {
//! let body = Body::from("hello").on_end(Settle(permit));
//! drop(body); // prints `Dropped` and frees the permit
//! # }
//! ```

use std::{
    any::Any,
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;

use crate::client::{pool::Lease, replay::ReplayBody};

mod deadline;
mod end;
mod pace;
#[cfg(test)]
mod tests;

pub use deadline::DeadlineExceeded;
pub use end::{End, OnEnd, Tracked};
pub use pace::TooSlow;

pub(crate) use pace::OnSlow;

use deadline::Deadline;
use pace::Paced;

/// The error of every body of the stack.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A request or response body of the stack.
pub struct Body {
    kind: Kind,
    hook: Option<Box<dyn OnEnd>>,
    deadline: Option<Deadline>,
}

enum Kind {
    Empty,
    Full(Bytes),
    Incoming(Incoming),
    Paced(Box<Paced>),
    /// Boxed: it is larger than all others, which are moved as often.
    Pooled(Box<Tracked<Incoming, Lease>>),
    Replay(ReplayBody),
    #[cfg(feature = "axum")]
    Axum(axum::body::Body),
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// Makes a body without data.
    #[must_use]
    pub const fn empty() -> Self {
        Self::of(Kind::Empty)
    }

    /// Makes a body of one buffer.
    pub fn full(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        Self::of(if data.is_empty() { Kind::Empty } else { Kind::Full(data) })
    }

    /// Takes any body. [`Body`], [`Incoming`] and axum's are taken as they are, others are boxed.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut slot = Some(body);
        if let Some(body) = take_as::<Self>(&mut slot) {
            return body;
        }
        if let Some(body) = take_as::<Incoming>(&mut slot) {
            return Self::from(body);
        }
        #[cfg(feature = "axum")]
        if let Some(body) = take_as::<axum::body::Body>(&mut slot) {
            return Self::of(Kind::Axum(body));
        }
        slot.map_or_else(Self::empty, |body| {
            Self::of(Kind::Boxed(body.map_err(Into::into).boxed_unsync()))
        })
    }

    /// Runs `hook` once, when this body completes, fails or is dropped.
    ///
    /// Costs one allocation. A body that is known to be at its end already runs the hook here; a second hook
    /// runs after the first.
    #[must_use]
    pub fn on_end(mut self, mut hook: impl OnEnd + 'static) -> Self {
        match self.kind.is_over() {
            true => hook.on_end(End::Complete(None)),
            false => self.hook(Box::new(hook)),
        }
        self
    }

    /// The same in place, for a hook that has its allocation.
    pub(crate) fn hook(&mut self, mut hook: Box<dyn OnEnd>) {
        if self.kind.is_over() {
            return hook.on_end(End::Complete(None));
        }
        self.hook = Some(match self.hook.take() {
            Some(first) => Box::new(end::Both(first, hook)),
            None => hook,
        });
    }

    /// Fails with [`DeadlineExceeded`] where the body has not ended at `at`, be it the server that is slow or the reader. The timer is set
    /// when data is waited for, not before.
    #[must_use]
    pub fn with_deadline(mut self, at: tokio::time::Instant) -> Self {
        self.limit(at);
        self
    }

    /// The same in place.
    pub(crate) fn limit(&mut self, at: tokio::time::Instant) {
        // What is there already waits for nothing.
        if !matches!(self.kind, Kind::Full(_)) && !self.kind.is_over() {
            self.deadline = Some(Deadline::new(at));
        }
    }

    /// The body of a request that fails with [`TooSlow`] where its reader waits for `limit` and hardly anything comes.
    pub(crate) fn paced(body: Incoming, limit: std::time::Duration, on_slow: std::sync::Arc<dyn OnSlow>) -> Self {
        if http_body::Body::is_end_stream(&body) {
            return Self::from(body);
        }
        Self::of(Kind::Paced(Box::new(Paced::new(body, limit, on_slow))))
    }

    /// The response body of a pooled connection, which goes back to its pool at the end.
    pub(crate) fn pooled(body: Incoming, lease: Lease) -> Self {
        Self::of(Kind::Pooled(Box::new(Tracked::new(body, lease))))
    }

    /// The data of a body that is known as a whole, not read yet, and has no hook.
    pub(crate) fn known(&self) -> Option<Bytes> {
        match &self.kind {
            _ if self.deadline.is_some() => None,
            Kind::Empty if self.hook.is_none() => Some(Bytes::new()),
            Kind::Full(data) if self.hook.is_none() => Some(data.clone()),
            _ => None,
        }
    }

    fn is_late(&mut self) -> bool {
        self.deadline.as_mut().is_some_and(Deadline::is_over)
    }

    /// An HTTP/2 stream is reset, an HTTP/1 connection is closed.
    fn give_up(&mut self, late: DeadlineExceeded) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.kind = Kind::Empty;
        Some(Err(late.into()))
    }

    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            hook: None,
            deadline: None,
        }
    }
}

impl Kind {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(data) => {
                let data = std::mem::take(data);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Self::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Paced(body) => {
                let polled = body.poll(cx);
                if matches!(polled, Poll::Ready(Some(Err(_)))) {
                    *self = Self::Empty;
                }
                polled
            }
            Self::Pooled(body) => Pin::new(body).poll_frame(cx),
            Self::Replay(body) => Pin::new(body).poll_frame(cx),
            #[cfg(feature = "axum")]
            Self::Axum(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Incoming(body) => body.is_end_stream(),
            Self::Paced(body) => body.is_end_stream(),
            Self::Pooled(body) => body.is_end_stream(),
            Self::Replay(body) => body.is_end_stream(),
            #[cfg(feature = "axum")]
            Self::Axum(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    /// Whether it is known to be at its end: a pooled one was looked at when it was made, and a stream of HTTP/2 takes a lock to look.
    fn is_over(&self) -> bool {
        match self {
            Self::Pooled(body) => body.is_complete(),
            body => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(data) => SizeHint::with_exact(data.len() as u64),
            Self::Incoming(body) => body.size_hint(),
            Self::Paced(body) => body.size_hint(),
            Self::Pooled(body) => body.size_hint(),
            Self::Replay(body) => body.size_hint(),
            #[cfg(feature = "axum")]
            Self::Axum(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Full(_) => "full",
            Self::Incoming(_) => "incoming",
            Self::Paced(_) => "paced",
            Self::Pooled(_) => "pooled",
            Self::Replay(_) => "replay",
            #[cfg(feature = "axum")]
            Self::Axum(_) => "axum",
            Self::Boxed(_) => "boxed",
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = match this.kind.poll(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() && this.is_late() => this.give_up(DeadlineExceeded::READER),
            Poll::Ready(polled) => polled,
            Poll::Pending => {
                if let Some(hook) = &mut this.hook {
                    hook.on_wait();
                }
                let Some(deadline) = &mut this.deadline else {
                    return Poll::Pending;
                };
                ready!(deadline.poll(cx));
                this.give_up(DeadlineExceeded::SERVER)
            }
        };
        if let (Some(hook), Some(length)) = (&mut this.hook, end::data_length(&polled)) {
            hook.on_data(length);
        }
        if this.hook.is_some()
            && let Some(end) = end::at_frame(&polled, || this.kind.is_end_stream())
            && let Some(mut hook) = this.hook.take()
        {
            hook.on_end(end);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.kind.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(mut hook) = self.hook.take() {
            hook.on_end(end::at_drop(self.kind.is_end_stream()));
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("kind", &self.kind.name())
            .field("size", &self.size_hint())
            .finish()
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        Self::of(Kind::Incoming(body))
    }
}

impl From<ReplayBody> for Body {
    fn from(body: ReplayBody) -> Self {
        Self::of(Kind::Replay(body))
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

macro_rules! from_buffer {
    ($($buffer:ty),*) => {$(
        impl From<$buffer> for Body {
            fn from(data: $buffer) -> Self {
                Self::full(data)
            }
        }
    )*};
}

from_buffer!(Bytes, String, Vec<u8>, &'static str, &'static [u8]);

/// Takes the value out of `slot` if `T` is its type.
fn take_as<T: 'static>(slot: &mut dyn Any) -> Option<T> {
    slot.downcast_mut::<Option<T>>().and_then(Option::take)
}
