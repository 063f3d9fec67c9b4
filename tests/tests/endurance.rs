//! A load of 64 connections through the whole stack leaves nothing behind.
//!
//! `MESH_ENDURANCE_SECONDS` sets how long it runs; 30 in CI.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mesh_core::workload::Workload;
use mesh_tests::seeds::secured;
use mesh_tests::world::get;
use mesh_tests::{Backend, World};
use mesh_tower::client::Client;
use tokio::net::TcpListener;

const CONNECTIONS: usize = 64;
/// What the allocator may keep of short-lived memory, in KiB: far below one leaked KiB a request.
const SLACK: u64 = 8 * 1024;

/// What the process has at a moment.
#[derive(Debug)]
struct Usage {
    resident: u64,
    /// How many are open of each kind.
    files: BTreeMap<String, usize>,
    tasks: usize,
}

impl Usage {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        Self {
            resident: line.split_whitespace().nth(1).unwrap().parse().unwrap(),
            files: open_files(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        }
    }

    fn has_grown_from(&self, before: &Self) -> bool {
        let more = |(kind, open): (&String, &usize)| *open > before.files.get(kind).copied().unwrap_or_default();
        self.resident > before.resident + SLACK || self.tasks > before.tasks || self.files.iter().any(more)
    }
}

fn open_files() -> BTreeMap<String, usize> {
    let mut files = BTreeMap::new();
    // One that was closed meanwhile has no target any more.
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    for target in open.filter_map(|entry| entry.unwrap().path().read_link().ok()) {
        *files.entry(kind_of(&target)).or_default() += 1;
    }
    files
}

/// `socket:[4711]` is a `socket:`, and a file is of its own kind.
fn kind_of(target: &Path) -> String {
    let target = target.to_string_lossy();
    let is_number = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    match target.split_once('[') {
        Some((kind, rest)) if is_number(rest) => kind.to_owned(),
        _ => target.into_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_connections_leave_no_growth() {
    let seconds = std::env::var("MESH_ENDURANCE_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(30);
    let world = World::new();
    let backend = Backend::start("orders").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = secured("shop", "orders", "orders", listener.local_addr().unwrap());
    // HTTP/1.1, so that 64 requests at a time are 64 connections.
    world.write("orders.yaml", &format!("{text}    limits: {{ http: h1 }}\n"));
    world.write("mesh.yaml", "mesh: { mtls: strict }\n");
    let mesh = world.mesh(&Workload::new("shop", "orders")).await;
    let app = backend.router();
    tokio::spawn(async move { mesh.serve(listener, app).await.unwrap() });
    let (_web, client) = world.client("shop", "web").await;

    load(&client, Duration::from_secs(seconds.min(5))).await;
    let before = Usage::now();
    let requests = load(&client, Duration::from_secs(seconds)).await;
    assert!(requests > 1_000);
    println!("{requests} requests");
    let after = settled(&before).await;
    assert!(!after.has_grown_from(&before), "{before:?} {after:?}");
}

/// What there is once nothing has grown, or after ten seconds.
///
/// The polls of the policies have files open for a moment every 20 ms: only what stays is growth.
async fn settled(before: &Usage) -> Usage {
    let mut after = Usage::now();
    for _ in 0..1_000 {
        if !after.has_grown_from(before) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        after = Usage::now();
    }
    after
}

async fn load(client: &Client, time: Duration) -> u64 {
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (client, stop, sent) = (client.clone(), Arc::clone(&stop), Arc::clone(&sent));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    sent.load(Ordering::Relaxed)
}
