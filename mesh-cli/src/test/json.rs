//! The answer of `mesh test -o json`.

use mesh_core::policy::diagnostic::JsonDiagnostic;
use mesh_core::trial::{Difference, TestResult, TrialReport, Verdict};
use serde::Serialize;
use serde_json::Value;

use super::word;

/// All files.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    passed: usize,
    failed: usize,
    skipped: usize,
    files: Vec<File<'a>>,
}

#[derive(Debug, Serialize)]
struct File<'a> {
    file: &'a str,
    /// What is wrong with the file itself.
    diagnostics: &'a [JsonDiagnostic],
    tests: Vec<Test<'a>>,
}

#[derive(Debug, Serialize)]
struct Test<'a> {
    name: &'a str,
    line: u32,
    verdict: &'static str,
    /// Why the policy decides as it does, or why the test could not be tried.
    reason: Option<&'a str>,
    differences: Vec<Sides<'a>>,
}

#[derive(Debug, Serialize)]
struct Sides<'a> {
    field: &'a str,
    line: u32,
    expected: Value,
    found: Value,
    help: Option<&'a str>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(reports: &'a [TrialReport]) -> Self {
        Self {
            passed: reports.iter().map(TrialReport::passed).sum(),
            failed: reports.iter().map(|report| report.failures().count()).sum(),
            skipped: reports.iter().map(|report| report.skipped).sum(),
            files: reports.iter().map(File::new).collect(),
        }
    }
}

impl<'a> File<'a> {
    fn new(report: &'a TrialReport) -> Self {
        Self {
            file: &report.file,
            diagnostics: report.findings.as_ref().map_or(&[], |findings| &findings.diagnostics),
            tests: report.results.iter().map(Test::new).collect(),
        }
    }
}

impl<'a> Test<'a> {
    fn new(result: &'a TestResult) -> Self {
        let (reason, differences) = match &result.verdict {
            Verdict::Unusable(reason) => (Some(reason), &[][..]),
            Verdict::Failed(differences) => (result.reason.as_ref(), differences.as_slice()),
            _ => (result.reason.as_ref(), &[][..]),
        };
        Self {
            name: &result.name,
            line: result.line,
            verdict: word(&result.verdict),
            reason: reason.map(String::as_str),
            differences: differences.iter().map(Sides::new).collect(),
        }
    }
}

impl<'a> Sides<'a> {
    fn new(difference: &'a Difference) -> Self {
        Self {
            field: &difference.field,
            line: difference.line,
            expected: value(&difference.expected),
            found: value(&difference.found),
            help: difference.help.as_deref(),
        }
    }
}

/// What is not there is null.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
