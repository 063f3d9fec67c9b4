//! The compact form of a signed token (RFC 7515 §7.1), and nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Refusal;
use super::algorithm::Algorithm;
use super::json;
use super::keys::MAX_KEY_ID;

/// The longest token that is looked at.
pub const MAX_TOKEN: usize = 16 << 10;

/// Members of a header that would have the token bring its own key, or demand what is not understood.
const REFUSED: [&str; 5] = ["jwk", "jku", "x5u", "x5c", "crit"];

/// A token that has the right form, and about which nothing is proven yet.
#[derive(Debug)]
pub(super) struct Unverified<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<Box<str>>,
    /// What is signed.
    pub(super) message: &'t [u8],
    pub(super) signature: Vec<u8>,
    /// The payload as it is in the token.
    pub(super) payload: &'t str,
    pub(super) claims: Map<String, Value>,
}

/// Takes a token apart.
pub(super) fn parse(token: &str) -> Result<Unverified<'_>, Refusal> {
    if token.len() > MAX_TOKEN {
        return Err(Refusal::BadFormat);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::BadFormat);
    };
    if header.is_empty() || payload.is_empty() || signature.is_empty() {
        return Err(Refusal::BadFormat);
    }
    let members = json::object(&decoded(header, Refusal::HeaderEncoding)?).ok_or(Refusal::HeaderJson)?;
    let claims = decoded(payload, Refusal::PayloadEncoding)?;
    Ok(Unverified {
        algorithm: algorithm(&members)?,
        key_id: key_id(&members)?,
        // The first two parts and the dot between them.
        message: token
            .as_bytes()
            .get(..header.len() + 1 + payload.len())
            .unwrap_or_default(),
        signature: decoded(signature, Refusal::SignatureEncoding)?,
        payload,
        claims: json::object(&claims).ok_or(Refusal::PayloadJson)?,
    })
}

/// Base64url without padding, each value in its one form: trailing bits must be zero.
fn decoded(text: &str, refusal: Refusal) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| refusal)
}

fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, Refusal> {
    if REFUSED.iter().any(|name| header.contains_key(*name)) {
        return Err(Refusal::HeaderKey);
    }
    let name = header.get("alg").and_then(Value::as_str).ok_or(Refusal::NoAlgorithm)?;
    Algorithm::named(name).ok_or(Refusal::UnknownAlgorithm)
}

fn key_id(header: &Map<String, Value>) -> Result<Option<Box<str>>, Refusal> {
    let Some(id) = header.get("kid") else {
        return Ok(None);
    };
    let id = id.as_str().filter(|id| id.len() <= MAX_KEY_ID);
    id.map(|id| Some(id.into())).ok_or(Refusal::KeyId)
}
