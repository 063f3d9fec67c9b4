//! Futures that nearly always sleep, beside one that is busy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use pin_project_lite::pin_project;

pin_project! {
    /// Polls a future only after it was woken, not each time that its task is.
    ///
    /// A connection waits for policy, trust and the end of its certificate all its life, and is woken for each request:
    /// asking all of these again each time would cost more than authorization.
    ///
    /// # Cancel safety
    ///
    /// That of the future.
    pub(crate) struct Dormant<F> {
        #[pin]
        future: F,
        alarm: Arc<Alarm>,
        waker: Waker,
    }
}

/// Notes that the future was woken, and wakes its task.
struct Alarm {
    has_rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F> Dormant<F> {
    pub(crate) fn new(future: F) -> Self {
        let alarm = Arc::new(Alarm {
            // The first poll has the future say what it waits for.
            has_rung: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        let waker = Waker::from(Arc::clone(&alarm));
        Self { future, alarm, waker }
    }
}

impl<F: Future> Future for Dormant<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // ORDER: whoever rings after this wakes the task; whoever rang before it is seen below.
        this.alarm.task.register(cx.waker());
        if !this.alarm.has_rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        this.alarm.has_rung.store(false, Ordering::Release);
        this.future.poll(&mut Context::from_waker(this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::task::noop_waker;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn it_is_polled_when_it_was_woken_and_then_only() {
        let (sender, mut receiver) = oneshot::channel();
        let mut polls = 0;
        let mut dormant = Box::pin(Dormant::new(poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut receiver).poll(cx).map(Result::unwrap)
        })));
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..10 {
            assert_eq!(dormant.as_mut().poll(&mut cx), Poll::Pending);
        }
        sender.send(7).unwrap();
        assert_eq!(dormant.as_mut().poll(&mut cx), Poll::Ready(7));
        drop(dormant);
        assert_eq!(polls, 2);
    }

    #[tokio::test]
    async fn it_wakes_its_task() {
        let (sender, receiver) = oneshot::channel();
        let waiting = tokio::spawn(async { Dormant::new(receiver).await.unwrap() });
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), 7);
    }
}
