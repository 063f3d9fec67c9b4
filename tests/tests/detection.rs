//! What a PERMISSIVE port makes of the first bytes: TLS, HTTP/1, HTTP/2 or nothing.
//!
//! Not here: TD-12 (a server that speaks first), TD-15 and TD-16 (headers of Linkerd's transport) are about proxies of
//! byte streams; what the mesh serves is HTTP, in which clients speak first.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::workload::Workload;
use mesh_tests::{Backend, World};
use mesh_tower::Mesh;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn served() -> (World, Backend, Mesh, SocketAddr) {
    let (world, backend) = (World::new(), Backend::start("orders").await);
    world.write("mesh.yaml", "mesh: { mtls: permissive }\n");
    let mesh = world.mesh(&Workload::new("shop", "orders")).await;
    let address = world.serve(&mesh, backend.router()).await;
    (world, backend, mesh, address)
}

/// Sends `first`, lets it arrive alone, then sends `rest`.
async fn in_two(address: SocketAddr, first: &[u8], rest: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(first).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3)).await;
    stream.write_all(rest).await.unwrap();
    stream
}

/// TD-7, TD-8: a request in HTTP/1.1, cut after any of its bytes, arrives whole.
#[tokio::test]
async fn http1_is_told_from_any_first_part() {
    let (_world, backend, _mesh, address) = served().await;
    let request = b"GET /foo/bar/bar/blah HTTP/1.1\r\nhost: foob.example.com\r\nconnection: close\r\n\r\n";

    for cut in 1..request.len() {
        let (first, rest) = request.split_at(cut);
        let mut answer = String::new();
        in_two(address, first, rest)
            .await
            .read_to_string(&mut answer)
            .await
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{cut}: {answer}");
        assert_eq!(backend.last_target(), "/foo/bar/bar/blah", "{cut}");
    }
    assert_eq!(backend.hits(), request.len() - 1);
}

/// HTTP/2 with prior knowledge (RFC 9113 section 3.4), cut after any byte of its preface.
#[tokio::test]
async fn http2_is_told_from_its_preface() {
    let (_world, _backend, _mesh, address) = served().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    for cut in 1..24 {
        let (first, rest) = preface.split_at(cut);
        let mut frame = [0; 9];
        in_two(address, first, rest).await.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[3], 4, "{cut}: the server's settings");
    }
}

/// TD-11: a caller that connects and says nothing is no request, and hinders nobody.
#[tokio::test]
async fn nothing_at_all_is_no_request() {
    let (_world, backend, _mesh, address) = served().await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0);
    }
    assert_eq!(backend.hits(), 0);
    assert!(
        mesh_tests::world::plain_text(address, "/")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

/// TD-10: what is neither reaches no application.
#[tokio::test]
async fn what_is_no_http_reaches_nobody() {
    let (_world, backend, _mesh, address) = served().await;
    let long = "garbage ".repeat(1_000);
    for bytes in [
        "foo.bar.blah\r\nbobo\r\n\r\n",
        &long,
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "\r\n\r\n\0",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may close while it is told the rest.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{bytes:.20}");
    }
    assert_eq!(backend.hits(), 0);
}
