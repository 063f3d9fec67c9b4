//! Values by prefix, all that a text starts with found in one walk over it.

use rustc_hash::FxHashMap;

/// Values by the prefix that a text must have.
///
/// The hash of a longer start goes on from that of a shorter one, so that a look-up reads no byte of the text twice,
/// however many lengths the prefixes have.
#[derive(Debug)]
pub(crate) struct Prefixes<V> {
    groups: FxHashMap<u64, Group<V>>,
    /// The lengths of the prefixes, ascending.
    lengths: Vec<usize>,
}

/// A prefix, and another one with the same hash.
#[derive(Debug)]
struct Group<V> {
    prefix: Box<[u8]>,
    value: V,
    next: Option<Box<Self>>,
}

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self {
            groups: FxHashMap::default(),
            lengths: Vec::new(),
        }
    }
}

impl<V: Default> Prefixes<V> {
    /// The value of a prefix, which is made where there is none.
    pub(crate) fn entry(&mut self, prefix: &[u8]) -> &mut V {
        if let Err(at) = self.lengths.binary_search(&prefix.len()) {
            self.lengths.insert(at, prefix.len());
        }
        let group = self.groups.entry(extended(EMPTY, prefix));
        group.or_insert_with(|| Group::new(prefix)).entry(prefix)
    }
}

impl<V> Prefixes<V> {
    /// Whether there is no prefix.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The values of all prefixes that `text` starts with, the shortest first. Allocates nothing.
    pub(crate) fn of<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a V> {
        let (mut hash, mut hashed) = (EMPTY, 0);
        let starts = self.lengths.iter().map_while(move |length| {
            let start = text.get(..*length)?;
            hash = extended(hash, start.get(hashed..)?);
            hashed = *length;
            Some((hash, start))
        });
        starts.filter_map(|(hash, start)| self.groups.get(&hash)?.find(start))
    }
}

impl<V> Group<V> {
    fn find(&self, prefix: &[u8]) -> Option<&V> {
        match *self.prefix == *prefix {
            true => Some(&self.value),
            false => self.next.as_ref()?.find(prefix),
        }
    }
}

impl<V: Default> Group<V> {
    fn new(prefix: &[u8]) -> Self {
        Self {
            prefix: prefix.into(),
            value: V::default(),
            next: None,
        }
    }

    fn entry(&mut self, prefix: &[u8]) -> &mut V {
        match *self.prefix == *prefix {
            true => &mut self.value,
            false => self
                .next
                .get_or_insert_with(|| Box::new(Self::new(prefix)))
                .entry(prefix),
        }
    }
}

/// The hash of no byte: FNV-1a's.
const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of a text that goes on, by FNV-1a: policies choose what is hashed, so that nobody can flood it by requests.
fn extended(hash: u64, more: &[u8]) -> u64 {
    more.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_prefixes_of_a_text_are_found_the_shortest_first(
            prefixes in prop::collection::hash_set("[ab/]{0,5}", 0..20),
            text in "[ab/]{0,8}",
        ) {
            let mut index: Prefixes<String> = Prefixes::default();
            for prefix in &prefixes {
                index.entry(prefix.as_bytes()).push_str(prefix);
            }
            let mut expected: Vec<_> = prefixes.iter().filter(|prefix| text.starts_with(*prefix)).collect();
            expected.sort_by_key(|prefix| prefix.len());
            let found: Vec<_> = index.of(text.as_bytes()).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(index.is_empty(), prefixes.is_empty());
        }
    }

    #[test]
    fn prefixes_of_one_hash_are_kept_apart() {
        let mut group: Group<u8> = Group::new(b"/a");
        *group.entry(b"/a") = 1;
        *group.entry(b"/b") = 2;
        *group.entry(b"/c") = 3;
        let found = [b"/a", b"/b", b"/c", b"/d"].map(|prefix| group.find(prefix).copied());
        assert_eq!(found, [Some(1), Some(2), Some(3), None]);
    }
}
