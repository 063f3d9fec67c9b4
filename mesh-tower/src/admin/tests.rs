use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[derive(Default)]
struct Fixed {
    ready: AtomicBool,
}

impl AdminSource for Fixed {
    fn metrics(&self) -> String {
        "mesh_policy_generation 1\n".into()
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn policy(&self) -> Value {
        json!({ "generation": 1, "files": ["a.yaml"] })
    }

    fn endpoints(&self) -> Value {
        json!({ "orders": [{ "address": "10.0.0.1:80", "ejected": false }] })
    }
}

async fn start() -> (Admin, Arc<Fixed>) {
    let source = Arc::new(Fixed::default());
    let admin = Admin::start(AdminOptions::default(), Arc::clone(&source) as Arc<dyn AdminSource>);
    (admin.await.unwrap(), source)
}

/// Sends a request as it is written, and returns all that comes back.
async fn send(admin: &Admin, request: &str) -> String {
    let mut stream = TcpStream::connect(admin.local_addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

async fn get(admin: &Admin, path: &str) -> String {
    let host = admin.local_addr();
    send(
        admin,
        &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
    )
    .await
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn only_this_machine_reaches_it_by_default() {
    let (admin, _) = start().await;
    assert!(admin.local_addr().ip().is_loopback());
    assert_ne!(admin.local_addr().port(), 0);
}

#[tokio::test]
async fn metrics_have_the_type_that_prometheus_expects() {
    let (admin, _) = start().await;
    let response = get(&admin, "/metrics?name[]=x").await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(
        response.contains("content-type: text/plain; version=0.0.4"),
        "{response}"
    );
    assert_eq!(body(&response), "mesh_policy_generation 1\n");
}

#[tokio::test]
async fn readiness_follows_the_policy_in_force() {
    let (admin, source) = start().await;
    assert!(get(&admin, "/ready").await.starts_with("HTTP/1.1 503"));
    source.ready.store(true, Ordering::Relaxed);
    assert!(get(&admin, "/ready").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_state_is_json() {
    let (admin, _) = start().await;
    let policy = get(&admin, "/policy").await;
    assert!(policy.contains("content-type: application/json"), "{policy}");
    assert_eq!(
        serde_json::from_str::<Value>(body(&policy)).unwrap()["files"][0],
        "a.yaml"
    );
    let endpoints = get(&admin, "/endpoints").await;
    assert_eq!(
        serde_json::from_str::<Value>(body(&endpoints)).unwrap()["orders"][0]["ejected"],
        false
    );
}

#[tokio::test]
async fn the_index_lists_every_page_and_nothing_else_is_found() {
    let (admin, _) = start().await;
    let index = get(&admin, "/").await;
    for path in ["/metrics", "/ready", "/policy", "/endpoints"] {
        assert!(index.contains(&format!("href=\"{path}\"")), "{path}");
        assert!(!get(&admin, path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    for path in ["/metrics/", "/polic", "//", "/%6detrics", "/../policy"] {
        assert!(get(&admin, path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[tokio::test]
async fn pages_can_only_be_read() {
    let (admin, _) = start().await;
    for method in ["POST", "DELETE", "OPTIONS", "BREW"] {
        let request = format!("{method} /policy HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let response = send(&admin, &request).await;
        assert!(response.starts_with("HTTP/1.1 405"), "{response}");
        assert!(response.contains("allow: GET, HEAD"), "{response}");
    }
    let head = send(
        &admin,
        "HEAD /policy HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(head.starts_with("HTTP/1.1 200") && body(&head).is_empty(), "{head}");
}

#[tokio::test]
async fn a_page_of_a_stranger_cannot_read_it() {
    let source: Arc<dyn AdminSource> = Arc::new(Fixed::default());
    let options = AdminOptions {
        allowed_hosts: vec!["mesh.internal".into()],
        ..AdminOptions::default()
    };
    let admin = Admin::start(options, source).await.unwrap();
    for (head, status) in [
        ("GET / HTTP/1.1\r\nhost: localhost", 200),
        ("GET / HTTP/1.1\r\nhost: LOCALHOST:15020", 200),
        ("GET / HTTP/1.1\r\nhost: 10.2.3.4:15020", 200),
        ("GET / HTTP/1.1\r\nhost: [::1]:15020", 200),
        ("GET / HTTP/1.1\r\nhost: mesh.internal:80", 200),
        ("GET http://localhost/ HTTP/1.1\r\nhost: localhost", 200),
        ("GET / HTTP/1.1\r\nhost: evil.example", 403),
        ("GET / HTTP/1.1\r\nhost: localhost.evil.example", 403),
        ("GET / HTTP/1.1\r\nhost: 127.0.0.1.evil.example", 403),
        ("GET / HTTP/1.1\r\nhost: localhost@evil.example", 403),
        ("GET / HTTP/1.1\r\nhost: evil@localhost", 403),
        ("GET / HTTP/1.1\r\nhost:", 403),
        ("GET / HTTP/1.1\r\naccept: */*", 403),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost", 403),
        ("GET http://evil.example/ HTTP/1.1\r\nhost: localhost", 403),
    ] {
        let response = send(&admin, &format!("{head}\r\nconnection: close\r\n\r\n")).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}: {response}"
        );
    }
}

#[tokio::test]
async fn a_page_cannot_run_scripts_or_be_framed() {
    let (admin, _) = start().await;
    let index = get(&admin, "/").await;
    assert!(
        index.contains("content-security-policy: default-src 'none'; frame-ancestors 'none'"),
        "{index}"
    );
    assert!(index.contains("x-content-type-options: nosniff") && index.contains("cache-control: no-store"));
}

#[tokio::test]
async fn shutting_down_ends_idle_connections_and_frees_the_port() {
    let (admin, _) = start().await;
    let address = admin.local_addr();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 503");

    tokio::time::timeout(Duration::from_secs(1), admin.shutdown())
        .await
        .unwrap();

    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let (admin, _) = start().await;
    let address = admin.local_addr();
    let mut open = TcpStream::connect(address).await.unwrap();
    drop(admin);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), open.read_to_end(&mut rest)).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn a_source_that_panics_gets_one_page_a_500() {
    struct Broken;

    impl AdminSource for Broken {
        fn metrics(&self) -> String {
            panic!("a bug of the source")
        }

        fn is_ready(&self) -> bool {
            true
        }

        fn policy(&self) -> Value {
            Value::Null
        }

        fn endpoints(&self) -> Value {
            Value::Null
        }
    }

    let admin = Admin::start(AdminOptions::default(), Arc::new(Broken)).await.unwrap();
    assert!(get(&admin, "/metrics").await.starts_with("HTTP/1.1 500"));
    assert!(get(&admin, "/ready").await.starts_with("HTTP/1.1 200"));
}
