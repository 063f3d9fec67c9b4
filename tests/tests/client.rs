//! The client over sockets: names, balancing, limits, retries, timeouts, failures that explain themselves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use http::Request;
use mesh_core::outcome::Outcome;
use mesh_tests::seeds::{secured, service};
use mesh_tests::world::{get, send, send_body, until};
use mesh_tests::{Backend, World};
use mesh_tower::Body;
use tokio::net::TcpListener;

#[tokio::test]
async fn requests_are_spread_over_endpoints_and_connections_are_kept() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let world = World::new();
    world.write("orders.yaml", &service("default", "orders", &[(&a, "v1"), (&b, "v2")]));
    let (_mesh, client) = world.client("default", "web").await;

    for _ in 0..50 {
        assert_eq!(get(&client, "http://orders/x").await.unwrap().status, 200);
    }

    assert_eq!(a.hits() + b.hits(), 50);
    assert!(a.hits() > 5 && b.hits() > 5, "{} and {}", a.hits(), b.hits());
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[tokio::test]
async fn every_algorithm_honours_weights() {
    for algorithm in ["round_robin", "random", "least_request"] {
        let (a, b) = (Backend::start("a").await, Backend::start("b").await);
        let world = World::new();
        let endpoints = format!(
            "[{{ address: \"{}\", weight: 3 }}, {{ address: \"{}\", weight: 1 }}]",
            a.address, b.address
        );
        world.write(
            "orders.yaml",
            &format!("services:\n  orders: {{ endpoints: {endpoints}, balance: {algorithm} }}\n"),
        );
        let (_mesh, client) = world.client("default", "web").await;

        for _ in 0..400 {
            get(&client, "http://orders/").await.unwrap();
        }

        let share = a.hits();
        assert!(
            (260..=340).contains(&share),
            "{algorithm}: {share} of 400, expected 300"
        );
    }
}

#[tokio::test]
async fn names_in_every_form_reach_the_service() {
    let a = Backend::start("a").await;
    let world = World::new();
    world.write("orders.yaml", &service("shop", "orders", &[(&a, "v1")]));
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

#[tokio::test]
async fn what_is_matched_is_what_is_sent() {
    let (admin, public) = (Backend::start("admin").await, Backend::start("public").await);
    let world = World::new();
    let routes = "    routes:\n      - { match: { path: { prefix: /admin } }, to: admin }\n      - { to: public }\n";
    let endpoints = |backend: &Backend| {
        format!(
            "{{ address: \"{}\", labels: {{ part: {} }} }}",
            backend.address,
            backend_name(backend, &admin)
        )
    };
    world.write(
        "orders.yaml",
        &format!(
            "services:\n  orders:\n    endpoints: [{}, {}]\n    subsets: {{ admin: {{ part: admin }}, public: {{ part: public }} }}\n{routes}",
            endpoints(&admin),
            endpoints(&public)
        ),
    );
    let (_mesh, client) = world.client("default", "web").await;

    for path in [
        "/admin/x",
        "/a/../admin/x",
        "/a\\..\\admin/x",
        "/%61dmin/x",
        "/./admin/x",
    ] {
        assert_eq!(
            get(&client, &format!("http://orders{path}")).await.unwrap().text,
            "admin",
            "{path}"
        );
    }
    assert_eq!(admin.hits_of("/admin/x"), 5);
    assert_eq!(get(&client, "http://orders/administrator").await.unwrap().text, "admin");
    assert_eq!(get(&client, "http://orders/public").await.unwrap().text, "public");
    let error = get(&client, "http://orders/a%2f..%2fadmin").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::BadRequest);
}

fn backend_name(backend: &Backend, admin: &Backend) -> &'static str {
    if backend.address == admin.address {
        "admin"
    } else {
        "public"
    }
}

#[tokio::test]
async fn a_body_is_sent_again_up_to_a_limit() {
    let a = Backend::start("a").await;
    let world = World::new();
    let text = format!(
        "services:\n  orders:\n    endpoints: [\"{}\"]\n    retry: {{ attempts: 3, on: [5xx] }}\n",
        a.address
    );
    world.write("orders.yaml", &text);
    let (_mesh, client) = world.client("default", "web").await;
    let put = |text: &str| send_body(&client, Request::put("http://orders/x"), Body::from(text.to_owned()));

    a.fail(2);
    assert_eq!(put("the whole order").await.unwrap().status, 200);
    assert_eq!((a.hits(), a.last().1.as_slice()), (3, b"the whole order".as_slice()));

    a.fail(1);
    let large = "x".repeat(100 * 1024);
    assert_eq!(put(&large).await.unwrap().status, 503, "more than 64 KiB are not kept");
    assert_eq!(a.hits(), 4);
}

#[tokio::test]
async fn a_post_is_tried_again_only_where_no_server_has_seen_it() {
    let (a, gone) = (Backend::start("a").await, refused().await);
    let world = World::new();
    let text = format!(
        "services:\n  orders:\n    endpoints: [\"{}\", \"{gone}\"]\n    retry: {{ attempts: 3, on: [5xx, connect-failure] }}\n",
        a.address
    );
    world.write("orders.yaml", &text);
    let (_mesh, client) = world.client("default", "web").await;

    for _ in 0..20 {
        let post = send_body(&client, Request::post("http://orders/x"), Body::from("once"))
            .await
            .unwrap();
        assert_eq!(post.status, 200);
    }
    assert_eq!(a.hits(), 20);
    a.fail(1);
    let failed = send_body(&client, Request::post("http://orders/x"), Body::from("once"))
        .await
        .unwrap();
    assert_eq!((failed.status, a.hits()), (503, 21));
    a.fail(1);
    let keyed = Request::post("http://orders/x").header("idempotency-key", "k1");
    assert_eq!(send_body(&client, keyed, Body::from("once")).await.unwrap().status, 200);
}

/// An address where nobody listens.
async fn refused() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// K2.
#[tokio::test]
async fn the_retry_budget_stops_a_storm() {
    let a = Backend::start("a").await;
    a.answer_with(503);
    let world = World::new();
    let text = format!(
        "services:\n  orders:\n    endpoints: [\"{}\"]\n    retry: {{ attempts: 3, on: [5xx] }}\n    retry_budget: {{ percent: 20, min_per_second: 1, ttl: 10s }}\n",
        a.address
    );
    world.write("orders.yaml", &text);
    let (mesh, client) = world.client("default", "web").await;

    for _ in 0..200 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 503);
    }

    // 200 first tries, a fifth of them again, ten for the reserve, and what a slow run adds to it.
    let hits = a.hits();
    assert!((240..=275).contains(&hits), "{hits}");
    let exhausted = mesh.metrics().render();
    let line = exhausted
        .lines()
        .find(|line| line.starts_with("mesh_retry_budget_exhausted_total"))
        .unwrap();
    assert!(!line.ends_with(" 0"), "{line}");
}

#[tokio::test]
async fn failures_say_what_happened_and_which_rule_decided() {
    let a = Backend::start("a").await;
    let world = World::new();
    world.write("mesh.yaml", "mesh: { outbound: registry_only }\n");
    let text = format!(
        "services:\n  orders:\n    endpoints: [\"{}\"]\n    routes:\n      - {{ name: reads, match: {{ method: GET }}, timeout: 100ms }}\n  gone:\n    endpoints: [\"{}\"]\n",
        a.address,
        refused().await
    );
    world.write("orders.yaml", &text);
    let (_mesh, client) = world.client("default", "web").await;

    let error = send(&client, Request::delete("http://orders/x")).await.unwrap_err();
    assert_eq!(
        (error.outcome(), error.status().as_u16(), error.flags()),
        (Outcome::NoRoute, 404, "NR")
    );
    let error = get(&client, "http://unknown/").await.unwrap_err();
    assert_eq!((error.outcome(), error.status().as_u16()), (Outcome::UnknownHost, 502));
    let error = get(&client, "http://gone/").await.unwrap_err();
    assert!(error.is_connect(), "{error}");
    assert_eq!(
        (error.status().as_u16(), error.flags(), error.attempts()),
        (503, "UF,URX", 3)
    );

    a.delay(Duration::from_secs(60));
    let error = get(&client, "http://orders/x").await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(
        (error.status().as_u16(), error.flags(), error.route()),
        (504, "UT", Some("reads"))
    );
    let origin = error.origin().unwrap();
    assert!(origin.file.ends_with("orders.yaml") && origin.line == 5, "{origin}");
    assert!(error.to_string().contains("orders.yaml:5"), "{error}");
}

#[tokio::test]
async fn a_timeout_covers_the_body_of_the_response() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Headers and a first chunk at once, the rest never.
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    });
    let world = World::new();
    world.write(
        "orders.yaml",
        &format!("services:\n  orders:\n    endpoints: [\"{address}\"]\n    routes: [{{ timeout: 200ms }}]\n"),
    );
    let (mesh, client) = world.client("default", "web").await;

    let response = client
        .send(Request::get("http://orders/").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let error = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap_err();

    assert!(error.to_string().contains("in time"), "{error}");
    until("the request counts as timed out", || {
        mesh.metrics().render().contains("response_flags=\"UT\"")
    })
    .await;
}

/// F18, ID-4.
#[tokio::test]
async fn a_server_with_another_identity_gets_nothing() {
    let world = World::new();
    let backend = Backend::start("orders").await;
    let impostor = world.mesh_without_policy("shop", "impostor").await;
    let address = world.serve(&impostor, backend.router()).await;
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    let (_mesh, client) = world.client("shop", "web").await;

    let error = get(&client, "http://orders/").await.unwrap_err();

    assert!(error.is_identity_mismatch(), "{error}");
    assert!(
        error.to_string().contains("impostor") || format!("{error:?}").contains("impostor"),
        "{error:?}"
    );
    assert_eq!(backend.hits(), 0);
}

/// G9.
#[tokio::test]
async fn without_an_identity_mtls_fails_closed() {
    let world = World::new();
    let backend = Backend::start("orders").await;
    let orders = secured("shop", "orders", "orders", backend.address);
    let outliers = "    outliers: { consecutive_5xx: 1, max_ejected_percent: 100 }\n";
    world.write("orders.yaml", &[orders.as_str(), outliers].concat());
    let mesh = mesh_tower::Mesh::builder()
        .policy(world.policies())
        .without_admin()
        .build()
        .await
        .unwrap();

    // It is said each time: an endpoint that nobody has called has not failed.
    for _ in 0..10 {
        let error = get(&mesh.client(), "http://orders.shop/").await.unwrap_err();

        assert_eq!(error.outcome(), Outcome::TlsFailure);
        assert!(error.to_string().contains("no identity"), "{error}");
    }
    assert_eq!(backend.hits(), 0);
}

/// K4.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_behind() {
    let a = Backend::start("a").await;
    let world = World::new();
    let text = format!(
        "services:\n  orders:\n    endpoints: [\"{}\"]\n    limits: {{ requests: 1 }}\n    outliers: {{ consecutive_5xx: 1 }}\n",
        a.address
    );
    world.write("orders.yaml", &text);
    let (mesh, client) = world.client("default", "web").await;

    for _ in 0..5 {
        let held = tokio::time::timeout(Duration::from_millis(30), get(&client, "http://orders/hold")).await;
        assert!(held.is_err());
    }
    a.release(100);
    assert_eq!(
        get(&client, "http://orders/").await.unwrap().status,
        200,
        "the permit came back"
    );
    let metrics = mesh.metrics().render();
    let cancelled = metrics
        .lines()
        .find(|line| line.starts_with("istio_requests_total") && line.contains("response_flags=\"DC\""));
    assert!(cancelled.is_some_and(|line| line.ends_with(" 5")), "{metrics}");
}

#[tokio::test]
async fn a_service_without_endpoints_is_resolved_by_dns_and_survives_its_name_server() {
    let a = Backend::start("a").await;
    let world = World::new();
    world.write(
        "orders.yaml",
        &format!("services:\n  orders: {{ port: {} }}\n", a.address.port()),
    );
    let resolver = std::sync::Arc::new(Once::default());
    let mesh = world
        .builder(&mesh_core::workload::Workload::default())
        .resolver(resolver.clone())
        .build()
        .await
        .unwrap();
    let client = mesh.client();

    for _ in 0..3 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().text, "a");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    assert!(
        resolver.asked.load(std::sync::atomic::Ordering::SeqCst) >= 2,
        "asked again when its answer had expired"
    );
}

/// Answers once with this machine's address, and then with nothing.
#[derive(Debug, Default)]
struct Once {
    asked: std::sync::atomic::AtomicUsize,
}

impl mesh_tower::discovery::Resolve for Once {
    fn resolve<'a>(&'a self, name: &'a str) -> mesh_tower::discovery::Resolving<'a> {
        assert_eq!(name, "orders.default.svc.cluster.local");
        let first = self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let addresses = if first {
            vec!["127.0.0.1".parse().unwrap()]
        } else {
            Vec::new()
        };
        Box::pin(async move { Ok(mesh_tower::discovery::Answer::new(addresses, Duration::from_secs(1))) })
    }
}

#[tokio::test]
async fn a_port_that_says_http2_gets_it_in_plain_text() {
    let a = Backend::start("a").await;
    let world = World::new();
    let text = format!(
        "services:\n  orders:\n    ports: [{{ number: 80, protocol: http2 }}]\n    endpoints: [\"{}\"]\n",
        a.address
    );
    world.write("orders.yaml", &text);
    let (_mesh, client) = world.client("default", "web").await;

    let held: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { get(&client, "http://orders/hold").await.unwrap().status })
        })
        .collect();
    until("ten requests at a time", || a.held() == 10).await;
    assert_eq!(a.connections(), 1, "they share a connection");
    a.release(10);
    for request in held {
        assert_eq!(request.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn connections_and_handshakes_of_the_client_are_counted() {
    let world = World::new();
    let backend = Backend::start("orders").await;
    let orders = world.mesh_without_policy("shop", "orders").await;
    let address = world.serve(&orders, backend.router()).await;
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    world.write("gone.yaml", &secured("shop", "impostor", "nobody", address));
    let (mesh, client) = world.client("shop", "web").await;

    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    assert!(get(&client, "http://impostor/").await.is_err());

    let metrics = mesh.metrics().render();
    for line in [
        "mesh_connections{side=\"client\"} 1",
        "mesh_tls_handshakes_total{side=\"client\",result=\"ok\",reason=\"none\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let failed = metrics.lines().find(|line| {
        line.starts_with("mesh_tls_handshakes_total{side=\"client\",result=\"failed\",reason=\"unexpected_peer\"}")
    });
    assert!(failed.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
}

/// A gRPC status in the headers is told when these come, and is still there when the answer ends.
#[tokio::test]
async fn a_call_that_fails_in_its_headers_counts_once_against_its_endpoint() {
    let a = Backend::start("a").await;
    a.say("grpc-status", "14");
    let world = World::new();
    let outliers = "outliers: { consecutive_5xx: 2, max_ejected_percent: 100 }";
    let text = format!(
        "services:\n  orders: {{ endpoints: [\"{}\"], {outliers} }}\n",
        a.address
    );
    world.write("orders.yaml", &text);
    let (mesh, client) = world.client("default", "web").await;
    let call = || Request::post("http://orders/shop.Orders/Get").header("content-type", "application/grpc");
    let ejections = || {
        let text = mesh.metrics().render();
        let line = text
            .lines()
            .find(|line| line.starts_with("mesh_outlier_ejections_total"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
    };

    assert_eq!(send(&client, call()).await.unwrap().status, 200);
    assert_eq!(ejections(), Some(0), "of two failures that it takes");
    assert_eq!(send(&client, call()).await.unwrap().status, 200);
    assert_eq!(ejections(), Some(1));
}

/// What a server says in its head it has said, whether or not anybody reads the rest.
#[tokio::test]
async fn an_answer_that_is_not_read_ends_a_row_of_failures() {
    let a = Backend::start("a").await;
    let world = World::new();
    let outliers = "outliers: { consecutive_5xx: 2, max_ejected_percent: 100 }";
    let text = format!(
        "services:\n  orders: {{ endpoints: [\"{}\"], {outliers} }}\n",
        a.address
    );
    world.write("orders.yaml", &text);
    let (_mesh, client) = world.client("default", "web").await;
    let status = async || {
        let request = Request::get("http://orders/").body(Body::empty()).unwrap();
        client.send(request).await.unwrap().status().as_u16()
    };

    for _ in 0..3 {
        a.fail(1);
        assert_eq!(status().await, 503);
        assert_eq!(status().await, 200);
    }
}

#[tokio::test]
async fn a_retry_holds_up_others_until_its_answer_comes_and_no_longer() {
    let a = Backend::start("a").await;
    let world = World::new();
    let text = format!(
        "services:\n  orders:\n    endpoints: [\"{}\"]\n    limits: {{ retries: 1 }}\n    retry: {{ attempts: 2, on: [5xx] }}\n",
        a.address
    );
    world.write("orders.yaml", &text);
    let (_mesh, client) = world.client("default", "web").await;
    let answer = async |failures| {
        a.fail(failures);
        let request = Request::get("http://orders/").body(Body::empty()).unwrap();
        client.send(request).await.unwrap()
    };

    let unread = answer(1).await;
    assert_eq!(unread.status(), 200);
    assert_eq!(answer(1).await.status(), 200, "the answer of another retry is not read");
    assert_eq!(answer(2).await.status(), 200, "its own first retry is over");
    drop(unread);
}

/// As over HTTP/1: an authorizer's answer may have all of a long target in it.
#[tokio::test]
async fn a_long_head_of_an_answer_arrives_over_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = || async { ([("location", "x".repeat(100_000))], "found") };
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    let world = World::new();
    world.write(
        "orders.yaml",
        &format!("services: {{ orders: {{ endpoints: [\"{address}\"] }} }}\n"),
    );
    let (_mesh, client) = world.client("default", "web").await;

    for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
        let request = Request::get("http://orders/").version(version);
        let answer = send(&client, request).await.unwrap();
        assert_eq!(
            (answer.status, answer.headers["location"].len()),
            (200, 100_000),
            "{version:?}"
        );
    }
}
