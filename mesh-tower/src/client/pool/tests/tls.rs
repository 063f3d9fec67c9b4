use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
};

use super::{server::Speaks, *};
use crate::client::connect::{HttpVersion, TlsFailure};

/// A certificate authority and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn server(&self, protocols: &[&str]) -> Speaks {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(self.roots(), Arc::clone(&provider))
            .build()
            .unwrap();
        let (chain, key) = self.sign("orders");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Speaks::Tls(Arc::new(config))
    }

    /// A client's configuration that trusts this authority and has its certificate from `issuer`.
    fn client(&self, issuer: &Self) -> Arc<ClientConfig> {
        let (chain, key) = issuer.sign("caller");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }
}

fn target(config: Arc<ClientConfig>) -> Option<TlsTarget> {
    Some(TlsTarget {
        config,
        server_name: ServerName::try_from("orders").unwrap(),
    })
}

fn tls_pool(server: &Server, config: Arc<ClientConfig>, version: HttpVersion) -> Pool {
    let version = PoolConfig {
        version,
        ..PoolConfig::default()
    };
    Pool::new(server.address, target(config), version, Unlimited)
}

#[tokio::test]
async fn alpn_settles_the_version() {
    let authority = Authority::new();
    for (offered, wanted, version, alpn) in [
        (&["h2", "http/1.1"][..], HttpVersion::Auto, "HTTP/2.0", Some("h2")),
        (&["http/1.1"], HttpVersion::Auto, "HTTP/1.1", Some("http/1.1")),
        (&["h2", "http/1.1"], HttpVersion::Http1, "HTTP/1.1", Some("http/1.1")),
        (
            &["h2", "http/1.1"],
            HttpVersion::Http2PriorKnowledge,
            "HTTP/2.0",
            Some("h2"),
        ),
        (&[], HttpVersion::Auto, "HTTP/1.1", None),
    ] {
        let server = Server::start(authority.server(offered)).await;
        let pool = tls_pool(&server, authority.client(&authority), wanted);

        let answer = ask(&pool, "/request").await;

        assert!(
            answer.text.starts_with(version),
            "{offered:?} {wanted:?}: {}",
            answer.text
        );
        let peer = pool.newest_peer().unwrap();
        assert_eq!(peer.alpn.as_deref(), alpn.map(str::as_bytes));
        assert_eq!(peer.certificates.len(), 1);
    }
}

#[tokio::test]
async fn one_connection_finds_out_whether_requests_can_share_it() {
    let authority = Authority::new();
    for (offered, connections) in [(&["h2"][..], 1), (&["http/1.1"], 8)] {
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
    let server = Server::start(theirs.server(&["http/1.1"])).await;
    let pool = tls_pool(&server, ours.client(&theirs), HttpVersion::Auto);

    let error = pool.send(get("/")).await.unwrap_err();

    let Some(ConnectError::Tls { failure, .. }) = error.connect_error() else {
        panic!("{error:?}");
    };
    assert_eq!(*failure, TlsFailure::PeerNotTrusted);
    assert!(error.is_unsent());
    assert_eq!(server.paths(), [""; 0]);
}

/// A TLS 1.3 server refuses our certificate after our side of the handshake is done.
#[tokio::test]
async fn a_certificate_that_the_peer_refuses_is_an_error_and_not_a_loop() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start(theirs.server(&["http/1.1"])).await;
    let pool = tls_pool(&server, theirs.client(&ours), HttpVersion::Auto);

    let error = pool.send(get("/")).await.unwrap_err();

    assert!(matches!(
        error.kind(),
        SendErrorKind::Connect | SendErrorKind::Canceled | SendErrorKind::Reset
    ));
    assert_eq!(server.paths(), [""; 0]);
    assert_eq!(server.accepted(), 1);
    until("nothing left", || pool.stats() == PoolStats::default()).await;
}

#[tokio::test]
async fn a_new_identity_is_used_for_new_connections_and_drops_none() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start(ours.server(&["http/1.1"])).await;
    let pool = tls_pool(&server, ours.client(&ours), HttpVersion::Auto);
    assert_eq!(ask(&pool, "/").await.connection, 0);
    until("idle", || pool.stats().idle == 1).await;

    assert!(pool.set_tls(&theirs.client(&ours)));
    assert_eq!(ask(&pool, "/").await.connection, 0);

    pool.drain();
    let error = pool.send(get("/")).await.unwrap_err();
    assert!(
        matches!(error.connect_error(), Some(ConnectError::Tls { .. })),
        "{error:?}"
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

#[tokio::test]
async fn connections_to_a_peer_that_is_no_longer_trusted_are_retired() {
    let authority = Authority::new();
    let server = Server::start(authority.server(&["h2"])).await;
    let pool = tls_pool(&server, authority.client(&authority), HttpVersion::Auto);
    ask(&pool, "/").await;

    pool.retire(|peer| peer.certificates.is_empty());
    assert_eq!(ask(&pool, "/").await.connection, 0);

    pool.retire(|peer| !peer.certificates.is_empty());
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
