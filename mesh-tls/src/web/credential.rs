//! The certificate and key of a host, replaced while they are in use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::config::ConfigError;
use crate::provider::provider;
use crate::source::{Refresh, SourceError, fingerprint, read_stable};

/// Why a certificate and key for a host cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The files cannot be read.
    #[error(transparent)]
    Files(#[from] SourceError),
    /// The text holds no certificate, or is cut off.
    #[error("certificate file holds no complete certificate in PEM form")]
    NoCertificate,
    /// The text holds no private key.
    #[error("key file holds no private key in PEM form")]
    NoKey,
    /// The key is not the one that the certificate names.
    #[error("private key does not belong to the certificate")]
    KeyMismatch,
    /// Certificate or key is damaged or of an unknown kind.
    #[error("certificate or key is unusable: {0}")]
    Unusable(String),
    /// The configuration cannot be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A certificate chain and key for host names. Cheap to clone; all clones are replaced together.
#[derive(Clone)]
pub struct WebCredential(Arc<ArcSwap<CertifiedKey>>);

impl WebCredential {
    /// Reads a certificate chain (leaf first) and a private key from PEM.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] where either is missing or damaged, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CredentialError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(certify(chain, key)?))))
    }

    /// Replaces both for all handshakes to come.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem); the last good ones stay in use.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), CredentialError> {
        self.0.store(Arc::new(certify(chain, key)?));
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.0.load_full()
    }
}

impl fmt::Debug for WebCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebCredential").finish_non_exhaustive()
    }
}

fn certify(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, CredentialError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|_| CredentialError::NoCertificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CredentialError::NoKey)?;
    let unusable = |error: rustls::Error| CredentialError::Unusable(error.to_string());
    let key = provider().key_provider.load_private_key(key).map_err(unusable)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::NoCertificatesPresented) => Err(CredentialError::NoCertificate),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(CredentialError::KeyMismatch),
        Err(error) => Err(unusable(error)),
    }
}

/// A host's credential from `tls.crt` and `tls.key` in a directory, as Kubernetes mounts a TLS
/// secret. It follows the files as [`FileSource`](crate::source::FileSource) does.
#[derive(Clone, Debug)]
pub struct CredentialFiles {
    certificate: PathBuf,
    key: PathBuf,
    credential: WebCredential,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Seen {
    fingerprint: u64,
    error: Option<String>,
}

impl CredentialFiles {
    /// Reads the credential in a directory.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] where it is missing or unusable.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, CredentialError> {
        let directory = directory.as_ref();
        let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
        let texts = read_stable([&certificate, &key])?;
        let [chain, secret] = &texts;
        let credential = WebCredential::from_pem(chain, secret)?;
        let seen = Seen {
            fingerprint: fingerprint(&texts),
            error: None,
        };
        Ok(Self {
            certificate,
            key,
            credential,
            seen: Arc::new(Mutex::new(seen)),
        })
    }

    /// The credential for [`WebServerConfig`](super::WebServerConfig); it is replaced in place.
    #[must_use]
    pub fn credential(&self) -> WebCredential {
        self.credential.clone()
    }

    /// Looks at the files, and puts them in use where they changed for a usable pair. It blocks
    /// for as long as the disk takes. [`Refresh::Replaced`] carries no generation here, but 0.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] where the files are unusable; the last good pair stays in use. Each
    /// error is logged when it appears or changes, not at every look.
    pub fn refresh(&self) -> Result<Refresh, CredentialError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = self.look(&mut seen);
        let error = looked.as_ref().err().map(ToString::to_string);
        if let Some(error) = error.as_ref().filter(|error| seen.error.as_ref() != Some(error)) {
            tracing::warn!(%error, path = %self.certificate.display(), "certificate files are unusable, the last good pair stays in use");
        }
        seen.error = error;
        looked
    }

    fn look(&self, seen: &mut Seen) -> Result<Refresh, CredentialError> {
        let texts = read_stable([&self.certificate, &self.key])?;
        let fingerprint = fingerprint(&texts);
        if fingerprint == seen.fingerprint {
            return Ok(Refresh::Unchanged);
        }
        let [chain, key] = &texts;
        self.credential.replace(chain, key)?;
        seen.fingerprint = fingerprint;
        tracing::info!(path = %self.certificate.display(), "certificate of a host rotated");
        Ok(Refresh::Replaced(0))
    }

    /// Looks at the files every `poll`, for ever.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the watch; a look that has begun is finished in the background.
    pub async fn watch(self, poll: Duration) {
        loop {
            tokio::time::sleep(poll).await;
            let files = self.clone();
            // The outcome is logged; a failed join means a runtime that ends.
            if tokio::task::spawn_blocking(move || files.refresh()).await.is_err() {
                return;
            }
        }
    }
}
