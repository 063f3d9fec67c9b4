//! Being told by the operating system that something changed, where it can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::files::is_policy_name;

/// More files than these are not followed while they are written.
const WRITERS: usize = 1_024;

/// What the operating system's events amount to. Shared with the thread that gets them.
#[derive(Debug, Default)]
pub(super) struct Signals {
    pub(super) changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The given paths and the directories that are watched: other events are none of ours.
    roots: Vec<PathBuf>,
    directories: BTreeSet<PathBuf>,
    /// The files and directories of the last look that are policy, by their names and where they really are.
    held: BTreeSet<PathBuf>,
    /// Directories that were removed or renamed: their watch is dead, even where another took their inode.
    stale: BTreeSet<PathBuf>,
    /// Files that are being written, from the first write until they are closed.
    writers: BTreeMap<PathBuf, Instant>,
}

impl Signals {
    pub(super) fn new(roots: &[PathBuf]) -> Self {
        let roots = roots.iter().filter_map(|root| std::path::absolute(root).ok());
        Self {
            changed: Notify::new(),
            state: Mutex::new(State {
                roots: roots.collect(),
                ..State::default()
            }),
        }
    }

    /// Whether a policy file is held open for writing, since not longer than `limit`.
    pub(super) fn is_being_written(&self, limit: Duration) -> bool {
        self.forget_writers(limit);
        !self.state().writers.is_empty()
    }

    /// Forgets files that are held open for longer than `limit`, or whose end was not told: when they are written again,
    /// they are waited for again.
    pub(super) fn forget_writers(&self, limit: Duration) {
        self.state().writers.retain(|_, since| since.elapsed() < limit);
    }

    pub(super) fn on_event(&self, event: &notify::Result<Event>) {
        let concerns_us = match event {
            // Events were lost: what is being written is not known any more.
            Ok(event) if event.need_rescan() => {
                self.state().writers.clear();
                true
            }
            Ok(event) => self.state().take(event),
            Err(_) => true,
        };
        if concerns_us {
            self.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes an event; says whether to look at the files.
    fn take(&mut self, event: &Event) -> bool {
        let closed = matches!(event.kind, EventKind::Access(AccessKind::Close(AccessMode::Write)));
        if event.kind.is_access() && !closed {
            // Our own reading, for one.
            return false;
        }
        let mut concerns_us = false;
        for path in event
            .paths
            .iter()
            .filter(|path| self.concerns_us(path))
            .cloned()
            .collect::<Vec<_>>()
        {
            concerns_us = true;
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => self.note_writer(path),
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                    self.writers.remove(&path);
                    if self.directories.contains(&path) {
                        self.stale.insert(path);
                    }
                }
                _ if closed => {
                    self.writers.remove(&path);
                }
                _ => {}
            }
        }
        concerns_us
    }

    fn note_writer(&mut self, path: PathBuf) {
        if self.is_policy(&path) && self.writers.len() < WRITERS {
            self.writers.entry(path).or_insert_with(Instant::now);
        }
    }

    /// Whether a file is policy, or would be. A neighbour of a root is not: it holds no change back, however often it
    /// is written.
    fn is_policy(&self, path: &Path) -> bool {
        let is_within = || {
            let in_look = path.parent().is_some_and(|parent| self.held.contains(parent));
            in_look || self.roots.iter().any(|root| path.starts_with(root))
        };
        self.held.contains(path) || (is_policy_name(path) && is_within())
    }

    /// Whether a path is policy, holds policy, or is on the way to it. A busy neighbour in `/tmp` is not.
    fn concerns_us(&self, path: &Path) -> bool {
        let is_link_of_kubernetes = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
        self.roots
            .iter()
            .any(|root| path.starts_with(root) || root.starts_with(path))
            || self.directories.contains(path)
            || path.parent().is_some_and(|parent| {
                self.directories.contains(parent) && (is_link_of_kubernetes || is_policy_name(path))
            })
    }
}

/// The operating system's notifications.
#[derive(Debug)]
pub(super) struct Notifier {
    watcher: RecommendedWatcher,
    signals: Arc<Signals>,
    armed: BTreeMap<PathBuf, Identity>,
    is_degraded: bool,
}

/// Which directory a path led to when it was armed.
type Identity = (u64, u64);

impl Notifier {
    pub(super) fn new(signals: Arc<Signals>) -> notify::Result<Self> {
        let listener = Arc::clone(&signals);
        let watcher = notify::recommended_watcher(move |event| listener.on_event(&event))?;
        Ok(Self {
            watcher,
            signals,
            armed: BTreeMap::new(),
            is_degraded: false,
        })
    }

    /// Watches these directories and no others; those that were replaced are watched anew. Says whether anything changed.
    ///
    /// What is written is waited for where it is one of `held`, or lies in one of them.
    pub(super) fn arm(&mut self, directories: &BTreeSet<PathBuf>, held: BTreeSet<PathBuf>) -> bool {
        let stale = {
            let mut state = self.signals.state();
            state.held = held;
            state.directories.clone_from(directories);
            std::mem::take(&mut state.stale)
        };
        let mut changed = false;
        let outdated = |(path, armed): (&PathBuf, &Identity)| {
            let is_current = directories.contains(path) && !stale.contains(path) && identity(path) == Some(*armed);
            (!is_current).then(|| path.clone())
        };
        for path in self.armed.iter().filter_map(outdated).collect::<Vec<_>>() {
            // The system has dropped the watch itself where the directory is gone.
            let _ = self.watcher.unwatch(&path);
            self.armed.remove(&path);
            changed = true;
        }
        for path in directories {
            if !self.armed.contains_key(path) {
                changed |= self.watch(path);
            }
        }
        changed
    }

    fn watch(&mut self, path: &Path) -> bool {
        let Some(identity) = identity(path) else { return false };
        match self.watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.armed.insert(path.to_path_buf(), identity);
                true
            }
            Err(error) => {
                if !self.is_degraded {
                    let path = path.display();
                    tracing::warn!(%path, %error, "cannot watch a policy directory: its changes are found by polling");
                }
                self.is_degraded = true;
                false
            }
        }
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|_| (0, 0))
}
