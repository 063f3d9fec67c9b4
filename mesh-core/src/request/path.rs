//! Paths: one spelling for each (RFC 3986 §6.2.2), the ambiguous ones refused.

use super::glance::{Glance, Names, ODD, after, classes};
use super::{BadPath, PathRules};

/// Whether a path can stay as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Canonical,
    /// But for several slashes in a row.
    Slashes,
    Other,
}

/// What part of a path a pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a pattern is a whole path or a part of one")]
pub enum PatternShape {
    /// The whole path: dot segments are resolved.
    Whole,
    /// The start or end of a path, or some of its segments.
    Part,
}

/// Brings the text of a path rule into the form that canonical paths have, so that the two can be compared.
///
/// Policies may be written with raw non-ASCII, spaces and escapes in any case.
///
/// ```
/// use mesh_core::request::{PatternShape, canonical_pattern};
/// assert_eq!(canonical_pattern("/caf\u{e9}", PatternShape::Whole).unwrap(), "/caf%C3%A9");
/// assert_eq!(canonical_pattern("/%61dmin//", PatternShape::Part).unwrap(), "/admin/");
/// assert!(canonical_pattern("/a%2fb", PatternShape::Part).is_err());
/// ```
///
/// # Errors
///
/// [`BadPath`] where no request that is served can have such a path.
pub fn canonical_pattern(text: &str, shape: PatternShape) -> Result<String, BadPath> {
    pattern(text, shape, collapse)
}

/// The same with the slashes as they are written: routes look at what is forwarded, in which several may stand in a row.
///
/// ```
/// use mesh_core::request::{PatternShape, route_pattern};
/// assert_eq!(route_pattern("/%61//b/", PatternShape::Whole).unwrap(), "/a//b/");
/// ```
///
/// # Errors
///
/// [`BadPath`] where no request that is served can have such a path.
pub fn route_pattern(text: &str, shape: PatternShape) -> Result<String, BadPath> {
    pattern(text, shape, str::to_owned)
}

fn pattern(text: &str, shape: PatternShape, slashes: impl Fn(&str) -> String) -> Result<String, BadPath> {
    match is_plain(text) {
        true => Ok(text.to_owned()),
        false => odd_pattern(text, shape, slashes),
    }
}

/// The same for a text that is not canonical at a glance.
fn odd_pattern(text: &str, shape: PatternShape, slashes: impl Fn(&str) -> String) -> Result<String, BadPath> {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' | 0x80.. => push_escape(&mut escaped, byte),
            _ => escaped.push(char::from(byte)),
        }
    }
    inspect(&escaped, PathRules::Absent)?;
    let spelt = slashes(&respell(&escaped));
    let pattern = match shape {
        PatternShape::Whole if spelt.starts_with('/') => resolve(&spelt)?,
        _ => spelt,
    };
    inspect(&pattern, PathRules::Absent)?;
    Ok(pattern)
}

/// Whether a path is canonical at a glance, as nearly all are: no byte of it needs a second look, and no slash is followed
/// by a slash or a dot. Of others [`inspect`] tells.
#[inline]
pub(super) fn is_plain(path: &str) -> bool {
    if path.starts_with('/') && SEGMENTS.are_all(path.as_bytes()) {
        return true;
    }
    let mut glance = Glance::after(&CLASSES, 0);
    for byte in path.bytes() {
        glance.at(byte);
    }
    glance.is_plain() && path.starts_with('/')
}

/// Segments as most are.
const SEGMENTS: Names = Names {
    between: b'/',
    fold: 0x20,
};
const SLASH: u8 = 2;
/// It matters where it follows a slash.
const AFTER_SLASH: u8 = after(SLASH);

/// What is to be known of each byte.
const CLASSES: [u8; 256] = classes!(class);

/// The class of a printable byte.
const fn class(byte: u8) -> u8 {
    match byte {
        b'/' => SLASH | AFTER_SLASH,
        b'.' => AFTER_SLASH,
        b'%' | b';' | b'\\' => ODD,
        _ if needs_escape(byte) => ODD,
        _ => 0,
    }
}

/// Refuses what is ambiguous, and tells whether the rest is in canonical form.
pub(super) fn inspect(path: &str, rules: PathRules) -> Result<Form, BadPath> {
    let mut form = Form::Canonical;
    let mut rest = path.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'/' => form = form.max(after_slash(tail)?),
            b'%' => {
                let (escape, after) = escape(tail)?;
                form = form.max(escape);
                rest = after;
            }
            b';' if rules == PathRules::Present => return Err(BadPath::Parameters),
            b'\\' => return Err(BadPath::Backslash),
            0..=b' ' | 0x7f.. => return Err(BadPath::Character),
            byte if needs_escape(*byte) => form = Form::Other,
            _ => {}
        }
    }
    Ok(form)
}

/// Whether what follows a slash is another one or a dot segment; refuses those that parameters hide.
fn after_slash(after: &[u8]) -> Result<Form, BadPath> {
    let dots = match after {
        [b'/', ..] => return Ok(Form::Slashes),
        // An empty segment with parameters: `//` to who strips them.
        [b';', ..] => return Err(BadPath::DotParameters),
        [b'.', b'.', tail @ ..] | [b'.', tail @ ..] => tail,
        _ => return Ok(Form::Canonical),
    };
    match dots {
        [] | [b'/', ..] => Ok(Form::Other),
        [b';', ..] | [b'%', b'3', b'B' | b'b', ..] => Err(BadPath::DotParameters),
        _ => Ok(Form::Canonical),
    }
}

/// Refuses what no path can hold, whatever is made of it.
pub(super) fn check_characters(path: &str) -> Result<(), BadPath> {
    match path.bytes().any(|byte| matches!(byte, 0..=b' ' | 0x7f..)) {
        true => Err(BadPath::Character),
        false => Ok(()),
    }
}

/// Whether a path has a segment `.` or `..`, which would lead whoever resolves it elsewhere.
///
/// ```
/// use mesh_core::request::has_dot_segments;
/// assert!(has_dot_segments("/a/../b") && has_dot_segments("/."));
/// assert!(!has_dot_segments("/a../.b"));
/// ```
#[must_use]
pub fn has_dot_segments(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Checks the escape whose `%` was just taken; gives its form and what follows it.
fn escape(after: &[u8]) -> Result<(Form, &[u8]), BadPath> {
    let (byte, upper, tail) = octet(after)?;
    let form = if upper && !is_unreserved(byte) {
        Form::Canonical
    } else {
        Form::Other
    };
    match byte {
        b'/' => Err(BadPath::EscapedSlash),
        b'\\' => Err(BadPath::Backslash),
        0..b' ' | 0x7f => Err(BadPath::EscapedControl),
        b'%' if doubled(tail) => Err(BadPath::DoubledEscape),
        0x80.. => {
            let (all_upper, tail) = utf8(byte, tail)?;
            Ok((if all_upper { form } else { Form::Other }, tail))
        }
        _ => Ok((form, tail)),
    }
}

/// The two digits after a `%`: the byte, whether they are in upper case, what follows.
fn octet(after: &[u8]) -> Result<(u8, bool, &[u8]), BadPath> {
    let [high, low, tail @ ..] = after else {
        return Err(BadPath::MalformedEscape);
    };
    let (Some(h), Some(l)) = (hex(*high), hex(*low)) else {
        return Err(BadPath::MalformedEscape);
    };
    let upper = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
    Ok((h << 4 | l, upper, tail))
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether an escaped `%` starts an escape of a slash, a backslash, a `%`, or a character that nobody has to escape: whoever
/// decodes twice would see another path, and nobody else writes such a thing.
fn doubled(after: &[u8]) -> bool {
    octet(after).is_ok_and(|(byte, ..)| is_unreserved(byte) || matches!(byte, b'/' | b'\\' | b'%'))
}

/// Reads the rest of the character that starts with the escaped byte `first`.
fn utf8(first: u8, mut rest: &[u8]) -> Result<(bool, &[u8]), BadPath> {
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Err(BadPath::NotUtf8),
    };
    let mut character = [first; 4];
    let mut all_upper = true;
    for slot in character.iter_mut().take(length).skip(1) {
        let [b'%', tail @ ..] = rest else {
            return Err(BadPath::NotUtf8);
        };
        let (byte, upper, tail) = octet(tail)?;
        *slot = byte;
        all_upper &= upper;
        rest = tail;
    }
    let valid = character
        .get(..length)
        .is_some_and(|bytes| std::str::from_utf8(bytes).is_ok());
    if valid {
        Ok((all_upper, rest))
    } else {
        Err(BadPath::NotUtf8)
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Printable ASCII that RFC 3986 has no place for in a path.
const fn needs_escape(byte: u8) -> bool {
    matches!(
        byte,
        b'"' | b'#' | b'<' | b'>' | b'?' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}'
    )
}

/// Decodes the escapes of unreserved characters, writes the others in upper case, escapes what a path cannot hold.
pub(super) fn respell(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 8);
    let mut rest = path.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let mut byte = *byte;
        let mut escaped = needs_escape(byte);
        if byte == b'%'
            && let Ok((decoded, _, after)) = octet(tail)
        {
            escaped = !is_unreserved(decoded);
            byte = decoded;
            rest = after;
        }
        if escaped {
            push_escape(&mut out, byte);
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

fn push_escape(out: &mut String, byte: u8) {
    let digit = |nibble: u8| {
        char::from_digit(u32::from(nibble), 16)
            .unwrap_or('0')
            .to_ascii_uppercase()
    };
    out.push('%');
    out.push(digit(byte >> 4));
    out.push(digit(byte & 15));
}

/// Makes one slash of several, as servers that serve files do.
pub(super) fn collapse(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    out
}

/// Resolves dot segments (RFC 3986 §5.2.4).
pub(super) fn resolve(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.truncate(out.rfind('/').unwrap_or(0));
                }
                if last {
                    out.push('/');
                }
            }
            _ => {
                after_slash(segment.as_bytes())?;
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is canonical at a glance is what it would be brought into.
        #[test]
        fn a_plain_pattern_is_left_as_it_is(text in "[/.%a-c;\\\\ é2F0]{0,9}", is_whole in any::<bool>()) {
            let shape = if is_whole { PatternShape::Whole } else { PatternShape::Part };
            for slashes in [str::to_owned, merged] {
                prop_assert_eq!(pattern(&text, shape, slashes), odd_pattern(&text, shape, slashes));
            }
        }
    }

    fn merged(text: &str) -> String {
        text.replace("//", "/")
    }
}
