//! Routes of Gateway API over sockets: at gateways and for the clients of the mesh.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use mesh_core::workload::Workload;
use mesh_tests::seeds::service;
use mesh_tests::world::{get, send, until};
use mesh_tests::{Backend, World};
use mesh_tower::Mesh;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec:\n{spec}\n---\n"
    )
}

/// A world with the services `v1` and `v2`.
async fn two_services() -> (World, Backend, Backend) {
    let (v1, v2) = (Backend::start("v1").await, Backend::start("v2").await);
    let world = World::new();
    world.write("v1.yaml", &service("default", "v1", &[(&v1, "v1")]));
    world.write("v2.yaml", &service("default", "v2", &[(&v2, "v2")]));
    (world, v1, v2)
}

/// Serves the port of the gateway `door`.
async fn serve(mesh: &Mesh, port: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = mesh.gateway().port(port);
    tokio::spawn(async move { gateway.serve(listener).await.unwrap() });
    address
}

async fn door(world: &World) -> Mesh {
    let workload = Workload::new("default", "gateway").label("gateway.networking.k8s.io/gateway-name", "door");
    world.mesh(&workload).await
}

/// Sends a request without a body, and gives the head and body of the answer.
async fn exchange(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).to_lowercase()
}

async fn ask(address: SocketAddr, host: &str, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: {host}")).await
}

async fn call(address: SocketAddr, host: &str, path: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/grpc\r\nte: trailers");
    exchange(address, &head).await
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn listeners_keep_their_routes_apart() {
    let (world, v1, v2) = two_services().await;
    let listeners = "  gatewayClassName: mesh
  listeners:
  - { name: any, port: 8080, protocol: HTTP }
  - { name: shop, port: 8080, protocol: HTTP, hostname: '*.shop.example' }
  - { name: admin, port: 9090, protocol: HTTP }";
    let route = |name: &str, section: &str, path: &str, to: &str| {
        let spec = format!(
            "  parentRefs: [{{ name: door, sectionName: {section} }}]
  rules:
  - matches: [{{ path: {{ value: {path} }} }}]
    backendRefs: [{{ name: {to}, port: 80 }}]"
        );
        object("HTTPRoute", name, &spec)
    };
    let routes = [
        object("Gateway", "door", listeners),
        route("a", "any", "/any", "v1"),
        route("b", "shop", "/shop", "v2"),
        route("c", "admin", "/admin", "v1"),
    ];
    world.write("routes.yaml", &routes.concat());
    let mesh = door(&world).await;
    let (public, admin) = (serve(&mesh, 8080).await, serve(&mesh, 9090).await);

    assert_eq!(status(&ask(public, "other.example", "/any/1").await), "200");
    assert_eq!(v1.last_target(), "/any/1");
    assert_eq!(status(&ask(public, "a.shop.example:8080", "/shop").await), "200");
    assert_eq!(v2.last_target(), "/shop");
    // The listener of the host has no such route, and the wider one is not asked.
    assert_eq!(status(&ask(public, "a.shop.example", "/any").await), "404");
    assert_eq!(status(&ask(public, "other.example", "/admin").await), "404");
    assert_eq!(status(&ask(admin, "other.example", "/admin").await), "200");
    assert_eq!(status(&ask(admin, "other.example", "/any").await), "404");
}

#[tokio::test]
async fn a_gateway_answers_for_what_cannot_be_called() {
    let (world, v1, _v2) = two_services().await;
    let gateway = "  gatewayClassName: mesh
  listeners: [{ name: any, port: 8080, protocol: HTTP }]";
    let route = "  parentRefs: [{ name: door }]
  rules:
  - matches: [{ path: { value: /none } }]
  - matches: [{ path: { value: /kind } }]
    backendRefs: [{ group: x.example, kind: Pool, name: v1 }]
  - matches: [{ path: { value: /zero } }]
    backendRefs: [{ name: v1, port: 80, weight: 0 }]
  - matches: [{ path: { value: /far } }]
    backendRefs: [{ name: v1, namespace: far, port: 80 }]
  - matches: [{ path: { value: /filter } }]
    filters: [{ type: ExtensionRef, extensionRef: { group: x.example, kind: Auth, name: auth } }]
    backendRefs: [{ name: v1, port: 80 }]
  - matches: [{ path: { value: /away } }]
    filters: [{ type: RequestRedirect, requestRedirect: { hostname: new.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /here } } }]";
    let all = [object("Gateway", "door", gateway), object("HTTPRoute", "r", route)];
    world.write("routes.yaml", &all.concat());
    let mesh = door(&world).await;
    let address = serve(&mesh, 8080).await;

    for path in ["/none", "/kind", "/zero", "/far", "/filter"] {
        let answer = ask(address, "shop.example", path).await;
        assert_eq!(status(&answer), "500", "{path}: {answer}");
        let grpc = call(address, "shop.example", path).await;
        assert_eq!(status(&grpc), "200", "{path}: {grpc}");
        assert!(grpc.contains("\r\ngrpc-status: 14\r\n"), "{path}: {grpc}");
    }
    assert_eq!(status(&ask(address, "shop.example", "/other").await), "404");
    let grpc = call(address, "shop.example", "/other").await;
    assert!(grpc.contains("\r\ngrpc-status: 12\r\n"), "{grpc}");
    let away = ask(address, "shop.example", "/away/a?b=1").await;
    assert_eq!(status(&away), "302");
    assert!(
        away.contains("\r\nlocation: http://new.example:8080/here/a?b=1\r\n"),
        "{away}"
    );
    assert_eq!(v1.hits(), 0);
}

fn of_echo(rules: &str) -> String {
    let spec = format!("  parentRefs: [{{ group: '', kind: Service, name: echo }}]\n  rules:\n{rules}");
    object("HTTPRoute", "echo", &spec)
}

#[tokio::test]
async fn headers_and_paths_are_changed_for_rules_and_for_the_backend_that_is_drawn() {
    let (world, v1, v2) = two_services().await;
    let own = |name: &str| {
        format!(
            "{{ name: {name}, port: 80, filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: backend, value: {name} }}] }} }}] }}"
        )
    };
    let rules = format!(
        "  - matches: [{{ path: {{ value: /api }} }}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {{ set: [{{ name: X-Set, value: new }}], add: [{{ name: X-Add, value: more }}], remove: [X-Gone] }}
    - type: ResponseHeaderModifier
      responseHeaderModifier: {{ set: [{{ name: X-Answer, value: yes }}] }}
    - type: URLRewrite
      urlRewrite: {{ hostname: internal.example, path: {{ type: ReplacePrefixMatch, replacePrefixMatch: /v1 }} }}
    backendRefs: [{}, {}]",
        own("v1"),
        own("v2")
    );
    world.write("routes.yaml", &of_echo(&rules.replace("value: yes", "value: 'yes'")));
    let (_mesh, client) = world.client("default", "web").await;

    for _ in 0..20 {
        let request = Request::get("http://echo/api/a?b=1")
            .header("x-set", "old")
            .header("x-add", "some")
            .header("x-gone", "1");
        let answer = send(&client, request).await.unwrap();
        assert_eq!(answer.headers["x-answer"], "yes");
    }

    for (backend, name) in [(&v1, "v1"), (&v2, "v2")] {
        let (headers, _) = backend.last();
        assert_eq!(headers["backend"], name);
        assert_eq!(headers["x-set"], "new");
        let added: Vec<_> = headers
            .get_all("x-add")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert_eq!(added.join(","), "some,more");
        assert!(!headers.contains_key("x-gone"));
        assert_eq!(headers["host"], "internal.example");
        assert_eq!(backend.last_target(), "/v1/a?b=1");
    }
}

#[tokio::test]
async fn weights_are_shares_and_copies_go_beside() {
    let (world, v1, v2) = two_services().await;
    let copies = Backend::start("copies").await;
    world.write("copies.yaml", &service("default", "copies", &[(&copies, "v1")]));
    let rules = "  - filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: copies, port: 80 } } }]
    backendRefs: [{ name: v1, port: 80, weight: 3 }, { name: v2, port: 80 }]";
    world.write("routes.yaml", &of_echo(rules));
    let (_mesh, client) = world.client("default", "web").await;

    for _ in 0..400 {
        assert_eq!(get(&client, "http://echo/").await.unwrap().status, 200);
    }

    let share = v2.hits();
    assert_eq!(v1.hits() + share, 400);
    assert!((60..140).contains(&share), "{share} of 400");
    until("all copies", || copies.hits() == 400).await;
}

#[tokio::test]
async fn timeouts_and_retries_are_in_force() {
    let (world, v1, _v2) = two_services().await;
    let rules = "  - matches: [{ path: { value: /slow } }]
    timeouts: { request: 200ms }
    backendRefs: [{ name: v1, port: 80 }]
  - matches: [{ path: { value: /again } }]
    retry: { codes: [503], attempts: 2, backoff: 30ms }
    backendRefs: [{ name: v1, port: 80 }]";
    world.write("routes.yaml", &of_echo(rules));
    let (_mesh, client) = world.client("default", "web").await;

    v1.fail(2);
    let start = std::time::Instant::now();
    assert_eq!(get(&client, "http://echo/again").await.unwrap().status, 200);
    assert_eq!(v1.hits_of("/again"), 3);
    assert!(
        start.elapsed() >= Duration::from_millis(60),
        "pauses are at least as long as `backoff`"
    );
    v1.delay(Duration::from_secs(60));
    let error = get(&client, "http://echo/slow").await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.status(), 504);
}

#[tokio::test]
async fn a_route_of_the_callers_namespace_is_for_its_callers_alone() {
    let (world, _v1, _v2) = two_services().await;
    let route = |namespace: &str, to: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r, namespace: {namespace} }}\nspec:\n  \
             parentRefs: [{{ group: '', kind: Service, name: echo, namespace: default }}]\n  \
             rules: [{{ backendRefs: [{{ name: {to}, namespace: default, port: 80 }}] }}]\n---\n"
        )
    };
    world.write("routes.yaml", &[route("default", "v1"), route("shop", "v2")].concat());
    let (_one, shop) = world.client("shop", "web").await;
    let (_other, other) = world.client("other", "web").await;

    assert_eq!(get(&shop, "http://echo.default/").await.unwrap().text, "v2");
    assert_eq!(get(&other, "http://echo.default/").await.unwrap().text, "v1");
}

#[tokio::test]
async fn what_is_not_yet_in_force_does_not_start() {
    let (world, _v1, _v2) = two_services().await;
    let route =
        "  parentRefs: [{ group: '', kind: Service, name: db }]\n  rules: [{ backendRefs: [{ name: v1, port: 80 }] }]";
    world.write("routes.yaml", &object("TCPRoute", "r", route));

    let error = world
        .builder(&Workload::new("default", "web"))
        .build()
        .await
        .unwrap_err();

    assert!(error.to_string().contains("MESH0401"), "{error}");
}
