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
#[derive(Clone, Copy, Debug)]
struct Usage {
    resident: u64,
    files: usize,
    tasks: usize,
}

impl Usage {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        Self {
            resident: line.split_whitespace().nth(1).unwrap().parse().unwrap(),
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        }
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
    tokio::time::sleep(Duration::from_millis(200)).await;
    let after = Usage::now();

    println!("{requests} requests; before {before:?}, after {after:?}");
    assert!(requests > 1_000);
    assert!(after.resident <= before.resident + SLACK, "{before:?} {after:?}");
    assert!(after.files <= before.files, "{before:?} {after:?}");
    assert!(after.tasks <= before.tasks, "{before:?} {after:?}");
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
