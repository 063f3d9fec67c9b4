//! Looks at certificates for people: what they say, which rules they break, and whether a peer would accept them.
//!
//! The judgement is that of a handshake, by the same code. Nothing here is on the path of a connection.
//!
//! ```
//! use mesh_tls::inspect::{certificates, judge, Certificate, Question};
//! use mesh_tls::leaf::Role;
//! # #[cfg(feature = "authority")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::time::{Duration, SystemTime};
//! # use mesh_core::identity::{SpiffeId, TrustDomain};
//! # let now = SystemTime::now();
//! # let ca = mesh_tls::authority::DevCa::new(TrustDomain::parse("cluster.local")?, now)?;
//! # let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/orders".parse()?;
//! # let pem = ca.issue(&id, Duration::from_secs(3600), now)?.chain_pem;
//! # let bundles = ca.bundles()?;
//! let chain = certificates(pem.as_bytes())?;
//! let leaf = Certificate::read(&chain[0])?;
//! assert_eq!(leaf.uris, ["spiffe://cluster.local/ns/shop/sa/orders"]);
//! assert_eq!(leaf.broken, Vec::<String>::new());
//!
//! let question = Question { role: Role::Client, expected: None, now };
//! assert_eq!(judge(&chain, &bundles, &question)?, id);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "authority"))]
//! # fn main() {}
//! ```

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use mesh_core::identity::SpiffeId;
pub use rustls::pki_types::CertificateDer;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, KeyUsage};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::clock::unix_seconds;
use crate::leaf::{self, LeafError, Role, is_authority};
use crate::source::Lifetime;
#[cfg(doc)]
use crate::svid::TrustBundle;
use crate::svid::{BundleError, OwnIdentityError, TrustBundles, document, pem};
use crate::verify::{ExpectedPeer, PeerError, verify_chain};

/// Reads certificates from PEM; whatever else stands there is passed over.
///
/// # Errors
///
/// [`OwnIdentityError`] where there is none, or one is damaged.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, OwnIdentityError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| OwnIdentityError::Pem(pem::problem(&error)))?;
    match found.is_empty() {
        true => Err(OwnIdentityError::NoCertificate),
        false => Ok(found),
    }
}

/// The certificates of authorities in a SPIFFE bundle, see [`TrustBundle::from_spiffe_json`].
///
/// # Errors
///
/// [`BundleError`] where the text is no SPIFFE bundle, or one of them is damaged.
pub fn bundle_certificates(json: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    document::certificates(json)
}

/// Whether a certificate is there to prove an identity or to issue others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A workload's, or a host's.
    Leaf,
    /// An authority's (CA:true).
    Authority,
}

/// What a certificate says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Certificate {
    /// What it is for.
    pub kind: Kind,
    /// The subject's name, which is no identity; often empty.
    pub subject: String,
    /// The issuer's name.
    pub issuer: String,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
    /// The URI names, one of which is the SPIFFE id.
    pub uris: Vec<String>,
    /// Names of other kinds.
    pub other_names: Vec<String>,
    /// How long it is valid.
    pub lifetime: Lifetime,
    /// The kind of key, and its length in bits.
    pub key: String,
    /// What the key may be used for.
    pub key_usage: Vec<&'static str>,
    /// What the certificate may be used for; empty where it does not say.
    pub extended_key_usage: Vec<String>,
    /// The rules of X509-SVID that it breaks, time apart.
    pub broken: Vec<String>,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// [`LeafError::Malformed`] where it is none.
    pub fn read(der: &[u8]) -> Result<Self, LeafError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| LeafError::Malformed("encoding"))?;
        if !rest.is_empty() {
            return Err(LeafError::Malformed("end"));
        }
        let kind = match is_authority(&certificate) {
            Ok(true) => Kind::Authority,
            _ => Kind::Leaf,
        };
        let (uris, other_names) = names(&certificate);
        Ok(Self {
            kind,
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: format!("{:x}", certificate.serial),
            broken: match kind {
                Kind::Leaf => leaf::broken_rules(&certificate)
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                Kind::Authority => authority_rules(&certificate, &uris),
            },
            uris,
            other_names,
            lifetime: leaf::lifetime(&certificate),
            key: key(&certificate),
            key_usage: certificate
                .key_usage()
                .ok()
                .flatten()
                .map_or_else(Vec::new, |usage| key_usage(usage.value)),
            extended_key_usage: certificate
                .extended_key_usage()
                .ok()
                .flatten()
                .map_or_else(Vec::new, |usage| extended_key_usage(usage.value)),
        })
    }
}

/// URI names, and the others.
fn names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<String>) {
    let (mut uris, mut others) = (Vec::new(), Vec::new());
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            other => others.push(other.to_string()),
        }
    }
    (uris, others)
}

/// Section 3.2 and 4.3 of the standard.
fn authority_rules(certificate: &X509Certificate<'_>, uris: &[String]) -> Vec<String> {
    let mut broken = Vec::new();
    let usage = certificate.key_usage().ok().flatten();
    if !usage.is_some_and(|usage| usage.value.key_cert_sign()) {
        broken.push("key usage of the authority lacks `keyCertSign`".to_owned());
    }
    for uri in uris {
        match SpiffeId::parse(uri) {
            Ok(id) if !id.is_root() => {
                broken.push(format!("authority names the workload `{id}`, expected a trust domain"))
            }
            Ok(_) => {}
            Err(error) => broken.push(format!("URI name of the authority {error}")),
        }
    }
    broken
}

fn key(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA, {} bits", key.key_size()),
        Ok(PublicKey::EC(key)) => format!("EC, {} bits", key.key_size()),
        _ => format!("algorithm {}", certificate.public_key().algorithm.algorithm),
    }
}

fn key_usage(usage: &KeyUsage) -> Vec<&'static str> {
    let flags = [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ];
    flags
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
        .collect()
}

fn extended_key_usage(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let flags = [
        (usage.any, "any"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let known = flags.into_iter().filter(|(is_set, _)| *is_set);
    let known = known.map(|(_, name)| name.to_owned());
    known.chain(usage.other.iter().map(ToString::to_string)).collect()
}

/// What a peer wants to know of a certificate.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Question<'a> {
    /// The side on which the certificate is presented.
    pub role: Role,
    /// Whom the peer expects; `None` where anybody will do, as servers have it.
    pub expected: Option<&'a ExpectedPeer>,
    /// When.
    pub now: SystemTime,
}

/// Judges a chain, leaf first, as a peer with these bundles does in a handshake.
///
/// # Errors
///
/// [`PeerError`]: what that peer would say.
pub fn judge(
    chain: &[CertificateDer<'_>],
    bundles: &TrustBundles,
    question: &Question<'_>,
) -> Result<SpiffeId, PeerError> {
    let chain = chain.split_first().ok_or(PeerError::NoCertificate)?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(unix_seconds(question.now)));
    let found = verify_chain(bundles, chain, question.role, now)?.id;
    match question.expected {
        Some(expected) if !expected.accepts(&found) => Err(PeerError::Unexpected {
            found,
            expected: expected.clone(),
        }),
        _ => Ok(found),
    }
}
