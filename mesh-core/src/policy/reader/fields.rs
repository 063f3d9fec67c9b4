//! The fields of one mapping.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Reader, Spelling, list_of, map_of};
use crate::policy::diagnostic::{Code, Diagnostic, listed, nearest, quoted};
use crate::policy::source::{Key, Node, SourceSpan};

/// What fields keep in mind, lent by their reader: most of a document is small mappings.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Which entries were asked for.
    taken: Vec<bool>,
    /// The names that were asked for, whether given or not, each as often as it was.
    known: Vec<&'static str>,
}

/// What keys look like, as bits: nearly all fields that are asked for are not given, and most of them tell it by this.
#[derive(Clone, Copy, Debug)]
struct Looks(u64);

impl Looks {
    fn of(entries: &[(Key, Node)]) -> Self {
        Self(entries.iter().fold(0, |looks, (key, _)| looks | Self::bit(&key.name)))
    }

    /// Of the length and both ends.
    const fn bit(name: &str) -> u64 {
        let name = name.as_bytes();
        let (Some(first), Some(last)) = (name.first(), name.last()) else {
            return 1;
        };
        // What makes the names that a dialect has differ.
        let look = name.len() * 7 + (*first as usize) * 3 + *last as usize;
        1 << (look % 64)
    }

    const fn may_have(self, name: &str) -> bool {
        self.0 & Self::bit(name) != 0
    }
}

/// The fields of one mapping, which remembers those that were asked for.
///
/// [`finish`](Self::finish) refuses the others. Dropped without it, they are refused as well,
/// unless an error was reported meanwhile: then reading may have ended early.
#[derive(Debug)]
#[must_use = "`finish` refuses the fields that were not read"]
pub struct Fields<'r, 'a, 'n> {
    reader: &'r Reader<'a>,
    span: SourceSpan,
    entries: &'n [(Key, Node)],
    looks: Looks,
    asked: Asked,
    /// Names of which one must be given, and none is; told at the end, unless one of them is misspelt.
    missing: RefCell<Vec<Vec<String>>>,
    errors_before: usize,
    is_finished: bool,
}

impl<'r, 'a, 'n> Fields<'r, 'a, 'n> {
    pub(super) fn new(reader: &'r Reader<'a>, span: SourceSpan, entries: &'n [(Key, Node)]) -> Self {
        let mut asked = reader.lend();
        asked.taken.resize(entries.len(), false);
        Self {
            reader,
            span,
            entries,
            looks: Looks::of(entries),
            asked,
            missing: RefCell::default(),
            errors_before: reader.errors(),
            is_finished: false,
        }
    }

    /// The mapping as a whole.
    #[must_use]
    pub const fn span(&self) -> SourceSpan {
        self.span
    }

    /// The entry of a field, if it is given and not `null`; it counts as read.
    // In line, since nearly all fields are not given, and the name is known where it is asked for.
    #[inline]
    pub fn entry(&mut self, name: &'static str) -> Option<(&'n Key, &'n Node)> {
        self.asked.known.push(name);
        match self.reader.spelling == Spelling::Exact && !self.looks.may_have(name) {
            true => None,
            false => self.find(name),
        }
    }

    #[inline(never)]
    fn find(&mut self, name: &'static str) -> Option<(&'n Key, &'n Node)> {
        let mut found: Option<(&'n Key, &'n Node)> = None;
        for ((key, node), taken) in self.entries.iter().zip(&mut self.asked.taken) {
            if !is_named(key, name, self.reader.spelling) {
                continue;
            }
            *taken = true;
            match found {
                None => found = Some((key, node)),
                Some((first, _)) => self.reader.report(conflict(key, first)),
            }
        }
        found.filter(|(_, node)| !node.is_null())
    }

    /// The value of a field, if it is given and not `null`; it counts as read.
    #[inline]
    pub fn node(&mut self, name: &'static str) -> Option<&'n Node> {
        self.entry(name).map(|(_, node)| node)
    }

    /// Reads a field that may be absent. `None` also where it is given and wrong.
    #[inline]
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Reader<'a>, &'n Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.node(name)?;
        self.reader.in_field(Some(name), || read(self.reader, node))
    }

    /// Reads a field that must be given: reports the mapping where it is absent.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Reader<'a>, &'n Node) -> Option<T>,
    ) -> Option<T> {
        let Some(node) = self.node(name) else {
            self.missing(&[name]);
            return None;
        };
        self.reader.in_field(Some(name), || read(self.reader, node))
    }

    /// Reads a list: empty where it is absent; items that are wrong are left out.
    pub fn list<T>(&mut self, name: &'static str, read: impl FnMut(&Reader<'a>, &'n Node) -> Option<T>) -> Vec<T> {
        self.optional(name, list_of(read)).unwrap_or_default()
    }

    /// Reads a mapping from names that the user chooses: empty where it is absent; values that are
    /// wrong are left out.
    pub fn map<T>(
        &mut self,
        name: &'static str,
        read: impl FnMut(&Reader<'a>, &'n Node) -> Option<T>,
    ) -> BTreeMap<String, T> {
        self.optional(name, map_of(read)).unwrap_or_default()
    }

    /// The one of these fields that is given, with its name as in `names`.
    ///
    /// The second one that is given is reported, and the first counts. Where none is given there is nothing
    /// to report: see [`required_one_of`](Self::required_one_of).
    pub fn one_of(&mut self, names: &[&'static str]) -> Option<(&'static str, &'n Node)> {
        let mut given: Vec<(&'static str, &'n Key, &'n Node)> = Vec::new();
        for name in names {
            given.extend(self.entry(name).map(|(key, node)| (*name, key, node)));
        }
        given.sort_by_key(|(_, key, _)| key.span);
        let (name, first, node) = *given.first()?;
        for (_, key, _) in given.iter().skip(1) {
            self.reader.report(conflict(key, first));
        }
        Some((name, node))
    }

    /// The one of these fields that is given, of which one must be.
    pub fn required_one_of(&mut self, names: &[&'static str]) -> Option<(&'static str, &'n Node)> {
        let found = self.one_of(names);
        if found.is_none() {
            self.missing(names);
        }
        found
    }

    /// Refuses a field if it is given, whatever it holds, as severe as the code is.
    ///
    /// The message is ``field `name` is <title of the code>: <reason>``.
    pub fn refuse(&mut self, name: &'static str, code: Code, reason: &str) {
        if let Some((key, _)) = self.entry(name) {
            let message = format!("field {} is {}: {reason}", quoted(&key.name), code.title());
            self.reader.report(Diagnostic::new(code, key.span, message));
        }
    }

    /// Passes over fields that cannot change what the mesh does, such as a `status` that
    /// controllers write.
    pub fn skip(&mut self, names: &[&'static str]) {
        for name in names {
            self.entry(name);
        }
    }

    /// Reports that a field is missing, or all of several. Where one is there and misspelt, that alone is told.
    pub fn missing(&self, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.missing.borrow_mut().push(names);
    }

    /// Tells what is missing. `misspelt` are the names that fields which were not read come nearest to.
    fn tell_missing(&self, misspelt: &[&str]) {
        for names in self.missing.take() {
            if names.iter().any(|name| misspelt.contains(&name.as_str())) {
                continue;
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let message = format!("missing field {}", listed(&names));
            self.reader
                .report(Diagnostic::new(Code::MISSING_FIELD, self.span, message));
        }
    }

    /// Refuses the fields that were not read, with the nearest name that was asked for.
    pub fn finish(mut self) {
        self.refuse_unknown();
    }

    /// Leaves the fields that were not asked for to another reader of the same mapping.
    pub fn leave(mut self) {
        self.is_finished = true;
    }

    /// The field of this mapping that another dialect calls so.
    fn synonym(&self, name: &str) -> Option<&'static str> {
        let name = name.replace('_', "").to_ascii_lowercase();
        let mut rows = self.reader.synonyms.iter();
        let row = rows.find(|(foreign, own)| *foreign == name && self.asked.known.contains(own));
        row.map(|(_, own)| *own)
    }

    fn forget_repetitions(&mut self) {
        let mut seen = Vec::new();
        self.asked.known.retain(|name| {
            let is_new = !seen.contains(name);
            seen.push(*name);
            is_new
        });
    }

    fn refuse_unknown(&mut self) {
        self.is_finished = true;
        let mut misspelt = Vec::new();
        if self.asked.taken.contains(&false) {
            self.forget_repetitions();
        }
        for ((key, _), taken) in self.entries.iter().zip(&self.asked.taken) {
            if !taken {
                let synonym = self.synonym(&key.name);
                self.reader.report(unknown_field(key, &self.asked.known, synonym));
                misspelt.extend(synonym.or_else(|| nearest(&key.name, self.asked.known.iter().copied())));
            }
        }
        self.tell_missing(&misspelt);
    }
}

impl Drop for Fields<'_, '_, '_> {
    fn drop(&mut self) {
        if !self.is_finished && self.reader.errors() == self.errors_before {
            self.refuse_unknown();
        }
        self.tell_missing(&[]);
        let mut asked = std::mem::take(&mut self.asked);
        asked.taken.clear();
        asked.known.clear();
        self.reader.take_back(asked);
    }
}

/// Names listed where none is near.
const LISTED: usize = 24;

fn unknown_field(key: &Key, known: &[&'static str], synonym: Option<&str>) -> Diagnostic {
    let message = format!("unknown field {}", quoted(&key.name));
    let diagnostic = Diagnostic::new(Code::UNKNOWN_FIELD, key.span, message);
    if let Some(synonym) = synonym {
        return diagnostic.with_help(format!("in the native dialect it is `{synonym}`"));
    }
    match nearest(&key.name, known.iter().copied()) {
        Some(name) => diagnostic.did_you_mean(name),
        None if known.is_empty() => diagnostic.with_help("no field can stand here"),
        None if known.len() <= LISTED => diagnostic.with_help(format!("expected {}", listed(known))),
        None => diagnostic,
    }
}

fn conflict(key: &Key, first: &Key) -> Diagnostic {
    let message = format!(
        "fields {} and {} exclude each other",
        quoted(&first.name),
        quoted(&key.name)
    );
    Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message).with_label(first.span, "given here already")
}

/// Whether a key, as written, is this field.
fn is_named(key: &Key, name: &str, spelling: Spelling) -> bool {
    key.name.is(name) || (spelling == Spelling::CamelOrSnake && is_snake_of(&key.name, name))
}

/// Whether `key` is the snake_case of the lowerCamelCase `name`.
fn is_snake_of(key: &str, name: &str) -> bool {
    // The cheap part first: nearly all keys that are asked about are others.
    if key.len() <= name.len() || key.as_bytes().first() != name.as_bytes().first() {
        return false;
    }
    let mut key = key.chars();
    for letter in name.chars() {
        let expected = letter.to_ascii_lowercase();
        if letter.is_ascii_uppercase() && key.next() != Some('_') {
            return false;
        }
        if key.next() != Some(expected) {
            return false;
        }
    }
    key.next().is_none()
}
