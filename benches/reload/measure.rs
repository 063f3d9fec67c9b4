//! Time and memory of loading and compiling one policy.

use std::alloc::System;
use std::time::{Duration, Instant};

use mesh_core::policy::{Loaded, Loader};
use mesh_core::snapshot::{Compiler, Snapshot};
use mesh_core::workload::Workload;
use mesh_tower::reload::Processors;
use serde::Serialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

use crate::policies::File;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a reload costs; times are medians.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) size: usize,
    pub(crate) files: usize,
    pub(crate) bytes: usize,
    pub(crate) rounds: usize,
    pub(crate) load_ms: f64,
    pub(crate) compile_ms: f64,
    /// Both.
    pub(crate) total_ms: f64,
    /// Until texts, policy and snapshot are freed.
    pub(crate) drop_ms: f64,
    pub(crate) allocations: usize,
    pub(crate) allocated_bytes: usize,
    /// What the snapshot alone keeps.
    pub(crate) snapshot_bytes: isize,
    /// What texts, policy and snapshot keep while all of them are there.
    pub(crate) held_bytes: isize,
    /// How far the resident memory of the process grew meanwhile; `None` where the system does not tell.
    pub(crate) peak_growth_bytes: Option<u64>,
}

/// One round.
#[derive(Clone, Copy, Default)]
struct Round {
    load: Duration,
    compile: Duration,
    drop: Duration,
    loaded: Stats,
    compiled: Stats,
    snapshot_bytes: isize,
}

/// Rounds until there are enough, or they took long.
pub(crate) fn row(case: &str, size: usize, all: &[Vec<File>], mut way: Way) -> Row {
    let files = all.first().expect("a policy");
    let mut next = all.iter().cycle();
    if let Way::Known(_) = way {
        round(next.next().expect("a policy"), &mut way);
    }
    let peak = Peak::start();
    let (started, mut rounds) = (Instant::now(), Vec::new());
    while rounds.len() < 5 || (rounds.len() < 51 && started.elapsed() < Duration::from_secs(2)) {
        rounds.push(round(next.next().expect("a policy"), &mut way));
    }
    let last = rounds.last().copied().unwrap_or_default();
    let median = |of: &dyn Fn(&Round) -> Duration| {
        let mut times: Vec<Duration> = rounds.iter().map(of).collect();
        times.sort_unstable();
        times
            .get(times.len() / 2)
            .map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
    };
    let (loaded, compiled) = (last.loaded, last.compiled);
    let calls = |stats: Stats| stats.allocations + stats.reallocations;
    Row {
        case: case.into(),
        size,
        files: files.len(),
        bytes: files.iter().map(|(_, bytes)| bytes.len()).sum(),
        rounds: rounds.len(),
        load_ms: median(&|round| round.load),
        compile_ms: median(&|round| round.compile),
        total_ms: median(&|round| round.load + round.compile),
        drop_ms: median(&|round| round.drop),
        allocations: calls(loaded) + calls(compiled),
        allocated_bytes: loaded.bytes_allocated + compiled.bytes_allocated,
        snapshot_bytes: last.snapshot_bytes,
        held_bytes: held(loaded) + held(compiled),
        peak_growth_bytes: peak.growth(),
    }
}

fn held(stats: Stats) -> isize {
    stats.bytes_allocated.cast_signed() - stats.bytes_deallocated.cast_signed()
}

/// How a policy becomes a snapshot.
#[derive(Debug)]
pub(crate) enum Way {
    /// From nothing, by all processors, as a service starts.
    Fresh,
    /// As the one after others.
    Known(Box<(Loader, Compiler)>),
}

impl Way {
    fn load(&mut self, files: &[File]) -> Loaded {
        let files = files.iter().map(|(name, bytes)| (name.as_str(), bytes));
        match self {
            Self::Fresh => Loader::default().load_with(files, &Processors::default()),
            Self::Known(known) => known.0.load(files),
        }
    }

    fn compile(&mut self, loaded: &mut Loaded) -> Snapshot {
        let workload = Workload::new("shop", "orders").label("app", "orders");
        let snapshot = match self {
            Self::Fresh => {
                let policy = loaded.policy.as_ref().expect("a policy");
                Snapshot::compile_with(policy, &workload, 1, &Processors::default())
            }
            Self::Known(known) => known.1.compile(loaded.policy.take().expect("a policy"), &workload, 1),
        };
        snapshot.expect("a policy that compiles")
    }
}

fn round(files: &[File], way: &mut Way) -> Round {
    let (start, region) = (Instant::now(), Region::new(ALLOCATOR));
    let mut loaded = way.load(files);
    let (load, loaded_stats) = (start.elapsed(), region.change());
    if loaded.policy.is_none() {
        panic!("{:?}", loaded.report.lines(&loaded.sources));
    }
    let (start, region) = (Instant::now(), Region::new(ALLOCATOR));
    let snapshot = way.compile(&mut loaded);
    let (compile, compiled) = (start.elapsed(), region.change());
    let start = Instant::now();
    drop(loaded);
    let first = start.elapsed();
    let (start, region) = (Instant::now(), Region::new(ALLOCATOR));
    drop(snapshot);
    Round {
        load,
        compile,
        drop: first + start.elapsed(),
        loaded: loaded_stats,
        compiled,
        snapshot_bytes: -held(region.change()),
    }
}

/// The resident memory of this process, by Linux's account.
struct Peak(Option<u64>);

impl Peak {
    fn start() -> Self {
        // Sets the high-water mark to what is resident now.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self(status("VmRSS:"))
    }

    fn growth(&self) -> Option<u64> {
        Some(status("VmHWM:")?.saturating_sub(self.0?))
    }
}

fn status(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
