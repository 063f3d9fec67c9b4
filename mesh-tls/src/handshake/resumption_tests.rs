//! Resumed sessions, where the policy wants them: G1 to G5 for `resumption: on`. For `off` see `tests`.

use std::time::Duration;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::*;
use crate::config::{Resumption, TlsPolicy};
use crate::leaf::LeafError;
use crate::source::StaticSource;
use crate::svid::{RevocationPolicy, Svid, TrustBundles};
use crate::testing::{HOUR, LIMIT, World, authority, domain, leaf, peer_error, rogue_client, rogue_server, signed};
use crate::verify::ExpectedPeer;

const ON: TlsPolicy = TlsPolicy::new(
    Resumption::On,
    RevocationPolicy {
        unknown: crate::svid::InDoubt::Deny,
        expired: crate::svid::InDoubt::Deny,
    },
);

fn anybody() -> ExpectedPeer {
    ExpectedPeer::any_in(domain("td"))
}

/// An identity of the world for two hours, so that it outlives those of the tests' peers.
fn lasting(world: &World, name: &str) -> Svid {
    let mut params = leaf(&format!("spiffe://td/{name}"));
    params.not_after = (crate::testing::start() + HOUR * 2).into();
    let (chain, key) = signed(&params, &world.ca);
    Svid::from_der(chain, key).unwrap()
}

fn source(world: &World, svid: Svid) -> StaticSource {
    StaticSource::new(svid, world.bundles.clone(), world.time.clock()).unwrap()
}

type Met = (
    Result<PeerIdentity, HandshakeError>,
    Result<PeerIdentity, HandshakeError>,
);

/// One connection; a byte travels, since tickets of TLS 1.3 come with the first data. The server's word first.
async fn meet(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Met {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (accepted, connected) = tokio::join!(
        accept_tls(near, Arc::clone(server), LIMIT),
        connect_tls(far, Arc::clone(client), "orders.shop", LIMIT)
    );
    match (accepted, connected) {
        (Ok((mut near, web, _)), Ok((mut far, orders, _))) => {
            near.write_all(b"x").await.unwrap();
            near.flush().await.unwrap();
            far.read_exact(&mut [0]).await.unwrap();
            (Ok(web), Ok(orders))
        }
        (accepted, connected) => (accepted.map(|(_, peer, _)| peer), connected.map(|(_, peer, _)| peer)),
    }
}

async fn is_resumed(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> bool {
    let (web, orders) = meet(server, client).await;
    let (web, orders) = (web.unwrap(), orders.unwrap());
    assert_eq!(web.is_resumed(), orders.is_resumed());
    assert_eq!(
        (web.id().as_str(), orders.id().as_str()),
        ("spiffe://td/web", "spiffe://td/orders")
    );
    web.is_resumed()
}

#[tokio::test]
async fn a_session_is_resumed_and_both_sides_know_the_peer() {
    let world = World::new();
    let (orders, web) = (source(&world, world.svid("orders")), source(&world, world.svid("web")));
    let server = orders.source().current().server_config_under(ON, &[]).unwrap();
    let client = web.source().current().client_config_under(ON, &anybody(), &[]).unwrap();

    assert!(!is_resumed(&server, &client).await);
    assert!(is_resumed(&server, &client).await);
}

/// G3: a rotation on either side, of certificate or trust, begins with whole handshakes.
#[tokio::test]
async fn no_session_outlives_a_generation() {
    let world = World::new();
    let (orders, web) = (source(&world, world.svid("orders")), source(&world, world.svid("web")));
    let server = || orders.source().current().server_config_under(ON, &[]).unwrap();
    let client = || web.source().current().client_config_under(ON, &anybody(), &[]).unwrap();
    let twice = async || {
        let first = is_resumed(&server(), &client()).await;
        (first, is_resumed(&server(), &client()).await)
    };

    assert_eq!(twice().await, (false, true));
    orders.rotate(world.svid("orders"), world.bundles.clone()).unwrap();
    assert_eq!(twice().await, (false, true), "the server has rotated");
    web.rotate(world.svid("web"), world.bundles.clone()).unwrap();
    assert_eq!(twice().await, (false, true), "the client has rotated");
    let more = world
        .bundles
        .with(domain("other"), crate::testing::bundle(&authority("other")));
    orders.rotate(world.svid("orders"), more).unwrap();
    assert_eq!(twice().await, (false, true), "the server trusts others besides");
}

/// G1: who is trusted no more is refused in a whole handshake, whatever session it has.
#[tokio::test]
async fn a_session_does_not_carry_a_peer_past_a_change_of_trust() {
    let (world, new) = (World::new(), authority("new"));
    let both = |svid| {
        let (old, new) = (crate::testing::bundle(&world.ca), crate::testing::bundle(&new));
        let bundles = TrustBundles::of(domain("td"), old).with(domain("new"), new);
        StaticSource::new(svid, bundles, world.time.clock()).unwrap()
    };
    let orders = both(lasting(&world, "orders"));
    let (chain, key) = signed(&leaf("spiffe://new/web"), &new);
    let web = both(Svid::from_der(chain, key).unwrap());
    let client = web.source().current().client_config_under(ON, &anybody(), &[]).unwrap();
    for _ in 0..2 {
        let server = orders.source().current().server_config_under(ON, &[]).unwrap();
        meet(&server, &client).await.0.unwrap();
    }

    orders.rotate(lasting(&world, "orders"), world.bundles.clone()).unwrap();

    let server = orders.source().current().server_config_under(ON, &[]).unwrap();
    let refused = peer_error(meet(&server, &client).await.0);
    assert_eq!(refused.reason(), Reason::UnknownTrustDomain);
}

/// G2: rustls resumes the session of a client whose certificate has ended; we do not take it.
#[tokio::test]
async fn a_server_refuses_the_session_of_an_expired_client() {
    for version in [&TLS12, &TLS13] {
        let world = World::new();
        let orders = source(&world, lasting(&world, "orders"));
        let server = orders.source().current().server_config_under(ON, &[]).unwrap();
        let client = rogue_client(signed(&leaf("spiffe://td/web"), &world.ca), &[version]);
        let attempt = async || {
            let (near, far) = tokio::io::duplex(1 << 16);
            let connector = TlsConnector::from(Arc::clone(&client));
            let name = "orders".try_into().unwrap();
            let connect = connector.connect(name, far);
            let (accepted, connected) = tokio::join!(accept_tls(near, Arc::clone(&server), LIMIT), connect);
            let mut far = connected.unwrap();
            let kind = far.get_ref().1.handshake_kind().unwrap();
            if let Ok((near, _, _)) = accepted.as_ref() {
                assert_eq!(near.get_ref().1.handshake_kind(), Some(kind));
            }
            let accepted = match accepted {
                Ok((mut near, peer, _)) => {
                    near.write_all(b"x").await.unwrap();
                    near.flush().await.unwrap();
                    far.read_exact(&mut [0]).await.unwrap();
                    Ok(peer)
                }
                Err(error) => Err(error),
            };
            (accepted, kind)
        };

        assert_eq!(attempt().await.1, HandshakeKind::Full);
        let (resumed, kind) = attempt().await;
        assert!(resumed.unwrap().is_resumed());
        assert_eq!(kind, HandshakeKind::Resumed, "the test can tell");

        world.time.advance(HOUR + Duration::from_secs(1));
        let (refused, kind) = attempt().await;
        assert_eq!(kind, HandshakeKind::Resumed, "rustls itself would go on");
        assert_eq!(peer_error(refused), LeafError::Expired(1).into());
    }
}

/// G2: the same for a server whose certificate has ended.
#[tokio::test]
async fn a_client_refuses_the_session_of_an_expired_server() {
    let world = World::new();
    let web = source(&world, lasting(&world, "web"));
    let client = web.source().current().client_config_under(ON, &anybody(), &[]).unwrap();
    let server = rogue_server(signed(&leaf("spiffe://td/orders"), &world.ca), &[&TLS13]);
    let attempt = async || {
        let (near, far) = tokio::io::duplex(1 << 16);
        let acceptor = TlsAcceptor::from(Arc::clone(&server));
        let (accepted, connected) = tokio::join!(
            acceptor.accept(near),
            connect_tls(far, Arc::clone(&client), "orders", LIMIT)
        );
        let (mut far, peer, _) = connected?;
        let mut near = accepted.unwrap();
        near.write_all(b"x").await.unwrap();
        near.flush().await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        Ok(peer)
    };

    assert!(!attempt().await.unwrap().is_resumed());
    assert!(attempt().await.unwrap().is_resumed());
    world.time.advance(HOUR + Duration::from_secs(1));
    assert_eq!(peer_error(attempt().await), LeafError::Expired(1).into());
}

/// G1: a session that was made when anybody was expected does not serve when somebody is.
#[tokio::test]
async fn a_session_does_not_serve_another_expectation() {
    let world = World::new();
    let (orders, web) = (source(&world, world.svid("orders")), source(&world, world.svid("web")));
    let server = orders.source().current().server_config_under(ON, &[]).unwrap();
    let of = |expected| web.source().current().client_config_under(ON, &expected, &[]).unwrap();
    assert!(!is_resumed(&server, &of(anybody())).await);
    assert!(is_resumed(&server, &of(anybody())).await);

    let (_, refused) = meet(&server, &of(ExpectedPeer::exactly("spiffe://td/cart".parse().unwrap()))).await;

    assert_eq!(peer_error(refused).reason(), Reason::Unexpected);
}

/// G4: a ticket of one server is nothing to another one.
#[tokio::test]
async fn a_session_of_one_server_is_not_resumed_by_another() {
    let world = World::new();
    let (one, other) = (
        source(&world, world.svid("orders")),
        source(&world, world.svid("orders")),
    );
    let web = source(&world, world.svid("web"));
    let of = |source: &StaticSource| source.source().current().server_config_under(ON, &[]).unwrap();
    let client = web.source().current().client_config_under(ON, &anybody(), &[]).unwrap();
    let (one, other) = (of(&one), of(&other));

    assert!(!is_resumed(&one, &client).await);
    assert!(!is_resumed(&other, &client).await);
    assert!(is_resumed(&other, &client).await);
}

/// G3: turned off, nothing that was kept is used.
#[tokio::test]
async fn sessions_end_with_the_policy_that_allowed_them() {
    let world = World::new();
    let (orders, web) = (source(&world, world.svid("orders")), source(&world, world.svid("web")));
    let server = |policy| orders.source().current().server_config_under(policy, &[]).unwrap();
    let client = web.source().current().client_config_under(ON, &anybody(), &[]).unwrap();
    assert!(!is_resumed(&server(ON), &client).await);
    assert!(is_resumed(&server(ON), &client).await);

    assert!(!is_resumed(&server(TlsPolicy::default()), &client).await);
}

/// G5: with resumption there is still no early data.
#[tokio::test]
async fn early_data_is_off_with_resumption() {
    let world = World::new();
    let (orders, web) = (source(&world, world.svid("orders")), source(&world, world.svid("web")));
    let server = orders.source().current().server_config_under(ON, &[]).unwrap();
    let client = web.source().current().client_config_under(ON, &anybody(), &[]).unwrap();

    assert_eq!(server.inner().max_early_data_size, 0);
    assert!(server.inner().send_tls13_tickets > 0);
    assert!(!client.inner().enable_early_data);
}
