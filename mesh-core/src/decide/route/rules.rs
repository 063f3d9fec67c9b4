//! An ordered list of conditions, indexed by path.

use rustc_hash::FxHashMap;

use super::matcher::{HeaderNumbers, Hint, Matcher, PathKey, SeenHeaders};
use super::prefixes::Prefixes;
use crate::request::RequestView;

/// Values behind conditions; the first condition, in the order of insertion, that holds decides.
///
/// Exact paths are found by hashing and prefixes in one walk over the path, so that the cost is that of the entries that can
/// match at all. A header that entries after each other ask for is looked up once.
#[derive(Debug)]
pub struct RuleList<T> {
    index: RuleIndex,
    values: Vec<T>,
}

/// The conditions, whatever is behind them.
#[derive(Debug, Default)]
struct RuleIndex {
    entries: Vec<Entry>,
    /// One for each entry: most entries are passed over by these.
    clues: Vec<Clue>,
    exact: FxHashMap<Box<[u8]>, Chain>,
    /// Entries that any path may match are under the empty prefix.
    prefixes: Prefixes<Chain>,
    /// The numbers of the headers that entries ask for.
    headers: HeaderNumbers,
}

#[derive(Debug)]
struct Entry {
    matcher: Matcher,
    value: usize,
}

/// What is looked at of an entry first.
#[derive(Clone, Copy, Debug)]
struct Clue {
    hint: Hint,
    /// The next entry that is found by the same path.
    next: u32,
}

/// Entries that are found by the same path, in order.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
}

/// Behind all positions.
const END: u32 = u32::MAX;

impl Default for Chain {
    fn default() -> Self {
        Self { first: END, last: END }
    }
}

impl<T> Default for RuleList<T> {
    fn default() -> Self {
        Self {
            index: RuleIndex::default(),
            values: Vec::new(),
        }
    }
}

impl<T> RuleList<T> {
    /// Appends a value that any of `matchers` selects.
    pub fn push(&mut self, matchers: impl IntoIterator<Item = Matcher>, value: T) {
        let index = self.values.len();
        self.values.push(value);
        for matcher in matchers {
            self.index.push(Entry { matcher, value: index });
        }
    }

    /// Gives memory back that nothing is in: most hosts have one rule.
    pub fn shrink(&mut self) {
        self.values.shrink_to_fit();
        self.index.entries.shrink_to_fit();
        self.index.clues.shrink_to_fit();
        self.index.prefixes.shrink();
    }

    /// The value of the first entry that matches. Allocates nothing.
    #[must_use]
    pub fn find(&self, request: &RequestView<'_>) -> Option<&T> {
        if self.values.is_empty() {
            return None;
        }
        self.values.get(self.index.find(request)?)
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

impl RuleIndex {
    fn push(&mut self, mut entry: Entry) {
        entry.matcher.number_headers(&mut self.headers);
        // More entries than there are places would never be found, which no memory holds.
        let position = u32::try_from(self.clues.len()).unwrap_or(END);
        let hint = entry.matcher.hint();
        self.clues.push(Clue { hint, next: END });
        let clues = &mut self.clues;
        let mut append = |chain: &mut Chain| chain.append(position, clues);
        match entry.matcher.path_key() {
            PathKey::Exact(path) => append(self.exact.entry(path.into()).or_default()),
            PathKey::Prefix(path) => self.prefixes.change(path, append),
            PathKey::Any => self.prefixes.change(b"", append),
        }
        self.entries.push(entry);
    }

    /// The value of the first entry that matches.
    fn find(&self, request: &RequestView<'_>) -> Option<usize> {
        let mut search = Search {
            index: self,
            request,
            headers: SeenHeaders::of(request, &self.headers),
        };
        let mut first = match self.exact.is_empty() {
            true => END,
            false => search.exact(),
        };
        self.prefixes
            .visit(request.path.as_bytes(), |chain| first = search.ask(*chain, first));
        Some(self.entries.get(first as usize)?.value)
    }
}

impl Chain {
    fn append(&mut self, position: u32, clues: &mut [Clue]) {
        match clues.get_mut(self.last as usize) {
            Some(last) => last.next = position,
            None => self.first = position,
        }
        self.last = position;
    }
}

/// A search for the first entry that matches.
struct Search<'l, 'r> {
    index: &'l RuleIndex,
    request: &'r RequestView<'r>,
    headers: SeenHeaders<'l, 'r>,
}

impl Search<'_, '_> {
    /// The first match among the entries for exactly this path.
    #[inline(never)]
    fn exact(&mut self) -> u32 {
        let chain = self.index.exact.get(self.request.path.as_bytes());
        chain.map_or(END, |chain| self.ask(*chain, END))
    }

    /// The earliest match, where `first` is the earliest so far: later entries are not asked.
    #[inline]
    fn ask(&mut self, chain: Chain, first: u32) -> u32 {
        let mut position = chain.first;
        while position < first {
            let Some(clue) = self.index.clues.get(position as usize) else {
                return first;
            };
            if self.holds(clue.hint, position) {
                return position;
            }
            position = clue.next;
        }
        first
    }

    #[inline]
    fn holds(&mut self, hint: Hint, position: u32) -> bool {
        match hint {
            Hint::Sure => true,
            Hint::Header { number, digest } if self.headers.exclude(number, digest) => false,
            Hint::Header { .. } | Hint::None => self.is_match(position),
        }
    }

    /// Whether an entry matches. Out of line, since hints spare most entries this.
    #[inline(never)]
    fn is_match(&mut self, position: u32) -> bool {
        let entry = self.index.entries.get(position as usize);
        entry.is_some_and(|entry| entry.matcher.matches_found(self.request, &mut self.headers))
    }
}
