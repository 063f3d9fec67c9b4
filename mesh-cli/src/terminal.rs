//! What is printed, where, and in which colours.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};

use mesh_core::policy::diagnostic::Paint;
use serde::Serialize;

use crate::Failure;
use crate::args::Color;

/// Both outputs of the process: answers go to the first, remarks about them to the second.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// How answers are painted.
    pub(crate) out: Paint,
    /// How remarks are painted.
    pub(crate) err: Paint,
}

/// A way to stress a text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// The name of a line.
    Label,
    /// Good news.
    Good,
    /// Bad news.
    Bad,
    /// Attention.
    Warning,
}

impl Terminal {
    /// Colours on terminals only, and not where `NO_COLOR` is set, unless `color` says otherwise.
    pub(crate) fn new(color: Color) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let paint = |is_terminal: bool| match color {
            Color::Always => Paint::Ansi,
            Color::Auto if is_terminal && !unwanted => Paint::Ansi,
            Color::Auto | Color::Never => Paint::Plain,
        };
        Self {
            out: paint(io::stdout().is_terminal()),
            err: paint(io::stderr().is_terminal()),
        }
    }

    /// Prints an answer.
    ///
    /// Who reads it may stop early (`| head`), which is no failure.
    pub(crate) fn answer(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Prints an answer for programs.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)?;
        self.answer(&format!("{text}\n"))
    }

    /// Prints a remark, if anybody can see it.
    pub(crate) fn remark(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Says why nothing came of a run.
    pub(crate) fn complain(&self, reason: &(impl fmt::Display + ?Sized)) {
        let error_word = styled(self.err, Style::Bad, "error");
        self.remark(&format!("{error_word}: {reason}\n"));
    }

    /// Says what the user should know besides the answer.
    pub(crate) fn warn(&self, text: &str) {
        let warning = styled(self.err, Style::Warning, "warning");
        self.remark(&format!("{warning}: {text}\n"));
    }
}

/// The text, stressed where colours are wanted.
pub(crate) fn styled(paint: Paint, style: Style, text: &str) -> String {
    let code = match style {
        Style::Label => "2",
        Style::Good => "1;32",
        Style::Bad => "1;31",
        Style::Warning => "1;33",
    };
    match paint {
        Paint::Plain => text.into(),
        Paint::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
    }
}
