//! Tests of the parts of `side_by_side` that reckon and read. They are a target of their own, since a benchmark's target without libtest runs
//! no tests.
#![allow(
    dead_code,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "the program itself, in `main.rs`, uses the rest, and has the reasons"
)]

#[path = "../client/mod.rs"]
mod client;
#[path = "../details.rs"]
mod details;
#[path = "../identities.rs"]
mod identities;
#[path = "../matrix.rs"]
mod matrix;
#[path = "../options.rs"]
mod options;
#[path = "../outcome.rs"]
mod outcome;
#[path = "../peers/mod.rs"]
mod peers;
#[path = "../process.rs"]
mod process;
#[path = "../report.rs"]
mod report;
#[path = "../role.rs"]
mod role;
#[path = "../server.rs"]
mod server;
#[path = "../service.rs"]
mod service;
#[path = "../session.rs"]
mod session;
#[path = "../stage.rs"]
mod stage;
#[path = "../statistics.rs"]
mod statistics;
#[path = "../summary.rs"]
mod summary;
#[path = "../turns.rs"]
mod turns;
#[path = "../usage.rs"]
mod usage;

mod of_options;
mod of_pace;
mod of_report;
mod of_session;
mod of_statistics;
mod of_summary;
mod of_turns;
mod of_usage;
