//! Single decisions, by the number of rules or endpoints.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use mesh_benches::{authorization, endpoints, request, routes, snapshot};
use mesh_core::decide::authz::Peer;
use mesh_core::identity::SpiffeId;
use mesh_core::random::SplitMix64;
use mesh_core::request::{Options, PathRules, Transport, canonicalize};
use mesh_core::time::Timestamp;

use crate::{Case, Work};

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
const ITERATIONS: u64 = 1_000;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut by_size = |name: &str, prepare: fn(usize) -> Work| {
        for size in SIZES {
            cases.push(Case::new(format!("{name}_{size}"), ITERATIONS, move || prepare(size)));
        }
    };
    by_size("route", route);
    by_size("authorize", authorize);
    for balance in BALANCERS {
        for size in SIZES {
            let name = format!("pick_{balance}_{size}");
            cases.push(Case::new(name, ITERATIONS, move || pick(balance, size)));
        }
    }
    cases
}

/// The canonical view and the last of so many rules.
fn route(rules: usize) -> Work {
    let (snapshot, request) = (snapshot(&routes(rules)), request(rules - 1));
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let canonical = canonicalize(black_box(&request), Options::outbound()).unwrap();
            black_box(snapshot.outbound.route(&canonical.view()));
        }
    })
}

/// The canonical view and the one rule of so many that allows the caller, found at the handshake.
fn authorize(rules: usize) -> Work {
    let snapshot = snapshot(&authorization(rules));
    let id = SpiffeId::parse(&format!("spiffe://cluster.local/ns/shop/sa/s{}", rules - 1)).unwrap();
    let peer = Peer::new(Some(&id), IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
    let (of_peer, request) = (snapshot.inbound.authorizer.for_peer(&peer), request(rules - 1));
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let options = Options::inbound(Transport::Tls, PathRules::Present);
            let canonical = canonicalize(black_box(&request), options).unwrap();
            assert!(of_peer.authorize(&canonical.view()).is_allowed());
        }
    })
}

const BALANCERS: [&str; 3] = ["least_request", "round_robin", "random"];

fn pick(balance: &'static str, count: usize) -> Work {
    let text = format!("{}    balance: {balance}\n", endpoints(count));
    let cluster = mesh_benches::cluster(&text);
    let mut rng = SplitMix64::new(7);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let _ = black_box(cluster.pick(&[], black_box(Timestamp::from_nanos(1)), &mut rng));
        }
    })
}
