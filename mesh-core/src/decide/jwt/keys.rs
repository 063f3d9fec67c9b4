//! The keys of an issuer: a JSON Web Key Set (RFC 7517).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use thiserror::Error;

use super::algorithm::{Algorithm, Family};
use super::json;

/// The longest text of a key set.
pub const MAX_KEY_SET: usize = 1 << 20;
/// The smallest modulus of an RSA key, and the largest that libraries verify with, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// The longest name of a key.
pub(super) const MAX_KEY_ID: usize = 1024;

/// Why a text is no key set that tokens can be verified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// It is too long.
    #[error("the key set has more than 1 MiB")]
    TooLong,
    /// It is no JSON object with a list `keys`.
    #[error("expected a JSON Web Key Set, an object with the list `keys`")]
    Malformed,
    /// It has no key that a signature can be verified with.
    #[error(
        "the key set has no key to verify signatures with: RSA of at least 2048 bits, P-256, P-384 or Ed25519, not for encryption"
    )]
    NoUsableKey,
}

/// Public keys, in the order of the set. Those that no signature may be verified with are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    keys: Box<[Key]>,
}

/// One key of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// Its name.
    pub id: Option<Box<str>>,
    /// The only algorithm that it is for, where the set says one.
    pub algorithm: Option<Algorithm>,
    /// The key itself.
    pub material: PublicKey,
}

/// A public key, in the bytes that cryptography takes.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKey {
    /// RSA of 2048 to 8192 bits.
    Rsa {
        /// The modulus, without leading zeros.
        modulus: Box<[u8]>,
        /// The exponent, without leading zeros.
        exponent: Box<[u8]>,
    },
    /// A point on P-256, uncompressed.
    P256(Box<[u8]>),
    /// A point on P-384, uncompressed.
    P384(Box<[u8]>),
    /// Ed25519.
    Ed25519(Box<[u8]>),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "Rsa",
            Self::P256(_) => "P256",
            Self::P384(_) => "P384",
            Self::Ed25519(_) => "Ed25519",
        })
    }
}

impl KeySet {
    /// Reads a JSON Web Key Set.
    ///
    /// # Errors
    ///
    /// [`KeySetError`]: an empty set would refuse every token, and is never what an issuer means.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > MAX_KEY_SET {
            return Err(KeySetError::TooLong);
        }
        let set = json::object(text).ok_or(KeySetError::Malformed)?;
        let keys = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetError::Malformed)?;
        let keys: Box<[Key]> = keys.iter().filter_map(Value::as_object).filter_map(key).collect();
        match keys.is_empty() {
            true => Err(KeySetError::NoUsableKey),
            false => Ok(Self { keys }),
        }
    }

    /// The keys.
    #[must_use]
    pub const fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The keys that a token of this algorithm and key name may be verified with. A token that names none needs a set with
    /// one key of its kind: nobody guesses.
    pub(super) fn candidates<'k>(&'k self, algorithm: Algorithm, id: Option<&str>) -> Vec<&'k Key> {
        let fitting = self.keys.iter().filter(|key| key.fits(algorithm));
        match id {
            Some(id) => fitting.filter(|key| key.id.as_deref() == Some(id)).collect(),
            None => Some(fitting.collect::<Vec<_>>())
                .filter(|keys| keys.len() == 1)
                .unwrap_or_default(),
        }
    }
}

impl Key {
    /// Whether it verifies signatures of this algorithm: by its kind, its curve, and what the set says of it.
    fn fits(&self, algorithm: Algorithm) -> bool {
        self.material.family() == algorithm.family() && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

impl PublicKey {
    const fn family(&self) -> Family {
        match self {
            Self::Rsa { .. } => Family::Rsa,
            Self::P256(_) => Family::P256,
            Self::P384(_) => Family::P384,
            Self::Ed25519(_) => Family::Ed25519,
        }
    }
}

/// A key that is for signatures, of a kind that is strong enough.
fn key(jwk: &Map<String, Value>) -> Option<Key> {
    let material = material(jwk)?;
    let algorithm = match jwk.get("alg") {
        None => None,
        Some(name) => Some(Algorithm::named(name.as_str()?)?),
    };
    let id = match jwk.get("kid") {
        None => None,
        Some(id) => Some(id.as_str().filter(|id| id.len() <= MAX_KEY_ID)?.into()),
    };
    let key = Key {
        id,
        algorithm,
        material,
    };
    let fits = algorithm.is_none_or(|algorithm| key.fits(algorithm));
    (fits && verifies(jwk)).then_some(key)
}

/// Whether its owner means it for verifying signatures.
fn verifies(jwk: &Map<String, Value>) -> bool {
    let by_use = jwk.get("use").is_none_or(|usage| usage == "sig");
    let names_verify = |operations: &Value| {
        let operations = operations.as_array();
        operations.is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    };
    by_use && jwk.get("key_ops").is_none_or(names_verify)
}

fn material(jwk: &Map<String, Value>) -> Option<PublicKey> {
    let text = |name: &str| jwk.get(name)?.as_str();
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    match (text("kty")?, text("crv")) {
        ("RSA", _) => rsa(&bytes("n")?, &bytes("e")?),
        ("EC", Some("P-256")) => point(&bytes("x")?, &bytes("y")?, 32).map(PublicKey::P256),
        ("EC", Some("P-384")) => point(&bytes("x")?, &bytes("y")?, 48).map(PublicKey::P384),
        ("OKP", Some("Ed25519")) => bytes("x")
            .filter(|x| x.len() == 32)
            .map(|x| PublicKey::Ed25519(x.into())),
        _ => None,
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<PublicKey> {
    let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
    // A modulus of 256 bytes whose first bit is 0 has less than 2048 bits.
    let is_strong = RSA_BYTES.contains(&modulus.len()) && (modulus.len() > 256 || *modulus.first()? >= 0x80);
    let is_odd = exponent.last().is_some_and(|last| last & 1 == 1);
    (is_strong && is_odd && exponent != [1]).then(|| PublicKey::Rsa {
        modulus: modulus.into(),
        exponent: exponent.into(),
    })
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

/// The uncompressed form of a point (SEC 1 §2.3.3); coordinates have their full length (RFC 7518 §6.2.1.2).
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Box<[u8]>> {
    let is_whole = x.len() == length && y.len() == length;
    is_whole.then(|| [&[4], x, y].concat().into())
}
