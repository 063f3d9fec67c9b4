//! Watching policy files: which they are, what they hold, and when that has changed.
//!
//! A watch on a file dies with the first rename over it, and Kubernetes changes a mounted ConfigMap by
//! swapping a link that no file's watch sees. So the directories are watched, and the contents are read and
//! compared at a fixed interval in any case: notifications make a reload fast, the poll makes it certain.
//!
//! A change is taken when two looks, some time apart, agree on it, and nobody holds a file open
//! that was written meanwhile. Whatever is half done (a file half written, a directory half copied)
//! changes between the looks. What cannot be read, or is not there, is reported once and changes nothing.
//!
//! ```
//! use mesh_tower::reload::watch::{PolicyFiles, Watcher, WatchTiming};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! std::fs::write(path.join("mesh.yaml"), "mesh: { mtls: strict }\n")?;
//! let files = PolicyFiles::new([path]);
//! let first = files.read()?;
//!
//! let mut watcher = Watcher::start(files, WatchTiming::default(), Some(first.fingerprint));
//! std::fs::write(path.join("mesh.yaml"), "mesh: { mtls: permissive }\n")?;
//! let second = watcher.next_change().await?;
//! assert_ne!(first.fingerprint, second.fingerprint);
//! # Ok(())
//! # }
//! ```

mod error;
mod files;
mod notifier;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use error::ReadError;
pub use files::{FILE_LIMIT, FileSet, Fingerprint, PolicyFile, PolicyFiles, TOTAL_LIMIT};

use notifier::{Notifier, Signals};

/// How often to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchTiming {
    /// Between two looks where nothing is told. Default 500 ms: with it a change is in force within a second.
    pub poll: Duration,
    /// Between the two looks that have to agree. Default 50 ms.
    pub settle: Duration,
    /// How long a file that stays open for writing holds a change back, at most. Default 10 s.
    ///
    /// Only where the operating system tells (Linux).
    pub open_writer: Duration,
}

impl Default for WatchTiming {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(500),
            settle: Duration::from_millis(50),
            open_writer: Duration::from_secs(10),
        }
    }
}

/// How changes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchMode {
    /// By notifications of the operating system, and by polling.
    Notified,
    /// By polling alone: the system had no more watches to give.
    Polled,
}

/// Finds changes of policy files.
#[derive(Debug)]
pub struct Watcher {
    files: PolicyFiles,
    timing: WatchTiming,
    signals: Arc<Signals>,
    notifier: Option<Arc<Mutex<Notifier>>>,
    /// What was reported last.
    reported: Option<Digest>,
    next_poll: Instant,
    /// Whether the files have to be looked at before anything is waited for.
    is_due: bool,
}

/// A look, as far as it matters whether it is the same as another.
type Digest = Result<Fingerprint, ReadError>;

impl Watcher {
    /// Watches `files`; `known` is what the caller has read already, so that only something else is a change.
    ///
    /// Where the operating system has no more watches to give, says so in the log and polls.
    #[must_use]
    pub fn start(files: PolicyFiles, timing: WatchTiming, known: Option<Fingerprint>) -> Self {
        Self::start_with(files, timing, known, Notifier::new)
    }

    fn start_with(
        files: PolicyFiles,
        timing: WatchTiming,
        known: Option<Fingerprint>,
        notifier: impl FnOnce(Arc<Signals>) -> notify::Result<Notifier>,
    ) -> Self {
        let signals = Arc::new(Signals::new(files.paths()));
        let notifier = notifier(Arc::clone(&signals))
            .inspect_err(|error| {
                tracing::warn!(%error, poll = ?timing.poll, "cannot watch the policy files: their changes are found by polling");
            })
            .ok();
        Self {
            files,
            timing,
            signals,
            notifier: notifier.map(|notifier| Arc::new(Mutex::new(notifier))),
            reported: known.map(Ok),
            next_poll: Instant::now(),
            is_due: true,
        }
    }

    /// How changes are found.
    #[must_use]
    pub const fn mode(&self) -> WatchMode {
        match self.notifier {
            Some(_) => WatchMode::Notified,
            None => WatchMode::Polled,
        }
    }

    /// Waits for the next change, and returns what the files hold now.
    ///
    /// After an error, the files are reported once they can be read again, even where they are the same as before it.
    ///
    /// # Errors
    ///
    /// Where the files cannot be read, or are not there, once for each reason: what is in force should stay so.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a change that was not returned is found again by the next call.
    pub async fn next_change(&mut self) -> Result<FileSet, ReadError> {
        let mut seen = None;
        loop {
            if !self.is_due {
                self.wait().await;
            }
            let Some(look) = self.look().await else { continue };
            let digest = look.as_ref().map(|files| files.fingerprint).map_err(Clone::clone);
            if self.reported.as_ref() == Some(&digest) {
                // Nothing is held back that would have to wait for the same writer twice.
                self.signals.forget_writers(self.timing.open_writer);
                (self.is_due, seen) = (false, None);
                continue;
            }
            if seen.as_ref() == Some(&digest) && !self.signals.is_being_written(self.timing.open_writer) {
                self.is_due = false;
                self.reported = Some(digest);
                return look;
            }
            seen = Some(digest);
            tokio::time::sleep(self.timing.settle).await;
        }
    }

    /// Waits until something was told, or for the next poll.
    async fn wait(&mut self) {
        let told = tokio::select! {
            () = self.signals.changed.notified() => true,
            () = tokio::time::sleep_until(self.next_poll) => false,
        };
        // Before anything else is waited for: the signal is used up.
        self.is_due = true;
        if told {
            tokio::time::sleep(self.timing.settle).await;
        }
    }

    /// Looks at the files off the runtime's threads; none where that was not possible, the runtime shutting down, say.
    async fn look(&mut self) -> Option<Result<FileSet, ReadError>> {
        let (files, notifier) = (self.files.clone(), self.notifier.clone());
        let look = tokio::task::spawn_blocking(move || look(&files, notifier.as_deref())).await;
        self.next_poll = Instant::now() + self.timing.poll;
        if look.is_err() {
            self.is_due = false;
        }
        look.ok()
    }
}

fn look(files: &PolicyFiles, notifier: Option<&Mutex<Notifier>>) -> Result<FileSet, ReadError> {
    let first = files.look();
    let Some(notifier) = notifier else {
        return first.result;
    };
    let mut notifier = notifier.lock().unwrap_or_else(PoisonError::into_inner);
    if notifier.arm(&first.directories, first.held) {
        // What changed between the look and the arming was told to nobody.
        files.look().result
    } else {
        first.result
    }
}
