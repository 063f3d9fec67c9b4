//! An identity that its authority renews on demand.

use std::fmt;
use std::sync::Arc;

use mesh_core::identity::SpiffeId;
use mesh_core::random::Rng;
use tokio::sync::watch;

use super::renew::{Issuer, Material, Progress, RenewError, Renewer, Urgency};
use super::{Failure, FailureReason, IdentitySource, Origin, SourceError};
use crate::clock::Clock;

/// The identity of this process, from an [`Issuer`]: asked for at the start, renewed by itself.
///
/// ```
/// use mesh_core::identity::SpiffeId;
/// use mesh_core::random::SplitMix64;
/// use mesh_tls::clock::Clock;
/// use mesh_tls::source::IssuedSource;
/// # #[cfg(feature = "authority")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::time::{Duration, SystemTime};
/// # use mesh_core::identity::TrustDomain;
/// # use mesh_tls::authority::{DevCa, DevIssuer};
/// # let ca = DevCa::new(TrustDomain::parse("cluster.local")?, SystemTime::now())?;
/// let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/orders".parse()?;
/// let issuer = DevIssuer::new(ca, Duration::from_secs(3600), Clock::system());
/// let issued = IssuedSource::start(issuer, "a development authority", &id, Clock::system(), SplitMix64::new(1)).await?;
/// let source = issued.source();
/// tokio::spawn(issued.run());
/// assert_eq!(source.current().svid().id(), &id);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "authority"))]
/// # fn main() {}
/// ```
pub struct IssuedSource<I> {
    source: IdentitySource,
    renewer: Renewer<I>,
    progress: watch::Receiver<Progress>,
    in_force: Arc<Material>,
}

impl<I> fmt::Debug for IssuedSource<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedSource")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl<I: Issuer> IssuedSource<I> {
    /// Asks `issuer`, which is called `name` on pages and in logs, for the identity `id`.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where the first try fails: without an identity there is nothing to start with.
    pub async fn start(
        issuer: I,
        name: &str,
        id: &SpiffeId,
        clock: Clock,
        rng: impl Rng + Send + 'static,
    ) -> Result<Self, SourceError> {
        let renewer = Renewer::new(issuer, 1, clock.clone(), rng);
        let first = tokio::select! {
            first = renewer.fetch(id, Urgency::Now) => first,
            () = renewer.clone().run() => Err(interrupted()),
        };
        let in_force = first.map_err(|error| match error {
            RenewError::Failed(failure) => failure,
            forgotten @ RenewError::Forgotten(_) => Failure::new(FailureReason::Unavailable, forgotten),
        })?;
        let (svid, bundles) = (in_force.svid.clone(), in_force.bundles.clone());
        let issued = Self {
            source: IdentitySource::new(svid, bundles, clock, Origin::Issuer(name.into()))?,
            progress: renewer.subscribe(id, Urgency::Renewal),
            renewer,
            in_force,
        };
        issued.source.planned(issued.progress.borrow().next);
        Ok(issued)
    }

    /// The handle for servers and clients.
    #[must_use]
    pub fn source(&self) -> IdentitySource {
        self.source.clone()
    }

    /// Renews the identity, for ever.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the renewals; the identity in force stays until it expires.
    pub async fn run(self) {
        let driver = self.renewer.clone().run();
        tokio::select! {
            () = driver => {}
            () = self.follow() => {}
        }
    }

    /// Puts in force what the renewer brings.
    async fn follow(mut self) {
        while self.progress.changed().await.is_ok() {
            let progress = self.progress.borrow_and_update().clone();
            self.take(progress);
        }
    }

    fn take(&mut self, progress: Progress) {
        self.source.planned(progress.next);
        if let Some(failure) = &progress.failure {
            self.source.failed(failure);
        }
        let fresh = progress.material.filter(|next| !Arc::ptr_eq(next, &self.in_force));
        let Some(material) = fresh else { return };
        if let Err(error) = self.source.publish(material.svid.clone(), material.bundles.clone()) {
            self.source.failed(&error.into());
        }
        self.in_force = material;
    }
}

fn interrupted() -> RenewError {
    Failure::new(FailureReason::Unavailable, "the issuer was interrupted").into()
}
