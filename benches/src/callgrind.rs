//! Counts instructions of a case, in processes of its own under callgrind.
//!
//! A case runs twice, with two numbers of iterations; the difference over the difference is what one iteration costs,
//! start-up taken out. Callgrind counts while the measured region runs.

use std::process::Command;

use crate::case::Work;
use crate::profile::Profile;

/// Names the case of a child.
const CASE: &str = "MESH_BENCH_CASE";
/// Numbers the iterations of a child.
const ITERATIONS: &str = "MESH_BENCH_ITERATIONS";
/// How much longer the longer run is.
const LONGER: u64 = 4;
/// Iterations that nobody counts.
const WARM_UP: u64 = 32;

/// What one iteration costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    /// Instructions in user space.
    pub instructions: f64,
    /// Those of them that the allocator spends.
    pub in_allocator: f64,
    /// Allocations, reallocations among them.
    pub allocations: f64,
}

/// What this process is to run, where it is a child.
#[must_use]
pub fn asked() -> Option<(String, u64)> {
    let iterations = std::env::var(ITERATIONS).ok()?;
    Some((std::env::var(CASE).ok()?, iterations.parse().ok()?))
}

/// Runs the measured region of a child.
pub fn child(mut work: Work, iterations: u64) {
    work(iterations.min(WARM_UP));
    measured_region(&mut work, iterations);
    // What winds down afterwards is nobody's cost.
    std::process::exit(0);
}

/// Callgrind counts while this function is on the stack, and so finds it by its name.
#[inline(never)]
fn measured_region(work: &mut Work, iterations: u64) {
    work(std::hint::black_box(iterations));
    std::hint::black_box(work);
}

/// Counts the case of this name, in children of this program; the shorter run has so many iterations.
///
/// # Errors
///
/// What went wrong with valgrind, or with the case.
pub fn count(case: &str, iterations: u64) -> Result<Counts, String> {
    let (short, long) = (iterations, iterations * LONGER);
    let (less, more) = (run(case, short)?, run(case, long)?);
    let slope = |less: u64, more: u64| (more as f64 - less as f64) / (long - short) as f64;
    Ok(Counts {
        instructions: slope(less.0, more.0),
        in_allocator: slope(less.1.in_allocator, more.1.in_allocator),
        allocations: slope(less.1.allocations, more.1.allocations),
    })
}

/// Instructions of one run, and what the allocator has of them.
fn run(case: &str, iterations: u64) -> Result<(u64, Profile), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let mut valgrind = Command::new("valgrind");
    let out = format!("--callgrind-out-file={}", file.path().display());
    valgrind.args(["--tool=callgrind", "--toggle-collect=*measured_region*", &out]);
    valgrind
        .arg(own)
        .env(CASE, case)
        .env(ITERATIONS, iterations.to_string());
    finish(valgrind, case)?;
    let text = std::fs::read_to_string(file.path()).map_err(|error| error.to_string())?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    let total = total.ok_or_else(|| format!("callgrind told no total for case `{case}`"))?;
    Ok((total, Profile::read(&text)))
}

fn finish(mut command: Command, case: &str) -> Result<(), String> {
    let done = command
        .output()
        .map_err(|error| format!("valgrind cannot be run: {error}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!(
            "case `{case}` failed:\n{}",
            String::from_utf8_lossy(&done.stderr)
        )),
    }
}
