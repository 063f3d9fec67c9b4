//! `-o github`: workflow commands, which GitHub shows beside the lines of a change.
//!
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>

use std::fmt::Write as _;

use mesh_core::policy::diagnostic::{Code, JsonDiagnostic, JsonReport};

/// One command a problem: `::error file=…,line=…,col=…,title=…::message`.
pub(super) fn commands(report: &JsonReport) -> String {
    let mut text: String = report.diagnostics.iter().map(command).collect();
    let omitted = (report.errors + report.warnings).saturating_sub(report.diagnostics.len());
    if omitted > 0 {
        let _ = writeln!(text, "::notice title=mesh check::… and {omitted} more problems");
    }
    text
}

fn command(one: &JsonDiagnostic) -> String {
    let mut text = format!("::{} ", one.severity);
    if let Some(file) = &one.file {
        let _ = write!(text, "file={},", property(file));
    }
    // Columns are taken only where a mark ends on the line that it begins on.
    let columns = one.column.zip(one.end_column).filter(|_| one.line == one.end_line);
    let fields = [
        ("line", one.line),
        ("endLine", one.end_line),
        ("col", columns.map(|(start, _)| start)),
        ("endColumn", columns.map(|(_, end)| end)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            let _ = write!(text, "{name}={value},");
        }
    }
    let title = Code::find(one.code).map_or("", Code::title);
    let _ = write!(text, "title={}::", property(&format!("{}: {title}", one.code)));
    text.push_str(&data(&message(one)));
    text.push('\n');
    text
}

/// The message, and below it what else is said.
fn message(one: &JsonDiagnostic) -> String {
    let mut text = one.message.clone();
    for label in &one.labels {
        let place = super::place(&label.place);
        let _ = write!(text, "\nnote: {}{place}", label.message);
    }
    if let Some(help) = &one.help {
        let _ = write!(text, "\nhelp: {help}");
    }
    text
}

/// The runner undoes these escapes in the text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// In a property, colons and commas are escaped, too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_text_never_ends_a_command_or_a_property() {
        assert_eq!(data("50%\r\n::error::x"), "50%25%0D%0A::error::x");
        assert_eq!(property("a,b:c%\n"), "a%2Cb%3Ac%25%0A");
    }
}
