//! Counts one case, in processes of its own.

use std::process::Command;

use mimalloc::MiMalloc;
use serde::Serialize;

use crate::{Case, Work};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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

/// Counts a case.
pub(crate) fn cost(case: &Case) -> Result<Cost, String> {
    let (short, long) = (case.iterations, case.iterations * LONGER);
    let (less, more) = (counts(&case.name, short)?, counts(&case.name, long)?);
    let slope = |less: u64, more: u64| (more as f64 - less as f64) / (long - short) as f64;
    Ok(Cost {
        case: case.name.clone(),
        instructions: slope(less.0, more.0),
        allocations: slope(less.1, more.1),
    })
}

/// Instructions and allocations of a run.
fn counts(case: &str, iterations: u64) -> Result<(u64, u64), String> {
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
    let total = total.ok_or_else(|| format!("callgrind told no total for case `{case}`"))?;
    Ok((total, mesh_benches::calls::allocations(&text)))
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
