//! Forms of values that not every text or number can be.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, StatusCode};
use serde_json::{Value as Json, json};

use super::scalar::scalar;
use super::{Form, Place, Schema, Scope, Tree};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::authorizer_values::path_prefix;
use crate::policy::dialect::filter_values::{
    authority, bounded_body, cors_header, cors_method, redirect_status, status, whole_seconds,
};
use crate::policy::dialect::header_text::{changed_header, removed_header};
use crate::policy::reader::{Reader, choice, within};
use crate::policy::source::{Key, Node};
use crate::time::format_duration;

scalar! { /// A status of an answer.
Status of StatusCode; |cx, node, _| status(cx, node), |status| Tree::number(status.as_u16()),
{ "type": "integer", "minimum": 200, "maximum": 600 } }
scalar! { /// A status of a redirect.
RedirectStatus of StatusCode; |cx, node, _| redirect_status(cx, node), |status| Tree::number(status.as_u16()),
{ "enum": [301, 302, 303, 307, 308] } }
scalar! { /// A status that counts as a failure.
FailureStatus of StatusCode; |cx, node, _| failure_status(cx, node), |status| Tree::number(status.as_u16()),
{ "type": "integer", "minimum": 100, "maximum": 599 } }
scalar! { /// `http` or `https`.
SchemeName of String; |cx, node, _| choice(SCHEMES)(cx, node).map(Into::into), |name| Tree::text(name),
{ "enum": ["http", "https"] } }
scalar! { /// A host, with or without a port.
Authority of String; |cx, node, _| authority(cx, node), |text| Tree::text(text), { "type": "string", "minLength": 1 } }
scalar! { /// A path that begins with `/`, without a query.
NewPath of String; |cx, node, _| path_prefix(cx, node), |text| Tree::text(text), { "type": "string", "pattern": "^(/[^?#]*)?$" } }
scalar! { /// A method of a list of CORS, or `*`.
CorsMethod of String; |cx, node, _| cors_method(cx, node), |text| Tree::text(text), { "type": "string", "pattern": "^([A-Z]+|[*])$" } }
scalar! { /// The name of a header of a list of CORS, or `*`.
CorsHeader of String; |cx, node, _| cors_header(cx, node), |text| Tree::text(text), { "type": "string", "minLength": 1 } }
scalar! { /// A duration of whole seconds.
Seconds of Duration; |cx, node, _| whole_seconds(cx, node), |value| Tree::text(format_duration(*value)),
{ "type": "string", "pattern": "^[0-9.]+(ns|us|ms|s|m|h)" } }
scalar! { /// `true`: what is not so is left out.
Given of bool; |cx, node, _| given(cx, node), |flag| Tree::Flag(*flag), { "const": true } }
scalar! { /// The body of an answer.
BodyText of Bytes; |cx, node, _| bounded_body(cx, node, cx.string(node)?.into_bytes()).map(Bytes::from),
|bytes| Tree::text(String::from_utf8_lossy(bytes)), { "type": "string" } }
scalar! { /// The name of a header that may be changed.
ChangedHeader of HeaderName; |cx, node, _| removed_header(cx, node), |name| Tree::text(name.as_str()),
{ "type": "string", "minLength": 1 } }

/// A number of this range; that of `u32::MAX` has no end.
pub(in crate::policy::dialect::native) struct Between<const LEAST: u32, const MOST: u32>;

impl<const LEAST: u32, const MOST: u32> Form for Between<LEAST, MOST> {
    type Of = f64;

    fn read(cx: &Reader<'_>, node: &Node, _: Scope<'_>) -> Option<f64> {
        let value = cx.f64(node)?;
        let most = if MOST == u32::MAX { f64::MAX } else { f64::from(MOST) };
        if (f64::from(LEAST)..=most).contains(&value) {
            return Some(value);
        }
        let found = quoted(node.as_text().unwrap_or_default());
        cx.invalid(
            node,
            match MOST {
                u32::MAX => format!("expected at least {LEAST}, found {found}"),
                _ => format!("expected a number of {LEAST} to {MOST}, found {found}"),
            },
        )
    }

    fn write(value: &f64) -> Tree {
        Tree::Float(*value)
    }

    fn schema(_: &mut Schema) -> Json {
        match MOST {
            u32::MAX => json!({ "type": "number", "minimum": LEAST }),
            _ => json!({ "type": "number", "minimum": LEAST, "maximum": MOST }),
        }
    }
}

const SCHEMES: &[(&str, &str)] = &[("http", "http"), ("https", "https")];

fn failure_status(cx: &Reader<'_>, node: &Node) -> Option<StatusCode> {
    let number: u16 = within(100..=599)(cx, node)?;
    StatusCode::from_u16(number).ok()
}

fn given(cx: &Reader<'_>, node: &Node) -> Option<bool> {
    match cx.bool(node)? {
        true => Some(true),
        false => cx.invalid(node, "expected `true`; leave it out if it is not so"),
    }
}

impl Place for ChangedHeader {
    type Of = HeaderName;

    fn read_key(cx: &Reader<'_>, key: &Key) -> Option<HeaderName> {
        changed_header(cx, key)
    }

    fn write_key(key: &HeaderName) -> String {
        key.as_str().to_owned()
    }
}

/// Says of a mapping without any field that it does nothing.
pub(in crate::policy::dialect::native) fn warn_of_empty<T>(cx: &Reader<'_>, node: &Node, _: &T) {
    if node.entries().iter().all(|(_, value)| value.is_null()) {
        let message = "an empty mapping has no effect here";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help("leave the field out"));
    }
}
