//! The access log: one line for each request, in Istio's text format or as JSON with Istio's field names.
//!
//! A request hands over a small owned record; a thread of its own formats and writes it. The queue
//! between them is bounded: where it is full, or where writing fails, the line is lost and counted
//! (`mesh_access_log_dropped_total`). Lines are written together: a tenth of a second after the first of them, sooner where
//! many wait, at once from the shutdown of the mesh on. Without a log nothing is recorded at all.
//!
//! Whatever a client can choose is escaped, so that no request can forge a line.
//!
//! The same record goes out as a `tracing` event of the target `mesh::access`, where a subscriber
//! wants it (`RUST_LOG=mesh::access=info`).
//!
//! ```
//! use mesh_tower::telemetry::access_log::{AccessLogger, AccessRecord};
//! use mesh_tower::telemetry::metrics::{Metrics, Reporter};
//! # use mesh_core::policy::model::{AccessLog, AccessLogEncoding};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("access.log").to_string_lossy().into_owned();
//! let log = AccessLogger::new(&Metrics::default());
//! log.apply(Some(&AccessLog::new(path.clone(), AccessLogEncoding::Text)))?;
//!
//! log.record(|| {
//!     let mut record = AccessRecord::new(Reporter::Source, http::Method::GET, "/orders");
//!     record.response_code = 200;
//!     record
//! });
//! log.close();
//! assert!(std::fs::read_to_string(path)?.contains("\"GET /orders HTTP/1.1\" 200 -"));
//! # Ok::<_, std::io::Error>(())
//! ```

mod event;
mod format;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mesh_core::decide::shape::hits;
use mesh_core::policy::model::AccessLog;
use mesh_core::policy::model::filter::Fraction;
use mesh_core::random::Rng;
use metrics::Counter;

pub use record::{AccessRecord, Text};

use super::metrics::Metrics;
use writer::Writer;

/// How many lines wait for the writer at most.
const QUEUE: usize = 4_096;
/// How long a line waits for others, unless there are many. A thread that is woken for each of them costs the requests
/// that wake it more than the lines do.
const GATHER: Duration = Duration::from_millis(100);
/// How long the end of the mesh waits for what is queued.
const LAST: Duration = Duration::from_secs(1);

/// Who reads the record of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    None,
    /// A subscriber, which gets all of them.
    Subscriber,
    /// The log as well.
    Log,
}

/// Takes the records of requests. Clones write to the same log.
#[derive(Clone)]
pub struct AccessLogger {
    inner: Arc<Inner>,
}

struct Inner {
    writer: ArcSwapOption<Writer>,
    /// The share of requests that the writer gets, in millionths.
    share: AtomicU32,
    dropped: Counter,
}

impl std::fmt::Debug for AccessLogger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLogger")
            .field("writer", &*self.inner.writer.load())
            .finish_non_exhaustive()
    }
}

impl AccessLogger {
    /// A logger that writes nowhere until [`AccessLogger::apply`] says where to. Lost lines are counted in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            inner: Arc::new(Inner {
                writer: ArcSwapOption::empty(),
                share: AtomicU32::new(0),
                dropped: metrics.access_log_dropped(),
            }),
        }
    }

    /// Puts the policy's setting in force. The same setting again changes nothing; lines that wait are still
    /// written where they were meant to go.
    ///
    /// Opens the file: call it off the request path.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened for appending. The log that was in force stays so: telemetry fails open.
    pub fn apply(&self, setting: Option<&AccessLog>) -> io::Result<()> {
        let current = self.inner.writer.load();
        if current.as_ref().map(|writer| writer.setting()) == setting {
            return Ok(());
        }
        let writer = match setting {
            Some(setting) => Some(Arc::new(Writer::start(
                setting.clone(),
                QUEUE,
                GATHER,
                self.inner.dropped.clone(),
            )?)),
            None => None,
        };
        self.inner.writer.store(writer);
        let share = setting.map_or(0, |setting| setting.share.millionths());
        self.inner.share.store(share, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a record would be written anywhere.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.inner.writer.load().is_some() || event::is_enabled()
    }

    /// Who reads the record of a request that begins now.
    pub(crate) fn readers(&self, rng: &mut (impl Rng + ?Sized)) -> Readers {
        let share = Fraction::from_millionths(self.inner.share.load(Ordering::Relaxed));
        match hits(share, rng) {
            true => Readers::Log,
            false if event::is_enabled() => Readers::Subscriber,
            false => Readers::None,
        }
    }

    /// Hands over the record of a request. `make` is called only where somebody wants the record, and may have none; never
    /// waits.
    pub fn record<R: Into<Option<AccessRecord>>>(&self, make: impl FnOnce() -> R) {
        let writer = self.inner.writer.load();
        let event = event::is_enabled();
        if writer.is_none() && !event {
            return;
        }
        let Some(record) = make().into() else { return };
        if event {
            event::emit(&record);
        }
        if let Some(writer) = &*writer
            && record.is_sampled
            && !writer.offer(record)
        {
            self.inner.dropped.increment(1);
        }
    }

    /// Ends the log and waits until the lines that were handed over are written. For the end of a process.
    ///
    /// Blocks for as long as the file system does. Dropping the last clone does the same, but waits a second at most.
    pub fn close(&self) {
        if let Some(writer) = self.inner.writer.swap(None) {
            writer.finish();
        }
    }

    /// Has lines written as they come: the process may end soon.
    pub(crate) fn hurry(&self) {
        if let Some(writer) = &*self.inner.writer.load() {
            writer.hurry();
        }
    }
}

impl Drop for Inner {
    /// The mesh is gone, and its process may be next.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.swap(None) {
            writer.finish_within(LAST);
        }
    }
}
