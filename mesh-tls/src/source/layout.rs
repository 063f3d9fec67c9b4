//! Where identity files lie, and how they are read as one.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::svid::{BundleError, OwnIdentityError, RevocationError};

/// The most bytes of one file. A chain of eight certificates has less than 32 KiB.
pub(crate) const MAX_FILE: u64 = 1 << 20;

/// How often a read is begun again when the files change under it.
const READS: usize = 3;

/// File names by layout: certificate chain, key, bundle.
const LAYOUTS: [[&str; 3]; 3] = [
    ["tls.crt", "tls.key", "ca.crt"],
    ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
    ["cert-chain.pem", "key.pem", "root-cert.pem"],
];

/// Why identity files give no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A directory has no complete set of files.
    #[error(
        "no identity in `{}`, expected `tls.crt`, `tls.key` and `ca.crt`, or `svid.pem`, `svid_key.pem` and \
         `svid_bundle.pem`, or `cert-chain.pem`, `key.pem` and `root-cert.pem`",
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

/// The three files of an identity. Symbolic links are followed anew at every look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) bundle: PathBuf,
}

impl IdentityFiles {
    /// Files at paths of the caller's choice: certificate chain (leaf first), key, bundle.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>, bundle: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            bundle: bundle.into(),
        }
    }

    /// The first layout, in this order, of which `directory` has all three files:
    ///
    /// | written by | certificate chain | key | bundle |
    /// |---|---|---|---|
    /// | cert-manager, the development CA | `tls.crt` | `tls.key` | `ca.crt` |
    /// | SPIFFE helper | `svid.pem` | `svid_key.pem` | `svid_bundle.pem` |
    /// | Istio | `cert-chain.pem` | `key.pem` | `root-cert.pem` |
    ///
    /// # Errors
    ///
    /// [`SourceError::NoLayout`] where none is complete.
    pub fn in_directory(directory: impl AsRef<Path>) -> Result<Self, SourceError> {
        let directory = directory.as_ref();
        LAYOUTS
            .iter()
            .map(|[certificate, key, bundle]| {
                Self::new(directory.join(certificate), directory.join(key), directory.join(bundle))
            })
            .find(|files| files.paths().iter().all(|path| path.exists()))
            .ok_or_else(|| SourceError::NoLayout(directory.to_owned()))
    }

    pub(super) fn paths(&self) -> [&Path; 3] {
        [&self.certificate, &self.key, &self.bundle]
    }
}

/// Reads several files as they stood at one moment: two reads in a row must agree.
pub(crate) fn read_stable<const N: usize>(paths: [&Path; N]) -> Result<[Vec<u8>; N], SourceError> {
    let mut last = read_all(paths)?;
    for _ in 0..READS {
        let next = read_all(paths)?;
        if next == last {
            return Ok(next);
        }
        last = next;
    }
    let parent = paths.first().and_then(|path| path.parent());
    Err(SourceError::Unstable(
        parent.unwrap_or_else(|| Path::new(".")).to_owned(),
    ))
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
pub(crate) fn fingerprint(texts: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}
