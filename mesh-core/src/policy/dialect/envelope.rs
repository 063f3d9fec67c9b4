//! The envelope of an object: `apiVersion`, `kind` and `metadata`, as Kubernetes writes them.

use super::Object;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::Meta;
use crate::policy::reader::{Reader, map_of};
use crate::policy::source::{Node, SourceSpan};

/// The namespace of a document that names none.
pub(in crate::policy) const DEFAULT_NAMESPACE: &str = "default";

/// Fields of `metadata` that the API server keeps for itself: they say nothing about the mesh.
const KEPT_BY_SERVER: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "generateName",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
    "clusterName",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// What an object is, as it says itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Kind<'n> {
    pub(in crate::policy) api_version: &'n str,
    pub(in crate::policy) name: &'n str,
    /// Where `kind` is given.
    pub(in crate::policy) span: SourceSpan,
}

impl Kind<'_> {
    /// The group; empty for Kubernetes' core.
    pub(in crate::policy) fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether its objects have fields beside `spec`, which their dialect reads.
    fn has_fields_beside_spec(&self) -> bool {
        matches!(
            (self.group(), self.name),
            ("", "Endpoints")
                | ("discovery.k8s.io", "EndpointSlice")
                | ("specs.smi-spec.io" | "access.smi-spec.io" | "cilium.io", _)
        )
    }

    /// Whether it is a list of objects: `List`, or `VirtualServiceList`.
    pub(in crate::policy) fn is_list(&self, node: &Node) -> bool {
        self.name.ends_with("List") && node.get("items").is_some()
    }
}

/// Whether a document has an envelope.
pub(in crate::policy) fn is_object(node: &Node) -> bool {
    node.get("apiVersion").is_some() || node.get("kind").is_some()
}

/// Reads `apiVersion` and `kind`; the other fields are not looked at.
pub(in crate::policy) fn kind<'n>(cx: &Reader<'_>, node: &'n Node) -> Option<Kind<'n>> {
    let text = |name: &str| {
        let Some(value) = node.get(name).filter(|value| !value.is_null()) else {
            let message = format!("missing field `{name}`");
            cx.report(Diagnostic::new(Code::MISSING_FIELD, node.span, message));
            return None;
        };
        cx.text(value).map(|text| (text, value.span))
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (name, span) = kind?;
    Some(Kind {
        api_version: api_version?.0,
        name,
        span,
    })
}

/// Reads the items of a list of objects.
pub(in crate::policy) fn items<'n>(cx: &Reader<'_>, node: &'n Node) -> &'n [Node] {
    let Some(mut fields) = cx.mapping(node) else {
        return &[];
    };
    let items = fields.node("items");
    fields.skip(&["apiVersion", "kind", "metadata"]);
    fields.finish();
    let Some(items) = items else {
        return &[];
    };
    if items.items().is_empty() {
        let message = "the list has no items: it changes nothing";
        cx.report(Diagnostic::new(Code::NO_EFFECT, items.span, message));
    }
    items.items()
}

/// Whether an object must have a name. The mesh's settings are there once, and need none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Naming {
    Required,
    Optional,
}

/// Reads the envelope of an object of a known kind.
pub(in crate::policy) fn object<'n>(
    cx: &Reader<'_>,
    node: &'n Node,
    kind: Kind<'n>,
    naming: Naming,
) -> Option<Object<'n>> {
    let mut fields = cx.mapping(node)?;
    let mut meta = Meta {
        namespace: DEFAULT_NAMESPACE.into(),
        origin: cx.origin(node.span),
        ..Meta::default()
    };
    let read = match naming {
        Naming::Required => fields.required("metadata", |cx, node| metadata(cx, node, naming, &mut meta)),
        Naming::Optional if fields.node("metadata").is_none() => Some(()),
        Naming::Optional => fields.optional("metadata", |cx, node| metadata(cx, node, naming, &mut meta)),
    };
    let spec = fields.node("spec");
    fields.skip(&["apiVersion", "kind", "status"]);
    match kind.has_fields_beside_spec() {
        true => fields.leave(),
        false => fields.finish(),
    }
    read?;
    Some(Object {
        api_version: kind.api_version,
        kind: kind.name,
        meta,
        spec,
        node,
    })
}

fn metadata(cx: &Reader<'_>, node: &Node, naming: Naming, meta: &mut Meta) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    let name = match naming {
        Naming::Required if fields.node("name").is_none() && fields.node("generateName").is_some() => {
            fields.optional("generateName", generated_name)
        }
        Naming::Required => fields.required("name", object_name),
        Naming::Optional => fields.optional("name", object_name).or_else(|| Some(String::new())),
    };
    if let Some(namespace) = fields.optional("namespace", namespace) {
        meta.namespace = namespace;
    }
    if let Some(seconds) = fields.optional("creationTimestamp", timestamp) {
        meta.created = seconds;
    }
    fields.optional("labels", map_of(Reader::string));
    fields.optional("annotations", map_of(Reader::string));
    fields.skip(KEPT_BY_SERVER);
    fields.finish();
    meta.name = name?;
    Some(())
}

/// Reads the start of a name that the API server completes: such an object has no name yet.
fn generated_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let start = cx.text(node)?;
    if is_object_name(start.trim_end_matches(['-', '.'])) {
        return Some(String::new());
    }
    let found = quoted(start);
    cx.invalid(
        node,
        format!("expected the start of a name of lower-case letters, digits, `-` and `.`, found {found}"),
    )
}

/// Reads the name of an object: a DNS name in lower case (RFC 1123), of at most 253 characters.
pub(in crate::policy) fn object_name(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if is_object_name(text) {
        return Some(text.into());
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected a name of lower-case letters, digits, `-` and `.`, found {found}"),
    )
}

/// Reads the name of a namespace: a DNS label in lower case.
pub(in crate::policy) fn namespace(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if is_namespace(text) {
        return Some(text.into());
    }
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected a namespace of lower-case letters, digits and `-`, at most 63, found {found}"),
    )
}

/// Whether a text can name a namespace.
pub(in crate::policy) fn is_namespace(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

/// Whether a text can name an object.
pub(in crate::policy) fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Reads a time as Kubernetes writes it (RFC 3339), in seconds since 1970.
pub(in crate::policy) fn timestamp(cx: &Reader<'_>, node: &Node) -> Option<u64> {
    let text = cx.text(node)?;
    let Some(seconds) = seconds_since_1970(text) else {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected a time such as `2026-01-31T12:00:00Z`, found {found}"),
        );
    };
    Some(seconds)
}

/// The seconds since 1970 of an RFC 3339 time; parts of a second are cut off.
fn seconds_since_1970(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let (clock, offset) = split_offset(rest)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let is_valid = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    let is_time = hour < 24 && minute < 60 && second < 61 && is_digits(fraction);
    if !is_valid || !is_time {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    u64::try_from(seconds - offset).ok()
}

/// Takes `Z` or `+hh:mm` off the end; the offset in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (clock, offset) = text.split_at_checked(at)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let [hours, minutes] = numbers(offset.get(1..)?, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some((clock, sign * (hours * 3_600 + minutes * 60)))
}

/// Numbers of so many digits each, with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && is_digits(part))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_seconds() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:30:15Z", Some(951_827_415)),
            ("2026-11-21T00:00:00.999Z", Some(1_795_219_200)),
            ("2026-11-21T02:00:00+02:00", Some(1_795_219_200)),
            ("2026-11-20T23:30:00-00:30", Some(1_795_219_200)),
            ("1969-12-31T23:59:59Z", None),
            ("2025-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-21T24:00:00Z", None),
            ("2026-11-21T00:00:00", None),
            ("2026-11-21", None),
            ("2026-1-1T0:0:0Z", None),
            ("now", None),
        ] {
            assert_eq!(seconds_since_1970(text), seconds, "{text}");
        }
    }

    #[test]
    fn names_are_dns_names_in_lower_case() {
        for name in ["a", "orders", "orders-2", "name.ns.svc.cluster.local"] {
            assert!(is_object_name(name), "{name}");
        }
        let long = "a".repeat(254);
        for name in ["", "Orders", "-a", "a-", "a..b", ".a", "a_b", "^.^", &long] {
            assert!(!is_object_name(name), "{name}");
        }
    }
}
