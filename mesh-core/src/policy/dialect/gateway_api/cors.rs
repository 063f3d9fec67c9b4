//! The `CORS` filter.

use std::time::Duration;

use super::names::header;
use super::values::{bounded, contradiction, given_or};
use crate::policy::diagnostic::quoted;
use crate::policy::model::filter::{Cors, Credentials, OriginMatch, UnmatchedPreflight};
use crate::policy::model::route::StringMatch;
use crate::policy::reader::{Fields, Reader, choice, spanned, within};
use crate::policy::source::{Node, Spanned};

/// The most items of a list.
const ITEMS: usize = 64;
/// The most methods: all, and `*`.
const METHODS: usize = 10;
/// How long browsers keep the answer to a preflight request that says nothing of it.
const MAX_AGE: Duration = Duration::from_secs(5);

const METHOD_NAMES: &[(&str, &str)] = &[
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("DELETE", "DELETE"),
    ("CONNECT", "CONNECT"),
    ("OPTIONS", "OPTIONS"),
    ("TRACE", "TRACE"),
    ("PATCH", "PATCH"),
    ("*", "*"),
];

/// Reads the settings of a filter.
pub(super) fn cors(cx: &Reader<'_>, node: &Node) -> Option<Cors> {
    let mut fields = cx.mapping(node)?;
    let origins = bounded(&mut fields, "allowOrigins", ITEMS, spanned(origin));
    let origins = alone(cx, "allowOrigins", origins, |one| *one == OriginMatch::Any);
    let methods = bounded(&mut fields, "allowMethods", METHODS, spanned(method));
    let methods = alone(cx, "allowMethods", methods, |one| one == "*");
    let allow_headers = headers(cx, &mut fields, "allowHeaders");
    let expose_headers = headers(cx, &mut fields, "exposeHeaders");
    let age = given_or(&mut fields, "maxAge", MAX_AGE, |cx, node| {
        within::<u32>(1..=i32::MAX.into())(cx, node).map(|seconds| Duration::from_secs(seconds.into()))
    });
    let credentials = given_or(&mut fields, "allowCredentials", false, Reader::bool);
    fields.finish();
    if origins.is_empty() && node.get("allowOrigins").is_none_or(|node| node.items().is_empty()) {
        super::no_effect(cx, node.span, "the filter allows no origin: it adds no header");
    }
    Some(Cors {
        allow_origins: origins,
        allow_methods: methods,
        allow_headers,
        expose_headers,
        max_age: Some(age?),
        credentials: if credentials? {
            Credentials::Allow
        } else {
            Credentials::Omit
        },
        unmatched: UnmatchedPreflight::Answer,
    })
}

/// `*` stands for all of a list, and so alone.
fn alone<T>(cx: &Reader<'_>, field: &str, items: Vec<Spanned<T>>, is_all: impl Fn(&T) -> bool) -> Vec<T> {
    let all = items.iter().find(|item| is_all(&item.value));
    if let Some(all) = all.filter(|_| items.len() > 1) {
        contradiction(cx, all.span, format!("`{field}`: `*` must stand alone"));
    }
    items.into_iter().map(|item| item.value).collect()
}

fn method(cx: &Reader<'_>, node: &Node) -> Option<String> {
    choice(METHOD_NAMES)(cx, node).map(Into::into)
}

fn headers(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, field: &'static str) -> Vec<String> {
    let read = |cx: &Reader<'_>, node: &Node| {
        let name = header(cx, node)?;
        // As it is written: browsers compare without case, people read it.
        node.as_text()
            .map_or_else(|| Some(name.to_string()), |text| Some(text.into()))
    };
    let names = bounded(fields, field, ITEMS, spanned(read));
    alone(cx, field, names, |one| one == "*")
}

/// Reads `*`, `scheme://host[:port]`, or that with `*.` before the host, which is any number of labels.
fn origin(cx: &Reader<'_>, node: &Node) -> Option<OriginMatch> {
    let text = cx.text(node)?;
    if text == "*" {
        return Some(OriginMatch::Any);
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, host)) = lower.split_once("://").filter(|(scheme, host)| is_origin(scheme, host)) else {
        let found = quoted(text);
        return cx.invalid(
            node,
            format!("expected `*` or an origin such as `https://shop.example` or `https://*.shop.example:8443`, found {found}"),
        );
    };
    let host = without_default_port(scheme, host);
    Some(OriginMatch::Text(match host.split_once('*') {
        None => StringMatch::Exact(format!("{scheme}://{host}")),
        Some((before, after)) => StringMatch::Regex(format!(
            "{}://{}[^/:]+{}",
            regex::escape(scheme),
            regex::escape(before),
            regex::escape(after)
        )),
    }))
}

fn is_origin(scheme: &str, host: &str) -> bool {
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    let is_port = (1..=5).contains(&port.len()) && port.parse::<u16>().is_ok();
    let name = name.strip_prefix("*.").unwrap_or(name);
    let is_name = name == "*" || super::envelope::is_object_name(name);
    is_scheme && is_port && is_name
}

/// Browsers leave the default port out.
fn without_default_port<'h>(scheme: &str, host: &'h str) -> &'h str {
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return host,
    };
    host.strip_suffix(default).unwrap_or(host)
}
