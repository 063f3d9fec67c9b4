//! The client over sockets: routes, balancing, retries, timeouts, limits.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use http::Request;
use mesh_tests::world::{get, send};
use mesh_tests::{Backend, World};

#[tokio::test]
async fn requests_are_spread_over_endpoints_and_answered() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = World::new();
    world.write(
        "orders.yaml",
        &mesh_tests::seeds::service("default", "orders", &[(&a, "v1"), (&b, "v2")]),
    );
    let (_mesh, client) = world.client("default", "web").await;

    for _ in 0..50 {
        let answer = get(&client, "http://orders/x").await.unwrap();
        assert_eq!(answer.status, 200);
    }

    assert_eq!(a.hits() + b.hits(), 50);
    assert!(a.hits() > 0 && b.hits() > 0);
    assert!(a.connections() <= 2 && b.connections() <= 2);
}

#[tokio::test]
async fn names_in_every_form_reach_the_service() {
    let a = Backend::start("a").await;
    let world = World::new();
    world.write(
        "orders.yaml",
        &mesh_tests::seeds::service("shop", "orders", &[(&a, "v1")]),
    );
    let (_mesh, client) = world.client("shop", "web").await;

    for host in [
        "orders",
        "ORDERS",
        "orders.shop",
        "orders.shop.svc",
        "orders.shop.svc.cluster.local",
        "orders.shop.svc.cluster.local.",
    ] {
        let answer = get(&client, &format!("http://{host}/x")).await;
        assert_eq!(answer.unwrap().text, "a", "{host}");
    }
    let by_header = send(&client, Request::get("/x").header("host", "orders")).await;
    assert_eq!(by_header.unwrap().text, "a");
}
