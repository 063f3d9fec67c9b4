//! An ordered list of conditions, indexed by path.

use rustc_hash::FxHashMap;

use super::matcher::{Matcher, PathKey};
use crate::request::RequestView;

/// Values behind conditions; the first condition, in the order of insertion, that holds decides.
///
/// Exact paths and prefixes are found by hashing, so that the cost is that of the entries that can
/// match at all: one look-up for the exact path and one for each length that a prefix of the list has.
#[derive(Debug)]
pub struct RuleList<T> {
    entries: Vec<Entry>,
    values: Vec<T>,
    exact: Positions,
    /// By length, ascending.
    prefixes: Vec<(usize, Positions)>,
    /// Entries that any path may match.
    others: Vec<usize>,
}

/// Positions of entries, ascending, by the path that they are filed under.
type Positions = FxHashMap<Box<[u8]>, Vec<usize>>;

#[derive(Debug)]
struct Entry {
    matcher: Matcher,
    value: usize,
}

impl<T> Default for RuleList<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            values: Vec::new(),
            exact: FxHashMap::default(),
            prefixes: Vec::new(),
            others: Vec::new(),
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

    fn push_entry(&mut self, entry: Entry) {
        let position = self.entries.len();
        match entry.matcher.path_key() {
            PathKey::Exact(path) => self.exact.entry(path.into()).or_default().push(position),
            PathKey::Prefix(path) => self.prefix_bucket(path).push(position),
            PathKey::Any => self.others.push(position),
        }
        self.entries.push(entry);
    }

    fn prefix_bucket(&mut self, path: &[u8]) -> &mut Vec<usize> {
        let at = self.prefixes.partition_point(|(len, _)| *len < path.len());
        if self.prefixes.get(at).is_none_or(|(len, _)| *len != path.len()) {
            self.prefixes.insert(at, (path.len(), FxHashMap::default()));
        }
        // INVARIANT: the bucket at `at` was there or has just been inserted.
        match self.prefixes.get_mut(at) {
            Some((_, paths)) => paths.entry(path.into()).or_default(),
            None => &mut self.others,
        }
    }

    /// The value of the first entry that matches. Allocates nothing.
    #[must_use]
    pub fn find(&self, request: &RequestView<'_>) -> Option<&T> {
        if self.entries.is_empty() {
            return None;
        }
        let path = request.path.as_bytes();
        let mut best = self.first(&self.others, usize::MAX, request);
        if let Some(bucket) = self.exact.get(path) {
            best = self.first(bucket, best, request);
        }
        for (len, paths) in &self.prefixes {
            let Some(bucket) = path.get(..*len).and_then(|prefix| paths.get(prefix)) else {
                continue;
            };
            best = self.first(bucket, best, request);
        }
        self.values.get(self.entries.get(best)?.value)
    }

    /// The first position in `bucket` that matches, or `best` where that comes earlier.
    fn first(&self, bucket: &[usize], best: usize, request: &RequestView<'_>) -> usize {
        let earlier = bucket.iter().take_while(|position| **position < best);
        let mut candidates = earlier.filter_map(|position| Some((*position, self.entries.get(*position)?)));
        candidates
            .find(|(_, entry)| entry.matcher.matches(request))
            .map_or(best, |(position, _)| position)
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
