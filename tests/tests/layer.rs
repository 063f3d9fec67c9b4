//! The layer alone, for requests that nobody introduces.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use axum::Router;
use axum::routing::get;
use http::{Request, Response};
use mesh_core::workload::Workload;
use mesh_tests::World;
use mesh_tests::world::generation;
use mesh_tower::server::MeshService;
use mesh_tower::{Body, Mesh};
use tower::{Layer, Service, ServiceExt};

/// The layer around a service of one page, under a mode of mTLS.
async fn layered(world: &World, mode: &str) -> (Mesh, MeshService<Router>) {
    world.write("mesh.yaml", &format!("mesh: {{ mtls: {mode} }}\n"));
    let mesh = world.mesh(&Workload::default()).await;
    let service = mesh
        .layer()
        .layer(Router::new().route("/page", get(|| async { "reached" })));
    (mesh, service)
}

fn request() -> Request<Body> {
    Request::get("http://orders/page").body(Body::empty()).unwrap()
}

async fn asked(service: &MeshService<Router>) -> Response<Body> {
    service.clone().oneshot(request()).await.unwrap()
}

/// From now on nobody may see the page.
async fn deny(world: &World, mesh: &Mesh) {
    let before = mesh.policy_status().generation;
    world.write(
        "rules.yaml",
        "authorization: [{ name: nobody, deny: [{ paths: [/page] }] }]\n",
    );
    generation(mesh, before + 1).await;
}

#[tokio::test]
async fn a_layer_without_a_peer_fails_closed_under_strict() {
    let world = World::new();
    let (_mesh, service) = layered(&world, "strict").await;

    assert_eq!(asked(&service).await.status(), 401);
}

/// One connection stands for all requests that a layer gets from nobody knows where.
#[tokio::test]
async fn a_layer_alone_follows_the_policy_and_counts_no_connection() {
    let world = World::new();
    let (mesh, service) = layered(&world, "permissive").await;

    assert_eq!(asked(&service).await.status(), 200);
    let metrics = mesh.metrics().render();
    assert!(metrics.contains("istio_requests_total{"), "{metrics}");
    let is_open = |line: &str| line.starts_with("mesh_connections{") && !line.ends_with(" 0");
    assert!(!metrics.lines().any(is_open), "{metrics}");

    deny(&world, &mesh).await;
    assert_eq!(asked(&service).await.status(), 403);
}

/// Whoever makes a future and polls it later gets what holds then.
#[tokio::test]
async fn a_layer_judges_a_request_when_it_is_polled() {
    let world = World::new();
    let (mesh, mut service) = layered(&world, "permissive").await;
    let ready = ServiceExt::<Request<Body>>::ready(&mut service).await.unwrap();
    let served = ready.call(request());

    deny(&world, &mesh).await;

    assert_eq!(served.await.unwrap().status(), 403);
}
