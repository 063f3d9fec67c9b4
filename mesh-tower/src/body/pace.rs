use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::BoxError;

/// The least that has to come in the time that a reader may be kept waiting, in bytes: two a second, by the default.
const LEAST: usize = 64;

/// The error of a request's body that kept its reader waiting for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body came too slowly: fewer than {LEAST} bytes in {limit:?} of waiting")]
pub struct TooSlow {
    limit: Duration,
}

/// What hears of a body that came too slowly.
pub(crate) trait OnSlow: Send + Sync {
    fn too_slow(&self);
}

/// A body whose sender has to keep up. Only time that its reader waits counts: a slow reader is not the sender's fault.
pub(super) struct Paced {
    body: Incoming,
    limit: Duration,
    /// How long the reader has waited for the bytes of this round.
    waited: Duration,
    waiting_since: Option<Instant>,
    bytes: usize,
    timer: Option<Pin<Box<Sleep>>>,
    on_slow: std::sync::Arc<dyn OnSlow>,
}

impl Paced {
    pub(super) fn new(body: Incoming, limit: Duration, on_slow: std::sync::Arc<dyn OnSlow>) -> Self {
        Self {
            body,
            limit,
            waited: Duration::ZERO,
            waiting_since: None,
            bytes: 0,
            timer: None,
            on_slow,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(polled) = Pin::new(&mut self.body).poll_frame(cx) {
            self.moved(&polled);
            return Poll::Ready(polled.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.poll_timer(cx));
        self.on_slow.too_slow();
        Poll::Ready(Some(Err(TooSlow { limit: self.limit }.into())))
    }

    fn moved(&mut self, polled: &Option<Result<Frame<Bytes>, hyper::Error>>) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        let data = polled.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        self.bytes += data.map_or(0, Buf::remaining);
        if self.bytes >= LEAST {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let begins = self.waiting_since.is_none();
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let at = since + self.limit.saturating_sub(self.waited);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if begins {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
