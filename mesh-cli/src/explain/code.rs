//! `mesh explain MESH0104`: what a code means.

use mesh_core::policy::diagnostic::{Code, Severity, nearest};
use serde::Serialize;

use crate::args::Format;
use crate::terminal::{Style, Terminal, styled};
use crate::{Exit, Failure};

/// Whether a text is meant as a code: letters and digits alone, with a digit at the end, such as `MESH0104`.
pub(crate) fn is_meant(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain && text.ends_with(|last: char| last.is_ascii_digit())
}

/// Prints the long text of a code.
///
/// # Errors
///
/// Where there is no such code, or the answer cannot be written.
pub(crate) fn run(id: &str, output: Format, terminal: &Terminal) -> Result<Exit, Failure> {
    let code = find(id)?;
    match output {
        Format::Json => terminal.json(&Explained::new(code))?,
        Format::Human => terminal.answer(&human(code, terminal))?,
    }
    Ok(Exit::Good)
}

/// The code with an id, capitals or not; digits alone are completed.
fn find(id: &str) -> Result<Code, Failure> {
    let upper = id.to_ascii_uppercase();
    let full = match upper.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("MESH{upper:0>4}"),
        false => upper,
    };
    Code::find(&full).ok_or_else(|| {
        let known = Code::ALL.iter().map(|code| code.id());
        let help = match nearest(&full, known) {
            Some(near) => format!(", did you mean `{near}`?"),
            None => ", codes are `MESH` and four digits, such as `MESH0101`".into(),
        };
        format!("there is no code `{id}`{help}").into()
    })
}

/// A code for programs.
#[derive(Serialize)]
struct Explained {
    code: &'static str,
    severity: Severity,
    title: &'static str,
    explanation: &'static str,
    text: &'static str,
}

impl Explained {
    const fn new(code: Code) -> Self {
        Self {
            code: code.id(),
            severity: code.severity(),
            title: code.title(),
            explanation: code.explanation(),
            text: code.text(),
        }
    }
}

fn human(code: Code, terminal: &Terminal) -> String {
    let style = match code.severity() {
        Severity::Error => Style::Bad,
        Severity::Warning => Style::Warning,
    };
    let id = styled(terminal.out, style, &format!("{}[{code}]", code.severity()));
    format!("{id}: {}\n\n{}", code.title(), code.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_not_taken_for_codes() {
        for text in ["MESH0104", "mesh0104", "MSH104", "104"] {
            assert!(is_meant(text), "{text}");
        }
        for text in ["http://orders/", "orders", "orders:80", "a.b1", "10.0.0.1", ""] {
            assert!(!is_meant(text), "{text}");
        }
    }

    #[test]
    fn a_code_is_found_by_its_digits_and_in_small_letters() {
        for text in ["MESH0104", "mesh0104", "104", "0104"] {
            assert_eq!(find(text).unwrap(), Code::INVALID_VALUE, "{text}");
        }
    }
}
