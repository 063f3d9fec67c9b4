//! The bundles of other trust domains, one file each.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mesh_core::identity::TrustDomain;

use super::SourceError;
use super::layout::read_file;
use crate::svid::{TrustBundle, TrustBundles};

/// The most bundles of one folder.
const MAX_BUNDLES: usize = 256;

/// A folder of bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Federation {
    folder: PathBuf,
    presence: Presence,
}

/// Whether a folder has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
}

/// A file of a folder, as it was read.
#[derive(PartialEq, Hash)]
pub(super) struct FederatedText {
    path: PathBuf,
    text: Vec<u8>,
}

impl Federation {
    pub(super) fn new(folder: impl Into<PathBuf>, presence: Presence) -> Self {
        Self {
            folder: folder.into(),
            presence,
        }
    }

    /// All files, in the order of their names.
    pub(super) fn read(&self) -> Result<Vec<FederatedText>, SourceError> {
        let paths = self.paths()?;
        if paths.len() > MAX_BUNDLES {
            return Err(SourceError::Federated {
                path: self.folder.clone(),
                reason: format!("the folder has {} files, expected at most {MAX_BUNDLES}", paths.len()),
            });
        }
        let texts = paths.into_iter().map(|path| {
            let text = read_file(&path)?;
            Ok(FederatedText { path, text })
        });
        texts.collect()
    }

    fn paths(&self) -> Result<Vec<PathBuf>, SourceError> {
        let unreadable = |error: std::io::Error| SourceError::Unreadable {
            path: self.folder.clone(),
            reason: error.to_string(),
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.presence == Presence::Optional => {
                return Ok(Vec::new());
            }
            entries => entries.map_err(unreadable)?,
        };
        // One more than is allowed, so that the caller sees that there are too many.
        let paths = entries.map(|entry| Ok(entry.map_err(unreadable)?.path()));
        let mut paths = paths
            .filter(|path| path.as_ref().map_or(true, |path| !is_hidden(path)))
            .take(MAX_BUNDLES + 1)
            .collect::<Result<Vec<_>, SourceError>>()?;
        paths.sort();
        Ok(paths)
    }
}

/// The links behind a Kubernetes volume (`..data`), and what editors leave behind.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

impl FederatedText {
    /// The own bundle with these beside it. A trust domain has one bundle: a second one, or one for the own domain,
    /// is refused, since either of them could be the one that was forgotten.
    pub(super) fn add_all(texts: &[Self], own: TrustBundles) -> Result<TrustBundles, SourceError> {
        texts.iter().try_fold(own, |bundles, text| {
            let (name, bundle) = text.parse()?;
            if bundles.bundle(&name).is_some() {
                return Err(text.refused(format!("there is another bundle for `{name}`")));
            }
            Ok(bundles.with(name, bundle))
        })
    }

    fn parse(&self) -> Result<(TrustDomain, TrustBundle), SourceError> {
        let extension = self.path.extension().and_then(|name| name.to_str());
        let read: fn(&[u8]) -> _ = match extension {
            Some("pem") => TrustBundle::from_pem,
            Some("json") => TrustBundle::from_spiffe_json,
            _ => return Err(self.refused("expected the name `<trust domain>.pem` or `<trust domain>.json`")),
        };
        let name = self.path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let name = TrustDomain::parse(name).map_err(|error| self.refused(format!("its name {error}")))?;
        let bundle = read(&self.text).map_err(|error| self.refused(error))?;
        Ok((name, bundle))
    }

    fn refused(&self, reason: impl Display) -> SourceError {
        SourceError::Federated {
            path: self.path.clone(),
            reason: format!("{reason}"),
        }
    }
}
