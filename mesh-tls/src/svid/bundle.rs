//! Trust bundles: the authorities of each trust domain.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mesh_core::identity::TrustDomain;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::leaf::{Role, is_authority};
use crate::provider::provider;

/// Why a text is no trust bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The text holds no certificate. Use [`TrustBundle::empty`] to trust nobody on purpose.
    #[error("trust bundle holds no certificate")]
    NoCertificate,
    /// The text is not PEM, or is cut off.
    #[error("trust bundle is not valid PEM: {0}")]
    Pem(String),
    /// The text is no SPIFFE bundle: JSON with a list `keys`.
    #[error("trust bundle is no SPIFFE bundle in JSON: {0}")]
    Json(String),
    /// A certificate in it is damaged.
    #[error("certificate {0} of the trust bundle is malformed")]
    Malformed(usize),
    /// A certificate in it is no authority's.
    #[error("certificate {0} of the trust bundle is not that of an authority (CA:true)")]
    NoAuthority(usize),
}

/// Why a chain of certificates does not lead to a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No authority of the bundle issued it.
    #[error("no authority of the bundle issued it")]
    UnknownIssuer,
    /// A signature in the chain is wrong.
    #[error("a signature in the chain is wrong")]
    BadSignature,
    /// A certificate between leaf and authority has ended.
    #[error("an issuer's certificate expired {0} s ago")]
    IssuerExpired(u64),
    /// A certificate between leaf and authority has not begun.
    #[error("an issuer's certificate is not valid before {0} s from now")]
    IssuerNotYetValid(u64),
    /// Anything else that chain building refuses, such as URI name constraints.
    #[error("{0}")]
    Other(String),
}

/// The authorities that vouch for one trust domain. Cheap to clone.
///
/// An empty bundle is a statement: every certificate of that trust domain is refused.
#[derive(Clone)]
pub struct TrustBundle {
    roots: Arc<RootCertStore>,
    /// Absent where `roots` is empty.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl TrustBundle {
    /// A bundle that accepts no certificate.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            roots: Arc::new(RootCertStore::empty()),
            clients: None,
        }
    }

    /// Reads the certificates of authorities from PEM.
    ///
    /// # Errors
    ///
    /// [`BundleError`] where there is none, or one is damaged or no authority's: a bundle is taken
    /// whole or not at all.
    pub fn from_pem(text: &[u8]) -> Result<Self, BundleError> {
        let roots = CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BundleError::Pem(error.to_string()))?;
        Self::from_der(roots)
    }

    /// Takes the certificates of authorities.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(certificates: Vec<CertificateDer<'static>>) -> Result<Self, BundleError> {
        if certificates.is_empty() {
            return Err(BundleError::NoCertificate);
        }
        let mut roots = RootCertStore::empty();
        for (at, certificate) in (1..).zip(certificates) {
            check_authority(&certificate, at)?;
            roots.add(certificate).map_err(|_| BundleError::Malformed(at))?;
        }
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider()).build();
        Ok(Self {
            roots,
            clients: clients.ok(),
        })
    }

    /// The number of authorities.
    #[must_use]
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether no authority is in it, and so no certificate is accepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Builds a path from `leaf` to an authority. Names are not looked at.
    pub(crate) fn verify(
        &self,
        role: Role,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), ChainError> {
        let verified = match role {
            Role::Client => self.verify_client(leaf, intermediates, now),
            Role::Server => self.verify_server(leaf, intermediates, now),
        };
        verified.map_err(|error| chain_error(&error))
    }

    fn verify_client(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let clients = self.clients.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        clients.verify_client_cert(leaf, intermediates, now).map(|_| ())
    }

    fn verify_server(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let leaf = ParsedCertificate::try_from(leaf)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, algorithms)
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustBundle")
            .field("authorities", &self.len())
            .finish_non_exhaustive()
    }
}

/// The bundle of each trust domain that is trusted. Cheap to clone.
///
/// A trust domain without an entry is not trusted. An authority vouches for its own trust domain
/// only, whatever names it signs.
#[derive(Clone, Debug, Default)]
pub struct TrustBundles(Arc<BTreeMap<TrustDomain, TrustBundle>>);

impl TrustBundles {
    /// Trusts one trust domain.
    #[must_use]
    pub fn of(trust_domain: TrustDomain, bundle: TrustBundle) -> Self {
        [(trust_domain, bundle)].into_iter().collect()
    }

    /// The bundle of a trust domain.
    #[must_use]
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Option<&TrustBundle> {
        self.0.get(trust_domain)
    }

    /// The trust domains that have a bundle, in order.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.0.keys()
    }

    /// These bundles with that of one trust domain added or replaced.
    #[must_use]
    pub fn with(&self, trust_domain: TrustDomain, bundle: TrustBundle) -> Self {
        let all = self.0.iter().map(|(name, bundle)| (name.clone(), bundle.clone()));
        all.chain([(trust_domain, bundle)]).collect()
    }
}

impl FromIterator<(TrustDomain, TrustBundle)> for TrustBundles {
    /// The last bundle of a trust domain that is named twice counts.
    fn from_iter<I: IntoIterator<Item = (TrustDomain, TrustBundle)>>(bundles: I) -> Self {
        Self(Arc::new(bundles.into_iter().collect()))
    }
}

/// A workload's certificate as a root would let its holder sign for everybody.
fn check_authority(der: &[u8], at: usize) -> Result<(), BundleError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| BundleError::Malformed(at))?;
    match is_authority(&certificate) {
        Ok(true) => Ok(()),
        Ok(false) => Err(BundleError::NoAuthority(at)),
        Err(_) => Err(BundleError::Malformed(at)),
    }
}

fn chain_error(error: &rustls::Error) -> ChainError {
    let rustls::Error::InvalidCertificate(error) = error else {
        return ChainError::Other(error.to_string());
    };
    match error {
        CertificateError::UnknownIssuer => ChainError::UnknownIssuer,
        CertificateError::BadSignature => ChainError::BadSignature,
        CertificateError::ExpiredContext { time, not_after } => {
            ChainError::IssuerExpired(time.as_secs().saturating_sub(not_after.as_secs()))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            ChainError::IssuerNotYetValid(not_before.as_secs().saturating_sub(time.as_secs()))
        }
        CertificateError::Other(error) => ChainError::Other(error.0.to_string()),
        other => ChainError::Other(other.to_string()),
    }
}
