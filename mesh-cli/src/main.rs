//! `mesh`: says what policies mean, with the very code that serves traffic.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

mod args;
mod check;
mod explain;
mod input;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

/// Exit codes, which scripts rely on.
mod exit {
    /// Nothing wrong, or only warnings; a request that is allowed.
    pub(crate) const CLEAN: u8 = 0;
    /// The policy has errors.
    pub(crate) const ERRORS: u8 = 1;
    /// There was nothing to read, or the command makes no sense.
    pub(crate) const USAGE: u8 = 2;
    /// A request that is denied.
    pub(crate) const DENIED: u8 = 3;
}

fn main() -> ExitCode {
    let code = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
    };
    ExitCode::from(code)
}
