use std::num::NonZeroU32;

use super::{server::Speaks, *};
use crate::client::connect::HttpVersion;

fn prior_knowledge() -> PoolConfig {
    PoolConfig {
        version: HttpVersion::Http2PriorKnowledge,
        ..PoolConfig::default()
    }
}

#[tokio::test]
async fn requests_share_one_connection() {
    let server = Server::http2().await;
    let pool = pool_with(&server, prior_knowledge());

    let requests: Vec<_> = (0..20).map(|_| ask_later(&pool, "/hold")).collect();
    until("all held", || server.held() == 20).await;
    assert_eq!(
        pool.stats(),
        PoolStats {
            open: 1,
            active: 20,
            ..PoolStats::default()
        }
    );
    server.release(20);
    for request in requests {
        assert_eq!(request.await.unwrap().connection, 0);
    }

    assert_eq!(server.accepted(), 1);
    until("idle", || {
        pool.stats()
            == PoolStats {
                open: 1,
                idle: 1,
                ..PoolStats::default()
            }
    })
    .await;
}

#[tokio::test]
async fn lc6_two_streams_a_connection_and_four_requests_need_two_connections() {
    let server = Server::http2().await;
    let config = PoolConfig {
        max_concurrent_streams: NonZeroU32::new(2),
        ..prior_knowledge()
    };
    let pool = pool_with(&server, config);

    let requests: Vec<_> = (0..4).map(|_| ask_later(&pool, "/hold")).collect();
    until("all held", || server.held() == 4).await;
    server.release(4);
    for request in requests {
        request.await.unwrap();
    }

    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn the_peers_limit_on_streams_opens_another_connection() {
    for speaks in [
        Speaks::Http2 { max_streams: Some(2) },
        Speaks::LateHttp2 { max_streams: 2 },
    ] {
        let server = Server::start(speaks).await;
        let pool = pool_with(&server, prior_knowledge());
        ask(&pool, "/").await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }

        let requests: Vec<_> = (0..4).map(|_| ask_later(&pool, "/hold")).collect();
        until("all held", || server.held() == 4).await;
        server.release(4);
        for request in requests {
            request.await.unwrap();
        }

        assert_eq!(server.accepted(), 2);
    }
}

#[tokio::test]
async fn a_request_waits_for_a_stream_when_no_connection_is_admitted() {
    let server = Server::http2().await;
    let config = PoolConfig {
        max_concurrent_streams: NonZeroU32::new(1),
        ..prior_knowledge()
    };
    let pool = Pool::new(server.address, None, config, Limits::new(1, 1));
    let held = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    let waiting = ask_later(&pool, "/");
    until("pending", || pool.stats().pending == 1).await;
    assert_eq!(pool.send(get("/")).await.unwrap_err().kind(), SendErrorKind::Overflow);

    server.release(1);

    assert_eq!(held.await.unwrap().connection, 0);
    assert_eq!(waiting.await.unwrap().connection, 0);
}

#[tokio::test]
async fn a_body_dropped_half_read_keeps_the_connection() {
    let server = Server::http2().await;
    let pool = pool_with(&server, prior_knowledge());

    let mut response = pool.send(get("/large")).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);

    assert_eq!(pool.stats().active, 0);
    assert_eq!(ask(&pool, "/").await.connection, 0);
}

#[tokio::test]
async fn a_request_given_up_keeps_the_connection() {
    let server = Server::http2().await;
    let pool = pool_with(&server, prior_knowledge());
    let request = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;

    request.abort();

    until("stream ended", || pool.stats().active == 0).await;
    assert_eq!(ask(&pool, "/").await.connection, 0);
}

#[tokio::test]
async fn max_requests_per_connection_counts_streams() {
    let server = Server::http2().await;
    let config = PoolConfig {
        max_requests_per_connection: NonZeroU32::new(2),
        ..prior_knowledge()
    };
    let pool = pool_with(&server, config);

    for connection in [0, 0, 1, 1, 2] {
        assert_eq!(ask(&pool, "/").await.connection, connection);
    }

    until("used up connections closed", || server.open() == 1).await;
}

#[tokio::test]
async fn lc9_after_goaway_the_next_request_has_a_new_connection() {
    let server = Server::http2().await;
    let pool = pool_with(&server, prior_knowledge());
    assert_eq!(ask(&pool, "/").await.connection, 0);

    server.shut_down();
    until("noticed", || pool.stats().open == 0).await;

    assert_eq!(ask(&pool, "/").await.connection, 1);
}

#[tokio::test]
async fn goaway_lets_the_request_in_flight_finish() {
    let server = Server::http2().await;
    let pool = pool_with(&server, prior_knowledge());
    let held = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;

    server.shut_down();
    until("next connection", || server.accepted() == 1).await;
    let next = ask_later(&pool, "/");
    assert_eq!(next.await.unwrap().text, "hello");
    server.release(1);

    assert_eq!(
        held.await.unwrap(),
        Answer {
            status: 200,
            connection: 0,
            text: "held".to_owned()
        }
    );
}

#[tokio::test]
async fn drain_lets_streams_finish_and_closes() {
    let server = Server::http2().await;
    let pool = pool_with(&server, prior_knowledge());
    let held = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;

    pool.drain();
    assert_eq!(ask(&pool, "/").await.connection, 1);
    server.release(1);

    assert_eq!(held.await.unwrap().connection, 0);
    until("old one closed", || server.open() == 1 && pool.stats().open == 1).await;
}

#[tokio::test]
async fn authority_is_the_callers_host() {
    let server = Server::http2().await;
    let pool = pool_with(&server, prior_knowledge());
    let given = |uri: &str, host: Option<&str>| {
        let mut request = Request::get(uri).body(Body::empty()).unwrap();
        if let Some(host) = host {
            request.headers_mut().insert("host", host.parse().unwrap());
        }
        request
    };

    for (uri, host) in [
        ("/request", Some("orders")),
        ("http://10.0.0.4:8080/request", Some("orders")),
        ("http://orders/request", Some("orders")),
        ("http://orders/request", None),
    ] {
        let answer = read(pool.send(given(uri, host)).await.unwrap()).await;
        assert_eq!(
            answer.text, "HTTP/2.0 http://orders/request host=None",
            "{uri} {host:?}"
        );
    }
}

/// A server that answers each stream with the next of the resets.
async fn resetting(reasons: &'static [h2::Reason]) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut reasons = reasons.iter();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            if let Some(reason) = reasons.next() {
                respond.send_reset(*reason);
            }
        }
    });
    address
}

#[tokio::test]
async fn a_refused_stream_was_not_seen_and_other_resets_may_have_been() {
    let address = resetting(&[h2::Reason::REFUSED_STREAM, h2::Reason::INTERNAL_ERROR]).await;
    let pool = Pool::new(address, None, prior_knowledge(), Unlimited);

    let refused = pool.send(get("/")).await.unwrap_err();
    assert_eq!(refused.kind(), SendErrorKind::Refused);
    assert!(refused.is_unsent());

    let reset = pool.send(get("/")).await.unwrap_err();
    assert_eq!(reset.kind(), SendErrorKind::Reset);
    assert!(!reset.is_unsent());
    assert_eq!(pool.stats().active, 0);
}

#[tokio::test]
async fn an_idle_connection_is_swept() {
    let server = Server::http2().await;
    let config = PoolConfig {
        idle_timeout: Some(Duration::from_secs(10)),
        ..prior_knowledge()
    };
    let pool = pool_with(&server, config);
    ask(&pool, "/").await;
    let held = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(pool.stats().open, 1, "a stream is open");
    server.release(1);
    held.await.unwrap();

    tokio::time::advance(Duration::from_secs(11)).await;

    until("swept", || pool.stats() == PoolStats::default() && server.open() == 0).await;
}

/// A request whose body fails when the test says so.
fn streamed(path: &str) -> (Request<Body>, tokio::sync::oneshot::Sender<()>) {
    let (fail, failed) = tokio::sync::oneshot::channel::<()>();
    let failing = futures_util::stream::once(async {
        failed.await.unwrap();
        Err::<http_body::Frame<bytes::Bytes>, _>("caller went away")
    });
    let body = Body::new(http_body_util::StreamBody::new(Box::pin(failing)));
    let request = Request::post(path).header("host", "orders").body(body).unwrap();
    (request, fail)
}

/// The stream is reset by this side, which is no reset by the peer.
#[tokio::test]
async fn a_failing_request_body_is_the_callers_fault() {
    let server = Server::http2().await;
    let pool = pool_with(&server, prior_knowledge());
    let (request, fail) = streamed("/echo");
    let sending = tokio::spawn({
        let pool = pool.clone();
        async move { pool.send(request).await }
    });
    until("under way", || !server.paths().is_empty()).await;

    fail.send(()).unwrap();

    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::RequestBody);
    assert!(!error.is_unsent());
}

#[tokio::test]
async fn an_answer_that_ends_with_the_body_of_its_request_is_told_from_a_reset() {
    let server = Server::http2().await;
    let pool = pool_with(&server, prior_knowledge());
    let (request, fail) = streamed("/large");
    let response = pool.send(request).await.unwrap();

    fail.send(()).unwrap();

    let error = response.into_body().collect().await.unwrap_err();
    assert!(is_of_request(&*error), "{error}");
}
