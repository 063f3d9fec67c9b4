//! The bundles of other trust domains, one file each.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mesh_core::identity::TrustDomain;

use super::SourceError;
use super::layout::{fingerprint, read_file, stable};
use crate::svid::{RevocationList, Svid, TrustBundle, TrustBundles};

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

/// A folder of bundles as a service follows it. What cannot be used leaves the last good bundles in force, for a
/// foreign bundle must not keep the own certificate from being renewed.
#[derive(Debug)]
pub(super) struct FederationFiles {
    federation: Option<Federation>,
    own: TrustDomain,
    good: Mutex<Federated>,
}

/// The bundles of other trust domains at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Federated {
    bundles: BTreeMap<TrustDomain, TrustBundle>,
    pub(super) fingerprint: u64,
}

impl FederationFiles {
    /// Reads the bundles beside that of the trust domain `own`.
    pub(super) fn open(federation: Option<Federation>, own: TrustDomain) -> Result<(Self, Federated), SourceError> {
        let first = read(federation.as_ref(), &own)?;
        let files = Self {
            federation,
            own,
            good: Mutex::new(first.clone()),
        };
        Ok((files, first))
    }

    /// The bundles as they are now; where they cannot be used, the last good ones and the reason.
    pub(super) fn look(&self) -> (Federated, Option<SourceError>) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        match read(self.federation.as_ref(), &self.own) {
            Ok(federated) => {
                good.clone_from(&federated);
                (federated, None)
            }
            Err(error) => (good.clone(), Some(error)),
        }
    }
}

fn read(federation: Option<&Federation>, own: &TrustDomain) -> Result<Federated, SourceError> {
    let Some(federation) = federation else {
        return Ok(Federated::default());
    };
    let texts = stable(&federation.folder, || federation.read())?;
    Ok(Federated {
        bundles: FederatedText::parse_all(&texts, own)?,
        fingerprint: fingerprint(&texts),
    })
}

impl Federated {
    /// The bundles of all trust domains, the own one among them.
    pub(super) fn beside(&self, svid: &Svid, own: TrustBundle) -> TrustBundles {
        let others = self.bundles.iter().map(|(name, bundle)| (name.clone(), bundle.clone()));
        others.chain([(svid.id().trust_domain().clone(), own)]).collect()
    }
}

impl FederatedText {
    /// All bundles, with their revocation lists. A trust domain has one bundle: a second one, or one for the own domain,
    /// is refused, since either of them could be the one that was forgotten.
    fn parse_all(texts: &[Self], own: &TrustDomain) -> Result<BTreeMap<TrustDomain, TrustBundle>, SourceError> {
        let mut bundles = BTreeMap::new();
        let (lists, others): (Vec<_>, Vec<_>) = texts.iter().partition(|text| text.extension() == Some("crl"));
        for text in others {
            let (name, bundle) = text.parse()?;
            if name == *own || bundles.contains_key(&name) {
                return Err(text.refused(format!("there is another bundle for `{name}`")));
            }
            bundles.insert(name, bundle);
        }
        for text in lists {
            let name = text.trust_domain()?;
            let lists = RevocationList::read(&text.text).map_err(|error| text.refused(error))?;
            match bundles.get_mut(&name) {
                Some(bundle) => *bundle = bundle.clone().with_revocations(lists),
                None => return Err(text.refused(format!("there is no bundle for `{name}` beside it"))),
            }
        }
        Ok(bundles)
    }

    fn parse(&self) -> Result<(TrustDomain, TrustBundle), SourceError> {
        let read: fn(&[u8]) -> _ = match self.extension() {
            Some("pem") => TrustBundle::from_pem,
            Some("json") => TrustBundle::from_spiffe_json,
            _ => return Err(self.refused("expected the name `<trust domain>.pem`, `.json` or `.crl`")),
        };
        let name = self.trust_domain()?;
        let bundle = read(&self.text).map_err(|error| self.refused(error))?;
        Ok((name, bundle))
    }

    fn extension(&self) -> Option<&str> {
        self.path.extension().and_then(|name| name.to_str())
    }

    fn trust_domain(&self) -> Result<TrustDomain, SourceError> {
        let name = self.path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        TrustDomain::parse(name).map_err(|error| self.refused(format!("its name {error}")))
    }

    fn refused(&self, reason: impl Display) -> SourceError {
        SourceError::Federated {
            path: self.path.clone(),
            reason: format!("{reason}"),
        }
    }
}
