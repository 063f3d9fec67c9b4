//! The thread that formats and writes the lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use mesh_core::policy::model::{AccessLog, AccessLogEncoding};
use metrics::Counter;

use super::format::write_line;
use super::record::AccessRecord;

/// As many bytes are written at once at most, where more lines wait.
const BATCH: usize = 64 * 1024;
/// The same where it may be a pipe: such a write is done whole or not at all (`PIPE_BUF`), and no line is torn.
const PIPE_BATCH: usize = 4 * 1024;
/// The thread gathers no more with this part of the queue in use. Records hold on to what their requests were read into.
const PLENTY: usize = 16;
/// How often the writer looks whether a log rotation moved its file away.
const ROTATION_CHECK: Duration = Duration::from_secs(1);

/// A log in force: its queue and its thread, which ends after the last line once the writer is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    setting: AccessLog,
    queue: SyncSender<Message>,
    gathering: Arc<Gathering>,
    /// Unparked without a lock.
    thread: Thread,
    /// Disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// Until when lines are gathered.
///
/// ORDER: what ends it is stored before the thread is unparked, and looked at before it parks: taking a message may use that
/// token up.
#[derive(Debug)]
struct Gathering {
    /// Lines in the queue; for a moment fewer than none, since the thread may take one before it is counted.
    waiting: AtomicIsize,
    /// It is over with more than these.
    plenty: isize,
    is_ending: AtomicBool,
}

impl Gathering {
    fn is_over(&self) -> bool {
        self.is_ending.load(Ordering::Acquire) || self.waiting.load(Ordering::Acquire) > self.plenty
    }
}

#[derive(Debug)]
enum Message {
    Line(Box<AccessRecord>),
    Stop,
}

impl Writer {
    /// Opens the log and starts its thread; `queue` lines may wait, for `gather` at most, or until half of them do.
    pub(super) fn start(setting: AccessLog, queue: usize, gather: Duration, dropped: Counter) -> io::Result<Self> {
        let sink = Sink::open(&setting.path)?;
        let (sender, receiver) = sync_channel(queue);
        let gathering = Arc::new(Gathering {
            waiting: AtomicIsize::new(0),
            plenty: isize::try_from(queue / PLENTY).unwrap_or(isize::MAX),
            is_ending: AtomicBool::new(false),
        });
        let (ending, ended) = sync_channel(0);
        let mut writing = Writing {
            _ending: ending,
            gathering: Arc::clone(&gathering),
            gather,
            encoding: setting.encoding,
            sink,
            batch: String::new(),
            lines: 0,
            dropped,
            is_failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("mesh-access-log".into())
            .spawn(move || writing.run(&receiver))?;
        Ok(Self {
            setting,
            queue: sender,
            gathering,
            thread: thread.thread().clone(),
            ended: Mutex::new(ended),
        })
    }

    pub(super) fn setting(&self) -> &AccessLog {
        &self.setting
    }

    /// Queues a record; says whether there was room. Never waits.
    pub(super) fn offer(&self, record: AccessRecord) -> bool {
        if self.queue.try_send(Message::Line(Box::new(record))).is_err() {
            return false;
        }
        // ORDER: all that are counted are in the queue, for the thread that this ends the wait of.
        if self.gathering.waiting.fetch_add(1, Ordering::AcqRel) == self.gathering.plenty {
            self.thread.unpark();
        }
        true
    }

    /// Has lines written at once, from now on.
    pub(super) fn hurry(&self) {
        self.gathering.is_ending.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Waits until all queued lines are written.
    pub(super) fn finish(&self) {
        self.hurry();
        if self.queue.send(Message::Stop).is_ok() {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = ended.recv();
        }
    }

    /// The same, but no longer than `limit`: whoever reads the log may have stopped.
    pub(super) fn finish_within(&self, limit: Duration) {
        self.hurry();
        if self.queue.try_send(Message::Stop).is_ok() {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = ended.recv_timeout(limit);
        }
    }
}

impl Drop for Writer {
    /// What waits is written at once: nothing joins it any more.
    fn drop(&mut self) {
        self.hurry();
    }
}

/// The state of the thread.
struct Writing {
    /// Never sent on: its end is the thread's.
    _ending: SyncSender<()>,
    gathering: Arc<Gathering>,
    gather: Duration,
    encoding: AccessLogEncoding,
    sink: Sink,
    batch: String,
    lines: u64,
    dropped: Counter,
    is_failing: bool,
}

impl Writing {
    fn run(&mut self, queue: &Receiver<Message>) {
        while let Ok(Message::Line(first)) = queue.recv() {
            self.gather();
            if self.write_all(&first, queue) {
                return;
            }
        }
    }

    /// Waits for further lines.
    fn gather(&self) {
        let end = Instant::now() + self.gather;
        while !self.gathering.is_over() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Writes what is in the queue; whether that was the end.
    fn write_all(&mut self, first: &AccessRecord, queue: &Receiver<Message>) -> bool {
        self.add(first);
        let mut is_over = false;
        while let Ok(message) = queue.try_recv() {
            match message {
                Message::Line(record) => self.add(&record),
                // Requests that are under way may still have queued theirs.
                Message::Stop => is_over = true,
            }
        }
        self.flush();
        is_over
    }

    fn add(&mut self, record: &AccessRecord) {
        self.gathering.waiting.fetch_sub(1, Ordering::AcqRel);
        let before = self.batch.len();
        write_line(record, self.encoding, &mut self.batch);
        if self.batch.len() > self.sink.batch() {
            let line = self.batch.split_off(before);
            self.flush();
            self.batch = line;
        }
        self.lines += 1;
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match self.sink.write(self.batch.as_bytes()) {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                self.dropped.increment(self.lines);
                if !self.is_failing {
                    tracing::warn!(%error, "access log lines are lost: writing failed");
                }
                self.is_failing = true;
            }
        }
        self.batch.clear();
        self.lines = 0;
    }
}

/// Where lines go.
enum Sink {
    Stdout,
    Stderr,
    File {
        path: String,
        file: File,
        is_regular: bool,
        checked: Instant,
    },
}

impl Sink {
    fn open(path: &str) -> io::Result<Self> {
        Ok(match path {
            "/dev/stdout" => Self::Stdout,
            "/dev/stderr" => Self::Stderr,
            _ => {
                let file = open_for_appending(path)?;
                Self::File {
                    path: path.into(),
                    is_regular: file.metadata()?.is_file(),
                    file,
                    checked: Instant::now(),
                }
            }
        })
    }

    /// How much is written at once.
    fn batch(&self) -> usize {
        match self {
            Self::File { is_regular: true, .. } => BATCH,
            _ => PIPE_BATCH,
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(lines),
            Self::File {
                path, file, checked, ..
            } => {
                if checked.elapsed() >= ROTATION_CHECK {
                    *checked = Instant::now();
                    if was_moved(path, file) {
                        *file = open_for_appending(path)?;
                    }
                }
                file.write_all(lines)
            }
        }
    }
}

/// Opens a file without waiting for the other end of a pipe, which would hold up a reload.
fn open_for_appending(path: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK);
    }
    options
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot open the access log `{path}`: {error}")))
}

/// Whether the path no longer leads to the open file.
#[cfg(unix)]
fn was_moved(path: &str, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(open) = file.metadata() else { return false };
    std::fs::metadata(path).map_or(true, |now| (now.dev(), now.ino()) != (open.dev(), open.ino()))
}

#[cfg(not(unix))]
fn was_moved(path: &str, _file: &File) -> bool {
    !std::path::Path::new(path).exists()
}
