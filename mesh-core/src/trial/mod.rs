//! Policy tests: what a policy must do to a request, written in YAML and tried without a network.
//!
//! A suite names a policy and has tests. A test sends a request out of a workload (`outbound`), lets one come in
//! (`inbound`), or only loads the policy (`load`), and says what it expects: any part of what
//! [`explain`](crate::explain) tells, and for a test with a script of its server (`upstream`) how the request ends. All
//! of it is decided by the code that serves traffic; time is virtual and randomness has a seed.
//!
//! ```
//! use mesh_core::trial::{Verdict, run};
//!
//! let file = "
//! policy: |
//!   services:
//!     orders: { endpoints: [10.0.0.4:8080] }
//! tests:
//!   - name: orders can be called
//!     outbound: { url: http://orders/7 }
//!     expect: { outcome: routed, destinations: { orders: 1.0 } }
//! ";
//! let report = run("orders.yaml", file, &mut |path| Err(format!("no file `{path}`")));
//! assert!(report.is_ok(), "{report}");
//! assert_eq!(report.results[0].verdict, Verdict::Passed);
//! ```

mod compare;
mod read;
mod simulate;
mod tried;

use std::fmt;

use serde::Serialize;

pub use read::PolicyFiles;

use crate::policy::diagnostic::Paint;
use crate::policy::diagnostic::Report as Diagnostics;
use crate::policy::source::Sources;

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
}

/// All tests of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrialReport {
    /// The file's name.
    pub file: String,
    /// The tests, in the order of the file.
    pub results: Vec<TestResult>,
    /// What is wrong with the file itself: it was not tried.
    pub problems: Option<String>,
}

impl TrialReport {
    /// Whether the file could be read and every test has passed.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems.is_none() && self.failures().next().is_none()
    }

    /// The tests that have not passed.
    pub fn failures(&self) -> impl Iterator<Item = &TestResult> {
        self.results.iter().filter(|result| result.verdict != Verdict::Passed)
    }
}

impl fmt::Display for TrialReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(problems) = &self.problems {
            return write!(f, "{problems}");
        }
        for result in self.failures() {
            writeln!(f, "FAILED {}:{}: {}", self.file, result.line, result.name)?;
            match &result.verdict {
                Verdict::Failed(differences) => differences.iter().try_for_each(|one| writeln!(f, "{one}"))?,
                Verdict::Unusable(reason) => writeln!(f, "  {}", reason.trim_end().replace('\n', "\n  "))?,
                Verdict::Passed => {}
            }
        }
        let failed = self.failures().count();
        write!(
            f,
            "{}: {} passed, {failed} failed",
            self.file,
            self.results.len() - failed
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, expected, found) = (&self.field, &self.expected, &self.found);
        write!(f, "  {field} (line {}): expected {expected}, found {found}", self.line)
    }
}

/// Reads a file of tests and tries them. `files` gives the policy files that a path of the test file stands for.
#[must_use]
pub fn run(name: &str, text: &str, files: &mut PolicyFiles<'_>) -> TrialReport {
    let mut sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let file = sources.add(name, text);
    let suites = read::suites(&sources, file, &mut diagnostics);
    let mut report = TrialReport {
        file: name.to_owned(),
        results: Vec::new(),
        problems: None,
    };
    if diagnostics.has_errors() {
        report.problems = Some(diagnostics.render(&sources, Paint::Plain));
        return report;
    }
    for suite in &suites {
        report.results.extend(tried::suite(suite, files));
    }
    report
}
