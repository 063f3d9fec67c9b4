//! Texts with a form of their own: regexes, which compile once they are read, and SPIFFE ids.

use crate::policy::diagnostic::quoted;
use crate::policy::reader::Reader;
use crate::policy::source::Node;

/// The longest regex, in bytes.
const REGEX_LENGTH: usize = 1024;

/// Reads a regex in RE2's syntax, which is known to compile after this.
pub(super) fn regex(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if text.is_empty() {
        return cx.invalid(node, "expected a regex, found empty text");
    }
    if text.len() > REGEX_LENGTH {
        return cx.invalid(
            node,
            format!("the regex has {} bytes, the limit is {REGEX_LENGTH}", text.len()),
        );
    }
    // A regex can be valid alone and not between anchors (`(?x)a # b`), or the other way round (`a)(b`).
    let problem = regex::Regex::new(text)
        .and_then(|_| regex::Regex::new(&format!("^(?:{text})$")))
        .err();
    match problem {
        None => Some(text.into()),
        Some(error) => cx.invalid(
            node,
            format!("regex {} does not compile: {}", quoted(text), cause(&error)),
        ),
    }
}

/// The last line of the error, which names the cause; the lines before it draw the regex.
fn cause(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_lowercase()
}

/// Reads a SPIFFE id, `spiffe://` left out or not; the full id.
pub(super) fn spiffe_id(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let id = text.strip_prefix("spiffe://").unwrap_or(text);
    let is_part = |part: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && part.chars().all(is_allowed) && !part.chars().all(|c| c == '.')
    };
    if id.contains('/') && id.split('/').all(is_part) {
        return Some(format!("spiffe://{id}"));
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected an identity such as `cluster.local/ns/shop/sa/orders`, found {found}"),
    )
}
