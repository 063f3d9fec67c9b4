use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::decide::cluster::{ClusterKey, ClusterSettings};
use crate::policy::model::traffic::{Limits, RetryBudget};

fn cluster(limits: Limits) -> Cluster<()> {
    let settings = ClusterSettings {
        limits,
        ..ClusterSettings::default()
    };
    Cluster::new(ClusterKey::new("orders", None, 80), settings)
}

#[test]
fn limits_refuse_what_exceeds_them_and_count_it() {
    let limits = Limits {
        requests: Some(2),
        pending: Some(1),
        ..Limits::default()
    };
    let cluster = cluster(limits);

    let first = cluster.try_request().unwrap();
    let _second = cluster.try_request().unwrap();
    let _waiting = cluster.try_pending().unwrap();
    assert!(cluster.try_request().is_none() && cluster.try_request().is_none() && cluster.try_pending().is_none());

    let usage = cluster.requests();
    assert_eq!((usage.active, usage.limit, usage.refused), (2, Some(2), 2));
    drop(first);
    assert!(cluster.try_request().is_some());
}

#[test]
fn a_host_without_a_connection_may_always_have_one() {
    let limits = Limits {
        connections: Some(1),
        ..Limits::default()
    };
    let cluster = cluster(limits);

    let _first = cluster.try_connect(HostConnections::None).unwrap();
    assert!(cluster.try_connect(HostConnections::Some).is_none());
    let second = cluster.try_connect(HostConnections::None);
    assert!(second.is_some());
    assert_eq!(cluster.connections().active, 2);
    drop(second);
    assert!(cluster.try_connect(HostConnections::Some).is_none());
}

#[test]
fn no_limit_is_no_limit() {
    let cluster = cluster(Limits::default());
    let permits: Vec<_> = (0..10_000).map(|_| cluster.try_request().unwrap()).collect();
    assert_eq!((cluster.requests().active, cluster.requests().limit), (10_000, None));
    drop(permits);
    assert_eq!(cluster.requests().active, 0);
}

#[test]
fn a_retry_needs_a_place_and_a_token() {
    let mut settings = ClusterSettings::default();
    settings.limits.retries = Some(1);
    settings.budget = RetryBudget::new(0, 2, Duration::from_secs(1));
    let cluster: Cluster<()> = Cluster::new(ClusterKey::new("orders", None, 80), settings);

    let first = cluster.try_retry(Timestamp::ZERO).unwrap();
    assert_eq!(cluster.try_retry(Timestamp::ZERO).unwrap_err(), RetryRefusal::Limit);
    assert_eq!(
        cluster.budget().balance(Timestamp::ZERO),
        1,
        "a place that was refused costs no token"
    );
    drop(first);
    drop(cluster.try_retry(Timestamp::ZERO).unwrap());
    assert_eq!(cluster.try_retry(Timestamp::ZERO).unwrap_err(), RetryRefusal::Budget);
    assert_eq!(cluster.retries().active, 0);
}

#[test]
fn threads_never_exceed_a_limit_and_give_all_permits_back() {
    let limits = Limits {
        requests: Some(3),
        ..Limits::default()
    };
    let cluster = cluster(limits);
    let (held, given) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_500 {
                    let Some(permit) = cluster.try_request() else { continue };
                    given.fetch_add(1, Relaxed);
                    assert!(held.fetch_add(1, Relaxed) < 3);
                    std::thread::yield_now();
                    held.fetch_sub(1, Relaxed);
                    drop(permit);
                }
            });
        }
    });
    let usage = cluster.requests();
    assert_eq!((usage.active, usage.refused + given.into_inner() as u64), (0, 10_000));
}

/// What a property does to a cluster.
#[derive(Clone, Debug)]
enum Step {
    Acquire,
    Release(usize),
    Limit(Option<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Acquire),
        3 => any::<usize>().prop_map(Step::Release),
        1 => prop::option::of(0u32..20).prop_map(Step::Limit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn permits_follow_a_simple_count(steps in prop::collection::vec(step(), 10_000)) {
        let cluster = cluster(Limits::default());
        let (mut permits, mut limit) = (Vec::new(), None);
        for step in steps {
            match step {
                Step::Acquire => {
                    let permit = cluster.try_request();
                    prop_assert_eq!(permit.is_some(), limit.is_none_or(|limit| permits.len() < limit as usize));
                    permits.extend(permit);
                }
                Step::Release(index) if !permits.is_empty() => {
                    drop(permits.swap_remove(index % permits.len()));
                }
                Step::Release(_) => {}
                Step::Limit(new) => {
                    limit = new;
                    let mut settings = ClusterSettings::default();
                    settings.limits.requests = new;
                    cluster.configure(settings);
                }
            }
            prop_assert_eq!(cluster.requests().active as usize, permits.len());
        }
    }
}

/// A cluster whose retries are limited by this share of its requests, in percent, and by nothing else.
fn by_share(percent: f64, min: u32) -> Cluster<()> {
    let concurrency = RetryConcurrency {
        share: Fraction::from_percent(percent),
        min,
    };
    let settings = ClusterSettings {
        limits: Limits {
            retries: Some(0),
            ..Limits::default()
        },
        budget: RetryBudget::new(100, 1000, Duration::from_secs(10)),
        retry_concurrency: Some(concurrency),
        ..ClusterSettings::default()
    };
    Cluster::new(ClusterKey::new("orders", None, 80), settings)
}

#[test]
fn retries_at_a_time_are_a_share_of_the_requests_under_way() {
    let cluster = by_share(20.0, 1);
    let requests: Vec<_> = (0..10).filter_map(|_| cluster.try_request()).collect();
    // These are some of them.
    let _waiting: Vec<_> = (0..5).filter_map(|_| cluster.try_pending()).collect();

    let first = cluster.try_retry(Timestamp::ZERO).unwrap();
    let _second = cluster.try_retry(Timestamp::ZERO).unwrap();
    assert_eq!(cluster.try_retry(Timestamp::ZERO).unwrap_err(), RetryRefusal::Limit);

    drop(first);
    assert!(cluster.try_retry(Timestamp::ZERO).is_ok());
    drop(requests);
    assert_eq!(cluster.try_retry(Timestamp::ZERO).unwrap_err(), RetryRefusal::Limit);
}

#[test]
fn some_retries_at_a_time_are_always_allowed() {
    let cluster = by_share(0.0, 3);
    let retries: Vec<_> = (0..3).map(|_| cluster.try_retry(Timestamp::ZERO).unwrap()).collect();
    assert_eq!(cluster.try_retry(Timestamp::ZERO).unwrap_err(), RetryRefusal::Limit);
    drop(retries);

    let mut without = ClusterSettings::default();
    without.limits.retries = Some(0);
    cluster.configure(without);
    assert_eq!(
        cluster.try_retry(Timestamp::ZERO).unwrap_err(),
        RetryRefusal::Limit,
        "the limit holds again"
    );
}
