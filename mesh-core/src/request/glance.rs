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
