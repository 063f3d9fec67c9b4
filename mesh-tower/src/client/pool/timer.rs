//! A timer that a connection keeps from request to request.
//!
//! Making and cancelling a timer for each request takes the runtime's timer lock twice, for something that nearly never
//! goes off. Here a timer stays armed when its request has ended. The next one has a later limit and takes it as it is:
//! when it goes off, it is set again to the limit of whoever waits then. A connection so sets its timer once per limit,
//! not once per request.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

/// The limit was over before the future was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elapsed;

/// Where a connection keeps its timer between requests.
#[derive(Debug, Default)]
pub(super) struct Timers {
    idle: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl Timers {
    /// Runs a future until `limit`, if there is one.
    ///
    /// # Cancel safety
    ///
    /// That of the future.
    pub(super) fn until<F: Future>(
        &self,
        limit: Option<Instant>,
        mut future: Pin<&mut F>,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(move |cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                if let Some(timer) = timer.take() {
                    self.keep(timer);
                }
                return Poll::Ready(Ok(output));
            }
            let Some(limit) = limit else { return Poll::Pending };
            let timer = timer.get_or_insert_with(|| self.take(limit));
            poll_limit(timer.as_mut(), limit, cx).map(Err)
        })
    }

    fn keep(&self, timer: Pin<Box<Sleep>>) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
    }

    fn take(&self, limit: Instant) -> Pin<Box<Sleep>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        idle.unwrap_or_else(|| Box::pin(tokio::time::sleep_until(limit)))
    }
}

/// Polls a timer that may be armed for another time.
fn poll_limit(mut timer: Pin<&mut Sleep>, limit: Instant, cx: &mut Context<'_>) -> Poll<Elapsed> {
    if timer.deadline() > limit {
        timer.as_mut().reset(limit);
    }
    while timer.as_mut().poll(cx).is_ready() {
        if timer.deadline() == limit {
            return Poll::Ready(Elapsed);
        }
        timer.as_mut().reset(limit);
    }
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn ends_after(timers: &Timers, limit: Duration) -> Duration {
        let start = Instant::now();
        let ended = timers.until(Some(start + limit), pin!(pending::<()>())).await;
        assert_eq!(ended, Err(Elapsed));
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_whatever_the_timer_was_set_to_before() {
        let timers = Timers::default();
        for limit in [3, 3, 1, 5, 2, 2] {
            assert_eq!(ends_after(&timers, limit * SECOND).await, limit * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_is_kept_and_set_again_for_who_waits() {
        let timers = Timers::default();
        let wait = |time| tokio::time::sleep(time);
        let limit = |time| Some(Instant::now() + time);
        assert_eq!(timers.until(limit(3 * SECOND), pin!(wait(SECOND))).await, Ok(()));
        let kept = timers.idle.lock().unwrap().as_ref().map(|timer| timer.deadline());
        assert_eq!(kept, Some(Instant::now() + 2 * SECOND), "it goes on");
        // Goes off after two seconds, for nobody.
        assert_eq!(ends_after(&timers, 3 * SECOND).await, 3 * SECOND);
        wait(10 * SECOND).await;
        assert_eq!(
            ends_after(&timers, SECOND).await,
            SECOND,
            "a timer that is over is set again"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_wait_needs_no_timer() {
        let timers = Timers::default();
        assert_eq!(timers.until(Some(Instant::now()), pin!(ready(7))).await, Ok(7));
        assert_eq!(timers.until(None, pin!(ready(7))).await, Ok(7));
        assert!(timers.idle.lock().unwrap().is_none());
    }
}
