//! What Linkerd's kinds say of requests, over sockets: profiles of services, servers and who is authorized for them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use http::Request;
use mesh_core::outcome::Outcome;
use mesh_core::workload::Workload;
use mesh_tests::seeds::{secured, service};
use mesh_tests::world::{get, send};
use mesh_tests::{Backend, World};
use mesh_tower::Mesh;
use mesh_tower::client::Client;
use tokio::net::TcpListener;

/// The profile of `orders` in the namespace `default`.
fn profile(spec: &str) -> String {
    format!(
        "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {{ name: orders.default.svc.cluster.local }}\nspec: {{ {spec} }}\n"
    )
}

/// A client under this policy; the mesh ends with what is returned beside it.
async fn client(policy: &str) -> (Client, (Mesh, World)) {
    let world = World::new();
    world.write("policy.yaml", policy);
    let mesh = world.mesh(&Workload::new("default", "web")).await;
    (mesh.client(), (mesh, world))
}

/// A client of `orders` with this profile.
async fn caller(backend: &Backend, spec: &str) -> (Client, (Mesh, World)) {
    client(&[service("default", "orders", &[(backend, "v1")]), profile(spec)].concat()).await
}

#[tokio::test]
async fn only_classes_that_are_retryable_are_tried_again_whatever_the_method() {
    let spec = "routes: [{ name: orders, isRetryable: true, condition: { pathRegex: '/orders.*' } }, { name: other, condition: { pathRegex: '/.*' } }]";
    for (path, tries) in [("/orders/1", 3), ("/other", 1)] {
        let a = Backend::start("a").await;
        a.fail(2);
        let (client, _guard) = caller(&a, spec).await;
        let request = Request::post(format!("http://orders{path}"));

        let status = send(&client, request).await.unwrap().status;

        assert_eq!(status == 200, tries == 3, "{path}: {status}");
        assert_eq!(a.hits(), tries, "{path}");
    }
}

#[tokio::test]
async fn a_response_class_says_what_a_failure_is() {
    let spec = |failure: bool, min: u16| {
        format!(
            "routes: [{{ name: all, isRetryable: true, condition: {{ pathRegex: '/.*' }}, \
             responseClasses: [{{ condition: {{ status: {{ min: {min}, max: {min} }} }}, isFailure: {failure} }}] }}], \
             retryBudget: {{ retryRatio: 0, minRetriesPerSecond: 2, ttl: 1s }}"
        )
    };
    for (status, text, hits) in [
        (404, spec(true, 404), 3),
        (404, spec(true, 410), 1),
        (503, spec(false, 503), 1),
        (503, spec(false, 500), 3),
    ] {
        let a = Backend::start("a").await;
        a.answer_with(status);
        let (client, _guard) = caller(&a, &text).await;

        assert_eq!(get(&client, "http://orders/").await.unwrap().status, status);

        // The budget ends it: two retries and no more.
        assert_eq!(a.hits(), hits, "{status}: {text}");
    }
}

#[tokio::test]
async fn a_budget_is_shared_by_all_requests_of_a_service() {
    let a = Backend::start("a").await;
    a.answer_with(503);
    let spec = "routes: [{ name: all, isRetryable: true, condition: { pathRegex: '/.*' } }], retryBudget: { retryRatio: 0, minRetriesPerSecond: 3, ttl: 1s }";
    let (client, _guard) = caller(&a, spec).await;
    for _ in 0..10 {
        get(&client, "http://orders/").await.unwrap();
    }
    // Ten first tries, and the retries of the first second.
    assert!((13..=16).contains(&a.hits()), "{}", a.hits());
}

#[tokio::test]
async fn a_class_has_a_timeout_for_all_of_its_tries() {
    let a = Backend::start("a").await;
    a.delay(std::time::Duration::from_secs(60));
    let spec = "routes: [{ name: slow, timeout: 50ms, condition: { pathRegex: '/slow' } }]";
    let (client, _guard) = caller(&a, spec).await;

    let error = get(&client, "http://orders/slow").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::RequestTimeout);
}

#[tokio::test]
async fn overrides_spread_the_requests_of_a_service_over_others() {
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let policy = [
        service("default", "orders", &[(&old, "v1")]),
        "---\n".into(),
        service("default", "orders-new", &[(&new, "v2")]),
        profile(
            "dstOverrides: [{ authority: orders.default.svc.cluster.local, weight: 900m }, { authority: orders-new.default.svc.cluster.local, weight: 100m }]",
        ),
    ];
    let (client, _guard) = client(&policy.concat()).await;
    for _ in 0..200 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    }
    assert_eq!(old.hits() + new.hits(), 200);
    assert!((5..=45).contains(&new.hits()), "{}", new.hits());
}

/// A server on the port of orders, on which `web` may read what a route takes.
const SERVER: &str = "
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: orders, namespace: shop }
spec: { podSelector: { matchLabels: { app: orders } }, port: PORT }
---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: { name: reads, namespace: shop }
spec:
  parentRefs: [{ group: policy.linkerd.io, kind: Server, name: orders }]
  rules: [{ matches: [{ method: GET, path: { type: PathPrefix, value: /orders } }] }]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: { name: web, namespace: shop }
spec: { identityRefs: [{ kind: ServiceAccount, name: web }] }
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: { name: reads, namespace: shop }
spec:
  targetRef: { group: policy.linkerd.io, kind: HTTPRoute, name: reads }
  requiredAuthenticationRefs: [{ group: policy.linkerd.io, kind: MeshTLSAuthentication, name: web }]
";

#[tokio::test]
async fn a_server_lets_in_whom_a_route_authorizes_and_answers_404_to_what_no_route_takes() {
    let (world, backend) = (World::new(), Backend::start("orders").await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    world.write("server.yaml", &SERVER.replace("PORT", &address.port().to_string()));
    let mesh = world
        .mesh(&Workload::new("shop", "orders").label("app", "orders"))
        .await;
    let (serving, app) = (mesh.clone(), backend.router());
    tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
    let (web, allowed) = world.client("shop", "web").await;
    let (guest, other) = world.client("shop", "guest").await;

    let status = async |client: &Client, method: &str, path: &str| {
        let request = Request::builder().method(method).uri(format!("http://orders{path}"));
        send(client, request).await.unwrap().status
    };
    assert_eq!(status(&allowed, "GET", "/orders/1").await, 200);
    assert_eq!(status(&other, "GET", "/orders/1").await, 403);
    assert_eq!(status(&allowed, "POST", "/orders/1").await, 404);
    assert_eq!(status(&allowed, "GET", "/admin").await, 404);
    assert_eq!(backend.hits(), 1);
    drop((web, guest));
}
