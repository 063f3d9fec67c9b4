//! Every seed policy, unmodified, and what it does to traffic over sockets.
//!
//! A file beside each seed says where the services are, since a seed leaves that to its cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Request;
use mesh_core::workload::Workload;
use mesh_tests::seed;
use mesh_tests::seeds::{seed, service};
use mesh_tests::world::{get, plain_text, send, until};
use mesh_tests::{Backend, World};
use mesh_tower::client::Client;
use tokio::net::TcpListener;

/// A world with a seed and with two versions of a service.
async fn two_versions(text: &str, namespace: &str, name: &str) -> (World, Backend, Backend) {
    let (v1, v2) = (Backend::start("v1").await, Backend::start("v2").await);
    let world = World::new();
    world.write("seed.yaml", text);
    world.write("endpoints.yaml", &service(namespace, name, &[(&v1, "v1"), (&v2, "v2")]));
    (world, v1, v2)
}

/// Sends `count` requests and counts the answers of `v2`.
async fn share_of_v2(client: &Client, uri: &str, count: usize) -> usize {
    let mut v2 = 0;
    for _ in 0..count {
        v2 += usize::from(get(client, uri).await.unwrap().text == "v2");
    }
    v2
}

/// Within four standard deviations of the binomial: a seeded run that fails by chance once in 16 000 seeds.
fn assert_share(hits: usize, count: usize, share: f64) {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let (hits, count) = (hits as f64, count as f64);
    let deviation = (count * share * (1.0 - share)).sqrt();
    assert!(
        (hits - count * share).abs() <= 4.0 * deviation,
        "{hits} of {count}, expected {share}"
    );
}

#[tokio::test]
async fn seed_01_sends_5_percent_and_marked_requests_to_the_canary() {
    let (world, v1, v2) = two_versions(&seed!("01"), "default", "product-service").await;
    let (_mesh, client) = world.client("default", "web").await;

    let hits = share_of_v2(&client, "http://product-service/", 2_000).await;
    assert_share(hits, 2_000, 0.05);
    let before = v1.hits();
    for _ in 0..50 {
        let answer = send(
            &client,
            Request::get("http://product-service/").header("x-canary", "true"),
        )
        .await;
        assert_eq!(answer.unwrap().text, "v2");
    }
    assert_eq!(v1.hits(), before);
    assert_eq!(v2.hits(), hits + 50);
}

/// Three servers of a service without versions, so that half of them may be ejected.
async fn three(text: &str, name: &str) -> (World, Vec<Backend>) {
    let mut servers = Vec::new();
    for label in ["a", "b", "c"] {
        servers.push(Backend::start(label).await);
    }
    let world = World::new();
    world.write("seed.yaml", text);
    let endpoints: Vec<_> = servers.iter().map(|server| (server, "v1")).collect();
    world.write("endpoints.yaml", &service("default", name, &endpoints));
    (world, servers)
}

/// Fails one server until it is ejected, and counts what it got.
async fn ejected_after(client: &Client, uri: &str, servers: &[Backend]) -> usize {
    servers[0].answer_with(500);
    for _ in 0..120 {
        get(client, uri).await.unwrap();
    }
    servers[0].hits()
}

#[tokio::test]
async fn seed_02_ejects_after_five_errors_and_limits_what_waits() {
    let (world, servers) = three(&seed!("02"), "payment-service").await;
    let (mesh, client) = world.client("default", "web").await;

    assert_eq!(ejected_after(&client, "http://payment-service/", &servers).await, 5);
    assert!(
        mesh.metrics()
            .render()
            .contains("mesh_outlier_ejections_total{service=\"payment-service.default.svc.cluster.local\"} 1")
    );

    // Virtual time: past the ejection and the next sweep, the endpoint is in use again.
    servers[0].answer_with(200);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(41)).await;
    tokio::time::resume();
    for _ in 0..30 {
        get(&client, "http://payment-service/").await.unwrap();
    }
    assert!(servers[0].hits() > 5, "ejected for 30 s, not for ever");

    // 50 connections; while they are busy 25 requests may wait: of 80, five are refused at once.
    servers[0].answer_with(200);
    let (_mesh, client) = world.client("default", "another").await;
    let mut held = Vec::new();
    for busy in [25, 50] {
        held.extend((0..25).map(|_| tokio::spawn(hold(client.clone()))));
        until("connections are busy", || {
            servers.iter().map(Backend::held).sum::<usize>() == busy
        })
        .await;
    }
    held.extend((0..30).map(|_| tokio::spawn(hold(client.clone()))));
    until("five are refused", || {
        held.iter().filter(|request| request.is_finished()).count() == 5
    })
    .await;
    servers.iter().for_each(|server| server.release(1_000));
    let mut answers = std::collections::BTreeMap::new();
    for request in held {
        *answers.entry(request.await.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(answers, [("200".to_owned(), 75), ("503 UO".to_owned(), 5)].into());
}

async fn hold(client: Client) -> String {
    match get(&client, "http://payment-service/hold").await {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("{} {}", error.status().as_u16(), error.flags()),
    }
}

/// The subsets of a service whose seed leaves their definition to another file.
const SUBSETS: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: NAME }
spec:
  host: NAME
  subsets:
    - { name: v1, labels: { version: v1 } }
    - { name: v2, labels: { version: v2 } }
    - { name: v3, labels: { version: v3 } }
";

#[tokio::test]
async fn seed_05_sends_10_percent_and_beta_testers_to_v2() {
    let (world, _v1, _v2) = two_versions(&seed!("05"), "default", "myapp").await;
    world.write("subsets.yaml", &SUBSETS.replace("NAME", "myapp"));
    let (_mesh, client) = world.client("default", "web").await;

    assert_share(share_of_v2(&client, "http://myapp/", 2_000).await, 2_000, 0.1);
    for _ in 0..50 {
        let answer = send(
            &client,
            Request::get("http://myapp/").header("user-type", "beta-tester"),
        )
        .await;
        assert_eq!(answer.unwrap().text, "v2");
    }
}

#[tokio::test]
async fn seed_06_ejects_and_closes_a_connection_after_two_requests() {
    let (world, servers) = three(&seed!("06"), "service-b").await;
    let (_mesh, client) = world.client("default", "web").await;

    for _ in 0..60 {
        get(&client, "http://service-b/").await.unwrap();
    }
    let connections: usize = servers.iter().map(Backend::connections).sum();
    assert!(
        (30..=33).contains(&connections),
        "{connections} connections for 60 requests"
    );
    let before = servers[0].hits();
    assert_eq!(ejected_after(&client, "http://service-b/", &servers).await, before + 5);
}

#[tokio::test]
async fn seed_09_chooses_the_version_by_headers_in_order() {
    let mut servers = Vec::new();
    for version in ["v1", "v2", "v3"] {
        servers.push((Backend::start(version).await, version));
    }
    let world = World::new();
    world.write("seed.yaml", &seed!("09"));
    world.write("subsets.yaml", &SUBSETS.replace("NAME", "reviews"));
    let endpoints: Vec<_> = servers.iter().map(|(server, version)| (server, *version)).collect();
    world.write("endpoints.yaml", &service("default", "reviews", &endpoints));
    let (_mesh, client) = world.client("default", "web").await;

    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[], "v1"),
        (&[("user-group", "beta")], "v2"),
        (&[("user-tier", "premium")], "v3"),
        (&[("user-group", "beta"), ("user-tier", "premium")], "v3"),
    ];
    for (headers, version) in cases {
        let request = Request::get("http://reviews/");
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        assert_eq!(send(&client, request).await.unwrap().text, version, "{headers:?}");
    }
}

#[tokio::test]
async fn seed_12_keeps_one_connection_for_any_number_of_requests() {
    let backend = Backend::start("tuned").await;
    let world = World::new();
    world.write("seed.yaml", &seed!("12"));
    world.write("endpoints.yaml", &service("default", "tuned", &[(&backend, "v1")]));
    let (_mesh, client) = world.client("default", "web").await;

    for _ in 0..100 {
        assert_eq!(get(&client, "http://tuned/").await.unwrap().status, 200);
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn seed_13_retries_three_times_splits_and_gives_up_in_time() {
    let (world, v1, v2) = two_versions(&seed!("13"), "default", "api-service").await;
    let (_mesh, client) = world.client("default", "web").await;

    assert_share(share_of_v2(&client, "http://api-service/", 1_000).await, 1_000, 0.1);

    // Two failures in a row: the third try succeeds, and the caller sees nothing of it.
    let before = v1.hits() + v2.hits();
    v1.fail(2);
    let mut answered = 0;
    while v1.hits() + v2.hits() == before || answered == 0 {
        assert_eq!(get(&client, "http://api-service/").await.unwrap().status, 200);
        answered += 1;
    }
    // Without end: one request and three retries reach the servers, and the last answer is the caller's.
    v1.answer_with(503);
    v2.answer_with(503);
    let before = v1.hits() + v2.hits();
    assert_eq!(get(&client, "http://api-service/").await.unwrap().status, 503);
    assert_eq!(v1.hits() + v2.hits() - before, 4);
    // A POST is not sent twice: the server may have acted on it.
    let before = v1.hits() + v2.hits();
    let post = send(&client, Request::post("http://api-service/")).await.unwrap();
    assert_eq!(post.status, 503);
    assert_eq!(v1.hits() + v2.hits() - before, 1);
}

#[tokio::test]
async fn seed_13_cuts_a_try_at_three_seconds_and_the_request_at_ten() {
    let (world, v1, v2) = two_versions(&seed!("13"), "default", "api-service").await;
    let (_mesh, client) = world.client("default", "web").await;
    v1.delay(Duration::from_secs(60));
    v2.delay(Duration::from_secs(60));

    let start = Instant::now();
    let error = get(&client, "http://api-service/slow").await.unwrap_err();

    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(error.status(), 504);
    assert!(error.flags().starts_with("UT"), "{}", error.flags());
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(9) && took < Duration::from_secs(14),
        "{took:?}"
    );
    assert_eq!(
        v1.hits_of("/slow") + v2.hits_of("/slow"),
        4,
        "tries of three seconds within ten"
    );
}

#[tokio::test]
async fn seed_15_splits_nine_to_one() {
    let (stable, canary) = (Backend::start("v1").await, Backend::start("v2").await);
    let world = World::new();
    world.write("seed.yaml", &seed!("15"));
    world.write(
        "stable.yaml",
        &service("default", "api-service-stable", &[(&stable, "v1")]),
    );
    world.write(
        "canary.yaml",
        &service("default", "api-service-canary", &[(&canary, "v2")]),
    );
    let (_mesh, client) = world.client("default", "web").await;

    assert_share(share_of_v2(&client, "http://api-service/", 2_000).await, 2_000, 0.1);
    assert_eq!(get(&client, "http://api-service-canary/").await.unwrap().text, "v2");
}

#[tokio::test]
async fn seed_16_retries_what_the_profile_calls_retryable() {
    let (world, servers) = three(&seed!("16"), "api-service").await;
    let (_mesh, client) = world.client("default", "web").await;
    let hits = || servers.iter().map(Backend::hits).sum::<usize>();

    servers.iter().for_each(|server| server.fail(1));
    assert_eq!(get(&client, "http://api-service/api/users").await.unwrap().status, 200);
    assert_eq!(hits(), 4, "three failures and a success");

    servers.iter().for_each(|server| server.fail(1));
    let before = hits();
    let order = send(&client, Request::post("http://api-service/api/orders"))
        .await
        .unwrap();
    assert_eq!((order.status, hits() - before), (503, 1));

    servers.iter().for_each(|server| {
        server.fail(0);
        server.delay(Duration::from_secs(60));
    });
    let start = Instant::now();
    let error = get(&client, "http://api-service/api/users").await.unwrap_err();
    assert!(error.is_timeout());
    assert!((5..8).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn seed_17_routes_by_host_and_prefix_at_the_front_door() {
    let (v1, v2) = (Backend::start("v1").await, Backend::start("v2").await);
    let world = World::new();
    world.write("seed.yaml", &seed!("17"));
    world.write("v1.yaml", &service("default", "api-v1", &[(&v1, "v1")]));
    world.write("v2.yaml", &service("default", "api-v2", &[(&v2, "v2")]));
    let secret = world.folder("credentials/example-tls-secret");
    let now = std::time::SystemTime::now();
    world
        .ca()
        .write_web(&secret, &["*.example.com"], Duration::from_secs(3600), now)
        .unwrap();
    let workload = Workload::new("default", "gateway").label("istio", "ingressgateway");
    let mesh = world
        .builder(&workload)
        .credentials(world.folder("credentials"))
        .build()
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = mesh.clone();
    tokio::spawn(async move { serving.gateway().serve(listener).await.unwrap() });

    let door = Door::new(&world, address);
    assert_eq!(door.get("api.example.com", "/v1/users").await, (200, "v1".into()));
    assert_eq!(door.get("api.example.com", "/v2/users").await, (200, "v2".into()));
    assert_eq!(door.get("api.example.com", "/v3/users").await.0, 404);
    assert_eq!(door.get("other.example.com", "/v1/users").await.0, 404);
    assert_eq!(
        door.ask("api.example.com", "other.example.com", "/v1/users").await.0,
        421
    );
    let (headers, _) = v1.last();
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert!(!plain_text(address, "/v1/users").await.starts_with("HTTP/"));
}

/// A browser, as far as a gateway can tell.
struct Door {
    config: std::sync::Arc<mesh_tls::web::WebClientConfig>,
    address: SocketAddr,
}

impl Door {
    fn new(world: &World, address: SocketAddr) -> Self {
        let roots = world.ca().certificate_pem().as_bytes();
        let alpn = [mesh_tls::config::Alpn::Http1];
        let config = mesh_tls::web::WebClientConfig::with_roots(roots, &alpn, &mesh_tls::clock::Clock::system());
        Self {
            config: std::sync::Arc::new(config.unwrap()),
            address,
        }
    }

    async fn get(&self, host: &str, path: &str) -> (u16, String) {
        self.ask(host, host, path).await
    }

    async fn ask(&self, server_name: &str, host: &str, path: &str) -> (u16, String) {
        use http_body_util::BodyExt;
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let limit = Duration::from_secs(5);
        let config = std::sync::Arc::clone(&self.config);
        let (stream, _) = mesh_tls::web::connect_web(stream, config, server_name, limit)
            .await
            .unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", host)
            .body(mesh_tower::Body::empty())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn seed_19_retries_by_default_and_ejects_on_gateway_errors() {
    let (world, servers) = three(&seed!("19"), "orders-api").await;
    world.write(
        "endpoints.yaml",
        &service(
            "production",
            "orders-api",
            &servers.iter().zip(["v1", "v1", "v2"]).collect::<Vec<_>>(),
        ),
    );
    let (mesh, client) = world.client("production", "web").await;
    assert_eq!(
        mesh.policy_status().warnings.len(),
        2,
        "{:?}",
        mesh.policy_status().warnings
    );
    let hits = || servers.iter().map(Backend::hits).sum::<usize>();

    servers.iter().for_each(|server| server.fail(1));
    assert_eq!(get(&client, "http://orders-api/").await.unwrap().status, 200);
    assert_eq!(
        hits(),
        4,
        "three failures and a success: the policy's retries are in force"
    );

    servers[0].answer_with(503);
    let before = servers[0].hits();
    for _ in 0..120 {
        assert_eq!(get(&client, "http://orders-api/").await.unwrap().status, 200);
    }
    let errors = servers[0].hits() - before;
    assert!((4..=5).contains(&errors), "{errors} gateway errors before the ejection");
}

/// Where the subsets of `orders-api` are defined: in seed 19.
async fn orders(text: &str) -> Option<(World, Backend, Backend)> {
    let rule = seed("19")?;
    let (world, v1, v2) = two_versions(text, "production", "orders-api").await;
    world.write("rule.yaml", &rule);
    Some((world, v1, v2))
}

#[tokio::test]
async fn seed_20_sends_a_tenth_to_v2() {
    let Some((world, _v1, _v2)) = orders(&seed!("20")).await else {
        return;
    };
    let (_mesh, client) = world.client("production", "web").await;

    assert_share(share_of_v2(&client, "http://orders-api/", 2_000).await, 2_000, 0.1);
}

#[tokio::test]
async fn seed_21_takes_the_place_of_20_while_requests_go_on() {
    let Some((world, _v1, v2)) = orders(&seed!("20")).await else {
        return;
    };
    let (mesh, client) = world.client("production", "web").await;
    share_of_v2(&client, "http://orders-api/", 100).await;

    world.write("seed.yaml", &seed!("21"));
    mesh_tests::world::generation(&mesh, 2).await;

    let before = v2.hits();
    assert_eq!(share_of_v2(&client, "http://orders-api/", 200).await, 0);
    assert_eq!(v2.hits(), before);
    for _ in 0..20 {
        let answer = send(
            &client,
            Request::get("http://orders-api/").header("x-version", "canary"),
        )
        .await;
        assert_eq!(answer.unwrap().text, "v2");
    }
}

#[tokio::test]
async fn seed_22_loads_with_warnings_for_what_is_not_in_force_and_logs_json() {
    let backend = Backend::start("a").await;
    let world = World::new();
    let log = world.folder("logs").join("access.log");
    // The log goes to a file instead of the test's output; the rest is the seed's.
    world.write(
        "seed.yaml",
        &seed!("22").replace("/dev/stdout", &log.display().to_string()),
    );
    world.write("endpoints.yaml", &service("default", "orders", &[(&backend, "v1")]));
    let (mesh, client) = world.client("default", "web").await;

    let warnings = mesh.policy_status().warnings;
    assert!(
        !warnings.is_empty() && warnings.iter().all(|line| line.contains("not yet in force")),
        "{warnings:?}"
    );
    get(&client, "http://orders/api?secret=1").await.unwrap();
    until("a line in the access log", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;
    let line: serde_json::Value =
        serde_json::from_str(std::fs::read_to_string(&log).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!(line["response_code"], 200);
    assert_eq!(line["method"], "GET");
    assert_eq!(line["upstream_host"], backend.address.to_string());
}

#[tokio::test]
async fn all_seeds_that_belong_together_are_one_policy() {
    let Some(_) = seed("01") else { return };
    let world = World::new();
    // 21 replaces 20; 04, 10, 14 and 18 each define what another defines, as their own clusters do.
    for number in [
        "01", "02", "03", "06", "07", "08", "11", "12", "13", "16", "17", "18", "19", "20",
    ] {
        world.write(&format!("{number}.yaml"), &seed(number).unwrap());
    }
    let mesh = world.mesh(&Workload::default()).await;
    assert_eq!(mesh.policy_status().files.len(), 14);
}
