//! `authorization`.

use super::*;
use crate::policy::model::Labels;
use crate::policy::model::authz::{Action, AuthorizationPolicy, Pattern, Rule};

fn entry(fields: &str) -> AuthorizationPolicy {
    clean(&format!("namespace: shop\nauthorization: [{{ name: a, {fields} }}]"))
        .authorizations
        .remove(0)
}

fn rule(fields: &str) -> Rule {
    entry(&format!("allow: [{{ {fields} }}]")).rules.remove(0)
}

fn exact(text: &str) -> Pattern {
    Pattern::Exact(text.into())
}

#[test]
fn an_entry_holds_for_a_service_labels_a_namespace_or_the_mesh() {
    let app = |name: &str| Labels::from([("app".to_owned(), name.to_owned())]);
    for (fields, selector, namespace) in [
        ("", Labels::new(), "shop"),
        ("service: orders,", app("orders"), "shop"),
        ("selector: { app: x },", app("x"), "shop"),
        ("scope: namespace,", Labels::new(), "shop"),
        ("scope: mesh,", Labels::new(), "istio-system"),
        ("scope: mesh, service: orders,", app("orders"), "istio-system"),
    ] {
        let found = entry(&format!("{fields} allow: []"));
        assert_eq!(
            (found.selector, found.meta.namespace.as_str()),
            (selector, namespace),
            "{fields}"
        );
    }
}

#[test]
fn entries_allow_or_deny() {
    assert_eq!(entry("allow: []").action, Action::Allow);
    assert!(entry("allow: []").rules.is_empty());
    let all = entry("deny: [{}]");
    assert_eq!((all.action, all.rules.len()), (Action::Deny, 1));
    assert!(all.rules[0].from.is_empty() && all.rules[0].to.is_empty());
}

#[test]
fn every_condition_and_its_not_form_can_be_set() {
    let found = rule(
        "from: [cluster.local/ns/a/sa/b, 'spiffe://cluster.local/ns/c/*'], not_from: ['*/sa/d'], namespaces: [a, 'b*c'], not_namespaces: [e], service_accounts: [x, y/z], not_service_accounts: [w], ip: [10.1.2.3/8, '::1'], not_ip: [10.0.0.1]",
    );
    let source = &found.from[0];
    assert_eq!(
        source.principals.any_of,
        [
            exact("cluster.local/ns/a/sa/b"),
            Pattern::Prefix("cluster.local/ns/c/".into())
        ]
    );
    assert_eq!(source.principals.none_of, [Pattern::Suffix("/sa/d".into())]);
    assert_eq!(source.namespaces.any_of, [exact("a"), Pattern::Glob("b*c".into())]);
    assert_eq!(source.namespaces.none_of, [exact("e")]);
    assert_eq!(source.service_accounts.any_of, [exact("shop/x"), exact("y/z")]);
    assert_eq!(source.service_accounts.none_of, [exact("shop/w")]);
    let blocks: Vec<String> = source.ip_blocks.any_of.iter().map(ToString::to_string).collect();
    assert_eq!(blocks, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(source.ip_blocks.none_of[0].to_string(), "10.0.0.1/32");
    assert!(found.to.is_empty());

    let found = rule(
        "hosts: [A.example.com, '*.b.com'], not_hosts: ['c*'], ports: [80], not_ports: [81], methods: [GET, '*'], not_methods: [PUT], paths: ['/a/*', '*.html', '/o/{*}/{**}'], not_paths: [/b]",
    );
    let operation = &found.to[0];
    assert_eq!(
        operation.hosts.any_of,
        [exact("a.example.com"), Pattern::Suffix(".b.com".into())]
    );
    assert_eq!(operation.hosts.none_of, [Pattern::Prefix("c".into())]);
    assert_eq!(
        (&operation.ports.any_of, &operation.ports.none_of),
        (&vec![80], &vec![81])
    );
    assert_eq!(operation.methods.any_of, [exact("GET"), Pattern::Present]);
    assert_eq!(operation.methods.none_of, [exact("PUT")]);
    let paths = [
        Pattern::Prefix("/a/".into()),
        Pattern::Suffix(".html".into()),
        Pattern::Template("/o/{*}/{**}".into()),
    ];
    assert_eq!(operation.paths.any_of, paths);
    assert_eq!(operation.paths.none_of, [exact("/b")]);
    assert!(found.from.is_empty());
}

/// Callers and operations are large, and rules are many.
#[test]
fn a_rule_keeps_no_memory_for_what_it_does_not_say() {
    let policy = entry("allow: [{ from: [cluster.local/ns/b/sa/c], methods: [GET], paths: [/a] }]");
    let rule = &policy.rules[0];
    assert_eq!((rule.from.len(), rule.to.len()), (1, 1));
    assert_eq!((rule.from.capacity(), rule.to.capacity()), (1, 1));
}

#[test]
fn entries_that_are_wrong_are_told() {
    assert_lines(
        "authorization: [{ @ }]",
        &[
            ("allow: []", &["17: error[MESH0103]: missing field `name`"]),
            ("name: a", &["17: error[MESH0103]: missing field `allow` or `deny`"]),
            (
                "name: a, allow: []\n, deny: [{}]",
                &["f:2:3: error[MESH0105]: fields `allow` and `deny` exclude each other"],
            ),
            (
                "name: a, deny: []",
                &["34: error[MESH0104]: `deny`: expected at least one rule, found an empty list"],
            ),
            (
                "name: a, allow: , service: ",
                &[
                    "28: error[MESH0104]: field `allow` has no value",
                    "37: error[MESH0104]: field `service` has no value",
                ],
            ),
            (
                "name: a, service: b, selector: {}, allow: []",
                &["40: error[MESH0105]: fields `service` and `selector` exclude each other"],
            ),
            (
                "name: a, selector: {}, allow: []",
                &[
                    "38: error[MESH0104]: `selector`: expected labels, leave `selector` out to select the whole namespace",
                ],
            ),
            (
                "name: a, scope: all, allow: []",
                &["35: error[MESH0104]: `scope`: unknown value `all`, expected `namespace` or `mesh`"],
            ),
        ],
    );
}

#[test]
fn conditions_that_would_match_by_accident_are_told() {
    assert_lines(
        "authorization: [{ name: a, allow: [{ @ }] }]",
        &[
            ("fromm: [a]", &["38: error[MESH0101]: unknown field `fromm`"]),
            ("from:", &["38: error[MESH0104]: condition `from` has no value"]),
            (
                "from: []",
                &["44: error[MESH0104]: `from`: expected at least one value, found an empty list"],
            ),
            (
                "from: [a*b*]",
                &["45: error[MESH0104]: `from`: expected one `*`, at the start or at the end, found `a*b*`"],
            ),
            (
                "from: ['spiffe://']",
                &[
                    "45: error[MESH0104]: `from`: expected an identity such as `cluster.local/ns/shop/sa/orders`, found `spiffe://`",
                ],
            ),
            (
                "namespaces: [A]",
                &["51: error[MESH0104]: `namespaces`: expected a namespace, which may have `*` in it, found `A`"],
            ),
            (
                "service_accounts: ['a/*']",
                &["57: error[MESH0104]: `service_accounts`: expected `account` or `namespace/account`, found `a/*`"],
            ),
            (
                "ip: [10.0.0.0/33]",
                &[
                    "43: error[MESH0104]: `ip`: expected an IP address or a block such as `10.0.0.0/8`, found `10.0.0.0/33`",
                ],
            ),
            (
                "hosts: ['a:80']",
                &[
                    "46: error[MESH0104]: `hosts`: hosts are compared without their port, write it in `ports`: found `a:80`",
                ],
            ),
            (
                "ports: ['80', 0]",
                &[
                    "46: error[MESH0102]: `ports`: expected a whole number, found the text `80`",
                    "52: error[MESH0104]: `ports`: expected a whole number of 1 to 65535, found `0`",
                ],
            ),
            (
                "methods: [get]",
                &["48: error[MESH0104]: `methods`: expected a method in upper case such as `GET`, found `get`"],
            ),
            (
                "paths: [a]",
                &["46: error[MESH0104]: `paths`: expected a path that begins with `/` or `*`, found `a`"],
            ),
            (
                "paths: ['/a/{*}.x']",
                &["46: error[MESH0104]: `paths`: expected `{*}`, `{**}` or plain text as a segment, found `{*}.x`"],
            ),
        ],
    );
}

#[test]
fn a_service_that_is_nearly_one_that_is_known_is_told() {
    let text = "services: { orders: {} }\nauthorization: [{ name: a, service: ordrs, allow: [] }]\n";
    let loaded = load(text);
    assert_eq!(
        loaded.report.lines(&loaded.sources),
        ["f:2:37: warning[MESH0506]: no file defines a service `ordrs`"]
    );
    assert_eq!(help(text), "did you mean `orders`?");
    clean("services: { payments: {} }\nauthorization: [{ name: a, service: orders, allow: [] }]\n");
}

#[test]
fn services_that_are_nearly_known_are_told_of_fifty_names() {
    let rule = |at: u32, name: &str| format!("- {{ name: a{at}, service: {name}, allow: [] }}\n");
    let near = |at: u32| rule(at, &format!("orders{}", at + 10));
    let rules: String = (0..60)
        .map(near)
        .chain([rule(60, "orders10"), rule(61, "orders69")])
        .collect();
    let loaded = load(&format!("services: {{ orders: {{}} }}\nauthorization:\n{rules}"));
    let told = loaded.report.lines(&loaded.sources);
    // What is known of a name is told wherever it stands.
    assert_eq!(told.len(), 51);
    assert_eq!(
        told[50],
        "f:63:25: warning[MESH0506]: no file defines a service `orders10`"
    );
}

/// What is told of a target in Istio's dialect is told of the converted one, once.
#[test]
fn a_target_behind_a_waypoint_stays_told_when_it_is_converted() {
    for (kind, group) in [("Service", "''"), ("ServiceEntry", "networking.istio.io")] {
        let target = format!("spec: {{ targetRef: {{ group: {group}, kind: {kind}, name: orders }}");
        let meta = "metadata: { name: p, namespace: shop }";
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n{meta}\n{target}, action: DENY, rules: [{{}}] }}\n\
             ---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\n{meta}\n{target} }}\n"
        );
        let loaded = load(&text);
        let documents = crate::policy::convert::to_native(&loaded).unwrap();
        let printed: Vec<String> = documents
            .iter()
            .map(|one| format!("---\n{}\n", serde_json::to_string(one).unwrap()))
            .collect();
        let again = load(&printed.concat());
        let messages = |loaded: &Loaded| -> Vec<String> {
            let found = loaded.report.sorted(&loaded.sources);
            found
                .iter()
                .map(|one| format!("{} {}", one.code, one.message.to_lowercase().replace('_', "")))
                .collect()
        };
        assert_eq!(messages(&again), messages(&loaded), "{printed:#?}");
        assert_eq!(messages(&again).len(), 2, "{printed:#?}");
        assert!(again.in_force().policy.is_none());
    }
}
