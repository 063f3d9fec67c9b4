use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::policy::model::Export;
use crate::policy::model::route::{Binding, PathCase, RouteMatch, RouteRule, RouteTable, StringMatch};
use crate::policy::model::traffic::RetryCondition as On;

const KIND: &str = "VirtualService";
const DESTINATION: &str = "route: [{ destination: { host: a } }]";

fn table(spec: &str) -> RouteTable {
    clean(KIND, spec).routes.remove(0)
}

fn rule(rule: &str) -> RouteRule {
    table(&format!("hosts: [a], http: [{{ {rule} }}]")).rules.remove(0)
}

fn matched(condition: &str) -> RouteMatch {
    rule(&format!("match: [{{ {condition} }}], {DESTINATION}"))
        .matches
        .remove(0)
}

/// Findings about rules, which are written in line 4.
#[track_caller]
fn assert_rules(table: &[(&str, &[&str])]) {
    let specs: Vec<String> = table
        .iter()
        .map(|(rule, _)| format!("hosts: [a], http: [{{\n{rule} }}]"))
        .collect();
    let table: Vec<(&str, &[&str])> = specs
        .iter()
        .zip(table)
        .map(|(spec, (_, lines))| (spec.as_str(), *lines))
        .collect();
    assert_lines(KIND, &table);
}

/// Findings about matches, which are written in line 4.
#[track_caller]
fn assert_matches(table: &[(&str, &[&str])]) {
    let rules: Vec<String> = table
        .iter()
        .map(|(condition, _)| format!("match: [{{ {condition} }}], {DESTINATION}"))
        .collect();
    let table: Vec<(&str, &[&str])> = rules
        .iter()
        .zip(table)
        .map(|(rule, (_, lines))| (rule.as_str(), *lines))
        .collect();
    assert_rules(&table);
}

#[test]
fn short_names_are_completed_in_the_namespace_of_the_rule() {
    let table = table(
        "hosts: [Reviews, reviews.prod, '*.example.com', 10.0.0.1], http: [{ route: [{ destination: { host: reviews.prod } }, { destination: { host: Ratings, subset: v1, port: { number: 80 } }, weight: 3 }] }]"
            .replace("reviews.prod } }", "reviews.prod }, weight: 1 }")
            .as_str(),
    );
    let hosts: Vec<&str> = table.hosts.iter().map(|host| host.host.as_str()).collect();
    assert_eq!(
        hosts,
        [
            "reviews.shop.svc.cluster.local",
            "reviews.prod",
            "*.example.com",
            "10.0.0.1"
        ]
    );
    assert_eq!(table.hosts[1].origin.to_string(), "f:3:18");
    assert_eq!(table.bindings, [Binding::Mesh]);
    assert_eq!(table.export, Export::All);
    let [reviews, ratings] = table.rules[0].destinations.as_slice() else {
        panic!("two destinations")
    };
    assert_eq!(
        (reviews.host.as_str(), reviews.weight, reviews.port),
        ("reviews.prod", 1, None)
    );
    assert_eq!(ratings.host, "ratings.shop.svc.cluster.local");
    assert_eq!(
        (ratings.subset.as_deref(), ratings.port, ratings.weight),
        (Some("v1"), Some(80), 3)
    );
}

#[test]
fn gateways_are_named_in_five_ways() {
    let text = "hosts: ['*'], gateways: [front, other/front, ./own], http: [{ route: [{ destination: { host: a } }] }]";
    let names: Vec<(String, String)> = table(text)
        .bindings
        .into_iter()
        .map(|binding| match binding {
            Binding::Gateway { namespace, name, .. } => (namespace, name),
            Binding::Mesh => panic!("a gateway"),
        })
        .collect();
    let expected = [("shop", "front"), ("other", "front"), ("shop", "own")];
    assert_eq!(
        names,
        expected.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
    );
    let loaded = load_spec(
        KIND,
        "hosts: [a], gateways: [mesh, front.other.svc], http: [{ route: [{ destination: { host: a } }] }]",
    );
    assert_eq!(
        loaded.lines,
        ["3:30: warning[MESH0503]: gateway `front.other.svc` is named in an old form"]
    );
    assert_eq!(loaded.policy.routes[0].bindings[0], Binding::Mesh);
    assert!(matches!(&loaded.policy.routes[0].bindings[1], Binding::Gateway { namespace, .. } if namespace == "other"));
}

#[test]
fn a_match_has_all_conditions_of_istio() {
    let found = matched(
        "name: m, uri: { prefix: /api }, ignoreUriCase: true, method: { exact: GET }, scheme: { exact: https }, \
         authority: { prefix: a }, headers: { End-User: { exact: jason }, x-any: {}, x-star: { regex: '*' } }, \
         withoutHeaders: { x-old: { regex: 'v[0-9]+' } }, queryParams: { k: { exact: '' } }, port: 8080, \
         sourceLabels: { app: web }, sourceNamespace: prod",
    );
    assert_eq!(found.name.as_deref(), Some("m"));
    assert_eq!(found.path, Some(StringMatch::Prefix("/api".into())));
    assert_eq!(found.path_case, PathCase::Folded);
    assert_eq!(found.method, Some(StringMatch::Exact("GET".into())));
    assert_eq!(found.scheme, Some(StringMatch::Exact("https".into())));
    assert_eq!(found.authority, Some(StringMatch::Prefix("a".into())));
    let headers: Vec<(&str, &StringMatch)> = found
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    let jason = StringMatch::Exact("jason".into());
    assert_eq!(
        headers,
        [
            ("end-user", &jason),
            ("x-any", &StringMatch::Present),
            ("x-star", &StringMatch::Present)
        ]
    );
    assert_eq!(found.without_headers[0].1, StringMatch::Regex("v[0-9]+".into()));
    assert_eq!(found.query, [("k".into(), StringMatch::Exact(String::new()))]);
    assert_eq!(found.port, Some(8080));
    assert_eq!(found.source_labels.get("app").map(String::as_str), Some("web"));
    assert_eq!(found.source_namespace.as_deref(), Some("prod"));
    assert_eq!(found.bindings, []);
}

#[test]
fn an_empty_path_prefix_matches_all() {
    assert_eq!(
        matched("uri: { prefix: '' }").path,
        Some(StringMatch::Prefix(String::new()))
    );
}

#[test]
fn beside_gateways_the_caller_does_not_count() {
    let text = "hosts: [a], http: [{ match: [{ gateways: [mesh], sourceLabels: { app: x }, sourceNamespace: y }], route: [{ destination: { host: a } }] }]";
    let loaded = load_spec(KIND, text);
    assert_eq!(
        loaded.lines,
        [
            "3:50: warning[MESH0505]: `sourceLabels` has no effect beside `gateways`",
            "3:76: warning[MESH0505]: `sourceNamespace` has no effect beside `gateways`",
        ]
    );
    let found = &loaded.policy.routes[0].rules[0].matches[0];
    assert_eq!(
        (found.bindings.len(), found.source_labels.len(), &found.source_namespace),
        (1, 0, &None)
    );
}

#[test]
fn timeouts_and_retries_are_read() {
    let rule = rule(&format!(
        "name: r, {DESTINATION}, timeout: 1m30s, retries: {{ attempts: 3, perTryTimeout: 500ms, retryOn: '5xx,reset,418', backoff: 2s }}"
    ));
    assert_eq!(rule.name.as_deref(), Some("r"));
    assert_eq!(rule.timeout, Some(Duration::from_secs(90)));
    let retry = rule.retry.unwrap();
    assert_eq!(
        (retry.attempts, retry.per_try_timeout),
        (3, Some(Duration::from_millis(500)))
    );
    assert_eq!(retry.on.conditions, [On::FiveXx, On::Reset, On::RetriableStatusCodes]);
    assert_eq!(retry.on.codes, [StatusCode::IM_A_TEAPOT]);
    assert_eq!(
        (retry.backoff.base, retry.backoff.max),
        (Duration::from_secs(2), Duration::from_secs(20))
    );
}

#[test]
fn retries_without_conditions_take_the_default_list() {
    for retries in ["attempts: 2", "attempts: 2, retryOn: ''"] {
        let retry = rule(&format!("{DESTINATION}, retries: {{ {retries} }}")).retry.unwrap();
        let expected = [
            On::ConnectFailure,
            On::RefusedStream,
            On::Unavailable,
            On::Cancelled,
            On::RetriableStatusCodes,
        ];
        assert_eq!(retry.on.conditions, expected);
        assert_eq!(retry.on.codes, [] as [StatusCode; 0]);
    }
}

#[test]
fn no_attempts_switch_retries_off() {
    for retries in ["", "attempts: 0", "retryIgnorePreviousHosts: true"] {
        let retry = rule(&format!("{DESTINATION}, retries: {{ {retries} }}")).retry;
        assert_eq!(retry.map(|retry| retry.attempts), Some(0));
    }
    assert_eq!(rule(DESTINATION).retry, None);
}

#[test]
fn a_lone_destination_needs_no_weight() {
    assert_eq!(
        rule("route: [{ destination: { host: a }, weight: 0 }]")
            .destinations
            .len(),
        1
    );
}

#[test]
fn hosts_are_checked() {
    let rule = format!("http: [{{ {DESTINATION} }}]");
    let spec = |start: &str| format!("{start}, {rule}");
    let cases: [(&str, &[&str]); 8] = [
        (
            "hosts: [a.com, '*.com']",
            &["3:16: error[MESH0301]: `hosts`: `a.com` and `*.com` overlap"],
        ),
        (
            "hosts: [a, a.shop.svc.cluster.local]",
            &["3:12: error[MESH0301]: `hosts`: `a` and `a.shop.svc.cluster.local` overlap"],
        ),
        (
            "hosts: ['*']",
            &["3:9: error[MESH0301]: `hosts`: `*` is for gateways, the clients of the mesh need names"],
        ),
        (
            "hosts: ['*'], gateways: [mesh, g]",
            &["3:9: error[MESH0301]: `hosts`: `*` is for gateways, the clients of the mesh need names"],
        ),
        ("hosts: ['*'], gateways: [g]", &[]),
        (
            "hosts: ['a_b']",
            &[
                "3:9: error[MESH0104]: `hosts`: expected a host name, a pattern such as `*.example.com` or an address, found `a_b`",
            ],
        ),
        (
            "gateways: [g]",
            &[
                "3:1: error[MESH0301]: `gateways` cannot stand in a virtual service without `hosts`, which only takes what others delegate",
            ],
        ),
        (
            "hosts: [a], gateways: ['a/b/c']",
            &[
                "3:24: error[MESH0104]: `gateways`: expected `mesh`, the name of a gateway or `namespace/name`, found `a/b/c`",
            ],
        ),
    ];
    for (start, expected) in cases {
        assert_lines(KIND, &[(&spec(start), expected)]);
    }
}

#[test]
fn who_sees_the_routes_is_read_and_checked() {
    let spec = |export: &str| format!("hosts: [a], exportTo: [{export}], http: [{{ {DESTINATION} }}]");
    assert_eq!(
        table(&spec("'.', other")).export,
        Export::Namespaces(vec!["shop".into(), "other".into()])
    );
    assert_eq!(table(&spec("'*'")).export, Export::All);
    assert_eq!(table(&spec("'~'")).export, Export::Namespaces(vec![]));
    let cases: [(&str, &[&str]); 3] = [
        ("'.', shop", &["3:29: error[MESH0202]: namespace `shop` is given twice"]),
        (
            "'*', other",
            &["3:24: error[MESH0301]: `exportTo`: `*` must stand alone"],
        ),
        (
            "a/b",
            &["3:24: error[MESH0104]: `exportTo`: expected `.`, `*`, `~` or a namespace, found `a/b`"],
        ),
    ];
    for (export, expected) in cases {
        assert_lines(KIND, &[(&spec(export), expected)]);
    }
}

#[test]
fn rules_are_checked() {
    assert_rules(&[
        (
            "name: a",
            &["3:20: error[MESH0103]: missing field `route`, `redirect`, `directResponse` or `delegate`"],
        ),
        (
            "route: []",
            &["4:8: error[MESH0104]: `route`: expected at least one destination, found an empty list"],
        ),
        ("route: [{}]", &["4:9: error[MESH0103]: missing field `destination`"]),
        (
            "route: [{ destination: {} }]",
            &["4:24: error[MESH0103]: missing field `host`"],
        ),
        (
            "route: [{ destination: { host: '*' } }]",
            &["4:32: error[MESH0104]: `host`: expected a service, found `*`"],
        ),
        (
            "route: [{ destination: { host: '*.a.com' } }]",
            &["4:32: warning[MESH0401]: destination `*.a.com` is not yet in force: requests go to one service"],
        ),
        (
            "route: [{ destination: { host: a, subset: 'v 1' } }]",
            &["4:43: error[MESH0104]: `subset`: expected letters, digits and `-`, at most 63, found `v 1`"],
        ),
        (
            "route: [{ destination: { host: a, port: { number: 0 } } }]",
            &["4:51: error[MESH0104]: `number`: expected a whole number of 1 to 65535, found `0`"],
        ),
        (
            "route: [{ destination: { host: a }, weight: -1 }]",
            &["4:45: error[MESH0104]: `weight`: expected a whole number of 0 to 2147483647, found `-1`"],
        ),
        (
            "route: [{ destination: { host: a }, weight: 0 }, { destination: { host: b } }]",
            &["4:8: error[MESH0301]: `route`: the weights of all destinations are 0, one must be more"],
        ),
        (
            "route: [{ destination: { host: a }, weight: 90 }, { destination: { host: b } }]",
            &["4:51: warning[MESH0505]: destination `b.shop.svc.cluster.local` has no `weight`: it gets no request"],
        ),
    ]);
}

#[test]
fn fields_of_rules_are_checked() {
    assert_rules(&[
        (
            "route: [{ destination: { host: a } }], timeuot: 1s",
            &["4:40: error[MESH0101]: unknown field `timeuot`"],
        ),
        (
            "route: [{ destination: { host: a } }], timeout: 0s",
            &["4:49: error[MESH0104]: `timeout`: expected at least `1ms`, found `0s`"],
        ),
        (
            "route: [{ destination: { host: a } }], timeout: 500us",
            &["4:49: error[MESH0104]: `timeout`: expected whole milliseconds, found `500us`"],
        ),
    ]);
    assert_lines(
        KIND,
        &[(
            "hosts: [a]",
            &["2:1: error[MESH0103]: missing field `http`, `tls` or `tcp`"],
        )],
    );
}

#[test]
fn retries_are_checked() {
    let cases: [(&str, &[&str]); 8] = [
        (
            "perTryTimeout: 2s, retryOn: 5xx, backoff: 1s",
            &[
                "4:51: error[MESH0301]: `perTryTimeout` has no effect without `attempts`",
                "4:70: error[MESH0301]: `retryOn` has no effect without `attempts`",
                "4:84: warning[MESH0505]: `backoff` has no effect without `attempts`",
            ],
        ),
        (
            "attempts: -1",
            &["4:61: error[MESH0104]: `attempts`: expected a whole number of 0 to 2147483647, found `-1`"],
        ),
        (
            "attempts: 1, retryOn: '5xx, reset'",
            &["4:73: error[MESH0104]: `retryOn`: retry condition ` reset` has blanks around it"],
        ),
        (
            "attempts: 1, retryOn: '5XX'",
            &["4:73: error[MESH0104]: `retryOn`: unknown retry condition `5XX`"],
        ),
        (
            "attempts: 1, retryOn: '599'",
            &["4:73: error[MESH0104]: `retryOn`: `599` is not an HTTP status code"],
        ),
        (
            "attempts: 1, retryOn: retriable-headers",
            &["4:73: warning[MESH0505]: `retryOn`: `retriable-headers` never holds"],
        ),
        (
            "attempts: 1, retryOn: 'reset,retriable-status-codes'",
            &["4:73: warning[MESH0505]: `retryOn`: `retriable-status-codes` has no effect without a code"],
        ),
        (
            "attempts: 1, retryRemoteLocalities: true",
            &[
                "4:64: warning[MESH0401]: field `retryRemoteLocalities` is not yet in force: endpoints are tried whatever their locality",
            ],
        ),
    ];
    for (retries, expected) in cases {
        assert_rules(&[(&format!("{DESTINATION}, retries: {{ {retries} }}"), expected)]);
    }
}

#[test]
fn comparisons_are_checked() {
    assert_matches(&[
        (
            "uri: {}",
            &["4:16: error[MESH0103]: missing field `exact`, `prefix` or `regex`"],
        ),
        (
            "uri: { exact: /a, prefix: /b }",
            &["4:29: error[MESH0105]: fields `exact` and `prefix` exclude each other"],
        ),
        (
            "uri: { regex: 'a)(b' }",
            &["4:25: error[MESH0104]: `uri`: regex `a)(b` does not compile: unopened group"],
        ),
        (
            "uri: { regex: '(?x)a # b' }",
            &["4:25: error[MESH0104]: `uri`: regex `(?x)a # b` does not compile: unclosed group"],
        ),
        (
            "uri: { regex: '' }",
            &["4:25: error[MESH0104]: `uri`: expected a regex, found empty text"],
        ),
        (
            "uri: { regex: '*' }",
            &["4:25: error[MESH0104]: `uri`: regex `*` does not compile: repetition operator missing expression"],
        ),
        (
            "method: { prefix: '' }",
            &["4:19: error[MESH0104]: `method`: an empty prefix matches everything, leave the condition out"],
        ),
        (
            "headers: { x: { prefix: '' } }",
            &["4:35: error[MESH0104]: `x`: an empty prefix matches everything, leave the condition out"],
        ),
        (
            "headers: { x: }",
            &["4:23: error[MESH0104]: `x`: expected a comparison, found nothing: write `{}` for any value"],
        ),
    ]);
    let long = "a".repeat(1025);
    let line = "4:25: error[MESH0104]: `uri`: the regex has 1025 bytes, the limit is 1024";
    assert_matches(&[(&format!("uri: {{ regex: {long} }}"), &[line])]);
}

#[test]
fn matches_are_checked() {
    assert_matches(&[
        (
            "headers: { 'a b': {} }",
            &["4:22: error[MESH0104]: key `a b`: expected the name of a header"],
        ),
        (
            "headers: { x: { exact: 1 } }",
            &["4:34: error[MESH0102]: `x`: expected text, found the number `1`"],
        ),
        (
            "port: 0",
            &["4:17: error[MESH0104]: `port`: expected a whole number of 1 to 65535, found `0`"],
        ),
        (
            "sourceNamespace: a.b",
            &["4:28: error[MESH0104]: `sourceNamespace`: expected letters, digits and `-`, at most 63, found `a.b`"],
        ),
        (
            "sourceLabels: { 'a b': c }",
            &["4:27: error[MESH0104]: key `a b`: expected a label such as `app` or `example.com/app`"],
        ),
        (
            "statPrefix: x",
            &["4:11: warning[MESH0505]: `statPrefix` has no effect: metrics are named by services and routes"],
        ),
        (
            "ignoreUriCase: true, uri: { regex: /a }",
            &["4:11: warning[MESH0505]: `ignoreUriCase` has no effect: it is for a `uri` with `exact` or `prefix`"],
        ),
    ]);
    assert_rules(&[(
        &format!("match: [~], {DESTINATION}"),
        &["4:9: error[MESH0102]: `match`: expected a mapping, found nothing"],
    )]);
}
