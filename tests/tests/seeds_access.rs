//! Every seed policy about identity and access, unmodified, and whom it lets in over sockets.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;

use http::Request;
use mesh_core::workload::Workload;
use mesh_tests::seed;
use mesh_tests::seeds::secured;
use mesh_tests::world::{get, plain_text, send};
use mesh_tests::{Backend, World};
use mesh_tower::Mesh;
use mesh_tower::client::Client;
use tokio::net::TcpListener;

/// A server behind the mesh of a workload, and a file that tells callers where it is.
async fn guarded(world: &World, workload: &Workload, name: &str) -> (SocketAddr, Backend, Mesh) {
    let backend = Backend::start(name).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write(
        "endpoints.yaml",
        &secured(&workload.namespace, name, &workload.service_account, address),
    );
    let mesh = world.mesh(workload).await;
    let (serving, app) = (mesh.clone(), backend.router());
    tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
    (address, backend, mesh)
}

async fn status(client: &Client, method: &str, uri: &str) -> u16 {
    let answer = send(client, Request::builder().method(method).uri(uri)).await.unwrap();
    if answer.status == 403 {
        assert_eq!(answer.text, "RBAC: access denied");
    }
    answer.status
}

#[tokio::test]
async fn seed_03_lets_two_services_charge_and_refund_and_nobody_else() {
    let world = World::new();
    world.write("seed.yaml", &seed!("03"));
    let workload = Workload::new("production", "payment-service").label("app", "payment-service");
    let (address, backend, _mesh) = guarded(&world, &workload, "payment-service").await;

    let uri = |path: &str| format!("http://payment-service{path}");
    for account in ["order-service", "billing-service"] {
        let (_mesh, client) = world.client("production", account).await;
        assert_eq!(status(&client, "POST", &uri("/api/v1/charge")).await, 200, "{account}");
        assert_eq!(status(&client, "POST", &uri("/api/v1/refund")).await, 200, "{account}");
        assert_eq!(status(&client, "GET", &uri("/api/v1/charge")).await, 403, "{account}");
        assert_eq!(status(&client, "POST", &uri("/api/v1/void")).await, 403, "{account}");
        assert_eq!(
            status(&client, "POST", &uri("/x/../api/v1/charge")).await,
            200,
            "{account}"
        );
        assert_eq!(
            status(&client, "POST", &uri("/api/v1/charge/../void")).await,
            403,
            "{account}"
        );
    }
    let (_other, client) = world.client("production", "web").await;
    assert_eq!(status(&client, "POST", &uri("/api/v1/charge")).await, 403);
    assert_eq!(plain_text(address, "/api/v1/charge").await, "");
    assert_eq!(backend.hits(), 6);
}

#[tokio::test]
async fn seed_04_takes_mtls_only_in_its_namespace() {
    let world = World::new();
    world.write("seed.yaml", &seed!("04"));
    let (address, backend, _mesh) = guarded(&world, &Workload::new("production", "api"), "api").await;
    let (_caller, client) = world.client("production", "web").await;

    assert_eq!(get(&client, "http://api/").await.unwrap().status, 200);
    assert_eq!(plain_text(address, "/").await, "");
    assert_eq!(backend.hits(), 1);

    let elsewhere = world.mesh(&Workload::new("staging", "api")).await;
    let address = world.serve(&elsewhere, backend.router()).await;
    assert!(plain_text(address, "/").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn seed_07_lets_one_service_read() {
    let world = World::new();
    world.write("seed.yaml", &seed!("07"));
    let workload = Workload::new("production", "database").label("app", "database");
    let (address, _backend, _mesh) = guarded(&world, &workload, "database").await;
    let (_reader, reader) = world.client("production", "read-api").await;
    let (_writer, writer) = world.client("production", "write-api").await;

    assert_eq!(status(&reader, "GET", "http://database/rows").await, 200);
    assert_eq!(status(&reader, "POST", "http://database/rows").await, 403);
    assert_eq!(status(&writer, "GET", "http://database/rows").await, 403);
    // Permissive by default: plain text comes in, and has no principal that the rule names.
    assert!(plain_text(address, "/rows").await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn seed_08_keeps_tenants_apart() {
    let world = World::new();
    world.write("seed.yaml", &seed!("08"));
    let (_address, _backend, _mesh) = guarded(&world, &Workload::new("default", "api"), "api").await;

    for (own, other) in [("tenant-a", "tenant-b"), ("tenant-b", "tenant-a")] {
        let (_mesh, client) = world.client(own, "app").await;
        let uri = |tenant: &str| format!("http://api.default/api/{tenant}/items");
        assert_eq!(status(&client, "GET", &uri(own)).await, 200, "{own}");
        assert_eq!(status(&client, "GET", &uri(other)).await, 403, "{own}");
        assert_eq!(
            status(
                &client,
                "GET",
                &format!("http://api.default/api/{own}/%2e%2e/{other}/items")
            )
            .await,
            403
        );
    }
    let (_mesh, client) = world.client("tenant-c", "app").await;
    assert_eq!(
        status(&client, "GET", "http://api.default/api/tenant-a/items").await,
        403
    );
}

#[tokio::test]
async fn seed_10_lets_the_frontend_alone_call_the_api() {
    let world = World::new();
    world.write("seed.yaml", &seed!("10"));
    let workload = Workload::new("default", "api").label("app", "api");
    let (address, _backend, _mesh) = guarded(&world, &workload, "api").await;
    let (_frontend, frontend) = world.client("default", "frontend").await;
    let (_other, other) = world.client("default", "other").await;

    assert_eq!(status(&frontend, "DELETE", "http://api/anything").await, 200);
    assert_eq!(status(&other, "GET", "http://api/anything").await, 403);
    assert_eq!(plain_text(address, "/").await, "");
}

#[tokio::test]
async fn seed_11_takes_both_on_one_port() {
    let world = World::new();
    world.write("seed.yaml", &seed!("11"));
    let (address, backend, mesh) = guarded(&world, &Workload::new("staging", "api"), "api").await;
    let (_caller, client) = world.client("staging", "web").await;

    assert_eq!(get(&client, "http://api/").await.unwrap().status, 200);
    assert!(plain_text(address, "/").await.starts_with("HTTP/1.1 200"));

    assert_eq!(backend.hits(), 2);
    let metrics = mesh.metrics().render();
    for (policy, principal) in [
        ("mutual_tls", "spiffe://cluster.local/ns/staging/sa/web"),
        ("none", "unknown"),
    ] {
        let found = metrics.lines().any(|line| {
            line.starts_with("istio_requests_total{")
                && line.contains(&format!("connection_security_policy=\"{policy}\""))
                && line.contains(&format!("source_principal=\"{principal}\""))
                && line.ends_with(" 1")
        });
        assert!(found, "{policy} {principal}\n{metrics}");
    }
}

#[tokio::test]
async fn seed_14_separates_frontend_and_worker() {
    let world = World::new();
    world.write("seed.yaml", &seed!("14"));
    let workload = Workload::new("default", "api-service").label("app", "api-service");
    let (address, _backend, _mesh) = guarded(&world, &workload, "api-service").await;
    let (_frontend, frontend) = world.client("default", "frontend").await;
    let (_worker, worker) = world.client("default", "worker").await;

    let uri = |path: &str| format!("http://api-service{path}");
    assert_eq!(status(&frontend, "GET", &uri("/api/users")).await, 200);
    assert_eq!(status(&frontend, "POST", &uri("/api/internal/jobs")).await, 200);
    assert_eq!(status(&frontend, "DELETE", &uri("/api/users")).await, 403);
    assert_eq!(status(&frontend, "GET", &uri("/admin")).await, 403);
    assert_eq!(status(&worker, "POST", &uri("/api/internal/jobs")).await, 200);
    assert_eq!(status(&worker, "GET", &uri("/api/internal/jobs")).await, 403);
    assert_eq!(status(&worker, "POST", &uri("/api/users")).await, 403);
    assert_eq!(plain_text(address, "/api/users").await, "");
}

#[tokio::test]
async fn seed_18_lets_the_api_service_read_and_write_orders() {
    let world = World::new();
    world.write("seed.yaml", &seed!("18"));
    let workload = Workload::new("production", "orders").label("app", "orders-api");
    let (address, _backend, _mesh) = guarded(&world, &workload, "orders-api").await;
    let (_api, api) = world.client("production", "api-service").await;
    let (_web, web) = world.client("production", "web").await;

    assert_eq!(status(&api, "GET", "http://orders-api/api/orders").await, 200);
    assert_eq!(status(&api, "POST", "http://orders-api/api/orders/7").await, 200);
    assert_eq!(status(&api, "DELETE", "http://orders-api/api/orders/7").await, 403);
    assert_eq!(status(&api, "GET", "http://orders-api/api/users").await, 403);
    assert_eq!(status(&web, "GET", "http://orders-api/api/orders").await, 403);
    assert_eq!(plain_text(address, "/api/orders").await, "");
}
