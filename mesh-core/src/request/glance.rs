//! Texts that are as nearly all are, told in one pass: no byte of them needs a second look, nor does one after the other.

/// A byte with this bit needs a second look.
pub(super) const ODD: u8 = 1;

/// A bit, and that it must not stand after its own half: `after(SLASH)` belongs to bytes that matter behind a slash.
pub(super) const fn after(class: u8) -> u8 {
    class << 1
}

/// What is to be known of each byte: bytes that are not printable are [`ODD`], and of the others the function tells.
macro_rules! classes {
    ($class:path) => {{
        let mut classes = [$crate::request::glance::ODD; 256];
        let mut byte = b'!';
        while byte < 0x7f {
            #[expect(
                clippy::indexing_slicing,
                reason = "every byte has its place, and a constant is made by the compiler"
            )]
            {
                classes[byte as usize] = $class(byte);
            }
            byte += 1;
        }
        classes
    }};
}
pub(super) use classes;

/// What a pass has seen so far.
pub(super) struct Glance<'a> {
    classes: &'a [u8; 256],
    found: u8,
    before: u8,
}

impl<'a> Glance<'a> {
    /// Begins as behind a byte of the class `before`.
    pub(super) const fn after(classes: &'a [u8; 256], before: u8) -> Self {
        let found = 0;
        Self { classes, found, before }
    }

    /// Takes the next byte, and tells its class.
    #[inline]
    pub(super) fn at(&mut self, byte: u8) -> u8 {
        let class = self.classes.get(usize::from(byte)).copied().unwrap_or(ODD);
        // A class, moved by one place, is what matters after it.
        self.found |= class & (after(self.before) | ODD);
        self.before = class;
        class
    }

    /// Whether nothing needs a second look.
    #[inline]
    pub(super) const fn is_plain(&self) -> bool {
        self.found == 0
    }
}

/// Each byte of a word.
#[inline]
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each byte of a word: the others are ASCII.
const HIGH: u64 = each(0x80);

/// The highest bit of each byte that is `first` to `last`, where all are ASCII.
#[inline]
const fn within(word: u64, first: u8, last: u8) -> u64 {
    (word + each(0x80 - first)) & !(word + each(0x7f - last)) & HIGH
}

/// The highest bit of each byte that is this one, where all are ASCII.
#[inline]
const fn same(word: u64, byte: u8) -> u64 {
    (HIGH - (word ^ each(byte))) & HIGH
}

/// Texts of names with one mark between them, as `/api/orders` and `orders.shop`: told eight bytes at a time. A name has
/// letters, digits, `-` and `_`.
pub(super) struct Names {
    /// The mark.
    pub(super) between: u8,
    /// What makes a letter a small one: its bit, where capitals are letters as well.
    pub(super) fold: u8,
}

impl Names {
    /// Whether a text is nothing but names and single marks. `false` says nothing of texts shorter than half a word.
    #[inline]
    pub(super) fn are_all(&self, text: &[u8]) -> bool {
        match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
            (Some([a, b, c, d]), Some([e, f, g, h])) if text.len() < 8 => {
                // Two halves that overlap: those in the middle are no neighbours.
                let halves = self.marks([*a, *b, *c, *d, *e, *f, *g, *h]);
                halves.is_some_and(|found| found & found << 8 & !(0xff << 32) == 0)
            }
            _ => self.are_in_words(text),
        }
    }

    #[inline]
    fn are_in_words(&self, text: &[u8]) -> bool {
        let (words, rest) = text.as_chunks::<8>();
        let mut marks = 0;
        for word in words {
            let Some(found) = self.marks(*word) else { return false };
            // The last byte of the word before, and the first of this one.
            if found & (found << 8 | marks >> 56) != 0 {
                return false;
            }
            marks = found;
        }
        match text.last_chunk::<8>() {
            Some(_) if rest.is_empty() => true,
            // It overlaps the last whole word.
            Some(word) => self.marks(*word).is_some_and(|found| found & found << 8 == 0),
            None => false,
        }
    }

    /// Where marks are; `None` where something else is than names and marks.
    #[inline]
    fn marks(&self, word: [u8; 8]) -> Option<u64> {
        let word = u64::from_le_bytes(word);
        if word & HIGH != 0 {
            return None;
        }
        let marks = same(word, self.between);
        let letters = within(word | each(self.fold), b'a', b'z');
        let known = marks | letters | within(word, b'0', b'9') | same(word, b'-') | same(word, b'_');
        (known == HIGH).then_some(marks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, a byte at a time.
    fn at_length(names: &Names, text: &[u8]) -> bool {
        let is_known = |byte: &u8| match byte {
            b'A'..=b'Z' => names.fold != 0,
            byte => matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') || *byte == names.between,
        };
        let doubled = [names.between; 2];
        text.len() >= 4 && text.iter().all(is_known) && !text.windows(2).any(|two| two == doubled)
    }

    proptest! {
        #[test]
        fn words_tell_what_bytes_do(text in "[a-zA-Z0-9/._-]{0,40}", odd in any::<(u8, u8)>()) {
            for names in [Names { between: b'/', fold: 0x20 }, Names { between: b'.', fold: 0 }] {
                let mut text = text.clone().into_bytes();
                prop_assert_eq!(names.are_all(&text), at_length(&names, &text));
                if let Some(place) = text.get_mut(usize::from(odd.0)) {
                    *place = odd.1;
                }
                prop_assert_eq!(names.are_all(&text), at_length(&names, &text));
            }
        }
    }

    #[test]
    fn marks_in_a_row_are_seen_wherever_they_stand() {
        let names = Names {
            between: b'/',
            fold: 0x20,
        };
        for at in 0..30 {
            let mut text = vec![b'a'; 32];
            assert!(names.are_all(&text));
            text[at] = b'/';
            assert!(names.are_all(&text));
            text[at + 1] = b'/';
            assert!(!names.are_all(&text), "{at}");
        }
        for byte in 0..=u8::MAX {
            let mut text = *b"aaaaaaaaaaa";
            text[9] = byte;
            assert_eq!(names.are_all(&text), at_length(&names, &text), "{byte}");
        }
        for length in 0..8 {
            // Each bit says whether a mark stands there.
            for marks in 0..1 << length {
                let text: Vec<u8> = (0..length)
                    .map(|at| if marks >> at & 1 == 1 { b'/' } else { b'a' })
                    .collect();
                assert_eq!(names.are_all(&text), at_length(&names, &text), "{text:?}");
            }
        }
    }
}
