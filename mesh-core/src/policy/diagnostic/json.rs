//! The form for programs.

use serde::Serialize;

use super::{Diagnostic, Place, Severity};
use crate::policy::source::{SourceSpan, Sources};

/// A report as `mesh check -o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JsonReport {
    /// How many errors there are.
    pub errors: usize,
    /// How many warnings there are.
    pub warnings: usize,
    /// The problems (at most a thousand), in the order of files and positions.
    pub diagnostics: Vec<JsonDiagnostic>,
}

/// A diagnostic of a [`JsonReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JsonDiagnostic {
    /// The id of the code, such as `MESH0101`.
    pub code: &'static str,
    /// `error` or `warning`.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The file, as the loader named it.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column in characters, from 1.
    pub column: Option<u32>,
    /// The line of the end.
    pub end_line: Option<u32>,
    /// The column after the last character.
    pub end_column: Option<u32>,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that matter.
    pub labels: Vec<JsonLabel>,
    /// A change that a program can make.
    pub fix: Option<JsonFix>,
}

/// A place that a [`JsonDiagnostic`] names beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JsonPlace {
    /// The file, as the loader named it.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column in characters, from 1.
    pub column: Option<u32>,
    /// The line of the end.
    pub end_line: Option<u32>,
    /// The column after the last character.
    pub end_column: Option<u32>,
}

/// A remark at another place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JsonLabel {
    /// The remark.
    pub message: String,
    /// Where.
    #[serde(flatten)]
    pub place: JsonPlace,
}

/// A change that a program can make: the text from the place to its end becomes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JsonFix {
    /// What is replaced.
    #[serde(flatten)]
    pub place: JsonPlace,
    /// The new text.
    pub replacement: String,
}

impl JsonDiagnostic {
    pub(super) fn new(diagnostic: &Diagnostic, sources: &Sources) -> Self {
        let place = JsonPlace::new(&diagnostic.place, sources);
        let labels = diagnostic.labels.iter().map(|(place, message)| JsonLabel {
            message: message.clone(),
            place: JsonPlace::new(place, sources),
        });
        Self {
            code: diagnostic.code.id(),
            severity: diagnostic.severity,
            message: diagnostic.message.clone(),
            file: place.file,
            line: place.line,
            column: place.column,
            end_line: place.end_line,
            end_column: place.end_column,
            help: diagnostic.help.clone(),
            labels: labels.collect(),
            fix: diagnostic.fix.as_ref().map(|fix| JsonFix {
                place: JsonPlace::of_span(fix.span, sources),
                replacement: like_quoted(sources.text(fix.span), &fix.replacement),
            }),
        }
    }
}

impl JsonPlace {
    fn new(place: &Place, sources: &Sources) -> Self {
        match place {
            Place::Nowhere => Self::default(),
            Place::Path(path) => Self {
                file: Some(path.to_string()),
                ..Self::default()
            },
            Place::Span(span) => Self::of_span(*span, sources),
            Place::Origin(origin) => match sources.span_at(origin) {
                Some(span) => Self::of_span(span, sources),
                None => Self {
                    file: Some(origin.file.to_string()),
                    line: Some(origin.line),
                    column: Some(origin.column),
                    ..Self::default()
                },
            },
        }
    }

    fn of_span(span: SourceSpan, sources: &Sources) -> Self {
        let Some(file) = sources.file(span.file) else {
            return Self::default();
        };
        let (line, column) = file.position(span.start);
        let (end_line, end_column) = file.position(span.end);
        Self {
            file: Some(file.name().to_string()),
            line: Some(line),
            column: Some(column),
            end_line: Some(end_line),
            end_column: Some(end_column),
        }
    }
}

/// A word in the quotation marks of the text that it replaces.
fn like_quoted(text: &str, word: &str) -> String {
    match text.chars().next() {
        Some(mark @ ('"' | '\'')) => format!("{mark}{word}{mark}"),
        _ => word.into(),
    }
}
