//! Servers that abuse their callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use mesh_core::outcome::Outcome;
use mesh_tests::world::get;
use mesh_tower::Body;
use mesh_tower::client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What a server answers to every request, and how it goes on.
#[derive(Clone)]
struct Script {
    answer: &'static [u8],
    /// Written again and again afterwards; nothing, and the end of the connection, where empty.
    endless: &'static [u8],
}

/// A server by script; how many requests it was sent, and how many bytes of the endless part it could write.
struct Villain {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl Villain {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let villain = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            written: Arc::default(),
        };
        let (requests, written) = (Arc::clone(&villain.requests), Arc::clone(&villain.written));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (script, requests, written) = (script.clone(), Arc::clone(&requests), Arc::clone(&written));
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    while stream.read(&mut head).await.is_ok_and(|length| length > 0) {
                        requests.fetch_add(1, Ordering::SeqCst);
                        if stream.write_all(script.answer).await.is_err() || script.endless.is_empty() {
                            return;
                        }
                        while stream.write_all(script.endless).await.is_ok() {
                            written.fetch_add(script.endless.len(), Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        villain
    }
}

/// A client whose service `orders` is this server, with a time limit for what never ends.
async fn client(villain: &Villain) -> (World, Mesh, Client) {
    let world = World::new();
    let text = format!(
        "namespace: shop\nservices:\n  orders:\n    endpoints: [\"{}\"]\n    routes: [{{ timeout: 3s }}]\n",
        villain.address
    );
    world.write("orders.yaml", &text);
    let (mesh, client) = world.client("shop", "web").await;
    (world, mesh, client)
}

/// J10, J11: heads that are none, or have no end.
#[tokio::test]
async fn heads_that_are_none_or_never_end() {
    let big = [b'x'; 64 * 1024];
    let big: &'static [u8] = Box::leak(Box::new(big));
    for (what, answer, endless) in [
        (
            "a bare CR",
            &b"HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\ncontent-length: 0\r\n\r\n"[..],
            &b""[..],
        ),
        ("a NUL", b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n", b""),
        (
            "a name with a space",
            b"HTTP/1.1 200 OK\r\nx y: a\r\ncontent-length: 0\r\n\r\n",
            b"",
        ),
        (
            "two lengths",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            b"",
        ),
        ("no length", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b""),
        ("no status", b"HTTP/1.1 2x0 OK\r\n\r\n", b""),
        ("another protocol", b"ICY 200 OK\r\n\r\n", b""),
        (
            "an upgrade that nobody asked for",
            b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            b"",
        ),
        (
            "headers without end",
            b"HTTP/1.1 200 OK\r\n",
            b"x-more: and more of it\r\n",
        ),
        ("a header without end", b"HTTP/1.1 200 OK\r\nx: ", big),
        ("a status line without end", b"HTTP/1.1 200 ", big),
    ] {
        let villain = Villain::start(Script { answer, endless }).await;
        let (_world, _mesh, client) = client(&villain).await;
        let error = get(&client, "http://orders/").await.expect_err(what);
        assert!(error.outcome().blames_endpoint(), "{what}: {:?}", error.outcome());
        assert!([502, 503].contains(&error.status().as_u16()), "{what}: {error}");
        let written = villain.written.load(Ordering::SeqCst);
        assert!(written < 16 << 20, "{what}: {written} bytes were taken");
        assert!(villain.requests.load(Ordering::SeqCst) <= 3, "{what}");
    }
}

/// J10: what comes after an answer is no answer to the next request.
#[tokio::test]
async fn two_answers_to_one_request() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let villain = Villain::start(Script { answer, endless: b"" }).await;
    let (_world, _mesh, client) = client(&villain).await;
    for _ in 0..5 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().text, "first");
    }
}

/// J10: answers that are only announced, for ever.
#[tokio::test]
async fn announcements_without_end() {
    for hint in [
        &b"HTTP/1.1 100 Continue\r\n\r\n"[..],
        b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n",
    ] {
        let villain = Villain::start(Script {
            answer: hint,
            endless: hint,
        })
        .await;
        let (_world, _mesh, client) = client(&villain).await;
        let error = get(&client, "http://orders/").await.unwrap_err();
        assert!(
            error.outcome() == Outcome::RequestTimeout || error.outcome().blames_endpoint(),
            "{error}"
        );
    }
}

/// J11: bodies and trailers that are not what their heads said, or have no end.
#[tokio::test]
async fn bodies_that_break_off_or_never_end() {
    for (what, answer, endless) in [
        (
            "too short",
            &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"[..],
            &b""[..],
        ),
        (
            "a chunk that is none",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            b"",
        ),
        (
            "no last chunk",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"",
        ),
        (
            "trailers without end",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            b"x-more: and more of it\r\n",
        ),
        (
            "an extension without end",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;",
            b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
    ] {
        let villain = Villain::start(Script { answer, endless }).await;
        let (_world, _mesh, client) = client(&villain).await;
        let request = http::Request::get("http://orders/").body(Body::empty()).unwrap();
        let response = client.send(request).await.unwrap();
        assert!(response.into_body().collect().await.is_err(), "{what}");
        let written = villain.written.load(Ordering::SeqCst);
        assert!(written < 16 << 20, "{what}: {written} bytes were taken");
    }
}

/// J11: a body of any length is handed on, never kept.
#[tokio::test]
async fn bodies_without_end_are_not_kept() {
    let chunk: &'static [u8] = b"6\r\nabcdef\r\n";
    let villain = Villain::start(Script {
        answer: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        endless: chunk,
    })
    .await;
    let (_world, _mesh, client) = client(&villain).await;
    let request = http::Request::get("http://orders/").body(Body::empty()).unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    // Nobody reads: what the server can write is what buffers of the system take.
    tokio::time::sleep(SHORT).await;
    let written = villain.written.load(Ordering::SeqCst);
    assert!(written < 32 << 20, "{written} bytes were taken");
    let ends = async { while let Some(Ok(_)) = body.frame().await {} };
    let ended = tokio::time::timeout(Duration::from_secs(10), ends).await;
    assert!(ended.is_ok(), "the time limit of the route does not end it");
}
