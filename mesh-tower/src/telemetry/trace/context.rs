//! W3C Trace Context (Recommendation of 2021): the `traceparent` header.

use std::fmt;

use http::HeaderValue;
use mesh_core::random::Rng;

/// Whether a trace that the mesh starts asks to be recorded by those after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sampling {
    /// It asks for nothing.
    #[default]
    Off,
    /// It asks to be recorded.
    On,
}

const SAMPLED: u8 = 0x01;
/// Level 2 of the standard: the trace id's lower bytes are random.
const RANDOM: u8 = 0x02;

/// Which trace a request belongs to, and which span is its parent.
///
/// Its text, by `Display`, is a `traceparent` header of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    parent_id: u64,
    flags: u8,
}

impl TraceContext {
    /// A new trace.
    pub fn generate(sampling: Sampling, rng: &mut (impl Rng + ?Sized)) -> Self {
        let high = u128::from(rng.next_u64());
        let low = u128::from(rng.next_u64());
        Self {
            // Zero is not a valid id.
            trace_id: ((high << 64) | low).max(1),
            parent_id: rng.next_u64().max(1),
            flags: match sampling {
                Sampling::Off => RANDOM,
                Sampling::On => RANDOM | SAMPLED,
            },
        }
    }

    /// Reads a `traceparent` header, strictly: of versions after 00, the fields of 00 are taken, as the standard asks.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (known, rest) = header.split_at_checked(55)?;
        let [v1, v0, b'-', fields @ ..] = known else {
            return None;
        };
        let version = u8::try_from(hex(&[*v1, *v0])?).ok()?;
        let is_whole = rest.is_empty() || (version > 0 && rest.starts_with(b"-"));
        if version == 0xff || !is_whole {
            return None;
        }
        let (trace_id, fields) = fields.split_at_checked(32)?;
        let [b'-', fields @ ..] = fields else { return None };
        let (parent_id, fields) = fields.split_at_checked(16)?;
        let [b'-', flags @ ..] = fields else { return None };
        let (high, low) = trace_id.split_at_checked(16)?;
        let trace_id = (u128::from(hex(high)?) << 64) | u128::from(hex(low)?);
        let parent_id = hex(parent_id)?;
        if trace_id == 0 || parent_id == 0 {
            return None;
        }
        Some(Self {
            trace_id,
            parent_id,
            flags: u8::try_from(hex(flags)?).ok()?,
        })
    }

    /// The trace's id.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The id of the span that sent the request.
    #[must_use]
    pub const fn parent_id(&self) -> u64 {
        self.parent_id
    }

    /// Whether the sender may have recorded it.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The header's value.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        let [high, low] = [self.trace_id >> 64, self.trace_id].map(|half| half as u64);
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        put_hex(&mut text, 3, high, 16);
        put_hex(&mut text, 19, low, 16);
        put_hex(&mut text, 36, self.parent_id, 16);
        put_hex(&mut text, 53, self.sent_flags().into(), 2);
        header_value(&text)
    }

    /// Flags that version 00 does not define are sent as zero.
    const fn sent_flags(&self) -> u8 {
        self.flags & (SAMPLED | RANDOM)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            self.parent_id,
            self.sent_flags()
        )
    }
}

/// Lower-case hexadecimal digits, at most 16 of them.
fn hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    let mut is_hex = true;
    for digit in digits {
        let (decimal, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        is_hex &= decimal < 10 || letter < 6;
        value = (value << 4) | u64::from(if decimal < 10 { decimal } else { letter.wrapping_add(10) });
    }
    is_hex.then_some(value)
}

/// Writes the last digits of a number into a text.
pub(super) fn put_hex(text: &mut [u8], at: usize, mut value: u64, digits: usize) {
    let places = text.get_mut(at..at + digits).unwrap_or_default();
    for place in places.iter_mut().rev() {
        let digit = (value & 0xf) as u8;
        *place = digit + if digit < 10 { b'0' } else { b'a' - 10 };
        value >>= 4;
    }
}

/// A header value of what is ASCII.
pub(super) fn header_value(ascii: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(ascii).unwrap_or_else(|_| HeaderValue::from_static("-"))
}
