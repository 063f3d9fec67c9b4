//! `mesh check`: what is wrong with policy files.

mod github;
mod junit;
mod sarif;
pub(crate) mod seen;

use mesh_core::policy::diagnostic::{Code, Diagnostic, JsonPlace, JsonReport, Place, Report};
use mesh_core::policy::source::Sources;
use mesh_core::workload::Workload;

use crate::args::{CheckArguments, CheckFormat, Deny};
use crate::policy::PolicyText;
use crate::terminal::{Style, Terminal, styled};
use crate::{Exit, Failure};

/// Reads, checks and compiles the files, and prints all problems.
///
/// # Errors
///
/// Where nothing can be read or the answer cannot be written.
pub(crate) fn run(arguments: &CheckArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut text = PolicyText::read(&arguments.paths).or_else(|error| unread(error, arguments.output, terminal))?;
    // What only compiling finds would stop a service from starting just as well.
    let _ = text.compile(&Workload::default());
    let lists = seen::read(&arguments.seen)?;
    if let Some(policy) = &text.policy {
        mesh_core::policy::seen::check(policy, &lists, arguments.seen_within, &mut text.report);
    }
    if arguments.deny == Some(Deny::Warnings) {
        text.report.deny_warnings();
    }
    for remark in &text.remarks {
        terminal.warn(remark);
    }
    match arguments.output {
        CheckFormat::Human => {
            let mut answer = text.render(terminal.out);
            if !answer.is_empty() {
                answer.push('\n');
            }
            answer.push_str(&summary(&text, terminal));
            terminal.answer(&answer)?;
        }
        format => print(format, &text.json(), &text.file_names(), terminal)?,
    }
    Ok(exit(&text.report))
}

/// Prints a report for programs.
fn print(format: CheckFormat, report: &JsonReport, files: &[&str], terminal: &Terminal) -> Result<(), Failure> {
    match format {
        CheckFormat::Github => terminal.answer(&github::commands(report)),
        CheckFormat::Sarif => terminal.json(&sarif::log(report)),
        CheckFormat::Junit => terminal.answer(&junit::document(report, files)),
        CheckFormat::Json | CheckFormat::Human => terminal.json(report),
    }
}

/// Programs get a report in any case, the reason in it; people read the reason beside it.
fn unread(error: Failure, output: CheckFormat, terminal: &Terminal) -> Result<PolicyText, Failure> {
    if output != CheckFormat::Human {
        let mut report = Report::new();
        report.push(Diagnostic::new(Code::NO_DOCUMENT, Place::Nowhere, error.to_string()));
        print(output, &report.json(&Sources::new()), &[], terminal)?;
    }
    Err(error)
}

/// Where a remark is, in brackets.
fn place(place: &JsonPlace) -> String {
    match (&place.file, place.line) {
        (Some(file), Some(line)) => format!(" ({file}:{line})"),
        (Some(file), None) => format!(" ({file})"),
        _ => String::new(),
    }
}

/// What a report means for the process, whatever it is printed as.
pub(crate) fn exit(report: &Report) -> Exit {
    if report.has_errors() { Exit::Bad } else { Exit::Good }
}

fn summary(text: &PolicyText, terminal: &Terminal) -> String {
    let files = match text.files {
        1 => "1 file".into(),
        count => format!("{count} files"),
    };
    let report = &text.report;
    let (style, word) = if report.has_errors() {
        (Style::Bad, "refused")
    } else if report.is_empty() {
        (Style::Good, "ok")
    } else {
        (Style::Warning, "ok")
    };
    let word = styled(terminal.out, style, word);
    match report.is_empty() {
        true => format!("{word}: {files}, no problems\n"),
        false => format!("{word}: {files}, {}\n", report.summary()),
    }
}
