//! The access log: one line for each request, in Istio's text format or as JSON with Istio's field names.
//!
//! A request hands over a small owned record; a thread of its own formats and writes it. The queue
//! between them is bounded: where it is full, or where writing fails, the line is lost and counted
//! (`mesh_access_log_dropped_total`). Without a log nothing is recorded at all, nor of a request that the policy's
//! share leaves out.
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

use arc_swap::ArcSwapOption;
use mesh_core::policy::model::AccessLog;
use mesh_core::random::{Rng, below};
use metrics::Counter;

pub use record::{AccessRecord, Text};

use super::metrics::Metrics;
use writer::Writer;

/// How many lines wait for the writer at most.
const QUEUE: usize = 4_096;

/// Takes the records of requests. Clones write to the same log.
#[derive(Clone)]
pub struct AccessLogger {
    inner: Arc<Inner>,
}

struct Inner {
    writer: ArcSwapOption<Writer>,
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
                self.inner.dropped.clone(),
            )?)),
            None => None,
        };
        self.inner.writer.store(writer);
        Ok(())
    }

    /// Whether a record would be written anywhere.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.inner.writer.load().is_some() || event::is_enabled()
    }

    /// Whether a request that begins now is written: by lot, where the policy wants a part of them. The lot is not drawn from
    /// anything that a caller sends, which could keep itself out of the log.
    #[must_use]
    pub fn takes(&self, mut rng: impl Rng) -> bool {
        match &*self.inner.writer.load() {
            Some(writer) => {
                writer.setting().percent >= 100 || below(100, &mut rng) < u64::from(writer.setting().percent)
            }
            None => event::is_enabled(),
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
            && !writer.offer(record)
        {
            self.inner.dropped.increment(1);
        }
    }

    /// Ends the log and waits until the lines that were handed over are written. For the end of a process.
    ///
    /// Blocks for as long as the file system does.
    pub fn close(&self) {
        if let Some(writer) = self.inner.writer.swap(None) {
            writer.finish();
        }
    }
}
