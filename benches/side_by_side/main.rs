//! One service and one load client: without a mesh, through this library, through tower's layers, through sidecars of others.
//!
//! `cargo bench -p mesh-benches --bench side_by_side -- --help` tells what is compared and how; docs/performance.md why so.
//!
//! This program starts itself again for the service and for the load client, so that each has its process and, unless
//! asked for more, its one worker thread, as every proxy has; `session` interleaves rounds, `stage` sets one run up.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a benchmark may stop, and prints"
)]

mod client;
mod details;
mod identities;
mod matrix;
mod options;
mod outcome;
mod peers;
mod process;
mod report;
mod role;
mod server;
mod service;
mod session;
mod stage;
mod statistics;
mod summary;
mod turns;
mod usage;

use std::path::Path;

use mimalloc::MiMalloc;
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use matrix::Cell;
use options::{Asked, HELP, Options};
use peers::Peers;
use role::Role;
use session::Session;
use stage::Stage;
use summary::Summary;

/// The service and the load client of every configuration allocate by it, as services do that care for speed.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() {
    let done = match Role::own() {
        Some(role) => role.map_err(Into::into).and_then(play),
        None => asked(),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(2);
    }
}

fn play(role: Role) -> Outcome {
    let runtime = runtime(role.workers())?;
    match role {
        Role::Server(side) => runtime.block_on(server::run(side)),
        Role::Client(side, load) => runtime.block_on(client::run(side, client::Task::Load(load))),
        Role::Turns(side) => runtime.block_on(client::run(side, client::Task::Turns)),
    }
}

/// One thread for everything, unless told otherwise: so have the proxies.
fn runtime(workers: usize) -> std::io::Result<Runtime> {
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers).enable_all().build()
}

fn asked() -> Outcome {
    match Asked::from_args(std::env::args().skip(1))? {
        Asked::Help => print!("{HELP}"),
        Asked::List => Cell::all()
            .iter()
            .for_each(|cell| println!("{}: benchmark", cell.name())),
        Asked::Run(options) => compare(&options)?,
    }
    Ok(())
}

fn compare(options: &Options) -> Outcome {
    let temporary = tempfile::tempdir()?;
    let directory = options.keep.as_deref().unwrap_or_else(|| temporary.path());
    let directory = std::path::absolute(directory)?;
    let identities = directory.join("identities");
    std::fs::create_dir_all(&identities)?;
    identities::write(&identities)?;
    let stage = Stage {
        directory,
        identities,
        peers: Peers::find(),
        workers: options.workers,
    };
    let versions = stage.peers.versions();
    versions.iter().for_each(|version| println!("{version}"));
    let session = Session::run(&stage, options)?;
    let turns = turns::take(&stage, options);
    let summaries = Summary::all(&session.rows);
    print!("{}", report::text(&session, &summaries, &turns, options));
    if let Some(file) = &options.json {
        let figures: Vec<_> = summaries.iter().map(|summary| &summary.figures).collect();
        write(file, &figures)?;
    }
    if let Some(file) = &options.details {
        write(file, &details::of(&session, &turns, &versions, options))?;
    }
    Ok(())
}

fn write(file: &Path, value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value)? + "\n";
    std::fs::write(file, text).map_err(|error| format!("`{}` cannot be written: {error}", file.display()).into())
}
