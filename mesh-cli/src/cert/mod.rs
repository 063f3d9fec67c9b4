//! `mesh cert`: certificates for development, and what a peer thinks of a certificate.

mod args;
mod authority;
mod inspect;
mod moment;
mod verify;

use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mesh_core::policy::diagnostic::Paint;
use mesh_tower::tls::inspect::{self as tls_inspect, CertificateDer};
use mesh_tower::tls::svid::OwnIdentityError;

pub(crate) use self::args::CertCommand;
use crate::terminal::{Style, Terminal, styled};
use crate::{Exit, Failure};

/// The most bytes that are read of a file.
const LIMIT: u64 = 1 << 20;
/// The longest label and two spaces.
const LABEL_WIDTH: usize = 11;

/// Does what the command line says.
///
/// # Errors
///
/// Where something cannot be read or written.
pub(crate) fn run(command: &CertCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    match command {
        CertCommand::DevCa(arguments) => authority::make(arguments, terminal),
        CertCommand::Issue(arguments) => authority::issue(arguments, terminal),
        CertCommand::Inspect(arguments) => inspect::run(arguments, terminal),
        CertCommand::Verify(arguments) => verify::run(arguments, terminal),
    }
}

fn now(at: Option<SystemTime>) -> SystemTime {
    at.unwrap_or_else(SystemTime::now)
}

/// Reads a file, or the standard input where the path is `-`.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut text)),
    };
    read.map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    match text.len() as u64 > LIMIT {
        true => Err(format!("`{}` is larger than 1 MiB", path.display()).into()),
        false => Ok(text),
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// The certificates of a file, which need not be the own ones of a process.
fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    tls_inspect::certificates(text).map_err(|error| match error {
        OwnIdentityError::NoCertificate => of(path)(&"holds no certificate"),
        OwnIdentityError::Pem(reason) => of(path)(&format_args!("is not valid PEM: {reason}")),
        other => of(path)(&other),
    })
}

/// Says which of several files an error is about.
fn of(path: &Path) -> impl Fn(&dyn Display) -> Failure + use<> {
    let path: PathBuf = path.to_owned();
    move |error| format!("`{}`: {error}", path.display()).into()
}

/// A line of an answer for people.
fn fact(paint: Paint, label: &str, text: impl Display) -> String {
    let label = format!("{label:LABEL_WIDTH$}");
    format!("{}{text}\n", styled(paint, Style::Label, &label))
}
