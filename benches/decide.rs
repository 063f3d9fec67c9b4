//! Instructions of a route match, a pick and an authorization at 10 to 100 000 rules or endpoints,
//! and of compiling a policy of as many routes and rules of authorization.
//!
//! `cargo bench --bench decide`; needs valgrind and `cargo install gungraun-runner --version 0.20.0`.
#![allow(
    missing_docs,
    unused_qualifications,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the harness generates items, and a benchmark may stop"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use gungraun::{library_benchmark, library_benchmark_group, main};
use http::Request;
use mesh_benches::{authorization, endpoints, request, routes, snapshot, whole};
use mesh_core::decide::authz::{Peer, PeerRules};
use mesh_core::decide::cluster::Cluster;
use mesh_core::identity::SpiffeId;
use mesh_core::policy::model::Policy;
use mesh_core::random::SplitMix64;
use mesh_core::request::{Options, PathRules, Transport, canonicalize};
use mesh_core::snapshot::Snapshot;
use mesh_core::time::Timestamp;

fn routed(rules: usize) -> (Snapshot, Request<()>) {
    (snapshot(&routes(rules)), request(rules - 1))
}

#[library_benchmark]
#[benches::rules(args = [10, 100, 1_000, 10_000, 100_000], setup = routed)]
fn route((snapshot, request): (Snapshot, Request<()>)) -> (Snapshot, Request<()>) {
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    black_box(snapshot.outbound.route(&black_box(canonical.view())));
    drop(canonical);
    (snapshot, request)
}

fn cluster(count: usize) -> Cluster<()> {
    mesh_benches::cluster(&endpoints(count))
}

#[library_benchmark]
#[benches::endpoints(args = [10, 100, 1_000, 10_000, 100_000], setup = cluster)]
fn pick(cluster: Cluster<()>) -> Cluster<()> {
    let mut rng = SplitMix64::new(7);
    let _ = black_box(cluster.pick(&[], black_box(Timestamp::from_nanos(1)), &mut rng));
    cluster
}

fn peer(rules: usize) -> (Snapshot, PeerRules, Request<()>) {
    let snapshot = snapshot(&authorization(rules));
    let id = SpiffeId::parse(&format!("spiffe://cluster.local/ns/shop/sa/s{}", rules - 1)).unwrap();
    let peer = Peer::new(Some(&id), IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
    let rules_of_peer = snapshot.inbound.authorizer.for_peer(&peer);
    (snapshot, rules_of_peer, request(rules - 1))
}

#[library_benchmark]
#[benches::rules(args = [10, 100, 1_000, 10_000, 100_000], setup = peer)]
fn authorize((snapshot, rules, request): (Snapshot, PeerRules, Request<()>)) -> (Snapshot, PeerRules, Request<()>) {
    let canonical = canonicalize(&request, Options::inbound(Transport::Tls, PathRules::Present)).unwrap();
    let decision = rules.authorize(&black_box(canonical.view()));
    assert!(black_box(decision.is_allowed()));
    drop(canonical);
    (snapshot, rules, request)
}

#[library_benchmark]
#[benches::rules(args = [10, 100, 1_000, 10_000, 100_000], setup = whole)]
fn compile(policy: Policy) -> (Policy, Snapshot) {
    let snapshot = snapshot(black_box(&policy));
    (policy, snapshot)
}

library_benchmark_group!(name = decisions, benchmarks = [route, pick, authorize, compile]);
main!(library_benchmark_groups = decisions);
