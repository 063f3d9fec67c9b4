use super::{findings, istio, route};

const TO: &str = "route: [{ destination: { host: shop } }]";

/// Two rules with these conditions, in this order.
fn pair(first: &str, second: &str) -> Vec<String> {
    let rules = format!("{{ match: [{first}], {TO} }}, {{ match: [{second}], {TO} }}");
    findings(&[&route("shop", &rules)])
}

#[test]
fn a_rule_behind_one_that_takes_all_of_its_requests_is_told() {
    let covered = [
        ("{ uri: { prefix: /a } }", "{ uri: { prefix: /a/b } }"),
        ("{ uri: { prefix: /a } }", "{ uri: { prefix: /a } }"),
        (
            "{ uri: { prefix: /a } }",
            "{ uri: { exact: /a/b }, method: { exact: GET } }",
        ),
        (
            "{ uri: { prefix: /A }, ignoreUriCase: true }",
            "{ uri: { exact: /a/b } }",
        ),
        ("{ uri: { regex: '/a.*' } }", "{ uri: { regex: '/a.*' }, port: 80 }"),
        (
            "{ headers: { a: { exact: b } } }",
            "{ headers: { a: { exact: b }, c: {} } }",
        ),
        ("{ headers: { a: {} } }", "{ headers: { a: { exact: b } } }"),
        (
            "{ withoutHeaders: { a: {} } }",
            "{ withoutHeaders: { a: {} }, uri: { prefix: /x } }",
        ),
        ("{ sourceLabels: { a: b } }", "{ sourceLabels: { a: b, c: d } }"),
        (
            "{ uri: { prefix: /a } }, { uri: { prefix: /b } }",
            "{ uri: { exact: /b/c } }, { uri: { exact: /b } }",
        ),
    ];
    for (first, second) in covered {
        let found = pair(first, second);
        assert_eq!(found.len(), 1, "{first} {second}: {found:?}");
        let expected = "warning[MESH0507]: no request reaches this rule: one before it takes them all";
        assert!(found[0].ends_with(expected), "{first} {second}: {found:?}");
    }
}

#[test]
fn a_rule_that_takes_some_requests_of_its_own_is_not_told() {
    let own = [
        ("{ uri: { prefix: /a/b } }", "{ uri: { prefix: /a } }"),
        ("{ uri: { exact: /a } }", "{ uri: { prefix: /a } }"),
        ("{ uri: { prefix: /A } }", "{ uri: { prefix: /a } }"),
        (
            "{ uri: { prefix: /a } }",
            "{ uri: { prefix: /a }, ignoreUriCase: true }",
        ),
        (
            "{ uri: { prefix: /a }, method: { exact: GET } }",
            "{ uri: { prefix: /a } }",
        ),
        ("{ headers: { a: { exact: b } } }", "{ headers: { a: {} } }"),
        ("{ headers: { a: { exact: b } } }", "{ headers: { a: { exact: c } } }"),
        ("{ sourceLabels: { a: b, c: d } }", "{ sourceLabels: { a: b } }"),
        ("{ port: 80 }", "{ port: 81 }"),
        ("{ withoutHeaders: { a: {} } }", "{ headers: { a: {} } }"),
    ];
    for (first, second) in own {
        assert_eq!(pair(first, second), [""; 0], "{first} {second}");
    }
}

#[test]
fn several_rules_can_leave_nothing_to_another() {
    let found = findings(&[&route(
        "shop",
        &format!(
            "{{ match: [{{ uri: {{ prefix: /a }} }}], {TO} }}, {{ match: [{{ uri: {{ prefix: /b }} }}], {TO} }},
             {{ match: [{{ uri: {{ exact: /a/x }} }}, {{ uri: {{ exact: /b/x }} }}], {TO} }}"
        ),
    )]);
    assert_eq!(
        found,
        ["a:5:14: warning[MESH0507]: no request reaches this rule: those before it take them all"]
    );
}

#[test]
fn a_condition_that_takes_nothing_of_its_own_is_told() {
    assert_eq!(
        pair(
            "{ uri: { prefix: /a } }",
            "{ uri: { prefix: /a/b } }, { uri: { prefix: /c } }"
        ),
        ["a:4:121: warning[MESH0510]: this condition changes nothing: a rule before it takes its requests"]
    );
    assert_eq!(
        pair(
            "{ uri: { prefix: /a } }, { uri: { prefix: /a/b } }",
            "{ uri: { prefix: /c } }"
        ),
        ["a:4:66: warning[MESH0510]: this condition changes nothing: another one of the same rule takes its requests"]
    );
}

#[test]
fn rules_for_connections_are_compared_by_name_and_port() {
    let table = |tls: &str| {
        let hosts = "hosts: ['*.example.com']";
        istio("VirtualService", "v", &format!("{hosts}, tls: [{tls}]"))
    };
    let rule = |names: &str| format!("{{ match: [{{ sniHosts: [{names}] }}], {TO} }}");
    let both = |first: &str, second: &str| {
        let found = findings(&[&table(&format!("{}, {}", rule(first), rule(second)))]);
        assert!(found.iter().all(|one| one.contains("warning")), "{found:?}");
        found.iter().filter(|one| one.contains("MESH0507")).count()
    };
    assert_eq!(both("a.example.com", "a.example.com"), 1);
    assert_eq!(both("'*.example.com'", "a.example.com"), 1);
    assert_eq!(both("a.example.com", "b.example.com"), 0);
    assert_eq!(both("a.example.com", "'*.example.com'"), 0);
    assert_eq!(both("a.example.com, b.example.com", "b.example.com"), 1);
    assert_eq!(both("b.example.com", "a.example.com, b.example.com"), 0);
    let all = format!("tcp: [{{ {TO} }}, {{ match: [{{ port: 80 }}], {TO} }}]");
    let found = findings(&[&istio("VirtualService", "v", &format!("hosts: [shop], {all}"))]);
    assert!(found.iter().any(|one| one.contains("MESH0507")), "{found:?}");
}

#[test]
fn routes_without_an_order_have_nothing_before_them() {
    let text = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r }
spec:
  parentRefs: [{ group: '', kind: Service, name: shop }]
  rules:
    - matches: [{ path: { value: / } }]
      backendRefs: [{ name: shop, port: 80 }]
    - matches: [{ path: { value: /a } }]
      backendRefs: [{ name: shop, port: 80 }]
";
    let found = findings(&[text]);
    assert!(!found.iter().any(|one| one.contains("MESH0507")), "{found:?}");
}
