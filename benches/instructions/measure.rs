//! Counts one case, in processes of its own.

use std::alloc::System;
use std::process::Command;

use serde::Serialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::{Case, Work};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Names the case of a child.
const CASE: &str = "MESH_BENCH_CASE";
/// Numbers the iterations of a child.
const ITERATIONS: &str = "MESH_BENCH_ITERATIONS";
/// How much longer the longer run is.
const LONGER: u64 = 4;

/// What one iteration costs.
#[derive(Serialize)]
pub(crate) struct Cost {
    pub(crate) case: String,
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

/// What this process is to run, where it is a child.
pub(crate) fn asked() -> Option<(String, u64)> {
    let iterations = std::env::var(ITERATIONS).ok()?;
    Some((std::env::var(CASE).ok()?, iterations.parse().ok()?))
}

/// Runs the measured region, and prints how often it allocated.
pub(crate) fn child(mut work: Work, iterations: u64) {
    work(iterations.min(32));
    let region = Region::new(ALLOCATOR);
    measured_region(&mut work, iterations);
    let change = region.change();
    println!("{}", change.allocations + change.reallocations);
    // What winds down afterwards is nobody's cost.
    std::process::exit(0);
}

/// Callgrind counts while this function is on the stack, and so finds it by its name.
#[inline(never)]
fn measured_region(work: &mut Work, iterations: u64) {
    work(std::hint::black_box(iterations));
    std::hint::black_box(work);
}

/// Counts a case.
pub(crate) fn cost(case: &Case) -> Result<Cost, String> {
    let (short, long) = (case.iterations, case.iterations * LONGER);
    let slope = |count: &dyn Fn(u64) -> Result<u64, String>| -> Result<f64, String> {
        let (less, more) = (count(short)?, count(long)?);
        Ok((more as f64 - less as f64) / (long - short) as f64)
    };
    Ok(Cost {
        case: case.name.clone(),
        instructions: slope(&|iterations| instructions(&case.name, iterations))?,
        allocations: slope(&|iterations| allocations(&case.name, iterations))?,
    })
}

fn allocations(case: &str, iterations: u64) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let text = run(Command::new(own), case, iterations)?;
    text.trim()
        .parse()
        .map_err(|_| format!("case `{case}` printed `{text}`"))
}

fn instructions(case: &str, iterations: u64) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let mut valgrind = Command::new("valgrind");
    let out = format!("--callgrind-out-file={}", file.path().display());
    valgrind.args(["--tool=callgrind", "--toggle-collect=*measured_region*", &out]);
    run(
        {
            valgrind.arg(own);
            valgrind
        },
        case,
        iterations,
    )?;
    let text = std::fs::read_to_string(file.path()).map_err(|error| error.to_string())?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.ok_or_else(|| format!("callgrind told no total for case `{case}`"))
}

fn run(mut command: Command, case: &str, iterations: u64) -> Result<String, String> {
    command.env(CASE, case).env(ITERATIONS, iterations.to_string());
    let done = command
        .output()
        .map_err(|error| format!("{command:?} cannot be run: {error}"))?;
    if !done.status.success() {
        let told = String::from_utf8_lossy(&done.stderr);
        return Err(format!("case `{case}` failed:\n{told}"));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
