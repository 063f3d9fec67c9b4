//! The server over sockets: identity, authorization, canonical requests, handshakes, drain.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use http::Request;
use mesh_core::identity::SpiffeId;
use mesh_core::workload::Workload;
use mesh_tests::seeds::secured;
use mesh_tests::world::{generation, get, plain_text, send, until};
use mesh_tests::{Backend, World};
use mesh_tls::clock::Clock;
use mesh_tls::source::StaticSource;
use mesh_tower::Body;
use mesh_tower::server::{Identity, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ORDERS: &str = "orders";

/// Orders in the namespace `shop`, behind its mesh.
async fn orders(world: &World, app: Router) -> (mesh_tower::Mesh, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("orders.yaml", &secured("shop", ORDERS, ORDERS, address));
    let mesh = world.mesh(&Workload::new("shop", ORDERS).label("app", ORDERS)).await;
    let serving = mesh.clone();
    tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
    (mesh, address)
}

fn who() -> Router {
    let extracted = |Identity(id): Identity, peer: Peer| async move { format!("{id} {}", peer.remote_addr().ip()) };
    let optional = |id: Option<Identity>| async move { id.map_or_else(|| "nobody".to_owned(), |id| id.0.to_string()) };
    Router::new()
        .route("/", on_get(extracted))
        .route("/optional", on_get(optional))
}

#[tokio::test]
async fn the_application_learns_who_calls() {
    let world = World::new();
    let (_mesh, address) = orders(&world, who()).await;
    let (_web, client) = world.client("shop", "web").await;

    let answer = get(&client, "http://orders/").await.unwrap();
    assert_eq!(answer.text, "spiffe://cluster.local/ns/shop/sa/web 127.0.0.1");
    assert!(plain_text(address, "/").await.starts_with("HTTP/1.1 401"));
    assert!(plain_text(address, "/optional").await.ends_with("nobody"));
}

/// G7, AZ-10b.
#[tokio::test]
async fn axum_serves_behind_the_same_layers() {
    let world = World::new();
    world.write("mesh.yaml", "mesh: { mtls: strict }\nnamespace: shop\nauthorization:\n  - { name: reads, service: orders, allow: [{ methods: [GET] }] }\n");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("orders.yaml", &secured("shop", ORDERS, ORDERS, address));
    let mesh = world.mesh(&Workload::new("shop", ORDERS).label("app", ORDERS)).await;
    let app = who().fallback(|| async { "reached" }).layer(mesh.layer());
    let listener = mesh.listener(listener);
    let served = axum::serve(listener, app.into_make_service_with_connect_info::<Peer>());
    let served = tokio::spawn(served.with_graceful_shutdown(mesh.stopping()).into_future());
    let (_web, client) = world.client("shop", "web").await;

    let answer = get(&client, "http://orders/").await.unwrap();
    assert_eq!(answer.text, "spiffe://cluster.local/ns/shop/sa/web 127.0.0.1");
    assert_eq!(
        send(&client, Request::post("http://orders/x")).await.unwrap().status,
        403
    );
    assert_eq!(plain_text(address, "/").await, "");

    mesh.shutdown();
    let ended = tokio::time::timeout(Duration::from_secs(5), served).await;
    assert!(ended.is_ok(), "axum did not hear of the shutdown");
}

/// A request that is served within another one has a trace of its own, or none: never that of the outer one.
#[tokio::test]
async fn what_a_layer_serves_within_a_request_is_of_its_own_trace() {
    use tower::{Layer, ServiceExt};
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let (mesh, _) = orders(&world, backend.router()).await;
    let (_web, client) = world.client("shop", "web").await;
    let inner = mesh.layer().layer(tower::service_fn(move |_: Request<Body>| {
        let client = client.clone();
        async move {
            assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
        }
    }));
    let outer = mesh.layer().layer(tower::service_fn(move |_: Request<Body>| {
        let plain = Request::get("http://orders/").body(Body::empty()).unwrap();
        inner.clone().oneshot(plain)
    }));
    let traced = Request::get("http://orders/")
        .header("traceparent", TRACE)
        .body(Body::empty())
        .unwrap();
    assert_eq!(outer.oneshot(traced).await.unwrap().status(), 200);
    let (headers, _) = backend.last();
    assert!(!headers.contains_key("traceparent"), "{headers:?}");
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const NO_ADMIN: &str = "
namespace: shop
authorization:
  - name: no-admin
    service: orders
    deny: [{ paths: [\"/admin*\"] }]
";

#[tokio::test]
async fn no_spelling_of_a_path_gets_past_a_rule() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    world.write("rules.yaml", NO_ADMIN);
    let (_mesh, address) = orders(&world, backend.router()).await;

    for path in [
        "/admin",
        "/admin/x",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/%61dmin",
        "/x/%2e%2e/admin",
        "/x/%2E./admin",
        "/x\\..\\admin",
    ] {
        let answer = plain_text(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer}");
    }
    for path in ["/x%2fadmin", "/%252e%252e/admin", "/admin%00", "/%zz", "/x;/../admin"] {
        let answer = plain_text(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
    assert_eq!(backend.hits(), 0);
    assert!(plain_text(address, "/public//x").await.starts_with("HTTP/1.1 200"));
    assert_eq!(
        backend.hits_of("/public//x"),
        1,
        "the application sees what was matched"
    );
}

#[tokio::test]
async fn headers_of_the_mesh_cannot_be_brought_along() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let (_mesh, address) = orders(&world, backend.router()).await;

    let mut stream = TcpStream::connect(address).await.unwrap();
    let forged = "GET / HTTP/1.1\r\nhost: orders\r\nx-forwarded-client-cert: By=spiffe://cluster.local/ns/shop/sa/admin\r\nl5d-client-id: admin\r\nx-app: kept\r\nconnection: close\r\n\r\n";
    stream.write_all(forged.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (headers, _) = backend.last();
    assert_eq!(headers["x-app"], "kept");
    assert!(
        !headers.contains_key("x-forwarded-client-cert") && !headers.contains_key("l5d-client-id"),
        "{headers:?}"
    );
    // Nobody would read them.
    assert!(!headers.contains_key("traceparent") && !headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn ids_are_made_for_all_where_the_policy_wants_it() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    world.write("mesh.yaml", "mesh: { request_ids: always }\n");
    let (_mesh, _) = orders(&world, backend.router()).await;
    let (_web, client) = world.client("shop", "web").await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    let (headers, _) = backend.last();
    assert!(headers.contains_key("traceparent") && headers.contains_key("x-request-id"));
}

/// AZ-6j, AZ-9d.
#[tokio::test]
async fn a_changed_rule_holds_for_the_next_request_of_an_open_connection() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let (mesh, _) = orders(&world, backend.router()).await;
    let (_web, client) = world.client("shop", "web").await;
    assert_eq!(get(&client, "http://orders/admin").await.unwrap().status, 200);

    world.write("rules.yaml", NO_ADMIN);
    generation(&mesh, 2).await;

    assert_eq!(get(&client, "http://orders/admin").await.unwrap().status, 403);
    assert_eq!(get(&client, "http://orders/x").await.unwrap().status, 200);
}

/// G7.
#[tokio::test]
async fn plain_text_ends_when_the_port_turns_strict() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let (mesh, address) = orders(&world, backend.router()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut buffer = [0; 1024];
    assert!(stream.read(&mut buffer).await.unwrap() > 0);

    world.write("mesh.yaml", "mesh: { mtls: strict }\n");
    generation(&mesh, 2).await;

    // The connection is closed, or its next request is refused, whichever comes first.
    let sent = stream.write_all(request).await;
    let mut rest = String::new();
    let read = stream.read_to_string(&mut rest).await;
    let is_over = sent.is_err() || read.is_err() || rest.is_empty();
    assert!(is_over || rest.starts_with("HTTP/1.1 401"), "{rest}");
    assert_eq!(backend.hits(), 1);
}

#[tokio::test]
async fn mtls_ends_when_the_port_turns_to_plain_text() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let (mesh, address) = orders(&world, backend.router()).await;
    let (_web, client) = world.client("shop", "web").await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);

    world.write("mesh.yaml", "mesh: { mtls: disable }\n");
    generation(&mesh, 2).await;

    assert!(plain_text(address, "/").await.starts_with("HTTP/1.1 200"));
    // The caller follows the same policy, and turns to plain text with it.
    until_plain(&client).await;
}

async fn until_plain(client: &mesh_tower::client::Client) {
    for _ in 0..200 {
        if get(client, "http://orders/")
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the caller never turned to plain text");
}

/// The orders service, with this time for handshakes.
async fn patient(world: &World, app: Router, limit: Duration) -> (mesh_tower::Mesh, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("orders.yaml", &secured("shop", ORDERS, ORDERS, address));
    let builder = world.builder(&Workload::new("shop", ORDERS));
    let mesh = builder.handshake_timeout(limit).build().await.unwrap();
    let serving = mesh.clone();
    tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
    (mesh, address)
}

/// Connections that say nothing.
async fn silent(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    silent
}

/// G10.
#[tokio::test]
async fn slow_handshakes_hold_nobody_up_and_are_cut() {
    let (backend, world) = (Backend::start(ORDERS).await, World::new());
    let (_mesh, address) = patient(&world, backend.router(), Duration::from_millis(300)).await;
    let (_web, client) = world.client("shop", "web").await;
    let silent = silent(address, 50).await;

    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    for mut stream in silent {
        let mut end = [0; 1];
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut end))
            .await
            .unwrap();
        assert!(matches!(closed, Ok(0) | Err(_)));
    }
}

/// More than have a place.
#[tokio::test]
async fn silent_sockets_make_room_for_who_waits() {
    let (backend, world) = (Backend::start(ORDERS).await, World::new());
    let (mesh, address) = patient(&world, backend.router(), Duration::from_hours(1)).await;
    let (_web, client) = world.client("shop", "web").await;
    let _silent = silent(address, 300).await;

    let answer = tokio::time::timeout(Duration::from_secs(30), get(&client, "http://orders/"));
    assert_eq!(answer.await.unwrap().unwrap().status, 200);
    let metrics = mesh.metrics().render();
    // As many as made room: 44 silent ones and the client waited.
    let none = r#"mesh_peers_cut_total{reason="slow_handshake"} 0"#;
    assert!(
        metrics.contains("slow_handshake") && !metrics.contains(none),
        "{metrics}"
    );
}

#[tokio::test]
async fn shutdown_lets_open_requests_finish_and_takes_no_others() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("orders.yaml", &secured("shop", ORDERS, ORDERS, address));
    let mesh = world.mesh(&Workload::new("shop", ORDERS)).await;
    let (serving, app) = (mesh.clone(), backend.router());
    let served = tokio::spawn(async move { serving.serve(listener, app).await });
    let (_web, client) = world.client("shop", "web").await;
    let open = {
        let client = client.clone();
        tokio::spawn(async move { get(&client, "http://orders/hold").await.unwrap().status })
    };
    until("a request is open", || backend.held() == 1).await;

    mesh.shutdown();
    until("the listener is closed", || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    backend.release(1);

    assert_eq!(open.await.unwrap(), 200);
    let done = tokio::time::timeout(Duration::from_secs(5), served).await;
    assert!(done.is_ok(), "serve did not return");
}

#[tokio::test]
async fn a_rotated_certificate_is_used_at_once_and_drops_no_connection() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("orders.yaml", &secured("shop", ORDERS, ORDERS, address));
    let id = SpiffeId::for_workload(world.ca().trust_domain(), "shop", ORDERS).unwrap();
    let issue = |seconds| {
        let issued = world
            .ca()
            .issue(&id, Duration::from_secs(seconds), std::time::SystemTime::now());
        issued.unwrap().svid().unwrap()
    };
    let bundles = world.ca().bundles().unwrap();
    let identity = StaticSource::new(issue(3600), bundles.clone(), Clock::system()).unwrap();
    let builder = world
        .builder(&Workload::new("shop", ORDERS))
        .identity(identity.source());
    let mesh = builder.build().await.unwrap();
    let app = backend.router();
    let serving = mesh.clone();
    tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
    let (_web, client) = world.client("shop", "web").await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);

    assert_eq!(identity.rotate(issue(7200), bundles).unwrap(), 2);
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);

    // Trust in another authority alone: the open connection of a caller of the old one ends, at once where no time is
    // given to end in.
    world.write("mesh.yaml", "mesh: { live: { drain: 0s } }\n");
    generation(&mesh, 2).await;
    let other = World::new();
    let issued = other
        .ca()
        .issue(&id, Duration::from_secs(3600), std::time::SystemTime::now())
        .unwrap();
    identity
        .rotate(issued.svid().unwrap(), other.ca().bundles().unwrap())
        .unwrap();
    let refused = get(&client, "http://orders/").await;
    assert!(
        refused.as_ref().map_or(true, |answer| answer.status == 401),
        "{refused:?}"
    );
    assert_eq!(backend.hits(), 2);
}

#[tokio::test]
async fn the_access_log_names_both_sides_and_the_rule() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let log = world.folder("logs").join("access.log");
    world.write("rules.yaml", NO_ADMIN);
    world.write(
        "mesh.yaml",
        &format!(
            "mesh: {{ access_log: {{ path: {}, encoding: json }} }}\n",
            log.display()
        ),
    );
    let (_mesh, _) = orders(&world, backend.router()).await;
    let web = world.builder(&Workload::new("shop", "web"));
    let client = web.build().await.unwrap().client();

    get(&client, "http://orders/admin").await.unwrap();
    until("both sides have logged", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == 2)
    })
    .await;

    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let server = lines
        .iter()
        .find(|line| line["response_code_details"] == "rbac_access_denied")
        .unwrap();
    assert_eq!(server["response_code"], 403);
    assert!(text.contains("spiffe://cluster.local/ns/shop/sa/web"), "{text}");
    assert!(server.to_string().contains("rules.yaml:"), "{server}");
    let ids: Vec<&serde_json::Value> = lines.iter().map(|line| &line["request_id"]).collect();
    assert_eq!(ids[0], ids[1], "one request, one id");
}

#[tokio::test]
async fn the_access_log_takes_the_share_that_the_policy_names() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let log = world.folder("logs").join("access.log");
    let setting = format!("mesh: {{ access_log: {{ path: {}, percent: 10 }} }}\n", log.display());
    world.write("mesh.yaml", &setting);
    let (_mesh, _) = orders(&world, backend.router()).await;
    let (_web, client) = world.client("shop", "web").await;
    for _ in 0..200 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    }
    let lines = || std::fs::read_to_string(&log).map_or(0, |text| text.lines().count());
    until("some are logged", || lines() >= 10).await;
    assert!(lines() <= 90, "{} of 400, those of both sides", lines());
}

const DOOR: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: door, namespace: shop }
spec:
  selector: { app: door }
  servers:
    - port: { number: 443, name: https, protocol: HTTPS }
      tls: { mode: SIMPLE, credentialName: shop }
      hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: shop }
spec:
  hosts: [shop.example.com]
  gateways: [door]
  http: [{ route: [{ destination: { host: orders } }] }]
";

/// The certificate that a gateway shows to a browser.
async fn shown(world: &World, address: SocketAddr) -> Vec<u8> {
    let roots = world.ca().certificate_pem().as_bytes();
    let config = mesh_tls::web::WebClientConfig::with_roots(roots, &[mesh_tls::config::Alpn::H2], &Clock::system());
    let stream = TcpStream::connect(address).await.unwrap();
    let limit = Duration::from_secs(5);
    let connected = mesh_tls::web::connect_web(stream, std::sync::Arc::new(config.unwrap()), "shop.example.com", limit);
    let (stream, _) = connected.await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_gateway_shows_new_certificates_as_they_come_and_keeps_good_ones() {
    let world = World::new();
    world.write("door.yaml", DOOR);
    let secret = world.folder("credentials/shop");
    let issue = || {
        let now = std::time::SystemTime::now();
        world
            .ca()
            .write_web(&secret, &["shop.example.com"], Duration::from_secs(3600), now)
            .unwrap();
    };
    issue();
    let workload = Workload::new("shop", "door").label("app", "door");
    let mesh = world
        .builder(&workload)
        .credentials(world.folder("credentials"))
        .build()
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = mesh.gateway();
    tokio::spawn(async move { gateway.serve(listener).await.unwrap() });
    let first = shown(&world, address).await;
    assert_eq!(shown(&world, address).await, first);

    std::fs::write(secret.join("tls.crt"), "broken").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(shown(&world, address).await, first);

    issue();
    for _ in 0..200 {
        if shown(&world, address).await != first {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the new certificate was never shown");
}

#[tokio::test]
async fn a_process_that_no_gateway_selects_serves_none() {
    let world = World::new();
    world.write("door.yaml", DOOR);
    let mesh = world.mesh(&Workload::new("shop", "web")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();

    let error = mesh.gateway().serve(listener).await.unwrap_err();

    assert!(error.to_string().contains("no gateway"), "{error}");
}

/// TD-10.
#[tokio::test]
async fn garbage_on_the_wire_ends_its_own_connection_and_nothing_else() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let (_mesh, address) = orders(&world, backend.router()).await;
    let (_web, client) = world.client("shop", "web").await;

    let huge = format!(
        "GET / HTTP/1.1\r\nhost: orders\r\nx-huge: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    for garbage in [
        &b"\x16\x03\x01\xff\xff garbage instead of a hello"[..],
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        huge.as_bytes(),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may close before all of it is written.
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(
            ended.is_ok(),
            "still open after {:?}",
            String::from_utf8_lossy(&garbage[..garbage.len().min(40)])
        );
        let text = String::from_utf8_lossy(&answer);
        assert!(
            !text.contains(" 200 "),
            "{:?}: {text}",
            String::from_utf8_lossy(&garbage[..garbage.len().min(40)])
        );
    }
    assert_eq!(backend.hits(), 0);
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
}

#[tokio::test]
async fn no_second_request_hides_behind_two_lengths() {
    let backend = Backend::start(ORDERS).await;
    let world = World::new();
    let (_mesh, address) = orders(&world, backend.router()).await;

    let mut stream = TcpStream::connect(address).await.unwrap();
    let first =
        "POST /first HTTP/1.1\r\nhost: orders\r\ncontent-length: 60\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let hidden = "GET /hidden HTTP/1.1\r\nhost: orders\r\n\r\n";
    stream.write_all(format!("{first}{hidden}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Unread bytes may turn the close into a reset.
    let _ = stream.read_to_string(&mut answer).await;

    assert_eq!(backend.hits_of("/hidden"), 0, "{answer}");
    assert!(backend.hits() <= 1);
}
