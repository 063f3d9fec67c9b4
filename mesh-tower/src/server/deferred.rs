//! Requests that are judged when they are polled: in the task, the span and the scopes that they run in.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::stack::Answered;
use crate::body::Body;

/// What serves a request.
pub(super) trait Begin<E> {
    fn begin(self) -> Answered<E>;
}

pin_project! {
    /// The answer to a request that nobody has looked at before this is polled.
    pub(super) struct Deferred<B, E> {
        // Taken with the first poll.
        begin: Option<B>,
        answered: Option<Answered<E>>,
    }
}

impl<B, E> Deferred<B, E> {
    pub(super) const fn new(begin: B) -> Self {
        Self {
            begin: Some(begin),
            answered: None,
        }
    }
}

impl<B: Begin<E>, E> Future for Deferred<B, E> {
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(begin) = this.begin.take() {
            *this.answered = Some(begin.begin());
        }
        // INVARIANT: the first poll begins.
        let Some(answered) = this.answered else {
            return Poll::Pending;
        };
        let answer = ready!(answered.as_mut().poll(cx));
        *this.answered = None;
        Poll::Ready(answer)
    }
}
