//! Instructions and allocations: of a whole request, client and server together, and of single decisions.
//!
//! `cargo bench -p mesh-benches --bench instructions -- [--json FILE] [--only TEXT]`; needs valgrind.
//!
//! A case runs twice in a process of its own under callgrind, which counts while the measured region runs, with two
//! numbers of iterations; the difference over the difference is what one iteration costs, start-up taken out.
//! Everything runs on one thread, so that counts repeat to a few in ten thousand.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark may stop, and prints"
)]

mod decisions;
mod measure;
mod requests;

use std::path::PathBuf;

use measure::{Cost, child, cost};

/// Runs a number of iterations.
type Work = Box<dyn FnMut(u64)>;

/// Something to count.
struct Case {
    name: String,
    /// How often it runs in the shorter of the two runs.
    iterations: u64,
    prepare: Box<dyn Fn() -> Work>,
}

impl Case {
    fn new(name: impl Into<String>, iterations: u64, prepare: impl Fn() -> Work + 'static) -> Self {
        Self {
            name: name.into(),
            iterations,
            prepare: Box::new(prepare),
        }
    }
}

fn cases() -> Vec<Case> {
    requests::cases().into_iter().chain(decisions::cases()).collect()
}

/// What the command line asks for.
#[derive(Default)]
struct Options {
    json: Option<PathBuf>,
    only: String,
    list: bool,
}

impl Options {
    fn from_args(mut args: impl Iterator<Item = String>) -> Self {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--json" => options.json = args.next().map(PathBuf::from),
                "--only" => options.only = args.next().unwrap_or_default(),
                // Cargo asks for names with `--list`, and runs benchmarks as tests with `--test`.
                "--list" | "--test" => options.list = true,
                "--bench" => {}
                "--help" | "-h" => help(),
                other => stop(&format!("unknown argument `{other}`; `--help` tells which there are")),
            }
        }
        options
    }
}

fn help() -> ! {
    println!("Instructions and allocations of a request and of single decisions; needs valgrind.\n");
    println!("  --json FILE   also write [{{case, instructions, allocations}}]");
    println!("  --only TEXT   only cases whose name contains TEXT");
    println!("  --list        names of the cases");
    std::process::exit(0)
}

fn stop(why: &str) -> ! {
    eprintln!("instructions: {why}");
    std::process::exit(2)
}

fn main() {
    if let Some((name, iterations)) = measure::asked() {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        return child((case.prepare)(), iterations);
    }
    let options = Options::from_args(std::env::args().skip(1));
    let chosen = cases().into_iter().filter(|case| case.name.contains(&options.only));
    if options.list {
        return chosen.for_each(|case| println!("{}: benchmark", case.name));
    }
    let mut costs = Vec::new();
    println!("{:<44} {:>14} {:>12}", "case", "instructions", "allocations");
    for case in chosen {
        let cost = cost(&case).unwrap_or_else(|why| stop(&why));
        println!(
            "{:<44} {:>14.0} {:>12.2}",
            cost.case, cost.instructions, cost.allocations
        );
        costs.push(cost);
    }
    if let Some(file) = options.json {
        write(&file, &costs);
    }
}

fn write(file: &std::path::Path, costs: &[Cost]) {
    let text = serde_json::to_string_pretty(costs).unwrap();
    if let Err(error) = std::fs::write(file, text + "\n") {
        stop(&format!("`{}` cannot be written: {error}", file.display()));
    }
}
