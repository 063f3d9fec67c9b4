//! What a mesh keeps of services, counted by an allocator.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::alloc::System;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use mesh_tower::Mesh;
use mesh_tower::telemetry::metrics::{
    Destination, Metrics, MetricsOptions, Party, Protocol, Reporter, RequestRecord, SeriesGroup,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for all threads.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const ENDPOINTS: usize = 10;

/// Bytes of a service of ten endpoints: policy, snapshot and state.
const SERVICE: usize = 9 * 1024;

/// Bytes of a caller and a destination with the series of one kind of answers.
const SERIES: usize = 1024;

#[test]
fn a_service_that_nobody_calls_keeps_at_most_9_kibibytes() {
    let _alone = ONE_AT_A_TIME.lock();
    let (few, many) = (kept_for(100), kept_for(300));
    let a_service = (many - few) / 200;
    // An address and what balances it take this much alone.
    assert!(a_service > ENDPOINTS * 100, "{a_service} bytes");
    assert!(a_service <= SERVICE, "{a_service} bytes");
}

#[test]
fn series_keep_at_most_a_kibibyte_and_no_samples() {
    const SERVICES: usize = 1_000;
    let _alone = ONE_AT_A_TIME.lock();
    let metrics = Metrics::new(MetricsOptions::default());
    let region = Region::new(ALLOCATOR);

    let groups: Vec<SeriesGroup> = (0..SERVICES).map(|number| group(&metrics, number)).collect();
    let record = RequestRecord::new(Protocol::Http, 200, Duration::from_millis(3));
    groups.iter().for_each(|group| group.record(&record));
    let once = kept(&region) / SERVICES;
    for group in &groups {
        (0..100).for_each(|_| group.record(&record));
    }
    let often = kept(&region) / SERVICES;
    metrics.run_upkeep();
    let folded = kept(&region) / SERVICES;

    assert!(once > 100 && once <= SERIES, "{once} bytes");
    // A hundred samples would be more than a kibibyte; what else the process does meanwhile is no byte of a series.
    assert!(
        often <= once + 16 && folded <= once + 16,
        "{once}, {often}, {folded} bytes"
    );
}

fn group(metrics: &Metrics, number: usize) -> SeriesGroup {
    let to = Destination::of_host(&format!("s{number}.shop.svc.cluster.local"), "shop");
    metrics.group(Reporter::Source, &Party::unknown(), &Party::unknown(), &to)
}

/// Bytes that a mesh keeps that knows so many services.
fn kept_for(services: usize) -> usize {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.yaml"), policy(services)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let region = Region::new(ALLOCATOR);
        let builder = Mesh::builder().policy(directory.path()).without_admin();
        let mesh = builder.poll(Duration::from_secs(3600)).build().await.unwrap();
        let kept = kept(&region);
        drop(mesh);
        kept
    })
}

fn kept(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated - change.bytes_deallocated
}

fn policy(services: usize) -> String {
    let mut text = String::from("namespace: shop\nmesh: { mtls: disable }\nservices:\n");
    for service in 0..services {
        let address = |endpoint| format!("\"127.{}.{}.{endpoint}:8080\"", service / 256, service % 256);
        let all: Vec<String> = (1..=ENDPOINTS).map(address).collect();
        let _ = writeln!(text, "  s{service}: {{ endpoints: [{}] }}", all.join(", "));
    }
    text
}
