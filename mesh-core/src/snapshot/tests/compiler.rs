//! A compiler that has compiled other policies before makes the same snapshots as one that has not.

use proptest::prelude::*;

use super::*;
use crate::policy::Loader;
use crate::snapshot::Compiler;
use crate::workers::Workers;

/// What each file may hold: services, what they are called with, and who may call.
const TEXTS: [&[&str]; 4] = [
    &[
        "namespace: shop\nservices: { orders: { endpoints: [10.0.0.1:80], routes: [{ timeout: 1s }] } }\n",
        "namespace: shop\nservices: { orders: { endpoints: [10.0.0.1:80], routes: [{ timeout: 2s }] } }\n",
        "namespace: shop\nservices: { orders: { endpoints: [10.0.0.1:80, 10.0.0.2:80] }, check: { port: 9000 } }\n",
        "namespace: shop\nservices: { orders: { endpoints: [{ address: \"10.0.0.1:80\", labels: { version: v1 } }, { address: \"10.0.0.2:80\", labels: { version: v2 }, weight: 2 }, { address: \"10.0.0.3:80\", labels: { version: v2 } }], subsets: { v1: { version: v1 }, v2: { version: v2 } }, routes: [{ match: { path: { prefix: /b } }, to: { v2: 1, v1: 2 } }, { to: v1 }] } }\n",
        "namespace: shop\nservices: { api: { endpoints: [10.0.0.8:80], routes: [{}] }, orders: { endpoints: [10.0.0.1:80, 10.0.0.2:80], routes: [{ timeout: 1s }] } }\n",
    ],
    &[
        "mesh: { mtls: strict }\n",
        "mesh: { path_normalization: merge_slashes }\n",
        "namespace: shop\ndestinations: { \"orders\": { balance: random } }\n",
        "namespace: shop\nmtls: [{ name: m, mode: permissive, service: orders, ports: { 81: disable } }]\n",
        "apiVersion: v1\nkind: Service\nmetadata: { name: gw, namespace: shop }\nspec: { ports: [{ name: http, port: 80 }] }\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: h, namespace: shop }\nspec: { parentRefs: [{ kind: Service, group: \"\", name: gw, port: 80 }], rules: [{ backendRefs: [{ name: gw, port: 80 }] }] }\n",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: v, namespace: shop }\nspec: { hosts: [\"*.example.com\"], http: [{ match: [{ port: 81 }], route: [{ destination: { host: orders } }] }] }\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: t, namespace: shop, annotations: { istio.io/dry-run: \"true\" } }\nspec: { rules: [{ to: [{ operation: { paths: [/t] } }] }] }\n",
    ],
    &[
        "namespace: shop\nauthorization: [{ name: a, allow: [{ methods: [GET] }] }]\n",
        "namespace: shop\nauthorization: [{ name: a, allow: [{ methods: [PUT] }] }]\n",
        "namespace: shop\nauthorization: [{ name: a, provider: one, custom: [{ methods: [PUT] }] }]\nauthorizers: [{ name: one, protocol: { grpc: true }, service: check.shop.svc.cluster.local, port: 9000 }]\n",
    ],
    &[
        "namespace: shop\nauthorization: [{ name: b, deny: [{ paths: [/a, \"/b/*\"] }, { from: [cluster.local/ns/shop/sa/c] }] }]\n",
        "namespace: shop\n# Other lines.\nauthorization: [{ name: b, deny: [{ paths: [/a, \"/b/*\"] }, { from: [cluster.local/ns/shop/sa/c] }] }]\n",
        "namespace: shop\nauthorization:\n- { name: c, allow: [{ paths: [/1] }, { paths: [/2, /1] }, { paths: [/3] }, { paths: [/4] }, { paths: [/5] }, { paths: [/6] }, { paths: [/7] }, { methods: [GET] }, { paths: [\"/9/*\"] }, { paths: [\"/9/*\"] }] }\n- { name: d, service: orders, allow: [{ from: [cluster.local/ns/shop/sa/c, \"cluster.local/ns/shop/*\"] }] }\n",
        "namespace: shop\nservices: { aaa: { endpoints: [10.0.0.6:80] } }\nroutes: [{ name: q, hosts: [b.example.com, c.example.com], rules: [{ to: [{ service: aaa, weight: 1 }, { service: orders, weight: 3 }], mirrors: [{ to: { service: web } }] }] }]\n",
        "namespace: shop\nservices: { web: { endpoints: [10.0.0.3:80], routes: [{ match: { path: { prefix: /a } } }, {}] } }\nroutes: [{ name: r, hosts: [web.example.com], rules: [{ to: orders }] }]\n",
    ],
];

fn choices() -> impl Strategy<Value = Vec<[usize; 4]>> {
    let one = TEXTS.map(|texts| 0..texts.len());
    proptest::collection::vec(one, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_compiled_before_changes_nothing(steps in choices()) {
        let workload = Workload::new("shop", "orders").label("app", "orders");
        let (mut loader, mut compiler) = (Loader::default(), Compiler::default());
        for (step, generation) in steps.into_iter().zip(1..) {
            let files = ["a", "b", "c", "d"].into_iter().zip(step.into_iter().zip(TEXTS).map(|(choice, texts)| texts[choice]));
            let loaded = loader.load(files);
            let policy = loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.report.lines(&loaded.sources)));
            let fresh = Snapshot::compile(&policy, &workload, generation).unwrap();
            let known = compiler.compile(policy, &workload, generation).unwrap();
            assert_eq!(format!("{known:?}"), format!("{fresh:?}"));
        }
    }
}

/// The thread that asks and another one.
struct Two;

impl Workers for Two {
    fn run(&self, work: &(dyn Fn() + Sync)) {
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
    }
}

#[test]
fn both_halves_at_once_are_the_same_as_one_after_the_other() {
    let workload = Workload::new("shop", "orders").label("app", "orders");
    for choice in 0..7 {
        let texts = TEXTS.map(|texts| texts[choice % texts.len()]);
        let policy = Loader::default()
            .load(["a", "b", "c", "d"].into_iter().zip(texts))
            .policy
            .unwrap();
        let alone = format!("{:?}", Snapshot::compile(&policy, &workload, 1).unwrap());
        let both = Snapshot::compile_with(&policy, &workload, 1, &Two).unwrap();
        assert_eq!(format!("{both:?}"), alone);
        let mut compiler = Compiler::default();
        let first = compiler.compile_with(policy.clone(), &workload, 1, &Two).unwrap();
        assert_eq!(format!("{first:?}"), alone);
        // What was compiled is known.
        let again = compiler.compile_with(policy, &workload, 1, &Two).unwrap();
        assert!(Arc::ptr_eq(&again.outbound, &first.outbound));
    }
}

/// Matches on the caller are compiled with the rules, also where what comes after them fails.
#[test]
fn no_rules_of_another_workload_are_left_by_a_policy_that_cannot_be_compiled() {
    const TOKENS: &str = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: { name: t, namespace: shop }\nspec: { jwtRules: [{ issuer: a, jwksUri: \"https://a.example/keys\", outputPayloadToHeader: x-payload }] }\n";
    let routes = "namespace: shop\nservices: { orders: { endpoints: [10.0.0.1:80], routes: [{ match: { source: { labels: { app: web } } }, timeout: 1s }, { timeout: 2s }] } }\n";
    let (web, other) = (
        Workload::new("shop", "web").label("app", "web"),
        Workload::new("shop", "other"),
    );
    let (mut loader, mut compiler) = (Loader::default(), Compiler::default());
    let mut load = |beside: &str| {
        let loaded = loader.load([("a", routes), ("b", beside)]);
        loaded
            .policy
            .unwrap_or_else(|| panic!("{:?}", loaded.report.lines(&loaded.sources)))
    };
    compiler
        .compile(load("namespace: shop\nservices: { web: { port: 80 } }\n"), &web, 1)
        .unwrap();
    let mut broken = load(TOKENS);
    broken.request_authentications[0].rules[0].payload_header = Some("no header".into());
    assert!(compiler.compile(broken, &other, 2).is_err());

    let policy = load("namespace: shop\nservices: { zone: { port: 9000 } }\n");
    let fresh = Snapshot::compile(&policy, &web, 3).unwrap();
    let known = compiler.compile(policy, &web, 3).unwrap();
    assert_eq!(format!("{known:?}"), format!("{fresh:?}"));
}

#[test]
fn the_rules_of_hosts_whose_tables_did_not_change_are_shared() {
    let workload = Workload::new("shop", "orders").label("app", "orders");
    let (mut loader, mut compiler) = (Loader::default(), Compiler::default());
    let mut compile = |text: &str, workload: &Workload| {
        let web = "namespace: shop\nservices: { web: { endpoints: [10.0.0.3:80], routes: [{ timeout: 3s }] } }\n";
        let loaded = loader.load([("a", web), ("b", text)]);
        compiler.compile(loaded.policy.unwrap(), workload, 1).unwrap()
    };
    let (first, other_route) = (compile(TEXTS[0][0], &workload), compile(TEXTS[0][1], &workload));
    let other_targets = compile(TEXTS[0][4], &workload);
    let for_other = compile(TEXTS[0][0], &Workload::new("shop", "web"));
    let rules = |snapshot: &Snapshot, host| Arc::clone(&snapshot.outbound.virtual_host(host).unwrap().rules);
    assert!(Arc::ptr_eq(&rules(&first, "web"), &rules(&other_route, "web")));
    assert!(!Arc::ptr_eq(&rules(&first, "orders"), &rules(&other_route, "orders")));
    assert!(Arc::ptr_eq(&first.targets, &other_route.targets));
    // One more target before it gives that of the same rules another place.
    assert!(!Arc::ptr_eq(&rules(&other_route, "web"), &rules(&other_targets, "web")));
    assert!(!Arc::ptr_eq(&rules(&first, "web"), &rules(&for_other, "web")));
}

#[test]
fn a_changed_rule_leaves_the_targets_and_a_changed_route_the_rules() {
    let workload = Workload::new("shop", "orders").label("app", "orders");
    let mut compiler = Compiler::default();
    let mut compile = |service: usize, rule: usize| {
        let loaded = Loaded::from_files([("a", TEXTS[0][service]), ("c", TEXTS[2][rule])]);
        compiler.compile(loaded.policy.unwrap(), &workload, 1).unwrap()
    };
    let (first, other_rule, other_route) = (compile(0, 0), compile(0, 1), compile(1, 1));
    let peer = Peer::new(None, "10.0.0.7".parse().unwrap(), 8080);
    assert!(Arc::ptr_eq(&first.targets, &other_rule.targets));
    assert!(
        !first
            .inbound
            .authorizer
            .for_peer(&peer)
            .are_of(&other_rule.inbound.authorizer)
    );
    assert!(
        other_rule
            .inbound
            .authorizer
            .for_peer(&peer)
            .are_of(&other_route.inbound.authorizer)
    );
    assert!(!Arc::ptr_eq(&other_rule.outbound, &other_route.outbound));
}
