//! An ordered list of conditions, indexed by path.

use http::HeaderName;
use rustc_hash::FxHashMap;

use super::matcher::{Hint, Matcher, PathKey, SeenHeaders};
use crate::decide::texts::Texts;
use crate::request::RequestView;

/// Values behind conditions; the first condition, in the order of insertion, that holds decides.
///
/// Exact paths and prefixes are found by hashing, so that the cost is that of the entries that can match at all: one
/// look-up for the exact path and one for each length that a prefix of the list has. A header that several of these entries
/// ask for is looked up once.
#[derive(Debug)]
pub struct RuleList<T> {
    entries: Vec<Entry>,
    /// One for each entry: a list of many entries for one path is gone through by these.
    hints: Vec<Hint>,
    values: Vec<T>,
    paths: Texts,
    /// The entries for each of the paths, by its number.
    by_path: Vec<Positions>,
    /// Entries that any path may match.
    others: Positions,
    /// The numbers of the headers that entries ask for.
    headers: FxHashMap<HeaderName, u32>,
}

/// Positions of entries, ascending.
type Positions = Vec<usize>;

#[derive(Debug)]
struct Entry {
    matcher: Matcher,
    value: usize,
}

impl<T> Default for RuleList<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            hints: Vec::new(),
            values: Vec::new(),
            paths: Texts::default(),
            by_path: Vec::new(),
            others: Positions::new(),
            headers: FxHashMap::default(),
        }
    }
}

impl<T> RuleList<T> {
    /// Appends a value that any of `matchers` selects.
    pub fn push(&mut self, matchers: impl IntoIterator<Item = Matcher>, value: T) {
        let index = self.values.len();
        self.values.push(value);
        for matcher in matchers {
            self.push_entry(Entry { matcher, value: index });
        }
    }

    fn push_entry(&mut self, mut entry: Entry) {
        entry.matcher.number_headers(&mut self.headers);
        let position = self.entries.len();
        // There are fewer paths than entries; nobody has as many of these.
        let new = u32::try_from(self.by_path.len()).unwrap_or(u32::MAX);
        let number = match entry.matcher.path_key() {
            PathKey::Exact(path) => Some(self.paths.number(path, new)),
            PathKey::Prefix(path) => Some(self.paths.number_prefix(path, new)),
            PathKey::Any => None,
        };
        match number {
            Some(number) if number == new => self.by_path.push(vec![position]),
            Some(number) => self
                .by_path
                .get_mut(number as usize)
                .into_iter()
                .for_each(|positions| positions.push(position)),
            None => self.others.push(position),
        }
        self.hints.push(entry.matcher.hint());
        self.entries.push(entry);
    }

    /// The value of the first entry that matches. Allocates nothing.
    #[must_use]
    pub fn find(&self, request: &RequestView<'_>) -> Option<&T> {
        if self.entries.is_empty() {
            return None;
        }
        let path = request.path.as_bytes();
        let mut search = Search {
            entries: &self.entries,
            hints: &self.hints,
            request,
            headers: SeenHeaders::of(request),
            first: usize::MAX,
        };
        search.ask(&self.others);
        self.paths.visit(path, |number| {
            if let Some(positions) = self.by_path.get(number as usize) {
                search.ask(positions);
            }
        });
        self.values.get(self.entries.get(search.first)?.value)
    }

    /// All values in order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }

    /// Whether there is no value.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// A search for the first entry that matches.
struct Search<'l, 'r> {
    entries: &'l [Entry],
    hints: &'l [Hint],
    request: &'r RequestView<'r>,
    headers: SeenHeaders<'r>,
    /// The earliest match so far.
    first: usize,
}

impl Search<'_, '_> {
    /// Asks the entries that may come before the earliest match.
    #[inline]
    fn ask(&mut self, positions: &[usize]) {
        for position in positions {
            if *position >= self.first {
                return;
            }
            let hint = self.hints.get(*position);
            if hint.is_some_and(|hint| !self.headers.exclude(*hint)) && self.is_match(*position) {
                self.first = *position;
                return;
            }
        }
    }

    /// Whether an entry matches. Out of line, since hints spare most entries this.
    #[inline(never)]
    fn is_match(&mut self, position: usize) -> bool {
        let entry = self.entries.get(position);
        entry.is_some_and(|entry| entry.matcher.matches_found(self.request, &mut self.headers))
    }
}
