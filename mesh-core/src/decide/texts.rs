//! Numbers by text: whole texts, and prefixes that are found in one walk over what is looked up.

use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::route::Prefixes;

/// Numbers by the text that something must be, or start with.
///
/// Whole texts are kept in one piece, so that filing many of them allocates little.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    /// By its hash, the entry of a text that was filed last.
    whole: FxHashMap<u64, u32>,
    filed: Filed,
    prefixes: Prefixes<Option<u32>>,
}

/// Texts behind each other.
#[derive(Debug, Default)]
struct Filed {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

/// A text, its number, and another one with the same hash.
#[derive(Debug)]
struct Entry {
    start: usize,
    end: usize,
    number: u32,
    next: u32,
}

/// No entry: there are never as many.
const NONE: u32 = u32::MAX;

impl Texts {
    /// The number of a whole text: `new`, where it has none yet.
    pub(crate) fn number(&mut self, text: &[u8], new: u32) -> u32 {
        let first = self.whole.entry(whole(text)).or_insert(NONE);
        self.filed.number(first, text, new)
    }

    /// The number of a prefix: `new`, where it has none yet.
    pub(crate) fn number_prefix(&mut self, prefix: &[u8], new: u32) -> u32 {
        let mut number = new;
        let given = |held: &mut Option<u32>| number = *held.get_or_insert(new);
        self.prefixes.change(prefix, given);
        number
    }

    /// Whether there is neither a text nor a prefix.
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.prefixes.is_empty()
    }

    /// Visits the number of the text, then those of all prefixes that it starts with, the shortest first. Allocates nothing.
    #[inline]
    pub(crate) fn visit(&self, text: &[u8], mut visit: impl FnMut(u32)) {
        if !self.whole.is_empty()
            && let Some(first) = self.whole.get(&whole(text))
            && let Some(number) = self.filed.find(*first, text)
        {
            visit(number);
        }
        self.prefixes
            .visit(text, |number| number.iter().copied().for_each(&mut visit));
    }
}

impl Filed {
    /// The number of a text among those that are chained from `first`, to which it is added.
    fn number(&mut self, first: &mut u32, text: &[u8], new: u32) -> u32 {
        if let Some(number) = self.find(*first, text) {
            return number;
        }
        let next = std::mem::replace(first, u32::try_from(self.entries.len()).unwrap_or(NONE));
        self.entries.push(Entry {
            start: self.bytes.len(),
            end: self.bytes.len() + text.len(),
            number: new,
            next,
        });
        self.bytes.extend_from_slice(text);
        new
    }

    #[inline]
    fn find(&self, first: u32, text: &[u8]) -> Option<u32> {
        let mut at = first;
        while let Some(entry) = self.entries.get(at as usize) {
            if self.bytes.get(entry.start..entry.end) == Some(text) {
                return Some(entry.number);
            }
            at = entry.next;
        }
        None
    }
}

/// The hash of a whole text.
fn whole(text: &[u8]) -> u64 {
    FxBuildHasher.hash_one(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_and_the_prefixes_of_it_are_found_the_shortest_first(
            whole in prop::collection::vec("[ab/]{0,5}", 0..12),
            prefixes in prop::collection::vec("[ab/]{0,5}", 0..20),
            text in "[ab/]{0,8}",
        ) {
            let (mut texts, mut kinds) = (Texts::default(), Vec::new());
            let next = |kinds: &Vec<(bool, String)>| u32::try_from(kinds.len()).unwrap();
            for one in &whole {
                if texts.number(one.as_bytes(), next(&kinds)) == next(&kinds) {
                    kinds.push((true, one.clone()));
                }
            }
            for one in &prefixes {
                if texts.number_prefix(one.as_bytes(), next(&kinds)) == next(&kinds) {
                    kinds.push((false, one.clone()));
                }
            }
            let is_of = |(is_whole, one): &&(bool, String)| if *is_whole { *one == text } else { text.starts_with(one) };
            let mut expected: Vec<_> = kinds.iter().filter(is_of).collect();
            expected.sort_by_key(|(is_whole, one)| (!is_whole, one.len()));
            let mut found = Vec::new();
            texts.visit(text.as_bytes(), |number| found.push(&kinds[number as usize]));
            prop_assert_eq!(found, expected);
            prop_assert_eq!(texts.is_empty(), kinds.is_empty());
            let different: std::collections::BTreeSet<_> = kinds.iter().collect();
            prop_assert_eq!(different.len(), kinds.len());
        }
    }

    #[test]
    fn texts_of_one_hash_are_kept_apart() {
        let (mut filed, mut first) = (Filed::default(), NONE);
        let numbers = [b"/a", b"/b", b"/c", b"/b"].map(|text| filed.number(&mut first, text, u32::from(text[1])));
        assert_eq!(
            numbers.map(char::from_u32),
            [Some('a'), Some('b'), Some('c'), Some('b')]
        );
        assert_eq!(filed.entries.len(), 3);
        assert_eq!(
            [b"/c", b"/d"].map(|text| filed.find(first, text)),
            [Some(u32::from(b'c')), None]
        );
    }
}
