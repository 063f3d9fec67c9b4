//! An identity that follows files.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::federation::{FederatedText, Federation};
use super::layout::{read_all, stable};
use super::lists::{ListFiles, Lists};
use super::{IdentityFiles, IdentitySource, Origin, SourceError, fingerprint};
use crate::clock::Clock;
use crate::svid::{Svid, TrustBundle, TrustBundles};

/// What a look at the files found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refresh {
    /// The files are those in force.
    Unchanged,
    /// A new identity is in force, with this generation.
    Replaced(u64),
}

/// An identity from files, looked at again and again by content.
///
/// Content decides, not time stamps and not file-system events: Kubernetes swaps a directory link,
/// others rename over a file, and both are seen alike.
///
/// Revocation lists lie beside the bundle, as files `*.crl` in PEM or DER. One that cannot be used leaves the last good
/// ones in force, and does not keep certificates from being renewed.
///
/// ```no_run
/// use std::time::Duration;
/// use mesh_tls::clock::Clock;
/// use mesh_tls::source::FileSource;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let files = FileSource::open("/var/run/secrets/identity", Clock::system())?;
/// let source = files.source();
/// tokio::spawn(files.watch(Duration::from_secs(10)));
/// println!("this is {}", source.current().svid().id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FileSource {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    files: IdentityFiles,
    lists: ListFiles,
    source: IdentitySource,
    /// Fingerprints of the contents in force, the revocation lists last; held while the files are looked at.
    seen: Mutex<(u64, u64)>,
    /// Of the last look. Apart from `seen`, so that asking for it never waits for a disk.
    error: Mutex<Option<SourceError>>,
}

impl FileSource {
    /// Reads the identity in a directory, see [`IdentityFiles::in_directory`].
    ///
    /// # Errors
    ///
    /// [`SourceError`]: without a usable identity there is nothing to start with.
    pub fn open(directory: impl AsRef<Path>, clock: Clock) -> Result<Self, SourceError> {
        Self::open_files(IdentityFiles::in_directory(directory)?, clock)
    }

    /// Reads the identity in files of the caller's choice.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_files(files: IdentityFiles, clock: Clock) -> Result<Self, SourceError> {
        let texts = Texts::read(&files)?;
        let lists = ListFiles::beside(&files.bundle)?;
        let seen = (fingerprint(&texts), lists.good().fingerprint);
        let (svid, bundles) = texts.parse(&lists.good())?;
        let origin = Origin::Files(files.certificate.clone());
        let source = IdentitySource::new(svid, bundles, clock, origin)?;
        Ok(Self {
            shared: Arc::new(Shared {
                files,
                lists,
                source,
                seen: Mutex::new(seen),
                error: Mutex::default(),
            }),
        })
    }

    /// The handle for servers and clients.
    #[must_use]
    pub fn source(&self) -> IdentitySource {
        self.shared.source.clone()
    }

    /// Why the files as they are now are not in force; `None` where they are.
    #[must_use]
    pub fn last_error(&self) -> Option<SourceError> {
        lock(&self.shared.error).clone()
    }

    /// Looks at the files, and puts them in force where they changed for a usable identity.
    ///
    /// It reads files and so blocks for as long as the disk takes.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where the files are unusable; the last good identity stays in force. Each
    /// error is logged when it appears or changes, not at every look.
    pub fn refresh(&self) -> Result<Refresh, SourceError> {
        let mut seen = lock(&self.shared.seen);
        let looked = self.look(&mut seen);
        let error = looked.as_ref().err();
        let mut last = lock(&self.shared.error);
        match error {
            None => self.shared.source.recovered(),
            Some(error) if last.as_ref() != Some(error) => self.shared.source.failed(&error.into()),
            Some(_) => {}
        }
        *last = error.cloned();
        looked
    }

    fn look(&self, seen: &mut (u64, u64)) -> Result<Refresh, SourceError> {
        let (lists, broken) = self.shared.lists.look();
        let refresh = self.look_with(seen, &lists)?;
        broken.map_or(Ok(refresh), Err)
    }

    fn look_with(&self, seen: &mut (u64, u64), lists: &Lists) -> Result<Refresh, SourceError> {
        let texts = Texts::read(&self.shared.files)?;
        let fingerprint = (fingerprint(&texts), lists.fingerprint);
        if fingerprint == *seen {
            return Ok(Refresh::Unchanged);
        }
        let (svid, bundles) = texts.parse(lists)?;
        let generation = self.shared.source.publish(svid, bundles)?;
        *seen = fingerprint;
        Ok(Refresh::Replaced(generation))
    }

    /// Looks at the files every `poll`, for ever. Ten seconds is a good interval.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the watch; a look that has begun is finished in the background.
    pub async fn watch(self, poll: Duration) {
        loop {
            tokio::time::sleep(poll).await;
            let files = self.clone();
            // The outcome is logged and kept in `last_error`; a failed join means a runtime that ends.
            if tokio::task::spawn_blocking(move || files.refresh()).await.is_err() {
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IdentityFiles {
    /// Reads certificate, key and bundles, without asking whether peers would accept them.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where they cannot be read, or are no identity.
    pub fn read(&self) -> Result<(Svid, TrustBundles), SourceError> {
        Texts::read(self)?.parse(&ListFiles::beside(&self.bundle)?.good())
    }
}

/// What the files hold.
#[derive(PartialEq, Hash)]
struct Texts {
    own: [Vec<u8>; 3],
    federated: Vec<FederatedText>,
}

impl Texts {
    fn read(files: &IdentityFiles) -> Result<Self, SourceError> {
        let place = files.certificate.parent().unwrap_or_else(|| Path::new("."));
        stable(place, || {
            Ok(Self {
                own: read_all(files.paths())?,
                federated: files.federation.as_ref().map_or(Ok(Vec::new()), Federation::read)?,
            })
        })
    }

    fn parse(&self, lists: &Lists) -> Result<(Svid, TrustBundles), SourceError> {
        let [certificate, key, bundle] = &self.own;
        let svid = Svid::from_pem(certificate, key)?;
        let bundle = TrustBundle::from_pem(bundle)?.with_revocations(lists.lists.clone());
        let own = TrustBundles::of(svid.id().trust_domain().clone(), bundle);
        Ok((svid, FederatedText::add_all(&self.federated, own)?))
    }
}
