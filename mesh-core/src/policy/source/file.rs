//! Files and positions in them.

use std::sync::Arc;

use super::{FileId, Origin, SourceSpan, limits};
use crate::policy::diagnostic::{Code, Diagnostic, Place, Report};

/// Bytes between two checkpoints of the column count.
const CHECKPOINT: usize = 1024;

/// A named text.
///
/// Positions in it are found in O(log lines), columns included, however long a line is.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: Arc<str>,
    text: Arc<str>,
    /// The first byte of every line.
    line_starts: Arc<[u32]>,
    /// The characters before every [`CHECKPOINT`]th byte; nothing of a text where each byte is one.
    characters: Arc<[u32]>,
}

impl SourceFile {
    /// A file of this name, as the loader found it. A byte order mark is taken off the text.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        let text: Arc<str> = text.into();
        let text = text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), Arc::from);
        Self {
            name: name.into(),
            line_starts: line_starts(&text),
            characters: checkpoints(text.as_bytes()),
            text,
        }
    }

    /// A file from bytes, and where they stop being UTF-8, if they do.
    ///
    /// What is no UTF-8 shows as `U+FFFD`, so that the place can be rendered.
    #[must_use]
    pub fn from_bytes(name: impl Into<Arc<str>>, bytes: &[u8]) -> (Self, Option<u32>) {
        let bytes = without_mark(bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => (Self::new(name, text), None),
            Err(error) => {
                let text = String::from_utf8_lossy(bytes);
                (Self::new(name, &*text), Some(offset(error.valid_up_to())))
            }
        }
    }

    /// Whether this is a file of these bytes.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        without_mark(bytes) == self.text.as_bytes()
    }

    /// The name, as the loader gave it.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The text, without byte order mark.
    #[must_use]
    pub const fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The line and the column in characters of a byte, both from 1.
    #[must_use]
    pub fn position(&self, byte: u32) -> (u32, u32) {
        let byte = byte.min(offset(self.text.len()));
        let line = self.line_starts.partition_point(|start| *start <= byte);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.characters_before(byte) - self.characters_before(start) + 1;
        (offset(line), column)
    }

    /// The byte at a line and column, both from 1; the end of the line where it is shorter.
    #[must_use]
    pub fn byte_at(&self, line: u32, column: u32) -> Option<u32> {
        let start = *self.line_starts.get(usize::try_from(line.checked_sub(1)?).ok()?)?;
        let line = self.text.get(start as usize..)?.lines().next().unwrap_or("");
        let skipped = usize::try_from(column.saturating_sub(1)).ok()?;
        let within = line.char_indices().nth(skipped).map_or(line.len(), |(index, _)| index);
        Some(start + offset(within))
    }

    fn characters_before(&self, byte: u32) -> u32 {
        if self.characters.is_empty() {
            return byte;
        }
        let byte = byte as usize;
        let checkpoint = byte / CHECKPOINT;
        let counted = self.characters.get(checkpoint).copied().unwrap_or(0);
        let rest = self.text.as_bytes().get(checkpoint * CHECKPOINT..byte).unwrap_or(&[]);
        counted + count_characters(rest)
    }
}

/// The bytes behind a byte order mark: positions count from there.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn line_starts(text: &str) -> Arc<[u32]> {
    let breaks = text.match_indices('\n');
    std::iter::once(0)
        .chain(breaks.map(|(index, _)| offset(index + 1)))
        .collect()
}

fn checkpoints(bytes: &[u8]) -> Arc<[u32]> {
    if bytes.is_ascii() {
        return Arc::default();
    }
    let mut total = 0;
    let counts = bytes.chunks(CHECKPOINT).map(|chunk| {
        total += count_characters(chunk);
        total
    });
    std::iter::once(0).chain(counts).collect()
}

/// The characters that begin in a piece of UTF-8, which may be cut anywhere.
fn count_characters(bytes: &[u8]) -> u32 {
    offset(bytes.iter().filter(|byte| (**byte & 0xC0) != 0x80).count())
}

/// A length as an offset; files beyond 4 GiB never get this far.
pub(super) fn offset(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The files of one policy.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// No files yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { files: Vec::new() }
    }

    /// Adds a text.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> FileId {
        self.push(SourceFile::new(name, text))
    }

    /// Adds the bytes of a file; `None`, with the reason in the report, where they are too many or
    /// no UTF-8.
    pub fn add_bytes(&mut self, name: impl Into<Arc<str>>, bytes: &[u8], report: &mut Report) -> Option<FileId> {
        let name = name.into();
        if bytes.len() > limits::FILE_BYTES {
            report.push(too_large(name, bytes.len()));
            return None;
        }
        let (file, bad) = SourceFile::from_bytes(name, bytes);
        let id = self.push(file);
        let Some(start) = bad else {
            return Some(id);
        };
        let found = without_mark(bytes).get(start as usize).copied().unwrap_or_default();
        let end = start.saturating_add(offset('\u{fffd}'.len_utf8()));
        let message = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "expected UTF-8 text, found UTF-16".into(),
            _ => format!("expected UTF-8 text, found the byte 0x{found:02x}"),
        };
        let diagnostic = Diagnostic::new(Code::NOT_UTF8, SourceSpan::new(id, start, end), message);
        report.push(diagnostic.with_help("save the file as UTF-8, or move what is no policy out of this directory"));
        None
    }

    /// The number of the file that is added next.
    pub(in crate::policy) fn next_id(&self) -> FileId {
        FileId(offset(self.files.len()))
    }

    /// Adds a file.
    pub(in crate::policy) fn push(&mut self, file: SourceFile) -> FileId {
        let id = self.next_id();
        self.files.push(file);
        id
    }

    /// The file of this number.
    #[must_use]
    pub fn file(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// All files, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        (0..).map(FileId).zip(&self.files)
    }

    /// The text of a span; empty where it is none of these files.
    #[must_use]
    pub fn text(&self, span: SourceSpan) -> &str {
        let range = span.start as usize..span.end as usize;
        self.file(span.file).and_then(|file| file.text.get(range)).unwrap_or("")
    }

    /// File, line and column where a span begins.
    #[must_use]
    pub fn origin(&self, span: SourceSpan) -> Origin {
        let Some(file) = self.file(span.file) else {
            return Origin::default();
        };
        let (line, column) = file.position(span.start);
        Origin {
            file: file.name.clone(),
            line,
            column,
        }
    }

    /// The word that stands at an origin: what a finding about an item of the model underlines.
    #[must_use]
    pub fn span_at(&self, origin: &Origin) -> Option<SourceSpan> {
        let (id, file) = self.iter().find(|(_, file)| file.name == origin.file)?;
        let start = file.byte_at(origin.line, origin.column)?;
        let rest = file.text.get(start as usize..)?.lines().next().unwrap_or("");
        let word = rest
            .find([',', '}', ']', '#'])
            .and_then(|end| rest.get(..end))
            .unwrap_or(rest);
        // Of a field with a mapping or a list in the line, the name says which it is.
        let word = match word.contains(['{', '[']) {
            true => word.split(": ").next().unwrap_or(word),
            false => word,
        };
        Some(SourceSpan::new(id, start, start + offset(word.trim_end().len())))
    }
}

pub(super) fn too_large(name: Arc<str>, length: usize) -> Diagnostic {
    let limit = limits::FILE_BYTES;
    Diagnostic::new(
        Code::TOO_LARGE,
        Place::Path(name),
        format!("the file has {length} bytes, the limit is {limit}"),
    )
}
