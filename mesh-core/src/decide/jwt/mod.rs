//! Is the token that a request bears valid, and what does it say?
//!
//! # How it decides
//!
//! A request without a token passes: authorization decides what it may do. A request with a token at a place that a rule
//! names is refused unless a rule of that place takes it:
//!
//! 1. The token has one form: three parts of canonical base64url, JSON objects without repeated names, an algorithm with a
//!    public key, no key of its own (`jwk`, `jku`, `x5u`, `x5c`) and no extension (`crit`).
//! 2. Its issuer is the rule's.
//! 3. It is valid now: `exp` and `nbf` are numbers, and clocks may differ by the rule's leeway, by default not at all.
//! 4. A key of the issuer has its name and kind, and the signature is that key's. A token that names no key needs a set
//!    with one key of its kind.
//! 5. It is for one of the rule's audiences, where the rule has any.
//!
//! More than one token is refused, whoever they are of: nobody could say whose request it is.
//!
//! Time, keys and cryptography are [arguments](Means).
//!
//! ```
//! use mesh_core::decide::jwt::{Algorithm, KeySet, KeySetError};
//!
//! let weak = br#"{"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}"#;
//! assert_eq!(KeySet::parse(weak), Err(KeySetError::NoUsableKey));
//! assert_eq!(Algorithm::named("none"), None);
//! ```

mod algorithm;
mod claims;
mod json;
mod jws;
mod keys;
mod location;
mod refusal;
mod rules;
mod source;
mod suppose;
#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use claims::{Texts, VerifiedToken};
pub use jws::MAX_TOKEN;
pub use keys::{Key, KeySet, KeySetError, MAX_KEY_SET, PublicKey};
pub use location::Borne;
pub use refusal::Refusal;
pub use rules::{
    Accepted, InvalidToken, InvalidTokenRule, Keys, Means, Rejected, RuleKeys, Signatures, TokenRule, TokenRules, check,
};
pub use source::{
    Hosts, InvalidAddress, KeyPlace, KeySource, REFRESH, STALE, TIMEOUT, address, discovery, is_forbidden, literal,
};
