//! The rules around a token: table H of the attack cases, with cryptography that only compares.

mod forms;
mod keys;
mod times;
mod whom;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use serde_json::{Value, json};

use super::*;
use crate::policy::model::Meta;
use crate::policy::model::jwt::{JwtKeys, JwtRule, Presence, RequestAuthentication};
use crate::request::{Options, PathRules, Transport, canonicalize};
use crate::workload::Workload;

const ISSUER: &str = "https://id.example.com";
const NOW: u64 = 1_700_000_000;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A signature is genuine where it names algorithm, key and message.
struct Comparing;

impl Signatures for Comparing {
    fn is_valid(&self, algorithm: Algorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        signature == signed(algorithm.name(), material(key), message)
    }
}

fn material(key: &PublicKey) -> &[u8] {
    match key {
        PublicKey::Rsa { modulus, .. } => modulus,
        PublicKey::P256(point) | PublicKey::P384(point) | PublicKey::Ed25519(point) => point,
    }
}

fn signed(algorithm: &str, material: &[u8], message: &[u8]) -> Vec<u8> {
    [algorithm.as_bytes(), material, message].concat()
}

/// No keys but those of the rule.
struct NoKeys;

impl Keys for NoKeys {
    fn of(&self, _: &KeySource) -> Option<Arc<KeySet>> {
        None
    }
}

/// The modulus of an RSA key of so many bytes.
fn modulus(length: usize) -> Vec<u8> {
    vec![0xc1; length]
}

fn rsa(id: &str) -> Value {
    json!({ "kty": "RSA", "kid": id, "n": encoded(modulus(256)), "e": "AQAB" })
}

fn p256(id: &str) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": encoded([1; 32]), "y": encoded([2; 32]) })
}

fn p256_point() -> Vec<u8> {
    [&[4][..], &[1; 32], &[2; 32]].concat()
}

/// A token that is signed with the RSA key.
fn token(header: &Value, claims: &Value) -> String {
    token_by(header, claims, &modulus(256))
}

fn token_by(header: &Value, claims: &Value, key: &[u8]) -> String {
    let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    let algorithm = header["alg"].as_str().unwrap_or_default();
    format!("{message}.{}", encoded(signed(algorithm, key, message.as_bytes())))
}

fn header() -> Value {
    json!({ "alg": "RS256", "kid": "a" })
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "ann", "exp": NOW + 60 })
}

/// The claims with one of them set.
fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn rule(keys: &[Value]) -> JwtRule {
    JwtRule {
        issuer: ISSUER.into(),
        keys: JwtKeys::Inline(json!({ "keys": keys }).to_string()),
        ..JwtRule::default()
    }
}

fn policy(rules: Vec<JwtRule>) -> RequestAuthentication {
    RequestAuthentication {
        meta: Meta {
            name: "tokens".into(),
            namespace: "shop".into(),
            ..Meta::default()
        },
        rules,
        ..RequestAuthentication::default()
    }
}

fn compiled(rules: Vec<JwtRule>) -> TokenRules {
    let hosts = |_: &str| false;
    TokenRules::compile(
        &[policy(rules)],
        &Workload::new("shop", "orders"),
        "istio-system",
        &hosts,
    )
    .unwrap()
}

/// What becomes of a request.
fn ask(rules: &TokenRules, request: &Request<()>, now: u64) -> Result<Option<Arc<VerifiedToken>>, Refusal> {
    let canonical = canonicalize(request, Options::inbound(Transport::Tls, PathRules::Absent)).unwrap();
    let Some(borne) = rules.locate(&canonical.view())? else {
        return Ok(None);
    };
    let means = Means {
        now,
        keys: &NoKeys,
        signatures: &Comparing,
    };
    let accepted = rules.verify(&borne, means).map_err(|rejected| rejected.refusal)?;
    Ok(Some(accepted.token))
}

fn bearing(token: &str) -> Request<()> {
    let request = Request::get("https://orders.shop/").header("authorization", format!("Bearer {token}"));
    request.body(()).unwrap()
}

/// What becomes of a token of the usual rule.
fn judged(token: &str) -> Result<(), Refusal> {
    ask(&compiled(vec![rule(&[rsa("a")])]), &bearing(token), NOW).map(|_| ())
}

#[test]
fn a_genuine_token_says_what_it_says() {
    let rules = compiled(vec![rule(&[rsa("a")])]);
    let said = ask(
        &rules,
        &bearing(&token(&header(), &with("groups", vec!["a", "b"]))),
        NOW,
    );
    let said = said.unwrap().unwrap();

    assert_eq!(said.principal(), Some("https://id.example.com/ann"));
    assert!(said.texts(&["groups"]).unwrap().any(|text| text == "b"));
    assert_eq!(
        format!("{said:?}"),
        "VerifiedToken { principal: Some(\"https://id.example.com/ann\"), .. }"
    );
}

#[test]
fn rules_of_other_workloads_look_at_nothing() {
    let mut policy = policy(vec![rule(&[rsa("a")])]);
    policy.selector.insert("app".into(), "billing".into());
    let hosts = |_: &str| false;
    let of = |policy: &RequestAuthentication, workload: &Workload| {
        TokenRules::compile([policy], workload, "istio-system", &hosts).unwrap()
    };
    let billing = Workload::new("shop", "billing").label("app", "billing");

    assert!(of(&policy, &Workload::new("shop", "orders")).is_empty());
    assert!(!of(&policy, &billing).is_empty());
    policy.meta.namespace = "istio-system".into();
    assert!(!of(&policy, &billing).is_empty());
    policy.meta.namespace = "other".into();
    assert!(of(&policy, &billing).is_empty());
}
