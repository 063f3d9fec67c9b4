use super::*;
use crate::client::connect::HttpVersion;

fn limited(server: &Server, limits: &Limits) -> Pool {
    Pool::new(server.address, None, PoolConfig::default(), limits.clone())
}

#[tokio::test]
async fn the_request_over_the_limits_fails_at_once() {
    let server = Server::http1().await;
    let limits = Limits::new(1, 1);
    let pool = limited(&server, &limits);

    let first = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    let second = ask_later(&pool, "/");
    until("pending", || pool.stats().pending == 1).await;
    let mut third = Box::pin(pool.send(get("/over")));
    let Poll::Ready(Err(mut error)) = poll_once(&mut third).await else {
        panic!("must not wait");
    };

    assert_eq!(error.kind(), SendErrorKind::Overflow);
    assert!(error.is_local() && error.is_unsent());
    assert_eq!(error.take_request().unwrap().uri(), "/over");
    assert_eq!((limits.connections(), limits.pending()), (1, 1));
    server.release(1);
    assert_eq!(first.await.unwrap().connection, 0);
    assert_eq!(second.await.unwrap().connection, 0);
    assert_eq!(server.accepted(), 1);
    assert_eq!(limits.pending(), 0);
}

#[tokio::test]
async fn waiting_requests_are_served_in_their_order() {
    let server = Server::http1().await;
    let pool = limited(&server, &Limits::new(1, 10));

    let first = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    let mut waiting = Vec::new();
    for path in ["/a", "/b", "/c"] {
        waiting.push(ask_later(&pool, path));
        let count = waiting.len();
        until("pending", || pool.stats().pending == count).await;
    }
    server.release(1);
    first.await.unwrap();
    for request in waiting {
        request.await.unwrap();
    }

    assert_eq!(server.paths(), ["/hold", "/a", "/b", "/c"]);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_request_that_gives_up_leaves_the_queue() {
    let server = Server::http1().await;
    let limits = Limits::new(1, 10);
    let pool = limited(&server, &limits);

    let first = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    let given_up = ask_later(&pool, "/a");
    until("one pending", || pool.stats().pending == 1).await;
    let patient = ask_later(&pool, "/b");
    until("two pending", || pool.stats().pending == 2).await;
    given_up.abort();
    until("one left", || pool.stats().pending == 1 && limits.pending() == 1).await;
    server.release(1);
    first.await.unwrap();
    patient.await.unwrap();

    assert_eq!(server.paths(), ["/hold", "/b"]);
}

/// Reads to the end, which the connection's task reaches once the chunk before it is taken.
async fn finish(response: http::Response<Body>) {
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn a_connection_handed_to_a_request_that_gave_up_goes_to_the_next() {
    let server = Server::http1().await;
    let pool = limited(&server, &Limits::new(1, 10));
    let response = unread(&pool).await;
    let mut given_up = Box::pin(pool.send(get("/a")));
    let mut next = Box::pin(pool.send(get("/b")));
    assert!(poll_once(&mut given_up).await.is_pending());
    assert!(poll_once(&mut next).await.is_pending());

    finish(response).await;
    assert_eq!(
        pool.stats(),
        PoolStats {
            open: 1,
            active: 1,
            pending: 1,
            ..PoolStats::default()
        }
    );
    drop(given_up);

    assert_eq!(read(next.await.unwrap()).await.connection, 0);
    assert_eq!(server.paths(), ["/chunked", "/b"]);
}

#[tokio::test]
async fn a_connection_handed_to_the_only_request_that_gave_up_is_idle_again() {
    let server = Server::http1().await;
    let pool = limited(&server, &Limits::new(1, 10));
    let response = unread(&pool).await;
    let mut given_up = Box::pin(pool.send(get("/a")));
    assert!(poll_once(&mut given_up).await.is_pending());

    finish(response).await;
    assert_eq!(pool.stats().active, 1);
    drop(given_up);

    assert_eq!(
        pool.stats(),
        PoolStats {
            open: 1,
            idle: 1,
            ..PoolStats::default()
        }
    );
    assert_eq!(ask(&pool, "/").await.connection, 0);
}

#[tokio::test]
async fn a_request_takes_what_comes_back_before_its_own_connection_is_made() {
    let server = Server::http1().await;
    let pool = pool(&server);
    let response = unread(&pool).await;
    let mut request = Box::pin(pool.send(get("/a")));
    assert!(poll_once(&mut request).await.is_pending());
    assert_eq!(pool.stats().connecting, 1);

    finish(response).await;

    assert_eq!(read(request.await.unwrap()).await.connection, 0);
    until("new one idle", || {
        pool.stats()
            == PoolStats {
                open: 2,
                idle: 2,
                ..PoolStats::default()
            }
    })
    .await;
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_request_that_gives_up_does_not_waste_its_connection() {
    let server = Server::http1().await;
    let pool = pool(&server);
    let mut given_up = Box::pin(pool.send(get("/a")));
    assert!(poll_once(&mut given_up).await.is_pending());
    drop(given_up);

    until("idle", || {
        pool.stats()
            == PoolStats {
                open: 1,
                idle: 1,
                ..PoolStats::default()
            }
    })
    .await;
    assert_eq!(ask(&pool, "/").await.connection, 0);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_endpoint_has_one_connection_even_at_the_limit() {
    let (one, other) = (Server::http1().await, Server::http1().await);
    let limits = Limits::new(1, 10);
    let (pool_of_one, pool_of_other) = (limited(&one, &limits), limited(&other, &limits));

    assert_eq!(ask(&pool_of_one, "/").await.connection, 0);
    assert_eq!(ask(&pool_of_other, "/").await.connection, 0);

    assert_eq!(limits.connections(), 2, "beyond the limit it is counted, too");
    assert_eq!((pool_of_one.stats().open, pool_of_other.stats().open), (1, 1));

    drop(pool_of_one);
    until("freed", || limits.connections() == 1).await;
    let held = ask_later(&pool_of_other, "/hold");
    until("held", || other.held() == 1).await;
    let waiting = ask_later(&pool_of_other, "/");
    until("pending", || pool_of_other.stats().pending == 1).await;
    assert_eq!(pool_of_other.stats().connecting, 0, "its first one is the only one");
    other.release(2);
    assert_eq!(
        (held.await.unwrap().connection, waiting.await.unwrap().connection),
        (0, 0)
    );
}

#[tokio::test]
async fn a_permit_that_another_pool_frees_is_used() {
    let (one, other) = (Server::http1().await, Server::http1().await);
    let limits = Limits::new(2, 10);
    let (pool_of_one, pool_of_other) = (limited(&one, &limits), limited(&other, &limits));
    ask(&pool_of_other, "/").await;
    let held = ask_later(&pool_of_one, "/hold");
    until("held", || one.held() == 1).await;
    let waiting = ask_later(&pool_of_one, "/");
    until("pending", || pool_of_one.stats().pending == 1).await;
    assert_eq!(pool_of_one.stats().connecting, 0);

    drop(pool_of_other);
    until("freed", || limits.connections() == 1).await;
    pool_of_one.permit_released();

    assert_eq!(waiting.await.unwrap().connection, 1);
    one.release(1);
    held.await.unwrap();
}

#[tokio::test]
async fn the_permit_of_a_closed_connection_serves_who_waits() {
    let server = Server::http1().await;
    let limits = Limits::new(1, 10);
    let pool = limited(&server, &limits);
    let held = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    let waiting = ask_later(&pool, "/");
    until("pending", || pool.stats().pending == 1).await;

    held.abort();

    assert_eq!(waiting.await.unwrap().connection, 1);
    assert_eq!(limits.connections(), 1);
}

#[tokio::test]
async fn a_refused_connect_fails_all_that_wait_and_gives_requests_back() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let limits = Limits::new(1, 10);
    let pool = Pool::new(address, None, PoolConfig::default(), limits.clone());

    let requests: Vec<_> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.send(get("/a")).await.map(drop) })
        })
        .collect();
    for request in requests {
        let mut error = request.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::Connect);
        assert!(matches!(error.connect_error(), Some(ConnectError::Refused { .. })));
        assert!(error.is_unsent() && !error.is_local());
        assert_eq!(error.take_request().unwrap().uri(), "/a");
    }

    assert_eq!((limits.connections(), limits.pending()), (0, 0));
    assert_eq!(pool.stats(), PoolStats::default());
}

/// Whatever is given up and whenever: in the end every permit, place and connection is accounted for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_give_up_at_any_time_leave_no_trace() {
    for version in [HttpVersion::Http1, HttpVersion::Http2PriorKnowledge] {
        let server = match version {
            HttpVersion::Http1 => Server::http1().await,
            _ => Server::http2().await,
        };
        let limits = Limits::new(3, 1000);
        let max_concurrent_streams = std::num::NonZeroU32::new(2);
        let config = PoolConfig {
            version,
            max_concurrent_streams,
            ..PoolConfig::default()
        };
        let pool = Pool::new(server.address, None, config, limits.clone());

        for round in 0..40 {
            let requests: Vec<_> = (0..16).map(|_| ask_later(&pool, "/")).collect();
            for (number, request) in requests.into_iter().enumerate() {
                for _ in 0..(round * 7 + number) % 23 {
                    tokio::task::yield_now().await;
                }
                if number % 3 == 0 {
                    assert_eq!(request.await.unwrap().text, "hello");
                } else {
                    request.abort();
                }
            }
        }

        until("settled", || {
            let stats = pool.stats();
            (stats.active, stats.pending, stats.connecting) == (0, 0, 0) && stats.idle == stats.open
        })
        .await;
        until("permits", || {
            limits.connections() == pool.stats().open && limits.pending() == 0
        })
        .await;
        assert!(pool.stats().open <= 3);
        assert_eq!(ask(&pool, "/").await.text, "hello");
    }
}

#[tokio::test]
async fn a_limit_that_is_over_in_the_queue_gives_the_request_back() {
    let server = Server::http1().await;
    let pool = limited(&server, &Limits::new(1, 10));
    let first = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;

    assert_eq!(unsent(&pool).await, Awaited::Turn);

    server.release(1);
    first.await.unwrap();
    assert_eq!(server.paths(), ["/hold"]);
}
