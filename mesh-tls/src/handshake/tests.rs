//! Sessions, protocols, time limits and blame.

use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::leaf::LeafError;
use crate::testing::{HOUR, LIMIT, World, as_client, domain, id, leaf, peer_error, rogue_client, shake, signed};
use crate::verify::ExpectedPeer;

fn anybody() -> ExpectedPeer {
    ExpectedPeer::any_in(domain("td"))
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is_and_can_talk() {
    let world = World::new();
    let server = world.server(&world.svid("orders"));
    let client = world.client(&world.svid("web"), &anybody());

    let (accepted, connected) = shake(server, client).await;
    let (mut near, web, _) = accepted.unwrap();
    let (mut far, orders, _) = connected.unwrap();

    assert_eq!(web.id(), &id("spiffe://td/web"));
    assert_eq!(orders.id(), &id("spiffe://td/orders"));
    assert_eq!(web.not_after(), crate::testing::start() + HOUR);
    far.write_all(b"ping").await.unwrap();
    far.flush().await.unwrap();
    let mut read = [0; 4];
    near.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"ping");
}

/// Connects twice with one client configuration that would resume; tells the kind of the second.
async fn second_handshake(
    world: &World,
    server: &Arc<ServerConfig>,
    version: &'static SupportedProtocolVersion,
) -> HandshakeKind {
    let client = rogue_client(signed(&leaf("spiffe://td/web"), &world.ca), &[version]);
    let mut kind = HandshakeKind::Full;
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(1 << 16);
        let connector = TlsConnector::from(Arc::clone(&client));
        let name = "orders".try_into().unwrap();
        let (accepted, connected) = tokio::join!(
            accept_tls(near, Arc::clone(server), LIMIT),
            connector.connect(name, far)
        );
        let (mut near, _, _) = accepted.unwrap();
        let mut far = connected.unwrap();
        // Tickets of TLS 1.3 come with the first data.
        near.write_all(b"x").await.unwrap();
        near.flush().await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        kind = far.get_ref().1.handshake_kind().unwrap();
    }
    kind
}

/// G1, G3, G4, for `resumption: off`: there is nothing to resume.
#[tokio::test]
async fn no_session_is_ever_resumed() {
    let world = World::new();
    let server = world.server(&world.svid("orders"));

    for version in [&TLS12, &TLS13] {
        assert_eq!(second_handshake(&world, &server, version).await, HandshakeKind::Full);
    }
}

/// The proof that [`no_session_is_ever_resumed`] can fail: rustls's defaults do resume.
#[tokio::test]
async fn rustls_would_resume_by_default() {
    let world = World::new();
    let server = world.server(&world.svid("orders"));
    let mut inner = rustls::ServerConfig::clone(&server.inner());
    inner.session_storage = rustls::server::ServerSessionMemoryCache::new(32);
    inner.send_tls13_tickets = 2;
    let careless = Arc::new(server.with_inner_for_test(inner));

    for version in [&TLS12, &TLS13] {
        assert_eq!(
            second_handshake(&world, &careless, version).await,
            HandshakeKind::Resumed
        );
    }
}

/// G1, for `resumption: off`.
#[tokio::test]
async fn a_client_of_ours_does_not_resume_with_a_server_that_would() {
    let world = World::new();
    let pair = signed(&leaf("spiffe://td/orders"), &world.ca);
    let server = crate::testing::rogue_server(pair, &[&TLS13]);
    let client = world.client(&world.svid("web"), &anybody());

    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(1 << 16);
        let acceptor = TlsAcceptor::from(Arc::clone(&server));
        let (accepted, connected) = tokio::join!(
            acceptor.accept(near),
            connect_tls(far, Arc::clone(&client), "orders", LIMIT)
        );
        let (mut near, mut far) = (accepted.unwrap(), connected.unwrap().0);
        near.write_all(b"x").await.unwrap();
        near.flush().await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        assert_eq!(near.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
}

/// G2, for `resumption: off`.
#[tokio::test]
async fn a_client_that_returns_after_its_certificate_ended_is_refused() {
    let world = World::new();
    let server_svid = {
        let mut params = leaf("spiffe://td/orders");
        params.not_after = (crate::testing::start() + HOUR * 2).into();
        let (chain, key) = signed(&params, &world.ca);
        crate::svid::Svid::from_der(chain, key).unwrap()
    };
    let server = world.server(&server_svid);
    let client = rogue_client(signed(&leaf("spiffe://td/web"), &world.ca), &[&TLS13]);
    let attempt = async || {
        let (near, far) = tokio::io::duplex(1 << 16);
        let connector = TlsConnector::from(Arc::clone(&client));
        let name = "orders".try_into().unwrap();
        tokio::join!(
            accept_tls(near, Arc::clone(&server), LIMIT),
            connector.connect(name, far)
        )
        .0
    };

    assert!(attempt().await.is_ok());
    world.time.advance(HOUR + Duration::from_secs(1));

    assert_eq!(peer_error(attempt().await), LeafError::Expired(1).into());
}

/// G5.
#[tokio::test]
async fn early_data_is_off_on_both_sides() {
    let world = World::new();
    let server = world.server(&world.svid("orders"));
    let client = world.client(&world.svid("web"), &anybody());

    assert_eq!(server.inner().max_early_data_size, 0);
    assert_eq!(server.inner().send_tls13_tickets, 0);
    assert!(!client.inner().enable_early_data);
}

/// G6.
#[tokio::test]
async fn the_protocol_is_the_servers_first_that_the_client_offers() {
    use Alpn::{H2, Http1};
    let world = World::new();
    let clock = world.time.clock();
    let configs = |server: &[Alpn], client: &[Alpn]| {
        let (orders, web) = (world.svid("orders"), world.svid("web"));
        let server = ServerConfig::mutual(&orders, &world.bundles, server, &clock).unwrap();
        let client = ClientConfig::mutual(&web, &world.bundles, &anybody(), client, &clock).unwrap();
        (Arc::new(server), Arc::new(client))
    };
    for (server, client, agreed) in [
        (&[H2, Http1][..], &[Http1, H2][..], Some(H2)),
        (&[H2, Http1], &[H2], Some(H2)),
        (&[H2, Http1], &[Http1], Some(Http1)),
        (&[H2, Http1], &[], None),
        (&[], &[H2], None),
    ] {
        let (server, client) = configs(server, client);
        let (accepted, connected) = shake(server, client).await;
        assert_eq!(accepted.unwrap().2, agreed);
        assert_eq!(connected.unwrap().2, agreed);
    }

    let (server, client) = configs(&[H2], &[Http1]);
    let (accepted, connected) = shake(server, client).await;
    assert!(matches!(accepted, Err(HandshakeError::Protocol(_))));
    assert!(matches!(connected, Err(HandshakeError::PeerRefused(_))));
}

/// B16, TD-2.
#[tokio::test]
async fn a_hello_that_comes_byte_by_byte_is_understood() {
    let world = World::new();
    let server = world.server(&world.svid("orders"));
    let client = world.client(&world.svid("web"), &anybody());
    let (near, relay) = tokio::io::duplex(64 * 1024);
    let (far, other) = tokio::io::duplex(64 * 1024);
    let ((from_near, to_near), (from_far, to_far)) = (tokio::io::split(relay), tokio::io::split(other));
    tokio::spawn(byte_by_byte(from_near, to_far));
    tokio::spawn(byte_by_byte(from_far, to_near));

    let (accepted, connected) = tokio::join!(accept_tls(near, server, LIMIT), connect_tls(far, client, "x", LIMIT));

    assert_eq!(accepted.unwrap().1.id(), &id("spiffe://td/web"));
    assert_eq!(connected.unwrap().1.id(), &id("spiffe://td/orders"));
}

/// Carries each byte by itself. A pipe of one byte would not do: in TLS 1.3 both sides may write at
/// once, and lean on the few bytes that every socket buffers.
async fn byte_by_byte(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
    let mut byte = [0];
    while from.read_exact(&mut byte).await.is_ok() && to.write_all(&byte).await.is_ok() {}
}

/// G10.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_ends_at_its_limit() {
    let world = World::new();
    let (near, mut far) = tokio::io::duplex(64);
    far.write_all(&[0x16]).await.unwrap();
    let began = tokio::time::Instant::now();

    let accepted = accept_tls(near, world.server(&world.svid("orders")), LIMIT).await;

    assert!(accepted.unwrap_err().is_timeout());
    assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());
}

/// G7, AZ-10b.
#[tokio::test]
async fn plain_text_on_a_tls_port_fails_without_an_answer_in_plain_text() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    far.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").await.unwrap();

    let accepted = accept_tls(near, world.server(&world.svid("orders")), LIMIT).await;
    let mut answer = Vec::new();
    // The rest of the request is unread, so the close may be a reset.
    let _ = far.read_to_end(&mut answer).await;

    assert!(matches!(accepted, Err(HandshakeError::Protocol(_))));
    assert!(answer.is_empty() || answer.starts_with(&[0x15]), "{answer:?}");
}

#[tokio::test]
async fn a_peer_that_hangs_up_is_no_identity_failure() {
    let world = World::new();
    let (near, far) = tokio::io::duplex(64);
    drop(far);

    let error = accept_tls(near, world.server(&world.svid("orders")), LIMIT)
        .await
        .unwrap_err();

    assert!(matches!(error, HandshakeError::Io(_)), "{error}");
    assert!(!error.is_peer_identity() && !error.is_own_identity());
}

#[tokio::test]
async fn an_own_certificate_that_ended_is_blamed_on_this_side_before_a_byte_is_sent() {
    let world = World::new();
    let server = world.server(&world.svid("orders"));
    let client = world.client(&world.svid("web"), &anybody());
    world.time.advance(HOUR + Duration::from_secs(7));
    let (near, far) = tokio::io::duplex(64);

    let accepted = accept_tls(near, server, LIMIT).await.unwrap_err();
    let connected = connect_tls(far, client, "orders", LIMIT).await.unwrap_err();

    assert!(accepted.is_own_identity() && connected.is_own_identity());
    assert_eq!(connected.to_string(), "own certificate expired 7 s ago");
}

#[tokio::test]
async fn a_server_that_refuses_our_certificate_is_told_from_a_lost_connection() {
    let world = World::new();
    let stranger = signed(&leaf("spiffe://stranger/web"), &world.ca);
    let (near, far) = tokio::io::duplex(1 << 16);
    let connector = TlsConnector::from(rogue_client(stranger, &[&TLS13]));
    let name = "orders".try_into().unwrap();
    let server = world.server(&world.svid("orders"));

    let (accepted, connected) = tokio::join!(accept_tls(near, server, LIMIT), connector.connect(name, far));
    let refused = connected.unwrap().read(&mut [0]).await.unwrap_err();

    assert!(accepted.unwrap_err().is_peer_identity());
    assert!(matches!(classify(refused), HandshakeError::PeerRefused(_)));
}

#[tokio::test]
async fn a_name_that_is_no_host_is_refused_and_printed_escaped() {
    let world = World::new();
    let client = world.client(&world.svid("web"), &anybody());
    let (_near, far) = tokio::io::duplex(64);

    let error = connect_tls(far, client, "a\r\nb", LIMIT).await.unwrap_err();

    let text = r"server name `a\r\nb` is no host name and no IP address";
    assert_eq!(error.to_string(), text);
    for name in ["orders.shop", "10.0.0.1", "::1", "[::1]"] {
        assert!(parse_server_name(name).is_ok(), "{name}");
    }
}

#[tokio::test]
async fn a_live_peer_is_judged_anew_when_trust_changes() {
    let world = World::new();
    let clock = world.time.clock();
    let pair = signed(&leaf("spiffe://td/web"), &world.ca);
    let peer = as_client(&world, pair, &[&TLS13]).await.unwrap();
    let withdrawn = crate::svid::TrustBundles::default();

    assert_eq!(peer.verify_again(&world.bundles, &clock), Ok(()));
    let unknown = PeerError::UnknownTrustDomain(id("spiffe://td/web"));
    assert_eq!(peer.verify_again(&withdrawn, &clock), Err(unknown));

    world.time.advance(HOUR + Duration::from_secs(1));
    let expired = PeerError::Leaf(LeafError::Expired(1));
    assert_eq!(peer.verify_again(&world.bundles, &clock), Err(expired));
}

/// ID-3: the name that is sent is a host or an address, and plays no part in who the server is.
#[test]
fn names_to_send_are_hosts_or_addresses() {
    for name in [
        "a",
        "a.",
        "d.c.b.a",
        "d.c.b.a.",
        "a1",
        "_m.foo.bar",
        "1.a",
        "xn--poema-9qae5a.com.br",
        "1.2.3.4",
        "::1",
        "[::1]",
    ] {
        assert!(parse_server_name(name).is_ok(), "{name}");
    }
    for name in [
        "",
        ".",
        "..",
        "...",
        "*",
        " d.c.b.a.",
        "d.c.b.a-",
        "*.a.",
        ".a.",
        "example.com:80",
        "a..b",
    ] {
        assert!(parse_server_name(name).is_err(), "{name}");
    }
}
