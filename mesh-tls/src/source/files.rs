//! An identity that follows files.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::federation::{Federated, FederationFiles};
use super::lists::{ListFiles, Lists};
use super::{IdentityFiles, IdentitySource, Origin, SourceError, fingerprint, read_stable};
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
/// ones in force, and does not keep certificates from being renewed. The same holds for federated bundles.
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
    beside: Beside,
    source: IdentitySource,
    /// Of the contents in force; held while the files are looked at.
    seen: Mutex<Seen>,
    /// Of the last look. Apart from `seen`, so that asking for it never waits for a disk.
    error: Mutex<Option<SourceError>>,
}

/// Fingerprints of the own files, the revocation lists and the federated bundles.
type Seen = [u64; 3];

/// What lies beside certificate, key and bundle, and has last good versions of its own.
#[derive(Debug)]
struct Beside {
    lists: ListFiles,
    federation: FederationFiles,
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
        let found = Found::first(&files)?;
        let origin = Origin::Files(files.certificate.clone());
        let source = IdentitySource::new(found.svid, found.bundles, clock, origin)?;
        Ok(Self {
            shared: Arc::new(Shared {
                files,
                beside: found.beside,
                source,
                seen: Mutex::new(found.seen),
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
            Some(_) => self.shared.source.persists(),
        }
        *last = error.cloned();
        looked
    }

    fn look(&self, seen: &mut Seen) -> Result<Refresh, SourceError> {
        let (lists, broken_list) = self.shared.beside.lists.look();
        let (federated, broken_bundle) = self.shared.beside.federation.look();
        let refresh = self.look_with(seen, &lists, &federated)?;
        broken_list.or(broken_bundle).map_or(Ok(refresh), Err)
    }

    /// Takes what is new; where the own files cannot be taken, at least the lists and the bundles of others.
    fn look_with(&self, seen: &mut Seen, lists: &Lists, federated: &Federated) -> Result<Refresh, SourceError> {
        let taken = self.take_all(seen, lists, federated);
        let beside = [lists.fingerprint, federated.fingerprint];
        if taken.is_err() && seen.get(1..) != Some(beside.as_slice()) {
            let now = self.shared.source.current();
            if let Some(own) = now.bundles().bundle(now.svid().id().trust_domain()).cloned() {
                let own = own.with_revocations(lists.lists.clone());
                self.shared.source.trust(federated.beside(now.svid(), own));
                let [own, ..] = *seen;
                *seen = [own, lists.fingerprint, federated.fingerprint];
            }
        }
        taken
    }

    fn take_all(&self, seen: &mut Seen, lists: &Lists, federated: &Federated) -> Result<Refresh, SourceError> {
        let texts = read_stable(self.shared.files.paths())?;
        let found = [fingerprint(&texts), lists.fingerprint, federated.fingerprint];
        if found == *seen {
            return Ok(Refresh::Unchanged);
        }
        let (svid, own) = parse(&texts)?;
        let bundles = federated.beside(&svid, own.with_revocations(lists.lists.clone()));
        let generation = self.shared.source.publish(svid, bundles)?;
        *seen = found;
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
        let found = Found::first(self)?;
        Ok((found.svid, found.bundles))
    }
}

/// All that files hold at the first look.
struct Found {
    svid: Svid,
    bundles: TrustBundles,
    beside: Beside,
    seen: Seen,
}

impl Found {
    fn first(files: &IdentityFiles) -> Result<Self, SourceError> {
        let texts = read_stable(files.paths())?;
        let (svid, own) = parse(&texts)?;
        let lists = ListFiles::beside(&files.bundle)?;
        let own_domain = svid.id().trust_domain().clone();
        let (federation, federated) = FederationFiles::open(files.federation.clone(), own_domain)?;
        let seen = [fingerprint(&texts), lists.good().fingerprint, federated.fingerprint];
        let own = own.with_revocations(lists.good().lists.clone());
        Ok(Self {
            bundles: federated.beside(&svid, own),
            svid,
            beside: Beside { lists, federation },
            seen,
        })
    }
}

fn parse([certificate, key, bundle]: &[Vec<u8>; 3]) -> Result<(Svid, TrustBundle), SourceError> {
    Ok((Svid::from_pem(certificate, key)?, TrustBundle::from_pem(bundle)?))
}
