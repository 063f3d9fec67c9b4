//! Peers that must not be talked to, over sockets and on both sides; and that the operator learns why.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get as on_get;
use mesh_core::workload::Workload;
use mesh_tests::World;
use mesh_tests::seeds::secured;
use mesh_tests::trust::{Authority, Pair, ask, id, leaf, rogue_client, rogue_server, uri};
use mesh_tests::world::{get, until};
use mesh_tower::Mesh;
use mesh_tower::client::Client;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use tokio::net::TcpListener;

/// What the process has logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let _ = subscriber.try_init();
        log
    })
}

fn logged() -> String {
    String::from_utf8(log().0.lock().unwrap().clone()).unwrap()
}

/// What is wrong with a peer, with the reason that metrics and the log have and words that the error must have.
struct Bad {
    what: &'static str,
    make: fn(&Authority) -> Pair,
    reason: &'static str,
    words: &'static str,
}

/// An authority of the same name that nobody trusts.
fn stranger() -> Authority {
    Authority::new("ours")
}

fn spoilt(authority: &Authority, spoil: fn(&mut rcgen::CertificateParams)) -> Pair {
    let mut params = leaf(&id("orders"));
    spoil(&mut params);
    authority.sign(&params)
}

const BAD: &[Bad] = &[
    Bad {
        what: "F26: expired",
        make: |ca| {
            spoilt(ca, |leaf| {
                leaf.not_after = (SystemTime::now() - Duration::from_secs(60)).into()
            })
        },
        reason: "expired",
        words: "expired 6",
    },
    Bad {
        what: "F26: not valid yet",
        make: |ca| {
            spoilt(ca, |leaf| {
                leaf.not_before = (SystemTime::now() + Duration::from_secs(60)).into()
            })
        },
        reason: "not_yet_valid",
        words: "not valid before",
    },
    Bad {
        what: "F11, ID-4, AZ-10d: of another trust domain",
        make: |ca| ca.sign(&leaf("spiffe://elsewhere/ns/shop/sa/orders")),
        reason: "unknown_trust_domain",
        words: "no trust bundle for `elsewhere`",
    },
    Bad {
        what: "F11: of another authority",
        make: |_| stranger().sign(&leaf(&id("orders"))),
        reason: "untrusted",
        words: "does not chain to the bundle",
    },
    Bad {
        what: "F1: two URI names",
        make: |ca| spoilt(ca, |leaf| leaf.subject_alt_names.push(uri(&id("admin")))),
        reason: "no_svid",
        words: "has 2 URI names",
    },
    Bad {
        what: "F3: no URI name",
        make: |ca| {
            spoilt(ca, |leaf| {
                leaf.subject_alt_names = vec![SanType::DnsName("orders".try_into().unwrap())]
            })
        },
        reason: "no_svid",
        words: "no URI name",
    },
    Bad {
        what: "F4: the id of a trust domain",
        make: |ca| ca.sign(&leaf("spiffe://cluster.local")),
        reason: "no_svid",
        words: "expected a workload in it",
    },
    Bad {
        what: "F5: CA:true",
        make: |ca| spoilt(ca, |leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        reason: "no_svid",
        words: "that of an authority",
    },
    Bad {
        what: "F5: the authority itself",
        make: Authority::itself,
        reason: "no_svid",
        words: "that of an authority",
    },
    Bad {
        what: "F7: for mail only",
        make: |ca| {
            spoilt(ca, |leaf| {
                leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]
            })
        },
        reason: "no_svid",
        words: "extended key usage",
    },
    Bad {
        what: "a key that may not sign handshakes",
        make: |ca| spoilt(ca, |leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
        reason: "no_svid",
        words: "lacks `digitalSignature`",
    },
    Bad {
        what: "F28: an id in upper case",
        make: |ca| ca.sign(&leaf("SPIFFE://cluster.local/ns/shop/sa/orders")),
        reason: "no_svid",
        words: "URI name of the certificate",
    },
    Bad {
        what: "F15: a certificate of somebody else's key",
        make: |ca| (ca.sign(&leaf(&id("orders"))).0, ca.sign(&leaf(&id("orders"))).1),
        reason: "key_not_proven",
        words: "does not hold the key",
    },
];

fn failed(side: &str, reason: &str) -> String {
    format!("mesh_tls_handshakes_total{{side=\"{side}\",result=\"failed\",reason=\"{reason}\"}}")
}

/// Orders behind STRICT, with an identity of `ca`.
async fn orders(world: &World, ca: &Authority) -> (Mesh, SocketAddr) {
    world.write("mesh.yaml", "mesh: { mtls: strict }\n");
    let builder = world.builder(&Workload::new("shop", "orders"));
    let mesh = builder.identity(ca.source("orders").source()).build().await.unwrap();
    let address = world
        .serve(&mesh, Router::new().route("/", on_get(|| async { "reached" })))
        .await;
    (mesh, address)
}

/// Rows of group F, and the rules of X509-SVID: what a server says of such clients.
#[tokio::test]
async fn a_server_refuses_them_and_says_why() {
    log();
    let (world, ca) = (World::new(), Authority::new("ours"));
    let (mesh, address) = orders(&world, &ca).await;
    let good = ca.sign(&leaf(&id("web")));
    let mut stream = rogue_client(address, Some(good)).await.unwrap();
    assert!(ask(&mut stream).await.ends_with("reached"), "the test can tell");

    for bad in BAD {
        let answer = match rogue_client(address, Some((bad.make)(&ca))).await {
            Ok(mut stream) => ask(&mut stream).await,
            Err(_) => String::new(),
        };
        assert_eq!(answer, "", "{}", bad.what);
        let line = failed("server", bad.reason);
        until(bad.what, || mesh.metrics().render().contains(&line)).await;
    }

    // The log has a line for each reason, not for each failure.
    for reason in [
        "expired",
        "not_yet_valid",
        "unknown_trust_domain",
        "untrusted",
        "no_svid",
        "key_not_proven",
    ] {
        let line = |line: &&str| line.contains("WARN") && line.contains("side=\"server\"") && line.contains(reason);
        let logged = logged();
        let lines: Vec<&str> = logged.lines().filter(line).collect();
        assert_eq!(lines.len(), 1, "{reason}: {lines:?}");
        assert!(
            lines[0].contains("TLS handshake failed") && lines[0].contains("remote=127.0.0.1"),
            "{lines:?}"
        );
    }
}

/// F3, G7, AZ-10b: a client without a certificate, or in plain text, reaches nothing.
#[tokio::test]
async fn a_server_refuses_who_proves_nothing() {
    let (world, ca) = (World::new(), Authority::new("ours"));
    let (mesh, address) = orders(&world, &ca).await;

    let answer = match rogue_client(address, None).await {
        Ok(mut stream) => ask(&mut stream).await,
        Err(_) => String::new(),
    };
    assert_eq!(answer, "");
    let line = failed("server", "no_certificate");
    until("a count", || mesh.metrics().render().contains(&line)).await;
    assert_eq!(mesh_tests::world::plain_text(address, "/").await, "");
}

async fn web(world: &World, ca: &Authority) -> (Mesh, Client) {
    let builder = world.builder(&Workload::new("shop", "web"));
    let mesh = builder.identity(ca.source("web").source()).build().await.unwrap();
    let client = mesh.client();
    (mesh, client)
}

/// The same peers as servers: the error of the client says why, and so do metrics and log.
#[tokio::test]
async fn a_client_refuses_them_and_says_why() {
    for bad in BAD {
        let (world, ca) = (World::new(), Authority::new("ours"));
        let address = rogue_server((bad.make)(&ca)).await;
        world.write("orders.yaml", &secured("shop", "orders", "orders", address));
        let (mesh, client) = web(&world, &ca).await;

        let error = get(&client, "http://orders/").await.unwrap_err();

        let text = format!("{error}: {:?}", std::error::Error::source(&error));
        assert!(error.is_identity_mismatch(), "{}: {text}", bad.what);
        assert!(error.to_string().contains(bad.words), "{}: {text}", bad.what);
        assert!(
            mesh.metrics().render().contains(&failed("client", bad.reason)),
            "{}",
            bad.what
        );
    }
}

/// F18 (CVE-2021-32574): a good certificate of another service, and no expectation that takes anybody by mistake.
#[tokio::test]
async fn a_client_refuses_the_server_of_another_service() {
    log();
    let (world, ca) = (World::new(), Authority::new("ours"));
    let address = rogue_server(ca.sign(&leaf(&id("cart")))).await;
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    let (mesh, client) = web(&world, &ca).await;

    let error = get(&client, "http://orders/").await.unwrap_err();

    assert!(error.is_identity_mismatch());
    let words = format!("peer is `{}`, expected `{}`", id("cart"), id("orders"));
    assert!(error.to_string().contains(&words), "{error}");
    assert!(mesh.metrics().render().contains(&failed("client", "unexpected_peer")));
    let logged = logged();
    let is_told = |line: &str| line.contains("WARN") && line.contains("unexpected_peer") && line.contains(&words);
    assert!(logged.lines().any(is_told), "{logged}");
}

/// The names of a DestinationRule or ServiceEntry are whom the server must be.
#[tokio::test]
async fn the_names_of_a_destination_rule_are_expected() {
    let (world, ca) = (World::new(), Authority::new("ours"));
    let address = rogue_server(ca.sign(&leaf(&id("cart")))).await;
    let rule = |san: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{ name: orders, namespace: shop }}\nspec:\n  host: orders.shop.svc.cluster.local\n  trafficPolicy:\n    tls: {{ mode: ISTIO_MUTUAL, subjectAltNames: [\"{san}\"] }}\n"
        )
    };
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    world.write("rule.yaml", &rule(&id("cart")));
    let (mesh, client) = web(&world, &ca).await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().text, "rogue");

    world.write("rule.yaml", &rule(&id("orders")));
    mesh_tests::world::generation(&mesh, 2).await;

    let error = get(&client, "http://orders/").await.unwrap_err();
    assert!(error.is_identity_mismatch(), "{error}");
}

/// F35: one address, two services with other expectations: neither uses the connections of the other.
#[tokio::test]
async fn two_expectations_of_one_address_share_no_connection() {
    let (world, ca) = (World::new(), Authority::new("ours"));
    let address = rogue_server(ca.sign(&leaf(&id("orders")))).await;
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    world.write("cart.yaml", &secured("shop", "cart", "cart", address));
    let (_mesh, client) = web(&world, &ca).await;

    for _ in 0..2 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().text, "rogue");
        let error = get(&client, "http://cart/").await.unwrap_err();
        assert!(error.is_identity_mismatch(), "{error}");
    }
}

/// F20: a chain of more certificates than any mesh has is refused unread.
#[tokio::test]
async fn a_chain_without_end_is_refused() {
    let (world, ca) = (World::new(), Authority::new("ours"));
    let (mut chain, key) = ca.sign(&leaf(&id("orders")));
    chain.extend((0..16).map(|number| Authority::new(&number.to_string()).itself().0.remove(0)));
    let address = rogue_server((chain, key)).await;
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    let (_mesh, client) = web(&world, &ca).await;

    let error = get(&client, "http://orders/").await.unwrap_err();

    assert!(
        error.to_string().contains("17 certificates, expected at most 8"),
        "{error}"
    );
}

/// G9: a handshake that fails is an error; nothing is sent in plain text instead.
#[tokio::test]
async fn a_failed_handshake_is_not_tried_in_plain_text() {
    let (world, ca) = (World::new(), Authority::new("ours"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = tokio::spawn(async move {
        use tokio::io::AsyncReadExt;
        let mut first = Vec::new();
        // Every connection is closed after its first byte.
        while let Ok(Ok((mut stream, _))) = tokio::time::timeout(Duration::from_millis(500), listener.accept()).await {
            first.push(stream.read_u8().await.unwrap());
        }
        first
    });
    world.write("orders.yaml", &secured("shop", "orders", "orders", address));
    let (_mesh, client) = web(&world, &ca).await;

    assert!(get(&client, "http://orders/").await.unwrap_err().is_connect());

    let seen = seen.await.unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|byte| *byte == 0x16), "{seen:?}");
}

/// F17: who proves nothing is nobody: a rule against all but some denies him, and none that allows lets him in.
#[tokio::test]
async fn nobody_is_not_somebody() {
    for (rule, status) in [
        ("deny: [{ not_from: [cluster.local/ns/shop/sa/web] }]", "403"),
        ("allow: [{ not_from: [cluster.local/ns/shop/sa/admin] }]", "403"),
        ("deny: [{ from: [cluster.local/ns/shop/sa/web] }]", "403"),
        ("allow: [{ methods: [GET] }]", "200"),
    ] {
        let (world, ca) = (World::new(), Authority::new("ours"));
        let rules = format!("namespace: shop\nauthorization:\n  - {{ name: rule, service: orders, {rule} }}\n");
        world.write("rules.yaml", &rules);
        let workload = Workload::new("shop", "orders").label("app", "orders");
        let builder = world.builder(&workload).identity(ca.source("orders").source());
        let mesh = builder.build().await.unwrap();
        let address = world
            .serve(&mesh, Router::new().route("/", on_get(|| async { "reached" })))
            .await;

        let answer = mesh_tests::world::plain_text(address, "/").await;

        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{rule}: {answer}");
    }
}
