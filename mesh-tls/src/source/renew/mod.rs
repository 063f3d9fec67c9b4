//! Renewal of identities that an authority issues on demand: [`Renewer`].
//!
//! One [`Issuer`] may serve several identities and many callers. The renewer asks it once for each
//! identity, however many wait, in the order of their [`Urgency`] and for so many at a time; it
//! asks again at half of the life that a certificate had left when it came, and after a failure
//! with growing pauses. A certificate that is still valid stays in use while its renewal fails.
//!
//! | moment | rule |
//! |---|---|
//! | renewal | half of what was left when it came, and up to a twentieth more by chance, so that the workloads of an outage do not come back as one; after a day at the latest |
//! | failure | 1 s, doubled with each failure up to 1 min, of which up to a half is taken off by chance |
//! | no answer | a failure after 30 s |
//! | a failure without a valid certificate | whoever asks gets it at once, until the pause is over |
//!
//! Time is tokio's, so that a test with a paused clock moves it; the wall clock judges certificates, and a renewal that
//! is due by the wall clock alone, after a machine slept, comes within a minute.
//!
//! ```
//! use std::time::Duration;
//! use mesh_core::identity::{SpiffeId, TrustDomain};
//! use mesh_core::random::SplitMix64;
//! use mesh_tls::clock::Clock;
//! use mesh_tls::source::Failure;
//! use mesh_tls::source::renew::{Issuer, Material, Renewer, Urgency};
//! # use mesh_tls::source::FailureReason;
//!
//! struct Unreachable;
//!
//! impl Issuer for Unreachable {
//!     async fn issue(&self, id: &SpiffeId) -> Result<Material, Failure> {
//!         Err(Failure::new(FailureReason::Unavailable, format!("nobody issues for `{id}`")))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let renewer = Renewer::new(Unreachable, 4, Clock::system(), SplitMix64::new(1));
//! tokio::spawn(renewer.clone().run());
//! let id = "spiffe://cluster.local/ns/shop/sa/orders".parse()?;
//! let error = renewer.fetch(&id, Urgency::Now).await.unwrap_err();
//! assert_eq!(error.to_string(), "nobody issues for `spiffe://cluster.local/ns/shop/sa/orders`");
//! # Ok(())
//! # }
//! ```

mod driver;
mod queue;
pub(super) mod schedule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use mesh_core::identity::SpiffeId;
use mesh_core::random::Rng;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::queue::Queue;
use super::Failure;
use crate::clock::Clock;
use crate::svid::{Svid, TrustBundles};

/// An authority that issues identities on demand.
pub trait Issuer: Send + Sync + 'static {
    /// Issues a certificate with a key of its own for `id`, and tells whom to trust.
    fn issue(&self, id: &SpiffeId) -> impl Future<Output = Result<Material, Failure>> + Send;
}

/// What an issuer gives.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "issuers make it")]
pub struct Material {
    /// Certificate and key.
    pub svid: Svid,
    /// Whom to trust.
    pub bundles: TrustBundles,
}

/// What is asked for first where not all can be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Urgency {
    /// Somebody waits for it.
    Now,
    /// Somebody will.
    WarmUp,
    /// There is one, and it is to be renewed.
    Renewal,
}

/// Why [`Renewer::fetch`] has nothing to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// The issuer failed, and the pause after it is not over.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The identity was forgotten while somebody waited for it.
    #[error("the identity `{0}` is no longer asked for")]
    Forgotten(SpiffeId),
}

/// What is known of one identity.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Progress {
    /// What came last; it may have expired.
    pub material: Option<Arc<Material>>,
    /// Why nothing newer came, where the last try failed.
    pub failure: Option<Failure>,
    /// Counts the failures since the last success.
    pub failures: u32,
    /// When the issuer is asked again.
    pub next: Option<SystemTime>,
}

/// Keeps identities of one issuer fresh. Cheap to clone; clones are the same renewer.
///
/// Nothing happens but in [`run`](Self::run).
pub struct Renewer<I> {
    shared: Arc<Shared<I>>,
}

struct Shared<I> {
    issuer: I,
    at_a_time: usize,
    clock: Clock,
    state: Mutex<State>,
    /// The queue changed.
    wake: Notify,
}

struct State {
    entries: BTreeMap<SpiffeId, Entry>,
    queue: Queue,
    /// Numbers the entries: one that was forgotten and asked for again is another.
    entered: u64,
    rng: Box<dyn Rng + Send>,
}

struct Entry {
    number: u64,
    progress: watch::Sender<Progress>,
}

impl<I> Clone for Renewer<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<I> fmt::Debug for Renewer<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewer")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<I> Renewer<I> {
    /// A renewer that asks `issuer` for at most `at_a_time` identities at a time, and for one at least.
    pub fn new(issuer: I, at_a_time: usize, clock: Clock, rng: impl Rng + Send + 'static) -> Self {
        let state = State {
            entries: BTreeMap::new(),
            queue: Queue::default(),
            entered: 0,
            rng: Box::new(rng),
        };
        Self {
            shared: Arc::new(Shared {
                issuer,
                at_a_time: at_a_time.max(1),
                clock,
                state: Mutex::new(state),
                wake: Notify::new(),
            }),
        }
    }

    /// Asks for an identity without waiting for it, and keeps it fresh from now on.
    pub fn ask(&self, id: &SpiffeId, urgency: Urgency) {
        drop(self.subscribe(id, urgency));
    }

    /// The identity: at once where there is a valid one, else when it came.
    ///
    /// # Errors
    ///
    /// [`RenewError`]; after a failure it is told at once until the issuer is asked again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the identity is still asked for.
    pub async fn fetch(&self, id: &SpiffeId, urgency: Urgency) -> Result<Arc<Material>, RenewError> {
        let mut progress = self.subscribe(id, urgency);
        loop {
            if let Some(known) = self.judge(&progress.borrow_and_update()) {
                return Ok(known?);
            }
            if progress.changed().await.is_err() {
                return Err(RenewError::Forgotten(id.clone()));
            }
        }
    }

    /// What becomes of an identity from now on; it is asked for where it was not.
    #[must_use]
    pub fn subscribe(&self, id: &SpiffeId, urgency: Urgency) -> watch::Receiver<Progress> {
        let mut state = self.shared.lock();
        let state = &mut *state;
        if let Some(entry) = state.entries.get(id) {
            // A pause after a failure, or half of a life, is not shortened by asking.
            if entry.progress.borrow().next.is_none() && state.queue.hurry(id, urgency) {
                self.shared.wake.notify_one();
            }
            return entry.progress.subscribe();
        }
        state.entered += 1;
        let entry = Entry {
            number: state.entered,
            progress: watch::Sender::default(),
        };
        let progress = entry.progress.subscribe();
        state.entries.insert(id.clone(), entry);
        state.queue.push(id.clone(), urgency, Instant::now(), None);
        self.shared.wake.notify_one();
        progress
    }

    /// Drops an identity; who waits for it learns so.
    pub fn forget(&self, id: &SpiffeId) {
        let mut state = self.shared.lock();
        state.entries.remove(id);
        state.queue.remove(id);
    }

    /// How many identities are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().entries.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `None` where there is nothing to tell yet.
    fn judge(&self, progress: &Progress) -> Option<Result<Arc<Material>, Failure>> {
        let now = self.shared.clock.now();
        let valid = progress.material.as_ref().filter(|known| now <= known.svid.not_after());
        match (valid, &progress.failure) {
            (Some(material), _) => Some(Ok(Arc::clone(material))),
            (None, Some(failure)) => Some(Err(failure.clone())),
            (None, None) => None,
        }
    }
}

impl<I> Shared<I> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
