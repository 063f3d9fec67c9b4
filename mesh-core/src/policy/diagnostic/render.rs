//! Diagnostics as text.

use annotate_snippets::{Annotation, AnnotationKind, Element, Group, Level, Origin as PathOnly, Renderer, Snippet};

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
/// Of lines with more bytes than this (JSON without line breaks) only an excerpt is shown.
const WIDE: usize = 1000;
/// Bytes that an excerpt shows before and after the place.
const AROUND: usize = 50;

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
    let title = level
        .clone()
        .primary_title(&*diagnostic.message)
        .id(diagnostic.code.id());
    let mut groups = Groups {
        level,
        finished: Vec::new(),
        last: Group::with_title(title),
    };
    let snippets = snippets(diagnostic, sources);
    if let (true, Place::Path(path)) = (snippets.is_empty(), &diagnostic.place) {
        groups.add(PathOnly::path(&**path));
    }
    for snippet in snippets {
        snippet.add_to(&mut groups, sources);
    }
    if let Some(help) = &diagnostic.help {
        groups.add(Level::HELP.message(&**help));
    }
    let renderer = match paint {
        Paint::Plain => Renderer::plain(),
        Paint::Ansi => Renderer::styled(),
    };
    groups.finished.push(groups.last);
    let mut text = renderer.render(&groups.finished);
    text.push('\n');
    text
}

/// What is underlined, where, and with which remark.
type Mark<'a> = (AnnotationKind, SourceSpan, Option<&'a str>);

/// Marks in one file that are shown together.
struct Marks<'a> {
    lines: (u32, u32),
    marks: Vec<Mark<'a>>,
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

    fn add_to<'s: 'a>(self, groups: &mut Groups<'a>, sources: &'s Sources) {
        let Some(file) = self.marks.first().and_then(|(_, span, _)| sources.file(span.file)) else {
            return;
        };
        let (first, last) = self.lines;
        let window = window(file, first, last);
        if window.1.lines().any(|line| line.len() > WIDE) {
            self.marks.into_iter().for_each(|mark| groups.add_excerpt(file, mark));
            return;
        }
        let marks = self.marks.into_iter().map(|mark| annotation(mark, window));
        let snippet = Snippet::source(window.1)
            .path(&**file.name())
            .line_start(first as usize);
        groups.add(snippet.annotations(marks));
    }
}

/// What the renderer takes: the first group has the title.
struct Groups<'a> {
    level: Level<'a>,
    finished: Vec<Group<'a>>,
    last: Group<'a>,
}

impl<'a> Groups<'a> {
    fn add(&mut self, element: impl Into<Element<'a>>) {
        let last = std::mem::replace(&mut self.last, Group::with_level(self.level.clone()));
        self.last = last.element(element);
    }

    /// Shows a few words around a place in a line that is too long to be shown.
    fn add_excerpt(&mut self, file: &'a SourceFile, mark: Mark<'a>) {
        let (line, column) = file.position(mark.1.start);
        let place = PathOnly::path(&**file.name())
            .line(line as usize)
            .char_column(column as usize);
        let (offset, text) = window(file, line, line);
        let within = (mark.1.start as usize).saturating_sub(offset);
        let start = boundary(text, within.saturating_sub(AROUND));
        let end = boundary(text, within + AROUND);
        let excerpt = text.get(start..end).unwrap_or("").trim_end();
        let snippet = Snippet::source(excerpt).line_start(line as usize);
        self.add(place);
        // In a group of its own the renderer does not take the excerpt for another file.
        let last = std::mem::replace(&mut self.last, Group::with_level(self.level.clone()));
        self.finished.push(last);
        self.add(snippet.annotation(annotation(mark, (offset + start, excerpt))));
    }
}

/// The last boundary of a character up to a byte.
fn boundary(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len()))
        .rev()
        .find(|index| text.is_char_boundary(*index))
        .unwrap_or(0)
}

/// The text of lines `first..=last`, and its first byte.
fn window(file: &SourceFile, first: u32, last: u32) -> (usize, &str) {
    let start = file.byte_at(first, 1).unwrap_or(0) as usize;
    let end = file.byte_at(last + 1, 1).map_or(file.text().len(), |end| end as usize);
    (start, file.text().get(start..end).unwrap_or(""))
}

/// A mark in a window; of a span over several lines the first is marked.
fn annotation<'a>((kind, span, text): Mark<'a>, (offset, window): (usize, &str)) -> Annotation<'a> {
    let start = boundary(window, (span.start as usize).saturating_sub(offset));
    let line = window.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let length = (span.end.saturating_sub(span.start) as usize).min(line.trim_end().len());
    kind.span(start..start + boundary(line, length)).label(text)
}
