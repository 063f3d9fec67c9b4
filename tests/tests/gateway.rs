//! What the callers of a gateway see over sockets: whose certificate, whose routes, and where they are sent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::workload::Workload;
use mesh_tests::seeds::service;
use mesh_tests::world::{generation, plain_text_of};
use mesh_tests::{Backend, World};
use mesh_tls::clock::Clock;
use mesh_tls::config::Alpn;
use mesh_tls::web::{WebClientConfig, connect_web};
use mesh_tower::Mesh;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A gateway of Istio, which the process `door` serves.
fn gateway(name: &str, servers: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: {name}, namespace: shop }}
spec: {{ selector: {{ app: door }}, servers: [{servers}] }}
---
"
    )
}

/// Routes of a gateway, all to one service.
fn bound(gateway: &str, host: &str, to: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: {gateway}-{to}, namespace: shop }}
spec: {{ hosts: ['{host}'], gateways: [{gateway}], http: [{{ route: [{{ destination: {{ host: {to} }} }}] }}] }}
---
"
    )
}

fn tls(port: u16, host: &str, credential: &str) -> String {
    format!(
        "{{ port: {{ number: {port}, name: https-{port}-{credential}, protocol: HTTPS }}, hosts: ['{host}'], tls: {{ mode: SIMPLE, credentialName: {credential} }} }}"
    )
}

async fn door(world: &World, poll: Duration) -> Mesh {
    let workload = Workload::new("shop", "door").label("app", "door");
    let builder = world.builder(&workload).poll(poll);
    builder.credentials(world.folder("credentials")).build().await.unwrap()
}

async fn serve(mesh: &Mesh, port: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = mesh.gateway().port(port);
    tokio::spawn(async move { gateway.serve(listener).await.unwrap() });
    address
}

fn issue(world: &World, folder: &Path, hosts: &[&str]) {
    let hour = Duration::from_secs(3600);
    world.ca().write_web(folder, hosts, hour, SystemTime::now()).unwrap();
}

/// What a browser gets from a host; `None` where the handshake fails.
async fn browse(world: &World, address: SocketAddr, host: &str) -> Option<String> {
    let roots = world.ca().certificate_pem().as_bytes();
    let config = WebClientConfig::with_roots(roots, &[Alpn::Http1], &Clock::system()).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let limit = Duration::from_secs(5);
    let (mut stream, _) = connect_web(stream, Arc::new(config), host, limit).await.ok()?;
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether a browser gets an answer with this status.
async fn is_served(world: &World, address: SocketAddr, host: &str, status: &str) -> bool {
    let answer = browse(world, address, host).await;
    answer.is_some_and(|answer| answer.starts_with(&format!("HTTP/1.1 {status}")))
}

#[tokio::test]
async fn a_bad_certificate_costs_its_own_hosts_only() {
    let world = World::new();
    let shop = tls(443, "shop.example.com", "shop");
    world.write("door.yaml", &gateway("door", &shop));
    issue(&world, &world.folder("credentials/shop"), &["shop.example.com"]);
    let mesh = door(&world, Duration::from_millis(20)).await;
    let address = serve(&mesh, 443).await;
    assert!(is_served(&world, address, "shop.example.com", "404").await);

    let dotted = tls(443, "dotted.example.com.", "dotted");
    let late = tls(443, "late.example.com", "late");
    let alone = tls(8443, "late.example.com", "late");
    world.write("door.yaml", &gateway("door", &[shop, late, dotted, alone].join(", ")));
    issue(&world, &world.folder("credentials/dotted"), &["dotted.example.com"]);
    generation(&mesh, 2).await;
    let alone = serve(&mesh, 8443).await;

    assert!(is_served(&world, address, "shop.example.com", "404").await);
    assert!(is_served(&world, address, "dotted.example.com", "404").await);
    assert_eq!(browse(&world, address, "late.example.com").await, None);
    assert_eq!(browse(&world, alone, "late.example.com").await, None);
    for address in [address, alone] {
        let answer = plain_text_of("late.example.com", address, "/").await;
        assert!(!answer.contains("HTTP/"), "the port stays one of TLS: {answer}");
    }

    issue(&world, &world.folder("credentials/late"), &["late.example.com"]);
    for address in [address, alone] {
        let mut tries = 0;
        while !is_served(&world, address, "late.example.com", "404").await {
            tries += 1;
            assert!(tries < 200, "the certificate is never found");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_looked_for_once_a_poll() {
    let world = World::new();
    world.write("door.yaml", &gateway("door", &tls(443, "shop.example.com", "shop")));
    let mesh = door(&world, Duration::from_secs(3600)).await;
    let address = serve(&mesh, 443).await;
    assert_eq!(browse(&world, address, "shop.example.com").await, None);

    issue(&world, &world.folder("credentials/shop"), &["shop.example.com"]);

    assert_eq!(browse(&world, address, "shop.example.com").await, None);
}

#[tokio::test]
async fn a_gateway_that_only_redirects_needs_no_route() {
    let backend = Backend::start("orders").await;
    let world = World::new();
    let away = "{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'], tls: { httpsRedirect: true } }";
    world.write("door.yaml", &gateway("door", away));
    world.write("orders.yaml", &service("shop", "orders", &[(&backend, "v1")]));
    let mesh = door(&world, Duration::from_millis(20)).await;
    let address = serve(&mesh, 80).await;

    let redirected = async || {
        let answer = plain_text_of("web.example.com", address, "/a?b=1").await;
        assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
        assert!(
            answer.contains("location: https://web.example.com/a?b=1\r\n"),
            "{answer}"
        );
    };
    redirected().await;
    world.write("routes.yaml", &bound("door", "shop.example.com", "orders"));
    generation(&mesh, 2).await;
    redirected().await;
    let answer = plain_text_of("shop.example.com", address, "/").await;
    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
    assert_eq!(backend.hits(), 0);
}

#[tokio::test]
async fn a_gateway_for_all_hosts_takes_none_of_another_that_shares_its_port() {
    let (all, shop) = (Backend::start("all").await, Backend::start("shop").await);
    let world = World::new();
    let plain = |host: &str| format!("{{ port: {{ number: 80, name: http, protocol: HTTP }}, hosts: ['{host}'] }}");
    let policy = [
        gateway("a", &format!("{}, {}", plain("*"), tls(443, "*", "all"))),
        bound("a", "*", "all"),
        gateway(
            "b",
            &format!(
                "{}, {}",
                plain("shop.example.com"),
                tls(443, "shop.example.com", "shop")
            ),
        ),
        bound("b", "shop.example.com", "shop"),
    ];
    world.write("doors.yaml", &policy.concat());
    world.write("all.yaml", &service("shop", "all", &[(&all, "v1")]));
    world.write("shop.yaml", &service("shop", "shop", &[(&shop, "v1")]));
    issue(&world, &world.folder("credentials/all"), &["web.example.com"]);
    issue(&world, &world.folder("credentials/shop"), &["shop.example.com"]);
    let mesh = door(&world, Duration::from_millis(20)).await;
    let (plain, secure) = (serve(&mesh, 80).await, serve(&mesh, 443).await);

    plain_text_of("shop.example.com", plain, "/").await;
    assert!(is_served(&world, secure, "shop.example.com", "200").await);
    assert_eq!((all.hits(), shop.hits()), (0, 2));
    plain_text_of("web.example.com", plain, "/").await;
    assert!(is_served(&world, secure, "web.example.com", "200").await);
    assert_eq!((all.hits(), shop.hits()), (2, 2));
}
