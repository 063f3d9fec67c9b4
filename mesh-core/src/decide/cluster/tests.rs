use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::decide::balance::ALGORITHMS;
use crate::decide::health::EjectReason;
use crate::policy::model::traffic::{Algorithm, Limits, OutlierDetection, RetryBudget, TrafficPolicy};
use crate::random::SplitMix64;

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1000 + u16::try_from(index).unwrap()))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn secs(secs: u64) -> Timestamp {
    at(secs * 1000)
}

/// Five failures eject for 30 s, sweeps every 10 s, half of the endpoints may go.
fn rules() -> OutlierDetection {
    OutlierDetection {
        max_ejected_percent: 50,
        ..OutlierDetection::default()
    }
}

fn settings(outliers: OutlierDetection) -> ClusterSettings {
    ClusterSettings {
        outliers: Some(outliers),
        ..ClusterSettings::default()
    }
}

fn set<T: Default>(cluster: &Cluster<T>, indices: impl IntoIterator<Item = usize>) -> EndpointChanges<T> {
    let endpoints = indices
        .into_iter()
        .map(|index| (EndpointSpec::new(address(index), 1), ()));
    cluster.set_endpoints(endpoints.collect(), |_, ()| T::default(), |_, ()| ())
}

/// A cluster whose clock started at zero.
fn cluster(endpoints: usize, settings: ClusterSettings) -> Cluster<()> {
    let cluster = Cluster::new(ClusterKey::new("orders", None, 80), settings);
    set(&cluster, 0..endpoints);
    cluster.sweep(Timestamp::ZERO);
    cluster
}

fn endpoint<T>(cluster: &Cluster<T>, index: usize) -> Arc<Endpoint<T>> {
    let set = cluster.set.load();
    Arc::clone(
        set.all()
            .iter()
            .find(|endpoint| endpoint.address() == address(index))
            .unwrap(),
    )
}

/// `count` failures in a row; what the last one leads to.
fn fail(cluster: &Cluster<()>, index: usize, count: usize, now: Timestamp) -> Option<HealthEvent> {
    let endpoint = endpoint(cluster, index);
    let mut event = None;
    for _ in 0..count {
        event = cluster.record(&endpoint, Verdict::ServerError, now);
    }
    event
}

fn picked(cluster: &Cluster<()>, now: Timestamp) -> BTreeSet<usize> {
    let mut rng = SplitMix64::new(3);
    let picks = (0..400).filter_map(|_| cluster.pick(&[], now, &mut rng).ok());
    picks
        .map(|endpoint| usize::from(endpoint.address().port()) - 1000)
        .collect()
}

fn is_ejection(event: Option<HealthEvent>) -> bool {
    matches!(event, Some(HealthEvent::Ejected { .. }))
}

#[test]
fn keys_read_like_istios_cluster_names() {
    let host = "orders.default.svc.cluster.local";
    let key = ClusterKey::new(host, Some("v2"), 8080);
    assert_eq!(key.to_string(), "outbound|8080|v2|orders.default.svc.cluster.local");
    assert_eq!(
        ClusterKey::new(host, None, 80).to_string(),
        "outbound|80||orders.default.svc.cluster.local"
    );
}

#[test]
fn settings_take_defaults_for_blocks_that_a_policy_does_not_set() {
    let policy = TrafficPolicy {
        balance: Some(Algorithm::Random),
        outliers: Some(rules()),
        ..TrafficPolicy::default()
    };
    let settings = ClusterSettings::from_policy(&policy);
    assert_eq!(
        (settings.algorithm, settings.outliers),
        (Algorithm::Random, Some(rules()))
    );
    assert_eq!(
        (settings.limits, settings.budget),
        (Limits::default(), RetryBudget::default())
    );
}

#[test]
fn a_policy_may_list_the_only_errors() {
    use http::StatusCode;
    let cluster = cluster(1, ClusterSettings::default());
    assert_eq!(cluster.verdict(StatusCode::BAD_GATEWAY), Verdict::GatewayError);

    let mut listed = rules();
    listed.error_codes = vec![StatusCode::TOO_MANY_REQUESTS];
    cluster.configure(settings(listed));

    assert_eq!(cluster.verdict(StatusCode::BAD_GATEWAY), Verdict::Success);
    assert_eq!(cluster.verdict(StatusCode::TOO_MANY_REQUESTS), Verdict::ServerError);
}

#[test]
fn without_endpoints_nothing_is_picked() {
    let cluster = cluster(0, ClusterSettings::default());
    let picked = cluster.pick(&[], Timestamp::ZERO, &mut SplitMix64::new(1));
    assert_eq!(picked.unwrap_err(), PickError::NoEndpoints);
}

#[test]
fn an_ejected_endpoint_gets_nothing_from_any_algorithm() {
    for row in ALGORITHMS {
        let mut settings = settings(rules());
        settings.algorithm = row.algorithm;
        let cluster = cluster(4, settings);

        assert!(is_ejection(fail(&cluster, 2, 5, secs(1))), "{}", row.name);

        assert_eq!(picked(&cluster, secs(1)), BTreeSet::from([0, 1, 3]), "{}", row.name);
    }
}

#[test]
fn an_endpoint_leaves_and_returns_on_the_timeline_of_envoy() {
    let cluster = cluster(2, settings(rules()));

    assert_eq!(fail(&cluster, 0, 4, at(4_900)), None);
    let ejected = fail(&cluster, 0, 1, secs(5));
    assert_eq!(
        ejected,
        Some(HealthEvent::Ejected {
            address: address(0),
            reason: EjectReason::Consecutive5xx,
            duration: Duration::from_secs(30),
            count: 1,
        })
    );
    assert_eq!(cluster.stats().endpoints[0].ejected_until, Some(secs(35)));

    // The time is over at 35 s; the next sweep is at 40 s.
    assert_eq!(picked(&cluster, at(39_999)), BTreeSet::from([1]));
    assert_eq!(picked(&cluster, secs(40)), BTreeSet::from([0, 1]));
    assert_eq!(cluster.sweep(secs(40)), [HealthEvent::Returned { address: address(0) }]);
    assert_eq!(cluster.stats().endpoints[0].consecutive_5xx, 0);
    assert_eq!(cluster.sweep(secs(40)), []);
}

#[test]
fn each_further_ejection_is_longer_until_clean_sweeps_forgive_it() {
    let cluster = cluster(2, settings(rules()));
    let eject = |now| match fail(&cluster, 0, 5, now) {
        Some(HealthEvent::Ejected { duration, .. }) => duration.as_secs(),
        other => panic!("{other:?}"),
    };

    assert_eq!(eject(secs(0)), 30);
    assert_eq!(eject(secs(31)), 60);
    assert_eq!(eject(secs(101)), 90);
    // In use again at 200 s; the sweeps at 210 and 220 s forgive two of three.
    assert_eq!(picked(&cluster, secs(200)), BTreeSet::from([0, 1]));
    assert_eq!(eject(secs(221)), 60);
    assert_eq!(cluster.stats().endpoints[0].ejections, 4);
}

#[test]
fn a_record_makes_up_for_sweeps_as_a_pick_does() {
    let cluster = cluster(2, settings(rules()));
    fail(&cluster, 0, 5, secs(5));

    // Long after its return: a new row of failures begins.
    assert_eq!(fail(&cluster, 0, 4, secs(500)), None);
    assert!(is_ejection(fail(&cluster, 0, 1, secs(501))));
}

#[test]
fn the_default_of_ten_percent_spares_small_services() {
    for (endpoints, is_ejected) in [(1, false), (9, false), (10, true)] {
        let cluster = cluster(endpoints, settings(OutlierDetection::default()));
        assert_eq!(is_ejection(fail(&cluster, 0, 5, secs(1))), is_ejected, "{endpoints}");
    }
}

#[test]
fn a_refused_ejection_is_told_and_resets_the_counter() {
    let cluster = cluster(10, settings(OutlierDetection::default()));
    assert!(is_ejection(fail(&cluster, 0, 5, secs(1))));

    let refused = fail(&cluster, 1, 5, secs(1));

    assert_eq!(
        refused,
        Some(HealthEvent::Refused {
            address: address(1),
            reason: EjectReason::Consecutive5xx,
            ejected: 1,
            endpoints: 10,
            max_ejected_percent: 10,
        })
    );
    assert_eq!(cluster.stats().endpoints[1].consecutive_5xx, 0);
    assert_eq!(fail(&cluster, 1, 4, secs(1)), None);
    assert!(matches!(
        fail(&cluster, 1, 1, secs(1)),
        Some(HealthEvent::Refused { .. })
    ));
}

#[test]
fn late_results_of_an_ejected_endpoint_change_nothing() {
    let cluster = cluster(4, settings(rules()));
    fail(&cluster, 0, 5, secs(1));
    assert_eq!(fail(&cluster, 0, 50, secs(2)), None);
    assert_eq!(cluster.stats().endpoints[0].ejections, 1);

    let healthy = endpoint(&cluster, 0);
    cluster.record(&healthy, Verdict::Success, secs(3));
    assert!(healthy.health().is_ejected());
}

#[test]
fn late_results_of_a_removed_endpoint_change_nothing() {
    let cluster = cluster(4, settings(rules()));
    let removed = endpoint(&cluster, 3);
    set(&cluster, 0..3);
    for _ in 0..10 {
        assert_eq!(cluster.record(&removed, Verdict::ServerError, secs(1)), None);
    }
    assert_eq!(cluster.stats().healthy, 3);
}

/// K3.
#[test]
fn what_the_caller_does_ejects_nothing() {
    let cluster = cluster(2, settings(rules()));
    let endpoint = endpoint(&cluster, 0);
    for _ in 0..10_000 {
        for verdict in [
            Verdict::from_status(http::StatusCode::BAD_REQUEST),
            Verdict::from_outcome(crate::outcome::Outcome::CallerGone),
            Verdict::from_outcome(crate::outcome::Outcome::Overflow),
            crate::decide::deadline::Expiry::Caller.verdict(),
        ] {
            assert_eq!(cluster.record(&endpoint, verdict, secs(1)), None);
        }
    }
    assert_eq!(cluster.stats().healthy, 2);
}

#[test]
fn all_ejected_is_an_error_without_a_panic_threshold() {
    let all = OutlierDetection {
        max_ejected_percent: 100,
        ..rules()
    };
    let cluster = cluster(2, settings(all));
    assert!(is_ejection(fail(&cluster, 0, 5, secs(1))) && is_ejection(fail(&cluster, 1, 5, secs(1))));
    let picked = cluster.pick(&[], secs(2), &mut SplitMix64::new(1));
    assert_eq!(picked.unwrap_err(), PickError::NoneHealthy);
}

#[test]
fn below_the_panic_threshold_all_endpoints_are_used() {
    let rules = OutlierDetection {
        max_ejected_percent: 100,
        min_healthy_percent: 50,
        ..rules()
    };
    let cluster = cluster(4, settings(rules));
    fail(&cluster, 0, 5, secs(1));
    fail(&cluster, 1, 5, secs(1));
    assert_eq!(picked(&cluster, secs(1)), BTreeSet::from([2, 3]));
    assert!(!cluster.stats().is_panicking);

    fail(&cluster, 2, 5, secs(1));
    assert_eq!(picked(&cluster, secs(1)), BTreeSet::from([0, 1, 2, 3]));
    assert!(cluster.stats().is_panicking);

    assert_eq!(picked(&cluster, secs(40)), BTreeSet::from([0, 1, 2, 3]));
    let events = cluster.sweep(secs(40));
    let (healthy, endpoints) = (1, 4);
    assert_eq!(events.first(), Some(&HealthEvent::PanicStarted { healthy, endpoints }));
    let (healthy, endpoints) = (4, 4);
    assert_eq!(events.last(), Some(&HealthEvent::PanicEnded { healthy, endpoints }));
}

#[test]
fn tried_endpoints_are_avoided_while_there_are_others() {
    for row in ALGORITHMS {
        let settings = ClusterSettings {
            algorithm: row.algorithm,
            ..ClusterSettings::default()
        };
        let cluster = cluster(3, settings);
        let mut rng = SplitMix64::new(1);
        for _ in 0..2_000 {
            let picked = cluster
                .pick(&[address(0), address(2)], Timestamp::ZERO, &mut rng)
                .unwrap();
            assert_eq!(picked.address(), address(1), "{}", row.name);
        }
        let all = [address(0), address(1), address(2)];
        assert!(cluster.pick(&all, Timestamp::ZERO, &mut rng).is_ok(), "{}", row.name);
    }
}

#[test]
fn requests_in_flight_are_counted_until_dropped() {
    let cluster = cluster(2, ClusterSettings::default());
    let busy = endpoint(&cluster, 0);
    let in_flight = [cluster.begin(Arc::clone(&busy)), cluster.begin(Arc::clone(&busy))];
    assert_eq!((busy.active(), in_flight[0].endpoint().address()), (2, address(0)));
    assert_eq!(picked(&cluster, Timestamp::ZERO), BTreeSet::from([1]));
    drop(in_flight);
    assert_eq!(busy.active(), 0);
}

#[test]
fn an_update_keeps_what_stays_and_forgets_what_leaves() {
    let cluster: Cluster<AtomicUsize> = Cluster::new(ClusterKey::new("orders", None, 80), settings(rules()));
    let put = |endpoints: &[(usize, u32, usize)]| {
        let specs = endpoints.iter();
        let specs = specs.map(|(index, weight, label)| (EndpointSpec::new(address(*index), *weight), *label));
        cluster.set_endpoints(
            specs.collect(),
            |_, label| AtomicUsize::new(label),
            |endpoint, label| endpoint.attachment().store(label, Relaxed),
        )
    };
    put(&[(0, 1, 10), (1, 1, 11), (2, 1, 12)]);
    let first = endpoint(&cluster, 0);
    let in_flight = cluster.begin(Arc::clone(&first));
    for _ in 0..5 {
        cluster.record(&first, Verdict::GatewayError, secs(1));
    }

    let changes = put(&[(3, 1, 13), (0, 7, 20)]);

    let added: Vec<_> = changes.added.iter().map(|endpoint| endpoint.address()).collect();
    let removed: Vec<_> = changes.removed.iter().map(|endpoint| endpoint.address()).collect();
    assert_eq!((added, removed), (vec![address(3)], vec![address(1), address(2)]));
    assert!(Arc::ptr_eq(&first, &endpoint(&cluster, 0)));
    let stats = &cluster.stats().endpoints[1];
    assert_eq!(
        (stats.address, stats.weight, stats.active, stats.ejections),
        (address(0), 7, 1, 1)
    );
    assert_eq!(first.attachment().load(Relaxed), 20);
    assert!(first.health().is_ejected());

    put(&[(3, 1, 13)]);
    put(&[(3, 1, 13), (0, 7, 30)]);
    let anew = endpoint(&cluster, 0);
    assert!(!anew.health().is_ejected() && !Arc::ptr_eq(&first, &anew));
    assert_eq!((anew.active(), anew.attachment().load(Relaxed)), (0, 30));
    drop(in_flight);
    assert_eq!(anew.active(), 0);
}

#[test]
fn an_address_given_twice_has_both_weights() {
    let cluster: Cluster<u8> = Cluster::new(ClusterKey::new("orders", None, 80), ClusterSettings::default());
    let specs = [(0, 2, 1), (1, 1, 2), (0, 3, 3)];
    let specs = specs.map(|(index, weight, label)| (EndpointSpec::new(address(index), weight), label));
    cluster.set_endpoints(specs.to_vec(), |_, label| label, |_, _| ());
    let stats: Vec<_> = cluster
        .stats()
        .endpoints
        .iter()
        .map(|endpoint| endpoint.weight)
        .collect();
    assert_eq!((stats, *endpoint(&cluster, 0).attachment()), (vec![5, 1], 1));
}

#[test]
fn a_reload_changes_parameters_and_keeps_state() {
    let mut before = settings(rules());
    before.limits.requests = Some(2);
    let cluster = cluster(4, before.clone());
    fail(&cluster, 0, 5, secs(1));
    fail(&cluster, 1, 3, secs(1));
    let permit = cluster.try_request().unwrap();
    let in_flight = cluster.begin(endpoint(&cluster, 1));
    let tokens = cluster.budget().balance(secs(1));
    assert!(cluster.try_retry(secs(1)).is_ok());

    let mut after = before;
    after.algorithm = Algorithm::RoundRobin;
    after.limits.requests = Some(1);
    after.outliers = Some(OutlierDetection {
        base_ejection: Duration::from_secs(60),
        consecutive_5xx: 4,
        ..rules()
    });
    cluster.configure(after.clone());

    assert_eq!(*cluster.settings(), after);
    assert_eq!(picked(&cluster, secs(1)), BTreeSet::from([1, 2, 3]));
    assert_eq!(cluster.stats().endpoints[0].ejected_until, Some(secs(61)));
    assert!(
        cluster.try_request().is_none(),
        "the permit that is out counts against the new limit"
    );
    assert_eq!((in_flight.active(), cluster.budget().balance(secs(1))), (1, tokens - 1));
    assert!(
        is_ejection(fail(&cluster, 1, 1, secs(1))),
        "three failures before, one after, the new threshold is four"
    );
    drop(permit);
    assert!(cluster.try_request().is_some());
}

#[test]
fn without_outlier_detection_ejected_endpoints_return_at_once() {
    let cluster = cluster(4, settings(rules()));
    fail(&cluster, 0, 5, secs(1));

    cluster.configure(ClusterSettings::default());

    assert_eq!(picked(&cluster, secs(1)), BTreeSet::from([0, 1, 2, 3]));
    assert_eq!(cluster.sweep(secs(1)), [HealthEvent::Returned { address: address(0) }]);
    assert_eq!(fail(&cluster, 0, 100, secs(2)), None);
    cluster.configure(settings(rules()));
    cluster.record(&endpoint(&cluster, 0), Verdict::Success, secs(3));
    assert!(is_ejection(fail(&cluster, 0, 5, secs(3))));
}

#[test]
fn events_that_nobody_fetches_do_not_pile_up() {
    let cluster = cluster(2, settings(rules()));
    for round in 0..3_000 {
        fail(&cluster, 0, 5, secs(1 + round * 1_000));
        assert_eq!(picked(&cluster, secs(900 + round * 1_000)).len(), 2);
    }
    assert_eq!(cluster.sweep(secs(4_000_000)).len(), 1024);
}

#[test]
fn threads_may_pick_record_and_reload_at_once() {
    let cluster = cluster(8, settings(rules()));
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let cluster = &cluster;
            scope.spawn(move || {
                let mut rng = SplitMix64::new(seed);
                for step in 0..3_000 {
                    let now = at(step * 20);
                    let Ok(endpoint) = cluster.pick(&[], now, &mut rng) else {
                        continue;
                    };
                    let in_flight = cluster.begin(Arc::clone(&endpoint));
                    let is_bad = endpoint.address() == address(0);
                    let verdict = if is_bad {
                        Verdict::GatewayError
                    } else {
                        Verdict::Success
                    };
                    cluster.record(&in_flight, verdict, now);
                }
            });
        }
        scope.spawn(|| {
            for step in 0..300 {
                set(&cluster, 0..(4 + step % 5));
                cluster.configure(settings(rules()));
            }
        });
    });
    set(&cluster, 0..8);
    let stats = cluster.stats();
    assert!(stats.endpoints.iter().all(|endpoint| endpoint.active == 0));
    assert!(stats.endpoints[0].ejections > 0);
    assert!(stats.endpoints[1..].iter().all(|endpoint| endpoint.ejections == 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_more_than_the_share_is_ever_ejected(
        endpoints in 1usize..30,
        max_percent in 0u8..=100,
        results in prop::collection::vec((0usize..30, any::<bool>(), 0u64..4_000), 1..2_000),
    ) {
        let rules = OutlierDetection { consecutive_5xx: 2, max_ejected_percent: max_percent, ..rules() };
        let cluster = cluster(endpoints, settings(rules));
        let mut now = Timestamp::ZERO;
        for (index, is_ok, pause) in results {
            now = now + Duration::from_millis(pause);
            let verdict = if is_ok { Verdict::Success } else { Verdict::GatewayError };
            cluster.record(&endpoint(&cluster, index % endpoints), verdict, now);
            let ejected = endpoints - cluster.stats().healthy;
            prop_assert!(ejected * 100 <= endpoints * usize::from(max_percent));
        }
    }
}
