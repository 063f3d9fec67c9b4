use super::*;
use crate::policy::Loaded;

fn split(version: &str, spec: &str) -> Loaded {
    let text = format!(
        "apiVersion: split.smi-spec.io/{version}\nkind: TrafficSplit\nmetadata: {{ name: s, namespace: shop }}\nspec: {{ {spec} }}\n"
    );
    Loaded::from_files([("f", text)])
}

/// The destinations with their weights.
fn shares(loaded: &Loaded) -> Vec<(String, u32)> {
    let rules = loaded.policy.iter().flat_map(|policy| &policy.routes[0].rules);
    let destinations = rules.flat_map(|rule| &rule.destinations);
    destinations.map(|one| (one.host.clone(), one.weight)).collect()
}

#[test]
fn the_printed_split_gives_nine_of_ten_to_the_stable_service() {
    let loaded = split(
        "v1alpha2",
        "service: api, backends: [{ service: api-stable, weight: 900 }, { service: api-canary, weight: 100 }]",
    );
    let stable = ("api-stable.shop.svc.cluster.local".to_owned(), 900);
    let canary = ("api-canary.shop.svc.cluster.local".to_owned(), 100);
    assert_eq!(shares(&loaded), [stable, canary]);
    let table = &loaded.policy.unwrap().routes[0];
    assert_eq!(table.hosts[0].host, "api.shop.svc.cluster.local");
    assert_eq!(table.hosts[0].origin.to_string(), "f:4:18");
    assert_eq!(table.bindings, [Binding::Mesh]);
    assert_eq!(table.rules[0].destinations[1].origin.to_string(), "f:4:72");
}

#[test]
fn every_version_is_read_and_quantities_are_shares() {
    for (version, weights, expected) in [
        ("v1alpha1", ["500m", "1"], [1, 2]),
        ("v1alpha1", ["90", "10"], [9, 1]),
        ("v1alpha1", ["0.25", "750m"], [1, 3]),
        ("v1alpha1", ["1k", "1Ki"], [125, 128]),
        ("v1alpha1", ["0", "10"], [0, 1]),
        ("v1alpha2", ["90", "10"], [90, 10]),
        ("v1alpha3", ["0", "1"], [0, 1]),
        ("v1alpha4", ["1", "1"], [1, 1]),
    ] {
        let [first, second] = weights;
        let loaded = split(
            version,
            &format!("service: a, backends: [{{ service: a, weight: {first} }}, {{ service: b, weight: {second} }}]"),
        );
        let found: Vec<u32> = shares(&loaded).into_iter().map(|(_, weight)| weight).collect();
        assert_eq!(found, expected, "{version} {weights:?}");
    }
}

#[test]
fn what_is_no_split_is_told() {
    for (version, spec, expected) in [
        (
            "v1alpha2",
            "servic: a, backends: []",
            &[
                "f:4:9: error[MESH0101]: unknown field `servic`",
                "f:4:30: error[MESH0104]: `backends`: expected at least one backend, found an empty list",
            ][..],
        ),
        (
            "v1alpha2",
            "service: a, backends: [{ service: b, weight: 0 }]",
            &["f:4:31: error[MESH0104]: `backends`: the weights of all backends are 0, one must be more"],
        ),
        (
            "v1alpha2",
            "service: a, backends: [{ service: b, weight: 500m }]",
            &["f:4:54: error[MESH0102]: `weight`: expected a whole number, found the text `500m`"],
        ),
        (
            "v1alpha2",
            "service: a, backends: [{ service: b, weight: 1 }], matches: []",
            &["f:4:60: error[MESH0101]: unknown field `matches`"],
        ),
        (
            "v1alpha4",
            "service: a, backends: [{ service: b, weight: 1 }], matches: [{ kind: HTTPRouteGroup, name: m }]",
            &["f:4:60: warning[MESH0401]: field `matches` is not yet in force: all requests to the service are split"],
        ),
        (
            "v1alpha1",
            "service: a_b, backends: [{ service: b, weight: -1 }, { weight: 1x }]",
            &[
                "f:4:18: error[MESH0104]: `service`: expected the name of a service, found `a_b`",
                "f:4:56: error[MESH0104]: `weight`: expected a quantity such as `1` or `500m`, found `-1`",
                "f:4:62: error[MESH0103]: missing field `service`",
                "f:4:72: error[MESH0104]: `weight`: expected a quantity such as `1` or `500m`, found `1x`",
            ],
        ),
        (
            "v1alpha1",
            "service: a, backends: [{ service: b, weight: 1m }, { service: c, weight: 4294967295 }]",
            &["f:4:31: error[MESH0104]: `backends`: the weights lie too far apart to be drawn"],
        ),
    ] {
        let loaded = split(version, spec);
        assert_eq!(loaded.report.lines(&loaded.sources), expected, "{spec}");
    }
    let loaded = Loaded::from_files([(
        "f",
        "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: { name: s }\n",
    )]);
    assert_eq!(
        loaded.report.lines(&loaded.sources),
        ["f:1:1: error[MESH0103]: missing field `spec`"]
    );
}

#[test]
fn quantities_are_kubernetes_ones() {
    for (text, expected) in [
        ("1", Some(1_000)),
        ("500m", Some(500)),
        ("0.5", Some(500)),
        (".5", Some(500)),
        ("1.0005", Some(1_001)),
        ("2k", Some(2_000_000)),
        ("", None),
        (".", None),
        ("m", None),
        ("1.2.3", None),
        ("1e3", None),
        ("99999999999999999999", None),
        ("9999G", None),
    ] {
        assert_eq!(thousandths(text), expected, "{text}");
    }
}
