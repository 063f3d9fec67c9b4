//! The `mesh` command: asks the code that serves traffic what a policy means.
//!
//! `mesh check` reads policy files as a service does and reports every problem; `mesh explain` compiles them for one
//! workload and tells what becomes of one request, and why; `mesh test` tries policies against files of tests;
//! `mesh diff` tells what changes in meaning from one policy to another; `mesh convert` prints policies in the native
//! dialect, and `mesh schema` its JSON Schema; `mesh cert` makes and judges certificates. `docs/cli.md` is the reference.

mod args;
mod cert;
mod check;
mod convert;
mod diff;
mod explain;
mod policy;
mod terminal;
mod test;
mod xml;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use terminal::Terminal;

/// What a run comes to; its number is the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// The policy or the certificate is good, or the request goes on.
    Good = 0,
    /// The policy has errors, a test fails, policies differ, or a certificate is refused.
    Bad = 1,
    /// There was nothing to read, or the command makes no sense.
    Unusable = 2,
    /// The request is denied.
    Denied = 3,
}

/// Why nothing came of a run; its text is for the user.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.color);
    let result = match &cli.command {
        Command::Check(arguments) => check::run(arguments, &terminal),
        Command::Explain(arguments) => explain::run(arguments, &terminal),
        Command::Test(arguments) => test::run(arguments, &terminal),
        Command::Diff(arguments) => diff::run(arguments, &terminal),
        Command::Convert(arguments) => convert::run(arguments, &terminal),
        Command::Schema => convert::schema(&terminal),
        Command::Cert(command) => cert::run(command, &terminal),
    };
    let exit = result.unwrap_or_else(|error| {
        terminal.complain(&*error);
        Exit::Unusable
    });
    ExitCode::from(exit as u8)
}
