//! Futures that nearly always sleep, beside one that is busy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

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
        // Of the task that polled it last: mostly the only one.
        alarm: Option<(Arc<Alarm>, Waker)>,
    }
}

/// Notes that the future was woken, and wakes its task.
struct Alarm {
    has_rung: AtomicBool,
    task: Waker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDER: either the next poll sees this, or this sees that poll begun, whose task is woken again.
        self.has_rung.swap(true, Ordering::AcqRel);
        self.task.wake_by_ref();
    }
}

/// An alarm for a task, and the waker that rings it.
fn alarm_of(task: &Waker) -> (Arc<Alarm>, Waker) {
    let alarm = Arc::new(Alarm {
        // The first poll has the future say what it waits for.
        has_rung: AtomicBool::new(true),
        task: task.clone(),
    });
    let waker = Waker::from(Arc::clone(&alarm));
    (alarm, waker)
}

impl<F> Dormant<F> {
    pub(crate) const fn new(future: F) -> Self {
        Self { future, alarm: None }
    }
}

impl<F: Future> Future for Dormant<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this
            .alarm
            .as_ref()
            .is_some_and(|(alarm, _)| !alarm.task.will_wake(cx.waker()))
        {
            *this.alarm = None;
        }
        let (alarm, waker) = this.alarm.get_or_insert_with(|| alarm_of(cx.waker()));
        // ORDER: exchanged, not only read: see the alarm.
        if !alarm.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        this.future.poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

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

    #[test]
    fn whoever_polls_it_last_is_woken() {
        let (sender, receiver) = oneshot::channel();
        let mut dormant = pin!(Dormant::new(receiver));
        let (first, second) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        for task in [&first, &second] {
            let waker = Waker::from(Arc::clone(task));
            assert!(dormant.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        sender.send(7).unwrap();
        assert_eq!(
            [&first, &second].map(|task| task.0.load(Ordering::Relaxed)),
            [false, true]
        );
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
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
