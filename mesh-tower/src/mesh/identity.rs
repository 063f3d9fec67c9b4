//! Where the identity of a mesh comes from, and what is told of it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mesh_core::identity::SpiffeId;
use mesh_core::snapshot::Snapshot;
use mesh_core::workload::Workload;
use mesh_tls::clock::Clock;
use mesh_tls::source::{FailureReason, FileSource, IdentityFiles, IdentitySource, IdentityStatus, Trusted};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::BuildError;
use super::status::unix_seconds;
use crate::clock::Entropy;

/// The source that the builder was told of.
#[derive(Debug)]
pub(super) enum Identity {
    Source(IdentitySource),
    Directory(PathBuf),
    Files(IdentityFiles),
    #[cfg(feature = "workload-api")]
    WorkloadApi(mesh_tls::source::workload_api::WorkloadApi),
    /// A development authority's directory, and how long its certificates last.
    #[cfg(feature = "authority")]
    Authority(PathBuf, Duration),
}

/// What a source may need to begin.
#[derive(Clone, Copy)]
pub(super) struct Opening<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// How often files are looked at.
    pub(super) poll: Duration,
    #[cfg_attr(
        not(any(feature = "authority", feature = "workload-api")),
        expect(dead_code, reason = "files have no jitter")
    )]
    pub(super) entropy: &'a Entropy,
}

/// A source in force, and the tasks that keep it so.
type Opened = (Option<IdentitySource>, Vec<AbortHandle>);

/// Takes the first identity and follows it from then on.
pub(super) async fn open(identity: Option<Identity>, opening: Opening<'_>) -> Result<Opened, BuildError> {
    let Some(identity) = identity else {
        return Ok((None, Vec::new()));
    };
    let (source, mut tasks) = identity.open(opening).await?;
    tasks.push(tokio::spawn(source.clone().watch_expiry()).abort_handle());
    warn_of_other_identity(&source, &opening.snapshot.workload);
    Ok((Some(source), tasks))
}

impl Identity {
    async fn open(self, opening: Opening<'_>) -> Result<(IdentitySource, Vec<AbortHandle>), BuildError> {
        let clock = Clock::system();
        match self {
            Self::Source(source) => Ok((source, Vec::new())),
            Self::Directory(directory) => Ok(follow(FileSource::open(directory, clock)?, opening.poll)),
            Self::Files(files) => Ok(follow(FileSource::open_files(files, clock)?, opening.poll)),
            #[cfg(feature = "workload-api")]
            Self::WorkloadApi(api) => {
                let granted = api.connect(clock, opening.entropy.clone()).await?;
                let source = granted.source();
                Ok((source, vec![tokio::spawn(granted.watch()).abort_handle()]))
            }
            #[cfg(feature = "authority")]
            Self::Authority(directory, ttl) => issue(directory, ttl, opening, clock).await,
        }
    }
}

fn follow(files: FileSource, poll: Duration) -> (IdentitySource, Vec<AbortHandle>) {
    let source = files.source();
    (source, vec![tokio::spawn(files.watch(poll)).abort_handle()])
}

#[cfg(feature = "authority")]
async fn issue(
    directory: PathBuf,
    ttl: Duration,
    opening: Opening<'_>,
    clock: Clock,
) -> Result<(IdentitySource, Vec<AbortHandle>), BuildError> {
    use mesh_core::identity::TrustDomain;
    use mesh_tls::authority::{DevCa, DevIssuer};
    use mesh_tls::source::IssuedSource;

    let workload = &opening.snapshot.workload;
    let trust_domain = TrustDomain::parse(&opening.snapshot.mesh.trust_domain)?;
    let id = SpiffeId::for_workload(&trust_domain, &workload.namespace, &workload.service_account)?;
    let name = format!("the development authority in `{}`", directory.display());
    let ca = DevCa::load_or_create(directory, trust_domain, clock.now())?;
    let issuer = DevIssuer::new(ca, ttl, clock.clone());
    let issued = IssuedSource::start(issuer, &name, &id, clock, opening.entropy.clone()).await?;
    let source = issued.source();
    Ok((source, vec![tokio::spawn(issued.run()).abort_handle()]))
}

/// Peers see the certificate, policies see the workload: where they differ, rules are about somebody else.
fn warn_of_other_identity(identity: &IdentitySource, workload: &Workload) {
    let identity = identity.current();
    let id = identity.svid().id();
    if !is_of(id, workload) {
        tracing::warn!(%id, namespace = workload.namespace, service_account = workload.service_account,
            "the certificate is for another workload than the one that the policy is read for");
    }
}

fn is_of(id: &SpiffeId, workload: &Workload) -> bool {
    id.namespace() == Some(workload.namespace.as_str())
        && id.service_account() == Some(workload.service_account.as_str())
}

/// The admin page of an identity.
pub(super) fn describe(source: &IdentitySource) -> Value {
    let status = source.status();
    let now = source.current().clock().now();
    let lifetime = status.lifetime;
    json!({
        "id": status.id.as_str(),
        "source": { "kind": status.origin.kind(), "name": status.origin.to_string() },
        "generation": status.generation,
        "since": unix_seconds(status.since),
        "not_before": unix_seconds(lifetime.not_before()),
        "not_after": unix_seconds(lifetime.not_after()),
        "expires_in_seconds": lifetime.left(now).as_secs(),
        "phase": status.phase.as_str(),
        "withdrawn": status.withdrawn,
        "renews_at": status.renews_at.map(unix_seconds),
        "late_from": unix_seconds(lifetime.due()),
        "rotations": status.rotations,
        "failing": status.failing,
        "failures": failures(&status),
        "last_failure": last_failure(&status),
        "trust": trust(&status),
    })
}

fn failures(status: &IdentityStatus) -> Value {
    let count = |(reason, count): &(FailureReason, u64)| (reason.as_str().to_owned(), json!(count));
    status.failures.iter().map(count).collect()
}

fn last_failure(status: &IdentityStatus) -> Option<Value> {
    let (at, failure): &(SystemTime, _) = status.last_failure.as_ref()?;
    Some(json!({ "at": unix_seconds(*at), "reason": failure.reason.as_str(), "message": &*failure.message }))
}

fn trust(status: &IdentityStatus) -> Value {
    let told = |trusted: &Trusted| {
        let about = json!({
            "authorities": trusted.authorities,
            "revocation_lists": trusted.lists,
            "revoked": trusted.revoked,
            "next_update": trusted.next_update.map(unix_seconds),
        });
        (trusted.trust_domain.as_str().to_owned(), about)
    };
    status.trusted.iter().map(told).collect()
}
