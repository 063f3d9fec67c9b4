//! Every condition of retries that a server can bring about, over sockets: each is tried again where its token says so, and
//! not where another one does.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join_all, ready};
use futures_util::stream::{BoxStream, once, pending, repeat};
use http::Request;
use http_body_util::BodyExt;
use mesh_core::decide::deadline::parse_grpc_timeout;
use mesh_core::outcome::Outcome;
use mesh_core::workload::Workload;
use mesh_tests::wire::rest;
use mesh_tests::world::{get, send, send_body, streamed, until};
use mesh_tests::{Backend, World};
use mesh_tower::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A virtual service of `orders` that retries on these tokens, and its endpoints.
fn policy(endpoints: &[SocketAddr], on: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|one| format!("\"{one}\"")).collect();
    format!(
        "services: {{ orders: {{ endpoints: [{}], balance: round_robin }} }}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: orders }}
spec:
  hosts: [orders]
  http: [{{ route: [{{ destination: {{ host: orders }} }}], retries: {{ attempts: 2, retryOn: '{on}', backoff: 1ms }} }}]
",
        endpoints.join(", ")
    )
}

/// Sends one request under a policy.
async fn call(policy: &str) -> Option<u16> {
    call_of(policy, Request::get("http://orders/")).await
}

async fn call_of(policy: &str, request: http::request::Builder) -> Option<u16> {
    let world = World::new();
    world.write("policy.yaml", policy);
    let mesh = world.mesh(&Workload::new("default", "web")).await;
    let answer = send(&mesh.client(), request).await;
    answer.ok().map(|answer| answer.status)
}

/// How often a server was asked that answers so.
async fn tries(on: &str, status: u16) -> usize {
    let backend = Backend::start("a").await;
    backend.answer_with(status);
    call(&policy(&[backend.address], on)).await;
    backend.hits()
}

/// The same for a call of gRPC and its status.
async fn calls(on: &str, status: &'static str) -> usize {
    let backend = Backend::start("a").await;
    backend.say("content-type", "application/grpc");
    backend.say("grpc-status", status);
    let request = Request::post("http://orders/shop.Orders/List").header("content-type", "application/grpc");
    // gRPC is HTTP/2.
    let text = policy(&[backend.address], on).replace("orders: {", "orders: { port: { number: 80, protocol: grpc },");
    call_of(&text, request).await;
    backend.hits()
}

#[tokio::test]
async fn statuses_are_tried_again_by_the_tokens_that_hold_for_them() {
    for (on, statuses, others) in [
        ("5xx", &[500, 503, 599][..], &[200, 404, 429][..]),
        ("gateway-error", &[502, 503, 504], &[500, 501, 505]),
        ("retriable-4xx", &[409], &[400, 404, 429]),
        ("retriable-status-codes,418,503", &[418, 503], &[500, 409]),
        ("418", &[418], &[503]),
    ] {
        for status in statuses {
            assert_eq!(tries(on, *status).await, 3, "{on} for {status}");
        }
        for status in others {
            assert_eq!(tries(on, *status).await, 1, "{on} for {status}");
        }
    }
}

#[tokio::test]
async fn statuses_of_grpc_are_tried_again_by_their_names() {
    for (on, status) in [
        ("cancelled", "1"),
        ("deadline-exceeded", "4"),
        ("resource-exhausted", "8"),
        ("internal", "13"),
        ("unavailable", "14"),
    ] {
        for of in ["1", "4", "8", "13", "14", "0"] {
            let expected = if of == status { 3 } else { 1 };
            assert_eq!(calls(on, of).await, expected, "{on} for {of}");
        }
    }
}

/// A server that ends each connection once it has read some of the request.
async fn broken() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, hits) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&hits);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4096];
            if stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, hits)
}

#[tokio::test]
async fn connections_that_end_without_an_answer_are_tried_again_as_resets() {
    for (on, expected) in [
        ("reset", 3),
        ("5xx", 3),
        ("connect-failure", 1),
        ("refused-stream", 1),
        ("retriable-4xx", 1),
    ] {
        let (address, hits) = broken().await;
        assert_eq!(call(&policy(&[address], on)).await, None, "{on}");
        assert_eq!(hits.load(Ordering::SeqCst), expected, "{on}");
    }
}

#[tokio::test]
async fn connections_that_cannot_be_made_are_tried_again_elsewhere() {
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for (on, is_found) in [("connect-failure", true), ("5xx", true), ("retriable-4xx", false)] {
        let backend = Backend::start("a").await;
        let world = World::new();
        world.write("policy.yaml", &policy(&[gone, backend.address], on));
        let mesh = world.mesh(&Workload::new("default", "web")).await;
        let client = mesh.client();
        // In turn, every other request meets the endpoint that is gone first.
        let mut answered = 0;
        for _ in 0..10 {
            let request = Request::get("http://orders/");
            answered += usize::from(send(&client, request).await.is_ok());
        }
        assert_eq!(answered == 10, is_found, "{on}: {answered}");
    }
}

/// Reads until `last` has come.
async fn read_until(stream: &mut TcpStream, last: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(last) {
        text.push(stream.read_u8().await.unwrap().into());
    }
    text
}

/// A server that refuses a request by its head reads on, as if nothing had happened.
#[tokio::test]
async fn a_body_on_its_way_to_who_has_refused_it_goes_to_the_next_try() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, body) = streamed();
    sender.send("first".into()).unwrap();
    let server = tokio::spawn(async move {
        let (mut refused, _) = listener.accept().await.unwrap();
        read_until(&mut refused, "\r\n\r\n").await;
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        refused.write_all(answer).await.unwrap();
        let refused = tokio::spawn(async move { rest(&mut refused).await });
        let (mut taken, _) = listener.accept().await.unwrap();
        read_until(&mut taken, "5\r\nfirst\r\n").await;
        sender.send("second".into()).unwrap();
        drop(sender);
        let last = read_until(&mut taken, "0\r\n\r\n").await;
        taken
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        (last, refused.await.unwrap())
    });
    let world = World::new();
    world.write("policy.yaml", &policy(&[address], "5xx"));
    let (_mesh, client) = world.client("default", "web").await;

    let answer = send_body(&client, Request::put("http://orders/"), body);
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;

    assert_eq!(answer.unwrap().unwrap().status, 200);
    let (last, refused) = server.await.unwrap();
    assert_eq!(last, "6\r\nsecond\r\n0\r\n\r\n");
    assert!(!refused.contains("second"), "{refused}");
}

/// The deadline that a call of 5 s tells with its last try, where a fault delays it for 2 s and each answer takes one.
async fn deadline_of_the_last_try(on: &str) -> Duration {
    let backend = Backend::start("a").await;
    backend.say("content-type", "application/grpc");
    backend.say("grpc-status", "14");
    backend.delay(Duration::from_secs(1));
    let request = Request::post("http://orders/shop.Orders/List").header("content-type", "application/grpc");
    let text = policy(&[backend.address], on)
        .replace("orders: {", "orders: { port: { number: 80, protocol: grpc },")
        .replace(
            "retries: { attempts: 2",
            "timeout: 5s, fault: { delay: { fixedDelay: 2s, percentage: { value: 100 } } }, retries: { attempts: 1",
        );
    call_of(&text, request).await;
    let (headers, _) = backend.last();
    parse_grpc_timeout(headers.get("grpc-timeout").unwrap().to_str().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_try_of_a_grpc_call_tells_what_is_left_by_then() {
    let (first, second) = (
        deadline_of_the_last_try("internal").await,
        deadline_of_the_last_try("unavailable").await,
    );
    let tenth = Duration::from_millis(100);
    for (told, expected) in [(first, Duration::from_secs(5)), (second, Duration::from_secs(4))] {
        assert!(told <= expected && told > expected - tenth, "{told:?} for {expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_pays_for_retries_when_it_is_sent_and_not_when_a_fault_held_it_back() {
    let backend = Backend::start("a").await;
    backend.fail(1);
    let text = policy(&[backend.address], "5xx")
        .replace(
            "orders: {",
            "orders: { retry_budget: { percent: 100, min_per_second: 0, ttl: 10s },",
        )
        .replace(
            "retries:",
            "fault: { delay: { fixedDelay: 15s, percentage: { value: 100 } } }, retries:",
        );
    assert_eq!((call(&text).await, backend.hits()), (Some(200), 2));
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_gets_no_answer_is_counted_as_a_failure() {
    let backend = Backend::start("a").await;
    backend.fail(1);
    backend.delay(Duration::from_millis(700));
    let world = World::new();
    let text = policy(&[backend.address], "5xx").replace("retries:", "timeout: 1s, retries:");
    world.write("policy.yaml", &text);
    let (mesh, client) = world.client("default", "web").await;

    let error = get(&client, "http://orders/").await.unwrap_err();

    assert_eq!((error.outcome(), error.attempts()), (Outcome::RequestTimeout, 2));
    let told = mesh.metrics().render();
    let counted: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with("mesh_retries_total") && !line.ends_with(" 0"))
        .collect();
    assert!(
        matches!(counted.as_slice(), [line] if line.contains("result=\"failure\"") && line.ends_with(" 1")),
        "{counted:?}"
    );
}

/// Endpoints with a connection each, whose requests may wait for 200 ms, but for `/hold`.
fn narrow(endpoints: &[&Backend]) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|one| format!("\"{}\"", one.address)).collect();
    format!(
        "services:
  orders:
    endpoints: [{}]
    balance: round_robin
    limits: {{ connections: 1 }}
    outliers: {{ consecutive_5xx: 2, max_ejected_percent: 100 }}
    routes:
      - {{ match: {{ path: /hold }} }}
      - {{ retry: {{ attempts: 1, on: [5xx], per_try_timeout: 200ms }} }}
",
        endpoints.join(", ")
    )
}

#[tokio::test]
async fn time_that_requests_wait_for_each_other_ejects_no_endpoint() {
    let backend = Backend::start("a").await;
    let world = World::new();
    world.write("policy.yaml", &narrow(&[&backend]));
    let (_mesh, client) = world.client("default", "web").await;
    let holding = tokio::spawn({
        let client = client.clone();
        async move { get(&client, "http://orders/hold").await }
    });
    until("held", || backend.held() == 1).await;

    for answer in join_all((0..3).map(|_| get(&client, "http://orders/"))).await {
        let error = answer.unwrap_err();
        assert_eq!((error.outcome(), error.attempts()), (Outcome::PerTryTimeout, 2));
    }

    backend.release(1);
    assert_eq!(holding.await.unwrap().unwrap().status, 200);
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    assert_eq!(backend.hits(), 2);
}

/// Nothing of it was sent: a POST may go elsewhere.
#[tokio::test]
async fn a_request_whose_try_is_over_in_the_queue_is_tried_elsewhere() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = World::new();
    world.write("policy.yaml", &narrow(&[&a, &b]));
    let (_mesh, client) = world.client("default", "web").await;
    let holding = tokio::spawn({
        let client = client.clone();
        async move { get(&client, "http://orders/hold").await }
    });
    until("held", || a.held() + b.held() == 1).await;

    for _ in 0..2 {
        let answer = send(&client, Request::post("http://orders/")).await;
        assert_eq!(answer.unwrap().status, 200);
    }

    a.release(1);
    b.release(1);
    assert_eq!(holding.await.unwrap().unwrap().status, 200);
    assert_eq!(a.hits() + b.hits(), 3);
}

#[tokio::test]
async fn a_further_try_has_all_values_of_a_header() {
    let backend = Backend::start("a").await;
    backend.fail(1);
    let request = Request::get("http://orders/");
    let request = request
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-a", "1");

    assert_eq!(call_of(&policy(&[backend.address], "5xx"), request).await, Some(200));

    let (headers, _) = backend.last();
    let cookies: Vec<_> = headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(headers["x-a"], "1");
}

/// What is tried again is not always a failure of the endpoint: it is avoided all the same.
#[tokio::test]
async fn a_further_try_goes_elsewhere_whatever_the_answer_was() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    a.answer_with(409);
    let world = World::new();
    let text = policy(&[a.address, b.address], "retriable-4xx").replace("round_robin", "random");
    world.write("policy.yaml", &text);
    let (_mesh, client) = world.client("default", "web").await;

    for _ in 0..60 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    }

    assert!(a.hits() > 0);
    assert_eq!(
        a.hits() + b.hits(),
        60 + a.hits(),
        "each went to the first one once at most"
    );
}

/// A server that answers at once, and whose answers never end: with a chunk each time that one is wanted, or one chunk alone.
async fn endless(has_more: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move || async move {
        let rest: BoxStream<'_, _> = match has_more {
            true => repeat(()).boxed(),
            false => pending().boxed(),
        };
        let chunks = once(ready(()))
            .chain(rest)
            .map(|()| Ok::<_, std::io::Error>("x".repeat(1_000)));
        (
            [("content-type", "application/grpc")],
            axum::body::Body::from_stream(chunks),
        )
    };
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    address
}

/// Whether the endpoint is ejected by an answer that its limit ends, read after `pause`.
async fn is_ejected(address: SocketAddr, routes: &str, request: http::request::Builder, pause: Duration) -> bool {
    let world = World::new();
    let text = format!(
        "services: {{ orders: {{ endpoints: [\"{address}\"], outliers: {{ consecutive_5xx: 1, max_ejected_percent: 100 }}{routes} }} }}\n"
    );
    world.write("policy.yaml", &text);
    let (mesh, client) = world.client("default", "web").await;
    let response = client.send(request.body(Body::empty()).unwrap()).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    tokio::time::sleep(pause).await;
    while let Some(Ok(_)) = body.frame().await {}
    drop(body);
    mesh.metrics()
        .render()
        .contains("mesh_outlier_ejections_total{service=\"orders.default.svc.cluster.local\"} 1")
}

/// The limit of the caller, and a caller that reads slowly, say nothing of the endpoint.
#[tokio::test]
async fn an_answer_that_is_late_ejects_its_endpoint_where_that_is_to_blame() {
    let (stalled, fast) = (endless(false).await, endless(true).await);
    let limit = ", routes: [{ timeout: 100ms }]";
    let get = || Request::get("http://orders/");
    let call = || {
        let call = Request::post("http://orders/shop.Orders/Watch").version(http::Version::HTTP_2);
        call.header("content-type", "application/grpc")
            .header("grpc-timeout", "50m")
    };
    let (at_once, late) = (Duration::ZERO, Duration::from_millis(200));

    assert!(is_ejected(stalled, limit, get(), at_once).await);
    assert!(!is_ejected(fast, limit, get(), late).await, "its caller was late");
    assert!(
        !is_ejected(stalled, limit, call(), at_once).await,
        "its caller had no more time"
    );
}
