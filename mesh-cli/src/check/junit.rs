//! `-o junit`: one suite, a case for each file, which fails by its errors.

use std::fmt::Write as _;

use mesh_core::policy::diagnostic::{JsonDiagnostic, JsonReport, Severity};

use crate::xml::escaped;

/// The case of problems that are in no file.
const WHOLE: &str = "the policy as a whole";

/// The document. A string takes all that is written to it, so that results of `write!` say nothing here.
pub(super) fn document(report: &JsonReport, files: &[&str]) -> String {
    let cases = cases(report, files);
    let failures = cases.iter().filter(|case| case.errors().next().is_some()).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"mesh check\">\n");
    let _ = writeln!(
        xml,
        "  <testsuite name=\"mesh check\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\">",
        cases.len()
    );
    for case in &cases {
        case.write(&mut xml);
    }
    xml + "  </testsuite>\n</testsuites>\n"
}

/// A file and what is said about it.
struct Case<'a> {
    name: &'a str,
    problems: Vec<&'a JsonDiagnostic>,
}

/// Every file in order; before them what is in none, and paths that could not be read.
fn cases<'a>(report: &'a JsonReport, files: &[&'a str]) -> Vec<Case<'a>> {
    let mut cases: Vec<Case<'a>> = Vec::new();
    let file_of = |one: &'a JsonDiagnostic| one.file.as_deref().unwrap_or(WHOLE);
    for one in report.diagnostics.iter().filter(|one| !files.contains(&file_of(one))) {
        match cases.iter_mut().find(|case| case.name == file_of(one)) {
            Some(case) => case.problems.push(one),
            None => cases.push(Case {
                name: file_of(one),
                problems: vec![one],
            }),
        }
    }
    let of = |name: &&'a str| Case {
        name,
        problems: report.diagnostics.iter().filter(|one| file_of(one) == *name).collect(),
    };
    cases.extend(files.iter().map(of));
    cases
}

impl Case<'_> {
    fn errors(&self) -> impl Iterator<Item = &JsonDiagnostic> {
        let is_error = |one: &&&JsonDiagnostic| one.severity == Severity::Error;
        self.problems.iter().filter(is_error).copied()
    }

    /// A case has one failure at most, as its readers have it: the first error is its message, all are its text.
    fn write(&self, xml: &mut String) {
        let name = escaped(self.name);
        let _ = write!(
            xml,
            "    <testcase classname=\"mesh check\" name=\"{name}\" file=\"{name}\""
        );
        if self.problems.is_empty() {
            return xml.push_str("/>\n");
        }
        xml.push_str(">\n");
        if let Some(first) = self.errors().next() {
            let (code, message) = (first.code, escaped(&first.message));
            let text: Vec<String> = self.errors().map(line).collect();
            let text = escaped(&text.join("\n"));
            let _ = writeln!(
                xml,
                "      <failure type=\"{code}\" message=\"{message}\">{text}</failure>"
            );
        }
        let warnings = self.problems.iter().filter(|one| one.severity == Severity::Warning);
        let warnings: Vec<String> = warnings.map(|one| line(one)).collect();
        if !warnings.is_empty() {
            let _ = writeln!(xml, "      <system-out>{}</system-out>", escaped(&warnings.join("\n")));
        }
        xml.push_str("    </testcase>\n");
    }
}

/// `file:line:column: error[MESH0101]: message`, and in lines below it the other places and the help.
fn line(one: &JsonDiagnostic) -> String {
    let mut text = String::new();
    if let Some(file) = &one.file {
        text.push_str(file);
        for number in [one.line, one.column].into_iter().flatten() {
            let _ = write!(text, ":{number}");
        }
        text.push_str(": ");
    }
    let _ = write!(text, "{}[{}]: {}", one.severity, one.code, one.message);
    for label in &one.labels {
        let place = super::place(&label.place);
        let _ = write!(text, "\n  note: {}{place}", label.message);
    }
    if let Some(help) = &one.help {
        let _ = write!(text, "\n  help: {help}");
    }
    text
}
