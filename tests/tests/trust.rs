//! What becomes of handshakes and of open connections when trust changes: roots, trust domains, certificates, lists.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::routing::get as on_get;
use http::Request;
use http_body_util::BodyExt;
use mesh_core::identity::SpiffeId;
use mesh_core::workload::Workload;
use mesh_tests::seeds::secured;
use mesh_tests::trust::{Authority, ask, both, domain, id, leaf, rogue_client};
use mesh_tests::world::{generation, get, until};
use mesh_tests::{Backend, World};
use mesh_tls::clock::Clock;
use mesh_tls::source::{FileSource, StaticSource};
use mesh_tls::svid::{Svid, TrustBundles};
use mesh_tower::Body;
use mesh_tower::Mesh;
use mesh_tower::client::Client;
use mesh_tower::server::Peer;
use tokio::net::TcpListener;

/// Far less than the default, which the first test is about.
const DRAIN: Duration = Duration::from_millis(300);
const SETTINGS: &str = "mesh: { mtls: strict, live: { drain: 300ms } }\n";

/// A service and its caller, whose identities the test rotates.
struct Pair {
    world: World,
    backend: Backend,
    orders: StaticSource,
    web: StaticSource,
    server: Mesh,
    caller: Mesh,
    address: SocketAddr,
    client: Client,
}

impl Pair {
    async fn new(settings: &str, ca: &Authority) -> Self {
        let world = World::new();
        let backend = Backend::start("orders").await;
        let (orders, web) = (ca.source("orders"), ca.source("web"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.write("mesh.yaml", settings);
        world.write("orders.yaml", &secured("shop", "orders", "orders", address));
        let mesh = async |name: &str, source: &StaticSource| {
            let workload = Workload::new("shop", name).label("app", name);
            world
                .builder(&workload)
                .identity(source.source())
                .build()
                .await
                .unwrap()
        };
        let (server, caller) = (mesh("orders", &orders).await, mesh("web", &web).await);
        let (serving, app) = (server.clone(), backend.router());
        tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
        let client = caller.client();
        Self {
            world,
            backend,
            orders,
            web,
            server,
            caller,
            address,
            client,
        }
    }

    async fn is_served(&self) -> bool {
        get(&self.client, "http://orders/")
            .await
            .is_ok_and(|answer| answer.status == 200)
    }

    /// Begins a request that lasts until the backend is told to answer it.
    async fn hold(&self) -> tokio::task::JoinHandle<Result<u16, String>> {
        let (client, before) = (self.client.clone(), self.backend.held());
        let held = tokio::spawn(async move {
            let request = Request::get("http://orders/hold").body(Body::empty()).unwrap();
            let response = client.send(request).await.map_err(|error| error.to_string())?;
            let status = response.status().as_u16();
            let read = response.into_body().collect().await;
            read.map(|_| status).map_err(|error| error.to_string())
        });
        until("a request is held", || self.backend.held() > before).await;
        held
    }
}

fn open(mesh: &Mesh, side: &str) -> usize {
    let (text, line) = (mesh.metrics().render(), format!("mesh_connections{{side=\"{side}\"}} "));
    let found = text.lines().find_map(|found| found.strip_prefix(line.as_str()));
    found.map_or(0, |number| number.parse::<f64>().unwrap() as usize)
}

fn counts(mesh: &Mesh, line: &str) -> bool {
    mesh.metrics().render().lines().any(|found| found.starts_with(line))
}

fn partner(account: &str) -> String {
    format!("spiffe://partner/ns/shop/sa/{account}")
}

/// F13, defederation, by the default: refused at once, and the live connection gone within five seconds.
#[tokio::test]
async fn a_trust_domain_that_is_withdrawn_ends_its_connections() {
    let (ca, other) = (Authority::new("ours"), Authority::new("theirs"));
    let pair = Pair::new("mesh: { mtls: strict }\n", &ca).await;
    let federated = ca.bundles().with(domain("partner"), other.bundle());
    pair.orders.rotate(ca.svid("orders"), federated).unwrap();
    let theirs = || other.sign(&leaf(&partner("web")));
    let mut idle = rogue_client(pair.address, Some(theirs())).await.unwrap();
    let mut held = rogue_client(pair.address, Some(theirs())).await.unwrap();
    let holding = {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        held.write_all(b"GET /hold HTTP/1.1\r\nhost: orders\r\n\r\n")
            .await
            .unwrap();
        until("a request is held", || pair.backend.held() == 1).await;
        tokio::spawn(async move {
            let began = Instant::now();
            let mut rest = Vec::new();
            let _ = held.read_to_end(&mut rest).await;
            (began.elapsed(), rest)
        })
    };
    assert!(pair.is_served().await);

    pair.orders.rotate(ca.svid("orders"), ca.bundles()).unwrap();

    let refused = match rogue_client(pair.address, Some(theirs())).await {
        Ok(mut stream) => ask(&mut stream).await,
        Err(_) => String::new(),
    };
    assert_eq!(refused, "", "new ones are refused at once");
    let last = ask(&mut idle).await;
    assert!(
        last.to_ascii_lowercase().contains("connection: close"),
        "an idle one is asked to close: {last}"
    );
    let (lasted, rest) = holding.await.unwrap();
    assert!(rest.is_empty());
    assert!(
        lasted > Duration::from_secs(4) && lasted < Duration::from_secs(6),
        "{lasted:?}"
    );
    assert!(counts(
        &pair.server,
        "mesh_connections_ended_total{side=\"server\",reason=\"not_trusted\"} 2"
    ));
    assert!(pair.is_served().await, "others are not concerned");
}

/// Roll-over of an authority: add, renew, withdraw. Nobody's connection is dropped and no request fails.
#[tokio::test]
async fn roots_side_by_side_keep_every_connection() {
    let (old, new) = (Authority::new("ours"), Authority::new("ours"));
    let pair = Pair::new(SETTINGS, &old).await;
    assert!(pair.is_served().await);
    let held = pair.hold().await;
    let sockets = open(&pair.server, "server");
    assert_eq!(sockets, 1, "HTTP/2: one connection carries both");

    let trust = both(&old, &new);
    pair.orders.rotate(old.svid("orders"), trust.clone()).unwrap();
    pair.web.rotate(old.svid("web"), trust.clone()).unwrap();
    assert!(pair.is_served().await);
    pair.orders.rotate(new.svid("orders"), trust.clone()).unwrap();
    pair.web.rotate(new.svid("web"), trust).unwrap();
    assert!(pair.is_served().await);
    tokio::time::sleep(DRAIN * 2).await;

    assert_eq!(open(&pair.server, "server"), sockets);
    pair.backend.release(1);
    assert_eq!(held.await.unwrap(), Ok(200));

    // The old root goes: so does the connection that its certificates opened, and another one takes its place.
    pair.orders.rotate(new.svid("orders"), new.bundles()).unwrap();
    pair.web.rotate(new.svid("web"), new.bundles()).unwrap();
    for _ in 0..50 {
        assert!(pair.is_served().await);
    }
}

/// G1: a server whose root the client trusts no more is left at once, and what runs there ends within the bound.
#[tokio::test]
async fn a_client_leaves_servers_whose_root_is_gone() {
    let (old, new) = (Authority::new("ours"), Authority::new("theirs"));
    let pair = Pair::new(SETTINGS, &old).await;
    let trust = both(&old, &new);
    pair.orders.rotate(old.svid("orders"), trust.clone()).unwrap();
    pair.web.rotate(new.svid("web"), trust).unwrap();
    assert!(pair.is_served().await);
    let held = pair.hold().await;

    let began = Instant::now();
    pair.web.rotate(new.svid("web"), new.bundles()).unwrap();

    // A request or two may still find the connection.
    let error = loop {
        match get(&pair.client, "http://orders/").await {
            Ok(_) => assert!(began.elapsed() < DRAIN),
            Err(error) => break error,
        }
    };
    assert!(error.is_identity_mismatch(), "{error}");
    assert!(error.to_string().contains("does not chain to the bundle"), "{error}");
    assert!(held.await.unwrap().is_err());
    assert!(
        began.elapsed() >= DRAIN && began.elapsed() < DRAIN * 10,
        "{:?}",
        began.elapsed()
    );
    until("the connection is gone", || open(&pair.caller, "client") == 0).await;
    assert!(counts(
        &pair.caller,
        "mesh_connections_ended_total{side=\"client\",reason=\"not_trusted\"} 1"
    ));
}

/// A certificate that ends while its connection is open: the connection ends with it, on either side.
#[tokio::test]
async fn a_connection_does_not_outlive_the_certificate_of_its_peer() {
    for short in ["orders", "web"] {
        let ca = Authority::new("ours");
        let pair = Pair::new(SETTINGS, &ca).await;
        let mut params = leaf(&id(short));
        params.not_after = (SystemTime::now() + Duration::from_secs(2)).into();
        let (chain, key) = ca.sign(&params);
        let source = if short == "orders" { &pair.orders } else { &pair.web };
        source
            .rotate(Svid::from_der(chain, key).unwrap(), ca.bundles())
            .unwrap();
        assert!(pair.is_served().await);
        let held = pair.hold().await;
        // The holder has a new certificate; the connection has the old one.
        source.rotate(ca.svid(short), ca.bundles()).unwrap();

        assert!(held.await.unwrap().is_err(), "{short}");
        let (mesh, side) = if short == "orders" {
            (&pair.caller, "client")
        } else {
            (&pair.server, "server")
        };
        let line = format!("mesh_connections_ended_total{{side=\"{side}\",reason=\"not_trusted\"}} 1");
        assert!(counts(mesh, &line), "{short}");
        assert!(pair.is_served().await, "{short}");
    }
}

/// A policy that expects somebody else: the connection to the one before ends within the bound.
#[tokio::test]
async fn a_connection_does_not_outlive_whom_the_policy_expects() {
    let ca = Authority::new("ours");
    let pair = Pair::new(SETTINGS, &ca).await;
    let held = pair.hold().await;

    pair.world
        .write("orders.yaml", &secured("shop", "orders", "cart", pair.address));
    generation(&pair.caller, 2).await;

    let error = get(&pair.client, "http://orders/").await.unwrap_err();
    assert!(error.is_identity_mismatch(), "{error}");
    assert!(held.await.unwrap().is_err());
    assert!(counts(
        &pair.caller,
        "mesh_connections_ended_total{side=\"client\",reason=\"identity\"} 1"
    ));
}

/// Connections that `axum::serve` serves are held to the same bound.
#[tokio::test]
async fn connections_of_a_listener_end_as_well() {
    let (ca, other) = (Authority::new("ours"), Authority::new("theirs"));
    let (world, backend, source) = (World::new(), Backend::start("orders").await, ca.source("orders"));
    source.rotate(ca.svid("orders"), both(&ca, &other)).unwrap();
    world.write("mesh.yaml", SETTINGS);
    let builder = world
        .builder(&Workload::new("shop", "orders"))
        .identity(source.source());
    let mesh = builder.build().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = backend.router().layer(mesh.layer());
    let listener = mesh.listener(listener);
    tokio::spawn(axum::serve(listener, app.into_make_service_with_connect_info::<Peer>()).into_future());
    let mut stream = rogue_client(address, Some(other.sign(&leaf(&id("web")))))
        .await
        .unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream
        .write_all(b"GET /hold HTTP/1.1\r\nhost: orders\r\n\r\n")
        .await
        .unwrap();
    until("a request is held", || backend.held() == 1).await;

    source.rotate(ca.svid("orders"), ca.bundles()).unwrap();

    let mut rest = Vec::new();
    let ended = tokio::time::timeout(DRAIN * 10, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty());
}

/// F21, F23: lists beside the bundle refuse whom they revoke, and end his connections; one that is cut to nothing
/// changes nothing.
#[tokio::test]
async fn a_revoked_client_is_out() {
    let world = World::new();
    let backend = Backend::start("orders").await;
    let (now, folder) = (SystemTime::now(), world.folder("identity"));
    let of = |account: &str| SpiffeId::for_workload(&domain("cluster.local"), "shop", account).unwrap();
    let hour = Duration::from_secs(3600);
    world.ca().write_workload(&folder, &of("orders"), hour, now).unwrap();
    let web = world.ca().issue(&of("web"), hour, now).unwrap();
    let files = FileSource::open(&folder, Clock::system()).unwrap();
    world.write("mesh.yaml", SETTINGS);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.write(
        "orders.yaml",
        &secured("shop", "orders", "orders", listener.local_addr().unwrap()),
    );
    let server = world.builder(&Workload::new("shop", "orders")).identity(files.source());
    let server = server.build().await.unwrap();
    let (serving, app) = (server.clone(), backend.router());
    tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
    let source = StaticSource::new(web.svid().unwrap(), world.ca().bundles().unwrap(), Clock::system()).unwrap();
    let caller = world.builder(&Workload::new("shop", "web")).identity(source.source());
    let caller = caller.build().await.unwrap();
    let client = caller.client();
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    assert_eq!(open(&server, "server"), 1);

    let list = world.ca().revocation_list(&[&web], hour, now).unwrap();
    std::fs::write(folder.join("ca.crl"), list).unwrap();
    files.refresh().unwrap();

    until("his connection is gone", || open(&server, "server") == 0).await;
    let error = get(&client, "http://orders/").await.unwrap_err();
    assert!(error.is_connect(), "{error}");
    let revoked = "mesh_tls_handshakes_total{side=\"server\",result=\"failed\",reason=\"revoked\"}";
    until("a refusal", || counts(&server, revoked)).await;

    std::fs::write(folder.join("ca.crl"), "").unwrap();
    files.refresh().unwrap_err();
    assert!(get(&client, "http://orders/").await.unwrap_err().is_connect());

    std::fs::write(
        folder.join("ca.crl"),
        world.ca().revocation_list(&[], hour, now).unwrap(),
    )
    .unwrap();
    files.refresh().unwrap();
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
}

/// F21: what is unknown is the policy's, which a reload changes for open connections, too.
#[tokio::test]
async fn revocation_in_doubt_is_policy() {
    let (ca, other) = (Authority::new("ours"), World::new());
    let list = other
        .ca()
        .revocation_list(&[], Duration::from_secs(3600), SystemTime::now())
        .unwrap();
    let lists = mesh_tls::svid::RevocationList::read(list.as_bytes()).unwrap();
    let doubtful = TrustBundles::of(domain("cluster.local"), ca.bundle().with_revocations(lists));
    let pair = Pair::new(SETTINGS, &ca).await;
    assert!(pair.is_served().await);

    pair.orders.rotate(ca.svid("orders"), doubtful).unwrap();
    until("the connection is gone", || open(&pair.server, "server") == 0).await;
    assert!(!pair.is_served().await, "the default denies");

    let lenient = "mesh: { mtls: strict, live: { drain: 300ms }, tls: { revocation: { unknown: allow } } }\n";
    pair.world.write("mesh.yaml", lenient);
    generation(&pair.server, 2).await;
    assert!(pair.is_served().await);

    pair.world.write("mesh.yaml", SETTINGS);
    generation(&pair.server, 3).await;
    until("the connection is gone", || open(&pair.server, "server") == 0).await;
    assert!(!pair.is_served().await);
}

fn resumptions(mesh: &Mesh, side: &str) -> usize {
    let line = format!("mesh_tls_resumptions_total{{side=\"{side}\"}} ");
    let text = mesh.metrics().render();
    let found = text.lines().find_map(|found| found.strip_prefix(line.as_str()));
    found.unwrap().parse().unwrap()
}

/// A policy with a connection for each request, so that each shakes hands.
async fn reconnecting(resumption: &str) -> (Pair, Authority) {
    let ca = Authority::new("ours");
    let settings = format!("mesh: {{ mtls: strict, live: {{ drain: 300ms }}, tls: {{ resumption: {resumption} }} }}\n");
    let pair = Pair::new(&settings, &ca).await;
    let service = format!(
        "namespace: shop\nservices:\n  orders:\n    endpoints:\n      - {{ address: \"{}\", service_account: orders }}\n    limits: {{ requests_per_connection: 1 }}\n",
        pair.address
    );
    pair.world.write("orders.yaml", &service);
    generation(&pair.caller, 2).await;
    generation(&pair.server, 2).await;
    (pair, ca)
}

/// G3: `off`, the default, resumes nothing; `on` does, within one generation of trust on either side.
#[tokio::test]
async fn sessions_are_resumed_where_the_policy_wants_it() {
    for (resumption, resumes) in [("off", false), ("on", true)] {
        let (pair, ca) = reconnecting(resumption).await;
        for _ in 0..4 {
            assert!(pair.is_served().await);
        }
        let (server, client) = (resumptions(&pair.server, "server"), resumptions(&pair.caller, "client"));
        assert_eq!((server > 0, client > 0), (resumes, resumes), "{resumption}");

        pair.orders.rotate(ca.svid("orders"), ca.bundles()).unwrap();
        pair.web.rotate(ca.svid("web"), ca.bundles()).unwrap();
        let before = resumptions(&pair.server, "server");
        assert!(pair.is_served().await);
        assert_eq!(
            resumptions(&pair.server, "server"),
            before,
            "{resumption}: a new generation begins anew"
        );
    }
}

/// G1, for both settings: a session helps nobody past a denial, and nobody past the end of trust in him.
#[tokio::test]
async fn a_session_carries_nobody_past_a_denial() {
    for resumption in ["off", "on"] {
        let (pair, _) = reconnecting(resumption).await;
        let other = Authority::new("theirs");
        for _ in 0..3 {
            assert!(pair.is_served().await);
        }

        let deny = "namespace: shop\nauthorization:\n  - { name: no-web, service: orders, deny: [{ from: [cluster.local/ns/shop/sa/web] }] }\n";
        pair.world.write("rules.yaml", deny);
        generation(&pair.server, 3).await;
        assert_eq!(
            get(&pair.client, "http://orders/").await.unwrap().status,
            403,
            "{resumption}"
        );

        pair.orders.rotate(other.svid("orders"), other.bundles()).unwrap();
        assert!(
            get(&pair.client, "http://orders/").await.unwrap_err().is_connect(),
            "{resumption}"
        );
    }
}

/// G2, for both settings: nor past the end of his certificate.
#[tokio::test]
async fn a_session_carries_nobody_past_his_certificate() {
    for resumption in ["off", "on"] {
        let (pair, ca) = reconnecting(resumption).await;
        let mut params = leaf(&id("web"));
        let end = SystemTime::now() + Duration::from_secs(2);
        params.not_after = end.into();
        let (chain, key) = ca.sign(&params);
        pair.web
            .rotate(Svid::from_der(chain, key).unwrap(), ca.bundles())
            .unwrap();
        while SystemTime::now() < end {
            assert!(pair.is_served().await || SystemTime::now() >= end, "{resumption}");
        }
        tokio::time::sleep(Duration::from_millis(1100)).await;

        let error = get(&pair.client, "http://orders/").await.unwrap_err();

        assert!(
            error.is_connect() && error.to_string().contains("expired"),
            "{resumption}: {error}"
        );
    }
}

/// Who the peer is, the application learns from a resumed connection as from any other.
#[tokio::test]
async fn a_resumed_connection_has_an_identity() {
    let (ca, world) = (Authority::new("ours"), World::new());
    world.write("mesh.yaml", "mesh: { mtls: strict, tls: { resumption: on } }\n");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = format!(
        "namespace: shop\nservices:\n  orders:\n    endpoints:\n      - {{ address: \"{}\", service_account: orders }}\n    limits: {{ requests_per_connection: 1 }}\n",
        listener.local_addr().unwrap()
    );
    world.write("orders.yaml", &service);
    let mesh = async |name: &str| {
        let builder = world.builder(&Workload::new("shop", name));
        builder.identity(ca.source(name).source()).build().await.unwrap()
    };
    let (server, caller) = (mesh("orders").await, mesh("web").await);
    let told = |peer: Peer| async move {
        let identity = peer.identity().unwrap();
        format!("{} {}", identity.id(), identity.is_resumed())
    };
    let serving = server.clone();
    tokio::spawn(async move {
        serving
            .serve(listener, Router::new().route("/", on_get(told)))
            .await
            .unwrap()
    });
    let client = caller.client();

    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(get(&client, "http://orders/").await.unwrap().text);
    }

    assert_eq!(told[0], format!("{} false", id("web")));
    assert!(told.contains(&format!("{} true", id("web"))), "{told:?}");
    assert!(told.iter().all(|text| text.starts_with(&id("web"))), "{told:?}");
}
