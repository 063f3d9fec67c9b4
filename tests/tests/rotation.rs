//! A thousand rotations on both sides under load: no request fails, and no connection ends that trust allows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Version};
use http_body_util::BodyExt;
use mesh_core::workload::Workload;
use mesh_tests::seeds::secured;
use mesh_tests::trust::{Authority, both};
use mesh_tests::world::{get, until};
use mesh_tests::{Backend, World};
use mesh_tls::source::StaticSource;
use mesh_tls::svid::TrustBundles;
use mesh_tower::Body;
use mesh_tower::client::Client;
use tokio::net::TcpListener;

const ROTATIONS: usize = 1_000;
/// After so many comes another authority: trusted beside the old one, then issuing, then alone.
const ROLL_OVER: usize = 100;
/// Loops of requests on each version of HTTP.
const CALLERS: usize = 3;

/// The service `one` is called by HTTP/1.1; `two` by what the handshake agrees on, which is HTTP/2.
const HTTP_1: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: one, namespace: shop }
spec:
  host: one.shop.svc.cluster.local
  trafficPolicy: { connectionPool: { http: { h2UpgradePolicy: DO_NOT_UPGRADE } } }
";

/// Calls until told to stop; how many requests of each caller were answered.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicUsize>>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Vec::new(),
            callers: Vec::new(),
        };
        for host in ["one", "two"] {
            for _ in 0..CALLERS {
                let answered = Arc::default();
                let calling = call(client.clone(), host, Arc::clone(&load.stop), Arc::clone(&answered));
                load.answered.push(answered);
                load.callers.push(tokio::spawn(calling));
            }
        }
        load
    }

    fn answered(&self) -> Vec<usize> {
        let each = self.answered.iter();
        each.map(|answered| answered.load(Ordering::SeqCst)).collect()
    }

    /// Waits until each caller had two further answers: the requests of now, with their handshakes, are over then.
    async fn moves_on(&self) {
        let before = self.answered();
        until("two answers for each", || {
            let pairs = self.answered().into_iter().zip(&before);
            pairs.into_iter().all(|(now, before)| now > before + 1)
        })
        .await;
    }

    async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for caller in std::mem::take(&mut self.callers) {
            caller.await.unwrap();
        }
        self.answered
            .iter()
            .map(|answered| answered.load(Ordering::SeqCst))
            .sum()
    }
}

async fn call(client: Client, host: &'static str, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) {
    let expected = if host == "one" {
        Version::HTTP_11
    } else {
        Version::HTTP_2
    };
    while !stop.load(Ordering::SeqCst) {
        let request = Request::get(format!("http://{host}/")).body(Body::empty()).unwrap();
        let response = client
            .send(request)
            .await
            .unwrap_or_else(|error| panic!("{host}: {error:?}"));
        assert_eq!(
            (response.status().as_u16(), response.version()),
            (200, expected),
            "{host}"
        );
        response
            .into_body()
            .collect()
            .await
            .unwrap_or_else(|error| panic!("{host}: {error:?}"));
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// Both sides, and the authority that issues for them.
struct Identities {
    server: StaticSource,
    client: StaticSource,
    ca: Authority,
}

impl Identities {
    fn rotate(&self, trust: &TrustBundles) {
        self.server.rotate(self.ca.svid("orders"), trust.clone()).unwrap();
        self.client.rotate(self.ca.svid("web"), trust.clone()).unwrap();
    }

    /// Another authority takes over, in the order in which that is safe: the old one is trusted until nobody shows it any more.
    async fn roll_over(&mut self, load: &Load) {
        let next = Authority::new("ours");
        let trust = both(&self.ca, &next);
        self.rotate(&trust);
        load.moves_on().await;
        self.ca = next;
        self.rotate(&trust);
        load.moves_on().await;
        self.rotate(&self.ca.bundles());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rotations_fail_no_request() {
    let (world, backend) = (World::new(), Backend::start("orders").await);
    let ca = Authority::new("ours");
    let mut identities = Identities {
        server: ca.source("orders"),
        client: ca.source("web"),
        ca,
    };
    world.write("mesh.yaml", "mesh: { mtls: strict }\n");
    world.write("one-rule.yaml", HTTP_1);
    for name in ["one", "two"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.write(&format!("{name}.yaml"), &secured("shop", name, "orders", address));
        let workload = Workload::new("shop", "orders").label("app", name);
        let mesh = world
            .builder(&workload)
            .identity(identities.server.source())
            .build()
            .await
            .unwrap();
        let app = backend.router();
        tokio::spawn(async move { mesh.serve(listener, app).await.unwrap() });
    }
    let web = world
        .builder(&Workload::new("shop", "web"))
        .identity(identities.client.source());
    let web = web.build().await.unwrap();
    let client = web.client();
    let load = Load::start(&client);
    let began = Instant::now();

    for number in 1..=ROTATIONS {
        if number % ROLL_OVER == 0 {
            identities.roll_over(&load).await;
        } else {
            identities.rotate(&identities.ca.bundles());
        }
        // The load is to see each of them.
        let answered = || load.answered().iter().sum::<usize>();
        let before = answered();
        until("requests", || answered() > before + 3).await;
    }

    let answered = load.end().await;
    println!(
        "{answered} requests during {ROTATIONS} rotations in {:?}",
        began.elapsed()
    );
    assert!(identities.server.source().generation() > 1_000);
}

/// Leaves come and go; the connections of the first ones stay.
#[tokio::test]
async fn connections_stay_while_trust_does() {
    let (world, backend, ca) = (World::new(), Backend::start("orders").await, Authority::new("ours"));
    let (orders, web) = (ca.source("orders"), ca.source("web"));
    world.write("mesh.yaml", "mesh: { mtls: strict, live: { drain: 0s } }\n");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.write(
        "orders.yaml",
        &secured("shop", "orders", "orders", listener.local_addr().unwrap()),
    );
    let server = world
        .builder(&Workload::new("shop", "orders"))
        .identity(orders.source());
    let server = server.build().await.unwrap();
    let (serving, app) = (server.clone(), backend.router());
    tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
    let caller = world.builder(&Workload::new("shop", "web")).identity(web.source());
    let caller = caller.build().await.unwrap();
    let client = caller.client();

    for _ in 0..50 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
        orders.rotate(ca.svid("orders"), ca.bundles()).unwrap();
        web.rotate(ca.svid("web"), ca.bundles()).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);

    let handshakes = "mesh_tls_handshakes_total{side=\"server\",result=\"ok\",reason=\"none\"} 1";
    let metrics = server.metrics().render();
    assert!(metrics.lines().any(|line| line == handshakes), "{metrics}");
    assert!(metrics.contains("mesh_connections{side=\"server\"} 1"));
}
