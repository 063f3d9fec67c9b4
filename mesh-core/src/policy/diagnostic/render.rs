//! Diagnostics as text.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin as PathOnly, Renderer, Snippet};

use super::{Diagnostic, Place, Severity, one_line};
use crate::policy::source::{SourceFile, SourceSpan, Sources};

/// With or without colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// Text alone.
    #[default]
    Plain,
    /// ANSI escape sequences for a terminal.
    Ansi,
}

/// A label this many lines away from the place before it gets a snippet of its own.
const NEARBY: u32 = 20;
/// Longer lines are not shown: their position is named alone.
const LONGEST_LINE: usize = 2000;

/// `file:line:column: error[MESH0101]: message`.
pub(super) fn line(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let Diagnostic {
        code,
        severity,
        message,
        ..
    } = diagnostic;
    let place = match &diagnostic.place {
        Place::Nowhere => String::new(),
        Place::Path(path) => format!("{}: ", one_line(path)),
        Place::Span(span) => format!("{}: ", one_line(&sources.origin(*span).to_string())),
        Place::Origin(origin) => format!("{}: ", one_line(&origin.to_string())),
    };
    format!("{place}{severity}[{code}]: {message}")
}

/// The form for people, ending in a line break.
pub(super) fn human(diagnostic: &Diagnostic, sources: &Sources, paint: Paint) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&*diagnostic.message).id(diagnostic.code.id()));
    let snippets = snippets(diagnostic, sources);
    let unplaced = snippets.is_empty();
    for snippet in snippets {
        group = snippet.add_to(group, sources);
    }
    if let (true, Place::Path(path)) = (unplaced, &diagnostic.place) {
        group = group.element(PathOnly::path(&**path));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(&**help));
    }
    let renderer = match paint {
        Paint::Plain => Renderer::plain(),
        Paint::Ansi => Renderer::styled(),
    };
    let mut text = renderer.render(&[group]);
    text.push('\n');
    text
}

/// Marks in one file that are shown together.
struct Marks<'a> {
    lines: (u32, u32),
    marks: Vec<(AnnotationKind, SourceSpan, Option<&'a str>)>,
}

fn snippets<'a>(diagnostic: &'a Diagnostic, sources: &Sources) -> Vec<Marks<'a>> {
    let labels = diagnostic
        .labels
        .iter()
        .map(|(place, text)| (AnnotationKind::Context, place, Some(&**text)));
    let mut snippets: Vec<Marks<'a>> = Vec::new();
    for (kind, place, text) in std::iter::once((AnnotationKind::Primary, &diagnostic.place, None)).chain(labels) {
        let Some(span) = span_of(place, sources) else {
            continue;
        };
        let line = sources.origin(span).line;
        match snippets.iter_mut().find(|one| one.is_near(span, line)) {
            Some(near) => {
                near.lines = (near.lines.0.min(line), near.lines.1.max(line));
                near.marks.push((kind, span, text));
            }
            None => snippets.push(Marks {
                lines: (line, line),
                marks: vec![(kind, span, text)],
            }),
        }
    }
    snippets
}

fn span_of(place: &Place, sources: &Sources) -> Option<SourceSpan> {
    match place {
        Place::Span(span) => sources.file(span.file).map(|_| *span),
        Place::Origin(origin) => sources.span_at(origin),
        Place::Nowhere | Place::Path(_) => None,
    }
}

impl<'a> Marks<'a> {
    fn is_near(&self, span: SourceSpan, line: u32) -> bool {
        let same_file = self.marks.first().is_some_and(|(_, first, _)| first.file == span.file);
        let (first, last) = self.lines;
        same_file && line + NEARBY >= first && line <= last + NEARBY
    }

    fn add_to<'s: 'a>(self, group: Group<'a>, sources: &'s Sources) -> Group<'a> {
        let Some(file) = self.marks.first().and_then(|(_, span, _)| sources.file(span.file)) else {
            return group;
        };
        let (first, last) = self.lines;
        let window = window(file, first, last);
        let is_too_wide = window.1.lines().any(|line| line.len() > LONGEST_LINE);
        if is_too_wide {
            let (line, column) = self
                .marks
                .first()
                .map_or((first, 1), |(_, span, _)| file.position(span.start));
            return group.element(
                PathOnly::path(&**file.name())
                    .line(line as usize)
                    .char_column(column as usize),
            );
        }
        let marks = self.marks.into_iter().map(|mark| annotation(mark, window));
        let snippet = Snippet::source(window.1)
            .path(&**file.name())
            .line_start(first as usize);
        group.element(snippet.annotations(marks))
    }
}

/// The text of lines `first..=last`, and its first byte.
fn window(file: &SourceFile, first: u32, last: u32) -> (usize, &str) {
    let start = file.byte_at(first, 1).unwrap_or(0) as usize;
    let end = file.byte_at(last + 1, 1).map_or(file.text().len(), |end| end as usize);
    (start, file.text().get(start..end).unwrap_or(""))
}

/// A mark in a window; of a span over several lines the first is marked.
fn annotation<'a>(
    (kind, span, text): (AnnotationKind, SourceSpan, Option<&'a str>),
    (offset, window): (usize, &str),
) -> Annotation<'a> {
    let start = (span.start as usize).saturating_sub(offset).min(window.len());
    let line = window.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let marked = (span.end.saturating_sub(span.start) as usize).min(line.trim_end().len());
    let marked = (0..=marked).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    kind.span(start..start + marked).label(text)
}
