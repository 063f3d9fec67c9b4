//! What a route does to requests and responses, over sockets.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request};
use mesh_core::outcome::Outcome;
use mesh_core::workload::Workload;
use mesh_tests::seeds::service;
use mesh_tests::world::{get, plain_text_of, send, send_body, streamed, until};
use mesh_tests::{Backend, World};
use mesh_tower::client::Client;
use mesh_tower::{Body, Mesh};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A service `orders` with subsets `v1` and `v2`, and a virtual service with these rules.
fn policy(v1: &Backend, v2: &Backend, http: &str) -> String {
    let orders = service("default", "orders", &[(v1, "v1"), (v2, "v2")]);
    format!(
        "{orders}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: orders }}
spec:
  host: orders
  subsets: [{{ name: v1, labels: {{ version: v1 }} }}, {{ name: v2, labels: {{ version: v2 }} }}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: orders }}
spec:
  hosts: [orders]
  http:
{http}"
    )
}

struct Scene {
    v1: Backend,
    v2: Backend,
    client: Client,
    mesh: Mesh,
    _world: World,
}

async fn scene(http: &str) -> Scene {
    let (v1, v2) = (Backend::start("v1").await, Backend::start("v2").await);
    let world = World::new();
    world.write("orders.yaml", &policy(&v1, &v2, http));
    let (mesh, client) = world.client("default", "web").await;
    Scene {
        v1,
        v2,
        client,
        mesh,
        _world: world,
    }
}

const TO_V1: &str = "      route: [{ destination: { host: orders, subset: v1 } }]\n";

fn metrics(mesh: &Mesh) -> String {
    mesh.metrics().render()
}

#[tokio::test]
async fn a_rewrite_changes_path_and_authority_and_keeps_the_query() {
    let scene = scene(&format!(
        "    - match: [{{ uri: {{ prefix: /api/ }} }}]
      rewrite: {{ uri: /v1/, authority: internal.example:8080 }}
{TO_V1}    - match: [{{ uri: {{ prefix: /old }} }}]
      rewrite: {{ uriRegexRewrite: {{ match: '^/old/([^/]+)/(.*)$', rewrite: '/\\2/of/\\1' }} }}
{TO_V1}"
    ))
    .await;

    get(&scene.client, "http://orders/api/items?page=2").await.unwrap();

    assert_eq!(scene.v1.last_target(), "/v1/items?page=2");
    let (headers, _) = scene.v1.last();
    assert_eq!(headers["host"], "internal.example:8080");
    assert_eq!(headers["x-envoy-original-path"], "/api/items?page=2");
    assert_eq!(headers["x-envoy-original-host"], "orders");
    get(&scene.client, "http://orders/old/a/b?x=%2F").await.unwrap();
    assert_eq!(scene.v1.last_target(), "/b/of/a?x=%2F");
}

#[tokio::test]
async fn headers_are_changed_both_ways_by_rule_and_destination() {
    let scene = scene(
        "    - headers:
        request: { remove: [x-internal], set: { x-level: rule }, add: { x-path: '%REQ(:path)%' } }
        response: { set: { x-seen: '%REQ(x-user)% got %RESPONSE_CODE%' }, remove: [server-secret] }
      route:
      - destination: { host: orders, subset: v1 }
        headers: { request: { set: { x-level: destination } }, response: { add: { x-tag: a } } }
",
    )
    .await;
    scene.v1.say("server-secret", "1");

    let request = Request::get("http://orders/a?b=1")
        .header("x-internal", "1")
        .header("x-user", "alice");
    let answer = send(&scene.client, request).await.unwrap();

    let (headers, _) = scene.v1.last();
    assert_eq!(headers["x-level"], "destination");
    assert_eq!(headers["x-path"], "/a?b=1");
    assert!(!headers.contains_key("x-internal"));
    assert_eq!(answer.headers["x-seen"], "alice got 200");
    assert_eq!(answer.headers["x-tag"], "a");
    assert!(!answer.headers.contains_key("server-secret"));
}

#[tokio::test]
async fn with_several_destinations_the_rule_has_the_last_word() {
    let scene = scene(
        "    - headers: { request: { set: { x-level: rule } } }
      route:
      - { destination: { host: orders, subset: v1 }, weight: 50, headers: { request: { set: { x-level: one, x-to: one } } } }
      - { destination: { host: orders, subset: v2 }, weight: 50, headers: { request: { set: { x-level: two, x-to: two } } } }
",
    )
    .await;

    for _ in 0..20 {
        get(&scene.client, "http://orders/").await.unwrap();
    }

    for (backend, name) in [(&scene.v1, "one"), (&scene.v2, "two")] {
        let (headers, _) = backend.last();
        assert_eq!(
            (&headers["x-level"], &headers["x-to"]),
            (&"rule".parse().unwrap(), &name.parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_redirect_and_a_direct_response_ask_no_server() {
    let scene = scene(
        "    - match: [{ uri: { prefix: /old } }]
      redirect: { uri: /new, authority: shop.example, redirectCode: 308 }
    - match: [{ uri: { exact: /health } }]
      headers: { response: { set: { x-by: mesh } } }
      directResponse: { status: 418, body: { string: teapot } }
    - route: [{ destination: { host: orders, subset: v1 } }]
",
    )
    .await;

    let redirect = get(&scene.client, "http://orders/old/x?y=1").await.unwrap();
    let direct = get(&scene.client, "http://orders/health").await.unwrap();

    assert_eq!(
        (redirect.status, &redirect.headers["location"]),
        (308, &"http://shop.example/new?y=1".parse().unwrap())
    );
    assert_eq!((direct.status, direct.text.as_str()), (418, "teapot"));
    assert_eq!(
        (&direct.headers["x-by"], &direct.headers["content-type"]),
        (&"mesh".parse().unwrap(), &"text/plain".parse().unwrap())
    );
    assert_eq!(scene.v1.hits() + scene.v2.hits(), 0);
    let grpc = Request::post("http://orders/health").header("content-type", "application/grpc");
    let grpc = send(&scene.client, grpc).await.unwrap();
    assert_eq!(
        (grpc.status, &grpc.headers["grpc-status"]),
        (200, &"2".parse().unwrap())
    );
    let told = metrics(&scene.mesh);
    assert!(
        told.lines()
            .any(|line| line.starts_with("istio_requests_total") && line.contains("response_code=\"308\"")),
        "{told}"
    );
}

#[tokio::test]
async fn a_fault_aborts_its_share_and_is_never_retried() {
    let scene = scene(&format!(
        "    - fault: {{ abort: {{ httpStatus: 503, percentage: {{ value: 50 }} }} }}
      retries: {{ attempts: 3, retryOn: 5xx }}
{TO_V1}"
    ))
    .await;

    let mut aborted = 0;
    for _ in 0..200 {
        aborted += usize::from(get(&scene.client, "http://orders/").await.unwrap().status == 503);
    }

    assert!((70..=130).contains(&aborted), "{aborted} of 200");
    assert_eq!(scene.v1.hits(), 200 - aborted);
    let told = metrics(&scene.mesh);
    assert!(told.contains("response_flags=\"FI\""), "{told}");
}

#[tokio::test]
async fn a_grpc_abort_is_a_status_in_the_headers() {
    let scene = scene(&format!(
        "    - fault: {{ abort: {{ grpcStatus: NOT_FOUND, percentage: {{ value: 100 }} }} }}
{TO_V1}"
    ))
    .await;

    let request = Request::post("http://orders/shop.Orders/Get").header("content-type", "application/grpc");
    let answer = send(&scene.client, request).await.unwrap();

    assert_eq!(
        (answer.status, &answer.headers["grpc-status"]),
        (200, &"5".parse().unwrap())
    );
    assert_eq!(scene.v1.hits(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_before_the_timeout_begins() {
    let scene = scene(&format!(
        "    - fault: {{ delay: {{ fixedDelay: 5s, percentage: {{ value: 100 }} }} }}
      timeout: 1s
{TO_V1}"
    ))
    .await;

    let start = tokio::time::Instant::now();
    let answer = get(&scene.client, "http://orders/").await.unwrap();

    assert_eq!(answer.status, 200);
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    let told = metrics(&scene.mesh);
    assert!(told.contains("response_flags=\"DI\""), "{told}");
}

#[tokio::test]
async fn a_mirror_gets_a_copy_with_the_body_and_its_answer_is_dropped() {
    let scene = scene(
        "    - rewrite: { uri: /copy }
      mirrors: [{ destination: { host: orders, subset: v2 } }]
      route: [{ destination: { host: orders, subset: v1 } }]
",
    )
    .await;
    scene.v2.answer_with(500);

    let request = Request::post("http://orders/");
    let answer = send_body(&scene.client, request, Body::from("a parcel")).await.unwrap();

    assert_eq!((answer.status, answer.text.as_str()), (200, "v1"));
    until("the copy arrives", || scene.v2.hits() == 1).await;
    until("the copy is read", || scene.v2.last().1 == b"a parcel").await;
    assert_eq!(scene.v2.last_target(), scene.v1.last_target());
    assert_eq!(scene.v1.last().1, b"a parcel");
    for _ in 0..5 {
        assert_eq!(get(&scene.client, "http://orders/").await.unwrap().status, 200);
    }
    let told = metrics(&scene.mesh);
    assert!(told.contains("response_code=\"200\""), "{told}");
    assert!(
        !told.contains("response_code=\"500\""),
        "copies are not counted: {told}"
    );
}

/// A server that answers one request, and from then on reads nothing.
async fn deaf() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        assert!(first.read(&mut [0; 4096]).await.unwrap() > 0);
        first
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        let mut open = vec![first];
        loop {
            open.push(listener.accept().await.unwrap().0);
        }
    });
    address
}

#[tokio::test]
async fn a_mirror_that_does_not_read_harms_no_request() {
    let (v1, v2, world) = (Backend::start("v1").await, Backend::start("v2").await, World::new());
    let text = policy(
        &v1,
        &v2,
        "    - match: [{ uri: { exact: /warm } }]
      route: [{ destination: { host: orders, subset: v2 } }]
    - mirrors: [{ destination: { host: orders, subset: v2 } }]
      route: [{ destination: { host: orders, subset: v1 } }]
",
    );
    world.write(
        "orders.yaml",
        &text.replace(&v2.address.to_string(), &deaf().await.to_string()),
    );
    let (_mesh, client) = world.client("default", "web").await;
    // The copy has a connection before its request does.
    assert_eq!(get(&client, "http://orders/warm").await.unwrap().status, 200);
    let (sender, body) = streamed();
    for _ in 0..16 {
        sender.send(vec![7; 1 << 16].into()).unwrap();
    }
    drop(sender);

    let answer = send_body(&client, Request::put("http://orders/"), body);
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;

    assert_eq!(answer.unwrap().unwrap().status, 200);
    assert_eq!(v1.last().1.len(), 1 << 20);
}

#[tokio::test]
async fn a_mirror_gets_a_body_as_it_streams() {
    let scene = scene(
        "    - mirrors: [{ destination: { host: orders, subset: v2 } }]
      route: [{ destination: { host: orders, subset: v1 } }]
",
    )
    .await;
    let (sender, body) = streamed();
    sender.send("a ".into()).unwrap();
    let client = scene.client.clone();
    let answer = tokio::spawn(async move { send_body(&client, Request::post("http://orders/"), body).await });
    until("both have begun", || scene.v1.hits() + scene.v2.hits() == 2).await;

    sender.send("parcel".into()).unwrap();
    drop(sender);

    assert_eq!(answer.await.unwrap().unwrap().text, "v1");
    until("the copy is read", || scene.v2.last().1 == b"a parcel").await;
    assert_eq!(scene.v1.last().1, b"a parcel");
}

/// K7.
#[tokio::test]
async fn a_mirror_takes_its_share_and_a_dead_one_harms_nobody() {
    let scene = scene(
        "    - mirrors:
      - { destination: { host: orders, subset: v2 }, percentage: { value: 25 } }
      - { destination: { host: nowhere.example }, percentage: { value: 100 } }
      route: [{ destination: { host: orders, subset: v1 } }]
",
    )
    .await;

    for _ in 0..200 {
        assert_eq!(get(&scene.client, "http://orders/").await.unwrap().status, 200);
    }

    until("copies arrive", || scene.v2.hits() >= 25).await;
    assert!(scene.v2.hits() <= 80, "{}", scene.v2.hits());
    assert_eq!(scene.v1.hits(), 200);
}

#[tokio::test]
async fn cors_answers_preflights_and_marks_responses() {
    let scene = scene(&format!(
        "    - corsPolicy:
        allowOrigins: [{{ regex: 'https://.*\\.shop\\.example' }}]
        allowMethods: [GET, PUT]
        allowHeaders: [x-token]
        exposeHeaders: [x-total]
        maxAge: 1h
        allowCredentials: true
{TO_V1}"
    ))
    .await;
    scene.v1.say("access-control-allow-origin", "*");

    let preflight = |origin: &str| {
        let request = Request::builder().method(Method::OPTIONS).uri("http://orders/");
        request
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
    };
    let answer = send(&scene.client, preflight("https://www.shop.example"))
        .await
        .unwrap();
    assert_eq!((answer.status, scene.v1.hits()), (200, 0));
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://www.shop.example"
    );
    assert_eq!(answer.headers["access-control-allow-methods"], "GET,PUT");
    assert_eq!(answer.headers["access-control-allow-headers"], "x-token");
    assert_eq!(answer.headers["access-control-max-age"], "3600");
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");

    let actual = Request::get("http://orders/").header("origin", "https://www.shop.example");
    let actual = send(&scene.client, actual).await.unwrap();
    assert_eq!(
        actual.headers["access-control-allow-origin"],
        "https://www.shop.example"
    );
    assert_eq!(actual.headers["access-control-expose-headers"], "x-total");

    let foreign = send(&scene.client, preflight("https://evil.example")).await.unwrap();
    assert_eq!(
        (foreign.text.as_str(), scene.v1.hits()),
        ("v1", 2),
        "the server decides"
    );
}

#[tokio::test]
async fn a_delegate_serves_what_its_root_hands_on() {
    let (v1, v2) = (Backend::start("v1").await, Backend::start("v2").await);
    let world = World::new();
    let root = "    - match: [{ uri: { prefix: /reviews } }]
      delegate: { name: reviews, namespace: default }
    - route: [{ destination: { host: orders, subset: v1 } }]
";
    let delegate = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews }
spec:
  http:
  - match: [{ uri: { prefix: /reviews/new } }]
    route: [{ destination: { host: orders, subset: v2 } }]
";
    world.write("orders.yaml", &format!("{}{delegate}", policy(&v1, &v2, root)));
    let (_mesh, client) = world.client("default", "web").await;

    assert_eq!(get(&client, "http://orders/reviews/new/1").await.unwrap().text, "v2");
    assert_eq!(get(&client, "http://orders/reviews/old").await.unwrap().text, "v1");
}

/// A gateway on plain text for `shop.example`, in front of `orders`.
async fn gateway(world: &World, servers: &str, http: &str) -> (Mesh, SocketAddr, Backend) {
    let backend = Backend::start("orders").await;
    let orders = service("default", "orders", &[(&backend, "v1")]);
    world.write(
        "gateway.yaml",
        &format!(
            "{orders}---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: door }}
spec:
  selector: {{ istio: ingressgateway }}
  servers:
{servers}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: door }}
spec:
  hosts: [shop.example]
  gateways: [door]
  http:
{http}"
        ),
    );
    let workload = Workload::new("default", "gateway").label("istio", "ingressgateway");
    let mesh = world.mesh(&workload).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = mesh.clone();
    tokio::spawn(async move { serving.gateway().serve(listener).await.unwrap() });
    (mesh, address, backend)
}

#[tokio::test]
async fn a_gateway_redirects_to_https_and_rewrites_by_its_own_port() {
    let world = World::new();
    let servers = "  - port: { number: 8080, name: http, protocol: HTTP }
    hosts: ['*']
";
    let http = "  - match: [{ uri: { prefix: /secure } }]
    redirect: { scheme: https, derivePort: FROM_REQUEST_PORT }
  - match: [{ uri: { prefix: /a } }]
    rewrite: { uri: /b }
    route: [{ destination: { host: orders } }]
";
    let (_mesh, address, backend) = gateway(&world, servers, http).await;

    let answer = plain_text_of("shop.example", address, "/secure?x=1").await;
    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
    assert!(
        answer.contains("location: https://shop.example:8080/secure?x=1"),
        "{answer}"
    );
    let answer = plain_text_of("shop.example", address, "/a/1").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(backend.last_target(), "/b/1");
}

/// D9: no caller has a header taken out that the gateway sets.
#[tokio::test]
async fn what_a_gateway_sets_arrives_whatever_connection_lists() {
    let world = World::new();
    let servers = "  - port: { number: 8080, name: http, protocol: HTTP }
    hosts: ['*']
";
    let http = "  - headers: { request: { set: { x-user: gateway } } }
    route: [{ destination: { host: orders } }]
";
    let (_mesh, address, backend) = gateway(&world, servers, http).await;

    for list in ["x-user", "\", x-user", "\"a, x-user, \"", "\"a\\\", x-user"] {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: shop.example\r\nx-user: caller\r\nconnection: {list}\r\nconnection: close\r\n\r\n"
        );
        let answer = mesh_tests::wire::exchange(address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{list}: {answer}");
        let (headers, _) = backend.last();
        assert_eq!(headers.get("x-user").unwrap(), "gateway", "{list}");
    }
}

#[tokio::test]
async fn a_gateway_server_can_send_everybody_to_https() {
    let world = World::new();
    let servers = "  - port: { number: 8080, name: http, protocol: HTTP }
    hosts: [shop.example]
    tls: { httpsRedirect: true }
";
    let http = "  - route: [{ destination: { host: orders } }]\n";
    let (_mesh, address, backend) = gateway(&world, servers, http).await;

    let answer = plain_text_of("shop.example", address, "/a?b=1").await;

    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
    assert!(answer.contains("location: https://shop.example/a?b=1"), "{answer}");
    assert_eq!(backend.hits(), 0);
}

#[tokio::test]
async fn a_rewrite_that_makes_no_path_is_an_error_that_says_so() {
    let scene = scene(&format!(
        "    - match: [{{ uri: {{ prefix: /a }} }}]
      rewrite: {{ uriRegexRewrite: {{ match: '^/', rewrite: ' ' }} }}
{TO_V1}"
    ))
    .await;

    let error = get(&scene.client, "http://orders/a").await.unwrap_err();

    assert_eq!(error.outcome(), Outcome::BadRequest);
    assert!(error.to_string().contains("rewritten path"), "{error}");
}

#[tokio::test]
async fn the_native_dialect_shapes_requests_as_others_do() {
    let a = Backend::start("a").await;
    let world = World::new();
    world.write(
        "policy.yaml",
        &format!(
            "services:
  orders:
    endpoints: [\"{}\"]
    routes:
      - {{ match: {{ path: /old }}, redirect: {{ status: 308, scheme: https, path: {{ full: /new }} }} }}
      - {{ match: {{ path: /health }}, respond: {{ status: 418, body: short }} }}
      - {{ match: {{ path: /broken }}, fault: {{ abort: {{ status: 503 }} }} }}
      - match: {{ path: {{ segment_prefix: /v1 }} }}
        rewrite: {{ path: {{ segment_prefix: / }} }}
        headers: {{ request: {{ set: {{ x-caller: \"%REQ(x-name)%\" }} }}, response: {{ add: {{ x-route: v1 }} }} }}
",
            a.address
        ),
    );
    let mesh = world.mesh(&Workload::new("default", "web")).await;
    let client = mesh.client();

    let moved = get(&client, "http://orders/old?x=1").await.unwrap();
    assert_eq!(
        (moved.status, &moved.headers["location"]),
        (308, &"https://orders/new?x=1".parse().unwrap())
    );
    let answer = get(&client, "http://orders/health").await.unwrap();
    assert_eq!((answer.status, answer.text.as_str()), (418, "short"));
    assert_eq!(get(&client, "http://orders/broken").await.unwrap().status, 503);
    assert_eq!(a.hits(), 0);
    let request = Request::get("http://orders/v1/items?page=2").header("x-name", "web");
    let answer = send(&client, request).await.unwrap();
    assert_eq!(
        (answer.status, &answer.headers["x-route"]),
        (200, &"v1".parse().unwrap())
    );
    assert_eq!(a.last_target(), "/items?page=2");
    assert_eq!(a.last().0["x-caller"], "web");
}
