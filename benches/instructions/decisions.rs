//! Single decisions and the whole of them, by the number of rules or endpoints.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::{Request, StatusCode};
use mesh_benches::{
    authorization, authorization_of_one, endpoints, received, request, routes, snapshot, weighted_endpoints,
};
use mesh_core::decide::authz::{Authorizer, Peer};
use mesh_core::decide::balance::ALGORITHMS;
use mesh_core::decide::cluster::Cluster;
use mesh_core::decide::deadline::Deadline;
use mesh_core::decide::health::Verdict;
use mesh_core::decide::route::RouteResult;
use mesh_core::identity::SpiffeId;
use mesh_core::policy::model::Policy;
use mesh_core::random::SplitMix64;
use mesh_core::request::{Options, PathRules, RequestView, Transport, canonicalize};
use mesh_core::time::Timestamp;
use mesh_core::workload::Workload;
use mesh_tower::telemetry::metrics::{
    Destination, Metrics, MetricsOptions, Party, Protocol, Reporter, RequestRecord, SeriesGroup,
};

use crate::{Case, Work};

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
const ITERATIONS: u64 = 1_000;
const OUTBOUND: Options = Options::outbound();
const INBOUND: Options = Options::inbound(Transport::Tls, PathRules::Present);

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut one = |name: &str, prepare: fn() -> Work| cases.push(Case::new(name, ITERATIONS, prepare));
    one("canonicalize_outbound", || canonical(request(1), OUTBOUND));
    one("canonicalize_inbound", || canonical(received(1), INBOUND));
    one("retry_budget_deposit", deposit);
    one("retry_budget_withdraw", withdraw);
    one("limit_request", limit);
    one("outlier_record", || record(Verdict::Success));
    one("outlier_record_failure", || record(Verdict::ServerError));
    one("metrics_record", metrics_record);
    let mut by_size = |name: &str, prepare: fn(usize) -> Work| {
        for size in SIZES {
            cases.push(Case::new(format!("{name}_{size}"), ITERATIONS, move || prepare(size)));
        }
    };
    by_size("route", |rules| route(rules, request(rules - 1)));
    by_size("route_first", |rules| route(rules, first_request()));
    by_size("authorize", authorize);
    by_size("authorize_cached", |rules| {
        authorize_cached(&authorization(rules), rules - 1)
    });
    by_size("authorize_cached_paths", |rules| {
        authorize_cached(&authorization_of_one(rules), 0)
    });
    by_size("client_decision", client_decision);
    by_size("server_decision", server_decision);
    cases.extend(picks());
    cases
}

/// Every algorithm, with equal and with unequal weights.
fn picks() -> impl Iterator<Item = Case> {
    let each = ALGORITHMS.iter().flat_map(|row| SIZES.map(|size| (row.name, size)));
    each.flat_map(|(balance, size)| {
        let even = move || pick(&endpoints(size), balance);
        let weighted = move || pick(&weighted_endpoints(size), balance);
        [
            Case::new(format!("pick_{balance}_{size}"), ITERATIONS, even),
            Case::new(format!("pick_{balance}_weighted_{size}"), ITERATIONS, weighted),
        ]
    })
}

/// The canonical view of a request that is canonical already.
fn canonical(request: Request<()>, options: Options) -> Work {
    Box::new(move |iterations| {
        for _ in 0..iterations {
            black_box(canonicalize(black_box(&request), options).unwrap());
        }
    })
}

/// A view that lasts as long as the process: what is measured must not include how it is made.
fn view(request: Request<()>, options: Options) -> RequestView<'static> {
    let request: &'static Request<()> = Box::leak(Box::new(request));
    Box::leak(Box::new(canonicalize(request, options).unwrap())).view()
}

/// The rule of so many that takes the request.
fn route(rules: usize, request: Request<()>) -> Work {
    let (snapshot, view) = (snapshot(&routes(rules)), view(request, OUTBOUND));
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let found = black_box(snapshot.outbound.route(black_box(&view)));
            assert!(matches!(found, RouteResult::Route(_)));
        }
    })
}

/// A request that the first rule takes.
fn first_request() -> Request<()> {
    let request = Request::get("http://orders/api/items").header("x-tenant", "t");
    let request = request.header("user-agent", "bench").header("accept", "*/*");
    request.body(()).unwrap()
}

/// The id of a caller that the rule of this number is for.
fn caller(number: usize) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://cluster.local/ns/shop/sa/s{number}")).unwrap()
}

fn peer(id: &SpiffeId) -> Peer<'_> {
    Peer::new(Some(id), IpAddr::V4(Ipv4Addr::LOCALHOST), 8080)
}

fn authorizer(policy: &Policy) -> Authorizer {
    snapshot(policy).inbound.authorizer
}

/// The one rule of so many that allows the caller, looked for by each request.
fn authorize(rules: usize) -> Work {
    let (authorizer, id) = (authorizer(&authorization(rules)), caller(rules - 1));
    let view = view(received(rules - 1), INBOUND);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let decision = authorizer.authorize(black_box(&view), black_box(&peer(&id)));
            assert!(black_box(decision).is_allowed());
        }
    })
}

/// The same by what was found at the handshake.
fn authorize_cached(policy: &Policy, number: usize) -> Work {
    let rules = authorizer(policy).for_peer(&peer(&caller(number)));
    let view = view(received(number), INBOUND);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(black_box(rules.authorize(black_box(&view))).is_allowed());
        }
    })
}

fn pick(text: &str, balance: &str) -> Work {
    let cluster = mesh_benches::cluster(&format!("{text}    balance: {balance}\n"));
    let mut rng = SplitMix64::new(7);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let _ = black_box(cluster.pick(&[], black_box(Timestamp::from_nanos(1)), &mut rng));
        }
    })
}

/// A service whose endpoints are limited and watched, as `request_full_mesh` has it.
fn watched(count: usize) -> Cluster<()> {
    let settings = "    limits: { requests: 1000 }\n    outliers: { consecutive_5xx: 1000000000 }\n";
    mesh_benches::cluster(&format!("{}{settings}", endpoints(count)))
}

/// A first try each millisecond.
fn deposit() -> Work {
    let (cluster, mut clock) = (watched(10), Clock::default());
    Box::new(move |iterations| {
        for _ in 0..iterations {
            cluster.budget().deposit(clock.tick(Duration::from_millis(1)));
        }
    })
}

/// A retry each second, which the budget always has.
fn withdraw() -> Work {
    let (cluster, mut clock) = (watched(10), Clock::default());
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(cluster.try_retry(clock.tick(Duration::from_secs(1))).is_ok());
        }
    })
}

/// A place within the limit on requests, taken and given back.
fn limit() -> Work {
    let cluster = watched(10);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(black_box(cluster.try_request()).is_some());
        }
    })
}

/// What a result says about an endpoint, short of an ejection.
fn record(verdict: Verdict) -> Work {
    let (cluster, now) = (watched(10), Timestamp::from_nanos(1));
    let endpoint = cluster.pick(&[], now, &mut SplitMix64::new(7)).unwrap();
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let event = cluster.record(black_box(&endpoint), black_box(verdict), black_box(now));
            assert!(event.is_none());
        }
    })
}

/// The metrics of one caller and destination.
fn series() -> SeriesGroup {
    let caller = Party::of_workload(&Workload::new("shop", "web"), "cluster.local");
    let service = Destination::of_host("orders.shop.svc.cluster.local", "shop");
    let metrics = Metrics::new(MetricsOptions::default());
    metrics.group(Reporter::Source, &caller, &Party::unknown(), &service)
}

fn metrics_record() -> Work {
    let (series, answered) = (series(), answered());
    Box::new(move |iterations| {
        for _ in 0..iterations {
            series.record(black_box(&answered));
        }
    })
}

const fn answered() -> RequestRecord {
    RequestRecord::new(Protocol::Http, 200, Duration::from_millis(3))
}

/// All that is decided of a request that is answered at its first try: canonical view, route, split, deadline, deposit for
/// retries, endpoint, limit, what the answer says of the endpoint, metrics.
fn client_decision(size: usize) -> Work {
    let (snapshot, request) = (snapshot(&routes(size)), request(size - 1));
    let (cluster, series) = (watched(size), series());
    let (mut rng, mut clock) = (SplitMix64::new(7), Clock::default());
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let now = clock.tick(Duration::from_micros(1));
            let canonical = canonicalize(black_box(&request), OUTBOUND).unwrap();
            let RouteResult::Route(found) = snapshot.outbound.route(&canonical.view()) else {
                unreachable!("the rule of this number takes it");
            };
            black_box(found.route.draw(&mut rng));
            black_box(Deadline::new(now, found.timeout(), None).next(now));
            cluster.budget().deposit(now);
            let endpoint = cluster.pick(&[], now, &mut rng).unwrap();
            let held = (cluster.try_request(), cluster.begin(endpoint));
            cluster.record(&held.1, cluster.verdict(StatusCode::OK), now);
            series.record(black_box(&answered()));
            drop(black_box(held));
        }
    })
}

/// All that is decided of a request that comes in: canonical view, whether anybody is asked, authorization.
fn server_decision(rules: usize) -> Work {
    let rules_of_peer = authorizer(&authorization(rules)).for_peer(&peer(&caller(rules - 1)));
    let request = received(rules - 1);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let canonical = canonicalize(black_box(&request), INBOUND).unwrap();
            let view = canonical.view();
            assert!(rules_of_peer.question(&view).is_none());
            assert!(rules_of_peer.authorize(&view).is_allowed());
        }
    })
}

/// Time as these cases have it pass.
#[derive(Default)]
struct Clock(Duration);

impl Clock {
    fn tick(&mut self, by: Duration) -> Timestamp {
        self.0 += by;
        Timestamp::ZERO + self.0
    }
}
