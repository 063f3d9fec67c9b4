use std::time::Duration;

use super::*;
use crate::policy::model::traffic::{Algorithm, HashKey, TrafficPolicy, Warmup};

const KIND: &str = "DestinationRule";

/// A rule whose load balancer begins in line 4.
fn spec(balancer: &str) -> String {
    format!("host: a, trafficPolicy: {{ loadBalancer: {{\n{balancer} }} }}")
}

fn traffic(balancer: &str) -> TrafficPolicy {
    load_spec(KIND, &spec(balancer)).policy.destinations.remove(0).traffic
}

/// Errors, and warnings other than what is not yet in force.
#[track_caller]
fn assert_told(table: &[(&str, &[&str])]) {
    for (balancer, expected) in table {
        let mut lines = load_spec(KIND, &spec(balancer)).lines;
        lines.retain(|line| !line.contains("MESH0401"));
        assert_eq!(lines, *expected, "{balancer}");
    }
}

fn hashed(text: &str) -> (Option<Algorithm>, Option<HashKey>) {
    let traffic = traffic(&format!("consistentHash: {{ {text} }}"));
    (traffic.balance, traffic.hash)
}

#[test]
fn what_is_hashed_is_read() {
    let ring = Some(Algorithm::RingHash(1024));
    let header = HashKey::Header("x-user".parse().unwrap());
    assert_eq!(hashed("httpHeaderName: X-User"), (ring, Some(header)));
    assert_eq!(hashed("useSourceIp: true"), (ring, Some(HashKey::SourceIp)));
    assert_eq!(hashed("useSourceIp: false"), (ring, None));
    assert_eq!(
        hashed("httpQueryParameterName: user"),
        (ring, Some(HashKey::Query("user".into())))
    );
    let cookie = |path: Option<&str>, ttl, attributes: &[(&str, &str)]| HashKey::Cookie {
        name: "user".into(),
        path: path.map(Into::into),
        ttl,
        attributes: attributes
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
    };
    assert_eq!(hashed("httpCookie: { name: user }").1, Some(cookie(None, None, &[])));
    assert_eq!(
        hashed("httpCookie: { name: user, path: /, ttl: 0s, attributes: [{ name: SameSite, value: Strict }, { name: Secure }] }").1,
        Some(cookie(Some("/"), Some(Duration::ZERO), &[("SameSite", "Strict"), ("Secure", "")]))
    );
}

#[test]
fn how_it_is_hashed_is_read() {
    for (text, algorithm) in [
        ("ringHash: {}", Algorithm::RingHash(1024)),
        ("ringHash: { minimumRingSize: 0 }", Algorithm::RingHash(1024)),
        ("ringHash: { minimumRingSize: 64 }", Algorithm::RingHash(64)),
        ("minimumRingSize: 7", Algorithm::RingHash(7)),
        ("maglev: { tableSize: 65537 }", Algorithm::Maglev(65537)),
        ("maglev: { tableSize: 2 }", Algorithm::Maglev(2)),
    ] {
        assert_eq!(
            hashed(&format!("useSourceIp: true, {text}")).0,
            Some(algorithm),
            "{text}"
        );
    }
}

#[test]
fn hashes_are_checked() {
    assert_told(&[
        (
            "consistentHash: {}",
            &["4:17: warning[MESH0505]: `consistentHash` has no effect: it does not say what is hashed"],
        ),
        (
            "consistentHash: { useSourceIp: true, httpHeaderName: x }",
            &["4:38: error[MESH0105]: fields `useSourceIp` and `httpHeaderName` exclude each other"],
        ),
        (
            "consistentHash: { httpHeaderName: 'a b' }",
            &["4:35: error[MESH0104]: `httpHeaderName`: expected the name of a header, found `a b`"],
        ),
        (
            "consistentHash: { httpCookie: { ttl: 1s } }",
            &["4:31: error[MESH0103]: missing field `name`"],
        ),
        (
            "consistentHash: { httpCookie: { name: a, attributes: [{ name: b }, { name: b }, {}] } }",
            &[
                "4:68: error[MESH0202]: attribute `b` is given twice",
                "4:81: error[MESH0103]: missing field `name`",
            ],
        ),
        (
            "consistentHash: { useSourceIp: true, maglev: {} }",
            &["4:46: error[MESH0103]: missing field `tableSize`"],
        ),
        (
            "consistentHash: { useSourceIp: true, maglev: { tableSize: 65536 } }",
            &["4:59: error[MESH0104]: `tableSize`: expected a prime number below 5000011, found `65536`"],
        ),
        (
            "consistentHash: { useSourceIp: true, maglev: { tableSize: 0 } }",
            &["4:59: error[MESH0104]: `tableSize`: expected a prime number below 5000011, found `0`"],
        ),
        (
            "consistentHash: { useSourceIp: true, maglev: { tableSize: 5000011 } }",
            &["4:59: error[MESH0104]: `tableSize`: expected a prime number below 5000011, found `5000011`"],
        ),
        (
            "consistentHash: { useSourceIp: true, minimumRingSize: 1, ringHash: {} }",
            &[
                "4:38: warning[MESH0503]: `minimumRingSize` is deprecated",
                "4:58: error[MESH0105]: fields `minimumRingSize` and `ringHash` exclude each other",
            ],
        ),
        (
            "consistentHash: { useSourceIp: true }, simple: RANDOM",
            &["4:40: error[MESH0105]: fields `consistentHash` and `simple` exclude each other"],
        ),
    ]);
}

#[test]
fn what_is_not_yet_in_force_is_told_where_it_stands() {
    let reasons = [
        (
            "consistentHash: { useSourceIp: true }",
            1,
            "field `consistentHash` is not yet in force: requests are not hashed",
        ),
        (
            "localityLbSetting: {}",
            1,
            "field `localityLbSetting` is not yet in force: localities are not weighed",
        ),
        (
            "zoneAwareLbSetting: { enabled: true }",
            1,
            "field `zoneAwareLbSetting` is not yet in force: localities are not weighed",
        ),
        (
            "warmup: { duration: 1s }",
            1,
            "field `warmup` is not yet in force: new endpoints get their full share at once",
        ),
        (
            "simple: PASSTHROUGH",
            9,
            "`PASSTHROUGH` is not yet in force: callers dial names, no address is kept",
        ),
    ];
    for (balancer, column, reason) in reasons {
        let line = format!("4:{column}: warning[MESH0401]: {reason}");
        assert_lines(KIND, &[(&spec(balancer), &[&line])]);
    }
    assert_eq!(traffic("simple: PASSTHROUGH").balance, Some(Algorithm::Passthrough));
}

#[test]
fn warmup_is_read_and_checked() {
    let seconds = Duration::from_secs(300);
    assert_eq!(traffic("warmup: { duration: 300s }").warmup, Some(Warmup::new(seconds)));
    assert_eq!(traffic("warmupDurationSecs: 300s").warmup, Some(Warmup::new(seconds)));
    let found = traffic("warmup: { duration: 300s, minimumPercent: 5.5, aggression: 2 }")
        .warmup
        .unwrap();
    assert_eq!((found.minimum_percent, found.aggression), (5.5, 2.0));
    assert_told(&[
        ("warmup: {}", &["4:9: error[MESH0103]: missing field `duration`"]),
        (
            "warmup: { duration: 1s, minimumPercent: 101 }",
            &["4:41: error[MESH0104]: `minimumPercent`: expected a number of 0 to 100, found `101`"],
        ),
        (
            "warmup: { duration: 1s, aggression: -0.1 }",
            &["4:37: error[MESH0104]: `aggression`: expected at least 1, found `-0.1`"],
        ),
        (
            "warmup: { duration: 1s }, warmupDurationSecs: 1s",
            &[
                "4:27: error[MESH0105]: fields `warmup` and `warmupDurationSecs` exclude each other",
                "4:27: warning[MESH0503]: `warmupDurationSecs` is deprecated",
            ],
        ),
        (
            "simple: RANDOM, warmup: { duration: 1s }",
            &["4:25: warning[MESH0505]: `warmup` has no effect: it is for `ROUND_ROBIN` and `LEAST_REQUEST`"],
        ),
    ]);
}

#[test]
fn localities_are_read() {
    let locality = traffic(
        "localityLbSetting: { enabled: false, distribute: [{ from: us/a/*, to: { us/a: 80, eu/*: 20 } }, { from: us/b, to: { us: 100 } }] }",
    )
    .locality
    .unwrap();
    assert_eq!(locality.enabled, Some(false));
    assert_eq!(
        locality.distribute,
        [
            ("us/a/*".into(), vec![("us/a".into(), 80), ("eu/*".into(), 20)]),
            ("us/b".into(), vec![("us".into(), 100)])
        ]
    );
    let locality = traffic(
        "localityLbSetting: { failover: [{ from: us, to: eu }], failoverPriority: [topology.istio.io/network, app=x] }",
    )
    .locality
    .unwrap();
    assert_eq!(locality.failover, [("us".into(), "eu".into())]);
    assert_eq!(locality.failover_priority, ["topology.istio.io/network", "app=x"]);
}

/// Settings of localities, and the error that is due.
const LOCALITIES: &[(&str, &str)] = &[
    (
        "distribute: [{ from: us/a, to: { us: 100 } }, { from: '*', to: { us: 100 } }]",
        "5:47: error[MESH0301]: `from`: `us/a` and `*` overlap",
    ),
    (
        "distribute: [{ from: us, to: { us: 40, eu: 50 } }]",
        "5:30: error[MESH0104]: `to`: expected shares of 100 together, found 90",
    ),
    (
        "distribute: [{ from: us, to: { us: 0, eu: 100 } }]",
        "5:36: error[MESH0104]: `to`: expected a whole number of 1 to 100, found `0`",
    ),
    (
        "distribute: [{ from: us, to: { us: 50, us/a: 50 } }]",
        "5:40: error[MESH0301]: `to`: `us` and `us/a` overlap",
    ),
    (
        "distribute: [{ from: us/*, to: { us: 100 } }, { from: us/a/b, to: { us: 100 } }]",
        "5:47: error[MESH0301]: `from`: `us/*` and `us/a/b` overlap",
    ),
    (
        "distribute: [{ from: us*/a, to: { us: 100 } }]",
        "5:22: error[MESH0104]: `from`: expected `*` at the end only, found `us*/a`",
    ),
    (
        "distribute: [{ from: a//b, to: { us: 100 } }]",
        "5:22: error[MESH0104]: `from`: expected `region`, `region/zone` or `region/zone/subzone`, found `a//b`",
    ),
    (
        "distribute: [{ from: a, to: { a/b/c/d: 100 } }]",
        "5:31: error[MESH0104]: key `a/b/c/d`: expected `region`, `region/zone` or `region/zone/subzone`",
    ),
    (
        "distribute: [], failover: [{ from: us, to: eu }]",
        "5:17: error[MESH0105]: fields `distribute` and `failover` exclude each other",
    ),
    (
        "failover: [{ from: us, to: us }]",
        "5:12: error[MESH0104]: `failover`: expected two regions, found `us` twice",
    ),
    (
        "failover: [{ from: us/a, to: eu }]",
        "5:20: error[MESH0104]: `from`: expected the name of a region, found `us/a`",
    ),
    (
        "failover: [{ from: us, to: 'eu*' }]",
        "5:28: error[MESH0104]: `to`: expected the name of a region, found `eu*`",
    ),
    (
        "failover: [{ from: us, to: eu }], failoverPriority: [topology.kubernetes.io/zone=a]",
        "5:54: error[MESH0301]: `failoverPriority`: `topology.kubernetes.io/zone` cannot stand beside `failover`",
    ),
    (
        "failover: [{ from: us, to: eu }, { from: us, to: as }]",
        "5:34: error[MESH0202]: region `us` is given twice",
    ),
];

#[test]
fn localities_are_checked() {
    let locality = |text: &str| format!("localityLbSetting: {{\n{text} }}");
    for (text, expected) in LOCALITIES {
        let mut lines = load_spec(
            KIND,
            &spec(&locality(text)).replace("} } }", "} }, outlierDetection: {} }"),
        )
        .lines;
        lines.retain(|line| line.contains("error["));
        assert_eq!(lines, [*expected], "{text}");
    }
}

#[test]
fn failover_needs_outlier_detection() {
    let told = "4:20: warning[MESH0505]: failover has no effect without `outlierDetection`";
    assert_told(&[
        ("localityLbSetting: { failover: [{ from: us, to: eu }] }", &[told]),
        ("localityLbSetting: { failoverPriority: [app] }", &[told]),
        (
            "localityLbSetting: { distribute: [{ from: us, to: { us: 100 } }] }",
            &[],
        ),
    ]);
}

#[test]
fn zones_are_spread_by_no_labels_of_zones() {
    assert_told(&[
        (
            "zoneAwareLbSetting: { minClusterSize: 3, failoverPriority: [app] }",
            &[],
        ),
        (
            "zoneAwareLbSetting: { failoverPriority: [topology.istio.io/subzone] }",
            &["4:42: error[MESH0301]: `failoverPriority`: `topology.istio.io/subzone` is what zones are told by"],
        ),
        (
            "zoneAwareLbSetting: {}, localityLbSetting: {}",
            &["4:25: error[MESH0105]: fields `zoneAwareLbSetting` and `localityLbSetting` exclude each other"],
        ),
    ]);
}
