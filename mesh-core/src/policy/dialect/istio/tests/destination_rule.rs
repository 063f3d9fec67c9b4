use std::time::Duration;

use super::*;
use http::StatusCode;

use crate::policy::model::Export;
use crate::policy::model::traffic::{
    Algorithm, ClientTls, DestinationPolicy, H2Upgrade, Limits, OutlierDetection, RetryConcurrency, RetryCondition,
    TcpKeepalive, TrafficPolicy,
};

const KIND: &str = "DestinationRule";

fn rule(spec: &str) -> DestinationPolicy {
    clean(KIND, spec).destinations.remove(0)
}

fn traffic(policy: &str) -> TrafficPolicy {
    rule(&format!("host: a, trafficPolicy: {{ {policy} }}")).traffic
}

/// Findings about a traffic policy, which is written in line 4.
#[track_caller]
fn assert_traffic(table: &[(&str, &[&str])]) {
    for (policy, expected) in table {
        assert_lines(KIND, &[(&format!("host: a, trafficPolicy: {{\n{policy} }}"), expected)]);
    }
}

#[test]
fn hosts_are_completed_and_patterns_kept() {
    assert_eq!(rule("host: Reviews").host, "reviews.shop.svc.cluster.local");
    assert_eq!(
        rule("host: '*.shop.svc.cluster.local'").host,
        "*.shop.svc.cluster.local"
    );
    assert_lines(
        KIND,
        &[("subsets: []", &["2:1: error[MESH0103]: missing field `host`"])],
    );
}

#[test]
fn every_limit_has_its_place() {
    let limits = traffic(
        "connectionPool: { tcp: { maxConnections: 1, connectTimeout: 2s, idleTimeout: 3s, maxConnectionDuration: 4s, \
         tcpKeepalive: { probes: 13, time: 14s, interval: 15s } }, \
         http: { http1MaxPendingRequests: 5, http2MaxRequests: 6, maxRequestsPerConnection: 7, maxRetries: 8, \
         idleTimeout: 9s, h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 10, useClientProtocol: false, \
         http2KeepAlive: { interval: 11s, timeout: 12s } } }",
    )
    .limits
    .unwrap();
    let expected = Limits {
        connections: Some(1),
        connect_timeout: Duration::from_secs(2),
        connection_age: Some(Duration::from_secs(4)),
        pending: Some(5),
        requests: Some(6),
        requests_per_connection: Some(7),
        retries: Some(8),
        idle_timeout: Some(Duration::from_secs(9)),
        h2_upgrade: H2Upgrade::Upgrade,
        streams_per_connection: Some(10),
        http2_keepalive: Some((Duration::from_secs(11), Duration::from_secs(12))),
        tcp_keepalive: Some(TcpKeepalive {
            probes: Some(13),
            time: Some(Duration::from_secs(14)),
            interval: Some(Duration::from_secs(15)),
        }),
        ..Limits::default()
    };
    assert_eq!(limits, expected);
}

#[test]
fn a_limit_of_zero_is_none() {
    let limits = traffic(
        "connectionPool: { tcp: { maxConnections: 0 }, http: { http2MaxRequests: 0, maxRequestsPerConnection: 0 } }",
    )
    .limits;
    assert_eq!(limits, Some(Limits::default()));
    let idle = traffic("connectionPool: { tcp: { idleTimeout: 0s } }")
        .limits
        .unwrap()
        .idle_timeout;
    assert_eq!(idle, None);
}

#[test]
fn outlier_detection_has_istios_defaults() {
    assert_eq!(
        traffic("outlierDetection: {}").outliers,
        Some(OutlierDetection::default())
    );
    let expected = OutlierDetection {
        consecutive_5xx: 0,
        consecutive_gateway_errors: 5,
        interval: Duration::from_secs(1),
        base_ejection: Duration::from_secs(2),
        max_ejected_percent: 10,
        min_healthy_percent: 30,
        consecutive_local_failures: Some(7),
        error_codes: vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY],
        ..OutlierDetection::default()
    };
    let found = traffic(
        "outlierDetection: { consecutive5xxErrors: 0, consecutiveGatewayErrors: 5, interval: 1s, baseEjectionTime: 2s, \
         maxEjectionPercent: 0, minHealthPercent: 30, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 7, \
         outlierDetectionHttpErrorCodes: [429, 502] }",
    );
    assert_eq!(found.outliers, Some(expected));
    let local = |text: &str| {
        traffic(&format!(
            "outlierDetection: {{ splitExternalLocalOriginErrors: {text} }}"
        ))
        .outliers
        .unwrap()
    };
    assert_eq!(local("true").consecutive_local_failures, Some(5));
    assert_eq!(local("false").consecutive_local_failures, None);
}

#[test]
fn balancers_are_read() {
    for (text, algorithm) in [
        ("{}", Algorithm::LeastRequest),
        ("{ simple: UNSPECIFIED }", Algorithm::LeastRequest),
        ("{ simple: LEAST_REQUEST }", Algorithm::LeastRequest),
        ("{ simple: RANDOM }", Algorithm::Random),
        ("{ simple: ROUND_ROBIN }", Algorithm::RoundRobin),
    ] {
        assert_eq!(
            traffic(&format!("loadBalancer: {text}")).balance,
            Some(algorithm),
            "{text}"
        );
    }
}

#[test]
fn tls_without_a_mode_is_plain_text() {
    assert_eq!(traffic("tls: {}").tls, Some(ClientTls::Disable));
    assert_eq!(traffic("loadBalancer: {}").tls, None);
    let id = "spiffe://cluster.local/ns/shop/sa/a";
    let found = traffic(&format!("tls: {{ mode: ISTIO_MUTUAL, subjectAltNames: ['{id}'] }}")).tls;
    assert_eq!(
        found,
        Some(ClientTls::IstioMutual {
            subject_alt_names: vec![id.into()]
        })
    );
}

#[test]
fn subsets_and_ports_have_policies_of_their_own() {
    let rule = rule(
        "host: a, trafficPolicy: { loadBalancer: {}, portLevelSettings: [{ port: { number: 80 }, tls: {} }] }, \
         subsets: [{ name: v1, labels: { version: v1 }, trafficPolicy: { loadBalancer: { simple: RANDOM }, \
         portLevelSettings: [{ port: { number: 81 }, outlierDetection: {} }] } }, { name: all }]",
    );
    assert_eq!(rule.ports[0].0, 80);
    assert_eq!(
        rule.ports[0].1,
        TrafficPolicy {
            tls: Some(ClientTls::Disable),
            ..TrafficPolicy::default()
        }
    );
    let [v1, all] = rule.subsets.as_slice() else {
        panic!("two subsets")
    };
    assert_eq!((v1.name.as_str(), v1.labels["version"].as_str()), ("v1", "v1"));
    assert_eq!(v1.traffic.balance, Some(Algorithm::Random));
    assert_eq!(v1.ports[0].0, 81);
    assert!(v1.ports[0].1.outliers.is_some() && v1.ports[0].1.balance.is_none());
    assert_eq!((all.name.as_str(), all.labels.len()), ("all", 0));
}

#[test]
fn fields_that_are_not_istios_take_effect_with_a_warning() {
    let text = "host: a, trafficPolicy: {\nconnectionPool: { http: { pendingRequests: 7 } },\nretryPolicy: { attempts: 3, retryOn: reset },\n\
                portLevelSettings: [{ port: { number: 80 }, tls: {} }] }";
    let loaded = load_spec(KIND, text);
    assert_eq!(
        loaded.lines,
        [
            "4:27: warning[MESH0502]: field `pendingRequests` is not part of the standard: it is taken as `http1MaxPendingRequests`",
            "5:1: warning[MESH0502]: field `retryPolicy` is not part of the standard: it is taken as the retries of routes that set none",
        ]
    );
    let rule = &loaded.policy.destinations[0];
    assert_eq!(rule.traffic.limits.as_ref().and_then(|limits| limits.pending), Some(7));
    let retry = rule.traffic.retry.as_ref().unwrap();
    assert_eq!(
        (retry.attempts, retry.on.conditions.as_slice()),
        (3, [RetryCondition::Reset].as_slice())
    );
    assert_eq!(
        rule.ports[0].1.retry.as_ref(),
        Some(retry),
        "ports keep the retries of the service"
    );
}

#[test]
fn blocks_are_checked() {
    assert_traffic(&[
        (
            "",
            &["3:25: error[MESH0104]: `trafficPolicy`: expected at least one field, found an empty policy"],
        ),
        (
            "connectionPool: {}",
            &["4:17: error[MESH0104]: `connectionPool`: expected `tcp` or `http`, found neither"],
        ),
        (
            "connectionPool: { tcp: { maxConnections: -1 } }",
            &["4:42: error[MESH0104]: `maxConnections`: expected a whole number of 0 to 2147483647, found `-1`"],
        ),
        (
            "connectionPool: { tcp: { connectTimeout: 0s } }",
            &["4:42: error[MESH0104]: `connectTimeout`: expected at least `1ms`, found `0s`"],
        ),
        (
            "connectionPool: { http: { http1MaxPendingRequests: 1, pendingRequests: 2 } }",
            &[
                "4:55: error[MESH0105]: fields `http1MaxPendingRequests` and `pendingRequests` exclude each other",
                "4:55: warning[MESH0502]: field `pendingRequests` is not part of the standard: it is taken as `http1MaxPendingRequests`",
            ],
        ),
        (
            "outlierDetection: { consecutiveErrors: 3, maxEjectionPercent: 101 }",
            &[
                "4:21: warning[MESH0503]: `consecutiveErrors` is deprecated, and has no effect in Istio and here",
                "4:63: error[MESH0104]: `maxEjectionPercent`: expected a whole number of 0 to 100, found `101`",
            ],
        ),
        (
            "outlierDetection: { outlierDetectionHttpErrorCodes: [600] }",
            &[
                "4:54: error[MESH0104]: `outlierDetectionHttpErrorCodes`: expected a whole number of 100 to 599, found `600`",
            ],
        ),
    ]);
}

#[test]
fn keepalive_and_the_callers_protocol_are_checked() {
    assert_traffic(&[
        (
            "connectionPool: { http: { http2KeepAlive: {} } }",
            &[
                "4:43: error[MESH0103]: missing field `interval`",
                "4:43: error[MESH0103]: missing field `timeout`",
            ],
        ),
        (
            "connectionPool: { tcp: { tcpKeepalive: { probes: -1, time: 0s } } }",
            &[
                "4:50: error[MESH0104]: `probes`: expected a whole number of 0 to 4294967295, found `-1`",
                "4:60: error[MESH0104]: `time`: expected at least `1ms`, found `0s`",
            ],
        ),
        (
            "connectionPool: { http: { useClientProtocol: true } }",
            &[
                "4:27: warning[MESH0401]: field `useClientProtocol` is not yet in force: the protocol to an endpoint does not follow the caller's",
            ],
        ),
        (
            "connectionPool: { http: { h2UpgradePolicy: UPGRADE, useClientProtocol: true } }",
            &[
                "4:53: warning[MESH0401]: field `useClientProtocol` is not yet in force: the protocol to an endpoint does not follow the caller's",
                "4:53: error[MESH0105]: fields `h2UpgradePolicy` and `useClientProtocol` exclude each other",
            ],
        ),
    ]);
}

#[test]
fn budgets_and_tunnels_are_checked() {
    assert_traffic(&[
        (
            "retryBudget: { percent: 101, budgetInterval: 1s }",
            &[
                "4:25: error[MESH0104]: `percent`: expected a number of 0 to 100, found `101`",
                "4:30: warning[MESH0401]: field `budgetInterval` is not yet in force: requests count while they are under way",
            ],
        ),
        (
            "tunnel: { targetHost: a.com, targetPort: 80 }, proxyProtocol: {}",
            &[
                "4:1: warning[MESH0401]: field `tunnel` is not yet in force: connections are not tunnelled",
                "4:48: error[MESH0105]: fields `tunnel` and `proxyProtocol` exclude each other",
                "4:48: warning[MESH0401]: field `proxyProtocol` is not yet in force: no PROXY header is sent",
            ],
        ),
        (
            "tunnel: { protocol: GET, targetHost: a b }",
            &[
                "4:1: warning[MESH0401]: field `tunnel` is not yet in force: connections are not tunnelled",
                "4:9: error[MESH0103]: missing field `targetPort`",
                "4:21: error[MESH0104]: `protocol`: unknown value `GET`, expected `CONNECT` or `POST`",
                "4:38: error[MESH0104]: `targetHost`: expected a host, found `a b`",
            ],
        ),
        (
            "proxyProtocol: { version: V3 }",
            &[
                "4:1: warning[MESH0401]: field `proxyProtocol` is not yet in force: no PROXY header is sent",
                "4:27: error[MESH0104]: `version`: unknown value `V3`, expected `V1` or `V2`",
            ],
        ),
        (
            "outlierDetection: { consecutiveLocalOriginFailures: 5 }",
            &["4:21: error[MESH0301]: `consecutiveLocalOriginFailures` needs `splitExternalLocalOriginErrors: true`"],
        ),
    ]);
}

#[test]
fn ports_and_subsets_are_checked() {
    assert_traffic(&[
        (
            "loadBalancer: { simple: LEAST_CONN }",
            &["4:25: warning[MESH0503]: `LEAST_CONN` is deprecated"],
        ),
        (
            "portLevelSettings: [{ tls: {} }, { port: { number: 1 } }]",
            &[
                "4:21: error[MESH0103]: missing field `port`",
                "4:34: error[MESH0104]: `portLevelSettings`: expected a setting beside `port`, found none",
            ],
        ),
        (
            "portLevelSettings: [{ port: { number: 1 }, tls: {} }, { port: { number: 1 }, tls: {} }]",
            &["4:55: error[MESH0202]: port `1` is given twice"],
        ),
        (
            "tls: { subjectAltNames: ['spiffe://a/b'] }",
            &["4:8: warning[MESH0505]: `subjectAltNames` has no effect on plain text"],
        ),
    ]);
    assert_lines(
        KIND,
        &[(
            "host: a, subsets: [{ name: v1 }, { name: v1 }, {}]",
            &[
                "3:34: error[MESH0202]: subset `v1` is given twice",
                "3:48: error[MESH0103]: missing field `name`",
            ],
        )],
    );
}

#[test]
fn a_budget_of_retries_is_read() {
    let budget = |text: &str| {
        traffic(&format!("retryBudget: {{ {text} }}"))
            .retry_concurrency
            .unwrap()
    };
    assert_eq!(budget(""), RetryConcurrency::default());
    let found = budget("percent: 12.5, minRetryConcurrency: 7, budgetInterval: 0s");
    assert_eq!((found.share.millionths(), found.min), (125_000, 7));
}

#[test]
fn a_rule_for_some_workloads_is_for_its_own_namespace() {
    let own = Export::Namespaces(vec!["shop".into()]);
    let selector = "workloadSelector: { matchLabels: { app: front } }";
    for export in ["", ", exportTo: ['.']", ", exportTo: [shop]", ", exportTo: []"] {
        let rule = rule(&format!("host: a, {selector}{export}"));
        assert_eq!(
            (&rule.export, rule.workloads["app"].as_str()),
            (&own, "front"),
            "{export}"
        );
    }
    let line = "3:61: error[MESH0301]: `exportTo`: a rule with a `workloadSelector` is for its own namespace";
    assert_lines(
        KIND,
        &[
            (&format!("host: a, {selector}, exportTo: ['*']"), &[line]),
            (&format!("host: a, {selector}, exportTo: [other]"), &[line]),
            (
                "host: a, workloadSelector: {}",
                &[
                    "3:28: warning[MESH0505]: `selector` has no labels: the policy holds for every workload of its namespace",
                ],
            ),
        ],
    );
}
