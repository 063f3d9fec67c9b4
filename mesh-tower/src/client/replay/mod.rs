//! A request body that can be sent again.
//!
//! A retry needs the body that the failed try consumed. [`ReplayBody`] hands the body on as it
//! streams and keeps what passed, up to a cap; a clone yields what was kept, then goes on with the
//! live rest. Data is kept as [`Bytes`], so nothing is copied. What does not fit the cap is not
//! kept at all, and the request is not retried: that is what [`ReplayBody::is_capped`] tells.
//!
//! A body that is known as a whole and fits the cap (most requests) needs no recording.
//!
//! One try reads at a time: the latest. From its first poll on the bodies of earlier tries fail, which
//! ends what HTTP still sends of them. A server may answer, and be given up, long before it has read all.
//!
//! ```
//! use mesh_tower::{Body, client::replay::ReplayBody};
//!
//! let first = ReplayBody::new(Body::from("order"), ReplayBody::DEFAULT_CAP);
//! let second = first.try_clone().expect("five bytes fit");
//! assert!(!second.is_capped());
//! let request = http::Request::new(Body::from(first));
//! # drop(request);
//! ```
//!
//! After linkerd2-proxy's `ReplayBody`, whose tests the tests here re-express.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Body, BoxError};

#[cfg(test)]
mod tests;

/// Why a body can't be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// More was sent than is kept.
    #[error("request body is larger than what is kept for a retry")]
    Capped,
    /// The caller's body failed while it was sent before.
    #[error("request body failed while it was first sent")]
    Failed,
    /// A later try sends it.
    #[error("request body is sent by a later try")]
    Superseded,
}

/// A request body that keeps what it hands on, for another try.
pub struct ReplayBody {
    inner: Inner,
}

enum Inner {
    Known(Bytes, Progress),
    /// Declared larger than the cap: nothing is kept.
    Passing(Box<Body>),
    Recorded(Reader),
}

/// One try's view of a body that is recorded.
struct Reader {
    shared: Arc<Shared>,
    /// Its place among the clones: later ones come first.
    number: u32,
    /// Whether it has had the recording.
    has_begun: bool,
    /// Kept chunks that this reader has handed on.
    chunks: usize,
    bytes: u64,
    progress: Progress,
}

#[derive(PartialEq, Eq)]
enum Progress {
    Open,
    Finished,
}

/// What all tries of a request have in common.
struct Shared {
    slot: Mutex<Slot>,
    capped: AtomicBool,
    clones: AtomicU32,
    cap: usize,
    hint: SizeHint,
    is_empty: bool,
}

/// The recording, and who reads it.
struct Slot {
    /// Absent while somebody looks at it.
    recording: Option<Box<Recording>>,
    /// The number of who reads; earlier ones do no more.
    reader: u32,
    /// Wakes who reads and waits for data.
    reading: Option<Waker>,
    /// Those who have found somebody looking.
    waiters: Vec<Waker>,
}

struct Recording {
    chunks: Vec<Bytes>,
    bytes: u64,
    trailers: Option<HeaderMap>,
    rest: Rest,
}

enum Rest {
    Live(Body),
    Done,
    Failed,
}

impl ReplayBody {
    /// How much is kept of a body unless a policy says otherwise: 64 KiB, as Linkerd does.
    pub const DEFAULT_CAP: usize = 64 * 1024;

    /// Makes `body` replayable as long as it has at most `cap` bytes.
    #[must_use]
    pub fn new(body: Body, cap: usize) -> Self {
        let inner = match body.known() {
            Some(data) if data.len() <= cap => Inner::Known(data, Progress::Open),
            _ if body.size_hint().lower() > cap as u64 => Inner::Passing(Box::new(body)),
            _ => Inner::Recorded(Reader::first(body, cap)),
        };
        Self { inner }
    }

    /// Makes the body of the next try, or `None` when this one is capped already.
    ///
    /// The clone may be made before the first try: whether it can be sent is known after it, by
    /// [`Self::is_capped`].
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        let inner = match &self.inner {
            _ if self.is_capped() => return None,
            Inner::Known(data, _) => Inner::Known(data.clone(), Progress::Open),
            Inner::Passing(_) => return None,
            Inner::Recorded(reader) => Inner::Recorded(Reader::next(&reader.shared)),
        };
        Some(Self { inner })
    }

    /// Has the bodies of earlier tries fail from now on, not only from the first poll of this one. `false` where this one is
    /// capped: then nothing changes.
    pub(crate) fn take_over(&self) -> bool {
        match &self.inner {
            Inner::Recorded(reader) => reader.shared.advance(reader.number),
            _ => !self.is_capped(),
        }
    }

    /// Whether the body turned out larger than the cap, so that no further try can send it.
    #[must_use]
    pub fn is_capped(&self) -> bool {
        match &self.inner {
            Inner::Known(..) => false,
            Inner::Passing(_) => true,
            Inner::Recorded(reader) => reader.shared.is_capped(),
        }
    }
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_capped(&self) -> bool {
        self.capped.load(Ordering::Acquire)
    }

    /// Gives the recording back; `reading` is woken when another try takes over.
    fn give_back(&self, recording: Box<Recording>, reading: Option<&Waker>) {
        let waiters = {
            let mut slot = self.slot();
            slot.recording = Some(recording);
            if let Some(waker) = reading {
                slot.reads(waker);
            }
            std::mem::take(&mut slot.waiters)
        };
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Makes this one the reader. `false` where the body is capped.
    fn advance(&self, number: u32) -> bool {
        let superseded = {
            let mut slot = self.slot();
            if self.is_capped() {
                return false;
            }
            slot.advance(number)
        };
        if let Some(superseded) = superseded {
            superseded.wake();
        }
        true
    }
}

impl Slot {
    /// Makes this one the reader, if it is not; returns whom to tell.
    fn advance(&mut self, number: u32) -> Option<Waker> {
        if self.reader >= number {
            return None;
        }
        self.reader = number;
        self.reading.take()
    }

    fn reads(&mut self, waker: &Waker) {
        match &mut self.reading {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

impl Reader {
    fn first(body: Body, cap: usize) -> Self {
        let hint = body.size_hint();
        let is_empty = body.is_end_stream();
        let rest = if is_empty { Rest::Done } else { Rest::Live(body) };
        let recording = Recording {
            chunks: Vec::new(),
            bytes: 0,
            trailers: None,
            rest,
        };
        let slot = Slot {
            recording: Some(Box::new(recording)),
            reader: 0,
            reading: None,
            waiters: Vec::new(),
        };
        Self::next(&Arc::new(Shared {
            slot: Mutex::new(slot),
            capped: AtomicBool::new(false),
            clones: AtomicU32::new(0),
            cap,
            hint,
            is_empty,
        }))
    }

    fn next(shared: &Arc<Shared>) -> Self {
        Self {
            number: shared.clones.fetch_add(1, Ordering::Relaxed),
            shared: Arc::clone(shared),
            has_begun: false,
            chunks: 0,
            bytes: 0,
            progress: Progress::Open,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.progress == Progress::Finished {
            return Poll::Ready(None);
        }
        let mut recording = match ready!(self.poll_acquire(cx)) {
            Ok(recording) => recording,
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        self.has_begun = true;
        let polled = self.poll_recording(&mut recording, cx);
        if self.is_at_end(&recording) {
            self.progress = Progress::Finished;
        }
        self.shared
            .give_back(recording, polled.is_pending().then(|| cx.waker()));
        polled
    }

    fn poll_acquire(&self, cx: &mut Context<'_>) -> Poll<Result<Box<Recording>, ReplayError>> {
        if !self.has_begun && !self.shared.advance(self.number) {
            return Poll::Ready(Err(ReplayError::Capped));
        }
        let mut slot = self.shared.slot();
        if slot.reader > self.number {
            return Poll::Ready(Err(ReplayError::Superseded));
        }
        match slot.recording.take() {
            // Who looked at it meanwhile may have found that it is too large.
            Some(recording) if !self.has_begun && self.shared.is_capped() => {
                slot.recording = Some(recording);
                Poll::Ready(Err(ReplayError::Capped))
            }
            Some(recording) => Poll::Ready(Ok(recording)),
            None => {
                slot.waiters.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_recording(
        &mut self,
        recording: &mut Recording,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(chunk) = recording.chunks.get(self.chunks) {
            self.chunks += 1;
            self.bytes += chunk.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        match &mut recording.rest {
            Rest::Live(body) => {
                let polled = ready!(Pin::new(body).poll_frame(cx));
                self.keep(recording, &polled);
                Poll::Ready(polled)
            }
            Rest::Done => {
                self.progress = Progress::Finished;
                let trailers = recording.trailers.clone();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Rest::Failed => Poll::Ready(Some(Err(ReplayError::Failed.into()))),
        }
    }

    /// Keeps what the live body has just yielded.
    fn keep(&mut self, recording: &mut Recording, polled: &Option<Result<Frame<Bytes>, BoxError>>) {
        match polled {
            None => recording.rest = Rest::Done,
            Some(Err(_)) => recording.rest = Rest::Failed,
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.progress = Progress::Finished;
                    recording.trailers = Some(trailers.clone());
                    recording.rest = Rest::Done;
                } else if let Some(data) = frame.data_ref() {
                    self.keep_data(recording, data);
                }
            }
        }
        if let Rest::Live(body) = &recording.rest
            && body.is_end_stream()
        {
            recording.rest = Rest::Done;
        }
    }

    fn keep_data(&mut self, recording: &mut Recording, data: &Bytes) {
        if data.is_empty() || self.shared.is_capped() {
            return;
        }
        recording.bytes += data.len() as u64;
        if recording.bytes > self.shared.cap as u64 {
            self.shared.capped.store(true, Ordering::Release);
            recording.chunks = Vec::new();
            recording.bytes = 0;
            (self.chunks, self.bytes) = (0, 0);
            return;
        }
        recording.chunks.push(data.clone());
        self.chunks += 1;
        self.bytes += data.len() as u64;
    }

    fn is_at_end(&self, recording: &Recording) -> bool {
        self.progress == Progress::Finished
            || self.chunks >= recording.chunks.len()
                && recording.trailers.is_none()
                && matches!(recording.rest, Rest::Done)
    }

    fn is_end_stream(&self) -> bool {
        self.progress == Progress::Finished || self.shared.is_empty
    }

    fn size_hint(&self) -> SizeHint {
        if self.progress == Progress::Finished {
            return SizeHint::with_exact(0);
        }
        let slot = self.shared.slot();
        let Some(recording) = slot.recording.as_ref().filter(|_| self.has_begun) else {
            return self.shared.hint;
        };
        let kept = recording.bytes.saturating_sub(self.bytes);
        let rest = match &recording.rest {
            Rest::Live(body) => body.size_hint(),
            Rest::Done | Rest::Failed => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint.set_lower(rest.lower().saturating_add(kept));
        hint
    }
}

impl http_body::Body for ReplayBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().inner {
            Inner::Known(data, progress) if *progress == Progress::Open && !data.is_empty() => {
                *progress = Progress::Finished;
                Poll::Ready(Some(Ok(Frame::data(data.clone()))))
            }
            Inner::Known(..) => Poll::Ready(None),
            Inner::Passing(body) => Pin::new(&mut **body).poll_frame(cx),
            Inner::Recorded(reader) => reader.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Known(data, progress) => data.is_empty() || *progress == Progress::Finished,
            Inner::Passing(body) => body.is_end_stream(),
            Inner::Recorded(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Known(data, Progress::Open) => SizeHint::with_exact(data.len() as u64),
            Inner::Known(_, Progress::Finished) => SizeHint::with_exact(0),
            Inner::Passing(body) => body.size_hint(),
            Inner::Recorded(reader) => reader.size_hint(),
        }
    }
}

impl fmt::Debug for ReplayBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody")
            .field("size", &self.size_hint())
            .field("is_capped", &self.is_capped())
            .finish()
    }
}
