//! What a certificate must be to stand for a workload: the leaf rules of X509-SVID.
//!
//! Chain building (webpki) accepts certificates that are no SVIDs: two URI names, none, an
//! authority's own certificate, a key that may not sign. These rules are therefore our own, and
//! the same ones judge a peer's certificate and the certificate that this process presents.
//!
//! Source: <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>, sections 4 and 5.2.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::SystemTime;

use mesh_core::identity::{SpiffeId, SpiffeIdError};
use rustls::pki_types::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::clock::system_time;
use crate::source::Lifetime;

/// The side of a handshake on which a certificate is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The side that opened the connection.
    Client,
    /// The side that accepted it.
    Server,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// Which rule of X509-SVID a leaf certificate breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// The bytes are no X.509 certificate, or an extension of it is malformed or present twice.
    #[error("certificate has a malformed or repeated {0}")]
    Malformed(&'static str),
    /// No URI stands among the subject alternative names.
    #[error("certificate has no URI name, expected one SPIFFE id")]
    NoUri,
    /// More than one URI stands among the subject alternative names.
    #[error("certificate has {0} URI names, expected exactly one")]
    SeveralUris(usize),
    /// The URI is no SPIFFE id.
    #[error("URI name of the certificate {0}")]
    InvalidId(#[from] SpiffeIdError),
    /// The id names a trust domain and no workload in it.
    #[error("certificate names the trust domain `{0}`, expected a workload in it")]
    RootId(SpiffeId),
    /// The certificate is an authority's own.
    #[error("certificate is that of an authority (CA:true), expected a workload's")]
    Authority,
    /// The key usage is missing.
    #[error("certificate has no key usage, expected `digitalSignature`")]
    NoKeyUsage,
    /// The key usage does not allow the signature of a handshake.
    #[error("key usage of the certificate lacks `digitalSignature`")]
    NoDigitalSignature,
    /// The key usage allows the signing of certificates or revocation lists.
    #[error("key usage of the certificate contains `{0}`, which only an authority may have")]
    AuthorityKeyUsage(&'static str),
    /// The extended key usage excludes this side of a handshake.
    #[error("extended key usage of the certificate does not allow its use as {0}")]
    ExtendedKeyUsage(Role),
    /// The certificate has ended.
    #[error("certificate expired {0} s ago")]
    Expired(u64),
    /// The certificate has not begun: one of the two clocks is wrong.
    #[error("certificate is not valid before {0} s from now")]
    NotYetValid(u64),
}

/// Which sides of a handshake an extended key usage allows.
#[derive(Clone, Copy, Debug)]
struct Purposes {
    client: bool,
    server: bool,
}

impl Purposes {
    fn check(self, role: Role) -> Result<(), LeafError> {
        let allowed = match role {
            Role::Client => self.client,
            Role::Server => self.server,
        };
        if allowed {
            return Ok(());
        }
        Err(LeafError::ExtendedKeyUsage(role))
    }
}

/// The first and the last second at which a certificate is valid, since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    not_before: u64,
    not_after: u64,
}

/// By how many seconds a moment is outside of a validity.
pub(crate) enum Outside {
    NotYet(u64),
    Over(u64),
}

impl Validity {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        Self {
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
        }
    }

    /// Both ends are included.
    pub(crate) fn check(self, now: UnixTime) -> Result<(), Outside> {
        let now = now.as_secs();
        if now < self.not_before {
            return Err(Outside::NotYet(self.not_before - now));
        }
        if now > self.not_after {
            return Err(Outside::Over(now - self.not_after));
        }
        Ok(())
    }
}

/// What a leaf certificate says, once all rules but those of time and side hold.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) id: SpiffeId,
    validity: Validity,
    purposes: Purposes,
}

impl Leaf {
    /// Reads a certificate and applies every rule that needs neither a time nor a side.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, LeafError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| LeafError::Malformed("encoding"))?;
        if !rest.is_empty() {
            return Err(LeafError::Malformed("end"));
        }
        check_no_authority(&certificate)?;
        check_key_usage(&certificate)?;
        Ok(Self {
            id: spiffe_id(&certificate)?,
            validity: Validity::of(&certificate),
            purposes: purposes(&certificate)?,
        })
    }

    /// Applies the rules of time: valid from `notBefore` to `notAfter`, both included.
    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), LeafError> {
        self.validity.check(now).map_err(|outside| match outside {
            Outside::NotYet(seconds) => LeafError::NotYetValid(seconds),
            Outside::Over(seconds) => LeafError::Expired(seconds),
        })
    }

    /// Applies the rule of side. An absent extended key usage allows both.
    pub(crate) fn check_role(&self, role: Role) -> Result<(), LeafError> {
        self.purposes.check(role)
    }

    /// A side that the certificate may stand on; none where its usage names neither.
    pub(crate) fn any_role(&self) -> Result<Role, LeafError> {
        match self.check_role(Role::Server) {
            Ok(()) => Ok(Role::Server),
            Err(_) => self.check_role(Role::Client).map(|()| Role::Client),
        }
    }

    pub(crate) fn not_before(&self) -> SystemTime {
        at(self.validity.not_before)
    }

    pub(crate) fn not_after(&self) -> SystemTime {
        at(self.validity.not_after)
    }
}

/// All rules that a leaf breaks, those of time apart; a handshake stops at the first.
pub(crate) fn broken_rules(certificate: &X509Certificate<'_>) -> Vec<LeafError> {
    let sides = match purposes(certificate) {
        Ok(purposes) => [Role::Client, Role::Server].map(|role| purposes.check(role).err()),
        Err(error) => [Some(error), None],
    };
    let rules = [
        check_no_authority(certificate).err(),
        check_key_usage(certificate).err(),
        spiffe_id(certificate).err(),
    ];
    rules.into_iter().chain(sides).flatten().collect()
}

/// The first and the last second.
pub(crate) fn lifetime(certificate: &X509Certificate<'_>) -> Lifetime {
    let validity = certificate.validity();
    Lifetime::new(at(seconds(validity.not_before)), at(seconds(validity.not_after)))
}

/// The one URI name. Names of other kinds are no identity and are passed over.
fn spiffe_id(certificate: &X509Certificate<'_>) -> Result<SpiffeId, LeafError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| LeafError::Malformed("subject alternative name"))?
        .ok_or(LeafError::NoUri)?;
    let is_uri = |name: &&GeneralName<'_>| matches!(name, GeneralName::URI(_) | GeneralName::Invalid(Tag(6), _));
    let mut uris = names.value.general_names.iter().filter(is_uri);
    let uri = uris.next().ok_or(LeafError::NoUri)?;
    let others = uris.count();
    if others > 0 {
        return Err(LeafError::SeveralUris(others + 1));
    }
    let GeneralName::URI(text) = uri else {
        return Err(LeafError::Malformed("URI name"));
    };
    let id = SpiffeId::parse(text)?;
    if id.is_root() {
        return Err(LeafError::RootId(id));
    }
    Ok(id)
}

fn check_no_authority(certificate: &X509Certificate<'_>) -> Result<(), LeafError> {
    if is_authority(certificate)? {
        return Err(LeafError::Authority);
    }
    Ok(())
}

/// Whether the basic constraints say CA:true; absent ones do not.
pub(crate) fn is_authority(certificate: &X509Certificate<'_>) -> Result<bool, LeafError> {
    let malformed = LeafError::Malformed("basic constraints");
    // `X509Certificate::basic_constraints` takes malformed ones for absent ones.
    match certificate.get_extension_unique(&OID_X509_EXT_BASIC_CONSTRAINTS) {
        Ok(None) => Ok(false),
        Ok(Some(extension)) => match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => Ok(constraints.ca),
            _ => Err(malformed),
        },
        Err(_) => Err(malformed),
    }
}

fn check_key_usage(certificate: &X509Certificate<'_>) -> Result<(), LeafError> {
    let usage = certificate
        .key_usage()
        .map_err(|_| LeafError::Malformed("key usage"))?
        .ok_or(LeafError::NoKeyUsage)?
        .value;
    if usage.key_cert_sign() {
        return Err(LeafError::AuthorityKeyUsage("keyCertSign"));
    }
    if usage.crl_sign() {
        return Err(LeafError::AuthorityKeyUsage("cRLSign"));
    }
    if !usage.digital_signature() {
        return Err(LeafError::NoDigitalSignature);
    }
    Ok(())
}

fn purposes(certificate: &X509Certificate<'_>) -> Result<Purposes, LeafError> {
    let usage = certificate
        .extended_key_usage()
        .map_err(|_| LeafError::Malformed("extended key usage"))?;
    let allows = |purpose: fn(&ExtendedKeyUsage<'_>) -> bool| usage.as_ref().is_none_or(|usage| purpose(usage.value));
    // `anyExtendedKeyUsage` is not honoured: chain building would refuse it as well.
    Ok(Purposes {
        client: allows(|usage| usage.client_auth),
        server: allows(|usage| usage.server_auth),
    })
}

/// Seconds since 1970; a time before counts as 1970.
fn seconds(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or_default()
}

fn at(seconds: u64) -> SystemTime {
    system_time(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
}
