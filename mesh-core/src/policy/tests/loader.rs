//! A loader that has read other files before gives what one gives that has not.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::policy::diagnostic::Paint;
use crate::workers::Workers;

/// What a file may hold: all dialects, settings of the mesh, names that others have too, and mistakes.
const TEXTS: &[&str] = &[
    "namespace: shop\nservices: { orders: { endpoints: [10.0.0.1:80], routes: [{ match: { path: { prefix: /a } } }, {}] } }\n",
    "namespace: shop\nservices: { orders: { endpoints: [10.0.0.2:80], routes: [{}, { match: { path: { prefix: /a } } }] } }\n",
    "services: { web: { endpoints: [10.0.0.3:80], subsets: { v1: { version: v1 } } } }\n",
    "{ \"services\": { \"web\": { \"endpoints\": [\"10.0.0.3:80\"], \"port\": 80 } } }\n",
    "namespace: shop\nauthorization: [{ name: a, service: order, allow: [{ from: [td.example/ns/a/sa/b] }] }]\n",
    "namespace: shop\nauthorization: [{ name: b, service: orders, deny: [{ paths: [/a//b, \"*x*\"] }] }]\n",
    "mesh: { trust_domain: td.example, mtls: strict }\n",
    "mesh: { outbound: registry_only }\nroutes: [{ name: r, hosts: [a.example.com], rules: [{ to: orders }] }]\n",
    "mesh:\n",
    "mtls: [{ name: m, mode: permissive }]\ngateways: { g: { servers: [{ port: 80, hosts: [\"*\"] }] } }\n",
    "servicse: { a: {} }\n",
    "services: { a: { endpoints: [1, { address: 10.0.0.1 }], timeout: 10 } }\n---\nservices: { b: [\n---\nservices: { c: {} }\n",
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: a, namespace: shop }\nspec: { mtls: { mode: STRICT } }\n",
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: v, namespace: shop }\nspec: { hosts: [orders], http: [{ route: [{ destination: { host: orders, subset: v9 } }] }] }\n",
    "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n---\nservices: { d: &d { endpoints: [10.0.0.9:80] }, e: *d }\n",
    "apiVersion: v1\nkind: List\nitems: [{ services: { f: { endpoints: [10.0.0.9:80] } } }]\n",
    WEIGHTS,
    LARGE_WEIGHTS,
    CLAIMS,
    TOKENS,
    NAMES,
    "",
    "\u{feff}services: { g: { endpoints: [10.0.0.9:80] } }\n",
    BROKEN,
];

/// Routes whose weights are hardly meant.
const WEIGHTS: &str = "namespace: shop\nroutes: [{ name: w, hosts: [w.example.com], rules: [{ to: [{ service: orders, weight: 90 }, { service: web, weight: 20 }] }] }]\n";
/// Routes whose weights cannot be.
const LARGE_WEIGHTS: &str = "namespace: shop\nroutes: [{ name: l, hosts: [l.example.com], rules: [{ to: [{ service: orders, weight: 2147483647 }, { service: web, weight: 2147483647 }, { service: api, weight: 2 }] }] }]\n";
/// Routes that ask for claims of a token.
const CLAIMS: &str = "namespace: shop\nroutes: [{ name: c, hosts: [c.example.com], gateways: [g], rules: [{ match: { claims: { sub: me } }, to: orders }] }]\n";
/// Routes to a port and a subset that the service may not have, and copies to a host that is not completed; each twice.
const NAMES: &str = "namespace: shop\nroutes: [{ name: n, hosts: [n.example.com], rules: [{ name: a, match: { path: /a }, to: [{ service: web, port: 81 }] }, { name: b, match: { path: /b }, to: [{ service: web, subset: v2 }], mirrors: [{ to: { service: orders.shop } }] }, { name: c, match: { path: /c }, to: [{ service: web, port: 81 }] }, { name: d, to: [{ service: web, subset: v2 }], mirrors: [{ to: { service: orders.shop } }] }] }]\n";
/// Who checks tokens.
const TOKENS: &str = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: { name: j, namespace: shop }\nspec: { jwtRules: [{ issuer: \"https://issuer.example\" }] }\n";

const GATEWAY: &str = "namespace: shop\ngateways: { g: { servers: [{ port: 80, hosts: [\"*\"] }] } }\n";
/// The same on another port.
const CHANGED: &str = "namespace: shop\ngateways: { g: { servers: [{ port: 8080, hosts: [\"*\"] }] } }\n";
const BROKEN: &str = "a: [\n";

/// A change of a directory: a file of this number gets this text, or goes.
fn edits() -> impl Strategy<Value = Vec<(usize, Option<usize>)>> {
    let text = proptest::option::weighted(0.9, 0..TEXTS.len());
    proptest::collection::vec((0..6_usize, text), 1..4)
}

fn assert_same(known: &Loaded, fresh: &Loaded) {
    assert_eq!(
        known.report.render(&known.sources, Paint::Plain),
        fresh.report.render(&fresh.sources, Paint::Plain)
    );
    assert_eq!(known.report.summary(), fresh.report.summary());
    assert_eq!(known.policy, fresh.policy);
}

/// The thread that asks and two others, and how often they were asked.
#[derive(Default)]
struct Three(AtomicUsize);

impl Workers for Three {
    fn run(&self, work: &(dyn Fn() + Sync)) {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(work);
            scope.spawn(work);
            work();
        });
    }
}

/// Nobody, who does not even do the work of the thread that asks.
struct Nobody;

impl Workers for Nobody {
    fn run(&self, _: &(dyn Fn() + Sync)) {}
}

/// Files with these texts, which are together long enough for help.
fn long(choice: &[usize]) -> Vec<(String, String)> {
    let comment = ["# ", &"x".repeat(70_000), "\n"].concat();
    let mut files: Vec<_> = (0..)
        .zip(choice)
        .map(|(number, text)| (format!("{number}.yaml"), TEXTS[*text].to_owned()))
        .collect();
    files[0].1.push_str(&comment);
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn who_helps_changes_nothing(choice in proptest::collection::vec(0..TEXTS.len(), 2..12)) {
        let files = long(&choice);
        let read = || files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let alone = Loaded::from_files(read());
        assert_same(&Loader::default().load_with(read(), &Three::default()), &alone);
        assert_same(&Loader::default().load_with(read(), &Nobody), &alone);
    }
}

#[test]
fn help_is_asked_for_where_it_is_worth_it() {
    let asked = |loader: &mut Loader, files: &[(String, String)]| {
        let workers = Three::default();
        let files = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        assert!(loader.load_with(files, &workers).policy.is_some());
        workers.0.into_inner()
    };
    let mut loader = Loader::default();
    let many = long(&[0, 2, 9]);
    assert!(asked(&mut loader, &many) >= 2, "parsed and lowered");
    assert_eq!(asked(&mut loader, &many), 0, "nothing has changed");
    let few: Vec<_> = [0, 2, 9].map(|text| (text.to_string(), TEXTS[text].to_owned())).into();
    assert_eq!(asked(&mut Loader::default(), &few), 0, "little to read");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_was_read_before_changes_nothing(steps in proptest::collection::vec(edits(), 1..8)) {
        let mut files = std::collections::BTreeMap::new();
        let mut loader = Loader::default();
        for step in steps {
            for (number, text) in step {
                let name = format!("{number}.yaml");
                match text {
                    Some(text) => files.insert(name, TEXTS[text]),
                    None => files.remove(&name),
                };
            }
            let read = || files.iter().map(|(name, text)| (name.as_str(), *text));
            assert_same(&loader.load(read()), &Loaded::from_files(read()));
        }
    }
}

#[test]
fn what_was_found_in_a_file_is_told_as_long_as_it_stands() {
    for (text, told, is_always) in [
        (WEIGHTS, "add up to 110, and not to 100", false),
        (LARGE_WEIGHTS, "add up to 4294967296, the limit", true),
        (CLAIMS, "no `RequestAuthentication` checks any", false),
        (
            &CLAIMS.replace("gateways: [g], ", ""),
            "no gateway takes its requests",
            false,
        ),
    ] {
        let mut loader = Loader::default();
        for other in [GATEWAY, CHANGED, BROKEN, CHANGED, GATEWAY] {
            let files = [("other", other), ("text", text)];
            let known = loader.load(files);
            assert_same(&known, &Loaded::from_files(files));
            let lines = known.report.lines(&known.sources).join("\n");
            // What a policy means is not looked at while it has errors.
            let is_told = is_always || other != BROKEN;
            assert_eq!(lines.contains(told), is_told, "{told}: {lines}");
        }
    }
}

#[test]
fn what_hangs_on_other_files_is_looked_at_again() {
    let other = "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n";
    let mut loader = Loader::default();
    for (third, is_told) in [(other, true), (TOKENS, false), (other, true), (other, true)] {
        let files = [("claims", CLAIMS), ("gateway", GATEWAY), ("tokens", third)];
        let known = loader.load(files);
        assert!(known.policy.is_some(), "{:?}", known.report.lines(&known.sources));
        assert_same(&known, &Loaded::from_files(files));
        let lines = known.report.lines(&known.sources).join("\n");
        assert_eq!(
            lines.contains("no `RequestAuthentication` checks any"),
            is_told,
            "{lines}"
        );
    }
}

#[test]
fn names_are_looked_for_again_where_the_rules_with_them_stay() {
    let with = |rest: &str| format!("namespace: shop\nservices: {{ orders: {{}}, web: {{ {rest} }} }}\n");
    let subsets = "subsets: { v1: { version: v1 } }";
    let mut loader = Loader::default();
    for (rest, missing) in [
        ("port: 81", [0, 1, 2]),
        ("port: 80", [2, 1, 2]),
        (subsets, [0, 2, 0]),
        ("port: 81", [0, 1, 2]),
    ] {
        let services = with(rest);
        let files = [("names", NAMES), ("services", services.as_str())];
        let known = loader.load(files);
        assert_same(&known, &Loaded::from_files(files));
        let lines = known.report.lines(&known.sources);
        let count = |told: &str| lines.iter().filter(|line| line.contains(told)).count();
        let found = [count("has no port 81"), count("v2"), count("is not completed")];
        assert_eq!(found, missing, "{rest}: {lines:#?}");
    }
}

#[test]
fn the_rules_of_an_unchanged_file_stay_the_same_list() {
    let mut loader = Loader::default();
    let first = loader.load([("a", TEXTS[0]), ("b", TEXTS[2])]).policy.unwrap();
    let second = loader.load([("a", TEXTS[0]), ("b", TEXTS[3])]).policy.unwrap();
    assert!(first.routes[0].rules.is(&second.routes[0].rules));
    assert_ne!(first.services[1], second.services[1]);
}

#[test]
fn other_settings_of_the_mesh_hold_for_files_that_have_not_changed() {
    let mut loader = Loader::default();
    let services = ("a", "services: { web: { endpoints: [10.0.0.3:80] } }");
    let hosts = |loaded: Loaded| loaded.policy.unwrap().services[0].hosts.clone();
    let first = loader.load([services, ("b", "mesh: { trust_domain: a }")]);
    assert_eq!(hosts(first), ["web.default.svc.cluster.local"]);
    let second = loader.load([services, ("b", "mesh: { cluster_domain: example.org }")]);
    assert_eq!(hosts(second), ["web.default.svc.example.org"]);
}
