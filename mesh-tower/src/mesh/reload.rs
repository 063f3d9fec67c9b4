//! From changed files to the policy in force, or to a report and the last good policy.

use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use mesh_core::policy::Loader;
use mesh_core::snapshot::{Compiler, Snapshot};
use mesh_core::workers::{Alone, Workers};
use mesh_core::workload::Workload;

use super::status::{PolicyStatus, Rejected, unix_seconds};
use super::{Live, PolicyError, Shared};
use crate::reload::Processors;
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

/// What is known of the policy, so that the next one costs what has changed.
#[derive(Debug)]
pub(super) struct Policies {
    loader: Loader,
    compiler: Compiler,
    workload: Workload,
}

impl Policies {
    pub(super) fn new(workload: Workload) -> Self {
        Self {
            loader: Loader::default(),
            compiler: Compiler::default(),
            workload,
        }
    }

    /// Parses, checks and compiles off the runtime's threads.
    pub(super) async fn compile(mut self, set: FileSet, generation: u64) -> (Self, Result<Compiled, PolicyError>) {
        off_thread(move || {
            let compiled = self.compile_now(set, generation);
            (self, compiled)
        })
        .await
    }

    fn compile_now(&mut self, set: FileSet, generation: u64) -> Result<Compiled, PolicyError> {
        let names = set.files.iter().map(|file| file.name.clone()).collect();
        let files = set.files.iter().map(|file| (file.name.as_str(), &file.bytes));
        // Before the first policy there are no requests to take processors from.
        let workers: &dyn Workers = if generation == 1 { &Processors } else { &Alone };
        let mut loaded = self.loader.load_with(files, workers).in_force();
        let Some(policy) = loaded.policy.take() else {
            return Err(PolicyError::Invalid(Box::new(loaded)));
        };
        let compiled = self.compiler.compile_with(policy, &self.workload, generation, workers);
        let snapshot = compiled.map_err(PolicyError::Compile)?;
        let mut warnings = set.warnings;
        warnings.extend(loaded.report.lines(&loaded.sources));
        Ok(Compiled {
            snapshot: Arc::new(snapshot),
            files: names,
            warnings,
        })
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // Reading and compiling do not panic by design; where they do, the panic is the caller's to see.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Puts each change of the files in force, or says why not. Ends with the mesh.
pub(super) async fn follow(shared: Weak<Shared>, mut watcher: Watcher, mut policies: Policies) {
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
        let (known, compiled) = policies.compile(set, next).await;
        policies = known;
        match compiled {
            Ok(compiled) => {
                shared.tokens.apply(&shared, &compiled.snapshot);
                let mesh = Arc::downgrade(&shared);
                let before = off_thread(move || shared.put_in_force(&compiled)).await;
                tokio::spawn(retire(mesh, before));
            }
            Err(error) => shared.reject(error.lines()),
        }
    }
}

/// How long requests that began with an old policy are waited for, at first and at most, before it is looked at again.
const RETIREMENT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Frees an old policy off the runtime's threads, once the requests that began with it are done.
async fn retire(mesh: Weak<Shared>, before: Arc<Live>) {
    let (mut pause, longest) = RETIREMENT;
    while Arc::strong_count(&before) > 1 {
        tokio::time::sleep(pause).await;
        pause = longest.min(pause * 2);
    }
    if let Some(shared) = mesh.upgrade() {
        shared.tokens.retire(before.snapshot.generation);
        shared.credentials.retire(|| Arc::clone(&shared.live.load().snapshot));
    }
    off_thread(move || drop(before)).await;
}

impl Shared {
    /// Gives the policy that was in force before.
    fn put_in_force(&self, compiled: &Compiled) -> Arc<Live> {
        let snapshot = &compiled.snapshot;
        let live = self.clusters.apply(Arc::clone(snapshot));
        let before = self.live.swap(Arc::new(live));
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
        before
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
