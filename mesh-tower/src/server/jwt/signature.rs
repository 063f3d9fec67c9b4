//! Signatures, by the cryptography that TLS has anyway.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm as Jwa, DecodingKey};
use mesh_core::decide::jwt::{Algorithm, PublicKey, Signatures};

/// AWS-LC. No provider of the process is asked, so that none needs to be installed.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to choose")]
pub struct AwsLc;

impl Signatures for AwsLc {
    fn is_valid(&self, algorithm: Algorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let (Some(algorithm), Some(key)) = (jwa(algorithm), decoding_key(key)) else {
            return false;
        };
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key);
        verifier.is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}

const fn jwa(algorithm: Algorithm) -> Option<Jwa> {
    Some(match algorithm {
        Algorithm::Rs256 => Jwa::RS256,
        Algorithm::Rs384 => Jwa::RS384,
        Algorithm::Rs512 => Jwa::RS512,
        Algorithm::Ps256 => Jwa::PS256,
        Algorithm::Ps384 => Jwa::PS384,
        Algorithm::Ps512 => Jwa::PS512,
        Algorithm::Es256 => Jwa::ES256,
        Algorithm::Es384 => Jwa::ES384,
        Algorithm::EdDsa => Jwa::EdDSA,
        _ => return None,
    })
}

fn decoding_key(key: &PublicKey) -> Option<DecodingKey> {
    Some(match key {
        PublicKey::Rsa { modulus, exponent, .. } => DecodingKey::from_rsa_raw_components(modulus, exponent),
        PublicKey::P256(point) | PublicKey::P384(point) => DecodingKey::from_ec_der(point),
        PublicKey::Ed25519(point) => DecodingKey::from_ed_der(point),
        _ => return None,
    })
}
