//! A client of the mesh calls Envoy.

use std::fmt::Write as _;
use std::net::SocketAddr;

use mesh_core::workload::Workload;
use mesh_tests::world::{Answer, get, send, until};
use mesh_tests::{Backend, World};
use mesh_tls::clock::Clock;
use mesh_tls::source::StaticSource;
use mesh_tower::Mesh;
use mesh_tower::client::{Client, Error};
use serde_json::json;

use super::envoy::{Context, Envoy, Secrets, plain_cluster};
use super::*;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// A service whose endpoint is known by this account, called in this version of HTTP, one request a connection.
fn service(name: &str, account: &str, address: SocketAddr, http: &str) -> String {
    format!(
        "  {name}:
    endpoints: [{{ address: \"{address}\", service_account: {account} }}]
    limits: {{ http: {http}, requests_per_connection: 1 }}\n"
    )
}

async fn caller(world: &World) -> (Mesh, Client, StaticSource) {
    let own = issue(world.ca(), "web").svid().unwrap();
    let identity = StaticSource::new(own, world.ca().bundles().unwrap(), Clock::system()).unwrap();
    let builder = world.builder(&Workload::new("shop", "web"));
    let mesh = builder.identity(identity.source()).build().await.unwrap();
    let client = mesh.client();
    (mesh, client, identity)
}

fn taking(version: &'static str, alpn: &'static [&'static str], peer: serde_json::Value) -> Context {
    Context { version, alpn, peer }
}

/// What Envoy tells the backend of its caller.
fn told(backend: &Backend) -> String {
    let (headers, _) = backend.last();
    headers["x-forwarded-client-cert"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_protocol_that_it_takes() {
    let binary = envoy!();
    let (world, folder) = world();
    let backend = Backend::start("orders").await;
    let secrets = Secrets::new(&folder, &issue(world.ca(), "orders"), world.ca());
    let prefix = || json!({ "prefix": "spiffe://cluster.local/ns/shop/sa/" });
    let mut listeners = Vec::new();
    for version in VERSIONS {
        for (name, alpn) in [("h1", PLAIN[0]), ("h2", PLAIN[1]), ("both", &["h2", "http/1.1"][..])] {
            let name = format!("{name}-{}", version.to_ascii_lowercase().replace('_', "-"));
            listeners.push(taking(version, alpn, prefix()).listener(&secrets, &name, "app"));
        }
    }
    let names: Vec<_> = listeners
        .iter()
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect();
    let clusters = vec![plain_cluster("app", backend.address, false)];
    let envoy = Envoy::start(&binary, &secrets, listeners, clusters).await;
    let mut policy = String::from("namespace: shop\nservices:\n");
    for name in &names {
        let version = if name.starts_with("h1") { "h1" } else { "h2" };
        let address = envoy.address(name).await;
        policy.push_str(&service(name, "orders", address, version));
        write!(
            policy,
            "{}",
            service(&format!("auto-{name}"), "orders", address, "auto")
        )
        .unwrap();
    }
    world.write("services.yaml", &policy);
    let (_mesh, client, _) = caller(&world).await;

    for name in names.iter().flat_map(|name| [name.clone(), format!("auto-{name}")]) {
        let forged = http::Request::get(format!("http://{name}/x"))
            .header("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/admin");
        let answer = send(&client, forged)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((answer.status, answer.text.as_str()), (200, "orders"), "{name}");
        assert!(
            told(&backend).ends_with(&format!("URI={WEB}")),
            "{name}: {}",
            told(&backend)
        );
        assert!(!told(&backend).contains("admin"), "{name}: {}", told(&backend));
    }
}

/// The refusal, which names what was expected.
fn refusal(answer: Result<Answer, Error>) -> String {
    let error = answer.unwrap_err();
    let mut text = error.to_string();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(inner) = cause {
        write!(text, ": {inner}").unwrap();
        cause = inner.source();
    }
    text
}

#[tokio::test]
async fn strangers_on_either_side_are_refused_with_a_reason() {
    let binary = envoy!();
    let (world, folder) = world();
    let backend = Backend::start("orders").await;
    let secrets = Secrets::new(&folder, &issue(world.ca(), "orders"), world.ca());
    let listeners = vec![
        expecting(WEB).listener(&secrets, "web", "app"),
        expecting("spiffe://cluster.local/ns/shop/sa/admin").listener(&secrets, "admin", "app"),
    ];
    let clusters = vec![plain_cluster("app", backend.address, false)];
    let envoy = Envoy::start(&binary, &secrets, listeners, clusters).await;
    let (web, admin) = (envoy.address("web").await, envoy.address("admin").await);
    let services = [
        service("good", "orders", web, "h1"),
        service("billing", "billing", web, "h1"),
        service("guarded", "orders", admin, "h1"),
    ];
    world.write(
        "services.yaml",
        &format!("namespace: shop\nservices:\n{}", services.concat()),
    );
    let (_mesh, client, identity) = caller(&world).await;
    assert_eq!(get(&client, "http://good/").await.unwrap().status, 200);

    // Envoy is not who the policy says it is.
    let answer = get(&client, "http://billing/").await;
    assert!(answer.as_ref().unwrap_err().is_identity_mismatch(), "{answer:?}");
    let reason = refusal(answer);
    assert!(reason.contains(ORDERS) && reason.contains("sa/billing"), "{reason}");

    // Envoy takes somebody else.
    let reason = refusal(get(&client, "http://guarded/").await);
    assert!(reason.contains("peer refused the TLS handshake"), "{reason}");
    assert!(envoy.counter("listener.127.0.0.1_0.ssl.fail_verify_san").await > 0);

    // We are nobody that Envoy knows.
    let stranger = World::new();
    let own = issue(stranger.ca(), "web").svid().unwrap();
    let both = world.ca().certificate_pem().to_owned() + stranger.ca().certificate_pem();
    let both = mesh_tls::svid::TrustBundle::from_pem(both.as_bytes()).unwrap();
    let bundles = mesh_tls::svid::TrustBundles::of(world.ca().trust_domain().clone(), both);
    identity.rotate(own, bundles).unwrap();
    let reason = refusal(get(&client, "http://good/").await);
    assert!(reason.contains("peer refused the TLS handshake"), "{reason}");
    assert_eq!(backend.hits(), 1);
}

#[tokio::test]
async fn certificates_rotate_on_both_sides() {
    let binary = envoy!();
    let (world, folder) = world();
    let backend = Backend::start("orders").await;
    let secrets = Secrets::new(&folder, &issue(world.ca(), "orders"), world.ca());
    let listeners = vec![expecting(WEB).listener(&secrets, "web", "app")];
    let clusters = vec![plain_cluster("app", backend.address, false)];
    let envoy = Envoy::start(&binary, &secrets, listeners, clusters).await;
    let address = envoy.address("web").await;
    world.write(
        "services.yaml",
        &format!(
            "namespace: shop\nservices:\n{}",
            service("orders", "orders", address, "h2")
        ),
    );
    let (_mesh, client, identity) = caller(&world).await;
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    let first = told(&backend);

    // Ours: the next handshake shows the new certificate, by its hash.
    let own = issue(world.ca(), "web").svid().unwrap();
    identity.rotate(own, world.ca().bundles().unwrap()).unwrap();
    assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
    assert_ne!(told(&backend), first, "the hash of the certificate is another");

    // Envoy's: to one of the same name, then to somebody else, and back.
    let serial = envoy.ask("/certs").await;
    envoy.secrets.own(&issue(world.ca(), "orders"));
    for _ in 0..200 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 200);
        if envoy.ask("/certs").await != serial {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    envoy.secrets.own(&issue(world.ca(), "billing"));
    settled(&client, false).await;
    envoy.secrets.own(&issue(world.ca(), "orders"));
    settled(&client, true).await;
    until("the backend was called", || backend.hits() > 3).await;
}

/// Waits until calls succeed, or fail as calls to somebody else do.
async fn settled(client: &Client, good: bool) {
    for _ in 0..400 {
        let answer = get(client, "http://orders/").await;
        match &answer {
            Ok(answer) if good && answer.status == 200 => return,
            Err(error) if !good && error.is_identity_mismatch() => return,
            _ => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
    panic!("calls never became {}", if good { "good" } else { "refused" });
}
