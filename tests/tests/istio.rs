//! What Istio's kinds say of traffic, over sockets.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use http::{Request, Version};
use mesh_core::outcome::Outcome;
use mesh_core::workload::Workload;
use mesh_tests::seeds::service;
use mesh_tests::world::get;
use mesh_tests::{Backend, World};
use mesh_tower::client::Client;
use mesh_tower::{Body, Mesh};
use tokio::net::TcpListener;

/// An object of Istio's networking group in the namespace `default`.
fn object(kind: &str, spec: &str) -> String {
    format!("---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{ name: test }}\nspec: {{ {spec} }}\n")
}

/// A client under this policy; the mesh ends with what is returned beside it.
async fn client(policy: &str) -> (Client, (Mesh, World)) {
    let world = World::new();
    world.write("policy.yaml", policy);
    let mesh = world.mesh(&Workload::new("default", "web").label("app", "web")).await;
    (mesh.client(), (mesh, world))
}

fn orders(backends: &[&Backend]) -> String {
    let endpoints: Vec<(&Backend, &str)> = backends.iter().map(|backend| (*backend, "v1")).collect();
    service("default", "orders", &endpoints)
}

fn retries(backends: &[&Backend], retries: &str) -> String {
    let rule = format!(
        "hosts: [orders], http: [{{ route: [{{ destination: {{ host: orders }} }}], retries: {{ {retries} }} }}]"
    );
    [orders(backends), object("VirtualService", &rule)].concat()
}

#[tokio::test]
async fn what_is_rate_limited_is_tried_again_only_where_the_policy_says_just_that() {
    for (on, tries) in [("envoy-ratelimited", 3), ("'429'", 1), ("5xx", 1)] {
        let a = Backend::start("a").await;
        a.answer_with(429);
        a.say("x-envoy-ratelimited", "true");
        let (client, _guard) = client(&retries(&[&a], &format!("attempts: 2, retryOn: {on}, backoff: 1ms"))).await;

        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 429);

        assert_eq!(a.hits(), tries, "{on}");
    }
}

/// Limits of gRPC servers answer 200, and say the rest in `grpc-status`.
#[tokio::test]
async fn a_call_that_is_rate_limited_is_not_tried_again() {
    for (header, tries) in [("x-envoy-ratelimited", 1), ("x-other", 3)] {
        let a = Backend::start("a").await;
        a.say("grpc-status", "14");
        a.say(header, "true");
        let (client, _guard) = client(&retries(&[&a], "attempts: 2, retryOn: unavailable, backoff: 1ms")).await;

        let call = Request::post("http://orders/shop.Orders/Get").version(Version::HTTP_2);
        let call = call
            .header("content-type", "application/grpc")
            .body(Body::empty())
            .unwrap();
        assert_eq!(client.send(call).await.unwrap().status(), 200);

        assert_eq!(a.hits(), tries, "{header}");
    }
}

#[tokio::test]
async fn a_further_try_may_be_allowed_to_go_where_the_first_one_failed() {
    let failures = async |previous: &str| {
        let (a, b) = (Backend::start("a").await, Backend::start("b").await);
        a.answer_with(500);
        let text = format!("attempts: 1, retryOn: 5xx, backoff: 1ms, retryIgnorePreviousHosts: {previous}");
        let random = object(
            "DestinationRule",
            "host: orders, trafficPolicy: { loadBalancer: { simple: RANDOM } }",
        );
        let (client, _guard) = client(&[retries(&[&a, &b], &text), random].concat()).await;
        let mut failures = 0;
        for _ in 0..60 {
            failures += usize::from(get(&client, "http://orders/").await.unwrap().status == 500);
        }
        failures
    };

    assert_eq!(failures("true").await, 0);
    // A quarter of them meet the same endpoint twice.
    assert!((3..=35).contains(&failures("false").await));
}

/// Hits of the first of two endpoints, after thirty requests.
async fn hits_of_first(status: u16, outliers: &str) -> usize {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    a.answer_with(status);
    let rule = format!(
        "host: orders, trafficPolicy: {{ loadBalancer: {{ simple: ROUND_ROBIN }}, outlierDetection: {{ maxEjectionPercent: 50, {outliers} }} }}"
    );
    let (client, _guard) = client(&[orders(&[&a, &b]), object("DestinationRule", &rule)].concat()).await;
    for _ in 0..30 {
        get(&client, "http://orders/").await.unwrap();
    }
    a.hits()
}

#[tokio::test]
async fn a_policy_may_list_the_statuses_that_eject() {
    let listed = "consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [418]";
    assert_eq!(hits_of_first(418, listed).await, 2);
    assert_eq!(hits_of_first(500, listed).await, 15, "others are successes");
    assert_eq!(hits_of_first(418, "consecutive5xxErrors: 2").await, 15);
}

#[tokio::test]
async fn failures_to_connect_eject_by_a_count_of_their_own() {
    let b = Backend::start("b").await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let services = format!(
        "services:\n  orders:\n    endpoints: [\"{closed}\", \"{}\"]\n",
        b.address
    );
    let rule = "host: orders, trafficPolicy: { loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: { maxEjectionPercent: 50, \
                consecutive5xxErrors: 0, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3 } }";
    let once = "hosts: [orders], http: [{ route: [{ destination: { host: orders } }], retries: { attempts: 0 } }]";
    let rules = [object("DestinationRule", rule), object("VirtualService", once)].concat();
    let (client, _guard) = client(&[services, rules].concat()).await;

    let mut failures = 0;
    for _ in 0..40 {
        failures += usize::from(get(&client, "http://orders/").await.is_err());
    }

    assert_eq!((failures, b.hits()), (3, 37));
}

#[tokio::test]
async fn a_sidecar_hides_what_it_leaves_out() {
    let a = Backend::start("a").await;
    let services = [
        orders(&[&a]),
        format!(
            "---\nnamespace: default\nservices: {{ cart: {{ endpoints: [\"{}\"] }} }}\n",
            a.address
        ),
    ];
    let sidecar = object(
        "Sidecar",
        "workloadSelector: { labels: { app: web } }, egress: [{ hosts: ['./orders.default.svc.cluster.local'] }], outboundTrafficPolicy: { mode: REGISTRY_ONLY }",
    );
    let (client, _guard) = client(&[services.concat(), sidecar].concat()).await;

    assert_eq!(get(&client, "http://orders/").await.unwrap().text, "a");
    let error = get(&client, "http://cart/").await.unwrap_err();
    assert_eq!((error.outcome(), error.status().as_u16()), (Outcome::UnknownHost, 502));
}

#[tokio::test]
async fn the_addresses_of_a_service_entry_stand_for_it() {
    let a = Backend::start("a").await;
    let port = a.address.port();
    let entry = format!(
        "hosts: [db.example], addresses: [198.51.100.7], resolution: STATIC, ports: [{{ number: 80, name: http, protocol: HTTP, targetPort: {port} }}], endpoints: [{{ address: 127.0.0.1 }}]"
    );
    let (client, _guard) = client(&object("ServiceEntry", &entry)).await;

    assert_eq!(get(&client, "http://db.example/").await.unwrap().text, "a");
    assert_eq!(get(&client, "http://198.51.100.7/").await.unwrap().text, "a");
}

#[tokio::test]
async fn a_delegates_rule_takes_its_share_of_the_root() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let services = [
        orders(&[&a]),
        format!(
            "---\nnamespace: default\nservices: {{ cart: {{ endpoints: [\"{}\"] }} }}\n",
            b.address
        ),
    ];
    let root = object(
        "VirtualService",
        "hosts: [shop], http: [{ match: [{ uri: { prefix: /cart } }], delegate: { name: cart, namespace: shop } }, { route: [{ destination: { host: orders } }] }]",
    );
    let delegate = object(
        "VirtualService",
        "http: [{ match: [{ uri: { prefix: /cart/v1 } }], route: [{ destination: { host: cart.default.svc.cluster.local } }] }]",
    )
    .replace("name: test", "name: cart, namespace: shop");
    let (client, _guard) = client(&[services.concat(), root, delegate].concat()).await;

    assert_eq!(get(&client, "http://shop/cart/v1/x").await.unwrap().text, "b");
    assert_eq!(get(&client, "http://shop/cart/v2").await.unwrap().text, "a");
    assert_eq!(get(&client, "http://shop/").await.unwrap().text, "a");
}
