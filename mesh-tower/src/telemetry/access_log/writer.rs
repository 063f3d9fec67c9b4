//! The thread that formats and writes the lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use mesh_core::policy::model::{AccessLog, AccessLogEncoding};
use metrics::Counter;

use super::format::write_line;
use super::record::AccessRecord;

/// As many bytes are gathered before they are written, where more lines wait.
const BATCH: usize = 64 * 1024;
/// How often the writer looks whether a log rotation moved its file away.
const ROTATION_CHECK: Duration = Duration::from_secs(1);

/// A log in force: its queue and its thread, which ends after the last line once the writer is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    setting: AccessLog,
    queue: SyncSender<Message>,
    gathering: Arc<Gathering>,
    thread: Thread,
    ending: Mutex<Option<JoinHandle<()>>>,
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
            plenty: isize::try_from(queue / 2).unwrap_or(isize::MAX),
            is_ending: AtomicBool::new(false),
        });
        let mut writing = Writing {
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
            ending: Mutex::new(Some(thread)),
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

    fn hurry(&self) {
        self.gathering.is_ending.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Waits until all queued lines are written.
    pub(super) fn finish(&self) {
        self.hurry();
        let thread = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.queue.send(Message::Stop).is_ok()
            && let Some(thread) = thread
        {
            // A panic of the thread has lost lines; there is nothing left to do for them.
            let _ = thread.join();
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
            if !self.gathering.is_over() {
                std::thread::park_timeout(self.gather);
            }
            if self.write_all(&first, queue) {
                return;
            }
        }
    }

    /// Writes what is in the queue; whether that was the end.
    fn write_all(&mut self, first: &AccessRecord, queue: &Receiver<Message>) -> bool {
        self.add(first);
        let is_over = loop {
            match queue.try_recv() {
                Ok(Message::Line(record)) => self.add(&record),
                Ok(Message::Stop) => break true,
                Err(_) => break false,
            }
        };
        self.flush();
        is_over
    }

    fn add(&mut self, record: &AccessRecord) {
        self.gathering.waiting.fetch_sub(1, Ordering::AcqRel);
        write_line(record, self.encoding, &mut self.batch);
        self.lines += 1;
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
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
    File { path: String, file: File, checked: Instant },
}

impl Sink {
    fn open(path: &str) -> io::Result<Self> {
        Ok(match path {
            "/dev/stdout" => Self::Stdout,
            "/dev/stderr" => Self::Stderr,
            _ => Self::File {
                path: path.into(),
                file: open_for_appending(path)?,
                checked: Instant::now(),
            },
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(lines),
            Self::File { path, file, checked } => {
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
