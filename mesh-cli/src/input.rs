//! Reading policies as a running service does.

use std::io::IsTerminal;
use std::path::PathBuf;

use mesh_core::policy::Loaded;
use mesh_core::policy::diagnostic::Paint;
use mesh_tower::reload::watch::{PolicyFiles, ReadError};

/// Reads and checks all files; warnings about the files themselves go to standard error.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Loaded, ReadError> {
    let set = PolicyFiles::new(paths.iter().cloned()).read()?;
    for warning in &set.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(Loaded::from_files(
        set.files.into_iter().map(|file| (file.name, file.bytes)),
    ))
}

/// Colours for a terminal, unless `NO_COLOR` is set.
pub(crate) fn paint(is_terminal: bool) -> Paint {
    let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_terminal && !wants_none {
        Paint::Ansi
    } else {
        Paint::Plain
    }
}

/// The diagnostics, for people, on standard error.
pub(crate) fn print_report(loaded: &Loaded) {
    let paint = paint(std::io::stderr().is_terminal());
    eprint!("{}", loaded.report.render(&loaded.sources, paint));
}
