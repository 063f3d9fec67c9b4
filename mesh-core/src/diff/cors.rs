//! Who may read answers from pages of other origins: what CORS says to origins that either policy names, and to a foreign one.

use http::header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

use super::facts::Facts;
use super::sample::{self, ANY};
use crate::decide::shape::{CorsDecision, CorsPolicy};
use crate::policy::model::filter::{Cors, OriginMatch};

/// Origins to ask with: those that a host's rules name or just do not, and a foreign one.
pub(super) fn origins(written: &[&Cors]) -> Vec<HeaderValue> {
    let named = written.iter().flat_map(|cors| &cors.allow_origins);
    let texts = named.flat_map(|origin| match origin {
        OriginMatch::Text(text) => {
            let samples = sample::of_match(text);
            samples.hits.into_iter().chain(samples.misses).collect()
        }
        OriginMatch::Any => Vec::new(),
    });
    let mut texts: Vec<String> = texts.chain([format!("https://{ANY}.example")]).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
        .iter()
        .filter_map(|text| HeaderValue::from_str(text).ok())
        .collect()
}

/// What each of them is told; a rule that tells nothing is as none.
pub(super) fn facts(cors: &CorsPolicy, origins: &[HeaderValue]) -> Facts {
    let mut facts = Facts::new();
    for origin in origins {
        let name = String::from_utf8_lossy(origin.as_bytes());
        let mut headers = HeaderMap::from_iter([(ORIGIN, origin.clone())]);
        if let CorsDecision::Decorate(told) = cors.decide(&Method::GET, &headers) {
            facts.insert(format!("cors of {name}"), json!(text(&told)));
        }
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("x-asked"));
        if let CorsDecision::Answer(told) = cors.decide(&Method::OPTIONS, &headers) {
            facts.insert(format!("cors of {name}, preflight"), json!(text(&told)));
        }
    }
    facts
}

/// Headers by name, without the part that all names have; the order of a list says nothing.
fn text(told: &HeaderMap) -> String {
    let mut told: Vec<String> = told.iter().map(|(name, value)| field(name.as_str(), value)).collect();
    told.sort_unstable();
    match told.is_empty() {
        true => "answered without leave".into(),
        false => told.join(", "),
    }
}

fn field(name: &str, value: &HeaderValue) -> String {
    let name = name.strip_prefix("access-control-").unwrap_or(name);
    let value = String::from_utf8_lossy(value.as_bytes());
    let mut items: Vec<&str> = value.split(',').map(str::trim).collect();
    items.sort_unstable();
    items.dedup();
    format!("{name} {}", items.join(" "))
}
