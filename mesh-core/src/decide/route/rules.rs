//! An ordered list of conditions, indexed by path.

use http::HeaderName;
use rustc_hash::FxHashMap;

use super::matcher::{Hint, Matcher, PathKey, SeenHeaders};
use super::prefixes::Prefixes;
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
    exact: FxHashMap<Box<[u8]>, Positions>,
    prefixes: Prefixes<Positions>,
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
            exact: FxHashMap::default(),
            prefixes: Prefixes::default(),
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
        let positions = match entry.matcher.path_key() {
            PathKey::Exact(path) => self.exact.entry(path.into()).or_default(),
            PathKey::Prefix(path) => self.prefixes.entry(path),
            PathKey::Any => &mut self.others,
        };
        positions.push(position);
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
        if let Some(positions) = self.exact.get(path) {
            search.ask(positions);
        }
        for positions in self.prefixes.of(path) {
            search.ask(positions);
        }
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
