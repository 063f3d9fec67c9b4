//! Requests and workloads, as files of tests and of recorded requests write them.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::identity::SpiffeId;
use crate::policy::diagnostic::{Code, Diagnostic, nearest, quoted};
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::{Node, Value};
use crate::trial::question::Asked;
use crate::workload::Workload;

/// Whether a URL or an identity must say its scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// It must.
    Required,
    /// It may be left out.
    Optional,
}

/// Reads `method`, `url` and `headers`.
pub(super) fn asked(fields: &mut Fields<'_, '_, '_>) -> Option<Asked> {
    let method = fields.optional("method", method).unwrap_or(Method::GET);
    let headers = fields.optional("headers", headers).unwrap_or_default();
    let url = fields.required("url", url)?;
    Some(Asked { method, url, headers })
}

/// The keys of a workload that are no labels.
const NAMED: [&str; 3] = ["namespace", "service_account", "sa"];

/// `namespace` and `service_account` (`sa`); every other key is a label.
pub(super) fn workload(cx: &Reader<'_>, node: &Node) -> Option<Workload> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let mut pairs = Vec::new();
    for (key, value) in entries {
        let meant = nearest(&key.name, ["namespace", "service_account"]);
        if let Some(meant) = meant.filter(|_| !NAMED.contains(&&*key.name)) {
            let message = format!("unknown field {}", quoted(&key.name));
            let diagnostic = Diagnostic::new(Code::UNKNOWN_FIELD, key.span, message);
            cx.report(diagnostic.with_help(format!("did you mean `{meant}`?")));
        }
        pairs.push((key.name.to_string(), cx.any_text(value)?));
    }
    Some(workload_of(&pairs))
}

/// A workload of its parts; what is not said is `default`.
pub(crate) fn workload_of(pairs: &[(String, String)]) -> Workload {
    let field = |names: &[&str]| {
        let found = pairs.iter().find(|(key, _)| names.contains(&key.as_str()));
        found.map_or("default", |(_, value)| value.as_str())
    };
    let workload = Workload::new(field(&["namespace"]), field(&["service_account", "sa"]));
    let labels = pairs.iter().filter(|(key, _)| !NAMED.contains(&key.as_str()));
    labels.fold(workload, |workload, (key, value)| workload.label(key, value))
}

fn method(cx: &Reader<'_>, node: &Node) -> Option<Method> {
    let text = cx.text(node)?;
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) => Some(method),
        Err(_) => cx.invalid(node, format!("expected a method, found {}", quoted(text))),
    }
}

fn url(cx: &Reader<'_>, node: &Node) -> Option<Uri> {
    let text = cx.text(node)?;
    match url_of(text, Scheme::Required) {
        Ok(url) => Some(url),
        Err(reason) => cx.invalid(node, reason),
    }
}

/// Reads an absolute URL.
pub(crate) fn url_of(text: &str, scheme: Scheme) -> Result<Uri, String> {
    let expected = || format!("expected a URL such as `http://orders/7`, found {}", quoted(text));
    let full = match scheme {
        Scheme::Optional if !text.contains("://") => format!("http://{text}"),
        _ => text.to_owned(),
    };
    let url: Uri = full.parse().map_err(|_| expected())?;
    match (url.scheme_str(), url.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(url),
        _ => Err(expected()),
    }
}

/// Values by name; a list is a header that is there several times.
pub(super) fn headers(cx: &Reader<'_>, node: &Node) -> Option<HeaderMap> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let mut headers = HeaderMap::new();
    for (key, value) in entries {
        let Ok(name) = HeaderName::from_bytes(key.name.to_ascii_lowercase().as_bytes()) else {
            cx.invalid_key(key, "expected the name of a header");
            continue;
        };
        let values = match &value.value {
            Value::Sequence(values) => values.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for value in values {
            headers.append(name.clone(), header_value(cx, value)?);
        }
    }
    Some(headers)
}

fn header_value(cx: &Reader<'_>, node: &Node) -> Option<HeaderValue> {
    let text = cx.any_text(node)?;
    match HeaderValue::from_str(&text) {
        Ok(value) => Some(value),
        Err(_) => cx.invalid(node, "expected text without control characters"),
    }
}

/// Headers of names and values; the first that cannot be one is the error.
pub(crate) fn header_map<'t>(pairs: impl IntoIterator<Item = (&'t str, &'t str)>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())
            .map_err(|_| format!("{} is no name of a header", quoted(name)))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("`{name}` has control characters"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// A SPIFFE id, whose scheme may be left out; `plaintext` is no id.
pub(super) fn identity(cx: &Reader<'_>, node: &Node) -> Option<SpiffeId> {
    let text = cx.text(node)?;
    match identity_of(text) {
        Ok(identity) => identity,
        Err(reason) => cx.invalid(node, reason),
    }
}

/// The identity of a workload, whose scheme may be left out; `plaintext` is none.
pub(crate) fn identity_of(text: &str) -> Result<Option<SpiffeId>, String> {
    if text == "plaintext" {
        return Ok(None);
    }
    let id = match text.contains("://") {
        true => SpiffeId::parse(text),
        false => SpiffeId::parse(&format!("spiffe://{text}")),
    };
    let id = id.map_err(|error| format!("the id {error}"))?;
    if id.is_root() {
        return Err("the id names a trust domain, expected a workload such as `cluster.local/ns/shop/sa/web`".into());
    }
    Ok(Some(id))
}

pub(super) fn address(cx: &Reader<'_>, node: &Node) -> Option<IpAddr> {
    let text = cx.text(node)?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => cx.invalid(node, format!("expected an IP address, found {}", quoted(text))),
    }
}
