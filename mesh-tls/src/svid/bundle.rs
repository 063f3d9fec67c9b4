//! Trust bundles: the authorities of each trust domain, and what they have revoked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mesh_core::identity::TrustDomain;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{CertRevocationList, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::pem;
#[cfg(feature = "workload-api")]
use super::revocation::Signer;
use super::revocation::{InDoubt, RevocationList, RevocationPolicy};
use crate::leaf::{Outside, Role, Validity, is_authority};
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
    /// The certificate of the authority in the bundle has ended.
    #[error("the certificate of its authority in the bundle expired {0} s ago")]
    AuthorityExpired(u64),
    /// The certificate of the authority in the bundle has not begun.
    #[error("the certificate of its authority in the bundle is not valid before {0} s from now")]
    AuthorityNotYetValid(u64),
    /// The certificate, or that of an issuer, is revoked.
    #[error("it is revoked")]
    Revoked,
    /// Whether it is revoked cannot be told.
    #[error("{0}")]
    RevocationInDoubt(&'static str),
    /// Anything else that chain building refuses, such as URI name constraints.
    #[error("{0}")]
    Other(String),
}

/// The authorities that vouch for one trust domain, with their revocation lists. Cheap to clone.
///
/// An empty bundle is a statement: every certificate of that trust domain is refused.
#[derive(Clone)]
pub struct TrustBundle {
    authorities: Arc<[Authority]>,
    lists: Arc<[RevocationList]>,
}

/// An authority of a bundle.
struct Authority {
    anchor: TrustAnchor<'static>,
    /// Tells its key from that of another authority of the same name, where the certificate has an identifier.
    key: Option<Box<[u8]>>,
    /// Chain building takes an anchor for good without end.
    validity: Validity,
}

impl TrustBundle {
    /// A bundle that accepts no certificate.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            authorities: Arc::new([]),
            lists: Arc::new([]),
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
            .map_err(|error| BundleError::Pem(pem::problem(&error)))?;
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
        let authorities = (1..).zip(certificates).map(|(at, one)| Authority::read(&one, at));
        Ok(Self {
            authorities: authorities.collect::<Result<_, _>>()?,
            lists: Arc::new([]),
        })
    }

    /// The same authorities with these revocation lists in the place of those that they had. Lists of other issuers
    /// say nothing.
    #[must_use]
    pub fn with_revocations(mut self, mut lists: Vec<RevocationList>) -> Self {
        // Chain building takes the first list that an issuer has: an older one must not hide what a newer one revokes.
        lists.sort_by_key(|list| std::cmp::Reverse(list.this_update));
        self.lists = lists.into();
        self
    }

    /// Whether a list names one of the authorities as its issuer.
    #[cfg(feature = "workload-api")]
    pub(crate) fn is_issuer_of(&self, list: &RevocationList) -> bool {
        self.authorities.iter().any(|authority| {
            let subject = authority.anchor.subject.as_ref();
            list.list().issuer() == subject && !list.is_of_namesake(subject, authority.key.as_deref())
        })
    }

    /// The same of a list that cannot be used.
    #[cfg(feature = "workload-api")]
    pub(crate) fn is_signer(&self, signer: &Signer) -> bool {
        self.authorities.iter().any(|authority| {
            let keys = signer.key.as_deref().zip(authority.key.as_deref());
            authority.anchor.subject.as_ref() == &*signer.name && keys.is_none_or(|(signed, known)| signed == known)
        })
    }

    /// The revocation lists.
    #[must_use]
    pub fn revocations(&self) -> &[RevocationList] {
        &self.lists
    }

    /// The number of authorities.
    #[must_use]
    pub fn len(&self) -> usize {
        self.authorities.len()
    }

    /// Whether no authority is in it, and so no certificate is accepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    /// Builds a path from `leaf` to an authority. Names are not looked at; revocation where a policy is given.
    pub(crate) fn verify(
        &self,
        role: Role,
        (leaf, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        revocation: Option<RevocationPolicy>,
        now: UnixTime,
    ) -> Result<(), ChainError> {
        let leaf = EndEntityCert::try_from(leaf).map_err(|error| chain_error(&error))?;
        let chain = Chain {
            leaf,
            intermediates,
            role,
            now,
        };
        let mut refusal = ChainError::UnknownIssuer;
        for authority in self.authorities.iter() {
            let verified = self.verify_by(authority, &chain, revocation);
            // Asked last: of an authority that did not issue the chain its time tells nothing.
            match verified.and_then(|()| authority.check_time(now)) {
                Ok(()) => return Ok(()),
                // What the right authority says tells more than that others know nothing of it.
                Err(error) if refusal == ChainError::UnknownIssuer => refusal = error,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    fn verify_by(
        &self,
        authority: &Authority,
        chain: &Chain<'_>,
        revocation: Option<RevocationPolicy>,
    ) -> Result<(), ChainError> {
        let policy = revocation.filter(|_| !self.lists.is_empty());
        let Some(policy) = policy else {
            return chain.verify(authority, None);
        };
        let lists: Vec<&CertRevocationList<'_>> = self.lists_of(authority).map(RevocationList::list).collect();
        let options = policy.options(&lists);
        let no_list = options.is_none();
        chain.verify(authority, options)?;
        match policy.unknown {
            InDoubt::Deny if no_list => Err(ChainError::RevocationInDoubt(UNKNOWN)),
            _ => Ok(()),
        }
    }

    /// The lists that may be about certificates below an authority.
    fn lists_of(&self, authority: &Authority) -> impl Iterator<Item = &RevocationList> {
        let (subject, key) = (authority.anchor.subject.as_ref(), authority.key.as_deref());
        self.lists.iter().filter(move |list| !list.is_of_namesake(subject, key))
    }
}

/// A chain that a peer presents in a role.
struct Chain<'a> {
    leaf: EndEntityCert<'a>,
    intermediates: &'a [CertificateDer<'a>],
    role: Role,
    now: UnixTime,
}

impl Chain<'_> {
    fn verify(
        &self,
        authority: &Authority,
        revocation: Option<webpki::RevocationOptions<'_>>,
    ) -> Result<(), ChainError> {
        let usage = match self.role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        let (anchors, algorithms) = (
            std::slice::from_ref(&authority.anchor),
            provider().signature_verification_algorithms.all,
        );
        self.leaf
            .verify_for_usage(
                algorithms,
                anchors,
                self.intermediates,
                self.now,
                usage,
                revocation,
                None,
            )
            .map(|_| ())
            .map_err(|error| chain_error(&error))
    }
}

impl Authority {
    /// A workload's certificate as a root would let its holder sign for everybody.
    fn read(der: &CertificateDer<'_>, at: usize) -> Result<Self, BundleError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| BundleError::Malformed(at))?;
        match is_authority(&certificate) {
            Ok(true) => {}
            Ok(false) => return Err(BundleError::NoAuthority(at)),
            Err(_) => return Err(BundleError::Malformed(at)),
        }
        let anchor = anchor_from_trusted_cert(der).map_err(|_| BundleError::Malformed(at))?;
        Ok(Self {
            anchor: anchor.to_owned(),
            key: key_identifier(&certificate),
            validity: Validity::of(&certificate),
        })
    }

    fn check_time(&self, now: UnixTime) -> Result<(), ChainError> {
        self.validity.check(now).map_err(|outside| match outside {
            Outside::NotYet(seconds) => ChainError::AuthorityNotYetValid(seconds),
            Outside::Over(seconds) => ChainError::AuthorityExpired(seconds),
        })
    }
}

fn key_identifier(certificate: &X509Certificate<'_>) -> Option<Box<[u8]>> {
    let mut extensions = certificate.extensions().iter();
    extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0.into()),
        _ => None,
    })
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustBundle")
            .field("authorities", &self.len())
            .field("revocations", &self.lists)
            .finish_non_exhaustive()
    }
}

/// The bundle of each trust domain that is trusted. Cheap to clone.
///
/// A trust domain without an entry is not trusted. An authority vouches for its own trust domain
/// only, whatever names it signs.
#[derive(Clone, Debug, Default)]
pub struct TrustBundles {
    bundles: Arc<BTreeMap<TrustDomain, TrustBundle>>,
    revocation: RevocationPolicy,
}

impl TrustBundles {
    /// Trusts one trust domain.
    #[must_use]
    pub fn of(trust_domain: TrustDomain, bundle: TrustBundle) -> Self {
        [(trust_domain, bundle)].into_iter().collect()
    }

    /// The bundle of a trust domain.
    #[must_use]
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Option<&TrustBundle> {
        self.bundles.get(trust_domain)
    }

    /// The same bundles, judging by `policy` where revocation is in doubt.
    #[must_use]
    pub fn under(&self, policy: RevocationPolicy) -> Self {
        Self {
            bundles: Arc::clone(&self.bundles),
            revocation: policy,
        }
    }

    pub(crate) fn revocation(&self) -> RevocationPolicy {
        self.revocation
    }

    /// All bundles, in order of their trust domains.
    pub fn iter(&self) -> impl Iterator<Item = (&TrustDomain, &TrustBundle)> {
        self.bundles.iter()
    }

    /// The trust domains that have a bundle, in order.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.bundles.keys()
    }

    /// These bundles with that of one trust domain added or replaced.
    #[must_use]
    pub fn with(&self, trust_domain: TrustDomain, bundle: TrustBundle) -> Self {
        let all = self.iter().map(|(name, bundle)| (name.clone(), bundle.clone()));
        let all: Self = all.chain([(trust_domain, bundle)]).collect();
        all.under(self.revocation)
    }
}

impl FromIterator<(TrustDomain, TrustBundle)> for TrustBundles {
    /// The last bundle of a trust domain that is named twice counts.
    fn from_iter<I: IntoIterator<Item = (TrustDomain, TrustBundle)>>(bundles: I) -> Self {
        Self {
            bundles: Arc::new(bundles.into_iter().collect()),
            revocation: RevocationPolicy::default(),
        }
    }
}

const UNKNOWN: &str = "no revocation list is of its issuer";

fn chain_error(error: &webpki::Error) -> ChainError {
    use webpki::Error;
    match error {
        Error::UnknownIssuer => ChainError::UnknownIssuer,
        Error::InvalidSignatureForPublicKey => ChainError::BadSignature,
        Error::CertExpired { time, not_after } => {
            ChainError::IssuerExpired(time.as_secs().saturating_sub(not_after.as_secs()))
        }
        Error::CertNotValidYet { time, not_before } => {
            ChainError::IssuerNotYetValid(not_before.as_secs().saturating_sub(time.as_secs()))
        }
        Error::CertRevoked => ChainError::Revoked,
        Error::UnknownRevocationStatus => ChainError::RevocationInDoubt(UNKNOWN),
        Error::CrlExpired { .. } => ChainError::RevocationInDoubt("the revocation list of its issuer has expired"),
        Error::InvalidCrlSignatureForPublicKey => {
            ChainError::RevocationInDoubt("the signature of the revocation list of its issuer is wrong")
        }
        Error::IssuerNotCrlSigner => ChainError::RevocationInDoubt("its issuer may not sign revocation lists"),
        other => ChainError::Other(other.to_string()),
    }
}
