//! Metrics of the process's own identity: how long it lasts, and how its source does.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use mesh_tls::source::{FailureReason, IdentityStatus, Phase};
use metrics::{Counter, Gauge};

use super::operations::labels;
use super::registry::Registry;

/// The metrics of one identity.
pub struct IdentityMetrics {
    not_before: Gauge,
    not_after: Gauge,
    expires_in: Gauge,
    generation: Gauge,
    withdrawn: Gauge,
    trust_domains: Gauge,
    next_update: Gauge,
    phases: [(Phase, Gauge); 5],
    rotations: Counter,
    failures: [(FailureReason, Counter); 4],
}

impl fmt::Debug for IdentityMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityMetrics").finish_non_exhaustive()
    }
}

const GAUGES: [(&str, &str); 8] = [
    (
        "mesh_identity_not_before_timestamp_seconds",
        "First second of the own certificate, in Unix time.",
    ),
    (
        "mesh_identity_not_after_timestamp_seconds",
        "Last second of the own certificate, in Unix time.",
    ),
    (
        "mesh_identity_expires_in_seconds",
        "What is left of the own certificate; negative once it has expired.",
    ),
    (
        "mesh_identity_generation",
        "Number of the identity in force; it rises with each change.",
    ),
    (
        "mesh_identity_withdrawn",
        "1 while the source has taken the identity back.",
    ),
    (
        "mesh_identity_trust_domains",
        "Trust domains that there is a bundle for.",
    ),
    (
        "mesh_identity_revocation_next_update_timestamp_seconds",
        "When the first revocation list should be replaced, in Unix time; 0 without lists.",
    ),
    (
        "mesh_identity_phase",
        "1 for the phase of the own certificate, 0 for the others.",
    ),
];

impl IdentityMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        for (name, text) in GAUGES {
            registry.describe_gauge(name, text);
        }
        registry.describe_counter("mesh_identity_rotations_total", "New identities after the first.");
        registry.describe_counter(
            "mesh_identity_failures_total",
            "Failures of the identity's source, by reason.",
        );
        let gauge = |name| registry.gauge(name, Vec::new());
        let phase = |phase: Phase| registry.gauge("mesh_identity_phase", labels(&[("phase", phase.as_str())]));
        let failures = |reason: FailureReason| {
            let labels = labels(&[("reason", reason.as_str())]);
            registry.counter("mesh_identity_failures_total", labels)
        };
        Self {
            not_before: gauge("mesh_identity_not_before_timestamp_seconds"),
            not_after: gauge("mesh_identity_not_after_timestamp_seconds"),
            expires_in: gauge("mesh_identity_expires_in_seconds"),
            generation: gauge("mesh_identity_generation"),
            withdrawn: gauge("mesh_identity_withdrawn"),
            trust_domains: gauge("mesh_identity_trust_domains"),
            next_update: gauge("mesh_identity_revocation_next_update_timestamp_seconds"),
            phases: Phase::ALL.map(|one| (one, phase(one))),
            rotations: registry.counter("mesh_identity_rotations_total", Vec::new()),
            failures: FailureReason::ALL.map(|reason| (reason, failures(reason))),
        }
    }

    /// States what the identity is at a moment.
    pub fn observe(&self, status: &IdentityStatus, now: SystemTime) {
        let lifetime = status.lifetime;
        self.not_before.set(unix(lifetime.not_before()));
        self.not_after.set(unix(lifetime.not_after()));
        self.expires_in.set(unix(lifetime.not_after()) - unix(now));
        // Exact up to 2^53 rotations.
        self.generation.set(status.generation as f64);
        self.withdrawn.set(f64::from(u8::from(status.withdrawn)));
        self.trust_domains.set(status.trusted.len() as f64);
        self.next_update.set(status.next_update().map_or(0.0, unix));
        for (phase, gauge) in &self.phases {
            gauge.set(f64::from(u8::from(*phase == status.phase)));
        }
        self.rotations.absolute(status.rotations);
        for (reason, count) in status.failures {
            let counter = self.failures.iter().find(|(known, _)| *known == reason);
            if let Some((_, counter)) = counter {
                counter.absolute(count);
            }
        }
    }
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
