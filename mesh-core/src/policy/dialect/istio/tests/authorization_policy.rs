use super::*;
use crate::policy::model::authz::{Action, AuthorizationPolicy, Condition, Enforcement, Pattern};

const KIND: &str = "AuthorizationPolicy";

fn found(spec: &str) -> AuthorizationPolicy {
    clean(KIND, spec).authorizations.remove(0)
}

fn any_of<T>(any_of: Vec<T>) -> Condition<T> {
    Condition {
        any_of,
        none_of: vec![],
    }
}

fn exact(text: &str) -> Pattern {
    Pattern::Exact(text.into())
}

/// Findings about a source, which is written in line 4.
#[track_caller]
fn assert_sources(table: &[(&str, &[&str])]) {
    for (source, expected) in table {
        assert_lines(
            KIND,
            &[(
                &format!("rules: [{{ from: [{{ source: {{\n{source} }} }}] }}]"),
                expected,
            )],
        );
    }
}

/// Findings about an operation, which is written in line 4.
#[track_caller]
fn assert_operations(table: &[(&str, &[&str])]) {
    for (operation, expected) in table {
        assert_lines(
            KIND,
            &[(
                &format!("rules: [{{ to: [{{ operation: {{\n{operation} }} }}] }}]"),
                expected,
            )],
        );
    }
}

#[test]
fn an_empty_policy_has_no_rules_and_an_empty_rule_no_conditions() {
    let nothing = found("");
    assert_eq!((nothing.action, nothing.rules.len()), (Action::Allow, 0));
    let without_spec = load("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n");
    assert_eq!(without_spec.lines, [""; 0]);
    assert!(without_spec.policy.authorizations[0].rules.is_empty());
    let everything = found("action: DENY, rules: [{}]");
    assert_eq!(everything.action, Action::Deny);
    assert_eq!((everything.rules[0].from.len(), everything.rules[0].to.len()), (0, 0));
}

#[test]
fn sources_are_read() {
    let found = found(
        "selector: { matchLabels: { app: a } }, rules: [{ from: [{ source: { principals: ['cluster.local/ns/a/sa/b', 'x*', '*y', '*'], \
         notPrincipals: ['a*c'], namespaces: [a, 'a*c'], ipBlocks: [10.1.2.3/8, 1.2.3.4], notIpBlocks: ['::1'] } }, \
         { source: { serviceAccounts: [sa, other/sa] } }] }]",
    );
    assert_eq!(found.selector["app"], "a");
    let [first, second] = found.rules[0].from.as_slice() else {
        panic!("two sources")
    };
    let patterns = [
        exact("cluster.local/ns/a/sa/b"),
        Pattern::Prefix("x".into()),
        Pattern::Suffix("y".into()),
        Pattern::Present,
    ];
    assert_eq!(first.principals.any_of, patterns);
    assert_eq!(first.principals.none_of, [exact("a*c")]);
    assert_eq!(first.namespaces, any_of(vec![exact("a"), Pattern::Glob("a*c".into())]));
    let blocks: Vec<String> = first.ip_blocks.any_of.iter().map(ToString::to_string).collect();
    assert_eq!(blocks, ["10.0.0.0/8", "1.2.3.4/32"]);
    assert_eq!(first.ip_blocks.none_of[0].to_string(), "::1/128");
    assert_eq!(
        second.service_accounts,
        any_of(vec![exact("shop/sa"), exact("other/sa")])
    );
}

#[test]
fn operations_are_read() {
    let found = found(
        "rules: [{ to: [{ operation: { hosts: [A.com, '*.b.com', c.com, 'C.com:*', '[::1]'], ports: ['80'], notPorts: ['0'], \
         methods: [GET], notMethods: ['P*'], paths: ['/api/*', '/foo/{*}'], notPaths: ['*/admin'] } }] }]",
    );
    let operation = &found.rules[0].to[0];
    let hosts = vec![
        exact("a.com"),
        Pattern::Suffix(".b.com".into()),
        exact("c.com"),
        exact("[::1]"),
    ];
    assert_eq!(operation.hosts, any_of(hosts));
    assert_eq!(
        (operation.ports.any_of.as_slice(), operation.ports.none_of.as_slice()),
        ([80].as_slice(), [0].as_slice())
    );
    assert_eq!(operation.methods.none_of, [Pattern::Prefix("P".into())]);
    assert_eq!(
        operation.paths.any_of,
        [Pattern::Prefix("/api/".into()), Pattern::Template("/foo/{*}".into())]
    );
    assert_eq!(operation.paths.none_of, [Pattern::Suffix("/admin".into())]);
}

#[test]
fn cluster_local_stands_for_the_meshs_trust_domain() {
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nspec:\n  rules:\n    - from:\n        - source:\n            \
                principals: [cluster.local/ns/a/sa/b, other/ns/a/sa/b, 'cluster.local/*']\n---\n\
                apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: { meshConfig: { trustDomain: prod.example } }\n";
    let loaded = load(text);
    assert_eq!(loaded.lines, [""; 0]);
    let principals = &loaded.policy.authorizations[0].rules[0].from[0].principals.any_of;
    let expected = [
        exact("prod.example/ns/a/sa/b"),
        exact("other/ns/a/sa/b"),
        Pattern::Prefix("cluster.local/".into()),
    ];
    assert_eq!(*principals, expected);
}

#[test]
fn policies_are_checked() {
    assert_lines(
        KIND,
        &[
            (
                "action: DENY",
                &["2:1: error[MESH0301]: action `DENY` without `rules` denies nothing"],
            ),
            (
                "action: DENY, rules: []",
                &["2:1: error[MESH0301]: action `DENY` without `rules` denies nothing"],
            ),
            (
                "action: DENNY",
                &[
                    "3:9: error[MESH0104]: `action`: unknown value `DENNY`, expected `ALLOW`, `DENY`, `AUDIT` or `CUSTOM`",
                ],
            ),
            (
                "provider: { name: a }",
                &["3:1: error[MESH0301]: `provider` is for the action `CUSTOM`"],
            ),
            ("action: CUSTOM, provider: { name: a }, rules: [{}]", &[]),
            (
                "targetRefs: [{ kind: Service, name: a }]",
                &[
                    "3:22: warning[MESH0401]: target `Service` is not yet in force: waypoints guard it, and no process is one; pick its workloads with `selector`",
                ],
            ),
            (
                "rules: [{ from: [] }]",
                &["3:17: error[MESH0104]: `from`: expected at least one `source`, found an empty list"],
            ),
            (
                "rules: [{ to: [] }]",
                &["3:15: error[MESH0104]: `to`: expected at least one `operation`, found an empty list"],
            ),
            (
                "rules: [{ from: [{}] }]",
                &["3:18: error[MESH0103]: missing field `source`"],
            ),
            (
                "rules: [{ when: [] }]",
                &["3:17: error[MESH0104]: `when`: expected at least one condition, found an empty list"],
            ),
        ],
    );
}

#[test]
fn sources_are_checked() {
    assert_sources(&[
        (
            "",
            &["3:28: error[MESH0104]: `source`: expected a condition, found none"],
        ),
        (
            "principals: []",
            &["3:28: error[MESH0104]: `source`: expected a condition, found none"],
        ),
        (
            "principals: ['']",
            &["4:14: error[MESH0104]: `principals`: expected a name, found empty text"],
        ),
        (
            "principals: ['spiffe://a/ns/b/sa/c']",
            &["4:14: error[MESH0104]: `principals`: a principal is written without `spiffe://`: `a/ns/b/sa/c`"],
        ),
        (
            "principals: ['SPIFFE://TD/x']",
            &["4:14: error[MESH0104]: `principals`: a principal is written without `spiffe://`: `TD/x`"],
        ),
        (
            "serviceAccounts: [a/b/c, 'a*'], namespaces: [d]",
            &[
                "4:19: error[MESH0104]: `serviceAccounts`: expected `name` or `namespace/name` of at most 320 characters, found `a/b/c`",
                "4:26: error[MESH0104]: `serviceAccounts`: expected `name` or `namespace/name` of at most 320 characters, found `a*`",
                "4:33: error[MESH0105]: fields `serviceAccounts` and `namespaces` exclude each other",
            ],
        ),
        (
            "serviceAccounts: [a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a]",
            &["4:1: error[MESH0104]: `serviceAccounts` has 17 items, the limit is 16"],
        ),
        (
            "ipBlocks: [10.0.0.0/33]",
            &[
                "4:12: error[MESH0104]: `ipBlocks`: expected an IP address or a block such as `10.0.0.0/8`, found `10.0.0.0/33`",
            ],
        ),
        ("requestPrincipals: ['*']", &[]),
        ("remoteIpBlocks: [1.1.1.1], notRemoteIpBlocks: [1.1.1.0/24]", &[]),
        (
            "remoteIpBlocks: [unknown]",
            &[
                "4:18: error[MESH0104]: `remoteIpBlocks`: expected an IP address or a block such as `10.0.0.0/8`, found `unknown`",
            ],
        ),
    ]);
}

#[test]
fn operations_are_checked() {
    assert_operations(&[
        (
            "",
            &["3:29: error[MESH0104]: `operation`: expected a condition, found none"],
        ),
        (
            "ports: [80]",
            &["4:9: error[MESH0102]: `ports`: expected text, found the number `80`"],
        ),
        (
            "ports: ['65536']",
            &["4:9: error[MESH0104]: `ports`: expected a port of 0 to 65535 in quotes, found `65536`"],
        ),
        (
            "paths: ['/foo/{buzz}']",
            &["4:9: error[MESH0104]: `paths`: expected `{*}`, `{**}` or plain text as a segment, found `{buzz}`"],
        ),
        (
            "paths: , methods: [GET]",
            &["4:1: error[MESH0104]: `paths` has no value, so that it would match everything"],
        ),
        ("path: ['/foo']", &["4:1: error[MESH0101]: unknown field `path`"]),
    ]);
}

#[test]
fn an_annotation_puts_a_policy_on_trial() {
    let load = |value: &str| {
        load(&format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  annotations: {{ istio.io/dry-run: '{value}' }}\n\
             spec: {{}}\n"
        ))
    };
    for (value, expected) in [("true", Enforcement::DryRun), ("false", Enforcement::Enforced)] {
        let loaded = load(value);
        assert_eq!(loaded.lines, [""; 0]);
        assert_eq!(loaded.policy.authorizations[0].enforcement, expected);
    }
    let line = "4:36: error[MESH0104]: `istio.io/dry-run`: expected `true` or `false`, found `yes`";
    assert_eq!(load("yes").lines, [line]);
}

#[test]
fn a_misspelt_annotation_leaves_the_policy_in_force_and_is_told() {
    let loaded = load(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  annotations: { istio.io/dryrun: 'true', a.example/dry-run: 'true' }\n\
         spec: {}\n",
    );
    let line = "4:18: warning[MESH0505]: annotation `istio.io/dryrun` has no effect: the policy is in force";
    assert_eq!(loaded.lines, [line]);
    assert_eq!(loaded.policy.authorizations[0].enforcement, Enforcement::Enforced);
}

#[test]
fn a_policy_that_marks_is_read_as_others_are() {
    let found = found("action: AUDIT, rules: [{ to: [{ operation: { methods: [GET] } }] }]");
    assert_eq!((found.action, found.rules.len()), (Action::Audit, 1));
}

#[test]
fn an_external_authorizer_is_named_and_asked_about_requests_alone() {
    const CUSTOM: &str = "action: CUSTOM, provider: { name: opa }, rules";
    let loaded = load_spec(
        KIND,
        &format!("{CUSTOM}: [{{ to: [{{ operation: {{ paths: [/a] }} }}] }}]"),
    );
    assert_eq!(loaded.lines, [""; 0]);
    let found = &loaded.policy.authorizations[0];
    assert_eq!((found.action, found.provider.as_deref()), (Action::Custom, Some("opa")));
    assert_lines(
        KIND,
        &[
            (
                "action: CUSTOM, rules: [{}]",
                &["2:1: error[MESH0103]: missing field `provider`"],
            ),
            (
                "action: CUSTOM, provider: { name: opa }",
                &["2:1: error[MESH0301]: action `CUSTOM` needs `rules`"],
            ),
            (
                &format!("{CUSTOM}: [{{ from: [{{ source: {{ namespaces: [a] }} }}] }}]"),
                &["3:71: error[MESH0301]: `namespaces` cannot stand beside the action `CUSTOM`"],
            ),
            (
                &format!("{CUSTOM}: [{{ when: [{{ key: source.principal, values: [a] }}] }}]"),
                &["3:66: error[MESH0301]: key `source.principal` cannot stand beside the action `CUSTOM`"],
            ),
            (
                &format!("{CUSTOM}: [{{ when: [{{ key: source.ip, values: [10.0.0.1] }}] }}]"),
                &[],
            ),
        ],
    );
}

#[test]
fn targets_are_gateways_by_name() {
    use crate::policy::model::authz::{AuthorizationPolicy, TargetKind};
    const GROUP: &str = "group: gateway.networking.k8s.io";
    let single = found(&format!("targetRef: {{ {GROUP}, kind: Gateway, name: front }}"));
    let targets = |policy: &AuthorizationPolicy| -> Vec<_> {
        let targets = policy.targets.iter();
        targets
            .map(|one| (one.kind, one.name.clone(), one.origin.line))
            .collect()
    };
    assert_eq!(targets(&single), [(TargetKind::Gateway, "front".into(), 3)]);
    let several = found(&format!(
        "targetRefs: [{{ {GROUP}, kind: Gateway, name: a }}, {{ {GROUP}, kind: GatewayClass, name: b }}]"
    ));
    let expected = [
        (TargetKind::Gateway, "a".into(), 3),
        (TargetKind::GatewayClass, "b".into(), 3),
    ];
    assert_eq!(targets(&several), expected);
    assert_lines(
        KIND,
        &[
            (
                "targetRef: { kind: Gateway, name: a }",
                &["3:20: error[MESH0301]: `Gateway` is of the group `gateway.networking.k8s.io`, not of ``"],
            ),
            (
                "targetRef: { kind: Pod, name: a }",
                &[
                    "3:20: error[MESH0104]: `kind`: expected `Gateway`, `GatewayClass`, `Service` or `ServiceEntry`, found `Pod`",
                ],
            ),
            (
                "targetRef: { group: gateway.networking.k8s.io, kind: Gateway }",
                &["3:12: error[MESH0103]: missing field `name`"],
            ),
            (
                "targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: a, namespace: b }",
                &["3:83: error[MESH0104]: `namespace`: a policy is for objects of its own namespace, leave it out"],
            ),
            (
                "selector: { matchLabels: { a: b } }, targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: a }",
                &["3:38: error[MESH0105]: fields `selector` and `targetRef` exclude each other"],
            ),
        ],
    );
}
