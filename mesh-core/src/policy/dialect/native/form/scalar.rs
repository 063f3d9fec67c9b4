//! Forms of single values.

use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use serde_json::{Value as Json, json};

use super::{Form, Place, Schema, Scope, Tree};
use crate::policy::diagnostic::quoted;
use crate::policy::dialect::{envelope, header_text, names, pattern, values};
use crate::policy::model::Labels;
use crate::policy::model::filter::{Fraction, HeaderText};
use crate::policy::reader::{Reader, within};
use crate::policy::source::{Key, Node};
use crate::time::format_duration;

/// A form that needs no more than a function to read, one to print and a schema.
macro_rules! scalar {
    ($(#[$doc:meta])* $form:ident of $of:ty ; $read:expr, $write:expr, $schema:tt) => {
        $(#[$doc])*
        pub(in crate::policy::dialect::native) struct $form;

        impl Form for $form {
            type Of = $of;

            fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of> {
                let read: fn(&Reader<'_>, &Node, Scope<'_>) -> Option<$of> = $read;
                read(cx, node, scope)
            }

            fn write(value: &Self::Of) -> Tree {
                let write: fn(&$of) -> Tree = $write;
                write(value)
            }

            fn schema(_: &mut Schema) -> Json {
                json!($schema)
            }
        }
    };
}

pub(super) use scalar;

scalar! { /// Text, which may be empty.
Text of String; |cx, node, _| cx.string(node), |text| Tree::text(text), { "type": "string" } }
scalar! { /// Text that is not empty.
Name of String; |cx, node, _| cx.name(node), |text| Tree::text(text), { "type": "string", "minLength": 1 } }
scalar! { /// `true` or `false`.
Flag of bool; |cx, node, _| cx.bool(node), |flag| Tree::Flag(*flag), { "type": "boolean" } }
scalar! { /// A whole number of 0 to 2147483647.
Count of u32; |cx, node, _| values::count(cx, node), |count| Tree::number(*count),
{ "type": "integer", "minimum": 0, "maximum": 2_147_483_647 } }
scalar! { /// A whole number of at least 1.
Limit of u32; |cx, node, _| within(1..=i32::MAX.into())(cx, node), |count| Tree::number(*count),
{ "type": "integer", "minimum": 1, "maximum": 2_147_483_647 } }
scalar! { /// A whole number that may be large.
Wide of u64; |cx, node, _| within(0..=i64::MAX)(cx, node), |count| Tree::Number(i64::try_from(*count).unwrap_or(i64::MAX)),
{ "type": "integer", "minimum": 0 } }
scalar! { /// A port.
Port of u16; |cx, node, _| cx.port(node), |port| Tree::number(*port), { "type": "integer", "minimum": 1, "maximum": 65535 } }
scalar! { /// A whole percentage, `50` or `50%`.
Percent of u8; |cx, node, _| cx.percent(node), |percent| Tree::number(*percent),
{ "oneOf": [{ "type": "integer", "minimum": 0, "maximum": 100 }, { "type": "string", "pattern": "^[0-9]{1,3}%$" }] } }
scalar! { /// A duration of at least a millisecond.
Dur of Duration; |cx, node, _| values::duration(cx, node), |value| Tree::text(format_duration(*value)),
{ "type": "string", "pattern": "^[0-9.]+(ns|us|ms|s|m|h)" } }
scalar! { /// A duration, which may be zero.
DurOrZero of Duration; |cx, node, _| values::duration_or_zero(cx, node), |value| Tree::text(format_duration(*value)),
{ "type": "string", "pattern": "^[0-9.]+(ns|us|ms|s|m|h)" } }
scalar! { /// A part of all requests, in percent with at most four decimals.
Share of Fraction; |cx, node, _| share(cx, node), |share| Tree::Float(f64::from(share.millionths()) / SHARES_OF_PERCENT),
{ "type": "number", "minimum": 0, "maximum": 100 } }
scalar! { /// A method in upper case.
MethodName of Method; |cx, node, _| method(cx, node), |method| Tree::text(method.as_str()), { "type": "string" } }
scalar! { /// The value of a header, with variables such as `%REQ(x-user)%`.
HeaderValue of HeaderText; |cx, node, _| header_text::header_text(cx, node), |text| Tree::text(text.to_string()),
{ "type": ["string", "number", "boolean"] } }
scalar! { /// The name of a header.
HeaderKey of HeaderName; |cx, node, _| header_name(cx, node), |name| Tree::text(name.as_str()), { "type": "string" } }
scalar! { /// A block of addresses.
Ip of IpNet; |cx, node, _| ip(cx, node), |block| Tree::text(block.to_string()), { "type": "string" } }
scalar! { /// A regular expression that the whole text must match.
Regex of String; |cx, node, _| pattern::regex(cx, node), |text| Tree::text(text), { "type": "string", "minLength": 1, "maxLength": 1024 } }
scalar! { /// Labels of a workload.
LabelSet of Labels; |cx, node, _| names::labels(cx, node), write_labels,
{ "type": "object", "additionalProperties": { "type": "string" } } }
scalar! { /// A host, a pattern of hosts or an address.
HostText of String; |cx, node, scope| scope.host_pattern(cx, node), |host| write_host(host), { "type": "string" } }
scalar! { /// A namespace.
Namespace of String; |cx, node, _| envelope::namespace(cx, node), |text| Tree::text(text), { "type": "string" } }
scalar! { /// When the item was made; of two items that conflict the older one counts.
Created of u64; |cx, node, _| envelope::timestamp(cx, node), |seconds| Tree::text(timestamp(*seconds)),
{ "type": "string", "format": "date-time" } }

/// A name without a dot would be completed: one at its end says that it is complete.
fn write_host(host: &str) -> Tree {
    let is_whole = host.contains(['.', ':']) || host == "*";
    Tree::text(if is_whole { host.into() } else { format!("{host}.") })
}

fn write_labels(labels: &Labels) -> Tree {
    let entries = labels.iter().map(|(key, value)| (key.clone(), Tree::text(value)));
    Tree::Map(entries.collect())
}

/// A smaller part would be none at all.
const SHARES_OF_PERCENT: f64 = 10_000.0;

fn share(cx: &Reader<'_>, node: &Node) -> Option<Fraction> {
    let percent = cx.f64(node)?;
    let found = quoted(node.as_text().unwrap_or_default());
    if !(0.0..=100.0).contains(&percent) {
        return cx.invalid(node, format!("expected a percentage of 0 to 100, found {found}"));
    }
    let parts = percent * SHARES_OF_PERCENT;
    if (parts - parts.round()).abs() > 1e-6 {
        return cx.invalid(node, format!("expected at most four decimals, found {found}"));
    }
    Some(Fraction::from_percent(percent))
}

fn method(cx: &Reader<'_>, node: &Node) -> Option<Method> {
    let text = cx.text(node)?;
    let method = Method::from_bytes(text.as_bytes()).ok();
    if method.is_none() {
        return cx.invalid(node, format!("expected a method such as `GET`, found {}", quoted(text)));
    }
    method
}

fn header_name(cx: &Reader<'_>, node: &Node) -> Option<HeaderName> {
    let text = cx.text(node)?;
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() {
        return cx.invalid(node, format!("expected the name of a header, found {}", quoted(text)));
    }
    name
}

fn ip(cx: &Reader<'_>, node: &Node) -> Option<IpNet> {
    let text = cx.name(node)?;
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    match text.parse::<IpNet>().or_else(|_| address()) {
        Ok(block) => Some(block),
        Err(_) => {
            let found = quoted(&text);
            cx.invalid(
                node,
                format!("expected an IP address or a block such as `10.0.0.0/8`, found {found}"),
            )
        }
    }
}

/// An RFC 3339 time of seconds since 1970, by the civil calendar (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms").
fn timestamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Text as a key.
pub(in crate::policy::dialect::native) struct TextKey;

impl Place for TextKey {
    type Of = String;

    fn read_key(_: &Reader<'_>, key: &Key) -> Option<String> {
        Some(key.name.to_string())
    }

    fn write_key(key: &String) -> String {
        key.clone()
    }
}

/// A port as a key.
pub(in crate::policy::dialect::native) struct PortKey;

impl Place for PortKey {
    type Of = u16;

    fn read_key(cx: &Reader<'_>, key: &Key) -> Option<u16> {
        let is_number = key.name.bytes().all(|byte| byte.is_ascii_digit()) && !key.name.starts_with('0');
        let port = key.name.parse().ok().filter(|_| is_number);
        if port.is_none() {
            cx.invalid_key(key, "expected a port of 1 to 65535");
        }
        port
    }

    fn write_key(key: &u16) -> String {
        key.to_string()
    }
}

impl Place for HeaderKey {
    type Of = HeaderName;

    fn read_key(cx: &Reader<'_>, key: &Key) -> Option<HeaderName> {
        header_text::header_key(cx, key)
    }

    fn write_key(key: &HeaderName) -> String {
        key.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn times_are_printed_by_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(seconds), text);
        }
    }
}
