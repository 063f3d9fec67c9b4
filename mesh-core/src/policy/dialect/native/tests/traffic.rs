//! `balance`, `limits`, `outliers`, `tls`, `retry`, `retry_budget`, by subset and port; `destinations`.

use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::policy::model::Export;
use crate::policy::model::traffic::{
    Algorithm, Backoff, ClientTls, DestinationPolicy, H2Upgrade, Limits, OutlierDetection, RetryBudget, RetryCondition,
    TrafficPolicy,
};

fn destination(fields: &str) -> DestinationPolicy {
    clean(&format!("services: {{ a: {{ {fields} }} }}"))
        .destinations
        .remove(0)
}

fn traffic(fields: &str) -> TrafficPolicy {
    destination(fields).traffic
}

#[test]
fn nothing_given_is_nothing_set() {
    assert_eq!(clean("services: { a: {} }").destinations, []);
    assert_eq!(traffic("subsets: { v1: {} }"), TrafficPolicy::default());
}

#[test]
fn every_algorithm_has_a_name() {
    for (name, expected) in [
        ("round_robin", Algorithm::RoundRobin),
        ("random", Algorithm::Random),
        ("least_request", Algorithm::LeastRequest),
    ] {
        assert_eq!(traffic(&format!("balance: {name}")).balance, Some(expected));
    }
}

#[test]
fn every_limit_can_be_set() {
    let found = traffic(
        "limits: { connections: 1, pending: 2, requests: 3, retries: 4, requests_per_connection: 5, streams_per_connection: 6, connect_timeout: 7s, idle_timeout: 8s, connection_age: 9s, http: h2 }",
    );
    let expected = Limits {
        connections: Some(1),
        pending: Some(2),
        requests: Some(3),
        retries: Some(4),
        requests_per_connection: Some(5),
        streams_per_connection: Some(6),
        connect_timeout: Duration::from_secs(7),
        idle_timeout: Some(Duration::from_secs(8)),
        connection_age: Some(Duration::from_secs(9)),
        h2_upgrade: H2Upgrade::Upgrade,
        ..Limits::default()
    };
    assert_eq!(found.limits, Some(expected));
    assert_eq!(traffic("limits: {}").limits, Some(Limits::default()));
    assert_eq!(
        traffic("limits: { idle_timeout: never }").limits.unwrap().idle_timeout,
        None
    );
    assert_eq!(
        traffic("limits: { http: h1 }").limits.unwrap().h2_upgrade,
        H2Upgrade::DoNotUpgrade
    );
}

#[test]
fn every_setting_of_the_detector_can_be_set() {
    let found = traffic(
        "outliers: { consecutive_5xx: 1, consecutive_gateway_errors: 2, interval: 3s, base_ejection: 4s, max_ejection: 5s, max_ejected_percent: 60%, min_healthy_percent: 70 }",
    );
    let expected = OutlierDetection {
        consecutive_5xx: 1,
        consecutive_gateway_errors: 2,
        interval: Duration::from_secs(3),
        base_ejection: Duration::from_secs(4),
        max_ejection: Duration::from_secs(5),
        max_ejected_percent: 60,
        min_healthy_percent: 70,
        ..OutlierDetection::default()
    };
    assert_eq!(found.outliers, Some(expected));
    assert_eq!(traffic("outliers: {}").outliers, Some(OutlierDetection::default()));
}

#[test]
fn tls_is_off_mutual_or_mutual_with_names() {
    let mutual = |names: &[&str]| {
        Some(ClientTls::IstioMutual {
            subject_alt_names: names.iter().map(|name| (*name).into()).collect(),
        })
    };
    assert_eq!(traffic("tls: disable").tls, Some(ClientTls::Disable));
    assert_eq!(traffic("tls: mutual").tls, mutual(&[]));
    assert_eq!(
        traffic("tls: { mutual: { identities: [td/ns/a/sa/b] } }").tls,
        mutual(&["spiffe://td/ns/a/sa/b"])
    );
}

#[test]
fn retries_have_conditions_codes_and_pauses() {
    let retry = traffic("retry: { attempts: 2, on: [gateway-error, 409, \"503\"], per_try_timeout: 1s, backoff: { base: 10ms, max: 1s } }").retry.unwrap();
    assert_eq!(
        (retry.attempts, retry.per_try_timeout),
        (2, Some(Duration::from_secs(1)))
    );
    let conditions = [RetryCondition::GatewayError, RetryCondition::RetriableStatusCodes];
    assert_eq!(retry.on.conditions, conditions);
    assert_eq!(retry.on.codes, [StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE]);
    assert_eq!(
        (retry.backoff.base, retry.backoff.max),
        (Duration::from_millis(10), Duration::from_secs(1))
    );
    let short = traffic("retry: { attempts: 1, backoff: 1s }").retry.unwrap();
    assert_eq!(short.backoff, Backoff::from_base(Duration::from_secs(1)));
    let default = traffic("retry: { attempts: 1 }").retry.unwrap();
    assert_eq!((default.backoff, default.per_try_timeout), (Backoff::DEFAULT, None));
    assert_eq!(default.on, crate::decide::retry::default_conditions());
    assert_eq!(traffic("retry: { attempts: 0 }").retry.unwrap().attempts, 0);
}

#[test]
fn a_budget_of_retries_has_defaults() {
    let budget = RetryBudget::new(5, 10, Duration::from_secs(10));
    assert_eq!(traffic("retry_budget: { percent: 5 }").retry_budget, Some(budget));
}

#[test]
fn subsets_and_ports_have_settings_of_their_own() {
    let found = destination(
        "subsets: { short: { version: v1, labels: x }, long: { labels: { version: v2 }, balance: random, by_port: { 80: { tls: disable } } } }, by_port: { 443: { balance: round_robin }, 80: {} }",
    );
    let [short, long] = found.subsets.as_slice() else {
        panic!("two subsets");
    };
    assert_eq!((short.labels.len(), &short.traffic), (2, &TrafficPolicy::default()));
    assert_eq!(
        (long.labels["version"].as_str(), long.traffic.balance),
        ("v2", Some(Algorithm::Random))
    );
    assert_eq!(long.ports[0].1.tls, Some(ClientTls::Disable));
    assert_eq!(
        (found.ports[0].0, found.ports[0].1.balance),
        (443, Some(Algorithm::RoundRobin))
    );
    assert_eq!(found.ports[1], (80, TrafficPolicy::default()));
}

/// Settings, beside what is said about each.
const WRONG_SETTINGS: &[(&str, &[&str])] = &[
    (
        "retry: { attempts: 1, on: [reset, retriable-status-codes] }",
        &["44: warning[MESH0505]: `on`: `retriable-status-codes` has no effect without a code"],
    ),
    (
        "balance: least_requests",
        &[
            "27: error[MESH0104]: `balance`: unknown value `least_requests`, expected `round_robin`, `random` or `least_request`",
        ],
    ),
    (
        "limits: { connections: 0, conections: 1, connect_timeout: 0s, idle_timeout: 5, http: h3 }",
        &[
            "41: error[MESH0104]: `connections`: expected a whole number of 1 to 2147483647, found `0`",
            "44: error[MESH0101]: unknown field `conections`",
            "76: error[MESH0104]: `connect_timeout`: expected at least `1ms`, found `0s`",
            "94: error[MESH0104]: `idle_timeout`: duration `5` has no unit, expected one of `ns`, `us`, `ms`, `s`, `m`, `h`",
            "103: error[MESH0104]: `http`: unknown value `h3`, expected `auto`, `h1` or `h2`",
        ],
    ),
    (
        "outliers: { consecutive_5xx: 0 }",
        &["28: warning[MESH0505]: `outliers` has no effect: neither 5xx nor gateway errors are counted"],
    ),
    (
        "outliers: { max_ejected_percent: 101, interval: 1us }",
        &[
            "51: error[MESH0104]: `max_ejected_percent`: expected a whole number of 0 to 100, found `101`",
            "66: error[MESH0104]: `interval`: expected whole milliseconds, found `1us`",
        ],
    ),
    (
        "tls: strict",
        &["23: error[MESH0104]: `tls`: unknown value `strict`, expected `disable` or `mutual`"],
    ),
    (
        "tls: { simple: {} }",
        &[
            "23: error[MESH0103]: missing field `mutual`, `originate` or `disable`",
            "25: error[MESH0101]: unknown field `simple`",
        ],
    ),
    ("retry: {}", &["25: error[MESH0103]: missing field `attempts`"]),
    (
        "retry: { attempts: 0, on: [5xx], backoff: 1s }",
        &[
            "40: error[MESH0301]: `on` has no effect with `attempts: 0`",
            "51: error[MESH0301]: `backoff` has no effect with `attempts: 0`",
        ],
    ),
    (
        "retry: { attempts: 1, on: [5x, 999, retriable-headers], backoff: { base: 2s, max: 1s } }",
        &[
            "45: error[MESH0104]: `on`: unknown retry condition `5x`",
            "49: error[MESH0104]: `on`: `999` is not an HTTP status code",
            "100: error[MESH0104]: `backoff`: expected at least `base`",
        ],
    ),
    (
        "retry: { attempts: 1, on: 5xx }",
        &["44: error[MESH0102]: `on`: expected a list such as `[5xx, reset, 409]`, found the text `5xx`"],
    ),
    (
        "retry: { attempts: 1, on: [] }",
        &["44: error[MESH0104]: `on`: expected at least one condition, leave `on` out for the default"],
    ),
    (
        "retry_budget: { percent: -1, min: 1 }",
        &[
            "43: error[MESH0104]: `percent`: expected a whole number of 0 to 100000, found `-1`",
            "47: error[MESH0101]: unknown field `min`",
        ],
    ),
    (
        "subsets: { a_b: {}, v1: { labels: { a: b }, balanc: random }, v2: [] }",
        &[
            "29: error[MESH0104]: key `a_b`: expected the name of a subset: letters, digits and `-`, at most 63",
            "62: error[MESH0101]: unknown field `balanc`",
            "84: error[MESH0102]: `subsets`: expected a mapping, found a list",
        ],
    ),
    (
        "by_port: { http: {}, 80: { subsets: {} } }",
        &[
            "29: error[MESH0104]: key `http`: expected a port of 1 to 65535",
            "45: error[MESH0101]: unknown field `subsets`",
        ],
    ),
];

#[test]
fn settings_that_are_wrong_are_told() {
    assert_lines("services: { a: { @ } }", WRONG_SETTINGS);
}

#[test]
fn destinations_are_settings_of_hosts_and_patterns() {
    let policy = clean(
        "namespace: shop\ndestinations: { '*.example.com': { balance: random, visible_to: [.] }, orders: { subsets: { v1: { version: v1 } } } }",
    );
    let [pattern, orders] = policy.destinations.as_slice() else {
        panic!("two destinations");
    };
    assert_eq!(
        (pattern.host.as_str(), pattern.traffic.balance),
        ("*.example.com", Some(Algorithm::Random))
    );
    assert_eq!(pattern.export, Export::Namespaces(vec!["shop".into()]));
    assert_eq!(
        (orders.host.as_str(), orders.subsets[0].name.as_str()),
        ("orders.shop.svc.cluster.local", "v1")
    );
    assert_lines(
        "destinations: { @ }",
        &[
            (
                "'*': {}",
                &["17: error[MESH0104]: key `*`: expected a host name, or a pattern such as `*.example.com`"],
            ),
            ("a: { host: b }", &["22: error[MESH0101]: unknown field `host`"]),
        ],
    );
}
