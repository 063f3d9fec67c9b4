//! A loader that has read other files before gives what one gives that has not.

use proptest::prelude::*;

use super::*;
use crate::policy::diagnostic::Paint;

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
    "",
    "\u{feff}services: { g: { endpoints: [10.0.0.9:80] } }\n",
    "a: [\n",
];

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
