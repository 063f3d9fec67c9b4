//! `RequestAuthentication`: which tokens requests may carry.

use super::required_spec;
use super::selection::selection;
use super::values::duration;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::Object;
use crate::policy::model::Policy;
use crate::policy::model::jwt::{Forward, JwtKeys, JwtRule, Presence, RequestAuthentication};
use crate::policy::reader::{Fields, Reader, choice};
use crate::policy::source::Node;

/// Reads a `RequestAuthentication`.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let Some(mut fields) = required_spec(cx, object).and_then(|spec| cx.mapping(spec)) else {
        return;
    };
    let selection = selection(&mut fields);
    let rules = fields.list("jwtRules", rule);
    fields.finish();
    policy.request_authentications.push(RequestAuthentication {
        meta: object.meta.clone(),
        selector: selection.labels,
        targets: selection.targets,
        rules,
    });
}

const PRESENCE: &[(&str, Presence)] = &[
    ("OPTIONAL", Presence::Optional),
    ("REQUIRED", Presence::Required),
    ("UNSPECIFIED", Presence::Optional),
];

fn rule(cx: &Reader<'_>, node: &Node) -> Option<JwtRule> {
    let mut fields = cx.mapping(node)?;
    let issuer = fields.optional("issuer", Reader::name).unwrap_or_default();
    let keys = keys(&mut fields);
    if issuer.is_empty() && !matches!(keys, JwtKeys::Fetched(_)) {
        fields.missing(&["issuer", "jwksUri"]);
    }
    let found = JwtRule {
        origin: cx.origin(node.span),
        issuer,
        keys,
        audiences: fields.list("audiences", Reader::name),
        from_headers: fields.list("fromHeaders", from_header),
        from_params: fields.list("fromParams", Reader::name),
        from_cookies: fields.list("fromCookies", Reader::name),
        payload_header: fields.optional("outputPayloadToHeader", Reader::name),
        forward: match fields.optional("forwardOriginalToken", Reader::bool) {
            Some(true) => Forward::Keep,
            _ => Forward::Remove,
        },
        claim_headers: fields.list("outputClaimToHeaders", claim_header),
        timeout: fields.optional("timeout", duration),
        presence: fields.optional("presence", choice(PRESENCE)).unwrap_or_default(),
        space_delimited_claims: fields.list("spaceDelimitedClaims", Reader::name),
        ..JwtRule::default()
    };
    fields.finish();
    Some(found)
}

fn keys(fields: &mut Fields<'_, '_, '_>) -> JwtKeys {
    match fields.one_of(&["jwksUri", "jwks"]) {
        Some(("jwksUri", _)) => fields
            .optional("jwksUri", jwks_uri)
            .map(JwtKeys::Fetched)
            .unwrap_or_default(),
        Some(_) => fields.optional("jwks", jwks).map(JwtKeys::Inline).unwrap_or_default(),
        None => JwtKeys::Discovered,
    }
}

fn jwks_uri(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.name(node)?;
    match text.parse::<http::Uri>() {
        Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => Some(text),
        _ => cx.invalid(
            node,
            format!("expected an address with `http` or `https`, found {}", quoted(&text)),
        ),
    }
}

/// A JSON Web Key Set; keys that sign belong to the issuer alone.
fn jwks(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.any_text(node)?;
    let set: serde_json::Value = match serde_json::from_str(&text) {
        Ok(set) => set,
        Err(error) => return cx.invalid(node, format!("expected a JSON Web Key Set: {error}")),
    };
    let Some(keys) = set.get("keys").and_then(serde_json::Value::as_array) else {
        return cx.invalid(node, "expected a JSON Web Key Set with `keys`");
    };
    if keys.iter().any(|key| key.get("d").is_some()) {
        let message = "`jwks` has a private key: anybody who reads the policy can make tokens";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
    }
    Some(text)
}

fn from_header(cx: &Reader<'_>, node: &Node) -> Option<(String, String)> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", Reader::name);
    let prefix = fields.optional("prefix", Reader::any_text).unwrap_or_default();
    fields.finish();
    Some((name?, prefix))
}

fn claim_header(cx: &Reader<'_>, node: &Node) -> Option<(String, String)> {
    let mut fields = cx.mapping(node)?;
    let header = fields.required("header", |cx, node| {
        let text = cx.name(node)?;
        if text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        {
            return Some(text);
        }
        cx.invalid(
            node,
            format!("expected letters, digits, `-` and `_`, found {}", quoted(&text)),
        )
    });
    let claim = fields.required("claim", Reader::name);
    fields.finish();
    Some((header?, claim?))
}
