//! Says when an identity ends and nobody renews it.

use std::time::Duration;

use super::{Identity, IdentitySource, Phase};

/// The clock may jump, so it is looked at now and then.
const LOOK: Duration = Duration::from_secs(60);

impl IdentitySource {
    /// Logs each step of the identity towards its end, once: that its renewal is late, that it
    /// nears its end, that it has ended. For ever; spawn it beside the source.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the watch, and nothing else.
    pub async fn watch_expiry(self) {
        let mut changes = self.changes();
        let mut told = None;
        loop {
            let identity = self.current();
            let (lifetime, now) = (identity.svid().lifetime(), identity.clock().now());
            let step = (identity.generation(), lifetime.phase(now));
            if told != Some(step) {
                self.tell(&identity, step.1);
                told = Some(step);
            }
            let wait = lifetime.next_phase(now).and_then(|at| at.duration_since(now).ok());
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(wait.unwrap_or(LOOK).min(LOOK)) => {}
            }
        }
    }

    fn tell(&self, identity: &Identity, phase: Phase) {
        let (id, not_after) = (identity.svid().id(), identity.svid().not_after());
        let left = identity.svid().lifetime().left(identity.clock().now()).as_secs();
        let source = &self.shared.origin;
        match phase {
            Phase::Fresh => {}
            Phase::Due => tracing::warn!(%id, %source, ?not_after, left_s = left, "renewal of the identity is late"),
            Phase::Expiring => tracing::error!(%id, %source, ?not_after, left_s = left, "identity nears its end"),
            Phase::Expired => {
                tracing::error!(%id, %source, ?not_after, "identity has expired, handshakes fail until there is another");
            }
            Phase::NotYetValid => {
                tracing::error!(%id, %source, "identity is not valid yet, the clock was set back");
            }
        }
    }
}
