//! Routes of services, and tables of their own.

use std::time::Duration;

use http::HeaderName;

use super::*;
use crate::policy::model::Labels;
use crate::policy::model::route::{Binding, PathCase, RouteMatch, RouteRule, StringMatch};

fn rules(rules: &str) -> Vec<RouteRule> {
    clean(&format!(
        "namespace: shop\nservices: {{ orders: {{ endpoints: [{{ address: '10.0.0.1:80', labels: {{ v: '1' }} }}, {{ address: '10.0.0.2:80', labels: {{ v: '2' }} }}], subsets: {{ v1: {{ v: '1' }}, v2: {{ v: '2' }} }}, routes: [{rules}] }}, new: {{}} }}\ndestinations: {{ a.example.com: {{ subsets: {{ x: {{}} }} }} }}"
    ))
    .routes
    .remove(0)
    .rules
    .to_vec()
}

fn one(condition: &str) -> RouteMatch {
    rules(&format!("{{ match: {condition}, to: v1 }}"))
        .remove(0)
        .matches
        .remove(0)
}

/// Service, subset, port and weight of each destination.
fn to(text: &str) -> Vec<(String, Option<String>, Option<u16>, u32)> {
    let rule = rules(&format!("{{ {text} }}")).remove(0);
    let destinations = rule.destinations.into_iter();
    destinations
        .map(|one| (one.host, one.subset, one.port, one.weight))
        .collect()
}

const ORDERS: &str = "orders.shop.svc.cluster.local";

#[test]
fn a_route_goes_to_subsets_shares_or_services() {
    let subset = |name: &str, weight| (ORDERS.to_owned(), Some(name.to_owned()), None, weight);
    assert_eq!(to("to: v2"), [subset("v2", 1)]);
    assert_eq!(to("to: { v1: 90, v2: 10 }"), [subset("v1", 90), subset("v2", 10)]);
    assert_eq!(to("to: { v1: 0, v2: 1 }"), [subset("v1", 0), subset("v2", 1)]);
    assert_eq!(to("timeout: 1s"), [(ORDERS.into(), None, None, 1)]);
    assert_eq!(to("to: [{ port: 81 }]"), [(ORDERS.into(), None, Some(81), 1)]);
    assert_eq!(
        to(
            "to: [{ service: new, weight: 1 }, { subset: v1, weight: 3 }, { service: a.example.com, subset: x, weight: 0 }]"
        ),
        [
            ("new.shop.svc.cluster.local".into(), None, None, 1),
            subset("v1", 3),
            ("a.example.com".into(), Some("x".into()), None, 0),
        ]
    );
}

#[test]
fn conditions_compare_texts_in_every_form() {
    let exact = |text: &str| StringMatch::Exact(text.into());
    for (text, expected) in [
        ("canary", exact("canary")),
        ("'true'", exact("true")),
        ("{ exact: a }", exact("a")),
        ("{ prefix: a }", StringMatch::Prefix("a".into())),
        ("{ regex: 'a+' }", StringMatch::Regex("a+".into())),
        ("{ present: true }", StringMatch::Present),
    ] {
        let found = one(&format!("{{ headers: {{ X-A: {text} }}, query: {{ q: {text} }} }}"));
        assert_eq!(
            found.headers,
            [(HeaderName::from_static("x-a"), expected.clone())],
            "{text}"
        );
        assert_eq!(found.query, [("q".to_owned(), expected)], "{text}");
    }
}

#[test]
fn every_condition_can_be_set() {
    let found = one(
        "{ name: m, path: { segment_prefix: /a }, ignore_case: true, method: GET, scheme: https, authority: { prefix: a }, without_headers: { b: { present: true } }, port: 80, source: { labels: { app: x }, namespace: n }, gateways: [mesh] }",
    );
    assert_eq!((found.name.as_deref(), found.path_case), (Some("m"), PathCase::Folded));
    assert_eq!(found.path, Some(StringMatch::SegmentPrefix("/a".into())));
    assert_eq!(found.method, Some(StringMatch::Exact("GET".into())));
    assert_eq!(found.scheme, Some(StringMatch::Exact("https".into())));
    assert_eq!(found.authority, Some(StringMatch::Prefix("a".into())));
    assert_eq!(
        found.without_headers,
        [(HeaderName::from_static("b"), StringMatch::Present)]
    );
    assert_eq!((found.port, found.source_namespace.as_deref()), (Some(80), Some("n")));
    assert_eq!(found.source_labels, Labels::from([("app".into(), "x".into())]));
    assert_eq!(found.bindings, [Binding::Mesh]);
    assert_eq!(one("{ path: /a }").path, Some(StringMatch::Exact("/a".into())));
    assert_eq!(one("{ methods: [GET] }").method, Some(StringMatch::Exact("GET".into())));
    assert_eq!(
        one("{ methods: [GET, PUT] }").method,
        Some(StringMatch::Regex("GET|PUT".into()))
    );
}

#[test]
fn a_list_of_matches_takes_any_of_them() {
    let found = rules("{ match: [{ path: /a }, { path: /b }], to: v1 }, { to: v2 }");
    assert_eq!((found[0].matches.len(), found[1].matches.len()), (2, 0));
    assert_eq!(found[0].matches[1].origin.to_string(), "f:2:210");
}

#[test]
fn rules_that_are_wrong_are_told() {
    assert_lines(
        "services: { a: { subsets: { v1: {} }, routes: [{ @ }] } }",
        &[
            ("too: v1", &["50: error[MESH0101]: unknown field `too`"]),
            (
                "to: v2",
                &["54: error[MESH0201]: `a.default.svc.cluster.local` has no subset `v2`"],
            ),
            (
                "to: { v1: 0, v3: 0 }",
                &["54: error[MESH0104]: `to`: the weights of all destinations are 0, one must be more"],
            ),
            (
                "to: { v1: { weight: 1 } }",
                &["60: error[MESH0102]: `to`: expected the weight of `v1`, found a mapping"],
            ),
            (
                "to: [{ service: b }, { subset: v1, weight: 1 }]",
                &["55: error[MESH0103]: missing field `weight`"],
            ),
            (
                "to: []",
                &["54: error[MESH0104]: `to`: expected at least one destination, found none"],
            ),
            (
                "to: { a_b: 1 }",
                &["56: error[MESH0104]: `to`: expected the name of a subset, found `a_b`"],
            ),
            (
                "to: 5",
                &["54: error[MESH0102]: `to`: expected text, found the number `5`"],
            ),
            (
                "timeout: 10, retry: 3",
                &[
                    "59: error[MESH0104]: `timeout`: duration `10` has no unit, expected one of `ns`, `us`, `ms`, `s`, `m`, `h`",
                    "70: error[MESH0102]: `retry`: expected a mapping, found the number `3`",
                ],
            ),
            (
                "match: []",
                &["57: error[MESH0104]: `match`: expected at least one match, found an empty list"],
            ),
        ],
    );
}

#[test]
fn a_name_without_subsets_may_be_meant_as_a_service() {
    let text = "services: { a: { routes: [{ to: b }] } }";
    assert_lines(
        text,
        &[("", &["33: error[MESH0201]: `b` is no subset of `a`, which has none"])],
    );
    assert_eq!(help(text), "add it to `subsets`, or write `to: [{ service: b }]`");
}

/// Conditions, beside what is said about each.
const WRONG_CONDITIONS: &[(&str, &[&str])] = &[
    ("header: { a: b }", &["38: error[MESH0101]: unknown field `header`"]),
    (
        "headers: { ':path': /, 'a b': c, d: 5, e: { prefix: '' }, f: {}, g: { present: false }, h: { exact: a, regex: b } }",
        &[
            "49: error[MESH0104]: key `:path`: write the condition as the field `path` of the match",
            "61: error[MESH0104]: key `a b`: expected the name of a header",
            "74: error[MESH0102]: `d`: expected text, found the number `5`",
            "90: error[MESH0104]: `prefix`: an empty prefix matches everything, leave the condition out",
            "99: error[MESH0103]: missing field `exact`, `prefix`, `segment_prefix`, `regex` or `present`",
            "117: error[MESH0104]: `present`: expected `true`; what must be absent is listed in `without_headers`",
            "141: error[MESH0105]: fields `exact` and `regex` exclude each other",
        ],
    ),
    (
        "path: '/a*'",
        &["44: error[MESH0104]: `path`: `*` has no meaning in a path: write `{ prefix: /a }`, or `{ exact: \"/a*\" }`"],
    ),
    (
        "path: a",
        &["44: error[MESH0104]: `path`: expected a path that begins with `/`, found `a`"],
    ),
    (
        "path: { prefix: a }",
        &["44: error[MESH0104]: `path`: expected a path that begins with `/`, found `a`"],
    ),
    (
        "path: { regex: '(' }",
        &["53: error[MESH0104]: `regex`: regex `(` does not compile: unclosed group"],
    ),
    (
        "path: { present: true }",
        &[
            "44: error[MESH0103]: missing field `exact`, `prefix`, `segment_prefix` or `regex`",
            "46: error[MESH0101]: unknown field `present`",
        ],
    ),
    (
        "ignore_case: true",
        &["38: error[MESH0301]: `ignore_case` is for a `path` that is compared as text"],
    ),
    (
        "method: get",
        &["46: error[MESH0104]: `method`: expected a method in upper case such as `GET`, found `get`"],
    ),
    (
        "methods: []",
        &["47: error[MESH0104]: `methods`: expected at least one method, found an empty list"],
    ),
    (
        "method: GET, methods: [GET]",
        &["51: error[MESH0105]: fields `method` and `methods` exclude each other"],
    ),
    (
        "scheme: ftp",
        &["46: error[MESH0104]: `scheme`: unknown value `ftp`, expected `http` or `https`"],
    ),
    ("source: { label: {} }", &["48: error[MESH0101]: unknown field `label`"]),
    (
        "gateways: ['a b']",
        &["49: error[MESH0104]: `gateways`: expected `mesh`, the name of a gateway or `namespace/name`, found `a b`"],
    ),
];

#[test]
fn conditions_that_are_wrong_are_told() {
    assert_lines("services: { a: { routes: [{ match: { @ } }] } }", WRONG_CONDITIONS);
}

#[test]
fn tables_route_hosts_of_gateways_to_services() {
    let policy = clean(
        "namespace: shop\ngateways: { front: { servers: [{ port: 80, hosts: ['*'] }] } }\nroutes:\n- name: front\n  hosts: [shop.example.com, '*.shop.example.com']\n  gateways: [front, mesh]\n  rules:\n  - { match: { path: { prefix: /o } }, to: orders, timeout: 2s }\n  - to: { web: 9, web-new: 1 }\n",
    );
    let table = &policy.routes[0];
    let hosts: Vec<&str> = table.hosts.iter().map(|host| host.host.as_str()).collect();
    assert_eq!(hosts, ["shop.example.com", "*.shop.example.com"]);
    let Binding::Gateway {
        namespace,
        name,
        origin,
        ..
    } = &table.bindings[0]
    else {
        panic!("a gateway");
    };
    assert_eq!((namespace.as_str(), name.as_str(), origin.line), ("shop", "front", 6));
    assert_eq!(table.bindings[1], Binding::Mesh);
    assert_eq!(table.rules[0].destinations[0].host, ORDERS);
    assert_eq!(table.rules[0].timeout, Some(Duration::from_secs(2)));
    assert_eq!(table.rules[1].destinations[1].host, "web-new.shop.svc.cluster.local");
    assert_eq!(table.meta.origin.to_string(), "f:4:3");
}

#[test]
fn tables_that_are_wrong_are_told() {
    assert_lines(
        "routes: [{ @ }]",
        &[
            (
                "name: a",
                &[
                    "10: error[MESH0103]: missing field `hosts`",
                    "10: error[MESH0103]: missing field `rules`",
                ],
            ),
            (
                "name: a, hosts: ['*'], rules: [{ to: b }]",
                &["29: error[MESH0301]: `hosts`: `*` is for gateways, the clients of the mesh need names"],
            ),
            (
                "name: a, hosts: ['*.a.com', b.a.com, '*.a.com', 'c d'], rules: [{ to: b }]",
                &[
                    "49: error[MESH0301]: `hosts`: `*.a.com` is given twice",
                    "60: error[MESH0104]: `hosts`: expected a host name, a pattern such as `*.example.com` or an address, found `c d`",
                ],
            ),
            (
                "name: a, hosts: [a], rules: []",
                &["40: error[MESH0104]: `rules`: expected at least one rule, found an empty list"],
            ),
            (
                "name: a, hosts: [a], rules: [{}]",
                &["41: error[MESH0103]: missing field `to`"],
            ),
            (
                "name: a, hosts: [a], rules: [{ to: [{ subset: v1 }] }]",
                &["48: error[MESH0103]: missing field `service`"],
            ),
            (
                "name: a, hosts: [a], rules: [{ to: a_b }]",
                &["47: error[MESH0104]: `to`: expected the name of a service, found `a_b`"],
            ),
        ],
    );
}

/// A rule that delegates may rewrite what the rule that it delegates to answers.
#[test]
fn a_rewrite_that_is_for_nothing_is_left_out_when_it_is_converted() {
    let table = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ {rest} }}\n"
        )
    };
    let root = "hosts: [a.example.com], http: [{ rewrite: { uri: /x }, delegate: { name: leaf } }]";
    let text = table("root", root) + &table("leaf", "http: [{ redirect: { scheme: https } }]");
    let loaded = load(&text);
    assert!(loaded.policy.as_ref().unwrap().routes[0].rules[0].rewrite.is_some());
    let documents = crate::policy::convert::to_native(&loaded).unwrap();
    let again = clean(&serde_json::to_string(&documents[0]).unwrap());
    let rule = &again.routes[0].rules[0];
    assert!(rule.answer.is_some() && rule.rewrite.is_none(), "{rule:?}");
}
