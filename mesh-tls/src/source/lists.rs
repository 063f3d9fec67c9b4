//! The revocation lists that lie beside a bundle.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::SourceError;
use super::layout::{fingerprint, read_file};
use crate::svid::RevocationList;

/// The end of the names of such files.
const EXTENSION: &str = "crl";

/// The most files of one folder.
const MAX_FILES: usize = 64;

/// The files `*.crl` of a folder, PEM or DER. What cannot be read leaves the last good lists in force, for a broken
/// list must stop neither the renewal of certificates nor the lists that it replaces.
#[derive(Debug)]
pub(super) struct ListFiles {
    folder: PathBuf,
    good: Mutex<Lists>,
}

/// The lists of a folder at one moment.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    pub(super) lists: Vec<RevocationList>,
    pub(super) fingerprint: u64,
}

impl ListFiles {
    /// Reads the lists in the folder of `bundle`.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where one cannot be used: at the start there is no last good one.
    pub(super) fn beside(bundle: &Path) -> Result<Self, SourceError> {
        let folder = match bundle.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        Ok(Self {
            folder: folder.to_owned(),
            good: Mutex::new(read(folder)?),
        })
    }

    /// The lists as they are now; where they cannot be used, the last good ones and the reason.
    pub(super) fn look(&self) -> (Lists, Option<SourceError>) {
        match read(&self.folder) {
            Ok(lists) => {
                self.good().clone_from(&lists);
                (lists, None)
            }
            Err(error) => (self.good().clone(), Some(error)),
        }
    }

    /// The last good lists.
    pub(super) fn good(&self) -> MutexGuard<'_, Lists> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(folder: &Path) -> Result<Lists, SourceError> {
    let texts = texts(folder)?;
    if texts != self::texts(folder)? {
        return Err(SourceError::Unstable(folder.to_owned()));
    }
    let mut lists = Vec::new();
    for (path, text) in &texts {
        let unusable = |reason| SourceError::Revocation {
            path: path.clone(),
            reason,
        };
        lists.extend(RevocationList::read(text).map_err(unusable)?);
    }
    let texts: Vec<Vec<u8>> = texts.into_iter().map(|(_, text)| text).collect();
    let fingerprint = fingerprint(&texts);
    Ok(Lists { lists, fingerprint })
}

/// Every list, in the order of the names of the files.
fn texts(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, SourceError> {
    let unreadable = |error: std::io::Error| SourceError::Unreadable {
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    if paths.len() > MAX_FILES {
        return Err(SourceError::TooManyLists(folder.to_owned()));
    }
    paths.sort_unstable();
    let texts = paths.into_iter().map(|path| {
        let text = read_file(&path)?;
        Ok((path, text))
    });
    texts.collect()
}
