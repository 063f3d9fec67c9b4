//! As many requests as go through, and then a fixed rate of them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::pace::Pace;
use super::{BoxError, Sends};
use crate::outcome::{Burst, Failures, Fixed, Outcome, Saturation};
use crate::role::Load;
use crate::service::{GRPC_STATUS, Question};
use crate::statistics::per_mille;
use crate::usage::{cpu_seconds, peak_kib};

/// Requests at a time, while as many are sent as go through; at a fixed rate so many at most, for which connections are there: what is due
/// waits then, its time running. With more a moment's pause would end in handshakes, and these in further pauses.
const LANES: usize = 32;
/// How long the first request may take, and what is under way after a phase.
const REST: Duration = Duration::from_secs(5);

/// Measures both phases.
pub(super) async fn run<S: Sends>(
    sender: S,
    question: Question,
    load: &Load,
    rate: u32,
) -> Result<Outcome, Box<dyn std::error::Error>> {
    let processes = [&[std::process::id(), load.server], load.proxies.as_slice()].concat();
    let run = Run::begin(sender, question, processes).await?;
    let saturation = run.saturate(load).await;
    let fixed = match load.fixed {
        Duration::ZERO => None,
        _ => {
            let fixed = run.at_rate(load.warm_up, load.fixed, rate).await;
            Some(fixed.map_err(|error| error.to_string())?)
        }
    };
    Ok(Outcome {
        saturation,
        fixed,
        peak_rss_mib: peak_kib(&run.processes) as f64 / 1_024.0,
        proxies_rss_mib: peak_kib(&load.proxies) as f64 / 1_024.0,
    })
}

pub(super) struct Run<S> {
    sender: S,
    question: Question,
    /// All that take part.
    processes: Vec<u32>,
    done: AtomicU64,
    is_over: AtomicBool,
    under_way: AtomicUsize,
    failures: Mutex<Failures>,
    /// Nanoseconds, of requests that were due in the window.
    latencies: Mutex<Vec<u64>>,
}

/// Whether the latency of a request counts: that of the warm-up's do not, however long they take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    Does,
    Not,
}

/// What was used and done up to an instant.
struct Reading {
    at: Instant,
    cpu: f64,
    done: u64,
}

/// What happened between two readings.
struct Window {
    rps: f64,
    cpu_s_per_100k: f64,
}

impl<S: Sends> Run<S> {
    /// Sends a first request: where not one goes through, there is nothing to measure.
    pub(super) async fn begin(
        sender: S,
        question: Question,
        processes: Vec<u32>,
    ) -> Result<Arc<Self>, Box<dyn std::error::Error>> {
        let run = Arc::new(Self {
            sender,
            question,
            processes,
            done: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            failures: Mutex::default(),
            latencies: Mutex::default(),
        });
        let first = timeout(REST, run.exchange()).await;
        first.map_err(|_| "no answer")?.map_err(|error| error.to_string())?;
        Ok(run)
    }

    async fn exchange(&self) -> Result<(), BoxError> {
        let response = self.sender.send(self.question.request()).await?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("status {}", response.status()).into());
        }
        let (mut body, mut length, mut is_complete) = (response.into_body(), 0, !self.question.is_grpc);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(Into::into)?;
            length += frame.data_ref().map_or(0, bytes::Bytes::len);
            let status = frame.trailers_ref().and_then(|trailers| trailers.get(GRPC_STATUS));
            is_complete |= status.is_some_and(|status| status == "0");
        }
        match is_complete && length == self.question.answer {
            true => Ok(()),
            false => Err(format!("{length} bytes and complete: {is_complete}").into()),
        }
    }

    /// One request, counted.
    async fn count(&self) {
        match self.exchange().await {
            Ok(()) => drop(self.done.fetch_add(1, Ordering::Relaxed)),
            Err(error) => self.failures.lock().unwrap_or_else(PoisonError::into_inner).add(&error),
        }
    }

    fn read(&self) -> Reading {
        Reading {
            at: Instant::now(),
            cpu: cpu_seconds(&self.processes),
            done: self.done.load(Ordering::Relaxed),
        }
    }

    fn since(&self, begin: &Reading) -> Window {
        let end = self.read();
        let done = (end.done - begin.done) as f64;
        Window {
            rps: done / (end.at - begin.at).as_secs_f64(),
            cpu_s_per_100k: (end.cpu - begin.cpu) / done.max(1.0) * 100_000.0,
        }
    }

    /// Requests that follow each other, until it is over.
    fn lanes(self: &Arc<Self>) -> JoinSet<()> {
        self.is_over.store(false, Ordering::Relaxed);
        let mut lanes = JoinSet::new();
        for _ in 0..LANES {
            let run = Arc::clone(self);
            lanes.spawn(async move {
                while !run.is_over.load(Ordering::Relaxed) {
                    run.count().await;
                }
            });
        }
        lanes
    }

    /// As many requests as go through in a time, all of which have ended. Whoever asks for it measures what it costs.
    pub(super) async fn burst(self: &Arc<Self>, length: Duration) -> Burst {
        let (begin, before) = (Instant::now(), self.done.load(Ordering::Relaxed));
        let lanes = self.lanes();
        sleep(length).await;
        self.is_over.store(true, Ordering::Relaxed);
        let is_stuck = timeout(REST, lanes.join_all()).await.is_err();
        let requests = self.done.load(Ordering::Relaxed) - before;
        Burst {
            requests,
            seconds: begin.elapsed().as_secs_f64(),
            failures: self.failures(requests == 0, is_stuck),
        }
    }

    async fn saturate(self: &Arc<Self>, load: &Load) -> Saturation {
        let lanes = self.lanes();
        sleep(load.warm_up).await;
        let begin = self.read();
        sleep(load.saturation).await;
        let window = self.since(&begin);
        self.is_over.store(true, Ordering::Relaxed);
        let rest = timeout(REST, lanes.join_all()).await;
        Saturation {
            rps: window.rps,
            cpu_s_per_100k: window.cpu_s_per_100k,
            failures: self.failures(window.rps == 0.0, rest.is_err()),
        }
    }

    pub(super) async fn at_rate(
        self: &Arc<Self>,
        warm_up: Duration,
        length: Duration,
        rate: u32,
    ) -> Result<Fixed, BoxError> {
        // What was given up in an earlier phase is under way no more.
        self.under_way.store(0, Ordering::Relaxed);
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut pace = Pace::new(rate)?;
        let mut lanes = JoinSet::new();
        let end = Instant::now() + warm_up;
        self.send_until(end, Counts::Not, &mut pace, &mut lanes).await?;
        let begin = self.read();
        let end = begin.at + length;
        self.send_until(end, Counts::Does, &mut pace, &mut lanes).await?;
        let window = self.since(&begin);
        let rest = timeout(REST, lanes.join_all()).await;
        let failures = self.failures(window.rps == 0.0, rest.is_err());
        let mut latencies = std::mem::take(&mut *self.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        latencies.sort_unstable();
        let micros = |share| per_mille(&latencies, share) as f64 / 1_000.0;
        Ok(Fixed {
            rps: window.rps,
            cpu_s_per_100k: window.cpu_s_per_100k,
            p50_us: micros(500),
            p99_us: micros(990),
            p999_us: micros(999),
            failures,
        })
    }

    /// Sends all that is due before `end`, however late: what a pause at the end holds back would be the slowest of all. Gives up where
    /// nothing goes through.
    async fn send_until(
        self: &Arc<Self>,
        end: Instant,
        counts: Counts,
        pace: &mut Pace,
        lanes: &mut JoinSet<()>,
    ) -> Result<(), BoxError> {
        while pace.next() < end && Instant::now() < end + REST {
            pace.tick().await?;
            while self.under_way.load(Ordering::Relaxed) < LANES && pace.next() < end {
                let Some(due) = pace.due() else { break };
                self.under_way.fetch_add(1, Ordering::Relaxed);
                let run = Arc::clone(self);
                lanes.spawn(async move { run.time(due, counts).await });
            }
            while lanes.try_join_next().is_some() {}
        }
        Ok(())
    }

    async fn time(&self, due: Instant, counts: Counts) {
        self.count().await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let took = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if counts == Counts::Does {
            let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.push(took);
        }
    }

    /// What failed in a phase; what has not ended is one failure more, and a phase in which nothing did is one, too.
    fn failures(&self, is_nothing: bool, is_stuck: bool) -> Failures {
        let mut failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        if is_nothing {
            failures.add(&"nothing went through");
        }
        if is_stuck {
            failures.add(&"requests that do not end");
        }
        failures
    }
}
