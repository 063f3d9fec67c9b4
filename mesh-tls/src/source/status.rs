//! What is known of an identity source: where from, since when, how long, what failed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::identity::{SpiffeId, TrustDomain};

use super::{Lifetime, Phase, SourceError};
use crate::svid::{OwnIdentityError, RevocationList, TrustBundle};

/// Where an identity comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The application's own code.
    Code,
    /// Files, of which this is the certificate chain.
    Files(PathBuf),
    /// The SPIFFE Workload API at this endpoint.
    WorkloadApi(Arc<str>),
    /// An authority that issues on demand, in words.
    Issuer(Arc<str>),
}

impl Origin {
    /// The kind of source, in one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Files(_) => "files",
            Self::WorkloadApi(_) => "workload_api",
            Self::Issuer(_) => "issuer",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code => f.write_str("the application's code"),
            Self::Files(certificate) => write!(f, "files, the certificate in `{}`", certificate.display()),
            Self::WorkloadApi(endpoint) => write!(f, "the Workload API at `{endpoint}`"),
            Self::Issuer(name) => f.write_str(name),
        }
    }
}

/// Why a source has nothing better than the identity in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureReason {
    /// It could not be read or reached.
    Unavailable,
    /// It gives this process no identity.
    Denied,
    /// What it gave is damaged, or breaks a rule of X509-SVID.
    Invalid,
    /// What it gave is an identity that peers would refuse, or that of another workload.
    Unsuitable,
}

impl FailureReason {
    /// All reasons, in order.
    pub const ALL: [Self; 4] = [Self::Unavailable, Self::Denied, Self::Invalid, Self::Unsuitable];

    /// The reason in one word, as metrics have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Unsuitable => "unsuitable",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// That a source failed, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Failure {
    /// The kind of failure.
    pub reason: FailureReason,
    /// The reason in full.
    pub message: Arc<str>,
}

impl Failure {
    /// A failure, told in words.
    pub fn new(reason: FailureReason, message: impl fmt::Display) -> Self {
        Self {
            reason,
            message: message.to_string().into(),
        }
    }
}

impl From<&OwnIdentityError> for FailureReason {
    fn from(error: &OwnIdentityError) -> Self {
        use crate::leaf::LeafError::{Expired, NotYetValid};
        match error {
            OwnIdentityError::Withdrawn => Self::Denied,
            OwnIdentityError::Untrusted(_)
            | OwnIdentityError::OtherIdentity { .. }
            | OwnIdentityError::Leaf(Expired(_) | NotYetValid(_)) => Self::Unsuitable,
            _ => Self::Invalid,
        }
    }
}

impl From<OwnIdentityError> for Failure {
    fn from(error: OwnIdentityError) -> Self {
        Self::new(FailureReason::from(&error), error)
    }
}

impl From<&SourceError> for Failure {
    fn from(error: &SourceError) -> Self {
        let reason = match error {
            SourceError::Own(own) => FailureReason::from(own),
            SourceError::Bundle(_) | SourceError::Federated { .. } | SourceError::Revocation { .. } => {
                FailureReason::Invalid
            }
            SourceError::Source(failure) => failure.reason,
            _ => FailureReason::Unavailable,
        };
        Self::new(reason, error)
    }
}

/// What a source is at a moment; see [`IdentitySource::status`](super::IdentitySource::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IdentityStatus {
    /// Where the identity comes from.
    pub origin: Origin,
    /// Who this process is.
    pub id: SpiffeId,
    /// Counts the identities in force, from 1.
    pub generation: u64,
    /// When the identity in force was taken.
    pub since: SystemTime,
    /// How long it is valid.
    pub lifetime: Lifetime,
    /// Where it stands in its life.
    pub phase: Phase,
    /// Whether its source took it back: handshakes fail until there is another.
    pub withdrawn: bool,
    /// When the source will renew it, where that is for the source to decide.
    pub renews_at: Option<SystemTime>,
    /// How often a new identity was put in force after the first.
    pub rotations: u64,
    /// How often the source failed, by reason; the same failure again and again counts each time
    /// that it is tried, with files when it appears.
    pub failures: [(FailureReason, u64); 4],
    /// What failed last, and when.
    pub last_failure: Option<(SystemTime, Failure)>,
    /// Whether that failure still stands.
    pub failing: bool,
    /// The trust domains that there is a bundle for.
    pub trusted: Vec<Trusted>,
}

impl IdentityStatus {
    /// When the first of the revocation lists should be replaced: past it, peers may be in doubt.
    #[must_use]
    pub fn next_update(&self) -> Option<SystemTime> {
        self.trusted.iter().filter_map(|trusted| trusted.next_update).min()
    }
}

/// A trust domain that there is a bundle for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trusted {
    /// Its name.
    pub trust_domain: TrustDomain,
    /// How many authorities vouch for it; none refuses all that claim to be of it.
    pub authorities: usize,
    /// How many revocation lists there are.
    pub lists: usize,
    /// How many certificates they revoke.
    pub revoked: usize,
    /// When the first of the lists should be replaced.
    pub next_update: Option<SystemTime>,
}

impl Trusted {
    fn of(trust_domain: &TrustDomain, bundle: &TrustBundle) -> Self {
        let lists = bundle.revocations();
        Self {
            trust_domain: trust_domain.clone(),
            authorities: bundle.len(),
            lists: lists.len(),
            revoked: lists.iter().map(RevocationList::revoked).sum(),
            next_update: lists.iter().filter_map(RevocationList::next_update).min(),
        }
    }
}

/// What [`IdentityStatus`] has beside the identity in force.
#[derive(Debug)]
pub(super) struct Journal {
    since: SystemTime,
    renews_at: Option<SystemTime>,
    rotations: u64,
    failures: [(FailureReason, u64); 4],
    last_failure: Option<(SystemTime, Failure)>,
    failing: bool,
}

impl Journal {
    pub(super) fn new(since: SystemTime) -> Self {
        Self {
            since,
            renews_at: None,
            rotations: 0,
            failures: FailureReason::ALL.map(|reason| (reason, 0)),
            last_failure: None,
            failing: false,
        }
    }

    pub(super) fn rotated(&mut self, now: SystemTime) {
        self.since = now;
        self.rotations = self.rotations.saturating_add(1);
        self.failing = false;
    }

    /// What failed before still does, though there is a new identity.
    pub(super) fn persists(&mut self) {
        self.failing = true;
    }

    pub(super) fn recovered(&mut self) {
        self.failing = false;
    }

    pub(super) fn planned(&mut self, renews_at: Option<SystemTime>) {
        self.renews_at = renews_at;
    }

    /// Counts a failure; tells whether it is news.
    pub(super) fn failed(&mut self, now: SystemTime, failure: &Failure) -> bool {
        for (reason, count) in &mut self.failures {
            *count = count.saturating_add(u64::from(*reason == failure.reason));
        }
        let last = self.last_failure.as_ref().filter(|_| self.failing);
        let is_news = last.is_none_or(|(_, last)| last != failure);
        self.last_failure = Some((now, failure.clone()));
        self.failing = true;
        is_news
    }

    pub(super) fn status(&self, origin: Origin, identity: &super::Identity, now: SystemTime) -> IdentityStatus {
        let lifetime = identity.svid().lifetime();
        IdentityStatus {
            origin,
            id: identity.svid().id().clone(),
            generation: identity.generation(),
            since: self.since,
            lifetime,
            phase: lifetime.phase(now),
            withdrawn: identity.svid().is_withdrawn(),
            renews_at: self.renews_at,
            rotations: self.rotations,
            failures: self.failures,
            last_failure: self.last_failure.clone(),
            failing: self.failing,
            trusted: identity
                .bundles()
                .iter()
                .map(|(name, bundle)| Trusted::of(name, bundle))
                .collect(),
        }
    }
}
