//! From changed files to the policy in force, or to a report and the last good policy.

use std::sync::{Arc, PoisonError, Weak};
use std::time::SystemTime;

use mesh_core::policy::Loaded;
use mesh_core::snapshot::Snapshot;
use mesh_core::workload::Workload;

use super::status::{PolicyStatus, Rejected, unix_seconds};
use super::{PolicyError, Shared};
use crate::reload::watch::{FileSet, PolicyFiles, ReadError, Watcher};
use crate::telemetry::metrics::ReloadResult;

/// A policy that can be put in force.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) snapshot: Arc<Snapshot>,
    files: Vec<String>,
    warnings: Vec<String>,
}

impl Compiled {
    pub(super) fn status(&self, since: SystemTime) -> PolicyStatus {
        PolicyStatus {
            generation: self.snapshot.generation,
            since: unix_seconds(since),
            files: self.files.clone(),
            rejected: None,
            warnings: self.warnings.clone(),
        }
    }
}

/// Reads off the runtime's threads.
pub(super) async fn read(files: PolicyFiles) -> Result<FileSet, ReadError> {
    off_thread(move || files.read()).await
}

/// Parses, checks and compiles off the runtime's threads.
pub(super) async fn compile(set: FileSet, workload: Workload, generation: u64) -> Result<Compiled, PolicyError> {
    off_thread(move || compile_now(set, &workload, generation)).await
}

fn compile_now(set: FileSet, workload: &Workload, generation: u64) -> Result<Compiled, PolicyError> {
    let names = set.files.iter().map(|file| file.name.clone()).collect();
    let loaded = Loaded::from_files(set.files.iter().map(|file| (file.name.as_str(), &file.bytes))).in_force();
    let Some(policy) = &loaded.policy else {
        return Err(PolicyError::Invalid(Box::new(loaded)));
    };
    let snapshot = Snapshot::compile(policy, workload, generation).map_err(PolicyError::Compile)?;
    let mut warnings = set.warnings;
    warnings.extend(loaded.report.lines(&loaded.sources));
    Ok(Compiled {
        snapshot: Arc::new(snapshot),
        files: names,
        warnings,
    })
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // Reading and compiling do not panic by design; where they do, the panic is the caller's to see.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Puts each change of the files in force, or says why not. Ends with the mesh.
pub(super) async fn follow(shared: Weak<Shared>, mut watcher: Watcher, workload: Workload) {
    loop {
        let change = watcher.next_change().await;
        let Some(shared) = shared.upgrade() else { return };
        let set = match change {
            Ok(set) => set,
            Err(error) => {
                shared.reject(vec![error.to_string()]);
                continue;
            }
        };
        let next = shared.live.load().snapshot.generation + 1;
        match compile(set, workload.clone(), next).await {
            Ok(compiled) => {
                shared.tokens.apply(&shared, &compiled.snapshot);
                shared.put_in_force(&compiled);
            }
            Err(error) => shared.reject(error.lines()),
        }
    }
}

impl Shared {
    fn put_in_force(&self, compiled: &Compiled) {
        let snapshot = &compiled.snapshot;
        let live = self.clusters.apply(Arc::clone(snapshot));
        self.live.store(Arc::new(live));
        if let Err(error) = self.access_log.apply(snapshot.mesh.access_log.as_ref()) {
            tracing::warn!(%error, "the access log of the new policy cannot be opened: the last one stays");
        }
        let now = self.clock.wall();
        self.set_status(compiled.status(now));
        self.metrics.policy().reloaded(ReloadResult::Ok);
        self.metrics.policy().in_force(snapshot.generation, now);
        self.generation.send_replace(snapshot.generation);
        tracing::info!(generation = snapshot.generation, files = ?compiled.files, "policy in force");
        for warning in &compiled.warnings {
            tracing::warn!(generation = snapshot.generation, "{warning}");
        }
    }

    fn reject(&self, reasons: Vec<String>) {
        let generation = self.live.load().snapshot.generation;
        for reason in &reasons {
            tracing::error!(
                generation,
                "policy not accepted, the last good one stays in force: {reason}"
            );
        }
        self.metrics.policy().reloaded(ReloadResult::Rejected);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.rejected = Some(Rejected::new(self.clock.wall(), reasons));
    }

    fn set_status(&self, next: PolicyStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}
