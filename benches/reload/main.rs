//! What a reload costs: reading, checking and compiling policies of 10 to 100 000 routes, as many rules of
//! authorization and as many endpoints.
//!
//! `cargo bench -p mesh-benches --bench reload -- [--json FILE] [--svg DIR] [--only TEXT] [--help]`.
//!
//! Times and held memory of cases that differ in their size alone are fitted with a power of it, by least squares on the
//! logarithms, where there are three sizes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark may stop, and prints"
)]

mod growth;
mod measure;
mod policies;

use std::path::{Path, PathBuf};

use measure::{Row, Way, row};
use policies::{File, Form, change, files};

/// Something to measure.
struct Case {
    name: String,
    run: Box<dyn Fn(&str) -> Row>,
}

impl Case {
    fn new(name: String, run: impl Fn(&str) -> Row + 'static) -> Self {
        let run = Box::new(run);
        Self { name, run }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in [
        Form::NativeYaml,
        Form::NativeJson,
        Form::IstioYaml,
        Form::GatewayApiYaml,
    ] {
        for size in form.sizes().iter().copied() {
            let name = format!("whole_{}_{size}", form.name());
            cases.push(Case::new(name, move |name| {
                row(name, size, &[files(form, size)], Way::Fresh)
            }));
        }
    }
    for form in [Form::NativeYaml, Form::NativeJson] {
        for size in [1_000, 10_000, 100_000] {
            let name = format!("one_rule_{}_{size}", form.name());
            cases.push(Case::new(name, move |name| one_change(name, form, size, "/sa/s")));
            let name = format!("one_route_{}_{size}", form.name());
            cases.push(Case::new(name, move |name| one_change(name, form, size, "prefix")));
        }
    }
    cases
}

/// Reloads of which each changes one rule or route of one file.
fn one_change(name: &str, form: Form, size: usize, at: &str) -> Row {
    let first = files(form, size);
    let changed: Vec<Vec<File>> = (0..2).map(|generation| change(&first, at, generation)).collect();
    row(name, size, &changed, Way::Known(Box::default()))
}

/// What the command line asks for.
#[derive(Default)]
struct Options {
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    only: String,
    list: bool,
}

impl Options {
    fn from_args(mut args: impl Iterator<Item = String>) -> Self {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| stop(&format!("{arg} needs a value")));
            match arg.as_str() {
                "--json" => options.json = Some(value().into()),
                "--svg" => options.svg = Some(value().into()),
                "--only" => options.only = value(),
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
    println!("Time and memory of reading, checking and compiling policies of 10 to 100 000 routes,");
    println!("as many rules of authorization and as many endpoints.\n");
    println!("  whole_*       from nothing; one_rule_*, one_route_*: again, where one of one file has changed");
    println!("  --json FILE   also write the rows");
    println!("  --svg DIR     also draw time and held memory by size, of cases with three sizes or more");
    println!("  --only TEXT   only cases whose name contains TEXT");
    println!("  --list        names of the cases");
    std::process::exit(0)
}

fn stop(why: &str) -> ! {
    eprintln!("reload: {why}");
    std::process::exit(2)
}

fn main() {
    let options = Options::from_args(std::env::args().skip(1));
    let chosen = cases().into_iter().filter(|case| case.name.contains(&options.only));
    if options.list {
        return chosen.for_each(|case| println!("{}: benchmark", case.name));
    }
    head();
    let mut rows = Vec::new();
    for case in chosen {
        let row = (case.run)(&case.name);
        print(&row);
        rows.push(row);
    }
    let plots = growth::plots(&rows);
    plots.iter().for_each(growth::print);
    if let Some(file) = options.json {
        let text = serde_json::to_string_pretty(&rows).unwrap();
        written(&file, std::fs::write(&file, text + "\n"));
    }
    if let Some(directory) = options.svg {
        written(&directory, growth::draw(&plots, &directory));
    }
}

fn head() {
    println!(
        "{:<34} {:>8} {:>9} {:>9} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9}",
        "case", "KiB", "load ms", "comp. ms", "total ms", "drop ms", "allocs", "snap. KiB", "held KiB", "peak KiB"
    );
}

fn print(row: &Row) {
    let kib = |bytes: f64| bytes / 1024.0;
    println!(
        "{:<34} {:>8.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>10} {:>9.0} {:>9.0} {:>9.0}",
        row.case,
        kib(row.bytes as f64),
        row.load_ms,
        row.compile_ms,
        row.total_ms,
        row.drop_ms,
        row.allocations,
        kib(row.snapshot_bytes as f64),
        kib(row.held_bytes as f64),
        row.peak_growth_bytes.map_or(f64::NAN, |bytes| kib(bytes as f64)),
    );
}

fn written(place: &Path, result: std::io::Result<()>) {
    if let Err(error) = result {
        stop(&format!("`{}` cannot be written: {error}", place.display()));
    }
}
