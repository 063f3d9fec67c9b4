//! What an `HTTPRoute` becomes.

use std::time::Duration;

use super::*;
use crate::policy::model::Export;
use crate::policy::model::filter::Answer;
use crate::policy::model::route::{Binding, RuleOrder, StringMatch};
use crate::policy::model::traffic::RetryCondition;

#[test]
fn a_route_of_a_service_is_a_table_of_the_mesh() {
    let policy = clean(&http(&format!("{{ name: first, {TO_A} }}")));
    let table = table(&policy);
    assert_eq!((table.meta.namespace.as_str(), table.meta.name.as_str()), ("shop", "r"));
    assert_eq!(table.order, RuleOrder::Specific);
    assert_eq!(table.bindings, [Binding::Mesh]);
    assert_eq!(table.export, Export::All);
    assert_eq!(table.hosts[0].host, "echo.shop.svc.cluster.local");
    let rule = rule(&policy);
    assert_eq!(
        (rule.name.as_deref(), rule.origin.line, rule.origin.column),
        (Some("first"), 7, 5)
    );
    let to = &rule.destinations[0];
    assert_eq!(
        (to.host.as_str(), to.port, to.weight),
        ("a.shop.svc.cluster.local", Some(80), 1)
    );
    assert_eq!(rule.matches[0].path, Some(StringMatch::SegmentPrefix("/".into())));
}

#[test]
fn a_route_of_another_namespace_is_for_its_callers_alone() {
    let route = http(&format!("{{ {TO_A} }}")).replace("name: echo", "name: echo, namespace: other");
    let policy = clean(&route);
    assert_eq!(table(&policy).hosts[0].host, "echo.other.svc.cluster.local");
    assert_eq!(table(&policy).export, Export::Namespaces(vec!["shop".into()]));
}

#[test]
fn the_ports_of_parents_limit_each_match() {
    let route = http(&format!(
        "{{ matches: [{{ path: {{ value: /a }} }}, {{ method: GET }}], {TO_A} }}"
    ));
    let two = "{ group: '', kind: Service, name: echo, port: 80 }, { group: '', kind: Service, name: echo, port: 90 }";
    let policy = clean(&route.replace("{ group: '', kind: Service, name: echo }", two));
    let ports: Vec<_> = rule(&policy).matches.iter().map(|one| one.port).collect();
    assert_eq!(ports, [Some(80), Some(80), Some(90), Some(90)]);
    let whole = two.replace(", port: 90", "");
    let policy = clean(&route.replace("{ group: '', kind: Service, name: echo }", &whole));
    assert!(rule(&policy).matches.iter().all(|one| one.port.is_none()));
}

#[test]
fn each_condition_of_a_match_is_read() {
    let matches = "{ path: { type: Exact, value: /a }, method: PUT, \
                   headers: [{ name: X-One, value: a }, { type: RegularExpression, name: two, value: 'b+' }], \
                   queryParams: [{ name: Q, value: '1' }, { type: RegularExpression, name: r, value: '[0-9]' }] }, \
                   { path: { type: PathPrefix, value: /p/ } }, { path: { type: RegularExpression, value: '/r.*' } }, { method: GET }";
    let policy = clean(&http(&format!("{{ matches: [{matches}], {TO_A} }}")));
    let found = &rule(&policy).matches;
    let one = &found[0];
    assert_eq!(one.path, Some(StringMatch::Exact("/a".into())));
    assert_eq!(one.method, Some(StringMatch::Exact("PUT".into())));
    let headers: Vec<_> = one.headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
    assert_eq!(
        headers,
        [
            ("x-one", &StringMatch::Exact("a".into())),
            ("two", &StringMatch::Regex("b+".into()))
        ]
    );
    assert_eq!(
        one.query,
        [
            ("Q".into(), StringMatch::Exact("1".into())),
            ("r".into(), StringMatch::Regex("[0-9]".into()))
        ]
    );
    let paths: Vec<_> = found.iter().skip(1).map(|one| one.path.clone()).collect();
    assert_eq!(
        paths,
        [
            Some(StringMatch::SegmentPrefix("/p/".into())),
            Some(StringMatch::Regex("/r.*".into())),
            Some(StringMatch::SegmentPrefix("/".into()))
        ]
    );
}

#[test]
fn of_two_names_that_differ_in_case_the_first_counts() {
    let rule_text =
        format!("{{ matches: [{{ headers: [{{ name: A, value: x }}, {{ name: a, value: y }}] }}], {TO_A} }}");
    assert_eq!(
        lines(&http(&rule_text)),
        ["7:52: warning[MESH0505]: header `a` has a condition already: this one has no effect"]
    );
    let policy = warned(&http(&rule_text));
    assert_eq!(rule(&policy).matches[0].headers[0].1, StringMatch::Exact("x".into()));
    assert_eq!(rule(&policy).matches[0].headers.len(), 1);
}

#[test]
fn timeouts_of_zero_are_none_and_a_try_has_its_own() {
    let of = |text: &str| {
        let policy = clean(&http(&format!("{{ {text}, {TO_A} }}")));
        let rule = rule(&policy);
        let per_try = rule.retry.as_ref().map(|retry| (retry.attempts, retry.per_try_timeout));
        (rule.timeout, per_try)
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(of("timeouts: { request: 0s }"), (None, None));
    assert_eq!(of("timeouts: { request: 1m30s }"), (seconds(90), None));
    // What is tried again by default stays so.
    assert_eq!(
        of("timeouts: { request: 10s, backendRequest: 2s }"),
        (seconds(10), Some((2, seconds(2))))
    );
    assert_eq!(
        of("timeouts: { request: 0s, backendRequest: 2s }"),
        (None, Some((2, seconds(2))))
    );
    assert_eq!(
        of("timeouts: { backendRequest: 2s }, retry: { attempts: 4 }"),
        (None, Some((4, seconds(2))))
    );
}

#[test]
fn retries_always_try_failed_connections_again() {
    let of = |text: &str| {
        rule(&clean(&http(&format!("{{ retry: {text}, {TO_A} }}"))))
            .retry
            .clone()
            .unwrap()
    };
    let connections = [
        RetryCondition::ConnectFailure,
        RetryCondition::RefusedStream,
        RetryCondition::Reset,
    ];
    let bare = of("{}");
    assert_eq!((bare.attempts, bare.on.conditions.as_slice()), (2, &connections[..]));
    let whole = of("{ codes: [500, 503], attempts: 3, backoff: 100ms }");
    assert_eq!(whole.attempts, 3);
    assert_eq!(
        whole.on.codes.iter().map(http::StatusCode::as_u16).collect::<Vec<_>>(),
        [500, 503]
    );
    assert_eq!(whole.on.conditions.last(), Some(&RetryCondition::RetriableStatusCodes));
    assert_eq!(whole.backoff.least, Duration::from_millis(100));
}

#[test]
fn weights_are_shares_and_one_is_the_default() {
    let policy = clean(&http(
        "backendRefs: [{ name: a, port: 80, weight: 9 }, { name: b, port: 80 }, { name: c, port: 80, weight: 0 }]",
    ));
    let weights: Vec<_> = rule(&policy).destinations.iter().map(|to| to.weight).collect();
    assert_eq!(weights, [9, 1, 0]);
}

#[test]
fn what_leads_nowhere_is_told_and_answered_with_500() {
    let cases = [
        ("{ name: x }", "the rule names no backend"),
        ("{ name: x, backendRefs: [] }", "the rule names no backend"),
        (
            "{ backendRefs: [{ name: a, port: 80, weight: 0 }] }",
            "the weights of all backends are 0",
        ),
    ];
    for (text, reason) in cases {
        let told = format!("7:5: warning[MESH0505]: {reason}: requests are answered with 500");
        assert_eq!(lines(&http(text)), [told], "{text}");
        let policy = warned(&http(text));
        let [to] = rule(&policy).destinations.as_slice() else {
            panic!("{text}")
        };
        assert_eq!((to.unresolved.as_deref(), to.weight), (Some(reason), 1));
    }
    let none = object(
        "HTTPRoute",
        "shop",
        "r",
        "parentRefs: [{ group: '', kind: Service, name: echo }]",
    );
    assert_eq!(
        lines(&none),
        ["5:3: warning[MESH0505]: the route has no rules: requests are answered with 500"]
    );
}

#[test]
fn a_backend_that_is_none_keeps_its_share() {
    let text = "{ backendRefs: [{ name: a, port: 80 }, { group: x.example, kind: Pool, name: b, weight: 3 }] }";
    assert_eq!(
        lines(&http(text)),
        [
            "7:44: warning[MESH0506]: `Pool` of `x.example` is no kind of backend that a process calls: its share of the requests is answered with 500"
        ]
    );
    let policy = warned(&http(text));
    let [good, bad] = rule(&policy).destinations.as_slice() else {
        panic!()
    };
    assert_eq!((good.unresolved.as_deref(), good.weight), (None, 1));
    assert_eq!(
        (bad.unresolved.as_deref(), bad.weight),
        (Some("`Pool` of `x.example` is no kind of backend"), 3)
    );
}

#[test]
fn a_port_that_the_service_does_not_have_is_no_backend() {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: { name: a, namespace: shop }\nspec:\n  \
                 hosts: [a.shop.svc.cluster.local]\n  resolution: DNS\n  ports: [{ number: 81, name: http, protocol: HTTP }]\n";
    let text = format!("{}{entry}", http(&format!("{{ {TO_A} }}")));
    assert_eq!(
        lines(&text),
        [
            "7:21: warning[MESH0506]: service `a.shop.svc.cluster.local` has no port 80: its share of the requests is answered with 500"
        ]
    );
    clean(&text.replace("number: 81", "number: 80"));
}

#[test]
fn hosts_that_are_no_kubernetes_services_can_be_named() {
    let policy = clean(&http(
        "backendRefs: [{ group: networking.istio.io, kind: Hostname, name: api.example.com, port: 443 }]",
    ));
    assert_eq!(rule(&policy).destinations[0].host, "api.example.com");
}

#[test]
fn a_filter_that_is_not_there_lets_no_request_pass() {
    let text = format!(
        "{{ filters: [{{ type: ExtensionRef, extensionRef: {{ group: x.example, kind: Auth, name: mine }} }}], {TO_A} }}"
    );
    assert_eq!(
        lines(&http(&text)),
        [
            "7:53: warning[MESH0506]: filter `mine` of `Auth` is none that a process has: requests that it is for are answered with 500"
        ]
    );
    let policy = warned(&http(&text));
    let [to] = rule(&policy).destinations.as_slice() else {
        panic!()
    };
    assert!(to.unresolved.is_some());
    let of_backend = "backendRefs: [{ name: a, port: 80, filters: [{ type: ExtensionRef, extensionRef: { group: x.example, kind: Auth, name: mine } }] }, { name: b, port: 80 }]";
    let policy = warned(&http(of_backend));
    let unresolved: Vec<_> = rule(&policy)
        .destinations
        .iter()
        .map(|to| to.unresolved.is_some())
        .collect();
    assert_eq!(unresolved, [true, false]);
    let redirect = "{ filters: [{ type: RequestRedirect, requestRedirect: { port: 1 } }, { type: ExtensionRef, extensionRef: { group: x.example, kind: Auth, name: mine } }] }";
    let policy = warned(&http(redirect));
    assert!(
        !matches!(rule(&policy).answer, Some(Answer::Redirect(_))),
        "a request would be sent elsewhere unasked"
    );
}

#[test]
fn all_versions_of_a_route_are_the_same() {
    for version in ["v1beta1", "v1alpha2"] {
        let text = http(&format!("{{ {TO_A} }}"));
        let older = text.replace(GROUP, &format!("gateway.networking.k8s.io/{version}"));
        assert_eq!(clean(&older).routes, clean(&text).routes);
    }
}

#[test]
fn a_regex_behind_a_rule_for_every_path_is_told() {
    let spec = format!(
        "{{ parentRefs: [{{ group: '', kind: Service, name: echo }}], rules: [\n{{ matches: [{{ path: {{ type: RegularExpression, value: '/a[0-9]' }} }}], {TO_A} }}, {{ {TO_A} }}] }}"
    );
    assert_eq!(
        lines(&object("HTTPRoute", "shop", "r", &spec)),
        [
            "6:13: warning[MESH0507]: no request reaches this match: prefixes go before regexes, and one takes every path"
        ]
    );
}
