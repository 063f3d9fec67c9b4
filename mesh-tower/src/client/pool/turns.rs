//! Whether a request lets others of its thread go first.
//!
//! A thread that has many answers at once would read one, write the request that follows from it, then read the next. Its peer
//! gets requests one by one, each after it has waited for it, and both run through all of their code for each. Let others go
//! first, and the thread reads all that has come before it writes all that is due: the peer finds these requests together, and
//! the code of either phase stays in the cache.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use tokio::runtime::{Handle, RuntimeFlavor};

use super::state::Protocol;

#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Whether it can pay: with connections of HTTP/1 on a runtime of one thread. Threads that share their tasks would wake each other
    /// for it; a connection of HTTP/2 is written by a task of its own, so that it is so already.
    can_pay: AtomicBool,
    /// Requests that have a connection, as far as they have told.
    active: AtomicUsize,
}

impl Turns {
    /// Notes what a pool has connections of, from their own runtime.
    pub(super) fn opened(&self, protocol: Protocol) {
        let can_pay = protocol == Protocol::Http1 && has_one_thread();
        self.can_pay.store(can_pay, Ordering::Relaxed);
    }

    /// Notes how many requests have a connection: where none has, there are no others.
    pub(super) fn has_active(&self, active: usize) {
        self.active.store(active, Ordering::Relaxed);
    }

    fn pays(&self) -> bool {
        self.can_pay.load(Ordering::Relaxed) && self.active.load(Ordering::Relaxed) > 0
    }

    /// Lets what else the thread has to do go first, once.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: a request waits before it takes a connection.
    pub(super) async fn after_others(&self) {
        let mut has_waited = !self.pays();
        poll_fn(|cx| match std::mem::replace(&mut has_waited, true) {
            true => Poll::Ready(()),
            false => {
                // Not the runtime's own way to yield: that looks for events first, by a system call.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
    }
}

fn has_one_thread() -> bool {
    let flavour = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    matches!(flavour, Ok(RuntimeFlavor::CurrentThread))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;

    fn of(protocol: Protocol) -> Turns {
        let turns = Turns::default();
        turns.opened(protocol);
        turns.has_active(1);
        turns
    }

    #[tokio::test]
    async fn on_one_thread_what_is_ready_goes_first() {
        let read = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let read = Arc::clone(&read);
            tokio::spawn(async move { read.fetch_add(1, Ordering::Relaxed) });
        }
        of(Protocol::Http1).after_others().await;
        assert_eq!(read.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_request_waits_for_others_once() {
        let turns = of(Protocol::Http1);
        let mut waiting = pin!(turns.after_others());
        assert_eq!(waiting.as_mut().now_or_never(), None);
        assert_eq!(waiting.as_mut().now_or_never(), Some(()));
    }

    #[tokio::test]
    async fn nobody_waits_where_it_does_not_pay() {
        assert_eq!(of(Protocol::Http2).after_others().now_or_never(), Some(()));
        let alone = of(Protocol::Http1);
        alone.has_active(0);
        assert_eq!(alone.after_others().now_or_never(), Some(()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn threads_that_share_tasks_do_not_wait() {
        assert_eq!(of(Protocol::Http1).after_others().now_or_never(), Some(()));
    }
}
