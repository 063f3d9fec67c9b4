//! Values by prefix, all that a text starts with found in one walk over it.

/// Values by the prefix that a text must have.
///
/// A tree of what prefixes have in common: a look-up reads no byte of the text twice, and ends with the longest prefix,
/// however many there are and however many lengths they have.
#[derive(Debug)]
pub(crate) struct Prefixes<V> {
    /// The first is the root.
    nodes: Vec<Node<V>>,
}

/// A prefix, or what several have in common, as what it has beyond that of the node above.
#[derive(Debug)]
struct Node<V> {
    /// What follows the byte that leads here.
    label: Box<[u8]>,
    value: Option<V>,
    /// The first byte that leads on.
    first: u8,
    /// The nodes that this byte and those after it lead to; [`NOWHERE`] for bytes in between that lead on nowhere.
    below: Vec<u32>,
}

/// No place has as high a number.
const NOWHERE: u32 = u32::MAX;

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<V: Default> Prefixes<V> {
    /// Gives memory back that nothing is in.
    pub(crate) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.nodes.iter_mut().for_each(|node| node.below.shrink_to_fit());
    }

    /// Changes the value of a prefix, which is made where there is none.
    pub(crate) fn change(&mut self, prefix: &[u8], change: impl FnOnce(&mut V)) {
        let at = self.place(prefix);
        if let Some(node) = self.nodes.get_mut(at) {
            change(node.value.get_or_insert_default());
        }
    }

    /// The node of a prefix, which is made where there is none.
    fn place(&mut self, prefix: &[u8]) -> usize {
        let (mut at, mut rest) = (0, prefix);
        loop {
            let new = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else {
                self.nodes.push(Node::leaf(rest));
                return new;
            };
            let common = node
                .label
                .iter()
                .zip(rest)
                .take_while(|(one, other)| one == other)
                .count();
            if let Some(lower) = node.split(common, new) {
                self.nodes.push(lower);
                continue;
            }
            let Some((byte, after)) = rest.get(common..).and_then(<[u8]>::split_first) else {
                return at;
            };
            rest = after;
            at = node.lead(*byte, new);
        }
    }
}

impl<V> Node<V> {
    fn leaf(label: &[u8]) -> Self {
        Self {
            label: label.into(),
            value: None,
            first: 0,
            below: Vec::new(),
        }
    }

    /// Ends the label at a place, where it goes on there; gives what comes below then, for the place `lower`.
    fn split(&mut self, at: usize, lower: usize) -> Option<Self> {
        let (start, end) = self.label.split_at_checked(at)?;
        let (byte, end) = end.split_first()?;
        let mut upper = Self::leaf(start);
        upper.lead(*byte, lower);
        let label = end.into();
        let whole = std::mem::replace(self, upper);
        Some(Self { label, ..whole })
    }

    /// Where a byte leads: to the place `new` if it led nowhere before.
    fn lead(&mut self, byte: u8, new: usize) -> usize {
        if self.below.is_empty() {
            self.first = byte;
        }
        let before = usize::from(self.first.saturating_sub(byte));
        self.below.splice(..0, std::iter::repeat_n(NOWHERE, before));
        self.first = self.first.min(byte);
        let offset = usize::from(byte - self.first);
        if offset >= self.below.len() {
            self.below.resize(offset + 1, NOWHERE);
        }
        match self.below.get_mut(offset) {
            Some(place) if *place == NOWHERE => {
                // There are fewer nodes than bytes in a policy.
                *place = u32::try_from(new).unwrap_or(NOWHERE);
                new
            }
            place => place.map_or(new, |place| *place as usize),
        }
    }

    /// The place that a byte leads to, if to any.
    #[inline]
    fn below(&self, byte: u8) -> Option<&u32> {
        self.below.get(usize::from(byte.wrapping_sub(self.first)))
    }
}

impl<V> Prefixes<V> {
    /// Whether there is no prefix.
    pub(crate) const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Visits the values of all prefixes that `text` starts with, the shortest first. Allocates nothing.
    #[inline]
    pub(crate) fn visit<'a>(&'a self, text: &[u8], mut visit: impl FnMut(&'a V)) {
        let (mut next, mut rest) = (self.nodes.first(), text);
        while let Some(node) = next {
            // Most labels are empty.
            if !node.label.is_empty() {
                match rest.strip_prefix(&*node.label) {
                    Some(after) => rest = after,
                    None => return,
                }
            }
            if let Some(value) = &node.value {
                visit(value);
            }
            let Some((byte, after)) = rest.split_first() else {
                return;
            };
            rest = after;
            next = node.below(*byte).and_then(|place| self.nodes.get(*place as usize));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<'a, V>(index: &'a Prefixes<V>, text: &[u8]) -> Vec<&'a V> {
        let mut found = Vec::new();
        index.visit(text, |value| found.push(value));
        found
    }

    proptest! {
        #[test]
        fn the_prefixes_of_a_text_are_found_the_shortest_first(
            prefixes in prop::collection::hash_set("[ab/]{0,5}", 0..20),
            text in "[ab/]{0,8}",
        ) {
            let mut index: Prefixes<String> = Prefixes::default();
            for prefix in &prefixes {
                index.change(prefix.as_bytes(), |value| value.push_str(prefix));
            }
            let mut expected: Vec<_> = prefixes.iter().filter(|prefix| text.starts_with(*prefix)).collect();
            expected.sort_by_key(|prefix| prefix.len());
            prop_assert_eq!(found(&index, text.as_bytes()), expected);
        }

        #[test]
        fn a_prefix_that_is_given_again_keeps_its_value(prefixes in prop::collection::vec("[ab]{0,3}", 0..30)) {
            let mut index: Prefixes<usize> = Prefixes::default();
            for prefix in &prefixes {
                index.change(prefix.as_bytes(), |count| *count += 1);
            }
            for prefix in &prefixes {
                let given = prefixes.iter().filter(|other| *other == prefix).count();
                prop_assert_eq!(found(&index, prefix.as_bytes()).last().copied(), Some(&given));
            }
        }
    }

    #[test]
    fn every_byte_may_lead_on() {
        let mut index: Prefixes<u8> = Prefixes::default();
        for byte in (0..=u8::MAX).rev() {
            index.change(&[b'/', byte, byte], |value| *value = byte);
        }
        for byte in 0..=u8::MAX {
            assert_eq!(found(&index, &[b'/', byte, byte, 0]), [&byte]);
            assert_eq!(found(&index, &[b'/', byte]), [&0; 0]);
        }
    }
}
