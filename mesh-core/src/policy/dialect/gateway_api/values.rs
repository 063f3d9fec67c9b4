//! Values that many fields share: lists of limited length, durations, references.

use std::time::Duration;

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::reader::{Fields, Reader, list_of};
use crate::policy::source::{Node, SourceSpan};

/// Reads a list of at most `max` items.
pub(super) fn bounded<'a, 'n, T>(
    fields: &mut Fields<'_, 'a, 'n>,
    name: &'static str,
    max: usize,
    read: impl FnMut(&Reader<'a>, &'n Node) -> Option<T>,
) -> Vec<T> {
    let list = fields.optional(name, |cx, node| {
        check_length(cx, node, max);
        list_of(read)(cx, node)
    });
    list.unwrap_or_default()
}

fn check_length(cx: &Reader<'_>, node: &Node, max: usize) {
    let found = node.items().len();
    if found > max {
        cx.invalid::<()>(node, format!("expected at most {max} items, found {found}"));
    }
}

/// Reads a duration of GEP-2257: one to four numbers of at most five digits, each with `h`, `m`, `s` or `ms`.
pub(super) fn duration(cx: &Reader<'_>, node: &Node) -> Option<Duration> {
    let text = cx.text(node)?;
    if let Some(duration) = gep2257(text) {
        return Some(duration);
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected a duration such as `10s`, `1m30s` or `500ms`, without fractions, found {found}"),
    )
}

/// Reads a duration for which `0s` says that there is no limit.
pub(super) fn limit(cx: &Reader<'_>, node: &Node) -> Option<Option<Duration>> {
    let duration = duration(cx, node)?;
    Some(Some(duration).filter(|duration| !duration.is_zero()))
}

fn gep2257(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits).filter(|_| (1..=5).contains(&digits))?.parse().ok()?;
        rest = rest.get(digits..)?;
        let (unit, after) = unit(rest)?;
        total += unit.saturating_mul(u32::try_from(number).ok()?);
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

fn unit(text: &str) -> Option<(Duration, &str)> {
    const UNITS: &[(&str, Duration)] = &[
        ("ms", Duration::from_millis(1)),
        ("h", Duration::from_secs(3600)),
        ("m", Duration::from_secs(60)),
        ("s", Duration::from_secs(1)),
    ];
    UNITS
        .iter()
        .find_map(|(name, unit)| Some((*unit, text.strip_prefix(name)?)))
}

/// Reads text of `1..=max` characters.
pub(super) fn text_within<'n>(max: usize) -> impl Fn(&Reader<'_>, &'n Node) -> Option<&'n str> {
    move |cx, node| {
        let text = cx.text(node)?;
        match text.chars().count() {
            0 => cx.invalid(node, "expected text, found empty text"),
            length if length > max => cx.invalid(node, format!("expected at most {max} characters, found {length}")),
            _ => Some(text),
        }
    }
}

/// Reports that what is said together cannot be.
pub(super) fn contradiction(cx: &Reader<'_>, span: SourceSpan, message: impl AsRef<str>) {
    cx.report(Diagnostic::new(Code::INVALID_POLICY, span, message));
}

/// The longest name of an object.
pub(super) const NAME_LENGTH: usize = 253;

/// A reference to an object, with its defaults.
pub(super) struct ObjectRef<'n> {
    pub(super) group: &'n str,
    pub(super) kind: &'n str,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) span: SourceSpan,
}

/// What a field says of a reference: the defaults of the group and the kind; empty where there is none.
#[derive(Clone, Copy)]
pub(super) struct Defaults {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
}

impl Defaults {
    pub(super) const NONE: Self = Self { group: "", kind: "" };
    pub(super) const SECRET: Self = Self {
        group: "",
        kind: "Secret",
    };
}

/// Reads `{ group, kind, name, namespace }`.
pub(super) fn object_ref<'n>(defaults: Defaults) -> impl Fn(&Reader<'_>, &'n Node) -> Option<ObjectRef<'n>> {
    move |cx, node| {
        let mut fields = cx.mapping(node)?;
        let reference = reference(&mut fields, defaults);
        fields.finish();
        reference
    }
}

/// Reads the fields of a reference.
pub(super) fn reference<'n>(fields: &mut Fields<'_, '_, 'n>, defaults: Defaults) -> Option<ObjectRef<'n>> {
    let group = given_or(fields, "group", defaults.group, super::names::group);
    let kind = given_or(fields, "kind", defaults.kind, super::names::kind);
    if defaults.kind.is_empty() && matches!(kind, Some("")) {
        fields.missing(&["kind"]);
        return None;
    }
    let name = fields.required("name", text_within(NAME_LENGTH));
    let namespace = given_or(fields, "namespace", None, |cx, node| {
        super::envelope::namespace(cx, node).map(Some)
    });
    Some(ObjectRef {
        group: group?,
        kind: kind?,
        name: name?.to_owned(),
        namespace: namespace?,
        span: fields.span(),
    })
}

/// Reads a field that stands for `default` where it is absent; `None` where it is wrong.
pub(super) fn given_or<'a, 'n, T>(
    fields: &mut Fields<'_, 'a, 'n>,
    name: &'static str,
    default: T,
    read: impl FnOnce(&Reader<'a>, &'n Node) -> Option<T>,
) -> Option<T> {
    match fields.node(name) {
        None => Some(default),
        Some(_) => fields.optional(name, read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_gep_2257() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("0s", 0),
            ("1h1m1s1ms", 3_661_001),
        ] {
            assert_eq!(gep2257(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "1.5s", "-1s", "10us", "100000s", "1s1s1s1s1s", "1 s"] {
            assert_eq!(gep2257(text), None, "{text}");
        }
    }
}
