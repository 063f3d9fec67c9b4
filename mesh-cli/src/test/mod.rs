//! `mesh test`: whether policies do what their tests say.

mod json;
mod junit;

use std::io::Read;
use std::path::{Path, PathBuf};

use mesh_core::trial::{Selection, TrialReport, Verdict};
use mesh_tower::reload::watch::FILE_LIMIT;
use mesh_tower::testing::{PolicyTests, find_tests, selected_tests, tests_of};

use crate::args::{TestArguments, TestFormat};
use crate::terminal::{Style, Terminal, styled};
use crate::{Exit, Failure};

/// Tries the tests and prints what became of them.
///
/// # Errors
///
/// Where there is nothing to try or the answer cannot be written.
pub(crate) fn run(arguments: &TestArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let tests = read(arguments)?;
    for warning in &tests.warnings {
        terminal.warn(warning);
    }
    let reports = &tests.reports;
    let is_empty = reports
        .iter()
        .all(|report| report.problems.is_none() && report.results.is_empty());
    if let (true, Some(filter)) = (is_empty, &arguments.filter) {
        return Err(format!("no test has `{filter}` in its name").into());
    }
    match arguments.output {
        TestFormat::Human => terminal.answer(&human(reports, terminal))?,
        TestFormat::Json => terminal.json(&json::Answer::new(reports))?,
        TestFormat::Junit => terminal.answer(&junit::document(reports))?,
    }
    Ok(exit(reports))
}

/// The path that stands for the standard input.
const STDIN: &str = "-";

fn read(arguments: &TestArguments) -> Result<PolicyTests, Failure> {
    let selection = arguments.filter.as_deref().map_or(Selection::All, Selection::Named);
    let is_stdin = |path: &PathBuf| path.as_path() == Path::new(STDIN);
    let mut named: Vec<PathBuf> = arguments.files.iter().filter(|path| !is_stdin(path)).cloned().collect();
    if arguments.files.is_empty() {
        named = find_tests(Path::new("."))?;
        if named.is_empty() {
            return Err("no file `*.test.yaml` is below this directory: name the files of tests".into());
        }
    }
    let mut tests = PolicyTests::default();
    if !named.is_empty() {
        tests = selected_tests(named, selection);
        if let Some(error) = tests.unread.take() {
            return Err(error.into());
        }
    }
    if arguments.files.iter().any(is_stdin) {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
        tests
            .reports
            .push(tests_of("<stdin>", &bytes, Path::new("."), selection));
    }
    Ok(tests)
}

/// A file that is none of tests weighs more than a test that fails.
fn exit(reports: &[TrialReport]) -> Exit {
    if reports.iter().any(|report| report.problems.is_some()) {
        Exit::Unusable
    } else if reports.iter().all(TrialReport::is_ok) {
        Exit::Good
    } else {
        Exit::Bad
    }
}

fn human(reports: &[TrialReport], terminal: &Terminal) -> String {
    let mut text = String::new();
    for report in reports {
        if let Some(problems) = &report.problems {
            text.push_str(problems.trim_end());
            text.push_str("\n\n");
        }
        for result in report.failures() {
            let word = styled(terminal.out, Style::Bad, "FAILED");
            text.push_str(&format!("{word} {}:{}: {}\n", report.file, result.line, result.name));
            // A string takes all that is written to it.
            let _ = result.explain(&report.file, &mut text);
            text.push('\n');
        }
    }
    text + &summary(reports, terminal)
}

/// `ok: 2 files, 5 tests passed`.
fn summary(reports: &[TrialReport], terminal: &Terminal) -> String {
    let count = |one: fn(&TrialReport) -> usize| reports.iter().map(one).sum::<usize>();
    let (passed, skipped) = (count(TrialReport::passed), count(|report| report.skipped));
    let failed = count(|report| report.failures().count());
    let unusable = count(|report| usize::from(report.problems.is_some()));
    let (style, word) = match exit(reports) {
        Exit::Good => (Style::Good, "ok"),
        Exit::Unusable => (Style::Bad, "unusable"),
        _ => (Style::Bad, "failed"),
    };
    let mut line = format!(
        "{}: {}, {} passed",
        styled(terminal.out, style, word),
        counted(reports.len(), "file"),
        counted(passed, "test")
    );
    for (number, what) in [(failed, "failed"), (skipped, "left out")] {
        if number > 0 {
            line.push_str(&format!(", {number} {what}"));
        }
    }
    if unusable > 0 {
        line.push_str(&format!(", {} cannot be used", counted(unusable, "file")));
    }
    line + "\n"
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// The name of a verdict.
const fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed(_) => "failed",
        _ => "unusable",
    }
}
