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
pub(crate) mod question;
pub(crate) mod read;
mod report;
mod simulate;
#[cfg(test)]
mod tests;
mod tried;

pub use report::{Difference, TestResult, TrialReport, Verdict};

use crate::policy::diagnostic::{Paint, Report};
use crate::policy::source::Sources;

/// Gives the files, each with its name, that a path in a test file stands for; the reason where there are none.
pub type PolicyFiles<'a> = dyn FnMut(&str) -> Result<Vec<(String, Vec<u8>)>, String> + 'a;

/// Which tests are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection<'a> {
    /// All of them.
    #[default]
    All,
    /// Those with this text in their name.
    Named(&'a str),
}

impl Selection<'_> {
    fn includes(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(text) => name.contains(text),
        }
    }
}

/// Reads a file of tests and tries them. `files` gives the policy files that a path of the test file stands for.
#[must_use]
pub fn run(name: &str, text: &str, files: &mut PolicyFiles<'_>) -> TrialReport {
    run_selected(name, text.as_bytes(), Selection::All, files)
}

/// Reads a file of tests and tries some of them; the whole file must be good in any case.
#[must_use]
pub fn run_selected(name: &str, bytes: &[u8], selection: Selection<'_>, files: &mut PolicyFiles<'_>) -> TrialReport {
    let (mut sources, mut problems) = (Sources::new(), Report::new());
    let file = sources.add_bytes(name, bytes, &mut problems);
    let suites = file.map_or_else(Vec::new, |file| read::suites(&sources, file, &mut problems));
    let mut report = TrialReport::new(name);
    let mut prepared = Vec::new();
    if !problems.has_errors() {
        prepared.extend(
            suites
                .iter()
                .map(|suite| tried::Prepared::new(suite, files, &mut problems)),
        );
    }
    if problems.has_errors() {
        report.problems = Some(problems.render(&sources, Paint::Plain));
        report.findings = Some(problems.json(&sources));
        return report;
    }
    for suite in prepared {
        report.results.extend(suite.results(|name| selection.includes(name)));
    }
    report.skipped = suites.iter().map(|suite| suite.tests.len()).sum::<usize>() - report.results.len();
    report
}
