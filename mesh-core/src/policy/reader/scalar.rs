//! Scalars: text, numbers, booleans and durations.
//!
//! Plain scalars have the types of YAML 1.2's core schema, read strictly: only `true` and `false` are
//! booleans, only decimal digits are whole numbers, and a number or boolean where text belongs is
//! refused, because `1.10` and `no` seldom mean what they say.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Reader;
use crate::policy::diagnostic::{Code, quoted};
use crate::policy::source::{Node, Scalar, Style, Value};
use crate::time::parse_duration;

/// A value that is a whole number or a name, such as a port. The set is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrString {
    /// A whole number, written without quotes.
    Int(i64),
    /// Text, or a number in quotes.
    String(String),
}

/// What a plain scalar is in the core schema.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Boolean,
    Number,
}

impl Reader<'_> {
    /// Reads text. A plain number or boolean is refused: it needs quotes.
    #[must_use]
    pub fn string(&self, node: &Node) -> Option<String> {
        self.text(node).map(Into::into)
    }

    /// Reads text that is not empty.
    #[must_use]
    pub fn name(&self, node: &Node) -> Option<String> {
        self.named(node).map(Into::into)
    }

    /// Reads text that is not empty, borrowed.
    pub(in crate::policy) fn named<'n>(&self, node: &'n Node) -> Option<&'n str> {
        let text = self.text(node)?;
        if text.is_empty() {
            return self.invalid(node, "expected a name, found empty text");
        }
        Some(text)
    }

    /// Reads text, borrowed. See [`string`](Self::string).
    #[must_use]
    pub fn text<'n>(&self, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::Scalar(scalar) if kind(scalar) == Kind::Text => Some(&scalar.text),
            Value::Scalar(scalar) => {
                let message = format!("expected text, found {}", description(node));
                let help = format!("write it in quotes: `\"{}\"`", scalar.text);
                self.report(self.diagnostic(Code::WRONG_TYPE, node.span, &message).with_help(help));
                None
            }
            _ => self.wrong_type(node, "text"),
        }
    }

    /// Reads text, a number or a boolean as the text that was written.
    #[must_use]
    pub fn any_text(&self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Scalar(scalar) => Some(scalar.text.to_string()),
            _ => self.wrong_type(node, "text"),
        }
    }

    /// Reads `true` or `false`, without quotes.
    #[must_use]
    pub fn bool(&self, node: &Node) -> Option<bool> {
        let plain = plain(node);
        match plain {
            Some("true") => return Some(true),
            Some("false") => return Some(false),
            _ => {}
        }
        let intended = node.as_text().map(str::to_ascii_lowercase);
        let help = match intended.as_deref() {
            Some("true" | "yes" | "on" | "y") => "write `true`",
            Some("false" | "no" | "off" | "n") => "write `false`",
            _ => return self.wrong_type(node, "`true` or `false`"),
        };
        let message = format!("expected `true` or `false`, found {}", description(node));
        self.report(self.diagnostic(Code::WRONG_TYPE, node.span, &message).with_help(help));
        None
    }

    /// Reads a whole number of 0 to 65535.
    #[must_use]
    pub fn u16(&self, node: &Node) -> Option<u16> {
        u16::try_from(self.integer(node, &(0..=u16::MAX.into()))?).ok()
    }

    /// Reads a whole number of 0 to 4294967295.
    #[must_use]
    pub fn u32(&self, node: &Node) -> Option<u32> {
        u32::try_from(self.integer(node, &(0..=u32::MAX.into()))?).ok()
    }

    /// Reads a whole number.
    #[must_use]
    pub fn i64(&self, node: &Node) -> Option<i64> {
        self.integer(node, &(i64::MIN..=i64::MAX))
    }

    /// Reads a port: 1 to 65535.
    #[must_use]
    pub fn port(&self, node: &Node) -> Option<u16> {
        u16::try_from(self.integer(node, &(1..=u16::MAX.into()))?).ok()
    }

    pub(super) fn integer(&self, node: &Node, range: &RangeInclusive<i64>) -> Option<i64> {
        let Some(text) = plain(node).filter(|text| is_whole_number(text)) else {
            return self.wrong_type(node, "a whole number");
        };
        if has_leading_zero(text) {
            return self.invalid(
                node,
                format!("{} may be read as octal, write it without leading zeros", quoted(text)),
            );
        }
        match text.parse() {
            Ok(value) if range.contains(&value) => Some(value),
            _ => {
                let (low, high) = (range.start(), range.end());
                self.invalid(
                    node,
                    format!("expected a whole number of {low} to {high}, found {}", quoted(text)),
                )
            }
        }
    }

    /// Reads a number, which is finite.
    #[must_use]
    pub fn f64(&self, node: &Node) -> Option<f64> {
        let number = plain(node).filter(|text| is_number(text) && !text.starts_with("0x") && !text.starts_with("0o"));
        let Some(text) = number else {
            return self.wrong_type(node, "a number");
        };
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Some(value),
            _ => self.invalid(node, format!("expected a finite number, found {}", quoted(text))),
        }
    }

    /// Reads a whole percentage of 0 to 100: `50`, or `50%`.
    #[must_use]
    pub fn percent(&self, node: &Node) -> Option<u8> {
        let Some(number) = node.as_text().and_then(|text| text.strip_suffix('%')) else {
            return u8::try_from(self.integer(node, &(0..=100))?).ok();
        };
        match number.parse() {
            Ok(percent @ 0..=100) if is_whole_number(number) && !has_leading_zero(number) => Some(percent),
            _ => self.invalid(
                node,
                format!("expected a whole percentage of `0%` to `100%`, found `{number}%`"),
            ),
        }
    }

    /// Reads a duration with its unit, such as `10s`, `250ms` or `1m30s`.
    #[must_use]
    pub fn duration(&self, node: &Node) -> Option<Duration> {
        let Some(text) = node.as_text() else {
            return self.wrong_type(node, "a duration such as `10s`");
        };
        match parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => self.invalid(node, error.to_string()),
        }
    }

    /// Reads a whole number, or text.
    #[must_use]
    pub fn int_or_string(&self, node: &Node) -> Option<IntOrString> {
        match plain(node) {
            Some(text) if is_whole_number(text) => self.i64(node).map(IntOrString::Int),
            _ => self.string(node).map(IntOrString::String),
        }
    }
}

/// What a node is, for a message: ``the number `5` ``.
pub(super) fn description(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".into(),
        Value::Sequence(_) => "a list".into(),
        Value::Mapping(_) => "a mapping".into(),
        Value::Refused => "a refused value".into(),
        Value::Scalar(scalar) => {
            let kind = match kind(scalar) {
                Kind::Text => "the text",
                Kind::Boolean => "the boolean",
                Kind::Number => "the number",
            };
            format!("{kind} {}", quoted(&scalar.text))
        }
    }
}

/// How a value of another type is written as what was expected, where that is plain to see.
pub(super) fn rewritten(node: &Node, expected: &str) -> Option<String> {
    match (&node.value, expected) {
        (Value::Scalar(scalar), "a whole number" | "a number") if scalar.style == Style::Quoted => {
            let is_meant = is_whole_number(&scalar.text) || (expected == "a number" && is_float(&scalar.text));
            is_meant.then(|| format!("write it without quotes: {}", quoted(&scalar.text)))
        }
        (Value::Scalar(scalar), "a list") => match scalar.text.strip_prefix('-') {
            Some(item) if scalar.style == Style::Plain && !item.is_empty() => Some(format!(
                "a blank follows the `-` of an item: {}",
                quoted(&format!("- {item}"))
            )),
            _ => Some("write it as an item of a list: `- ` before it, or brackets around it".into()),
        },
        (Value::Mapping(entries), "a list") if !entries.is_empty() => {
            Some("each item of a list begins with `- `".into())
        }
        _ => None,
    }
}

/// The text of a plain scalar.
fn plain(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) if scalar.style == Style::Plain => Some(&scalar.text),
        _ => None,
    }
}

fn kind(scalar: &Scalar) -> Kind {
    match &*scalar.text {
        _ if scalar.style == Style::Quoted => Kind::Text,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Kind::Boolean,
        text if is_number(text) => Kind::Number,
        _ => Kind::Text,
    }
}

/// Whether a plain scalar is a number in the core schema (YAML 1.2.2, section 10.3.2).
fn is_number(text: &str) -> bool {
    let digits_after = |prefix: &str, radix: u32| {
        let rest = text.strip_prefix(prefix).unwrap_or("");
        !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix))
    };
    is_whole_number(text) || digits_after("0o", 8) || digits_after("0x", 16) || is_float(text)
}

fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn has_leading_zero(number: &str) -> bool {
    let digits = number.trim_start_matches(['-', '+']);
    digits.len() > 1 && digits.starts_with('0')
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, the infinities and `.nan`.
fn is_float(text: &str) -> bool {
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    has_digits && are_digits(whole) && are_digits(fraction) && exponent.is_none_or(is_whole_number)
}
