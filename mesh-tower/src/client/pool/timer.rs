//! Timers that a connection keeps from request to request.
//!
//! Making and cancelling a timer for each request takes the runtime's timer lock twice, for something that nearly never
//! goes off. Here a timer stays armed when its request has ended. The next one has a later limit and takes it as it is:
//! when it goes off, it is set again to the limit of whoever waits then. A connection so sets its timer once per limit,
//! not once per request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};

/// The limit was over before the future was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elapsed;

/// Where a connection keeps its timers between requests: one of HTTP/1, of HTTP/2 as many as streams were open at once.
#[derive(Debug, Default)]
pub(super) struct Timers {
    idle: Mutex<Vec<Idle>>,
    runtime: Option<runtime::Id>,
}

type Timer = Pin<Box<Sleep>>;

#[derive(Debug)]
struct Idle {
    timer: Timer,
    /// Whether it wakes the connection when it goes off, whoever has that.
    wakes_connection: bool,
}

impl Idle {
    const fn new(timer: Timer) -> Self {
        Self {
            timer,
            wakes_connection: false,
        }
    }

    /// Whether it goes off by `limit` and wakes the connection then.
    fn is_set(&self, limit: Instant) -> bool {
        self.wakes_connection && self.timer.deadline() <= limit && !self.timer.is_elapsed()
    }
}

impl Timers {
    /// With a timer of the runtime that this is called in. Requests of another runtime have timers of their own: one of the two
    /// may be gone, or nobody may drive it.
    pub(super) fn of_this_runtime() -> Self {
        let timer = Box::pin(tokio::time::sleep_until(Instant::now() + FAR));
        Self {
            idle: Mutex::new(vec![Idle::new(timer)]),
            runtime: this_runtime(),
        }
    }

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
        let mut timer = None;
        poll_fn(move |cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                self.keep(timer.take());
                return Poll::Ready(Ok(output));
            }
            let Some(limit) = limit else { return Poll::Pending };
            let (sleep, _) = timer.get_or_insert_with(|| self.take(limit));
            let polled = poll_limit(sleep.as_mut(), limit, cx);
            if polled.is_ready() {
                self.keep(timer.take());
            }
            polled.map(Err)
        })
    }

    /// The same for a request that has its connection for itself, and is polled when `waker`, the connection's, is woken. A
    /// timer that does so in time needs no look at all.
    ///
    /// # Cancel safety
    ///
    /// That of the future.
    pub(super) fn until_woken_by<F: Future>(
        &self,
        waker: &Waker,
        limit: Option<Instant>,
        mut future: Pin<&mut F>,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        let mut own: Option<Timer> = None;
        let mut has_waited = false;
        poll_fn(move |cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            let Some(limit) = limit else { return Poll::Pending };
            let has_waited = std::mem::replace(&mut has_waited, true);
            let polled = match self.poll_kept(waker, limit, has_waited) {
                Some(polled) => polled,
                None => {
                    let own = own.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(limit)));
                    poll_limit(own.as_mut(), limit, cx)
                }
            };
            polled.map(Err)
        })
    }

    /// Polls the connection's timer, in its runtime.
    fn poll_kept(&self, waker: &Waker, limit: Instant, has_waited: bool) -> Option<Poll<Elapsed>> {
        if !self.is_home() {
            return None;
        }
        let mut idle = self.idle();
        let idle = idle.last_mut()?;
        if !has_waited && idle.is_set(limit) {
            return Some(Poll::Pending);
        }
        let polled = poll_limit(idle.timer.as_mut(), limit, &mut Context::from_waker(waker));
        idle.wakes_connection = polled.is_pending();
        Some(polled)
    }

    fn is_home(&self) -> bool {
        self.runtime.is_some() && self.runtime == this_runtime()
    }

    fn keep(&self, timer: Option<(Timer, Owner)>) {
        let Some((timer, Owner::Connection)) = timer else {
            return;
        };
        let mut idle = self.idle();
        // One that is over would keep its waker, and with it a task that has ended, until somebody takes it.
        if idle.len() < MOST_KEPT && !timer.is_elapsed() {
            idle.push(Idle::new(timer));
        }
    }

    fn take(&self, limit: Instant) -> (Timer, Owner) {
        let made = || Box::pin(tokio::time::sleep_until(limit));
        if !self.is_home() {
            return (made(), Owner::Request);
        }
        let kept = self.idle().pop().map(|idle| idle.timer);
        (kept.unwrap_or_else(made), Owner::Connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn this_runtime() -> Option<runtime::Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

/// Whose a timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Connection,
    Request,
}

/// How many timers a connection of HTTP/2 keeps: as many streams as servers commonly allow at once.
const MOST_KEPT: usize = 100;

/// A timer that waits for its first request.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// Polls a timer that may be armed for another time.
fn poll_limit(mut timer: Pin<&mut Sleep>, limit: Instant, cx: &mut Context<'_>) -> Poll<Elapsed> {
    if timer.deadline() > limit {
        timer.as_mut().reset(limit);
    }
    // Whatever the task has done before: a timer that was not asked would wake nobody.
    while pin!(unconstrained(timer.as_mut())).poll(cx).is_ready() {
        if timer.deadline() == limit {
            return Poll::Ready(Elapsed);
        }
        timer.as_mut().reset(limit);
    }
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::pin::pin;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLISECOND: Duration = Duration::from_millis(1);

    async fn ends_after(timers: &Timers, limit: Duration) -> Duration {
        let start = Instant::now();
        let ended = timers.until(Some(start + limit), pin!(pending::<()>())).await;
        assert_eq!(ended, Err(Elapsed));
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_whatever_the_timer_was_set_to_before() {
        let timers = Timers::of_this_runtime();
        for limit in [3, 3, 1, 5, 2, 2] {
            assert_eq!(ends_after(&timers, limit * SECOND).await, limit * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_is_kept_and_set_again_for_who_waits() {
        let timers = Timers::of_this_runtime();
        let wait = |time| tokio::time::sleep(time);
        let limit = |time| Some(Instant::now() + time);
        assert_eq!(timers.until(limit(3 * SECOND), pin!(wait(SECOND))).await, Ok(()));
        let kept = timers.idle().last().map(|idle| idle.timer.deadline());
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
    async fn a_limit_holds_for_who_is_woken_with_the_connection() {
        let timers = Timers::of_this_runtime();
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let sleep = |time| tokio::time::sleep(time);
        for limit in [3, 3, 1, 5, 2, 2].map(|limit| limit * SECOND) {
            // It is set by a request that needs half the time, and by now wakes whoever has the connection.
            let at = Some(Instant::now() + limit);
            assert_eq!(timers.until_woken_by(&waker, at, pin!(sleep(limit / 2))).await, Ok(()));
            assert!(timers.idle().last().is_some_and(|idle| idle.wakes_connection));
            let start = Instant::now();
            let at = Some(start + limit);
            let ended = timers.until_woken_by(&waker, at, pin!(pending::<()>())).await;
            assert_eq!((ended, start.elapsed()), (Err(Elapsed), limit));
            // One that has gone off while nobody waited is set again.
            let at = Some(Instant::now() + limit);
            assert_eq!(timers.until_woken_by(&waker, at, pin!(sleep(SECOND / 2))).await, Ok(()));
            tokio::time::sleep(10 * SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_is_set_whatever_its_task_has_done_before() {
        let timers = Timers::of_this_runtime();
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let start = Instant::now();
        poll_fn(|cx| {
            while pin!(tokio::task::coop::consume_budget()).poll(cx).is_ready() {}
            let mut never = pin!(pending::<()>());
            let until = timers.until_woken_by(&waker, Some(start + 3 * SECOND), never.as_mut());
            assert!(pin!(until).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let mut never = pin!(pending::<()>());
        let until = timers.until_woken_by(&waker, Some(start + 5 * SECOND), never.as_mut());
        assert_eq!(tokio::time::timeout(100 * SECOND, until).await, Ok(Err(Elapsed)));
        assert_eq!(start.elapsed(), 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_timers_are_kept_as_streams_were_open_at_once_up_to_a_bound() {
        let timers = Timers::of_this_runtime();
        let stream = || async {
            let limit = Some(Instant::now() + 3 * SECOND);
            timers.until(limit, pin!(tokio::time::sleep(SECOND))).await
        };
        for (streams, kept) in [(1, 1), (3, 3), (2, 3), (MOST_KEPT + 5, MOST_KEPT)] {
            let ended = futures_util::future::join_all((0..streams).map(|_| stream())).await;
            assert!(ended.iter().all(Result::is_ok));
            assert_eq!(timers.idle().len(), kept, "{streams} at once");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_has_gone_off_is_not_kept() {
        let timers = Timers::of_this_runtime();
        let ends = || ends_after(&timers, SECOND);
        assert_eq!(tokio::join!(ends(), ends(), ends()), (SECOND, SECOND, SECOND));
        assert!(timers.idle().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_wait_needs_no_timer() {
        let timers = Timers::default();
        assert_eq!(timers.until(Some(Instant::now()), pin!(ready(7))).await, Ok(7));
        assert_eq!(timers.until(None, pin!(ready(7))).await, Ok(7));
        assert!(timers.idle().is_empty());
    }

    #[test]
    fn no_timer_of_another_runtime_is_kept() {
        let runtime = || runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (own, other) = (runtime(), runtime());
        let timers = own.block_on(async { Timers::of_this_runtime() });
        let wait = || async {
            let limit = Some(Instant::now() + SECOND);
            timers.until(limit, pin!(tokio::task::yield_now())).await
        };
        assert_eq!(own.block_on(wait()), Ok(()));
        // Nobody drives the first runtime now.
        let limit = || async {
            timers
                .until(Some(Instant::now() + MILLISECOND), pin!(pending::<()>()))
                .await
        };
        assert_eq!(other.block_on(limit()), Err(Elapsed));
        assert!(!timers.idle().is_empty(), "its timer was not touched");
        drop(other);
        assert_eq!(own.block_on(limit()), Err(Elapsed));
    }
}
