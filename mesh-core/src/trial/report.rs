//! What became of the tests of a file.

use std::fmt;

use serde::Serialize;

use crate::policy::diagnostic::JsonReport;

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Everything is as expected.
    Passed,
    /// Something is not; one entry for each difference.
    Failed(Vec<Difference>),
    /// The test could not be tried, for this reason.
    Unusable(String),
}

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// Which field, such as `retry.attempts`.
    pub field: String,
    /// What the test expects, as JSON.
    pub expected: String,
    /// What is there, as JSON; `nothing` where it is not there.
    pub found: String,
    /// The line of the expectation in the test's file, from 1.
    pub line: u32,
    /// What may be meant instead.
    pub help: Option<String>,
}

/// A test and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// Its line in the file, from 1.
    pub line: u32,
    /// What became of it.
    pub verdict: Verdict,
    /// Why the policy decides as it does, in a sentence; `None` where nothing was decided.
    pub reason: Option<String>,
}

/// All tests of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrialReport {
    /// The file's name.
    pub file: String,
    /// The tests that were tried, in the order of the file.
    pub results: Vec<TestResult>,
    /// How many were left out, as their name was not asked for.
    pub skipped: usize,
    /// What is wrong with the file itself, for people: it was not tried.
    pub problems: Option<String>,
    /// The same for programs.
    pub findings: Option<JsonReport>,
}

impl TrialReport {
    /// Nothing of the file is tried yet.
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            results: Vec::new(),
            skipped: 0,
            problems: None,
            findings: None,
        }
    }

    /// Whether the file could be read and every test has passed.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems.is_none() && self.failures().next().is_none()
    }

    /// The tests that have not passed.
    pub fn failures(&self) -> impl Iterator<Item = &TestResult> {
        self.results.iter().filter(|result| result.verdict != Verdict::Passed)
    }

    /// How many tests have passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.results.len() - self.failures().count()
    }
}

/// The tests that have not passed, each with both sides, and a line that counts.
impl fmt::Display for TrialReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(problems) = &self.problems {
            return write!(f, "{}", problems.trim_end());
        }
        for result in self.failures() {
            writeln!(f, "FAILED {}:{}: {}", self.file, result.line, result.name)?;
            result.explain(&self.file, f)?;
        }
        let failed = self.failures().count();
        write!(f, "{}: {} passed, {failed} failed", self.file, self.passed())?;
        match self.skipped {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} left out"),
        }
    }
}

impl TestResult {
    /// Writes why the test has not passed, indented.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn explain(&self, file: &str, out: &mut impl fmt::Write) -> fmt::Result {
        match &self.verdict {
            Verdict::Passed => return Ok(()),
            Verdict::Unusable(reason) => writeln!(out, "  {}", reason.trim_end().replace('\n', "\n  "))?,
            Verdict::Failed(differences) => {
                for one in differences {
                    writeln!(out, "  {}  ({file}:{})", one.field, one.line)?;
                    writeln!(out, "    expected {}", one.expected)?;
                    writeln!(out, "    found    {}", one.found)?;
                    if let Some(help) = &one.help {
                        writeln!(out, "    help     {help}")?;
                    }
                }
            }
        }
        match &self.reason {
            Some(reason) => writeln!(out, "  reason: {reason}"),
            None => Ok(()),
        }
    }
}

/// One line.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, expected, found) = (&self.field, &self.expected, &self.found);
        write!(f, "{field}: expected {expected}, found {found}")
    }
}
