//! The identity in force: [`IdentitySource`], a live cell that a rotation swaps.
//!
//! Whoever accepts or opens a connection asks the source for the configuration *then*, so the
//! first handshake after a rotation already uses the new certificate, and connections that are
//! open stay open. A new identity is taken only where peers would accept it: key and certificate
//! belong together, it is valid now, it chains to its own bundle, and it is for the same workload
//! as before. Otherwise the last good one stays.
//!
//! | source | follows |
//! |---|---|
//! | [`FileSource`] | files, by their content |
//! | [`WorkloadApiSource`](workload_api::WorkloadApiSource) (feature `workload-api`) | a SPIFFE Workload API, such as a SPIRE agent |
//! | [`IssuedSource`] | an [`Issuer`](renew::Issuer), such as the development CA: it asks for renewal itself |
//! | [`StaticSource`] | the application's code |
//!
//! [`IdentitySource::status`] tells where the identity comes from, how long it lasts and what
//! failed last; [`Phase`] names the parts of its life.

mod expiry;
mod federation;
#[cfg(test)]
mod federation_tests;
mod files;
mod issued;
mod layout;
#[cfg(test)]
mod life_tests;
mod lists;
mod phase;
pub mod renew;
mod status;
#[cfg(test)]
mod tests;
#[cfg(feature = "workload-api")]
pub mod workload_api;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::watch;

pub use self::files::{FileSource, Refresh};
pub use self::issued::IssuedSource;
#[cfg(any(test, feature = "authority"))]
pub(crate) use self::layout::MAX_FILE;
pub use self::layout::{IdentityFiles, Layout, SourceError};
pub(crate) use self::layout::{fingerprint, read_stable};
pub use self::phase::{Lifetime, Phase};
use self::status::Journal;
pub use self::status::{Failure, FailureReason, IdentityStatus, Origin, Trusted};
use crate::clock::Clock;
use crate::config::{Alpn, ClientConfig, ConfigError, ServerConfig, TlsPolicy};
use crate::svid::{OwnIdentityError, Svid, TrustBundles};
use crate::verify::ExpectedPeer;

/// The most client configurations that one generation keeps; more are built anew each time.
const CACHED_CLIENTS: usize = 1024;

type ServerKey = (TlsPolicy, Vec<Alpn>);
type ClientKey = (TlsPolicy, ExpectedPeer, Vec<Alpn>);

/// One generation of this process's identity, with the TLS configurations made from it.
pub struct Identity {
    svid: Svid,
    bundles: TrustBundles,
    generation: u64,
    clock: Clock,
    servers: Mutex<BTreeMap<ServerKey, Arc<ServerConfig>>>,
    clients: Mutex<BTreeMap<ClientKey, Arc<ClientConfig>>>,
}

impl Identity {
    fn new(svid: Svid, bundles: TrustBundles, generation: u64, clock: Clock) -> Self {
        Self {
            svid,
            bundles,
            generation,
            clock,
            servers: Mutex::default(),
            clients: Mutex::default(),
        }
    }

    /// The certificate and key.
    #[must_use]
    pub fn svid(&self) -> &Svid {
        &self.svid
    }

    /// Whom this process trusts.
    #[must_use]
    pub fn bundles(&self) -> &TrustBundles {
        &self.bundles
    }

    /// Counts the identities that a source has had, from 1. Connections made under different
    /// generations must not share a pool.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The clock that certificates are judged by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The configuration to accept connections with; made once for each `alpn`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], see [`ServerConfig::mutual`].
    pub fn server_config(&self, alpn: &[Alpn]) -> Result<Arc<ServerConfig>, ConfigError> {
        self.server_config_under(TlsPolicy::default(), alpn)
    }

    /// The same by a policy of the caller's; made once for each pair.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], see [`ServerConfig::mutual`].
    pub fn server_config_under(&self, policy: TlsPolicy, alpn: &[Alpn]) -> Result<Arc<ServerConfig>, ConfigError> {
        let key = (policy, alpn.to_vec());
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = servers.get(&key) {
            return Ok(Arc::clone(config));
        }
        let bundles = self.bundles.under(policy.revocation);
        let config = ServerConfig::with_sessions(&self.svid, &bundles, (alpn, policy.resumption), &self.clock)?;
        let config = Arc::new(config);
        servers.insert(key, Arc::clone(&config));
        Ok(config)
    }

    /// The configuration to open connections to `expected` with; made once for each of the first
    /// 1024 pairs of `expected` and `alpn`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], see [`ClientConfig::mutual`].
    pub fn client_config(&self, expected: &ExpectedPeer, alpn: &[Alpn]) -> Result<Arc<ClientConfig>, ConfigError> {
        self.client_config_under(TlsPolicy::default(), expected, alpn)
    }

    /// The same by a policy of the caller's.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], see [`ClientConfig::mutual`].
    pub fn client_config_under(
        &self,
        policy: TlsPolicy,
        expected: &ExpectedPeer,
        alpn: &[Alpn],
    ) -> Result<Arc<ClientConfig>, ConfigError> {
        let key = (policy, expected.clone(), alpn.to_vec());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = clients.get(&key) {
            return Ok(Arc::clone(config));
        }
        let (bundles, how) = (self.bundles.under(policy.revocation), (alpn, policy.resumption));
        let config = ClientConfig::with_sessions(&self.svid, &bundles, expected, how, &self.clock)?;
        let config = Arc::new(config);
        if clients.len() < CACHED_CLIENTS {
            clients.insert(key, Arc::clone(&config));
        }
        Ok(config)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("svid", &self.svid)
            .field("bundles", &self.bundles)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// A handle on the identity in force. Cheap to clone; all clones see the same rotations.
#[derive(Clone, Debug)]
pub struct IdentitySource {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Identity>,
    /// That of `current`, for who asks with each request.
    generation: AtomicU64,
    changes: watch::Sender<u64>,
    clock: Clock,
    origin: Origin,
    /// Held while a new identity is judged and swapped in, so that generations stay in order.
    journal: Mutex<Journal>,
}

impl IdentitySource {
    fn new(svid: Svid, bundles: TrustBundles, clock: Clock, origin: Origin) -> Result<Self, OwnIdentityError> {
        svid.check(&bundles, &clock)?;
        warn_of_revocation(&svid, &bundles, &clock);
        let journal = Mutex::new(Journal::new(clock.now()));
        let first = Identity::new(svid, bundles, 1, clock.clone());
        Ok(Self {
            shared: Arc::new(Shared {
                current: ArcSwap::from_pointee(first),
                generation: AtomicU64::new(1),
                changes: watch::Sender::new(1),
                clock,
                origin,
                journal,
            }),
        })
    }

    /// The identity in force now.
    #[must_use]
    pub fn current(&self) -> Arc<Identity> {
        self.shared.current.load_full()
    }

    /// The generation in force now, from 1: one load.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The clock that certificates are judged by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Reports the generation after each rotation, for whoever must look at live connections
    /// again ([`PeerIdentity::verify_again`](crate::peer::PeerIdentity::verify_again)).
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The configuration to accept the next connection with.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], see [`ServerConfig::mutual`].
    pub fn server_config(&self, alpn: &[Alpn]) -> Result<Arc<ServerConfig>, ConfigError> {
        self.shared.current.load().server_config(alpn)
    }

    /// The configuration to open the next connection to `expected` with.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], see [`ClientConfig::mutual`].
    pub fn client_config(&self, expected: &ExpectedPeer, alpn: &[Alpn]) -> Result<Arc<ClientConfig>, ConfigError> {
        self.shared.current.load().client_config(expected, alpn)
    }

    /// Where the identity comes from, how long it lasts, and what failed last.
    #[must_use]
    pub fn status(&self) -> IdentityStatus {
        let shared = &self.shared;
        let journal = self.journal();
        journal.status(shared.origin.clone(), &shared.current.load(), shared.clock.now())
    }

    /// Puts a new identity in force, if it is a good one, and tells its generation.
    fn publish(&self, svid: Svid, bundles: TrustBundles) -> Result<u64, OwnIdentityError> {
        let shared = &self.shared;
        let mut journal = self.journal();
        let current = shared.current.load();
        if svid.id() != current.svid.id() {
            return Err(OwnIdentityError::OtherIdentity {
                found: svid.id().clone(),
                expected: current.svid.id().clone(),
            });
        }
        svid.check(&bundles, &shared.clock)?;
        warn_of_revocation(&svid, &bundles, &shared.clock);
        journal.rotated(shared.clock.now());
        let (id, not_after) = (svid.id().clone(), svid.not_after());
        let generation = self.swap(svid, bundles, &current);
        tracing::info!(%id, generation, ?not_after, source = %shared.origin, "identity rotated");
        Ok(generation)
    }

    /// Takes the identity out of force: handshakes fail until another is published.
    fn withdraw(&self, failure: &Failure) {
        let mut journal = self.journal();
        journal.failed(self.shared.clock.now(), failure);
        let current = self.shared.current.load();
        if !current.svid.is_withdrawn() {
            tracing::error!(id = %current.svid.id(), source = %self.shared.origin, %failure,
                "identity is withdrawn, handshakes fail until there is another");
            // Without bundles no open connection is verified again either.
            self.swap(current.svid.withdrawn(), TrustBundles::default(), &current);
        }
    }

    /// Puts other trust in force beside the certificate in force, however long that lasts.
    fn trust(&self, bundles: TrustBundles) {
        let mut journal = self.journal();
        journal.rotated(self.shared.clock.now());
        let current = self.shared.current.load();
        self.swap(current.svid.clone(), bundles, &current);
    }

    /// Only under the lock of the journal.
    fn swap(&self, svid: Svid, bundles: TrustBundles, current: &Identity) -> u64 {
        let generation = current.generation + 1;
        let next = Identity::new(svid, bundles, generation, self.shared.clock.clone());
        self.shared.current.store(Arc::new(next));
        // ORDER: who sees the number finds its identity, or a later one.
        self.shared.generation.store(generation, Ordering::Release);
        self.shared.changes.send_replace(generation);
        generation
    }

    /// Keeps a failure for [`status`](Self::status), and logs it where it is news.
    fn failed(&self, failure: &Failure) {
        if self.journal().failed(self.shared.clock.now(), failure) {
            tracing::warn!(source = %self.shared.origin, reason = %failure.reason, %failure,
                "identity cannot be renewed, the last good one stays in force");
        }
    }

    /// The failure that was told of still stands.
    fn persists(&self) {
        self.journal().persists();
    }

    /// The source is well, with the identity in force.
    fn recovered(&self) {
        self.journal().recovered();
    }

    /// When the source will ask for the next identity.
    fn planned(&self, renews_at: Option<SystemTime>) {
        self.journal().planned(renews_at);
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.shared.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A list that revokes this process comes in force all the same: others that it revokes must not go on.
fn warn_of_revocation(svid: &Svid, bundles: &TrustBundles, clock: &Clock) {
    if let Err(error) = svid.check_revocation(bundles, clock) {
        tracing::warn!(id = %svid.id(), %error, "peers with these revocation lists refuse this process");
    }
}

/// An identity that code provides, and rotates where it wants to.
#[derive(Clone, Debug)]
pub struct StaticSource {
    source: IdentitySource,
}

impl StaticSource {
    /// Puts an identity in force.
    ///
    /// # Errors
    ///
    /// [`OwnIdentityError`] where peers would refuse it.
    pub fn new(svid: Svid, bundles: TrustBundles, clock: Clock) -> Result<Self, OwnIdentityError> {
        let source = IdentitySource::new(svid, bundles, clock, Origin::Code)?;
        Ok(Self { source })
    }

    /// The handle for servers and clients.
    #[must_use]
    pub fn source(&self) -> IdentitySource {
        self.source.clone()
    }

    /// Puts a new certificate, or new trust, in force and tells the generation.
    ///
    /// # Errors
    ///
    /// [`OwnIdentityError`] where peers would refuse it or it is for another workload; the last
    /// one stays in force.
    pub fn rotate(&self, svid: Svid, bundles: TrustBundles) -> Result<u64, OwnIdentityError> {
        let rotated = self.source.publish(svid, bundles);
        if let Err(error) = &rotated {
            self.source.failed(&error.clone().into());
        }
        rotated
    }

    /// Takes the identity out of force: handshakes fail on this side until another is rotated in.
    pub fn withdraw(&self) {
        self.source.withdraw(&OwnIdentityError::Withdrawn.into());
    }
}
