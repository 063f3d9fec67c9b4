use std::{
    io::{Read, Write},
    num::NonZeroU32,
    pin::pin,
    sync::mpsc,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::client::hop::Upgrades;

#[tokio::test]
async fn a_thousand_requests_leave_one_connection() {
    let server = Server::http1().await;
    let pool = pool(&server);

    for _ in 0..1000 {
        assert_eq!(ask(&pool, "/").await.connection, 0);
    }

    assert_eq!(server.accepted(), 1);
    assert_eq!(
        pool.stats(),
        PoolStats {
            open: 1,
            idle: 1,
            ..PoolStats::default()
        }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_reuse_connections_across_threads() {
    let server = Server::http1().await;
    let pool = pool(&server);

    let workers: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    assert_eq!(ask(&pool, "/").await.text, "hello");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }

    assert!(
        server.accepted() <= 16,
        "{} connections for 8 workers",
        server.accepted()
    );
    until("all idle", || {
        pool.stats().idle == pool.stats().open && pool.stats().active == 0
    })
    .await;
}

#[tokio::test]
async fn responses_without_a_body_give_their_connection_back() {
    let server = Server::http1().await;
    let pool = pool(&server);

    for _ in 0..3 {
        let response = pool.send(get("/empty")).await.unwrap();
        assert_eq!(response.status(), 204);
        // The body is at its end: nobody needs to read or drop it.
        until("idle", || pool.stats().idle == 1).await;
    }

    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn request_line_is_the_path_and_host_is_the_callers() {
    let server = Server::http1().await;
    let pool = pool(&server);

    let given = Request::get("http://10.0.0.4:8080/request?x=1").header("host", "orders");
    let answer = read(pool.send(given.body(Body::empty()).unwrap()).await.unwrap()).await;
    assert_eq!(answer.text, r#"HTTP/1.1 /request?x=1 host=Some("orders")"#);

    let absent = Request::get("http://user@orders:8080/request").version(http::Version::HTTP_2);
    let answer = read(pool.send(absent.body(Body::empty()).unwrap()).await.unwrap()).await;
    assert_eq!(answer.text, r#"HTTP/1.1 /request host=Some("orders:8080")"#);
}

#[tokio::test]
async fn request_bodies_arrive() {
    let server = Server::http1().await;
    let pool = pool(&server);

    let request = Request::post("/echo")
        .header("host", "orders")
        .body(Body::from("order 1"))
        .unwrap();
    let answer = read(pool.send(request).await.unwrap()).await;

    assert_eq!(answer.text, "order 1");
}

#[tokio::test]
async fn connection_close_ends_the_connection() {
    let server = Server::http1().await;
    let pool = pool(&server);

    assert_eq!(ask(&pool, "/close").await.connection, 0);
    assert_eq!(ask(&pool, "/").await.connection, 1);

    until("first closed", || pool.stats().open == 1 && server.open() == 1).await;
}

#[tokio::test]
async fn a_body_dropped_half_read_ends_the_connection() {
    let server = Server::http1().await;
    let pool = pool(&server);

    let mut response = pool.send(get("/large")).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(pool.stats().active, 1);
    drop(response);
    assert_eq!(pool.stats().active, 0);

    assert_eq!(ask(&pool, "/").await.connection, 1);
    until("first closed", || pool.stats().open == 1).await;
}

/// As after an attempt whose response only its status was needed of.
#[tokio::test]
async fn an_answer_that_is_all_there_has_given_its_connection_back() {
    let server = Server::http1().await;
    let pool = pool(&server);

    let unread = pool.send(get("/")).await.unwrap();
    let PoolStats { open, active, idle, .. } = pool.stats();
    assert_eq!((open, active, idle), (1, 0, 1));

    assert_eq!(ask(&pool, "/").await.connection, 0);
    assert_eq!(read(unread).await.text, "hello");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_answer_that_comes_when_its_task_has_done_enough_is_taken() {
    let server = Server::http1().await;
    let pool = pool(&server);
    for (left, mut is_short) in (0..24).flat_map(|left| [(left, false), (left, true)]) {
        let pool = pool.clone();
        let mut sending = Box::pin(async move { pool.send(get("/large")).await });
        // A task of its own is polled only when it is woken.
        let answered = tokio::spawn(std::future::poll_fn(move |cx| {
            is_short = !is_short;
            // The runtime lets a task do so much before it has others run.
            for _ in 0..if is_short { 128 - left } else { 0 } {
                let _ = std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx);
            }
            sending.as_mut().poll(cx)
        }));
        let answered = tokio::time::timeout(Duration::from_secs(5), answered).await;
        assert!(answered.is_ok_and(|answered| answered.unwrap().is_ok()), "{left}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_ends_though_nobody_polls_its_request() {
    let server = Server::http1().await;
    let pool = pool(&server);
    let mut held = Box::pin(pool.send(get("/hold")));
    while server.held() == 0 {
        assert!(poll_once(&mut held).await.is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.end_within(Duration::ZERO, |_| true), 1);
    until("cut", || pool.stats().open == 0).await;
    assert_eq!(held.await.unwrap_err().kind(), SendErrorKind::Reset);
}

#[tokio::test]
async fn a_connection_that_ends_with_a_whole_answer_or_in_idleness_is_gone_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = Pool::new(listener.local_addr().unwrap(), None, PoolConfig::default(), Unlimited);
    for waits in [0, 100] {
        let (answer, ()) = tokio::join!(pool.send(get("/")), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read_buf(&mut Vec::new()).await.unwrap() > 0);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
            for _ in 0..waits {
                tokio::task::yield_now().await;
            }
        });
        let unread = answer.unwrap();
        until("closed", || pool.stats().open == 0).await;
        assert_eq!(unread.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
}

#[tokio::test]
async fn a_body_dropped_after_it_arrived_keeps_the_connection() {
    let server = Server::http1().await;
    let pool = pool(&server);

    drop(pool.send(get("/")).await.unwrap());

    assert_eq!(
        pool.stats(),
        PoolStats {
            open: 1,
            idle: 1,
            ..PoolStats::default()
        }
    );
    assert_eq!(
        ask(&pool, "/").await,
        Answer {
            status: 200,
            connection: 0,
            text: "hello".to_owned()
        }
    );
}

#[tokio::test]
async fn a_body_dropped_before_its_end_arrived_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
            .await
            .unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0, "closed");
    });
    let pool = Pool::new(address, None, PoolConfig::default(), Unlimited);

    let mut response = pool.send(get("/")).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);

    server.await.unwrap();
    until("closed", || pool.stats().open == 0).await;
}

#[tokio::test]
async fn a_request_given_up_ends_its_connection() {
    let server = Server::http1().await;
    let pool = pool(&server);

    let request = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    request.abort();
    until("closed", || pool.stats().open == 0).await;

    assert_eq!(ask(&pool, "/").await.connection, 1);
}

#[tokio::test]
async fn max_requests_per_connection_counts_requests() {
    for (max, connections) in [(1, [0, 1, 2, 3]), (2, [0, 0, 1, 1])] {
        let server = Server::http1().await;
        let config = PoolConfig {
            max_requests_per_connection: NonZeroU32::new(max),
            ..PoolConfig::default()
        };
        let pool = pool_with(&server, config);

        for connection in connections {
            assert_eq!(ask(&pool, "/").await.connection, connection);
        }

        until("used up connections closed", || {
            pool.stats().open == 0 && server.open() == 0
        })
        .await;
    }
}

/// C7.
#[tokio::test]
async fn c7_connect_never_gives_its_connection_back() {
    let server = Server::http1().await;
    let pool = pool(&server);

    for connection in 0..3 {
        let request = Request::connect("db:5432")
            .header("host", "db")
            .body(Body::empty())
            .unwrap();
        let answer = read(pool.send(request).await.unwrap()).await;
        let text = "no tunnels".to_owned();
        assert_eq!(
            answer,
            Answer {
                status: 400,
                connection,
                text
            }
        );
    }

    assert_eq!(ask(&pool, "/").await.connection, 3);
    until("tunnels closed", || pool.stats().open == 1).await;
}

/// C7.
#[tokio::test]
async fn c7_bytes_behind_a_connect_answer_reach_no_other_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let server = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert!(first.read(&mut buffer).await.unwrap() > 0);
        first.write_all(poison.as_bytes()).await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        assert!(second.read(&mut buffer).await.unwrap() > 0);
        second
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood")
            .await
            .unwrap();
        second
    });
    let pool = Pool::new(address, None, PoolConfig::default(), Unlimited);

    let connect = Request::connect("db:5432")
        .header("host", "db")
        .body(Body::empty())
        .unwrap();
    drop(pool.send(connect).await.unwrap());
    let answer = pool.send(get("/")).await.unwrap();

    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "good");
    drop(server.await.unwrap());
}

#[tokio::test]
async fn an_upgrade_request_never_gives_its_connection_back() {
    let server = Server::http1().await;
    let pool = pool_with(
        &server,
        PoolConfig {
            upgrades: Upgrades::Allow,
            ..PoolConfig::default()
        },
    );
    let upgrade = || {
        let request = get("/");
        let (mut parts, body) = request.into_parts();
        parts.headers.insert("connection", "upgrade".parse().unwrap());
        parts.headers.insert("upgrade", "websocket".parse().unwrap());
        Request::from_parts(parts, body)
    };

    assert_eq!(read(pool.send(upgrade()).await.unwrap()).await.connection, 0);
    assert_eq!(ask(&pool, "/").await.connection, 1);

    // Where upgrades are not allowed it is a request like any other.
    pool.configure(PoolConfig::default());
    assert_eq!(read(pool.send(upgrade()).await.unwrap()).await.connection, 1);
    assert_eq!(ask(&pool, "/").await.connection, 1);
}

/// Answers that have come are read before the requests are written that follow from them.
#[tokio::test]
async fn on_one_thread_a_request_lets_others_go_first() {
    let server = Server::http1().await;
    let pool = pool(&server);
    assert_eq!(ask(&pool, "/").await.connection, 0);
    let held = unread(&pool).await;
    let mut second = pin!(pool.send(get("/")));

    assert!(poll_once(&mut second).await.is_pending());
    assert_eq!(pool.stats().pending, 0, "it has not asked for a connection yet");
    assert!(poll_once(&mut second).await.is_pending());
    assert_eq!(pool.stats().pending, 1);
    assert_eq!(read(second.await.unwrap()).await.connection, 1);

    // Where no other request is under way, there is none to wait for.
    drop(held);
    until("nothing is under way", || {
        pool.stats().active == 0 && pool.stats().idle > 0
    })
    .await;
    let mut alone = pin!(pool.send(get("/")));
    assert!(poll_once(&mut alone).await.is_pending());
    assert_eq!(pool.stats().active, 1);
}

/// A server on a thread of its own, so that its `FIN` can arrive while no task of ours runs.
#[tokio::test]
async fn a_stale_connection_is_replaced_without_notice() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answered, closed) = (mpsc::channel::<()>(), mpsc::channel::<()>());
    let server = std::thread::spawn(move || {
        let answer = |stream: &mut std::net::TcpStream, text: &str| {
            let mut buffer = [0; 1024];
            assert!(stream.read(&mut buffer).unwrap() > 0);
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            stream.write_all(text.as_bytes()).unwrap();
        };
        let (mut first, _) = listener.accept().unwrap();
        answer(&mut first, "first");
        answered.1.recv().unwrap();
        drop(first);
        closed.0.send(()).unwrap();
        let (mut second, _) = listener.accept().unwrap();
        answer(&mut second, "second");
        let mut rest = Vec::new();
        second.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "one request only");
    });
    let pool = Pool::new(address, None, PoolConfig::default(), Unlimited);
    let text = async |path| {
        let response = pool.send(get(path)).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };

    assert_eq!(text("/1").await, "first");
    until("idle", || pool.stats().idle == 1).await;
    answered.0.send(()).unwrap();
    closed.1.recv().unwrap();
    // The runtime looks at its sockets and wakes this test before the connection's task.
    tokio::task::yield_now().await;
    assert_eq!(pool.stats().idle, 1, "nobody has noticed yet");
    assert_eq!(text("/2").await, "second");

    drop(pool);
    tokio::task::spawn_blocking(move || server.join().unwrap())
        .await
        .unwrap();
}

/// The peer's `FIN` and our request cross: the request was written, so only the caller knows
/// whether it may be sent again.
#[tokio::test]
async fn a_kept_connection_that_breaks_before_any_answer_is_told_from_other_resets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
    });
    let pool = Pool::new(address, None, PoolConfig::default(), Unlimited);
    let response = pool.send(get("/")).await.unwrap();
    response.into_body().collect().await.unwrap();

    let error = pool.send(get("/")).await.unwrap_err();

    server.await.unwrap();
    assert_eq!(error.kind(), SendErrorKind::Reset);
    assert!(error.is_stale_connection() && !error.is_unsent());
}

#[tokio::test]
async fn a_connection_broken_after_sending_is_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
    });
    let pool = Pool::new(address, None, PoolConfig::default(), Unlimited);

    let mut error = pool.send(get("/")).await.unwrap_err();

    server.await.unwrap();
    assert_eq!(error.kind(), SendErrorKind::Reset);
    assert!(!error.is_unsent() && !error.is_local() && !error.is_stale_connection());
    assert!(error.take_request().is_none());
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_protocol_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream.write_all(b"220 smtp.example.com ESMTP\r\n\r\n").await.unwrap();
        stream
    });
    let pool = Pool::new(address, None, PoolConfig::default(), Unlimited);

    let error = pool.send(get("/")).await.unwrap_err();

    assert_eq!(error.kind(), SendErrorKind::Protocol);
    drop(server.await.unwrap());
}

#[tokio::test]
async fn a_failing_request_body_is_the_callers_fault() {
    let server = Server::http1().await;
    let pool = pool(&server);
    let frames = vec![Err::<http_body::Frame<bytes::Bytes>, _>("caller went away")];
    let body = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));

    let request = Request::post("/echo").header("host", "orders").body(body).unwrap();
    let error = pool.send(request).await.unwrap_err();

    assert_eq!(error.kind(), SendErrorKind::RequestBody);
}

/// The response ends before the request does: the connection's task takes the sender until then.
#[tokio::test]
async fn a_connection_comes_back_when_the_request_body_has_ended_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        for end in [&b"\r\n\r\n"[..], b"0\r\n\r\n", b"\r\n\r\n"] {
            // The next request may come with the end of this one.
            let over = loop {
                match received.windows(end.len()).position(|found| found == end) {
                    Some(at) => break at + end.len(),
                    None => assert!(stream.read_buf(&mut received).await.unwrap() > 0),
                }
            };
            drop(received.drain(..over));
            if end == b"\r\n\r\n" {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await
                    .unwrap();
            }
        }
        stream
    });
    let pool = Pool::new(address, None, PoolConfig::default(), Unlimited);
    let (frames, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Result<_, std::io::Error>>();
    let body = Body::new(http_body_util::StreamBody::new(futures_util::stream::poll_fn(
        move |cx| receiver.poll_recv(cx),
    )));

    let request = Request::post("/").header("host", "orders").body(body).unwrap();
    let response = pool.send(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    tokio::task::yield_now().await;
    assert_eq!(
        pool.stats(),
        PoolStats {
            open: 1,
            ..PoolStats::default()
        }
    );

    frames
        .send(Ok(http_body::Frame::data(bytes::Bytes::from_static(b"late"))))
        .unwrap();
    drop(frames);
    until("idle", || pool.stats().idle == 1).await;
    let response = pool.send(get("/")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    drop(server.await.unwrap());
}
