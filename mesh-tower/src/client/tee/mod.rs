//! A body whose data others get, too: the copies of its request.
//!
//! The request alone asks for data. A copy gets what has passed, as it passes, so that none of them holds the request up or
//! reads ahead of it. A copy fails once more has passed than is kept for it, or when the request gives its body up.

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Body, BoxError};

#[cfg(test)]
mod tests;

/// What a copy fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body of the request was given up, or is larger than what is kept for a copy")]
struct GivenUp;

/// Gives the body of the request itself, and those of its copies: none where it is known to be larger than `cap`.
pub(super) fn split(body: Body, copies: usize, cap: usize) -> (Body, Vec<Body>) {
    if body.is_end_stream() {
        return (body, (0..copies).map(|_| Body::empty()).collect());
    }
    let hint = body.size_hint();
    if hint.lower() > cap as u64 {
        return (body, Vec::new());
    }
    if let Some(data) = body.known() {
        return (body, (0..copies).map(|_| Body::full(data.clone())).collect());
    }
    let passed = Arc::<Passed>::default();
    let follower = || Follower::new(Arc::clone(&passed), hint);
    let copies = (0..copies).map(|_| Body::new(follower())).collect();
    (Body::new(Followed { body, passed, cap }), copies)
}

/// What has passed, for those who follow.
#[derive(Default)]
struct Passed {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chunks: Vec<Bytes>,
    bytes: usize,
    end: Option<End>,
    waiting: Vec<Waker>,
}

enum End {
    Whole(Option<HeaderMap>),
    GivenUp,
}

impl Passed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who follow, unless they were told of an end.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let waiting = {
            let mut state = self.state();
            if state.end.is_some() {
                return;
            }
            change(&mut state);
            mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn end(&self, end: End) {
        self.tell(|state| state.end = Some(end));
    }
}

impl State {
    fn add(&mut self, data: &Bytes, cap: usize) {
        self.bytes += data.len();
        if self.bytes > cap {
            self.chunks = Vec::new();
            self.end = Some(End::GivenUp);
        } else if !data.is_empty() {
            self.chunks.push(data.clone());
        }
    }
}

/// The body of the request itself.
struct Followed {
    body: Body,
    passed: Arc<Passed>,
    cap: usize,
}

impl Followed {
    fn passes(&self, polled: &Option<Result<Frame<Bytes>, BoxError>>) {
        // All who followed may be gone.
        if Arc::strong_count(&self.passed) == 1 {
            return;
        }
        match polled {
            None => self.passed.end(End::Whole(None)),
            Some(Err(_)) => self.passed.end(End::GivenUp),
            Some(Ok(frame)) => self.passes_frame(frame),
        }
    }

    fn passes_frame(&self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            self.passed.end(End::Whole(Some(trailers.clone())));
        } else if let Some(data) = frame.data_ref() {
            let is_last = self.body.is_end_stream();
            self.passed.tell(|state| {
                state.add(data, self.cap);
                if is_last && state.end.is_none() {
                    state.end = Some(End::Whole(None));
                }
            });
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // Nobody need ask for the end of a body whose length is known.
        let is_over = self.body.is_end_stream() || self.body.size_hint().exact() == Some(0);
        self.passed.end(if is_over { End::Whole(None) } else { End::GivenUp });
    }
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = ready!(Pin::new(&mut this.body).poll_frame(cx));
        this.passes(&polled);
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a copy.
struct Follower {
    passed: Arc<Passed>,
    /// Chunks that it has handed on.
    chunks: usize,
    /// What is left of the body, as far as was known at first.
    left: SizeHint,
    is_over: bool,
}

impl Follower {
    const fn new(passed: Arc<Passed>, left: SizeHint) -> Self {
        Self {
            passed,
            chunks: 0,
            left,
            is_over: false,
        }
    }
}

impl http_body::Body for Follower {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let mut state = this.passed.state();
        if let Some(chunk) = state.chunks.get(this.chunks).cloned() {
            this.chunks += 1;
            this.is_over = this.chunks == state.chunks.len() && matches!(state.end, Some(End::Whole(None)));
            this.left = less(this.left, chunk.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let last = match &state.end {
            Some(End::Whole(trailers)) => trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))),
            Some(End::GivenUp) => Some(Err(GivenUp.into())),
            None => {
                if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    state.waiting.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
        };
        this.is_over = true;
        Poll::Ready(last)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_over {
            true => SizeHint::with_exact(0),
            false => self.left,
        }
    }
}

fn less(hint: SizeHint, bytes: u64) -> SizeHint {
    let mut left = SizeHint::new();
    if let Some(upper) = hint.upper() {
        left.set_upper(upper.saturating_sub(bytes));
    }
    left.set_lower(hint.lower().saturating_sub(bytes));
    left
}
