//! From parser events to documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle, options};

use super::file::offset;
use super::tree::{Document, Key, Node, Scalar, Style, Value};
use super::{FileId, SourceFile, SourceSpan, Sources, Text};
use super::{json, keys, syntax};
use crate::policy::diagnostic::{Code, Diagnostic, Place, Report};

/// What a file may cost. Beyond a limit it is refused with a diagnostic.
pub mod limits {
    /// Bytes of a file: 8 MiB.
    pub const FILE_BYTES: usize = 8 << 20;
    /// Levels of nesting in a document, aliases followed.
    pub const DEPTH: usize = 64;
    /// Nodes of a file, aliases followed; what stands under an anchor counts twice.
    pub const NODES: usize = 1_000_000;
}

/// Reads all documents of a file.
///
/// Every problem goes into the report. A document with a syntax error is left out, the ones after
/// it are read; empty documents between `---` are skipped, a file of nothing else is an error.
#[must_use]
pub fn parse(sources: &Sources, file: FileId, report: &mut Report) -> Vec<Document> {
    let Some(source) = sources.file(file) else {
        return Vec::new();
    };
    if source.text().len() > limits::FILE_BYTES {
        report.push(super::file::too_large(source.name().clone(), source.text().len()));
        return Vec::new();
    }
    match json::parse(file, source.text()) {
        Some(document) => vec![document],
        None => parse_yaml(file, source, report),
    }
}

/// Reads all documents of a file as YAML, which JSON is.
pub(super) fn parse_yaml(file: FileId, source: &SourceFile, report: &mut Report) -> Vec<Document> {
    let options = options! {
        disallow_directives: true,
        emit_comments: false,
        flow_nesting_limit: limits::DEPTH,
        block_nesting_limit: limits::DEPTH,
    };
    let errors = report.errors();
    let mut builder = Builder::new(file, source.text(), report);
    let mut parser = Parser::new_from_str_with_options(source.text(), options);
    builder.run(&mut parser);
    let documents = builder.documents;
    if documents.is_empty() && report.errors() == errors {
        report.push(no_document(source.name().clone()));
    }
    documents
}

fn no_document(name: Arc<str>) -> Diagnostic {
    Diagnostic::new(
        Code::NO_DOCUMENT,
        Place::Path(name),
        "no document found, the file is empty or has only comments",
    )
    .with_help("remove the file, or write a policy into it")
}

/// Reading ends early here; the reason is in the report.
enum Stop {
    /// The rest of the document is skipped.
    Document,
    /// The rest of the file is skipped.
    File,
}

struct Builder<'r> {
    file: FileId,
    text: &'r Arc<str>,
    report: &'r mut Report,
    documents: Vec<Document>,
    /// How many documents there were when this one began.
    finished: usize,
    /// The collections that are open, outermost first.
    open: Vec<Frame>,
    /// What stands under each anchor of the document, by the parser's number of it.
    anchors: BTreeMap<usize, Anchored>,
    /// Nodes of the file up to here.
    nodes: usize,
}

struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

/// A collection whose end has not come yet.
struct Frame {
    start: u32,
    /// The end of its last child.
    end: u32,
    anchor: usize,
    refused: bool,
    nodes_before: usize,
    /// Levels of nesting below this one.
    height: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, next: Next },
}

/// What the next node of a mapping is.
enum Next {
    Key,
    ValueOf(Key),
    /// The value of a key that was refused.
    Nothing,
}

impl<'r> Builder<'r> {
    const fn new(file: FileId, text: &'r Arc<str>, report: &'r mut Report) -> Self {
        Self {
            file,
            text,
            report,
            documents: Vec::new(),
            finished: 0,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
        }
    }

    fn run<'t>(&mut self, parser: &mut Parser<'t, StrInput<'t>>) {
        loop {
            let stop = match parser.next_event() {
                None => return,
                Some(Ok((event, span))) => self.event(event, &span),
                Some(Err(error)) => Err(self.syntax_error(&error)),
            };
            let Err(stop) = stop else {
                continue;
            };
            self.open.clear();
            self.documents.truncate(self.finished);
            if matches!(stop, Stop::File) || !matches!(parser.proceed_next_document(), Ok(true)) {
                return;
            }
        }
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(..) => {
                self.finished = self.documents.len();
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, (anchor, tag.is_some()), span),
            Event::SequenceStart(style, anchor, tag) => {
                self.start(Content::Sequence(Vec::new()), (anchor, tag.is_some()), span)?;
                if style == StructureStyle::Block {
                    self.include_dash();
                }
                Ok(())
            }
            Event::DocumentEnd => {
                self.finished = self.documents.len();
                Ok(())
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Mapping {
                    entries: Vec::new(),
                    next: Next::Key,
                };
                self.start(content, (anchor, tag.is_some()), span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            _ => Ok(()),
        }
    }

    fn span(&self, span: &Span) -> SourceSpan {
        let range = span.byte_range().unwrap_or(0..0);
        SourceSpan::new(self.file, offset(range.start), offset(range.end))
    }

    /// A scalar's text: the piece of the file where it stands so, between quotes or without.
    fn text(&self, text: &str, at: SourceSpan) -> Text {
        let start = match self.text.as_bytes().get(at.start as usize) {
            Some(b'\'' | b'"') => at.start + 1,
            _ => at.start,
        };
        let piece = Text::piece(self.text, start, start.saturating_add(offset(text.len())));
        match *piece == *text {
            true => piece,
            false => text.into(),
        }
    }

    fn charge(&mut self, nodes: usize, span: SourceSpan) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= limits::NODES {
            return Ok(());
        }
        let message = format!("the file has more than {} values, aliases followed", limits::NODES);
        self.report.push(
            Diagnostic::new(Code::TOO_LARGE, span, message)
                .with_help("split it into several files, and use fewer aliases"),
        );
        Err(Stop::File)
    }

    /// Refuses a tag; what it stands before is then neither read nor reported again.
    fn refuse_tag(&mut self, span: &Span) {
        let tag = self.span(&span.tag_span().unwrap_or(*span));
        self.report.push(
            Diagnostic::new(
                Code::TAG,
                tag,
                "YAML tags such as `!include` or `!!str` are not supported",
            )
            .with_help("write the value itself, without a tag; quotes make it text"),
        );
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        (anchor, tagged): (usize, bool),
        span: &Span,
    ) -> Result<(), Stop> {
        let at = self.span(span);
        self.charge(1, at)?;
        let style = if style == ScalarStyle::Plain {
            Style::Plain
        } else {
            Style::Quoted
        };
        let is_key = self.expects_key();
        let value = if tagged {
            self.refuse_tag(span);
            Value::Refused
        } else if style == Style::Plain && is_null(text) && (text.is_empty() || !is_key) {
            Value::Null
        } else {
            Value::Scalar(Scalar {
                text: self.text(text, at),
                style,
            })
        };
        let node = Node::new(at, value);
        self.remember(anchor, &node, 1, 0)?;
        self.attach(node, 0);
        Ok(())
    }

    fn start(&mut self, content: Content, (anchor, tagged): (usize, bool), span: &Span) -> Result<(), Stop> {
        let at = self.span(span);
        self.charge(1, at)?;
        if self.open.len() >= limits::DEPTH {
            return Err(self.too_deep(at));
        }
        if tagged {
            self.refuse_tag(span);
        }
        self.open.push(Frame {
            start: at.start,
            end: at.end,
            anchor,
            refused: tagged,
            nodes_before: self.nodes - 1,
            height: 0,
            content,
        });
        Ok(())
    }

    /// A block list begins at its first dash; the parser says where its first item does.
    fn include_dash(&mut self) {
        let Some(frame) = self.open.last_mut() else {
            return;
        };
        let before = self
            .text
            .get(..frame.start as usize)
            .unwrap_or("")
            .trim_end_matches(' ');
        if before.ends_with('-') {
            frame.start = offset(before.len() - 1);
        }
    }

    fn end(&mut self, span: &Span) -> Result<(), Stop> {
        let Some(frame) = self.open.pop() else {
            return Ok(());
        };
        // Of a block the parser knows the end only at what follows, of `[…]` and `{…}` exactly.
        let closing = self.span(span);
        let end = if closing.start < closing.end {
            closing.end
        } else {
            frame.end
        };
        let at = SourceSpan::new(self.file, frame.start, end);
        let value = match frame.content {
            _ if frame.refused => Value::Refused,
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping { entries, .. } => Value::Mapping(keys::without_duplicates(entries, self.report)),
        };
        let node = Node::new(at, value);
        let height = frame.height + 1;
        self.remember(frame.anchor, &node, self.nodes - frame.nodes_before, height)?;
        self.attach(node, height);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<(), Stop> {
        let at = self.span(span);
        let Some(Anchored { nodes, height, .. }) = self.anchors.get(&anchor) else {
            self.report.push(Diagnostic::new(
                Code::ALIAS,
                at,
                "this alias stands inside of what it names",
            ));
            self.attach(Node::new(at, Value::Refused), 0);
            return Ok(());
        };
        let (nodes, height) = (*nodes, *height);
        self.charge(nodes, at)?;
        if self.open.len() + height > limits::DEPTH {
            return Err(self.too_deep(at));
        }
        if let Some(Anchored { node, .. }) = self.anchors.get(&anchor) {
            let node = node.clone();
            self.attach(node, height);
        }
        Ok(())
    }

    fn too_deep(&mut self, at: SourceSpan) -> Stop {
        let message = format!("nested deeper than {} levels", limits::DEPTH);
        self.report.push(Diagnostic::new(Code::TOO_DEEP, at, message));
        Stop::Document
    }

    fn remember(&mut self, anchor: usize, node: &Node, nodes: usize, height: usize) -> Result<(), Stop> {
        if anchor == 0 {
            return Ok(());
        }
        self.charge(nodes, node.span)?;
        self.anchors.insert(
            anchor,
            Anchored {
                node: node.clone(),
                nodes,
                height,
            },
        );
        Ok(())
    }

    fn expects_key(&self) -> bool {
        let top = self.open.last().map(|frame| &frame.content);
        matches!(top, Some(Content::Mapping { next: Next::Key, .. }))
    }

    /// Puts a finished node where it belongs: into the innermost open collection, or on top.
    fn attach(&mut self, node: Node, height: usize) {
        let Some(frame) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(Document { root: node.into() });
            }
            return;
        };
        frame.end = frame.end.max(node.span.end);
        frame.height = frame.height.max(height);
        match &mut frame.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, next } => match std::mem::replace(next, Next::Key) {
                Next::Key => {
                    // What has a list or a mapping for a key is no mapping, but a template that nobody rendered.
                    frame.refused |= matches!(node.value, Value::Sequence(_) | Value::Mapping(_));
                    *next = keys::key(node, self.report).map_or(Next::Nothing, Next::ValueOf);
                }
                Next::ValueOf(key) => entries.push((key, node)),
                Next::Nothing => {}
            },
        }
    }

    fn syntax_error(&mut self, error: &ScanError) -> Stop {
        let marker = error.marker();
        let start = marker.byte_offset().map_or(0, offset);
        let at = SourceSpan::new(self.file, start, start.saturating_add(1));
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return self.too_deep(at);
        }
        let opened = self
            .open
            .last()
            .map(|frame| SourceSpan::new(self.file, frame.start, frame.start + 1));
        let opened = opened.filter(|at| matches!(self.text.as_bytes().get(at.start as usize), Some(b'[' | b'{')));
        self.report
            .push(syntax::diagnostic(error.kind(), self.text, at, opened));
        Stop::Document
    }
}

/// Whether a plain scalar is null in YAML 1.2's core schema.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}
