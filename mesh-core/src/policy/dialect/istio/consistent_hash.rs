//! `ConsistentHashLB`: the same endpoint for the same header, parameter, cookie or caller.

use std::time::Duration;

use http::HeaderName;

use super::names::refuse_duplicates;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::traffic::{Algorithm, HashKey};
use crate::policy::reader::{Fields, Reader, spanned, within};
use crate::policy::source::{Node, Spanned};

/// Entries of a ring that says none, and the most that Envoy allows.
const RING: u64 = 1024;
const LARGEST_RING: i64 = 8 * 1024 * 1024;

/// What the size of a Maglev table must stay below, in Istio.
const MAGLEV_BOUND: u64 = 5_000_011;

const KEYS: &[&str] = &["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"];

/// Reads what is hashed and how; without a key any endpoint is picked.
pub(super) fn consistent_hash(cx: &Reader<'_>, node: &Node) -> Option<(Algorithm, Option<HashKey>)> {
    let mut fields = cx.mapping(node)?;
    let key = key(&mut fields);
    if KEYS.iter().all(|name| fields.node(name).is_none()) {
        let message = "`consistentHash` has no effect: it does not say what is hashed";
        let help = "give `httpHeaderName`, `httpCookie`, `useSourceIp` or `httpQueryParameterName`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
    }
    let algorithm = algorithm(cx, &mut fields);
    fields.finish();
    Some((algorithm?, key))
}

fn key(fields: &mut Fields<'_, '_, '_>) -> Option<HashKey> {
    let (name, _) = fields.one_of(KEYS)?;
    match name {
        "httpHeaderName" => fields.optional(name, header).map(HashKey::Header),
        "httpCookie" => fields.optional(name, cookie),
        "useSourceIp" => fields
            .optional(name, Reader::bool)
            .filter(|uses| *uses)
            .map(|_| HashKey::SourceIp),
        _ => fields.optional(name, Reader::name).map(HashKey::Query),
    }
}

fn header(cx: &Reader<'_>, node: &Node) -> Option<HeaderName> {
    let text = cx.text(node)?;
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) => Some(name),
        Err(_) => cx.invalid(node, format!("expected the name of a header, found {}", quoted(text))),
    }
}

fn cookie(cx: &Reader<'_>, node: &Node) -> Option<HashKey> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", Reader::name);
    let path = fields.optional("path", Reader::string).filter(|path| !path.is_empty());
    let ttl: Option<Duration> = fields.optional("ttl", Reader::duration);
    let attributes = fields.list("attributes", spanned(attribute));
    fields.finish();
    let names: Vec<_> = attributes.iter().map(|one| (one.0.as_str(), one.span)).collect();
    refuse_duplicates(cx, "attribute", &names);
    Some(HashKey::Cookie {
        name: name?,
        path,
        ttl,
        attributes: attributes.into_iter().map(|one: Spanned<_>| one.value).collect(),
    })
}

fn attribute(cx: &Reader<'_>, node: &Node) -> Option<(String, String)> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", Reader::name);
    let value = fields.optional("value", Reader::string);
    fields.finish();
    Some((name?, value.unwrap_or_default()))
}

/// Reads the algorithm: a ring unless something else is said. The size of the ring was a field of its own once.
fn algorithm(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<Algorithm> {
    let given = fields.one_of(&["ringHash", "maglev", "minimumRingSize"]);
    if let Some((key, _)) = fields.entry("minimumRingSize") {
        let message = format!("{} is deprecated", quoted(&key.name));
        let help = "write `ringHash: { minimumRingSize: … }`";
        cx.report(Diagnostic::new(Code::DEPRECATED, key.span, message).with_help(help));
    }
    match given {
        None => Some(Algorithm::RingHash(RING)),
        Some(("maglev", _)) => fields.optional("maglev", maglev),
        Some(("ringHash", _)) => fields.optional("ringHash", ring_hash),
        Some((name, _)) => fields.optional(name, ring_size).map(Algorithm::RingHash),
    }
}

fn ring_hash(cx: &Reader<'_>, node: &Node) -> Option<Algorithm> {
    let mut fields = cx.mapping(node)?;
    let size = match fields.node("minimumRingSize") {
        Some(_) => fields.optional("minimumRingSize", ring_size),
        None => Some(RING),
    };
    fields.finish();
    size.map(Algorithm::RingHash)
}

/// Reads the least number of entries; 0 is not given.
fn ring_size(cx: &Reader<'_>, node: &Node) -> Option<u64> {
    let size: u64 = within(0..=LARGEST_RING)(cx, node)?;
    Some(if size == 0 { RING } else { size })
}

fn maglev(cx: &Reader<'_>, node: &Node) -> Option<Algorithm> {
    let mut fields = cx.mapping(node)?;
    let size = fields.required("tableSize", |cx, node| {
        let size: u64 = within(0..=i64::MAX)(cx, node)?;
        match size < MAGLEV_BOUND && is_prime(size) {
            true => Some(size),
            false => cx.invalid(
                node,
                format!("expected a prime number below {MAGLEV_BOUND}, found `{size}`"),
            ),
        }
    });
    fields.finish();
    size.map(Algorithm::Maglev)
}

/// Whether a number below [`MAGLEV_BOUND`] is prime; O(its root).
fn is_prime(number: u64) -> bool {
    let divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number > 1 && divisors.into_iter().all(|divisor| !number.is_multiple_of(divisor))
}
