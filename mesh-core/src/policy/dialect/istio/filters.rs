//! What a route does to requests and responses: redirects, answers, rewrites, header changes.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::StatusCode;

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::filter_values::{authority, bounded_body, check_groups, redirect_status, status};
use crate::policy::dialect::header_text::{changed_header, header_text, removed_header};
use crate::policy::dialect::pattern::regex;
use crate::policy::model::filter::{
    DirectResponse, HeaderChanges, HeaderRules, HeaderText, PathRewrite, Redirect, RedirectPort, Rewrite,
};
use crate::policy::reader::{Fields, Reader, choice, list_of};
use crate::policy::source::{Key, Node, Value};

/// Base64 as protobuf's JSON form takes it: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a redirect may change; it must change something.
const REDIRECTED: &[&str] = &["uri", "prefixRewrite", "authority", "port", "derivePort", "scheme"];

/// Reads `redirect`.
pub(super) fn redirect(cx: &Reader<'_>, node: &Node) -> Option<Redirect> {
    let mut fields = cx.mapping(node)?;
    let status = match fields.optional("redirectCode", redirect_code) {
        None if fields.node("redirectCode").is_some() => return None,
        status => status.unwrap_or(StatusCode::MOVED_PERMANENTLY),
    };
    let is_empty = |node: &Node| node.as_text() == Some("");
    let is_given = |name: &&'static str| {
        fields
            .node(name)
            .is_some_and(|node| *name == "authority" || !is_empty(node))
    };
    if !REDIRECTED.iter().any(is_given) {
        fields.missing(REDIRECTED);
    }
    let mut found = Redirect::new(status);
    let path = fields.one_of(&["uri", "prefixRewrite"]);
    found.path = path.and_then(|(form, node)| {
        let text = cx.string(node).filter(|text| !text.is_empty())?;
        Some(if form == "uri" {
            PathRewrite::Full(text)
        } else {
            PathRewrite::Prefix(text)
        })
    });
    found.authority = fields.optional("authority", authority);
    found.scheme = fields
        .optional("scheme", choice(&[("http", "http"), ("https", "https")]))
        .map(Into::into);
    found.port = redirect_port(cx, &mut fields);
    fields.finish();
    Some(found)
}

fn redirect_port(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> RedirectPort {
    const DERIVED: &[(&str, RedirectPort)] = &[
        ("FROM_PROTOCOL_DEFAULT", RedirectPort::ProtocolDefault),
        ("FROM_REQUEST_PORT", RedirectPort::Request),
    ];
    match fields.one_of(&["port", "derivePort"]) {
        Some(("port", node)) => cx.port(node).map(RedirectPort::Number).unwrap_or_default(),
        Some((_, node)) => choice(DERIVED)(cx, node).unwrap_or_default(),
        None => RedirectPort::Unset,
    }
}

/// Istio takes 0 for 301, and of the others those that Envoy sends.
fn redirect_code(cx: &Reader<'_>, node: &Node) -> Option<StatusCode> {
    match node.as_text() {
        Some("0") => Some(StatusCode::MOVED_PERMANENTLY),
        _ => redirect_status(cx, node),
    }
}

/// Reads `directResponse`.
pub(super) fn direct_response(cx: &Reader<'_>, node: &Node) -> Option<DirectResponse> {
    let mut fields = cx.mapping(node)?;
    let status = fields.required("status", status);
    let body = fields.optional("body", body);
    fields.finish();
    let mut response = DirectResponse::new(status?);
    response.body = body.map(Into::into);
    Some(response)
}

fn body(cx: &Reader<'_>, node: &Node) -> Option<Vec<u8>> {
    let mut fields = cx.mapping(node)?;
    let given = fields.required_one_of(&["string", "bytes"]);
    fields.finish();
    let body = match given? {
        ("string", node) => cx.any_text(node)?.into_bytes(),
        (_, node) => match BASE64.decode(cx.text(node)?.replace('-', "+").replace('_', "/")) {
            Ok(bytes) => bytes,
            Err(error) => return cx.invalid(node, format!("expected base64: {error}")),
        },
    };
    bounded_body(cx, node, body)
}

/// Reads `rewrite`.
pub(super) fn rewrite(cx: &Reader<'_>, node: &Node) -> Option<Rewrite> {
    let mut fields = cx.mapping(node)?;
    let given = fields.one_of(&["uri", "uriRegexRewrite"]);
    let authority = fields.optional("authority", authority);
    if given.is_none() && fields.node("authority").is_none() {
        fields.missing(&["uri", "uriRegexRewrite", "authority"]);
    }
    fields.finish();
    let path = given.and_then(|(form, node)| match form {
        "uri" => cx.string(node).map(PathRewrite::Prefix),
        _ => regex_rewrite(cx, node),
    });
    Some(Rewrite { authority, path })
}

fn regex_rewrite(cx: &Reader<'_>, node: &Node) -> Option<PathRewrite> {
    let mut fields = cx.mapping(node)?;
    let pattern = fields.required("match", regex);
    let substitution = fields.required("rewrite", Reader::name);
    let written = fields.node("rewrite");
    fields.finish();
    let (pattern, substitution) = (pattern?, substitution?);
    if let Some(written) = written {
        check_groups(cx, ("rewrite", written), &pattern, &substitution);
    }
    Some(PathRewrite::Regex { pattern, substitution })
}

/// Header changes as written, with the authority that they set: Istio takes `host` and `:authority` for a rewrite.
#[derive(Default)]
pub(super) struct Headers {
    pub(super) rules: HeaderRules,
    pub(super) authority: Option<String>,
}

/// Reads `headers`.
pub(super) fn headers(cx: &Reader<'_>, node: &Node) -> Option<Headers> {
    let mut fields = cx.mapping(node)?;
    let mut found = Headers::default();
    let mut authority = None;
    found.rules.request = fields
        .optional("request", |cx, node| changes(cx, node, Some(&mut authority)))
        .unwrap_or_default();
    found.rules.response = fields
        .optional("response", |cx, node| changes(cx, node, None))
        .unwrap_or_default();
    found.authority = authority;
    fields.finish();
    Some(found)
}

fn changes(cx: &Reader<'_>, node: &Node, mut authority: Option<&mut Option<String>>) -> Option<HeaderChanges> {
    let mut fields = cx.mapping(node)?;
    let mut found = HeaderChanges {
        set: fields
            .optional("set", |cx, node| texts(cx, node, authority.as_deref_mut()))
            .unwrap_or_default(),
        add: fields
            .optional("add", |cx, node| texts(cx, node, authority))
            .unwrap_or_default(),
        ..HeaderChanges::default()
    };
    found.remove = fields.optional("remove", list_of(removed)).unwrap_or_default();
    fields.finish();
    Some(found)
}

fn removed(cx: &Reader<'_>, node: &Node) -> Option<http::HeaderName> {
    let text = cx.text(node)?;
    if is_routing(text) {
        return cx.invalid(
            node,
            format!("{} cannot be removed: it says whom the request is for", quoted(text)),
        );
    }
    removed_header(cx, node)
}

fn is_routing(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

/// Values by header, in the order of their names, as Istio applies them.
fn texts(
    cx: &Reader<'_>,
    node: &Node,
    mut authority: Option<&mut Option<String>>,
) -> Option<Vec<(http::HeaderName, HeaderText)>> {
    let Value::Mapping(entries) = &node.value else {
        return cx.wrong_type(node, "a mapping");
    };
    let mut texts = Vec::new();
    for (key, value) in entries {
        if is_routing(&key.name) {
            host(cx, key, value, authority.as_deref_mut());
        } else if let (Some(name), Some(text)) = (changed_header(cx, key), header_text(cx, value)) {
            warn_of_empty(cx, key, &text);
            texts.push((name, text));
        }
    }
    texts.sort_by(|(left, _), (right, _)| left.as_str().cmp(right.as_str()));
    Some(texts)
}

fn warn_of_empty(cx: &Reader<'_>, key: &Key, text: &HeaderText) {
    if text.parts.is_empty() {
        let message = format!("header {} has an empty value: it is not changed", quoted(&key.name));
        cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message).with_help("`remove` takes a header away"));
    }
}

/// `host` and `:authority` of a request are a rewrite; other names with a colon, and those of responses, are none.
fn host(cx: &Reader<'_>, key: &Key, value: &Node, authority: Option<&mut Option<String>>) {
    let is_host = key.name.eq_ignore_ascii_case("host") || *key.name == *":authority";
    let Some(slot) = authority.filter(|_| is_host) else {
        cx.invalid_key(key, "expected the name of a header that may be changed");
        return;
    };
    let new = self::authority(cx, value);
    if slot.is_some() {
        let message = format!("key {}: the authority is set in two places", quoted(&key.name));
        cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
    }
    *slot = new;
}

/// Refuses a second authority beside that of `rewrite`.
pub(super) fn check_authority(cx: &Reader<'_>, node: &Node, rewrite: Option<&Rewrite>, headers: &Headers) {
    if headers.authority.is_some() && rewrite.is_some_and(|rewrite| rewrite.authority.is_some()) {
        let message = "the authority is set in two places: `rewrite` and `headers`";
        cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, node.span, message));
    }
}
