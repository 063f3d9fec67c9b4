//! Syntax errors in the words of someone who writes policies.

use granit_parser::ErrorKind;

use super::SourceSpan;
use super::file::offset;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};

/// The diagnostic for an error of the parser in this text; `opened` is the innermost `[` or `{` that is open.
pub(super) fn diagnostic(kind: &ErrorKind, text: &str, at: SourceSpan, opened: Option<SourceSpan>) -> Diagnostic {
    if let Some((span, message, help)) = cause(kind, text, at) {
        return Diagnostic::new(Code::SYNTAX, span, message).with_help(help);
    }
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

/// What was found instead, and what to do about it.
type Cause = (SourceSpan, String, &'static str);

/// What stands near the place where the parser gave up, and evidently made it do so.
fn cause(kind: &ErrorKind, text: &str, at: SourceSpan) -> Option<Cause> {
    let here = line_at(text, at.start as usize);
    let before = previous_line(text, here.0);
    let after = line_at(text, (here.0 + here.1.len() + 1).min(text.len()));
    let span = |start: usize, length: usize| SourceSpan::new(at.file, offset(start), offset(start + length));
    let mut blanks = [here, before, after].into_iter().filter_map(odd_blank);
    // The parser points behind the tab that it does not take.
    let is_here = |start: usize| is_of_tab(kind) && (here.0..=here.0 + here.1.len()).contains(&start);
    let is_cause =
        |(start, blank): &(usize, char)| *blank != '\t' || *kind == ErrorKind::TabInPlainScalar || is_here(*start);
    if let Some((start, blank)) = blanks.find(is_cause) {
        let (message, help) = match blank {
            '\t' => ("found a tab in the indentation", "indent with spaces"),
            _ => (
                "found a no-break space in the indentation",
                "it looks like a space and is none: indent with spaces",
            ),
        };
        return Some((span(start, blank.len_utf8()), message.into(), help));
    }
    let (start, line) = here;
    if ["<<<<<<<", "=======", ">>>>>>>"]
        .iter()
        .any(|mark| line.starts_with(mark))
    {
        let message = "found a mark of a conflict that git could not merge";
        return Some((
            span(start, 7),
            message.into(),
            "resolve the conflict, and remove its marks",
        ));
    }
    if line.trim_start().starts_with("{{") {
        let start = start + line.len() - line.trim_start().len();
        return Some((span(start, 2), "found a template, expected a key".into(), RENDERED));
    }
    let is_of_key = matches!(
        kind,
        ErrorKind::MappingValueNotAllowed | ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey
    );
    let mut near = [before, here].into_iter().filter(|_| is_of_key);
    let (start, key) = near.find_map(|(start, line)| Some((start, glued_key(line)?)))?;
    let name = key.trim_start_matches([' ', '-']);
    let message = format!("expected a blank behind {}", quoted(&format!("{name}:")));
    Some((span(start + key.len(), 1), message, "write `key: value`"))
}

/// What to do about a template.
pub(super) const RENDERED: &str = "templates are rendered before they are loaded";

/// The line that has this byte, and where it begins.
fn line_at(text: &str, byte: usize) -> (usize, &str) {
    let before = text.get(..byte).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let rest = text.get(start..).unwrap_or("");
    (start, rest.lines().next().unwrap_or(""))
}

/// The last line before this byte that is not empty.
fn previous_line(text: &str, start: usize) -> (usize, &str) {
    let before = text.get(..start).unwrap_or("").trim_end();
    line_at(text, before.len())
}

/// A tab or a no-break space that follows the blanks at the beginning of a line, and where it stands.
fn odd_blank((start, line): (usize, &str)) -> Option<(usize, char)> {
    let (index, found) = line.char_indices().find(|(_, one)| *one != ' ')?;
    (matches!(found, '\t' | '\u{a0}') && !line.trim().is_empty()).then_some((start + index, found))
}

/// Of a line `key:value`, what is before the colon. Addresses such as `http://a` are none.
fn glued_key(line: &str) -> Option<&str> {
    let (key, value) = line.split_once(':')?;
    let is_name = |one: char| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '.' | '/');
    let name = key.trim_start_matches([' ', '-']);
    let is_key = !name.is_empty() && name.chars().all(is_name);
    (is_key && !value.is_empty() && !value.starts_with([' ', '/', ':']) && !value.contains(": ")).then_some(key)
}

/// Whether the parser found a tab where blanks count.
const fn is_of_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart
    )
}

/// Message and help for the mistakes that are made most.
const fn known(kind: &ErrorKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        kind if is_of_tab(kind) => ("found a tab in the indentation", "indent with spaces"),
        ErrorKind::DirectiveDisallowed => (
            "YAML directives are not supported",
            "remove the line: policies are YAML 1.2 or JSON",
        ),
        ErrorKind::UnknownAnchor => (
            "no anchor of this name stands before the alias",
            "text that begins with `*` needs quotes",
        ),
        ErrorKind::MissingAnchorOrAliasName => (
            "expected the name of an alias behind `*` or `&`",
            "text that begins with `*` or `&` needs quotes",
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
        ErrorKind::BlockSequenceEntryNotAllowed => (
            "no item of a list can begin here",
            "begin the list in a new line, or write `[a, b]`",
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("nothing can follow a closing quote", "put the whole value in quotes")
        }
        ErrorKind::UnknownQuotedScalarEscape => (
            "unknown escape in double quotes",
            "in single quotes a backslash stands for itself",
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
