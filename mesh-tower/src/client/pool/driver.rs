//! Who drives an HTTP/1 connection: the task that made it, or the request that has it.
//!
//! A connection of hyper is a future; it reads and writes when it is polled. With a task of its own, each request waits for
//! two switches to it and back: one to be written, one to have its answer read. A request therefore polls the connection
//! itself until the head of its answer is there, which mostly is when all of the answer is. The task has it at all other
//! times: to see an idle one end, and to move bodies that are still under way.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::Body as _;
use hyper::body::Incoming;

/// A connection as hyper gives it, whose type has no name.
pub(super) type Driven = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

thread_local! {
    /// Whether this thread takes the body of an answer that is all there: that rings for its next part, and there is none.
    static IS_READING: Cell<bool> = const { Cell::new(false) };
}

/// Sets [`IS_READING`] for as long as it lives.
struct Reading;

impl Reading {
    fn begin() -> Self {
        IS_READING.set(true);
        Self
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        IS_READING.set(false);
    }
}

/// What polls a connection, and whom it wakes.
pub(super) struct Driver {
    slot: Mutex<Slot>,
    bell: Arc<Bell>,
    /// Rings the bell. It is the only waker that the connection ever sees, so that a change of hands costs no registration.
    waker: Waker,
}

#[derive(Default)]
enum Slot {
    /// Not made yet, or told to be over.
    #[default]
    Empty,
    Driven(Driven),
    /// How it has ended, for the task.
    Ended(hyper::Result<()>),
}

/// Wakes whoever has the connection.
#[derive(Default)]
struct Bell {
    is_lent: AtomicBool,
    has_rung: AtomicBool,
    task: AtomicWaker,
    request: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if IS_READING.get() {
            return;
        }
        // ORDER: against the drop of `Lent`: either that sees the bell rung, or this sees the connection returned.
        self.has_rung.store(true, Ordering::SeqCst);
        match self.is_lent.load(Ordering::SeqCst) {
            true => self.request.wake(),
            false => self.task.wake(),
        }
    }
}

impl Default for Driver {
    fn default() -> Self {
        let bell = Arc::<Bell>::default();
        Self {
            slot: Mutex::default(),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }
}

impl Driver {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives a connection to its end, by the task that calls this. `look` is called after each look at it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(super) async fn run(&self, driven: Driven, mut look: impl FnMut(&mut Context<'_>)) -> hyper::Result<()> {
        *self.slot() = Slot::Driven(driven);
        let _closing = Closing(self);
        poll_fn(|cx| {
            let polled = self.poll_task(cx);
            if polled.is_pending() {
                look(cx);
            }
            polled
        })
        .await
    }

    fn poll_task(&self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.bell.task.register(cx.waker());
        let mut slot = self.slot();
        match &mut *slot {
            Slot::Driven(_) if self.bell.is_lent.load(Ordering::SeqCst) => Poll::Pending,
            Slot::Driven(driven) => {
                let polled = driven.as_mut().poll(&mut Context::from_waker(&self.waker));
                if polled.is_ready() {
                    // Nobody polls it again. The socket's end is told to the pool, which has locks of its own.
                    let over = std::mem::take(&mut *slot);
                    drop(slot);
                    drop(over);
                }
                polled
            }
            Slot::Ended(_) => match std::mem::take(&mut *slot) {
                Slot::Ended(ended) => Poll::Ready(ended),
                _ => Poll::Ready(Ok(())),
            },
            Slot::Empty => Poll::Ready(Ok(())),
        }
    }

    /// Has the task look at the connection, whoever has it: it is to end even where its request is not polled.
    ///
    /// INVARIANT: only once the switch is cut. The next look ends the connection, which its request is told of; of anything
    /// else it would not hear.
    pub(super) fn call_back(&self) {
        {
            let _slot = self.slot();
            self.bell.is_lent.store(false, Ordering::SeqCst);
        }
        self.bell.task.wake();
        self.bell.request.wake();
    }

    /// Wakes whoever has the connection.
    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Lends the connection to the request that has its sender, from before that sends.
    pub(super) fn lend(&self) -> Lent<'_> {
        // ORDER: under the lock, so that the task is not polling, and will not until this is over.
        let _slot = self.slot();
        self.bell.is_lent.store(true, Ordering::SeqCst);
        Lent {
            driver: self,
            is_settled: false,
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Closes the connection when its task ends, and tells a request that still has it.
struct Closing<'a>(&'a Driver);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let slot = std::mem::take(&mut *self.0.slot());
        drop(slot);
        self.0.bell.request.wake();
    }
}

/// A connection in the hands of a request. Dropped, it goes back to its task, which sees what has become of the request.
pub(super) struct Lent<'a> {
    driver: &'a Driver,
    is_settled: bool,
}

impl Lent<'_> {
    /// Drives the connection until the head of the answer, which `sending` waits for, is there.
    pub(super) fn until<F: Future>(&self, mut sending: Pin<&mut F>) -> impl Future<Output = F::Output> {
        poll_fn(move |cx| {
            self.poll(cx);
            // What it waits for comes out of the connection, which was polled just now.
            sending.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
    }

    fn poll(&self, cx: &Context<'_>) {
        let bell = &self.driver.bell;
        bell.request.register(cx.waker());
        bell.has_rung.store(false, Ordering::SeqCst);
        let mut slot = self.driver.slot();
        let Slot::Driven(driven) = &mut *slot else { return };
        if let Poll::Ready(ended) = driven.as_mut().poll(&mut Context::from_waker(&self.driver.waker)) {
            let over = std::mem::replace(&mut *slot, Slot::Ended(ended));
            // The socket's end is told to the pool, which has locks of its own.
            drop(slot);
            drop(over);
        }
    }

    /// Takes the body of an answer that is all there, as far as its length is known, and gives the connection back: its
    /// task need not look at it before something happens. `None` leaves the body to be read as it comes.
    ///
    /// # Errors
    ///
    /// A body that is not as long as its head says.
    pub(super) fn whole(mut self, body: &mut Incoming) -> Result<Option<Bytes>, Truncated> {
        let Some(length) = body.size_hint().exact() else {
            return Ok(None);
        };
        if body.is_end_stream() {
            self.is_settled = true;
            return Ok(Some(Bytes::new()));
        }
        let polled = {
            let _reading = Reading::begin();
            Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop()))
        };
        self.is_settled = true;
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().ok().filter(|data| data.len() as u64 == length);
                data.map(Some).ok_or(Truncated)
            }
            _ => Err(Truncated),
        }
    }
}

/// An answer's body is not what its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Truncated;

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let bell = &self.driver.bell;
        bell.is_lent.store(false, Ordering::SeqCst);
        drop(bell.request.take());
        if !self.is_settled || bell.has_rung.load(Ordering::SeqCst) {
            bell.task.wake();
        }
    }
}
