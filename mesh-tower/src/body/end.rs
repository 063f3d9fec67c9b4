use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::BoxError;

/// How a body came to its end.
///
/// Complete: a body ends in one of these three ways and no other.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// Every byte was handed on; the trailers, if the peer sent some.
    Complete(Option<&'a HeaderMap>),
    /// The body failed before its end.
    Failed(&'a BoxError),
    /// Whoever read the body stopped before its end.
    Dropped,
}

/// What settles when a body ends: permits, in-flight counts, latency, the status of a gRPC call.
///
/// It is called exactly once for each body, then dropped. It runs inside `poll` or `drop`, so it
/// must neither block nor panic.
pub trait OnEnd: Send {
    /// Settles.
    fn on_end(&mut self, end: End<'_>);

    /// Hears of every chunk of data that is handed on. Does nothing by default.
    fn on_data(&mut self, length: usize) {
        let _ = length;
    }

    /// Hears that the reader waits for data: all that was handed on is taken. Does nothing by default.
    fn on_wait(&mut self) {}
}

impl<T: OnEnd + ?Sized> OnEnd for Box<T> {
    fn on_end(&mut self, end: End<'_>) {
        (**self).on_end(end);
    }

    fn on_data(&mut self, length: usize) {
        (**self).on_data(length);
    }

    fn on_wait(&mut self) {
        (**self).on_wait();
    }
}

/// Two hooks of one body; the one that was attached first runs first.
pub(super) struct Both(pub(super) Box<dyn OnEnd>, pub(super) Box<dyn OnEnd>);

impl OnEnd for Both {
    fn on_end(&mut self, end: End<'_>) {
        self.0.on_end(end);
        self.1.on_end(end);
    }

    fn on_data(&mut self, length: usize) {
        self.0.on_data(length);
        self.1.on_data(length);
    }

    fn on_wait(&mut self) {
        self.0.on_wait();
        self.1.on_wait();
    }
}

pin_project! {
    /// A body with a hook that runs once, when the body completes, fails or is dropped.
    ///
    /// For bodies of any type, without allocating. A [`super::Body`] carries hooks itself
    /// ([`super::Body::on_end`]) and stays nameable.
    pub struct Tracked<B, G>
    where
        B: Body,
        G: OnEnd,
    {
        #[pin]
        body: B,
        hook: Option<G>,
        // It has come to its end, and its hook was told so.
        is_complete: bool,
    }

    impl<B: Body, G: OnEnd> PinnedDrop for Tracked<B, G> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(hook) = this.hook {
                hook.on_end(at_drop(this.body.is_end_stream()));
            }
        }
    }
}

impl<B: Body, G: OnEnd> Tracked<B, G> {
    /// Attaches `hook`. A body that is at its end already settles here.
    pub fn new(body: B, mut hook: G) -> Self {
        let is_complete = body.is_end_stream();
        if is_complete {
            hook.on_end(End::Complete(None));
        }
        Self {
            body,
            hook: (!is_complete).then_some(hook),
            is_complete,
        }
    }

    /// Whether its hook was told that it has come to its end.
    pub(super) const fn is_complete(&self) -> bool {
        self.is_complete
    }
}

impl<B, G> Body for Tracked<B, G>
where
    B: Body,
    B::Error: Into<BoxError>,
    G: OnEnd,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Poll::Ready(polled) = this.body.as_mut().poll_frame(cx) else {
            if let Some(hook) = this.hook.as_mut() {
                hook.on_wait();
            }
            return Poll::Pending;
        };
        let polled = polled.map(|frame| frame.map_err(Into::into));
        if let (Some(hook), Some(length)) = (this.hook.as_mut(), data_length(&polled)) {
            hook.on_data(length);
        }
        if this.hook.is_some()
            && let Some(end) = at_frame(&polled, || this.body.is_end_stream())
            && let Some(mut hook) = this.hook.take()
        {
            *this.is_complete = matches!(end, End::Complete(_));
            hook.on_end(end);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.is_complete || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body + fmt::Debug, G: OnEnd> fmt::Debug for Tracked<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settled = self.hook.is_none();
        f.debug_struct("Tracked")
            .field("body", &self.body)
            .field("settled", &settled)
            .finish()
    }
}

/// Whether what was polled is the end. Trailers are the last frame, and a reader that asks
/// `is_end_stream` does not poll again after the last data frame.
pub(super) fn at_frame<D>(
    polled: &Option<Result<Frame<D>, BoxError>>,
    has_ended: impl FnOnce() -> bool,
) -> Option<End<'_>> {
    match polled {
        None => Some(End::Complete(None)),
        Some(Err(error)) => Some(End::Failed(error)),
        Some(Ok(frame)) => match frame.trailers_ref() {
            Some(trailers) => Some(End::Complete(Some(trailers))),
            None => has_ended().then_some(End::Complete(None)),
        },
    }
}

/// How much data was polled, if any was.
pub(super) fn data_length<D: bytes::Buf>(polled: &Option<Result<Frame<D>, BoxError>>) -> Option<usize> {
    let frame = polled.as_ref()?.as_ref().ok()?;
    frame.data_ref().map(bytes::Buf::remaining)
}

/// What a body that is dropped came to. An HTTP/2 peer may end a stream with an empty frame after
/// the last byte, so a body can be at its end without having been polled again.
pub(super) fn at_drop(ended: bool) -> End<'static> {
    if ended { End::Complete(None) } else { End::Dropped }
}
