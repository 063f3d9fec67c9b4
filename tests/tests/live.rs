//! Connections and requests that are under way when the policy changes: modes of ports, upgrades, long streams.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Request as AxumRequest;
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::workload::Workload;
use mesh_tests::World;
use mesh_tests::seeds::secured;
use mesh_tests::world::generation;
use mesh_tls::clock::Clock;
use mesh_tls::config::Alpn;
use mesh_tls::web::{WebClientConfig, connect_web};
use mesh_tower::server::Peer;
use mesh_tower::{Body, Mesh};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Echoes what comes by a WebSocket, and says a word every ten milliseconds on `/feed`.
fn app() -> Router {
    let feed = || async { Response::new(AxumBody::new(Feed(tokio::time::interval(Duration::from_millis(10))))) };
    let wait = || std::future::pending::<()>();
    Router::new()
        .route("/ws", on_get(upgrade))
        .route("/feed", on_get(feed))
        .route("/wait", on_get(wait))
}

async fn upgrade(request: AxumRequest) -> Response {
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let mut stream = TokioIo::new(upgraded);
        let mut byte = [0];
        while stream.read(&mut byte).await.is_ok_and(|length| length > 0) {
            if stream.write_all(&byte).await.is_err() {
                return;
            }
        }
    });
    let headers = [("connection", "upgrade"), ("upgrade", "websocket")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Words without end.
struct Feed(tokio::time::Interval);

impl hyper::body::Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.0.poll_tick(cx));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"word")))))
    }
}

/// Who serves: the mesh itself, or axum behind the mesh's listener.
#[derive(Clone, Copy, Debug)]
enum By {
    Mesh,
    Axum,
}

async fn served(world: &World, by: By) -> (Mesh, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    let mesh = world
        .mesh(&Workload::new("shop", "orders").label("app", "orders"))
        .await;
    let serving = mesh.clone();
    match by {
        By::Mesh => tokio::spawn(async move { serving.serve(listener, app()).await.unwrap() }),
        By::Axum => {
            let app = app().layer(mesh.layer());
            let listener = mesh.listener(listener);
            let served = axum::serve(listener, app.into_make_service_with_connect_info::<Peer>());
            tokio::spawn(async move { served.await.unwrap() })
        }
    };
    (mesh, address)
}

fn settings(live: &str) -> String {
    format!("mesh: {{ live: {{ {live} }} }}\n")
}

/// Rules that deny a path to everybody.
fn denying(path: &str) -> String {
    format!("namespace: shop\nauthorization:\n  - {{ name: no, service: orders, deny: [{{ paths: [\"{path}\"] }}] }}\n")
}

async fn websocket(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /ws HTTP/1.1\r\nhost: orders\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(
        answer.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    stream
}

async fn echoes(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let asked = stream.write_u8(7).await;
    asked.is_ok() && stream.read_u8().await.is_ok_and(|echo| echo == 7)
}

/// Waits until the stream is closed; how long that took.
async fn closed(stream: &mut TcpStream, within: Duration) -> Option<Duration> {
    let began = Instant::now();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(within, stream.read_to_end(&mut rest)).await;
    ended.is_ok().then(|| began.elapsed())
}

/// C11, AZ-6j: an open WebSocket, then a reload that denies it: closed within a second, whoever serves.
#[tokio::test]
async fn a_websocket_that_is_denied_is_closed() {
    for by in [By::Mesh, By::Axum] {
        let world = World::new();
        let (mesh, address) = served(&world, by).await;
        let (mut first, mut second) = (websocket(address).await, websocket(address).await);
        assert!(echoes(&mut first).await && echoes(&mut second).await);

        world.write("rules.yaml", &denying("/other"));
        generation(&mesh, 2).await;
        assert!(
            echoes(&mut first).await,
            "{by:?}: what does not concern it changes nothing"
        );

        world.write("rules.yaml", &denying("/ws"));
        generation(&mesh, 3).await;
        assert!(closed(&mut first, Duration::from_secs(1)).await.is_some(), "{by:?}");
        assert!(closed(&mut second, Duration::from_secs(1)).await.is_some(), "{by:?}");
        let line = "mesh_connections_ended_total{side=\"server\",reason=\"denied\"} 2";
        assert!(mesh.metrics().render().contains(line), "{by:?}");
    }
}

/// The same for `CONNECT`.
async fn tunnel(request: AxumRequest) -> StatusCode {
    drop(upgrade(request).await);
    StatusCode::OK
}

/// Rules that let everybody have tunnels.
const TUNNELS: &str = "
namespace: shop
authorization: [{ name: tunnels, service: orders, allow: [{ methods: [CONNECT] }] }]
";

async fn tunnels(world: &World) -> (Mesh, http2::SendRequest<Empty<Bytes>>) {
    world.write("mesh.yaml", &settings("drain: 100ms"));
    world.write("tunnels.yaml", TUNNELS);
    let workload = Workload::new("shop", "orders").label("app", "orders");
    let mesh = world.mesh(&workload).await;
    let address = world.serve(&mesh, Router::new().fallback(tunnel)).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    (mesh, sender)
}

async fn connect(sender: &mut http2::SendRequest<Empty<Bytes>>, host: &str) -> TokioIo<Upgraded> {
    sender.ready().await.unwrap();
    let request = Request::connect(format!("{host}:443")).body(Empty::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    TokioIo::new(hyper::upgrade::on(answer).await.unwrap())
}

/// Each tunnel of an HTTP/2 connection is judged again, not the last one alone.
#[tokio::test]
async fn every_tunnel_of_a_connection_is_judged_again() {
    let world = World::new();
    let (mesh, mut sender) = tunnels(&world).await;
    let mut first = connect(&mut sender, "a.example").await;
    let mut second = connect(&mut sender, "b.example").await;
    let deny = |host: &str| denying("x").replace("paths: [\"x\"]", &format!("hosts: [{host}]"));

    world.write("rules.yaml", &deny("c.example"));
    generation(&mesh, 2).await;
    assert!(echoes(&mut first).await && echoes(&mut second).await);

    world.write("rules.yaml", &deny("a.example"));
    generation(&mesh, 3).await;
    let ended = tokio::time::timeout(Duration::from_secs(2), first.read_u8()).await;
    assert!(ended.is_ok_and(|read| read.is_err()), "the first tunnel goes on");
    let line = "mesh_connections_ended_total{side=\"server\",reason=\"denied\"} 1";
    assert!(mesh.metrics().render().contains(line));
}

/// What is kept of tunnels is bounded: after 200 a connection is asked to end, and what it carries goes on, judged as before.
#[tokio::test]
async fn a_connection_has_its_share_of_tunnels() {
    let world = World::new();
    let (mesh, mut sender) = tunnels(&world).await;
    let mut first = connect(&mut sender, "a.example").await;
    for _ in 1..200 {
        drop(connect(&mut sender, "b.example").await);
    }
    let request = || Request::connect("b.example:443").body(Empty::new()).unwrap();
    let asked = async { while sender.send_request(request()).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_secs(2), asked).await.is_ok());
    assert!(echoes(&mut first).await);

    world.write(
        "rules.yaml",
        &denying("x").replace("paths: [\"x\"]", "hosts: [a.example]"),
    );
    generation(&mesh, 2).await;
    let ended = tokio::time::timeout(Duration::from_secs(2), first.read_u8()).await;
    assert!(ended.is_ok_and(|read| read.is_err()));
}

/// C11: unless the policy does not want it.
#[tokio::test]
async fn a_websocket_that_is_not_rechecked_goes_on() {
    let world = World::new();
    world.write("mesh.yaml", &settings("recheck: off, drain: 0s"));
    let (mesh, address) = served(&world, By::Mesh).await;
    let mut stream = websocket(address).await;

    world.write("rules.yaml", &denying("/ws"));
    generation(&mesh, 2).await;
    assert_eq!(closed(&mut stream, Duration::from_millis(300)).await, None);
    assert!(echoes(&mut stream).await);

    world.write("mesh.yaml", &settings("recheck: upgrades"));
    generation(&mesh, 3).await;
    assert!(closed(&mut stream, Duration::from_secs(1)).await.is_some());
}

/// A port that turns STRICT: plain text ends, upgraded or not, within the bound.
#[tokio::test]
async fn connections_end_when_the_mode_of_their_port_does() {
    for by in [By::Mesh, By::Axum] {
        let world = World::new();
        world.write("mesh.yaml", &settings("drain: 300ms"));
        let (mesh, address) = served(&world, by).await;
        let mut upgraded = websocket(address).await;
        let mut feed = TcpStream::connect(address).await.unwrap();
        feed.write_all(b"GET /feed HTTP/1.1\r\nhost: orders\r\n\r\n")
            .await
            .unwrap();
        assert!(feed.read_u8().await.is_ok());

        world.write("mesh.yaml", "mesh: { mtls: strict, live: { drain: 300ms } }\n");
        generation(&mesh, 2).await;

        assert!(closed(&mut upgraded, Duration::from_secs(1)).await.is_some(), "{by:?}");
        assert!(closed(&mut feed, Duration::from_secs(2)).await.is_some(), "{by:?}");
        let line = "mesh_connections_ended_total{side=\"server\",reason=\"mode\"} 2";
        assert!(mesh.metrics().render().contains(line), "{by:?}");
    }
}

/// Reads a feed over mTLS and HTTP/2 until it fails, for so long at most.
async fn read_feed(mut body: Body, within: Duration) -> Option<Duration> {
    let began = Instant::now();
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    tokio::time::timeout(within, read).await.ok().map(|()| began.elapsed())
}

/// C11: a stream whose request the rules deny by now, where the policy asks for all requests: graceful, then closed.
#[tokio::test]
async fn a_stream_that_is_denied_ends_within_the_bound() {
    let world = World::new();
    world.write("mesh.yaml", &settings("recheck: requests, drain: 300ms"));
    let (mesh, _) = served(&world, By::Mesh).await;
    let (_web, client) = world.client("shop", "web").await;
    let ask = async |path: &str| {
        let request = Request::get(format!("http://orders{path}"))
            .body(Body::empty())
            .unwrap();
        client.send(request).await
    };
    let denied = ask("/feed").await.unwrap().into_body();
    let other = ask("/feed?other").await.unwrap().into_body();
    let waiting = tokio::spawn({
        let client = client.clone();
        let request = Request::get("http://orders/wait").body(Body::empty()).unwrap();
        async move { client.send(request).await.unwrap().status() }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;

    world.write("rules.yaml", &denying("/wait"));
    generation(&mesh, 2).await;
    assert_eq!(
        waiting.await.unwrap(),
        403,
        "what has no answer yet is answered by the mesh"
    );
    assert_eq!(
        read_feed(other, Duration::from_millis(600)).await,
        None,
        "allowed streams go on"
    );

    world.write("rules.yaml", &denying("/feed"));
    generation(&mesh, 3).await;
    let lasted = read_feed(denied, Duration::from_secs(3)).await.unwrap();
    assert!(
        lasted > Duration::from_millis(200),
        "it has had time to end: {lasted:?}"
    );
    let line = "mesh_connections_ended_total{side=\"server\",reason=\"denied\"} 2";
    let metrics = mesh.metrics().render();
    assert!(metrics.contains(line), "{metrics}");
}

/// By the default, a request is judged when it comes.
const DOOR: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: door }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 8080, name: http, protocol: HTTP }, hosts: ['*'] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: door }
spec: { hosts: [shop.example], gateways: [door], http: [{ route: [{ destination: { host: orders } }] }] }
";

const SHUT: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: shut }
spec:
  selector: { matchLabels: { istio: ingressgateway } }
  action: DENY
  rules: [{ to: [{ operation: { paths: [/feed] } }] }]
";

/// Rules hold at a gateway as at a server, for what is under way as well; and it counts who has come.
#[tokio::test]
async fn a_stream_through_a_gateway_is_counted_and_ends_when_it_is_denied() {
    let world = World::new();
    world.write("mesh.yaml", &settings("recheck: requests, drain: 0s"));
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let orders = format!(
        "services: {{ orders: {{ endpoints: [{}] }} }}\n",
        backend.local_addr().unwrap()
    );
    tokio::spawn(async move { axum::serve(backend, app()).await.unwrap() });
    world.write("orders.yaml", &orders);
    world.write("door.yaml", DOOR);
    let workload = Workload::new("default", "door").label("istio", "ingressgateway");
    let mesh = world.mesh(&workload).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = mesh.clone();
    tokio::spawn(async move { serving.gateway().port(8080).serve(listener).await.unwrap() });

    let mut feed = TcpStream::connect(address).await.unwrap();
    let request = b"GET /feed HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    feed.write_all(request).await.unwrap();
    let mut answer = [0; 12];
    feed.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let open = "mesh_connections{side=\"server\"} 1";
    let metrics = mesh.metrics().render();
    assert!(metrics.lines().any(|line| line == open), "{metrics}");

    world.write("shut.yaml", SHUT);
    assert!(closed(&mut feed, Duration::from_secs(5)).await.is_some());
}

/// The same door on a port of which only the policy says how it is secured.
fn door(port: &str) -> String {
    DOOR.replace("{ number: 8080, name: http, protocol: HTTP }, hosts: ['*']", port)
}

const IN_CLEAR: &str = "{ number: 8443, name: door, protocol: HTTP }, hosts: ['*']";
const BY_TLS: &str = "{ number: 8443, name: door, protocol: HTTPS }, hosts: ['*'], \
                      tls: { mode: SIMPLE, credentialName: shop }";
const ELSEWHERE: &str = "{ number: 9443, name: door, protocol: HTTP }, hosts: ['*']";

/// A gateway to orders, with a certificate, whose port is as given at first.
async fn gateway(world: &World, port: &str) -> (Mesh, SocketAddr) {
    world.write("mesh.yaml", &settings("drain: 300ms"));
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let orders = backend.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(backend, app()).await.unwrap() });
    world.write(
        "orders.yaml",
        &format!("services: {{ orders: {{ endpoints: [\"{orders}\"] }} }}\n"),
    );
    world.write("door.yaml", &door(port));
    let secret = world.folder("credentials/shop");
    let (hour, now) = (Duration::from_secs(3600), std::time::SystemTime::now());
    world.ca().write_web(&secret, &["shop.example"], hour, now).unwrap();
    let workload = Workload::new("default", "door").label("istio", "ingressgateway");
    let builder = world.builder(&workload).credentials(world.folder("credentials"));
    let mesh = builder.build().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = mesh.clone();
    tokio::spawn(async move { serving.gateway().port(8443).serve(listener).await.unwrap() });
    (mesh, address)
}

/// The status of an answer without a body, on a connection that is kept.
async fn status(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8_lossy(&answer[9..12]).into_owned()
}

/// A gateway's port that turns to TLS serves nobody in clear any more, and the reverse.
#[tokio::test]
async fn connections_of_a_gateway_end_when_its_port_speaks_otherwise() {
    let world = World::new();
    let (mesh, address) = gateway(&world, IN_CLEAR).await;
    let (mut idle, mut feed) = (
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
    );
    assert_eq!(status(&mut idle, "/nothing").await, "404");
    assert_eq!(status(&mut feed, "/feed").await, "200");

    // What changes something else changes nothing for them, nor does a port without routes to give away.
    world.write("door.yaml", &door(ELSEWHERE));
    generation(&mesh, 2).await;
    assert_eq!(closed(&mut idle, Duration::from_millis(100)).await, None);

    world.write("door.yaml", &door(BY_TLS));
    generation(&mesh, 3).await;
    assert!(closed(&mut idle, Duration::from_secs(2)).await.is_some());
    let lasted = closed(&mut feed, Duration::from_secs(2)).await;
    assert!(lasted.is_some(), "it is cut after the drain");
    let ended = |count: u8| format!("mesh_connections_ended_total{{side=\"server\",reason=\"mode\"}} {count}");
    assert!(mesh.metrics().render().contains(&ended(2)));

    let roots = world.ca().certificate_pem().as_bytes();
    let config = WebClientConfig::with_roots(roots, &[Alpn::Http1], &Clock::system()).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let limit = Duration::from_secs(5);
    let (mut stream, _) = connect_web(stream, Arc::new(config), "shop.example", limit)
        .await
        .unwrap();
    assert_eq!(status(&mut stream, "/feed").await, "200");

    world.write("door.yaml", &door(IN_CLEAR));
    generation(&mesh, 4).await;
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok() && mesh.metrics().render().contains(&ended(3)));
}

#[tokio::test]
async fn a_stream_goes_on_by_default() {
    let world = World::new();
    world.write("mesh.yaml", &settings("drain: 0s"));
    let (mesh, _) = served(&world, By::Mesh).await;
    let (_web, client) = world.client("shop", "web").await;
    let request = Request::get("http://orders/feed").body(Body::empty()).unwrap();
    let body = client.send(request).await.unwrap().into_body();

    world.write("rules.yaml", &denying("/feed"));
    generation(&mesh, 2).await;

    assert_eq!(read_feed(body, Duration::from_millis(500)).await, None);
}

/// A WebSocket is no reason to wait for ever at shutdown, and is waited for as long as other requests.
#[tokio::test]
async fn shutdown_ends_websockets_in_time() {
    let world = World::new();
    world.write("mesh.yaml", "mesh: {}\n");
    let workload = Workload::new("shop", "orders");
    let mesh = world
        .builder(&workload)
        .drain_timeout(Duration::from_millis(300))
        .build()
        .await
        .unwrap();
    let address = world.serve(&mesh, app()).await;
    let mut stream = websocket(address).await;

    mesh.shutdown();
    assert!(echoes(&mut stream).await);
    let lasted = closed(&mut stream, Duration::from_secs(3)).await.unwrap();
    assert!(lasted > Duration::from_millis(100), "{lasted:?}");
}
