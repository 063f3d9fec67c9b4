//! The answer of `mesh test -o junit`: the XML that CI systems read, one suite a file.

use std::fmt::Write as _;

use mesh_core::trial::{TestResult, TrialReport, Verdict};

use crate::xml::escaped;

/// The document.
pub(super) fn document(reports: &[TrialReport]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"mesh test\">\n");
    for report in reports {
        suite(report, &mut xml);
    }
    xml + "</testsuites>\n"
}

/// A string takes all that is written to it, so that results of `write!` say nothing here.
fn suite(report: &TrialReport, xml: &mut String) {
    let failures = report
        .failures()
        .filter(|result| matches!(result.verdict, Verdict::Failed(_)));
    let failures = failures.count();
    let unread = usize::from(report.problems.is_some());
    let errors = report.failures().count() - failures + unread;
    let file = escaped(&report.file);
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{}\">",
        report.results.len() + unread + report.skipped,
        report.skipped
    );
    if let Some(problems) = &report.problems {
        let problems = escaped(problems.trim_end());
        let _ = writeln!(
            xml,
            "    <testcase classname=\"{file}\" name=\"the file\"><error message=\"no file of tests\">{problems}</error></testcase>"
        );
    }
    for result in &report.results {
        case(&report.file, result, xml);
    }
    xml.push_str("  </testsuite>\n");
}

fn case(file: &str, result: &TestResult, xml: &mut String) {
    let (name, class) = (escaped(&result.name), escaped(file));
    let _ = write!(
        xml,
        "    <testcase classname=\"{class}\" name=\"{name}\" file=\"{class}\" line=\"{}\"",
        result.line
    );
    let (element, message) = match &result.verdict {
        Verdict::Passed => return xml.push_str("/>\n"),
        Verdict::Failed(differences) => (
            "failure",
            differences.first().map(ToString::to_string).unwrap_or_default(),
        ),
        _ => ("error", "the test cannot be tried".into()),
    };
    let mut text = String::new();
    let _ = result.explain(file, &mut text);
    let _ = writeln!(
        xml,
        "><{element} message=\"{}\">{}</{element}></testcase>",
        escaped(&message),
        escaped(text.trim_end())
    );
}
