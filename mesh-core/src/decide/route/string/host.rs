//! Relations between host patterns: full names, `*suffix` and `*`.
//!
//! Hosts and patterns are compared with their ASCII case folded and without a final dot.

use std::cmp::Ordering;

/// A host or pattern, read.
#[derive(Clone, Copy)]
enum Form<'a> {
    Name(&'a str),
    /// What follows the `*`; empty for `*` alone.
    Suffix(&'a str),
}

fn form(text: &str) -> Form<'_> {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.strip_prefix('*').map_or(Form::Name(text), Form::Suffix)
}

/// Whether `text` ends with `suffix`, with at least one character before it.
fn ends_with(text: &str, suffix: &str) -> bool {
    let at = text.len().checked_sub(suffix.len());
    at.filter(|at| *at > 0)
        .and_then(|at| text.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// Whether a request to `host` falls under `pattern`: `*.foo.com` takes names of any depth, not `foo.com` itself.
///
/// ```
/// use mesh_core::decide::route::string::host_matches;
/// assert!(host_matches("*.foo.com", "a.b.foo.com"));
/// assert!(!host_matches("*.foo.com", "foo.com"));
/// assert!(host_matches("*", "foo.com"));
/// ```
#[must_use]
pub fn host_matches(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match form(pattern) {
        Form::Name(name) => name.eq_ignore_ascii_case(host),
        Form::Suffix(suffix) => ends_with(host, suffix),
    }
}

/// Whether some host falls under both patterns; symmetric (Istio's `host.Name.Matches`).
#[must_use]
pub fn hosts_overlap(a: &str, b: &str) -> bool {
    match (form(a), form(b)) {
        (Form::Name(a), Form::Name(b)) => a.eq_ignore_ascii_case(b),
        (Form::Name(name), Form::Suffix(suffix)) | (Form::Suffix(suffix), Form::Name(name)) => ends_with(name, suffix),
        (Form::Suffix(a), Form::Suffix(b)) => suffix_of(a, b) || suffix_of(b, a),
    }
}

/// Whether every host under `inner` falls under `outer` (Istio's `host.Name.SubsetOf`).
#[must_use]
pub fn host_covers(outer: &str, inner: &str) -> bool {
    match (form(outer), form(inner)) {
        (Form::Name(outer), Form::Name(inner)) => outer.eq_ignore_ascii_case(inner),
        (Form::Name(_), Form::Suffix(_)) => false,
        (Form::Suffix(suffix), Form::Name(name)) => ends_with(name, suffix),
        (Form::Suffix(outer), Form::Suffix(inner)) => suffix_of(outer, inner),
    }
}

/// Whether `text` ends with `suffix`, or is it.
fn suffix_of(suffix: &str, text: &str) -> bool {
    suffix.eq_ignore_ascii_case(text) || ends_with(text, suffix)
}

/// The order in which patterns are tried, most specific first: names before patterns, longer before shorter, then
/// by the alphabet.
///
/// ```
/// use mesh_core::decide::route::string::more_specific;
/// let mut hosts = ["*", "*.com", "a.com", "*.foo.com", "b.foo.com"];
/// hosts.sort_by(|a, b| more_specific(a, b));
/// assert_eq!(hosts, ["b.foo.com", "a.com", "*.foo.com", "*.com", "*"]);
/// ```
#[must_use]
pub fn more_specific(a: &str, b: &str) -> Ordering {
    let key = |text: &str| (text.starts_with('*'), std::cmp::Reverse(text.len()));
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}
