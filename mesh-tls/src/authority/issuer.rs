//! The development authority as a source of renewals.

use std::time::Duration;

use mesh_core::identity::SpiffeId;

use super::{AuthorityError, DevCa};
use crate::clock::Clock;
use crate::source::renew::{Issuer, Material};
use crate::source::{Failure, FailureReason};

/// Issues from a [`DevCa`] in the process itself, certificates of one length of life.
#[derive(Debug)]
pub struct DevIssuer {
    ca: DevCa,
    ttl: Duration,
    clock: Clock,
}

impl DevIssuer {
    /// Issues certificates that last for `ttl`.
    #[must_use]
    pub const fn new(ca: DevCa, ttl: Duration, clock: Clock) -> Self {
        Self { ca, ttl, clock }
    }

    fn issue_now(&self, id: &SpiffeId) -> Result<Material, Failure> {
        let issued = self.ca.issue(id, self.ttl, self.clock.now()).map_err(failure)?;
        let bundles = self.ca.bundles();
        Ok(Material {
            svid: issued.svid()?,
            bundles: bundles.map_err(|error| Failure::new(FailureReason::Invalid, error))?,
        })
    }
}

impl Issuer for DevIssuer {
    async fn issue(&self, id: &SpiffeId) -> Result<Material, Failure> {
        self.issue_now(id)
    }
}

fn failure(error: AuthorityError) -> Failure {
    let reason = match error {
        AuthorityError::NotOurs { .. } => FailureReason::Denied,
        _ => FailureReason::Unavailable,
    };
    Failure::new(reason, error)
}
