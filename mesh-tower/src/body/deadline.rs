use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

/// The error of a body that took longer than its exchange may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response did not end in time")]
pub struct DeadlineExceeded;

/// When a body has to be over.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    /// Set when data is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(super) const fn new(at: Instant) -> Self {
        Self { at, timer: None }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.at)));
        timer.as_mut().poll(cx)
    }
}
