//! A peer's certificate in words, for headers and logs: `x-forwarded-client-cert` names it so.

use std::fmt::Write as _;

use rustls::crypto::hash::HashAlgorithm;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::peer::PeerIdentity;
use crate::provider::provider;

/// What a certificate says beside the identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub sha256: String,
    /// The subject as RFC 2253 writes it, in ASCII and without `"`; empty where the certificate has none.
    pub subject: String,
    /// The DNS names among the subject alternative names.
    pub dns_names: Vec<String>,
}

impl PeerIdentity {
    /// Describes the certificate. Parses it: ask once a connection.
    #[must_use]
    pub fn describe(&self) -> Description {
        self.certificate().map_or_else(Description::default, describe)
    }
}

fn describe(der: &[u8]) -> Description {
    let mut description = Description {
        sha256: sha256(der),
        ..Description::default()
    };
    // It was parsed in the handshake already: what fails here leaves the rest unsaid.
    if let Ok((_, certificate)) = X509Certificate::from_der(der) {
        description.subject = rfc2253(certificate.subject());
        description.dns_names = dns_names(&certificate);
    }
    description
}

fn sha256(bytes: &[u8]) -> String {
    let provider = provider();
    let hashes = provider.cipher_suites.iter().map(|suite| match suite {
        rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
    });
    let found = hashes
        .filter(|hash| hash.algorithm() == HashAlgorithm::SHA256)
        .map(|hash| hash.hash(bytes))
        .next();
    let mut text = String::with_capacity(64);
    for byte in found.iter().flat_map(|output| output.as_ref()) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    // A control character or a space would be another field to careless readers.
    dns.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()))
        .map(str::to_owned)
        .collect()
}

/// The last relative name first, `,` between them, `+` between those of one.
fn rfc2253(name: &X509Name<'_>) -> String {
    let names = name.iter_rdn().map(|name| {
        let attributes: Vec<String> = name.iter().map(attribute).collect();
        attributes.join("+")
    });
    let names: Vec<String> = names.collect();
    names.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let key = oid2abbrev(attribute.attr_type(), oid_registry())
        .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
    match attribute.as_str() {
        Ok(value) => format!("{key}={}", escaped(value)),
        Err(_) => {
            let mut text = format!("{key}=#");
            for byte in attribute.attr_value().data {
                let _ = write!(text, "{byte:02X}");
            }
            text
        }
    }
}

/// RFC 2253 section 2.4; quotes and backslashes in hexadecimal, so that the text may stand in quotes.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'\\' | 0..b' ' | 0x7f.. => {
                let _ = write!(text, "\\{byte:02X}");
            }
            b',' | b'+' | b'<' | b'>' | b';' | b'=' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'#' | b' ' if at == 0 || (byte == b' ' && at == last) => {
                text.push('\\');
                text.push(char::from(byte));
            }
            _ => text.push(char::from(byte)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(subject: &[(DnType, &str)], dns: &[&str]) -> Vec<u8> {
        let names: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_subject_is_written_as_openssl_does() {
        let subject = [
            (DnType::CountryName, "US"),
            (DnType::LocalityName, "San Francisco"),
            (DnType::OrganizationName, "Shop, Inc."),
            (DnType::CommonName, "a\"b\\c\u{e9}"),
        ];
        let described = describe(&certificate(&subject, &["a.example", "*.b.example"]));
        assert_eq!(
            described.subject,
            r"CN=a\22b\5Cc\C3\A9,O=Shop\, Inc.,L=San Francisco,C=US"
        );
        assert_eq!(described.dns_names, ["a.example", "*.b.example"]);
    }

    #[test]
    fn the_hash_is_sha_256_of_the_certificate() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(describe(b"no certificate").subject, "");
    }

    #[test]
    fn a_certificate_may_have_no_subject() {
        let described = describe(&certificate(&[], &[]));
        assert_eq!((described.subject.as_str(), described.dns_names.len()), ("", 0));
        assert_eq!(described.sha256.len(), 64);
    }
}
