use tokio::time::{advance, pause};

use super::*;

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_idle_timeout() {
    let server = Server::http1().await;
    let pool = pool_with(
        &server,
        PoolConfig {
            idle_timeout: Some(Duration::from_secs(10)),
            ..PoolConfig::default()
        },
    );
    ask(&pool, "/").await;
    until("idle", || pool.stats().idle == 1).await;
    pause();

    advance(Duration::from_secs(9)).await;
    until("still idle", || pool.stats().idle == 1).await;
    advance(Duration::from_secs(2)).await;

    until("swept", || pool.stats() == PoolStats::default() && server.open() == 0).await;
}

#[tokio::test]
async fn an_idle_connection_over_its_time_is_not_used_though_no_sweep_came() {
    let server = Server::http1().await;
    let pool = pool_with(
        &server,
        PoolConfig {
            idle_timeout: Some(Duration::from_secs(10)),
            ..PoolConfig::default()
        },
    );
    ask(&pool, "/").await;
    until("idle", || pool.stats().idle == 1).await;
    pool.shared().sweeper().take().unwrap().abort();
    pause();
    advance(Duration::from_secs(11)).await;
    assert_eq!(pool.stats().idle, 1);

    assert_eq!(ask(&pool, "/").await.connection, 1);
}

#[tokio::test]
async fn a_request_in_flight_is_not_idle() {
    let server = Server::http1().await;
    let pool = pool_with(
        &server,
        PoolConfig {
            idle_timeout: Some(Duration::from_secs(10)),
            ..PoolConfig::default()
        },
    );
    let request = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    pause();

    advance(Duration::from_secs(3600)).await;
    server.release(1);

    assert_eq!(request.await.unwrap().text, "held");
}

#[tokio::test]
async fn an_old_connection_finishes_its_request_and_takes_no_other() {
    let server = Server::http1().await;
    let config = PoolConfig {
        max_connection_duration: Some(Duration::from_secs(60)),
        ..PoolConfig::default()
    };
    let pool = pool_with(&server, config);
    ask(&pool, "/").await;
    let request = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    pause();

    advance(Duration::from_secs(61)).await;
    until("no sweep is due for it", || {
        pool.shared().state().next_sweep() > Some(Duration::from_secs(1))
    })
    .await;
    server.release(1);

    assert_eq!(request.await.unwrap().connection, 0);
    until("closed", || pool.stats().open == 0).await;
    assert_eq!(ask(&pool, "/").await.connection, 1);
}

#[tokio::test]
async fn an_old_idle_connection_is_swept() {
    let server = Server::http1().await;
    let config = PoolConfig {
        max_connection_duration: Some(Duration::from_secs(60)),
        ..PoolConfig::default()
    };
    let pool = pool_with(&server, config);
    ask(&pool, "/").await;
    pause();

    advance(Duration::from_secs(61)).await;

    until("swept", || server.open() == 0).await;
}

#[tokio::test]
async fn a_shorter_idle_timeout_is_in_force_at_once() {
    let server = Server::http1().await;
    let pool = pool(&server);
    ask(&pool, "/").await;
    until("idle", || pool.stats().idle == 1).await;
    pause();

    pool.configure(PoolConfig {
        idle_timeout: Some(Duration::from_secs(1)),
        ..PoolConfig::default()
    });
    advance(Duration::from_secs(2)).await;

    until("swept", || pool.stats().open == 0).await;
}

#[tokio::test]
async fn drain_closes_idle_connections_and_finishes_active_ones() {
    let server = Server::http1().await;
    let pool = pool(&server);
    let held = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    assert_eq!(ask(&pool, "/").await.connection, 1);
    until("idle", || pool.stats().idle == 1).await;

    pool.drain();
    assert_eq!(pool.stats().idle, 0);
    assert_eq!(ask(&pool, "/").await.connection, 2);
    server.release(1);

    assert_eq!(held.await.unwrap().text, "held");
    until("drained", || {
        pool.stats()
            == PoolStats {
                open: 1,
                idle: 1,
                ..PoolStats::default()
            }
    })
    .await;
    assert_eq!(ask(&pool, "/").await.connection, 2);
}

#[tokio::test]
async fn a_closed_pool_refuses_requests_and_those_that_wait() {
    let server = Server::http1().await;
    let pool = Pool::new(server.address, None, PoolConfig::default(), Limits::new(1, 10));
    let held = ask_later(&pool, "/hold");
    until("held", || server.held() == 1).await;
    let mut waiting = Box::pin(pool.send(get("/")));
    assert!(poll_once(&mut waiting).await.is_pending());

    pool.close();

    assert_eq!(waiting.await.unwrap_err().kind(), SendErrorKind::Closed);
    assert_eq!(pool.send(get("/")).await.unwrap_err().kind(), SendErrorKind::Closed);
    server.release(1);
    assert_eq!(held.await.unwrap().text, "held");
    until("closed", || pool.stats() == PoolStats::default()).await;
}

#[tokio::test]
async fn a_dropped_pool_leaves_no_task_and_no_socket() {
    let runtime = Handle::current();
    let (one, two) = (Server::http1().await, Server::http2().await);
    let tasks = runtime.metrics().num_alive_tasks();
    let prior = PoolConfig {
        version: crate::client::connect::HttpVersion::Http2PriorKnowledge,
        ..PoolConfig::default()
    };
    let pools = [pool(&one), pool_with(&two, prior)];
    for pool in &pools {
        let requests: Vec<_> = (0..10).map(|_| ask_later(pool, "/")).collect();
        for request in requests {
            request.await.unwrap();
        }
    }
    assert!(runtime.metrics().num_alive_tasks() > tasks);

    drop(pools);

    until("sockets closed", || one.open() == 0 && two.open() == 0).await;
    until("tasks ended", || runtime.metrics().num_alive_tasks() == tasks).await;
}

#[tokio::test]
async fn a_response_outlives_its_pool() {
    let server = Server::http1().await;
    let pool = pool(&server);
    let response = pool.send(get("/large")).await.unwrap();

    drop(pool);

    assert_eq!(read(response).await.text.len(), 4 << 20);
    until("closed", || server.open() == 0).await;
}

#[tokio::test]
async fn a_peer_that_goes_away_is_noticed() {
    let server = Server::http1().await;
    let pool = pool(&server);
    ask(&pool, "/").await;
    until("idle", || pool.stats().idle == 1).await;

    server.shut_down();

    until("noticed", || pool.stats() == PoolStats::default()).await;
}

#[test]
fn a_pool_may_outlive_its_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let pool = runtime.block_on(async {
        let server = Server::http1().await;
        let pool = pool(&server);
        ask(&pool, "/").await;
        pool
    });

    drop(runtime);

    assert_eq!(pool.stats(), PoolStats::default());
}

/// There is one for each connection, for as long as it is open.
#[test]
fn the_task_of_a_connection_keeps_no_room_for_how_it_was_made() {
    let pool = Pool::new(([127, 0, 0, 1], 80).into(), None, PoolConfig::default(), Unlimited);
    let task = Opening::new(Arc::clone(pool.shared()), None).run();
    assert!(size_of_val(&task) <= 1024, "{} bytes", size_of_val(&task));
}
