//! From changed files to the policy in force, or to a report and the last good policy.

use std::any::Any;
use std::mem;
use std::panic::resume_unwind;
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
    pub(super) async fn compile(self, set: FileSet, generation: u64) -> (Self, Result<Compiled, PolicyError>) {
        off_thread(move || self.compiled(set, generation)).await
    }

    fn compiled(mut self, set: FileSet, generation: u64) -> (Self, Result<Compiled, PolicyError>) {
        let compiled = self.compile_now(set, generation);
        (self, compiled)
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

/// What a panic says.
type Panic = Box<dyn Any + Send>;

/// Reading, and compiling a first policy, do not panic by design; where they do, the panic is the caller's to see.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    attempt(work).await.unwrap_or_else(|panic| resume_unwind(panic))
}

async fn attempt<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panic> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Err(panic),
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
        let renewed = match change {
            Ok(set) => renew(&shared, &mut policies, set).await,
            Err(error) => Err(vec![error.to_string()]),
        };
        match renewed {
            Ok(before) => drop(tokio::spawn(retire(Arc::downgrade(&shared), before))),
            Err(reasons) => shared.reject(reasons),
        }
    }
}

/// Gives the policy that was in force before, or why it stays. A panic is such a reason: it must not be the end of all changes.
async fn renew(shared: &Arc<Shared>, policies: &mut Policies, set: FileSet) -> Result<Arc<Live>, Vec<String>> {
    let next = shared.live.load().snapshot.generation + 1;
    // What a panic leaves of what is known is not to be relied on.
    let fresh = Policies::new(policies.workload.clone());
    let known = mem::replace(policies, fresh);
    let (known, compiled) = attempt(move || known.compiled(set, next))
        .await
        .map_err(|panic| panicked(&*panic))?;
    *policies = known;
    let compiled = compiled.map_err(|error| error.lines())?;
    let mesh = Arc::clone(shared);
    let in_force = attempt(move || {
        mesh.tokens.apply(&mesh, &compiled.snapshot);
        mesh.put_in_force(&compiled)
    });
    in_force.await.map_err(|panic| panicked(&*panic))
}

fn panicked(panic: &(dyn Any + Send)) -> Vec<String> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let said = text.unwrap_or("without a message");
    vec![format!(
        "compiling it or putting it in force panicked, which is a bug: {said}"
    )]
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

#[cfg(test)]
mod tests {
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;
    use crate::mesh::Mesh;
    use crate::telemetry::metrics::MetricsOptions;

    /// A recorder of the application's that does not bear the name of one service.
    struct Touchy;

    impl Recorder for Touchy {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let is_named = key.labels().any(|label| label.value().contains("unbearable"));
            assert!(!is_named, "no counter for it");
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    fn files(service: &str) -> FileSet {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("services: {{ {service}: {{ port: 80, endpoints: [192.0.2.1] }} }}\n");
        std::fs::write(folder.path().join("mesh.yaml"), text).unwrap();
        PolicyFiles::new([folder.path()]).read().unwrap()
    }

    #[tokio::test]
    async fn a_panic_rejects_a_policy_and_the_next_one_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mesh.yaml"), "mesh: {}\n").unwrap();
        let metrics = MetricsOptions {
            recorder: Some(Arc::new(Touchy)),
            ..MetricsOptions::default()
        };
        let building = Mesh::builder().policy(folder.path()).metrics(metrics).without_admin();
        let mesh = building.build().await.unwrap();
        let mut policies = Policies::new(Workload::default());

        let reasons = renew(mesh.shared(), &mut policies, files("unbearable"))
            .await
            .unwrap_err();

        assert!(
            matches!(&*reasons, [reason] if reason.ends_with("is a bug: no counter for it")),
            "{reasons:?}"
        );
        assert_eq!(mesh.shared().live.load().snapshot.generation, 1);
        renew(mesh.shared(), &mut policies, files("orders")).await.unwrap();
        assert_eq!(mesh.shared().live.load().snapshot.generation, 2);
    }
}
