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
        let (trace_id, parent_id) = (hex(trace_id)?, u64::try_from(hex(parent_id)?).ok()?);
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
        let mut text = Vec::with_capacity(55);
        text.extend_from_slice(b"00-");
        push_hex(&mut text, high, 16);
        push_hex(&mut text, low, 16);
        text.push(b'-');
        push_hex(&mut text, self.parent_id, 16);
        text.push(b'-');
        push_hex(&mut text, self.sent_flags().into(), 2);
        header_value(text)
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

/// Lower-case hexadecimal digits, at most 32 of them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u128::from(digit))
    })
}

/// Appends the lowest `digits` hexadecimal digits; headers are written for each request, and `fmt` costs more.
pub(super) fn push_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for place in (0..digits).rev() {
        let digit = (value >> (4 * place)) as u8 & 0xf;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

/// A header value of what is ASCII.
pub(super) fn header_value(ascii: Vec<u8>) -> HeaderValue {
    HeaderValue::try_from(ascii).unwrap_or_else(|_| HeaderValue::from_static("-"))
}
