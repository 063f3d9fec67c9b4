//! Where identity files lie, and how they are read as one.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::federation::{Federation, Presence};
use super::status::Failure;
use crate::svid::{BundleError, OwnIdentityError, RevocationError};

/// The most bytes of one file. A chain of eight certificates has less than 32 KiB.
pub(crate) const MAX_FILE: u64 = 1 << 20;

/// How often a read is begun again when the files change under it.
const READS: usize = 3;

/// The names of a certificate chain, a key and a bundle in a directory, by who writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// `tls.crt`, `tls.key`, `ca.crt`: secrets of Kubernetes, cert-manager and its drivers `csi-driver` and
    /// `csi-driver-spiffe`, the development CA.
    Kubernetes,
    /// `svid.pem`, `svid_key.pem`, `svid_bundle.pem`: SPIFFE helper.
    SpiffeHelper,
    /// `cert-chain.pem`, `key.pem`, `root-cert.pem`: Istio's agent.
    Istio,
    /// `svid.0.pem`, `svid.0.key`, `bundle.0.pem`: `spire-agent api fetch x509 -write`.
    SpireAgent,
}

impl Layout {
    /// All layouts, in the order in which they are looked for.
    pub const ALL: [Self; 4] = [Self::Kubernetes, Self::SpiffeHelper, Self::Istio, Self::SpireAgent];

    /// The layout's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::SpiffeHelper => "spiffe-helper",
            Self::Istio => "istio",
            Self::SpireAgent => "spire-agent",
        }
    }

    /// The names of certificate chain, key and bundle.
    #[must_use]
    pub const fn names(self) -> [&'static str; 3] {
        match self {
            Self::Kubernetes => ["tls.crt", "tls.key", "ca.crt"],
            Self::SpiffeHelper => ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
            Self::Istio => ["cert-chain.pem", "key.pem", "root-cert.pem"],
            Self::SpireAgent => ["svid.0.pem", "svid.0.key", "bundle.0.pem"],
        }
    }
}

/// The folder of a directory's federated bundles.
const FEDERATION: &str = "bundles";

/// Why identity files give no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A directory has no complete set of files.
    #[error(
        "no identity in `{}`, expected `tls.crt`, `tls.key` and `ca.crt`, or `svid.pem`, `svid_key.pem` and \
         `svid_bundle.pem`, or `cert-chain.pem`, `key.pem` and `root-cert.pem`, or `svid.0.pem`, `svid.0.key` and \
         `bundle.0.pem`",
        .0.display()
    )]
    NoLayout(PathBuf),
    /// A file cannot be read.
    #[error("cannot read `{}`: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A path is a directory, a pipe or a device.
    #[error("`{}` is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// A file is larger than 1 MiB.
    #[error("`{}` is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// The files changed while they were read; the next look will tell.
    #[error("identity files in `{}` are being written", .0.display())]
    Unstable(PathBuf),
    /// Certificate and key cannot be used.
    #[error(transparent)]
    Own(#[from] OwnIdentityError),
    /// The bundle cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A federated bundle cannot be used.
    #[error("federated bundle `{}` cannot be used: {reason}", .path.display())]
    Federated {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another source than files has none.
    #[error(transparent)]
    Source(#[from] Failure),
    /// A revocation list cannot be used.
    #[error("`{}` cannot be used: {reason}", .path.display())]
    Revocation {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: RevocationError,
    },
    /// More than 64 files end in `.crl`.
    #[error("more than 64 revocation lists in `{}`", .0.display())]
    TooManyLists(PathBuf),
}

/// The files of an identity. Symbolic links are followed anew at every look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) bundle: PathBuf,
    pub(super) federation: Option<Federation>,
}

impl IdentityFiles {
    /// Files at paths of the caller's choice: certificate chain (leaf first), key, bundle.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>, bundle: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            bundle: bundle.into(),
            federation: None,
        }
    }

    /// Trusts further trust domains: a folder with `<trust domain>.pem` (PEM) or `<trust domain>.json` (a SPIFFE
    /// bundle) for each, and `<trust domain>.crl` for its revocation lists. Names that begin with a dot are passed over.
    #[must_use]
    pub fn federated(mut self, folder: impl Into<PathBuf>) -> Self {
        self.federation = Some(Federation::new(folder, Presence::Required));
        self
    }

    /// The first layout of [`Layout::ALL`] of which `directory` has all three files, with the
    /// [federated](Self::federated) bundles in its folder `bundles`, if there is one.
    ///
    /// # Errors
    ///
    /// [`SourceError::NoLayout`] where none is complete.
    pub fn in_directory(directory: impl AsRef<Path>) -> Result<Self, SourceError> {
        let directory = directory.as_ref();
        Layout::ALL
            .iter()
            .map(|layout| layout.names().map(|name| directory.join(name)))
            .find(|paths| paths.iter().all(|path| path.exists()))
            .map(|[certificate, key, bundle]| Self {
                federation: Some(Federation::new(directory.join(FEDERATION), Presence::Optional)),
                ..Self::new(certificate, key, bundle)
            })
            .ok_or_else(|| SourceError::NoLayout(directory.to_owned()))
    }

    /// The file of the certificate chain.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    pub(super) fn paths(&self) -> [&Path; 3] {
        [&self.certificate, &self.key, &self.bundle]
    }
}

/// Reads several files as they stood at one moment.
pub(crate) fn read_stable<const N: usize>(paths: [&Path; N]) -> Result<[Vec<u8>; N], SourceError> {
    let parent = paths.first().and_then(|path| path.parent());
    stable(parent.unwrap_or_else(|| Path::new(".")), || read_all(paths))
}

/// Reads until two reads in a row agree.
pub(super) fn stable<T: PartialEq>(place: &Path, read: impl Fn() -> Result<T, SourceError>) -> Result<T, SourceError> {
    let mut last = read()?;
    for _ in 0..READS {
        let next = read()?;
        if next == last {
            return Ok(next);
        }
        last = next;
    }
    Err(SourceError::Unstable(place.to_owned()))
}

fn read_all<const N: usize>(paths: [&Path; N]) -> Result<[Vec<u8>; N], SourceError> {
    let mut texts = [const { Vec::new() }; N];
    for (text, path) in texts.iter_mut().zip(paths) {
        *text = read_file(path)?;
    }
    Ok(texts)
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, SourceError> {
    let unreadable = |error: std::io::Error| SourceError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    // Asked before opening: to open a pipe without a writer would wait.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(SourceError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    // Asked again of what was opened: the path may lead elsewhere by now.
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(SourceError::NotAFile(path.to_owned()));
    }
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(SourceError::TooLarge(path.to_owned()));
    }
    Ok(text)
}

/// Tells contents apart without keeping a second copy of a key.
pub(crate) fn fingerprint(texts: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}
