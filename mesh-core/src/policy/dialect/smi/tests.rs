use crate::policy::Loaded;
use crate::policy::dialect::quantity::thousandths;
use crate::policy::model::authz::{Action, Pattern};
use crate::policy::model::route::{Binding, RouteRule};

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
            &["f:4:100: warning[MESH0506]: no file defines the HTTPRouteGroup `m`: it stands for no request"],
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

fn load(documents: &[&str]) -> Loaded {
    Loaded::from_files([("f", documents.join("\n---\n"))])
}

const GROUP: &str = "apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: { name: api, namespace: shop }
spec:
  matches:
  - { name: read, pathRegex: /api, methods: [GET, HEAD] }
  - { name: beta, methods: ['*'], headers: { x-user: '.*@beta', cookie: a } }
  - { name: all, pathRegex: '.*' }";

/// Path, method and headers of each match of each rule, with the rule's destinations.
fn rules(loaded: &Loaded) -> Vec<String> {
    let table = &loaded.policy.as_ref().unwrap().routes[0];
    let rule = |rule: &RouteRule| {
        let matches: Vec<String> = rule
            .matches
            .iter()
            .map(|one| format!("{:?} {:?} {:?} {:?}", one.path, one.method, one.headers, one.port))
            .collect();
        let to: Vec<String> = rule
            .destinations
            .iter()
            .map(|one| format!("{}={}", one.host.split('.').next().unwrap(), one.weight))
            .collect();
        format!("{} -> {}", matches.join(" or "), to.join(" "))
    };
    table.rules.iter().map(rule).collect()
}

#[test]
fn a_split_of_some_requests_leaves_the_others_with_the_root() {
    let split = "apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: { name: s, namespace: shop }
spec:
  service: web
  matches: [{ kind: HTTPRouteGroup, name: api, apiGroup: specs.smi-spec.io, matches: [read, beta] }]
  backends: [{ service: v1, weight: 1 }]";
    let loaded = load(&[split, GROUP]);
    assert_eq!(loaded.report.lines(&loaded.sources), Vec::<String>::new());
    assert_eq!(
        rules(&loaded),
        [
            "Some(Regex(\"(?:/api)(?s:.*)\")) Some(Regex(\"GET|HEAD\")) [] None or None None [(\"x-user\", Regex(\".*@beta\")), (\"cookie\", Regex(\"a\"))] None -> v1=1",
            " -> web=1"
        ]
    );
    assert_eq!(loaded.policy.unwrap().request_groups, [], "they are done with");
    let loaded = load(&[&split.replace("read, beta", "reed")]);
    assert_eq!(rules(&loaded), [" -> web=1"], "what is not known is not split");
}

#[test]
fn a_backend_without_a_port_of_the_root_gets_none_of_its_requests() {
    let loaded = load(&[
        "apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: { name: s }
spec: { service: web, backends: [{ service: v1, weight: 1 }, { service: v2, weight: 3 }, { service: unknown, weight: 0 }] }",
        "apiVersion: v1
kind: List
items:
- { apiVersion: v1, kind: Service, metadata: { name: web }, spec: { ports: [{ name: a, port: 80 }, { name: b, port: 81 }, { name: c, port: 82 }] } }
- { apiVersion: v1, kind: Service, metadata: { name: v1 }, spec: { ports: [{ name: a, port: 80 }, { name: b, port: 81 }] } }
- { apiVersion: v1, kind: Service, metadata: { name: v2 }, spec: { ports: [{ name: a, port: 80 }] } }",
    ]);
    assert_eq!(
        loaded.report.lines(&loaded.sources),
        [
            "f:4:34: warning[MESH0505]: `v1.default.svc.cluster.local` has no port 82: it gets no request to it",
            "f:4:62: warning[MESH0505]: `v2.default.svc.cluster.local` has no port 81: it gets no request to it",
            "f:4:62: warning[MESH0505]: `v2.default.svc.cluster.local` has no port 82: it gets no request to it",
            "f:4:90: warning[MESH0506]: no file defines the service `unknown.default.svc.cluster.local`, as others of its namespace",
        ]
    );
    assert_eq!(
        rules(&loaded),
        [
            "None None [] Some(80) -> v1=1 v2=3 unknown=0",
            "None None [] Some(81) -> v1=1 unknown=0",
            " -> web=1"
        ]
    );
}

#[test]
fn a_target_allows_its_sources_what_its_rules_name_and_nothing_else() {
    let fields = "destination: { kind: ServiceAccount, name: web, namespace: shop, port: 8080 }
  rules: [{ kind: HTTPRouteGroup, name: api, matches: [read] }]
  sources: [{ kind: ServiceAccount, name: front, namespace: edge }, { kind: ServiceAccount, name: own }]";
    let target = |version: &str, spec: &str| {
        format!(
            "apiVersion: access.smi-spec.io/{version}\nkind: TrafficTarget\nmetadata: {{ name: t, namespace: shop }}\n{spec}"
        )
    };
    let flat = fields.replace("\n  ", "\n").replace("rules", "specs");
    let documents = [
        target("v1alpha3", &format!("spec:\n  {fields}")),
        target("v1alpha1", &flat),
    ];
    for document in documents {
        let loaded = load(&[&document, GROUP]);
        assert_eq!(loaded.report.lines(&loaded.sources), Vec::<String>::new(), "{document}");
        let policy = &loaded.policy.unwrap().authorizations[0];
        assert_eq!((&*policy.service_accounts[0], &policy.ports[..]), ("web", &[8080][..]));
        let rule = &policy.rules[0];
        let sources: Vec<_> = rule.from.iter().map(|one| &one.service_accounts.any_of[0]).collect();
        assert_eq!(
            sources,
            [&Pattern::Exact("edge/front".into()), &Pattern::Exact("shop/own".into())]
        );
        assert_eq!(rule.to.len(), 1);
        assert_eq!(rule.to[0].paths.any_of, [Pattern::Regex("(?:/api)(?s:.*)".into())]);
        assert_eq!(rule.to[0].methods.any_of.len(), 2);
    }
}

#[test]
fn a_target_without_a_known_request_or_source_allows_nothing() {
    for (rules, sources, told) in [
        ("[]", "[{ kind: ServiceAccount, name: a }]", &[][..]),
        ("[{ kind: HTTPRouteGroup, name: api }]", "[]", &[]),
        (
            "[{ kind: HTTPRouteGroup, name: apo }]",
            "[{ kind: ServiceAccount, name: a }]",
            &["f:6:41: warning[MESH0506]: no file defines the HTTPRouteGroup `apo`: it stands for no request"],
        ),
        (
            "[{ kind: HTTPRouteGroup, name: api, matches: [reed] }]",
            "[{ kind: ServiceAccount, name: a }]",
            &["f:6:56: warning[MESH0506]: no file defines the match `reed`: it stands for no request"],
        ),
        (
            "[{ kind: TCPRoute, name: ports }]",
            "[{ kind: IdentityBinding, name: a }]",
            &["f:7:21: warning[MESH0401]: `IdentityBinding` is not yet in force: identities are service accounts"],
        ),
    ] {
        let target = format!(
            "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata: {{ name: t, namespace: shop }}\nspec:\n  destination: {{ kind: ServiceAccount, name: web }}\n  rules: {rules}\n  sources: {sources}"
        );
        let loaded = load(&[&target, GROUP]);
        assert_eq!(loaded.report.lines(&loaded.sources), told, "{rules} {sources}");
        let policy = &loaded.policy.unwrap().authorizations[0];
        assert_eq!(
            (policy.action, policy.rules.len()),
            (Action::Allow, 0),
            "{rules} {sources}"
        );
    }
}

#[test]
fn what_is_wrong_in_targets_and_groups_is_told() {
    for (kind, spec, expected) in [
        (
            "access.smi-spec.io/v1alpha3, kind: TrafficTarget",
            "destination: { kind: Service, name: A, port: 0 }, source: []",
            &[
                "f:1:111: error[MESH0103]: missing field `rules` or `specs`",
                "f:1:134: error[MESH0104]: `kind`: unknown value `Service`, expected `ServiceAccount` or `IdentityBinding`",
                "f:1:149: error[MESH0104]: `name`: expected the name of a service account, found `A`",
                "f:1:158: error[MESH0104]: `port`: expected a whole number of 1 to 65535, found `0`",
                "f:1:163: error[MESH0101]: unknown field `source`",
            ][..],
        ),
        (
            "specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup",
            "matches: [{ name: a, pathRegex: '(', methods: [get], headers: { 'a b': c } }, { path: / }]",
            &[
                "f:1:145: error[MESH0104]: `pathRegex`: regex `(` does not compile: unclosed group",
                "f:1:160: error[MESH0104]: `methods`: expected a method such as `GET`, or `*`, found `get`",
                "f:1:177: error[MESH0104]: key `a b`: expected the name of a header",
                "f:1:193: error[MESH0101]: unknown field `path`",
            ],
        ),
        (
            "specs.smi-spec.io/v1alpha4, kind: TCPRoute",
            "matches: { ports: [80] }",
            &[
                "f:1:49: warning[MESH0401]: kind `TCPRoute` is not yet in force: rules are for requests, and it allows none",
            ],
        ),
        (
            "specs.smi-spec.io/v1alpha4, kind: UDPRoute",
            "matches: { ports: [53] }",
            &["f:1:49: warning[MESH0505]: kind `UDPRoute` has no effect: a mesh of HTTP carries no UDP"],
        ),
    ] {
        let document =
            format!("{{ apiVersion: {kind}, metadata: {{ name: x, namespace: shop }}, spec: {{ {spec} }} }}");
        let loaded = load(&[&document]);
        assert_eq!(loaded.report.lines(&loaded.sources), expected, "{kind}");
    }
}
