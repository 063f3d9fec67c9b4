//! HTTP/1.1 by hand.

use mesh_tests::wire::{exchange, rest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// J1, J2: whatever two servers could read as two lengths is one request at most, and the end of the connection.
#[tokio::test]
async fn lengths_that_can_be_read_in_two_ways() {
    let scene = Scene::new().await;
    for framing in [
        "content-length: 5\r\ncontent-length: 50",
        "content-length: +5",
        "content-length: 5, 5",
        "content-length: 0x5",
        "content-length: -1",
        "content-length: 18446744073709551616",
        "content-length: ",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding : chunked",
        "transfer-encoding: \x0bchunked",
        "content-length: 5\r\ntransfer-encoding: chunked",
    ] {
        let hidden = "GET /hidden HTTP/1.1\r\nhost: orders\r\n\r\n";
        let text = format!("POST /first HTTP/1.1\r\nhost: orders\r\n{framing}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = exchange(scene.address, text.as_bytes()).await;
        assert!(answer.matches("HTTP/1.1 200").count() <= 1, "{framing}: {answer}");
        assert_eq!(scene.backend.hits_of("/hidden"), 0, "{framing}: {answer}");
    }
    for chunk in [
        "fffffffffffffffff\r\n",
        "-1\r\n",
        "5;\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "g\r\n",
    ] {
        let text = format!("POST /first HTTP/1.1\r\nhost: orders\r\ntransfer-encoding: chunked\r\n\r\n{chunk}");
        let hidden = "GET /hidden HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n";
        exchange(scene.address, format!("{text}{hidden}").as_bytes()).await;
        assert_eq!(scene.backend.hits_of("/hidden"), 0, "{chunk:?}");
    }
    scene.lives().await;
}

/// J3: what is left of a refused request's body is never read as a request.
#[tokio::test]
async fn a_body_that_nobody_read() {
    let scene = Scene::new().await;
    let hidden = b"GET /hidden HTTP/1.1\r\nhost: orders\r\n\r\n";
    for length in [1_000, 60_000, 200_000, 10 << 20] {
        for head in [
            format!("POST /admin HTTP/1.1\r\nhost: orders\r\ncontent-length: {length}\r\n\r\n"),
            format!("POST /admin HTTP/1.1\r\nhost: orders\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"),
        ] {
            let body = hidden.repeat(length / hidden.len() + 1);
            let bytes = [
                head.as_bytes(),
                &body[..length],
                b"GET /after HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n",
            ]
            .concat();
            let answer = exchange(scene.address, &bytes).await;
            assert!(
                !answer.contains("HTTP/1.1 200") || scene.backend.hits_of("/after") > 0,
                "{length}: {answer}"
            );
            assert_eq!(scene.backend.hits_of("/hidden"), 0, "{length}: {answer}");
        }
    }
    // Where the rest of the body is still to come, the connection ends.
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    let head = "POST /admin HTTP/1.1\r\nhost: orders\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(scene.backend.hits_of("/hidden"), 0);
    scene.lives().await;
}

/// J7: the time for a head counts from the moment of the connection, whatever comes meanwhile.
#[tokio::test]
async fn heads_that_never_end() {
    let scene = Scene::with(|builder| builder.header_timeout(SHORT).handshake_timeout(SHORT)).await;
    let begun = std::time::Instant::now();
    let silent = TcpStream::connect(scene.address).await.unwrap();
    let mut half = TcpStream::connect(scene.address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost: ord").await.unwrap();
    let mut preface = TcpStream::connect(scene.address).await.unwrap();
    preface.write_all(b"PRI * HT").await.unwrap();
    for mut stream in [silent, half, preface] {
        let answer = rest(&mut stream).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));

    // A byte at a time does not help.
    let mut slow = TcpStream::connect(scene.address).await.unwrap();
    let begun = std::time::Instant::now();
    let mut one = [0; 1];
    for byte in b"GET / HTTP/1.1\r\nhost: orders\r\n".iter().cycle() {
        let pause = tokio::time::timeout(SHORT / 10, slow.read(&mut one)).await;
        if pause.is_ok() || slow.write_all(&[*byte]).await.is_err() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "still open");
    }
    assert_eq!(scene.backend.hits(), 0);
    scene.lives().await;
}

/// J8: a body that comes a byte at a time ends its request, and what the request held.
#[tokio::test]
async fn bodies_that_never_end() {
    let scene = Scene::with(|builder| builder.body_timeout(SHORT)).await;
    // Over HTTP/1 there is no gRPC, whose streams may be silent.
    let call = "content-type: application/grpc\r\nconnection: content-type\r\n";
    for (slow, more) in [(false, ""), (true, ""), (false, call)] {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        let head = format!("POST /upload HTTP/1.1\r\nhost: orders\r\n{more}content-length: 1000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let begun = std::time::Instant::now();
        let mut one = [0; 1];
        loop {
            let answered = tokio::time::timeout(SHORT / 10, stream.read(&mut one)).await;
            if answered.is_ok() || (slow && stream.write_all(b"x").await.is_err()) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "still open");
        }
        rest(&mut stream).await;
    }
    assert_eq!(scene.cut("slow_request"), 3);

    // Whoever is slow, but not that slow, is served.
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    let head = "POST /upload HTTP/1.1\r\nhost: orders\r\nconnection: close\r\ncontent-length: 640\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(SHORT / 6).await;
        stream.write_all(&[b'x'; 64]).await.unwrap();
    }
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!((scene.cut("slow_request"), scene.backend.last().1.len()), (3, 640));
}

/// J8: a gateway says what it thinks of such a body, and thinks no worse of the service that got half of it.
#[tokio::test]
async fn bodies_that_never_end_at_a_gateway() {
    for (protocol, status) in [("http", "408"), ("http2", "400")] {
        let (world, backend) = (World::new(), Backend::start("orders").await);
        let text = format!(
            "services:
  orders:
    port: {{ number: 80, protocol: {protocol} }}
    endpoints: [\"{}\"]
    outliers: {{ consecutive_5xx: 1, max_ejected_percent: 100 }}
    retry: {{ attempts: 1, on: [5xx] }}
gateways: {{ door: {{ servers: [{{ port: 80, hosts: [\"*\"] }}] }} }}
routes: [{{ name: shop, hosts: [shop.example], gateways: [door], rules: [{{ to: orders }}] }}]
",
            backend.address
        );
        world.write("policy.yaml", &text);
        let builder = world.builder(&Workload::new("default", "door"));
        let mesh = builder.body_timeout(SHORT).build().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { mesh.gateway().serve(listener).await.unwrap() });

        let head = "POST /upload HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 1000\r\n\r\n0123456789";
        let answer = exchange(address, head.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{protocol}: {answer}"
        );
        assert_eq!(backend.hits_of("/upload"), 1, "{protocol}");

        let after = exchange(
            address,
            b"GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n",
        )
        .await;
        assert!(after.starts_with("HTTP/1.1 200"), "{protocol}: {after}");
    }
}

/// C5: what is sent behind a request to upgrade is a request like any other, as long as nobody has upgraded.
#[tokio::test]
async fn requests_behind_an_upgrade_that_does_not_come() {
    let scene = Scene::new().await;
    for protocol in ["websocket", "h2c", "TLS/1.0", "foo"] {
        let upgrade = format!(
            "GET /up HTTP/1.1\r\nhost: orders\r\nconnection: upgrade, http2-settings\r\nupgrade: {protocol}\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
        );
        let hidden = "GET /admin HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n";
        let answer = exchange(scene.address, format!("{upgrade}{hidden}").as_bytes()).await;
        assert!(!answer.contains("HTTP/1.1 101"), "{protocol}: {answer}");
        assert!(answer.contains("HTTP/1.1 403"), "{protocol}: {answer}");
    }
    assert_eq!(scene.backend.hits_of("/admin"), 0);
    assert!(!scene.backend.last().0.contains_key("http2-settings"));
    scene.lives().await;
}
