//! Instructions and allocations: of a whole request, client and server together, and of single decisions.
//!
//! `cargo bench -p mesh-benches --bench instructions -- --help`; needs valgrind.
//!
//! A case runs twice in a process of its own under callgrind, which counts while the measured region runs, with two
//! numbers of iterations; the difference over the difference is what one iteration costs, start-up taken out.
//! Everything runs on one thread, so that counts repeat to a few in ten thousand.
//!
//! `--check` is the gate of [`mesh_benches::gate`]: it holds counts against the committed `baseline.json`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark may stop, and prints"
)]

mod decisions;
mod layers;
mod measure;
mod requests;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use mesh_benches::callgrind;
use mesh_benches::case::{Case, Work};
use mesh_benches::gate::{Baseline, Cost, Host, compare, doubtful, features, kept, table};
use serde::Serialize;

use measure::costs;

/// The sizes that the gate looks at: the ends of what compiles in seconds under valgrind.
const GATED: [usize; 2] = [10, 10_000];
/// How often requests are counted again that seem to have got worse, and those that are blessed.
const RECOUNTS: usize = 2;

fn cases() -> Vec<Case> {
    let single = layers::cases().into_iter().chain(decisions::cases());
    requests::cases().into_iter().chain(single).collect()
}

fn is_gated(case: &Case) -> bool {
    case.size().is_none_or(|(_, size)| GATED.contains(&size))
}

/// What the command line asks for.
#[derive(Default)]
struct Options {
    json: Option<PathBuf>,
    check: Option<PathBuf>,
    bless: Option<PathBuf>,
    only: String,
    list: bool,
}

impl Options {
    fn from_args(mut args: impl Iterator<Item = String>) -> Self {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut file = || {
                Some(PathBuf::from(
                    args.next().unwrap_or_else(|| stop(&format!("{arg} needs a file"))),
                ))
            };
            match arg.as_str() {
                "--json" => options.json = file(),
                "--check" => options.check = file().map(from_root),
                "--bless" => options.bless = file().map(from_root),
                "--only" => options.only = args.next().unwrap_or_default(),
                // Cargo asks for names with `--list`, and runs benchmarks as tests with `--test`.
                "--list" | "--test" => options.list = true,
                "--bench" => {}
                "--features" => tell_features(),
                "--help" | "-h" => help(),
                other => stop(&format!("unknown argument `{other}`; `--help` tells which there are")),
            }
        }
        options
    }

    fn wants(&self, case: &Case) -> bool {
        let is_gate = self.check.is_some() || self.bless.is_some();
        case.name.contains(&self.only) && (!is_gate || is_gated(case))
    }
}

/// Cargo runs benchmarks in their package's directory, and people name the baseline from the workspace's.
fn from_root(file: PathBuf) -> PathBuf {
    match file.parent().is_some_and(Path::exists) {
        true => file,
        false => Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file),
    }
}

fn help() -> ! {
    println!("Instructions and allocations of a request and of single decisions; needs valgrind.\n");
    println!("  --json FILE   also write [{{case, instructions, in_allocator, allocations}}]");
    println!("  --check FILE  compare the gate's cases with a baseline; ends with 1 where one got worse, with 2 where");
    println!("                nothing could be compared");
    println!("  --bless FILE  write what is found as the baseline; with --only, just these of its cases");
    println!("  --only TEXT   only cases whose name contains TEXT");
    println!("  --list        names of the cases");
    println!("  --features    what this process sees of the processor's features, by which code is chosen");
    std::process::exit(0)
}

fn tell_features() -> ! {
    println!("{}", features().join(" "));
    std::process::exit(0)
}

fn stop(why: &str) -> ! {
    eprintln!("instructions: {why}");
    std::process::exit(2)
}

fn main() -> ExitCode {
    if let Some((name, iterations)) = callgrind::asked() {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        callgrind::child((case.prepare)(), iterations);
    }
    let options = Options::from_args(std::env::args().skip(1));
    let chosen: Vec<Case> = cases().into_iter().filter(|case| options.wants(case)).collect();
    if options.list {
        chosen.iter().for_each(|case| println!("{}: benchmark", case.name));
        return ExitCode::SUCCESS;
    }
    // Read before minutes are spent on what it would be compared with.
    let baseline = options.check.as_deref().map(read);
    println!(
        "{:<44} {:>14} {:>14} {:>12}",
        "case", "instructions", "in allocator", "allocations"
    );
    let costs = costs(&chosen, tell).unwrap_or_else(|why| stop(&why));
    if let Some(file) = &options.json {
        write(file, &costs);
    }
    if let Some(file) = &options.bless {
        bless(file, costs.clone(), &options.only);
    }
    baseline.map_or(ExitCode::SUCCESS, |baseline| check(baseline, costs, &options.only))
}

fn tell(cost: &Cost) {
    println!(
        "{:<44} {:>14.0} {:>14.0} {:>12.2}",
        cost.case, cost.instructions, cost.in_allocator, cost.allocations
    );
}

/// What counts depend on, here.
fn host() -> Host {
    let mut sees = Command::new("valgrind");
    let own = std::env::current_exe().unwrap();
    sees.args(["--tool=none", "--quiet"]).arg(own).arg("--features");
    Host::here(sees).unwrap_or_else(|why| stop(&why))
}

fn check(mut baseline: Baseline, mut costs: Vec<Cost>, only: &str) -> ExitCode {
    baseline.cases.retain(|cost| cost.case.contains(only));
    let differences = host().differences(&baseline.host);
    let mut lines = compare(&baseline, &costs, differences.is_empty());
    for _ in 0..RECOUNTS {
        let doubtful: Vec<String> = doubtful(&lines).map(str::to_owned).collect();
        recount(&mut costs, |case| doubtful.contains(&case.name));
        lines = compare(&baseline, &costs, differences.is_empty());
    }
    println!("\n{}", table(&lines));
    println!("instructions are compared without the allocator's own; how often it is asked is compared instead");
    if !differences.is_empty() {
        println!("the baseline is of another toolchain or processor; only allocations and ratios are compared:");
        differences.iter().for_each(|difference| println!("  {difference}"));
    }
    match kept(&lines) {
        true => ExitCode::SUCCESS,
        false => {
            eprintln!("instructions: the gate fails; what is meant to cost more is blessed with --bless");
            ExitCode::FAILURE
        }
    }
}

/// Counts these again, and keeps the least: what a busy machine adds is nobody's cost.
fn recount(costs: &mut [Cost], is_wanted: impl Fn(&Case) -> bool) {
    let again: Vec<Case> = cases().into_iter().filter(|case| is_wanted(case)).collect();
    for counted in measure::costs(&again, tell).unwrap_or_else(|why| stop(&why)) {
        if let Some(cost) = costs.iter_mut().find(|cost| cost.case == counted.case) {
            *cost = counted.least(cost);
        }
    }
}

/// Writes the baseline; of one made on the same kind of host, cases that were not counted now stay.
fn bless(file: &Path, mut costs: Vec<Cost>, only: &str) {
    for _ in 0..RECOUNTS {
        let counted: Vec<String> = costs.iter().map(|cost| cost.case.clone()).collect();
        recount(&mut costs, |case| {
            case.name.starts_with("request") && counted.contains(&case.name)
        });
    }
    let mut baseline = Baseline {
        host: host(),
        cases: costs,
    };
    if !only.is_empty() && file.exists() {
        let old = read(file);
        if old.host != baseline.host {
            stop("a part cannot be blessed: the rest of the baseline is of another host");
        }
        baseline
            .cases
            .extend(old.cases.into_iter().filter(|cost| !cost.case.contains(only)));
    }
    baseline.cases.sort_by(|one, other| one.case.cmp(&other.case));
    write(file, &baseline);
}

fn read(file: &Path) -> Baseline {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let read = text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    read.unwrap_or_else(|why| stop(&format!("`{}` cannot be read: {why}", file.display())))
}

fn write(file: &Path, content: &impl Serialize) {
    let text = serde_json::to_string_pretty(content).unwrap();
    if let Err(error) = std::fs::write(file, text + "\n") {
        stop(&format!("`{}` cannot be written: {error}", file.display()));
    }
}
