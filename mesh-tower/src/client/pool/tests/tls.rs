use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_tls::authority::DevCa;
use mesh_tls::clock::Clock;
use mesh_tls::config::{Alpn, ClientConfig, ServerConfig};
use mesh_tls::handshake::{HandshakeError, accept_tls};
use mesh_tls::svid::Svid;
use mesh_tls::verify::ExpectedPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{server::Speaks, *};
use crate::client::connect::HttpVersion;

const BOTH: [Alpn; 2] = [Alpn::H2, Alpn::Http1];

/// A certificate authority and what it signs.
struct Authority(DevCa);

impl Authority {
    fn new() -> Self {
        let domain = TrustDomain::parse("cluster.local").unwrap();
        Self(DevCa::new(domain, std::time::SystemTime::now()).unwrap())
    }

    fn sign(&self, account: &str) -> Svid {
        let id = SpiffeId::for_workload(self.0.trust_domain(), "shop", account).unwrap();
        let hour = Duration::from_secs(3600);
        self.0
            .issue(&id, hour, std::time::SystemTime::now())
            .unwrap()
            .svid()
            .unwrap()
    }

    fn server(&self, protocols: &[Alpn]) -> Speaks {
        let bundles = self.0.bundles().unwrap();
        let config = ServerConfig::mutual(&self.sign("orders"), &bundles, protocols, &Clock::system());
        Speaks::Tls(Arc::new(config.unwrap()))
    }

    /// A client's configuration that trusts this authority and has its certificate from `issuer`.
    fn client(&self, issuer: &Self) -> Arc<ClientConfig> {
        self.client_with(issuer, "orders", &BOTH)
    }

    fn client_with(&self, issuer: &Self, server: &str, protocols: &[Alpn]) -> Arc<ClientConfig> {
        let expected = SpiffeId::for_workload(self.0.trust_domain(), "shop", server).unwrap();
        let (bundles, expected) = (self.0.bundles().unwrap(), ExpectedPeer::exactly(expected));
        let config = ClientConfig::mutual(&issuer.sign("caller"), &bundles, &expected, protocols, &Clock::system());
        Arc::new(config.unwrap())
    }
}

fn target(config: Arc<ClientConfig>) -> Option<TlsTarget> {
    Some(TlsTarget {
        config,
        server_name: "orders".into(),
    })
}

fn tls_pool(server: &Server, config: Arc<ClientConfig>, version: HttpVersion) -> Pool {
    let version = PoolConfig {
        version,
        ..PoolConfig::default()
    };
    Pool::new(server.address, target(config), version, Unlimited)
}

/// What TLS says of a connection that ended before the peer sent anything.
fn handshake_error(error: &ConnectError) -> &HandshakeError {
    let ConnectError::Http {
        source: Some(source), ..
    } = error
    else {
        panic!("{error:?}")
    };
    source.downcast_ref().unwrap()
}

#[tokio::test]
async fn alpn_settles_the_version() {
    let authority = Authority::new();
    for (served, wanted, offered, version, alpn) in [
        (&BOTH[..], HttpVersion::Auto, &BOTH[..], "HTTP/2.0", Some(Alpn::H2)),
        (&[Alpn::Http1], HttpVersion::Auto, &BOTH, "HTTP/1.1", Some(Alpn::Http1)),
        (&BOTH, HttpVersion::Http1, &[Alpn::Http1], "HTTP/1.1", Some(Alpn::Http1)),
        (
            &BOTH,
            HttpVersion::Http2PriorKnowledge,
            &[Alpn::H2],
            "HTTP/2.0",
            Some(Alpn::H2),
        ),
        (&[], HttpVersion::Auto, &BOTH, "HTTP/1.1", None),
    ] {
        let server = Server::start(authority.server(served)).await;
        let pool = tls_pool(&server, authority.client_with(&authority, "orders", offered), wanted);

        let answer = ask(&pool, "/request").await;

        assert!(
            answer.text.starts_with(version),
            "{served:?} {wanted:?}: {}",
            answer.text
        );
        let peer = pool.newest_peer().unwrap();
        assert_eq!(peer.alpn, alpn);
        let identity = peer.identity.as_ref().unwrap();
        assert_eq!(identity.id().as_str(), "spiffe://cluster.local/ns/shop/sa/orders");
    }
}

/// F18.
#[tokio::test]
async fn a_peer_with_another_identity_gets_no_request() {
    let authority = Authority::new();
    let server = Server::start(authority.server(&BOTH)).await;
    let config = authority.client_with(&authority, "payments", &BOTH);
    let pool = tls_pool(&server, config, HttpVersion::Auto);

    let error = pool.send(get("/")).await.unwrap_err();

    let reason = error.connect_error().unwrap();
    assert!(reason.is_identity_mismatch(), "{reason}");
    assert!(reason.to_string().contains("sa/orders"), "{reason}");
    assert_eq!(server.paths(), [""; 0]);
}

#[tokio::test]
async fn one_connection_finds_out_whether_requests_can_share_it() {
    let authority = Authority::new();
    for (offered, connections) in [(&[Alpn::H2][..], 1), (&[Alpn::Http1], 8)] {
        let server = Server::start(authority.server(offered)).await;
        let pool = tls_pool(&server, authority.client(&authority), HttpVersion::Auto);

        let requests: Vec<_> = (0..8).map(|_| ask_later(&pool, "/hold")).collect();
        until("all held", || server.held() == 8).await;
        server.release(8);
        for request in requests {
            request.await.unwrap();
        }

        assert_eq!(server.accepted(), connections, "{offered:?}");
    }
}

#[tokio::test]
async fn a_peer_of_another_authority_is_not_trusted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start(theirs.server(&[Alpn::Http1])).await;
    let pool = tls_pool(&server, ours.client(&theirs), HttpVersion::Auto);

    let error = pool.send(get("/")).await.unwrap_err();

    let reason = error.connect_error().unwrap();
    assert!(reason.is_tls() && reason.is_identity_mismatch(), "{reason}");
    assert!(error.is_unsent());
    assert_eq!(server.paths(), [""; 0]);
}

/// A TLS 1.3 server refuses our certificate after our side of the handshake is done.
#[tokio::test]
async fn a_certificate_that_the_peer_refuses_is_a_failure_of_tls_and_not_a_loop() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for alpn in [Alpn::Http1, Alpn::H2] {
        let server = Server::start(theirs.server(&[alpn])).await;
        let pool = tls_pool(&server, theirs.client(&ours), HttpVersion::Auto);

        let mut error = pool.send(get("/")).await.unwrap_err();

        assert_eq!(error.kind(), SendErrorKind::Connect, "{alpn:?}");
        let reason = error.connect_error().unwrap();
        assert!(reason.is_tls() && !reason.is_identity_mismatch(), "{alpn:?}: {reason}");
        assert!(
            matches!(handshake_error(reason), HandshakeError::PeerRefused(_)),
            "{alpn:?}: {reason:?}"
        );
        let is_unsent = error.is_unsent();
        assert_eq!(error.take_request().is_some(), is_unsent, "{alpn:?}");
        assert_eq!(server.paths(), [""; 0]);
        assert_eq!(server.accepted(), 1);
        until("nothing left", || pool.stats() == PoolStats::default()).await;
    }
}

#[tokio::test]
async fn requests_that_share_a_refused_connection_all_learn_why() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start(theirs.server(&[Alpn::H2])).await;
    let pool = tls_pool(&server, theirs.client(&ours), HttpVersion::Auto);

    let requests = (0..8).map(|_| pool.send(get("/")));
    let errors = futures_util::future::join_all(requests).await;

    for error in errors.into_iter().map(Result::unwrap_err) {
        assert!(error.connect_error().is_some_and(ConnectError::is_tls), "{error:?}");
    }
    assert_eq!(server.paths(), [""; 0]);
}

/// A server that reads a request, answers with `answer` and then sends what is not TLS.
async fn broken_off_after(answer: &'static [u8]) -> SendError {
    let authority = Authority::new();
    let Speaks::Tls(config) = authority.server(&[Alpn::Http1]) else {
        unreachable!()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut stream, ..) = accept_tls(stream, config, Duration::from_secs(10)).await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
        let tcp = stream.get_mut().0;
        tcp.write_all(b"this is no record of TLS").await.unwrap();
        std::future::pending::<()>().await;
    });
    let config = authority.client(&authority);
    let pool = Pool::new(address, target(config), PoolConfig::default(), Unlimited);
    pool.send(get("/")).await.unwrap_err()
}

#[tokio::test]
async fn only_a_connection_that_was_silent_until_tls_failed_counts_as_not_made() {
    let silent = broken_off_after(b"").await;
    assert_eq!(silent.kind(), SendErrorKind::Connect);
    let reason = silent.connect_error().unwrap();
    assert!(
        matches!(handshake_error(reason), HandshakeError::Protocol(_)),
        "{reason:?}"
    );
    // The server did read the request.
    assert!(!silent.is_unsent());

    let begun = broken_off_after(b"HTTP/1.1 200").await;
    assert_eq!(begun.kind(), SendErrorKind::Reset);
    assert!(begun.connect_error().is_none() && !begun.is_unsent());
}

#[tokio::test]
async fn a_new_identity_is_used_for_new_connections_and_drops_none() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start(ours.server(&[Alpn::Http1])).await;
    let pool = tls_pool(&server, ours.client(&ours), HttpVersion::Auto);
    assert_eq!(ask(&pool, "/").await.connection, 0);
    until("idle", || pool.stats().idle == 1).await;

    assert!(pool.set_tls(&theirs.client(&ours)));
    assert_eq!(ask(&pool, "/").await.connection, 0);

    pool.drain();
    let error = pool.send(get("/")).await.unwrap_err();
    let reason = error.connect_error().unwrap();
    assert!(
        matches!(reason, ConnectError::Tls { .. }) && reason.is_identity_mismatch(),
        "{reason:?}"
    );

    assert!(pool.set_tls(&ours.client(&ours)));
    assert_eq!(ask(&pool, "/").await.text, "hello");
}

#[tokio::test]
async fn a_plain_text_pool_takes_no_identity() {
    let authority = Authority::new();
    let server = Server::http1().await;
    let pool = pool(&server);

    assert!(!pool.set_tls(&authority.client(&authority)));

    assert_eq!(ask(&pool, "/").await.text, "hello");
}

/// F13.
#[tokio::test]
async fn connections_to_a_peer_that_is_no_longer_trusted_are_retired() {
    let authority = Authority::new();
    let server = Server::start(authority.server(&[Alpn::H2])).await;
    let pool = tls_pool(&server, authority.client(&authority), HttpVersion::Auto);
    ask(&pool, "/").await;

    pool.retire(|peer| peer.identity.is_none());
    assert_eq!(ask(&pool, "/").await.connection, 0);

    pool.retire(|peer| peer.identity.is_some());
    assert_eq!(ask(&pool, "/").await.connection, 1);
    until("first closed", || server.open() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_the_handshake_times_out() {
    let authority = Authority::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pool = Pool::new(
        address,
        target(authority.client(&authority)),
        PoolConfig::default(),
        Unlimited,
    );

    let error = pool.send(get("/")).await.unwrap_err();

    assert!(
        matches!(error.connect_error(), Some(ConnectError::Timeout { .. })),
        "{error:?}"
    );
    assert_eq!(pool.stats(), PoolStats::default());
}

#[tokio::test]
async fn a_limit_that_is_over_while_connecting_is_told_from_one_in_the_queue() {
    let authority = Authority::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = Pool::new(
        silent.local_addr().unwrap(),
        target(authority.client(&authority)),
        PoolConfig::default(),
        Unlimited,
    );

    assert_eq!(unsent(&pool).await, Awaited::Connection);
}
