use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

/// The error of a body that took longer than its exchange may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response did not end in time")]
#[non_exhaustive]
pub struct DeadlineExceeded {
    is_by_reader: bool,
}

impl DeadlineExceeded {
    pub(super) const SERVER: Self = Self { is_by_reader: false };
    pub(super) const READER: Self = Self { is_by_reader: true };

    /// Whether there was data still, that nobody waited for: the reader was late, or there was too much of it; the server was not
    /// silent.
    #[must_use]
    pub const fn is_by_reader(self) -> bool {
        self.is_by_reader
    }
}

/// When a body has to be over.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    /// Set when data is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether there was data.
    has_begun: bool,
}

impl Deadline {
    pub(super) const fn new(at: Instant) -> Self {
        let (timer, has_begun) = (None, false);
        Self { at, timer, has_begun }
    }

    /// Whether data comes too late that nobody has waited for: that of a server that is faster than its reader. The first of it is never
    /// late, so that a short body reads no clock.
    pub(super) fn is_over(&mut self) -> bool {
        std::mem::replace(&mut self.has_begun, true) && Instant::now() >= self.at
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.at)));
        timer.as_mut().poll(cx)
    }
}
