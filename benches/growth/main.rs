//! How costs grow: with rules and endpoints, with connections, with services; and what a large reload does to requests.
//!
//! `cargo bench -p mesh-benches --bench growth -- --help`.
//!
//! Each measure is fitted with a power of its size, by least squares on the logarithms. Memory is what is resident, of
//! processes of their own. Processor time is that of their threads, the least of some samples. Instructions, counted by
//! callgrind, repeat; times are those of one machine and moment.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark may stop, and prints"
)]

mod connections;
#[path = "../instructions/decisions.rs"]
mod decisions;
mod decisions_by_size;
mod holder;
mod process;
mod reload;
mod report;
mod server;
mod services;
mod world;

use std::path::PathBuf;

use mesh_benches::callgrind;
use mesh_benches::case::{Case, Work};

use report::Report;

/// A part of the benchmark.
struct Section {
    name: &'static str,
    about: &'static str,
    run: fn(&Options, &mut Report),
}

const SECTIONS: [Section; 4] = [
    Section {
        name: "decisions",
        about: "instructions and nanoseconds of route match, authorization, pick …, at 10 to 100 000; valgrind for the first",
        run: decisions_by_size::run,
    },
    Section {
        name: "connections",
        about: "server memory and processor time a request, at 1 to 10 000 mTLS connections, beside bare hyper and rustls",
        run: connections::run,
    },
    Section {
        name: "services",
        about: "memory added to a process and processor time a request, at 1 to 1 000 services of ten endpoints",
        run: services::run,
    },
    Section {
        name: "reload",
        about: "latency of requests while a policy of 10 MB is put in force",
        run: reload::run,
    },
];

fn cases() -> Vec<Case> {
    decisions::cases()
}

/// What the command line asks for.
#[derive(Default)]
struct Options {
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    section: Option<String>,
    only: String,
    is_quick: bool,
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
                "--section" => options.section = Some(value()),
                "--only" => options.only = value(),
                "--quick" => options.is_quick = true,
                // Cargo asks for names with `--list`, and runs benchmarks as tests with `--test`.
                "--list" | "--test" => options.list = true,
                "--bench" => {}
                "--help" | "-h" => help(),
                other => stop(&format!("unknown argument `{other}`; `--help` tells which there are")),
            }
        }
        options
    }

    /// `--only` names a section, or decisions.
    fn wants(&self, section: &Section) -> bool {
        match &self.section {
            Some(name) => section.name == name,
            None => self.only.is_empty() || section.name == "decisions",
        }
    }
}

fn help() -> ! {
    println!("How costs grow, fitted with powers and plotted.\n");
    println!("  --json FILE     also write all points, fits and figures");
    println!("  --svg DIR       also draw each plot");
    println!("  --section NAME  only this section");
    println!("  --only TEXT     only decisions whose name contains TEXT");
    println!("  --quick         smaller sizes, fewer rounds\n");
    for section in SECTIONS {
        println!("  {:<14}  {}", section.name, section.about);
    }
    std::process::exit(0)
}

fn stop(why: &str) -> ! {
    eprintln!("growth: {why}");
    std::process::exit(2)
}

fn main() {
    if let Some((name, iterations)) = callgrind::asked() {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        callgrind::child((case.prepare)(), iterations);
    }
    if let Some(part) = process::part() {
        return play(&part);
    }
    let options = Options::from_args(std::env::args().skip(1));
    if options.list {
        return SECTIONS
            .iter()
            .for_each(|section| println!("{}: benchmark", section.name));
    }
    if let Some(name) = options
        .section
        .as_ref()
        .filter(|name| SECTIONS.iter().all(|one| one.name != **name))
    {
        stop(&format!("there is no section `{name}`"));
    }
    let mut report = Report::default();
    for section in SECTIONS.iter().filter(|section| options.wants(section)) {
        (section.run)(&options, &mut report);
    }
    let drawn = options
        .svg
        .as_deref()
        .map_or(Ok(()), |directory| report.draw(directory));
    let text = serde_json::to_string_pretty(&report).unwrap() + "\n";
    let written = options.json.map_or(Ok(()), |file| std::fs::write(file, text));
    if let Err(error) = drawn.and(written) {
        stop(&format!("what was found cannot be written: {error}"));
    }
}

/// Plays a part in a process of its own.
fn play(part: &[String]) {
    let part: Vec<&str> = part.iter().map(String::as_str).collect();
    if let ["time", name] = part[..] {
        return decisions_by_size::play(name);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match part[..] {
            ["server", kind, directory] => server::play(kind, directory.as_ref()).await,
            ["holder", directory, address] => holder::play(directory.as_ref(), address).await,
            ["services", kind, services, endpoints, directory] => {
                let counts = (services.parse().unwrap(), endpoints.parse().unwrap());
                services::play(kind, counts, directory.as_ref()).await;
            }
            ["reloading", directory] => reload::play(directory.as_ref()).await,
            _ => stop("nobody plays this part"),
        }
    });
}
