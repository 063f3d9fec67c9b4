//! Syntax errors in the words of someone who writes policies.

use granit_parser::ErrorKind;

use super::SourceSpan;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};

/// The diagnostic for an error of the parser; `opened` is the innermost `[` or `{` that is open.
pub(super) fn diagnostic(kind: &ErrorKind, at: SourceSpan, opened: Option<SourceSpan>) -> Diagnostic {
    let (message, help) = match known(kind) {
        Some((message, help)) => (message.into(), Some(help)),
        None => other(kind),
    };
    let mut diagnostic = Diagnostic::new(Code::SYNTAX, at, message);
    diagnostic.help = help.map(Into::into);
    match opened {
        Some(opened) if opened.start != at.start => diagnostic.with_label(opened, "opened here"),
        _ => diagnostic,
    }
}

/// Message and help for the mistakes that are made most.
const fn known(kind: &ErrorKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart => ("found a tab in the indentation", "indent with spaces"),
        ErrorKind::DirectiveDisallowed => (
            "YAML directives are not supported",
            "remove the line: policies are YAML 1.2 or JSON",
        ),
        ErrorKind::UnknownAnchor => (
            "no anchor of this name stands before the alias",
            "text that begins with `*` needs quotes",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            ("expected a key, `:` and a blank", "write `key: value`")
        }
        ErrorKind::ExpectedBlockSequenceEntry => (
            "expected `-` and the next item of the list",
            "what follows a list is indented less than it",
        ),
        ErrorKind::ExpectedBlockMappingKey => (
            "expected the next key of the mapping",
            "all keys of a mapping have the same indentation",
        ),
        ErrorKind::MappingValueNotAllowed => (
            "no `:` can stand here",
            "check the indentation; text that contains `: ` needs quotes",
        ),
        ErrorKind::InvalidColonPlacement
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => (
            "expected `,` or a closing bracket",
            "close the bracket, or put the text in quotes",
        ),
        ErrorKind::UnclosedQuotedScalar => (
            "this quote is never closed",
            "inside of single quotes, a single quote is written twice",
        ),
        ErrorKind::InvalidQuotedScalarIndent => (
            "quoted text goes on without indentation",
            "close the quote, or indent the line",
        ),
        _ => return None,
    })
}

fn other(kind: &ErrorKind) -> (String, Option<&'static str>) {
    match kind {
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => (
            format!(
                "expected text, found the control character 0x{:02x}",
                u32::from(*character)
            ),
            None,
        ),
        ErrorKind::UnexpectedCharacter { character } => {
            let message = format!("a value cannot begin with {}", quoted(&character.to_string()));
            (message, Some("put the value in quotes"))
        }
        ErrorKind::UnclosedFlowCollection { open } => (format!("this `{open}` is never closed"), None),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            (format!("this `{open}` is closed by `{close}`"), None)
        }
        _ => (kind.to_string(), None),
    }
}
