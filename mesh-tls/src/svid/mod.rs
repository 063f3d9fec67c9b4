//! What this process presents and whom it trusts: [`Svid`], [`TrustBundle`] and [`TrustBundles`].
//!
//! An [`Svid`] that exists is one that a peer can accept: its key belongs to its certificate and
//! the certificate keeps every rule of X509-SVID (module [`leaf`](crate::leaf)). Whether it is
//! valid *now* and chains to a bundle is asked where time is known, see [`Svid::check`].
//!
//! ```no_run
//! use mesh_tls::clock::Clock;
//! use mesh_tls::svid::{Svid, TrustBundle, TrustBundles};
//!
//! let svid = Svid::from_pem(&std::fs::read("tls.crt")?, &std::fs::read("tls.key")?)?;
//! let bundle = TrustBundle::from_pem(&std::fs::read("ca.crt")?)?;
//! let bundles = TrustBundles::of(svid.id().trust_domain().clone(), bundle);
//! svid.check(&bundles, &Clock::system())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundle;
pub(crate) mod document;
pub(crate) mod pem;
mod revocation;
#[cfg(test)]
mod revocation_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::identity::SpiffeId;
use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

pub use self::bundle::{BundleError, ChainError, TrustBundle, TrustBundles};
#[cfg(feature = "workload-api")]
pub(crate) use self::revocation::Signer;
pub use self::revocation::{InDoubt, RevocationError, RevocationList, RevocationPolicy};
use crate::clock::Clock;
use crate::leaf::{Leaf, LeafError, Role};
use crate::provider::provider;
use crate::source::Lifetime;
use crate::verify::{MAX_CHAIN, PeerError, verify_chain, verify_trust};

/// Why this process's own certificate and key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnIdentityError {
    /// The text holds no certificate.
    #[error("own certificate file holds no certificate")]
    NoCertificate,
    /// The text holds no private key.
    #[error("own key file holds no private key in PEM form")]
    NoKey,
    /// The text is not PEM, or is cut off.
    #[error("own certificate file is not valid PEM: {0}")]
    Pem(String),
    /// The certificate breaks a rule of X509-SVID, or is not valid now.
    #[error("own {0}")]
    Leaf(#[from] LeafError),
    /// The key is of a kind that TLS does not know, or damaged.
    #[error("own private key is unusable: {0}")]
    KeyUnusable(String),
    /// The key is not the one that the certificate names.
    #[error("own private key does not belong to the certificate of `{0}`")]
    KeyMismatch(SpiffeId),
    /// No bundle accepts the certificate, so no peer would.
    #[error("own certificate would be refused by peers: {0}")]
    Untrusted(PeerError),
    /// A rotation presented another identity than before.
    #[error("own certificate is for `{found}`, expected `{expected}`")]
    OtherIdentity {
        /// The id in the new certificate.
        found: SpiffeId,
        /// The id in force.
        expected: SpiffeId,
    },
    /// The source took the identity back.
    #[error("own identity is withdrawn by its source")]
    Withdrawn,
}

impl OwnIdentityError {
    /// Whether time alone makes it good: a clock is slow here, or was fast where the certificate was made.
    #[cfg(feature = "workload-api")]
    pub(crate) const fn is_early(&self) -> bool {
        matches!(
            self,
            Self::Leaf(LeafError::NotYetValid(_))
                | Self::Untrusted(PeerError::Untrusted {
                    reason: ChainError::IssuerNotYetValid(_) | ChainError::AuthorityNotYetValid(_),
                    ..
                })
        )
    }
}

/// A leaf and what stands between it and an authority.
type ChainRef<'a> = (&'a CertificateDer<'static>, &'a [CertificateDer<'static>]);

/// A workload's certificate chain with its private key: an X509-SVID. Cheap to clone.
#[derive(Clone)]
pub struct Svid {
    leaf: Arc<Leaf>,
    certified: Arc<CertifiedKey>,
    is_withdrawn: bool,
}

impl Svid {
    /// Reads a certificate chain (leaf first) and a private key (PKCS#8, SEC1 or PKCS#1) from PEM.
    ///
    /// # Errors
    ///
    /// [`OwnIdentityError`] where either is missing or damaged, they do not belong together, or
    /// the leaf breaks a rule of X509-SVID.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, OwnIdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| OwnIdentityError::Pem(pem::problem(&error)))?;
        // The parser's own error could quote the text, which holds the key.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| OwnIdentityError::NoKey)?;
        Self::from_der(chain, key)
    }

    /// Takes a certificate chain (leaf first) and a private key.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, OwnIdentityError> {
        let first = chain.first().ok_or(OwnIdentityError::NoCertificate)?;
        let leaf = Leaf::parse(first)?;
        if chain.len() > MAX_CHAIN {
            return Err(OwnIdentityError::Untrusted(PeerError::ChainTooLong(chain.len())));
        }
        leaf.any_role()?;
        let certified = certify(chain, key, &leaf.id)?;
        Ok(Self {
            leaf: Arc::new(leaf),
            certified: Arc::new(certified),
            is_withdrawn: false,
        })
    }

    /// The identity in the leaf.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// The certificates, leaf first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The first second at which the leaf is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before()
    }

    /// The last second at which the leaf is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after()
    }

    /// From the first to the last second at which the leaf is valid.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        Lifetime::new(self.not_before(), self.not_after())
    }

    /// Whether its source took it back; no handshake succeeds with it then.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.is_withdrawn
    }

    /// This identity, taken back.
    pub(crate) fn withdrawn(&self) -> Self {
        Self {
            is_withdrawn: true,
            ..self.clone()
        }
    }

    /// Asks whether a peer with these bundles would accept this identity now, but for revocation: a list that revokes
    /// it must come in force all the same ([`check_revocation`](Self::check_revocation)).
    ///
    /// # Errors
    ///
    /// [`OwnIdentityError::Leaf`] outside the validity, [`OwnIdentityError::Untrusted`] where the
    /// chain does not lead to the bundle of the leaf's trust domain.
    pub fn check(&self, bundles: &TrustBundles, clock: &Clock) -> Result<(), OwnIdentityError> {
        self.check_time(clock)?;
        let (chain, role) = self.presented()?;
        verify_trust(bundles, chain, role, clock.unix_now())
            .map(|_| ())
            .map_err(OwnIdentityError::Untrusted)
    }

    /// Asks whether a peer with these bundles would take this identity for revoked, or for in doubt.
    ///
    /// # Errors
    ///
    /// [`OwnIdentityError::Untrusted`], with [`PeerError::Revoked`] or [`PeerError::RevocationInDoubt`] in it.
    pub fn check_revocation(&self, bundles: &TrustBundles, clock: &Clock) -> Result<(), OwnIdentityError> {
        let (chain, role) = self.presented()?;
        verify_chain(bundles, chain, role, clock.unix_now())
            .map(|_| ())
            .map_err(OwnIdentityError::Untrusted)
    }

    /// The chain, and a side that it may stand on.
    fn presented(&self) -> Result<(ChainRef<'_>, Role), OwnIdentityError> {
        let chain = self.certified.cert.split_first();
        Ok((chain.ok_or(OwnIdentityError::NoCertificate)?, self.leaf.any_role()?))
    }

    pub(crate) fn check_time(&self, clock: &Clock) -> Result<(), OwnIdentityError> {
        if self.is_withdrawn {
            return Err(OwnIdentityError::Withdrawn);
        }
        Ok(self.leaf.check_time(clock.unix_now())?)
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.leaf.id.as_str())
            .field("not_after", &self.not_after())
            .finish_non_exhaustive()
    }
}

/// Joins key and chain; a key whose public half is unknown counts as the wrong one.
fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    id: &SpiffeId,
) -> Result<CertifiedKey, OwnIdentityError> {
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| OwnIdentityError::KeyUnusable(error.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch | InconsistentKeys::Unknown)) => {
            Err(OwnIdentityError::KeyMismatch(id.clone()))
        }
        Err(error) => Err(OwnIdentityError::KeyUnusable(error.to_string())),
    }
}
