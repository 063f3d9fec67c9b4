//! What a server makes of what earlier hops say, over sockets: forwarded certificates and addresses, spellings of paths, callers
//! in plain text.
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
use http::Request;
use mesh_core::identity::TrustDomain;
use mesh_core::policy::Loaded;
use mesh_core::policy::seen::{self, PlainCallers};
use mesh_core::workload::Workload;
use mesh_tests::seeds::secured;
use mesh_tests::world::{generation, plain_text, send};
use mesh_tests::{Backend, World};
use mesh_tls::config::Alpn;
use mesh_tls::handshake::connect_tls;
use mesh_tls::verify::ExpectedPeer;
use mesh_tower::Mesh;
use mesh_tower::server::{ForwardedClient, Peer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CLIENT_CERT: &str = "x-forwarded-client-cert";
const ROOT: &str = "URI=spiffe://td/ns/a/sa/root";

/// Orders in the namespace `shop`, which show what they get.
struct Orders {
    world: World,
    backend: Backend,
    mesh: Mesh,
    address: SocketAddr,
}

impl Orders {
    async fn start(settings: &str) -> Self {
        let backend = Backend::start("orders").await;
        let router = backend.router();
        Self::serve(settings, backend, router).await
    }

    async fn serve(settings: &str, backend: Backend, app: Router) -> Self {
        let world = World::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.write("orders.yaml", &secured("shop", "orders", "orders", address));
        world.write("settings.yaml", settings);
        let mesh = world
            .mesh(&Workload::new("shop", "orders").label("app", "orders"))
            .await;
        let serving = mesh.clone();
        tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
        Self {
            world,
            backend,
            mesh,
            address,
        }
    }

    /// Puts other settings in force.
    async fn set(&self, settings: &str) {
        let next = self.mesh.policy_status().generation + 1;
        self.world.write("settings.yaml", settings);
        generation(&self.mesh, next).await;
    }

    /// Sends a request over mTLS as it is written; gives the answer.
    async fn over_mtls(&self, account: &str, request: &str) -> String {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let expected = ExpectedPeer::AnyIn(TrustDomain::parse("cluster.local").unwrap());
        let identity = self.world.identity("shop", account);
        let config = identity.client_config(&expected, &[Alpn::Http1]).unwrap();
        let limit = Duration::from_secs(10);
        let (stream, _, _) = connect_tls(stream, config, "orders", limit).await.unwrap();
        exchanged(stream, request).await
    }

    /// The header that the application gets when a caller sends `claim`.
    async fn handed_on(&self, account: Option<&str>, claim: &str) -> Option<String> {
        let request = format!("GET / HTTP/1.1\r\nhost: orders\r\n{claim}connection: close\r\n\r\n");
        let answer = match account {
            Some(account) => self.over_mtls(account, &request).await,
            None => exchanged(TcpStream::connect(self.address).await.unwrap(), &request).await,
        };
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (headers, _) = self.backend.last();
        assert!(!headers.contains_key("x_forwarded_client_cert"), "{headers:?}");
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        headers.get(CLIENT_CERT).map(text)
    }
}

async fn exchanged(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end of the connection may come without a word.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn settings(client_cert: &str) -> String {
    format!(
        "mesh: {{ forwarding: {{ client_cert: {client_cert}, trusted_callers: [cluster.local/ns/shop/sa/gateway] }} }}\n"
    )
}

/// E6, D8: what a caller claims is removed unless policy trusts the caller; then it is handed on as the mode says.
#[tokio::test]
async fn a_forwarded_certificate_counts_from_trusted_callers_only() {
    let orders = Orders::start("mesh: {}\n").await;
    let claim =
        format!("{CLIENT_CERT}: {ROOT}\r\nX_Forwarded_Client_Cert: {ROOT}\r\nX-Forwarded_Client.Cert: {ROOT}\r\n");
    let own = |account: &str| format!("URI=spiffe://cluster.local/ns/shop/sa/{account}");
    let kept = |found: Option<String>| found.is_some_and(|found| found == ROOT);
    let is_of = |found: &Option<String>, account: &str| {
        let found = found.as_deref().unwrap_or_default();
        found.starts_with("By=spiffe://cluster.local/ns/shop/sa/orders;Hash=") && found.contains(&own(account))
    };

    for caller in [None, Some("web"), Some("gateway")] {
        assert_eq!(
            orders.handed_on(caller, &claim).await,
            None,
            "{caller:?}: stripped by default"
        );
    }
    orders.set(&settings("forward")).await;
    assert_eq!(orders.handed_on(None, &claim).await, None);
    assert_eq!(orders.handed_on(Some("web"), &claim).await, None);
    assert!(kept(orders.handed_on(Some("gateway"), &claim).await));
    assert_eq!(orders.handed_on(Some("gateway"), "").await, None);

    orders.set(&settings("set")).await;
    assert_eq!(orders.handed_on(None, &claim).await, None);
    for caller in ["web", "gateway"] {
        let found = orders.handed_on(Some(caller), &claim).await;
        assert!(is_of(&found, caller), "{found:?}");
    }

    orders.set(&settings("append")).await;
    assert_eq!(orders.handed_on(None, &claim).await, None);
    let found = orders.handed_on(Some("web"), &claim).await;
    assert!(
        is_of(&found, "web") && !found.as_deref().unwrap().contains("root"),
        "{found:?}"
    );
    let found = orders.handed_on(Some("gateway"), &claim).await.unwrap();
    let (first, second) = found.split_once(',').unwrap();
    assert!(first == ROOT && is_of(&Some(second.into()), "gateway"), "{found}");

    let open_quote = format!("{CLIENT_CERT}: Subject=\"a\r\n");
    let found = orders.handed_on(Some("gateway"), &open_quote).await;
    assert!(is_of(&found, "gateway"), "E7: what is malformed is not kept: {found:?}");

    orders.set(&settings("always_forward")).await;
    assert!(kept(orders.handed_on(None, &claim).await));
}

/// E6: who is claimed to have sent a request is not asked for permission.
#[tokio::test]
async fn authorization_asks_the_connection() {
    let orders = Orders::start(
        "mesh: { forwarding: { client_cert: always_forward, trusted_callers: ['*'] } }\nnamespace: shop\nauthorization:\n  - { name: root, service: orders, allow: [{ from: [cluster.local/ns/a/sa/root] }] }\n",
    )
    .await;
    let request = "GET / HTTP/1.1\r\nhost: orders\r\nx-forwarded-client-cert: By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/a/sa/root\r\nconnection: close\r\n\r\n";
    assert!(orders.over_mtls("web", request).await.starts_with("HTTP/1.1 403"));
    let plain = exchanged(TcpStream::connect(orders.address).await.unwrap(), request).await;
    assert!(plain.starts_with("HTTP/1.1 403"), "{plain}");
    assert_eq!(orders.backend.hits(), 0);
}

fn tell() -> Router {
    let told = |request: Request<axum::body::Body>| async move {
        let peer = request.extensions().get::<Peer>().unwrap();
        let client = request.extensions().get::<ForwardedClient>();
        let client = client.map(|client| {
            format!(
                "{:?} {:?}",
                client.cert().uris,
                client.spiffe_id().map(|id| id.to_string())
            )
        });
        format!("{:?} for {client:?}", peer.spiffe_id().map(|id| id.to_string()))
    };
    Router::new().fallback(told)
}

/// E7: the last element that the trusted caller has added is told to the application; nothing malformed, nothing of others.
#[tokio::test]
async fn the_application_learns_of_the_client_of_a_trusted_caller() {
    let backend = Backend::start("unused").await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let with_log = format!(
        "mesh: {{ access_log: {{ path: {:?}, encoding: json }}, forwarding: {{ client_cert: forward, trusted_callers: [cluster.local/ns/shop/sa/gateway] }} }}\n",
        log.path()
    );
    let orders = Orders::serve(&with_log, backend, tell()).await;
    let gateway = "By=spiffe://cluster.local/ns/shop/sa/gateway";
    for (caller, header, expected) in [
        ("gateway", format!("{gateway};URI=spiffe://td/x"), Some("spiffe://td/x")),
        (
            "gateway",
            format!("URI=spiffe://evil/x,{gateway};URI=spiffe://td/x"),
            Some("spiffe://td/x"),
        ),
        (
            "gateway",
            format!("Subject=\"CN=a,URI=spiffe://evil/x\";{gateway};URI=spiffe://td/x"),
            Some("spiffe://td/x"),
        ),
        ("gateway", "Subject=\"CN=a;URI=spiffe://td/x".into(), None),
        (
            "gateway",
            "By=spiffe://cluster.local/ns/shop/sa/other;URI=spiffe://td/x".into(),
            None,
        ),
        ("web", format!("{gateway};URI=spiffe://td/x"), None),
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: orders\r\n{CLIENT_CERT}: {header}\r\nconnection: close\r\n\r\n");
        let answer = orders.over_mtls(caller, &request).await;
        let (_, text) = answer.split_once("\r\n\r\n").unwrap();
        let client = expected.map(|uri| format!("[{uri:?}] Some({uri:?})"));
        let whole = format!("Some(\"spiffe://cluster.local/ns/shop/sa/{caller}\") for {client:?}");
        assert_eq!(text, whole, "{header}");
    }
    orders.mesh.shutdown();
    let lines = || std::fs::read_to_string(log.path()).unwrap();
    mesh_tests::world::until("the log is written", || lines().lines().count() == 6).await;
    let told = lines().matches("\"forwarded_client\":\"spiffe://td/x\"").count();
    assert_eq!(told, 3, "{}", lines());
}

/// E6: an application that hands its caller's headers on does not speak for that caller.
#[tokio::test]
async fn a_client_forwards_no_certificate_by_accident() {
    let orders = Orders::start("mesh: { forwarding: { client_cert: always_forward } }\n").await;
    let (_web, client) = orders.world.client("shop", "web").await;
    let request = Request::get("http://orders/").header(CLIENT_CERT, ROOT);
    assert_eq!(send(&client, request).await.unwrap().status, 200);
    let (headers, _) = orders.backend.last();
    assert!(!headers.contains_key(CLIENT_CERT), "{headers:?}");
}

/// E9: the address that the trusted proxy tells decides; without trust it is the connection's.
#[tokio::test]
async fn remote_addresses_are_those_that_trusted_proxies_tell() {
    let policy = |proxies: u32| {
        format!(
            "mesh: {{ forwarding: {{ trusted_proxies: {proxies} }} }}\nnamespace: shop\nauthorization:\n  - {{ name: office, service: orders, allow: [{{ remote_ip: [192.0.2.0/24] }}] }}\n"
        )
    };
    let orders = Orders::start(&policy(0)).await;
    let status = async |forwarded: &str| {
        let request =
            format!("GET / HTTP/1.1\r\nhost: orders\r\nx-forwarded-for: {forwarded}\r\nconnection: close\r\n\r\n");
        let answer = exchanged(TcpStream::connect(orders.address).await.unwrap(), &request).await;
        answer.get(9..12).unwrap_or_default().to_owned()
    };
    assert_eq!(status("192.0.2.7").await, "403", "nobody is trusted");
    orders.set(&policy(1)).await;
    assert_eq!(status("192.0.2.7").await, "200");
    assert_eq!(status("192.0.2.7, 198.51.100.1").await, "403");
    for garbage in ["unknown", "fe80::1%eth0", "192.0.2.7:80", ","] {
        assert_eq!(status(garbage).await, "403", "{garbage}");
    }
    // No caller takes out what the proxy has added, which passes his list on.
    let deny = "namespace: shop\nmesh: { forwarding: { trusted_proxies: 1 } }\nauthorization:\n  - { name: keep, service: orders, deny: [{ remote_ip: [192.0.2.0/24] }] }\n";
    orders.set(deny).await;
    assert_eq!(status("192.0.2.7").await, "403");
    assert_eq!(status("192.0.2.7\r\nconnection: x-forwarded-for").await, "403");
    orders.set(&policy(1)).await;
    assert!(plain_text(orders.address, "/").await.starts_with("HTTP/1.1 403"));
}

/// E10: what a header says of the scheme proves no TLS.
#[tokio::test]
async fn a_forwarded_scheme_is_no_tls() {
    let orders = Orders::start("mesh: { forwarding: { trusted_proxies: 1 }, mtls: strict }\n").await;
    let request = "GET / HTTP/1.1\r\nhost: orders\r\nx-forwarded-proto: https\r\nx-forwarded-for: 192.0.2.1\r\nconnection: close\r\n\r\n";
    let answer = exchanged(TcpStream::connect(orders.address).await.unwrap(), request).await;
    assert_eq!(answer, "", "the port is strict");
    assert_eq!(orders.backend.hits(), 0);
}

/// A3, A4, A27: the mode says what the application sees; a change of it holds for the next request.
#[tokio::test]
async fn the_application_sees_paths_as_the_mode_has_them() {
    let policy = |mode: &str| {
        format!(
            "mesh: {{ path_normalization: {mode} }}\nnamespace: shop\nauthorization:\n  - {{ name: keep, service: orders, deny: [{{ paths: [/admin] }}] }}\n"
        )
    };
    let orders = Orders::start(&policy("base")).await;
    let answered = async |path: &str| {
        let answer = plain_text(orders.address, path).await;
        match answer.get(9..12) {
            Some("200") => orders.backend.last_target(),
            status => status.unwrap_or_default().to_owned(),
        }
    };
    for (mode, expected) in [
        ("base", ["403", "//x/~c?q=//", "/x", "400"]),
        ("merge_slashes", ["403", "/x/~c?q=//", "/x", "400"]),
        ("decode_and_merge_slashes", ["403", "/x/~c?q=//", "/x", "/a/b"]),
    ] {
        if mode != "base" {
            orders.set(&policy(mode)).await;
        }
        for (path, expected) in ["//admin", "//x/%7Ec?q=//", "/a\\..\\x", "/a%2Fb"]
            .into_iter()
            .zip(expected)
        {
            assert_eq!(answered(path).await, expected, "{mode} {path}");
        }
    }
    orders.set("mesh: { path_normalization: none }\n").await;
    assert_eq!(answered("//a/%2E%2e/b%2Fc;d").await, "//a/%2E%2e/b%2Fc;d");
}

/// A page of a mesh's admin listener.
async fn page(mesh: &Mesh, path: &str) -> String {
    let address = mesh.admin_address().unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let answer = exchanged(TcpStream::connect(address).await.unwrap(), &request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

/// Who still speaks plain text is listed and counted, and known to be cut off before it is.
#[tokio::test]
async fn callers_in_plain_text_are_known_before_strict_cuts_them_off() {
    let world = World::new();
    let backend = Backend::start("orders").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    let workload = Workload::new("shop", "orders").label("app", "orders");
    let builder = world
        .builder(&workload)
        .admin(mesh_tower::admin::AdminOptions::default());
    let mesh = builder.build().await.unwrap();
    let (serving, app) = (mesh.clone(), backend.router());
    tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
    let (_web, client) = world.client("shop", "web").await;

    let agent = "GET / HTTP/1.1\r\nhost: orders\r\nuser-agent: <b>old</b>\r\nconnection: close\r\n\r\n";
    exchanged(TcpStream::connect(address).await.unwrap(), agent).await;
    plain_text(address, "/").await;
    assert_eq!(send(&client, Request::get("http://orders/")).await.unwrap().status, 200);

    let seen: PlainCallers = serde_json::from_str(&page(&mesh, "/plaintext").await).unwrap();
    let [caller] = seen.callers.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(
        (caller.address.to_string().as_str(), caller.port),
        ("127.0.0.1", address.port())
    );
    assert_eq!((caller.requests, caller.user_agent.as_deref()), (2, Some("<b>old</b>")));
    assert!(seen.now >= caller.last_seen && caller.last_seen >= caller.first_seen);
    let index = page(&mesh, "/").await;
    assert!(
        index.contains("&lt;b&gt;old&lt;/b&gt;") && !index.contains("<b>"),
        "{index}"
    );
    let counted = format!(
        "mesh_plaintext_requests_total{{source_address=\"127.0.0.1\",destination_service=\"orders.shop.svc.cluster.local\",port=\"{}\"}} 2",
        address.port()
    );
    assert!(page(&mesh, "/metrics").await.contains(&counted), "{counted}");

    let strict = "mesh: { mtls: strict }\n";
    let mut next = Loaded::from_files([("strict.yaml", strict)]);
    seen::check(
        next.policy.as_ref().unwrap(),
        &[seen],
        Duration::from_secs(3_600),
        &mut next.report,
    );
    let lines = next.report.lines(&next.sources);
    assert!(
        lines[0].starts_with("strict.yaml:1:15: warning[MESH0540]") && lines[0].contains("127.0.0.1 (2 requests"),
        "{lines:?}"
    );

    let generations = mesh.policy_status().generation;
    world.write("strict.yaml", strict);
    generation(&mesh, generations + 1).await;
    assert_eq!(plain_text(address, "/").await, "", "the warning was right");
}

/// E1, E2, E5, E8, D8: headers that steer a mesh come from nobody, in no spelling.
#[tokio::test]
async fn headers_that_steer_a_mesh_do_not_arrive() {
    let orders = Orders::start("mesh: {}\n").await;
    let forged = [
        ("E1", "x-envoy-max-retries: 100"),
        ("E1", "x-envoy-upstream-rq-timeout-ms: 999999"),
        ("E1", "x-mesh-route: canary"),
        ("E2", "x-envoy-fault-delay-request: 600000"),
        ("E2", "x-envoy-fault-abort-request: 500"),
        ("E5", "x-envoy-original-path: /public"),
        ("E8", "l5d-client-id: root"),
        ("E8", "x-mesh-peer: root"),
        ("D8", "X.Mesh.Peer: root"),
        ("D8", "X_Envoy_Max_Retries: 100"),
        ("D8", "x-istio_attributes: x"),
    ];
    let lines: String = forged.iter().map(|(_, line)| format!("{line}\r\n")).collect();
    let request =
        format!("GET / HTTP/1.1\r\nhost: orders\r\nconnection: close, X-Mesh-Peer\r\n{lines}x-envoyage: kept\r\n\r\n");
    for answer in [
        exchanged(TcpStream::connect(orders.address).await.unwrap(), &request).await,
        orders.over_mtls("web", &request).await,
    ] {
        assert!(
            answer.starts_with("HTTP/1.1 200"),
            "neither delayed nor aborted: {answer}"
        );
        let (headers, _) = orders.backend.last();
        for (row, line) in forged {
            let name = line.split_once(':').unwrap().0.to_ascii_lowercase();
            assert!(!headers.contains_key(name.as_str()), "{row}: {headers:?}");
        }
        assert_eq!(headers["x-envoyage"], "kept");
    }
    assert_eq!(orders.backend.hits(), 2);
}

/// E3: a call whose deadline cannot be read is refused (3), one whose deadline is over is not served (4).
#[tokio::test]
async fn deadlines_of_callers_are_read_strictly() {
    let orders = Orders::start("mesh: {}\n").await;
    for (timeout, status) in [
        ("-1S", Some("3")),
        ("123456789S", Some("3")),
        ("1X", Some("3")),
        ("1S\r\ngrpc-timeout: 1S", Some("3")),
        ("0u", Some("4")),
        ("99999999H", None),
    ] {
        let request = format!(
            "POST /s/m HTTP/1.1\r\nhost: orders\r\ncontent-type: application/grpc\r\ngrpc-timeout: {timeout}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let before = orders.backend.hits();
        let answer = exchanged(TcpStream::connect(orders.address).await.unwrap(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let said = status.map(|status| format!("grpc-status: {status}\r\n"));
        assert!(said.is_none_or(|said| answer.contains(&said)), "{timeout}: {answer}");
        let served = usize::from(status.is_none());
        assert_eq!(orders.backend.hits() - before, served, "{timeout}");
    }
}
