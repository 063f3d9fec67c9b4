//! The short way for JSON: straight from the text to the tree.
//!
//! What is taken here is JSON that YAML reads the same, which a property of the tests holds to. Anything else, be it a
//! mistake or merely unusual, takes the long way: one reader alone reports problems.

use std::sync::Arc;

use super::file::offset;
use super::limits;
use super::tree::{Document, Key, Node, Scalar, Style, Value};
use super::{FileId, SourceSpan, Text};

/// The longest key: YAML looks no further for the colon behind it.
const KEY_BYTES: usize = 1_000;

/// The document of a file that is one JSON object or array; `None` leaves it to the reader of YAML.
pub(super) fn parse(file: FileId, text: &Arc<str>) -> Option<Document> {
    let mut parser = Parser {
        file,
        text,
        bytes: text.as_bytes(),
        at: 0,
        nodes: 0,
        items: Vec::new(),
        entries: Vec::new(),
    };
    parser.blanks();
    if !matches!(parser.peek()?, b'{' | b'[') {
        return None;
    }
    let root = parser.value(0)?;
    parser.blanks();
    (parser.at == parser.bytes.len()).then(|| Document { root: root.into() })
}

struct Parser<'t> {
    file: FileId,
    text: &'t Arc<str>,
    bytes: &'t [u8],
    at: usize,
    nodes: usize,
    /// The items of the lists that are open, those of the innermost last: a list is made once its length is known.
    items: Vec<Node>,
    /// The same of mappings.
    entries: Vec<(Key, Node)>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes this byte, which must be next.
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Spaces and line breaks. YAML does not take tabs everywhere, nor other forms of line breaks alone.
    fn blanks(&mut self) {
        while let Some(byte) = self.peek() {
            let length = match byte {
                b' ' | b'\n' => 1,
                b'\r' if self.bytes.get(self.at + 1) == Some(&b'\n') => 2,
                _ => return,
            };
            self.at += length;
        }
    }

    fn span(&self, start: usize) -> SourceSpan {
        SourceSpan::new(self.file, offset(start), offset(self.at))
    }

    /// Reads a value inside of so many collections.
    fn value(&mut self, depth: usize) -> Option<Node> {
        self.nodes += 1;
        if self.nodes > limits::NODES {
            return None;
        }
        let start = self.at;
        let value = match self.peek()? {
            b'{' => self.mapping(depth)?,
            b'[' => self.sequence(depth)?,
            b'"' => scalar(self.string()?, Style::Quoted),
            _ => self.plain()?,
        };
        Some(Node::new(self.span(start), value))
    }

    fn sequence(&mut self, depth: usize) -> Option<Value> {
        let first = self.items.len();
        self.open(depth)?;
        if self.take(b']') {
            return Some(Value::Sequence(Vec::new()));
        }
        loop {
            let item = self.value(depth + 1)?;
            self.items.push(item);
            if self.is_last(b']')? {
                return Some(Value::Sequence(self.items.drain(first..).collect()));
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Option<Value> {
        let first = self.entries.len();
        self.open(depth)?;
        if self.take(b'}') {
            return Some(Value::Mapping(Vec::new()));
        }
        loop {
            let key = self.key()?;
            let value = self.value(depth + 1)?;
            self.entries.push((key, value));
            if self.is_last(b'}')? {
                let entries: Vec<(Key, Node)> = self.entries.drain(first..).collect();
                return is_without_duplicates(&entries).then_some(Value::Mapping(entries));
            }
        }
    }

    /// Takes the bracket of a collection.
    fn open(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        self.blanks();
        (depth < limits::DEPTH).then_some(())
    }

    /// Takes what follows an item: a comma, or the closing bracket.
    fn is_last(&mut self, closing: u8) -> Option<bool> {
        self.blanks();
        if self.take(closing) {
            return Some(true);
        }
        self.expect(b',')?;
        self.blanks();
        Some(false)
    }

    /// Takes a key, its colon, and the blanks behind it.
    fn key(&mut self) -> Option<Key> {
        self.nodes += 1;
        let start = self.at;
        let name = self.string()?;
        let span = self.span(start);
        if self.at - start > KEY_BYTES {
            return None;
        }
        while self.take(b' ') {}
        self.expect(b':')?;
        self.blanks();
        Some(Key { name, span })
    }

    /// Takes a string in quotes.
    fn string(&mut self) -> Option<Text> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            self.skip_plain();
            match self.peek()? {
                b'"' => break,
                b'\\' => return self.escaped(start),
                _ => self.wide()?,
            }
        }
        let text = Text::piece(self.text, offset(start), offset(self.at));
        self.at += 1;
        Some(text)
    }

    /// Passes over characters that stand for themselves, and end no string.
    fn skip_plain(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        self.at += rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
    }

    /// Takes a character beyond ASCII, unless YAML may see more than text in it.
    fn wide(&mut self) -> Option<()> {
        let one = self.text.get(self.at..)?.chars().next()?;
        let is_text = matches!(one, '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fdcf}');
        self.at += one.len_utf8();
        is_text.then_some(())
    }

    /// Takes the rest of a string with escapes in it.
    fn escaped(&mut self, start: usize) -> Option<Text> {
        let mut text = self.text.get(start..self.at)?.to_owned();
        loop {
            let from = self.at;
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    text.push(self.escape()?);
                    continue;
                }
                b' '..=b'~' => self.at += 1,
                _ => self.wide()?,
            }
            text.push_str(self.text.get(from..self.at)?);
        }
        self.at += 1;
        Some(text.as_str().into())
    }

    /// Takes what stands behind a backslash. Pairs of surrogates are JSON's alone.
    fn escape(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                self.at += 4;
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            _ => return None,
        })
    }

    /// Takes a number, `true`, `false` or `null`.
    fn plain(&mut self) -> Option<Value> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'))
        {
            self.at += 1;
        }
        let text = self.text.get(start..self.at)?;
        if text == "null" {
            return Some(Value::Null);
        }
        let is_scalar = matches!(text, "true" | "false") || is_number(text);
        let piece = || Text::piece(self.text, offset(start), offset(self.at));
        is_scalar.then(|| scalar(piece(), Style::Plain))
    }
}

fn scalar(text: Text, style: Style) -> Value {
    Value::Scalar(Scalar { text, style })
}

/// Whether a text is a number of JSON.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = are_digits(whole) && (whole.len() == 1 || !whole.starts_with('0'));
    is_whole && fraction.is_none_or(are_digits) && exponent.is_none_or(are_digits)
}

/// Entries that are compared one by one: more are sorted first.
const FEW: usize = 12;

/// Whether no key stands there twice.
fn is_without_duplicates(entries: &[(Key, Node)]) -> bool {
    if entries.len() > FEW {
        let mut names: Vec<&str> = entries.iter().map(|(key, _)| key.name.as_str()).collect();
        names.sort_unstable();
        return names
            .windows(2)
            .all(|pair| !matches!(pair, [left, right] if left == right));
    }
    let earlier = |index: usize, key: &Key| entries.iter().take(index).any(|(other, _)| other.name.is(&key.name));
    (0..).zip(entries).all(|(index, (key, _))| !earlier(index, key))
}
