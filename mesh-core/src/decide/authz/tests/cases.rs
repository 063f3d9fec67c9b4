//! Cases of Istio and ztunnel.

use super::*;

const A: &str = "cluster.local/ns/a/sa/x";

/// I1, I2.
#[test]
fn deny_comes_before_allow_and_allow_before_the_default() {
    for (row, policies, expected) in [
        ("I2: none", vec![], 200),
        ("348: ALLOW {}", vec![allow(vec![])], 403),
        ("349: ALLOW [{}]", vec![allow(anything())], 200),
        ("I3: DENY []", vec![deny(vec![])], 200),
        ("I3: DENY [{}]", vec![deny(anything())], 403),
        ("I1: both", vec![allow(anything()), deny(anything())], 403),
        (
            "I5: ALLOW none, DENY other",
            vec![allow(vec![]), deny(vec![rule(&[], &["methods=PUT"])])],
            403,
        ),
        ("two ALLOW", vec![allow(vec![]), allow(anything())], 200),
    ] {
        assert_eq!(status(&policies, &sleep(), &get("/")), expected, "{row}");
    }
}

#[test]
fn policies_hold_by_namespace_and_selector() {
    let with = |namespace: &str, selector: &[(&str, &str)]| {
        let mut policy = deny(anything());
        policy.meta.namespace = namespace.into();
        policy.selector = selector.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        policy
    };
    for (policy, expected) in [
        (with("foo", &[]), 403),
        (with(ROOT, &[]), 403),
        (with("bar", &[]), 200),
        (with("foo", &[("app", "httpbin")]), 403),
        (with(ROOT, &[("app", "httpbin")]), 403),
        (with("foo", &[("app", "other")]), 200),
        (with("foo", &[("app", "httpbin"), ("version", "v1")]), 200),
    ] {
        assert_eq!(
            status(std::slice::from_ref(&policy), &sleep(), &get("/")),
            expected,
            "{policy:?}"
        );
    }
}

#[test]
fn a_target_picks_the_workloads_of_a_gateway_and_no_others() {
    use crate::policy::model::authz::{Target, TargetKind};
    let gateway = Workload::new("foo", "front")
        .label("gateway.networking.k8s.io/gateway-name", "front")
        .label("gateway.networking.k8s.io/gateway-class-name", "mesh");
    let decide = |namespace: &str, kind: TargetKind, name: &str, workload: &Workload| {
        let mut policy = deny(anything());
        policy.meta.namespace = namespace.into();
        policy.targets = vec![Target::new(kind, name.into())];
        let authorizer = Authorizer::compile([&policy], workload, ROOT).unwrap();
        let request = get("/");
        let canonical = canonicalize(&request, Options::default()).unwrap();
        !authorizer
            .authorize(&canonical.view(), &Caller::plain().peer())
            .is_allowed()
    };
    for (namespace, kind, name, holds) in [
        ("foo", TargetKind::Gateway, "front", true),
        ("foo", TargetKind::Gateway, "back", false),
        ("bar", TargetKind::Gateway, "front", false),
        (ROOT, TargetKind::Gateway, "front", false),
        (ROOT, TargetKind::GatewayClass, "mesh", true),
        ("foo", TargetKind::GatewayClass, "mesh", false),
        ("foo", TargetKind::Service, "front", false),
        ("foo", TargetKind::ServiceEntry, "front", false),
    ] {
        assert_eq!(
            decide(namespace, kind, name, &gateway),
            holds,
            "{namespace} {kind:?} {name}"
        );
        assert!(
            !decide(namespace, kind, name, &httpbin()),
            "a workload that is no gateway has no target"
        );
    }
}

/// Rows 351, 352, without the JWT.
#[test]
fn sources_and_operations_are_alternatives_that_must_both_match() {
    let policy = allow(vec![rule(
        &["principals=cluster.local/ns/default/sa/sleep", "namespaces=test"],
        &["methods=GET paths=/info*", "methods=POST paths=/data"],
    )]);
    let test = Caller::new("cluster.local/ns/test/sa/any");
    for (caller, method, path, expected) in [
        (sleep(), "GET", "/info/x", 200),
        (test.clone(), "GET", "/information", 200),
        (test, "POST", "/data", 200),
        (sleep(), "GET", "/data", 403),
        (sleep(), "POST", "/data/x", 403),
        (Caller::new(A), "GET", "/info", 403),
        (Caller::plain(), "GET", "/info", 403),
    ] {
        let request = request(method, "httpbin.foo", path);
        assert_eq!(
            status(std::slice::from_ref(&policy), &caller, &request),
            expected,
            "{caller:?} {method} {path}"
        );
    }
}

/// Whether a source or operation matches, seen through an `ALLOW` rule.
fn allows(from: &[&str], to: &[&str], caller: &Caller, request: &Request<()>) -> bool {
    status(&[allow(vec![rule(from, to)])], caller, request) == 200
}

#[test]
fn sources_match_by_identity_and_address() {
    let my = Caller::new("cluster.local/ns/my-ns/sa/my-sa");
    for (row, from, caller, matches) in [
        (
            "363",
            "principals=*/ns/foo/sa/bar",
            Caller::new("td2/ns/foo/sa/bar"),
            true,
        ),
        (
            "AZ-4e",
            "principals=td/ns/namespace/sa/account",
            Caller::new("td/ns/namespace/sa/account"),
            true,
        ),
        (
            "AZ-4e",
            "principals=td/ns/namespace/sa/account",
            Caller::new("td-alt/ns/ns-alt/sa/sa-alt"),
            false,
        ),
        (
            "seed 08",
            "principals=cluster.local/ns/tenant-a/*",
            Caller::new("cluster.local/ns/tenant-a/sa/x"),
            true,
        ),
        (
            "seed 08",
            "principals=cluster.local/ns/tenant-a/*",
            Caller::new("cluster.local/ns/tenant-ab/sa/x"),
            false,
        ),
        ("any", "principals=*", Caller::new(A), true),
        ("any", "principals=*", Caller::plain(), false),
        ("AZ-2a", "namespaces=a|b", Caller::new("td/ns/a/sa/account"), true),
        ("AZ-2d", "namespaces=a|b", Caller::new("td/ns/bad/sa/account"), false),
        (
            "377",
            "namespaces=ns.*.prod",
            Caller::new("td/ns/ns.any.prod/sa/x"),
            true,
        ),
        (
            "377",
            "namespaces=ns.*.prod",
            Caller::new("td/ns/nsXanyXprod/sa/x"),
            false,
        ),
        ("378", "accounts=my-ns/my-sa", my.clone(), true),
        (
            "379",
            "accounts=my-ns/my-sa",
            Caller::new("td/ns/my-ns/sa/my-sa/k/v"),
            true,
        ),
        (
            "379",
            "accounts=my-ns/my-sa",
            Caller::new("td/k/v/ns/my-ns/sa/my-sa"),
            true,
        ),
        (
            "379",
            "accounts=my-ns/my-sa",
            Caller::new("td/ns/my-ns/k/v/sa/my-sa"),
            true,
        ),
        (
            "378",
            "accounts=my-ns/my-sa",
            Caller::new("td/ns/my-ns/sa/my-sa2"),
            false,
        ),
        ("ambiguous", "namespaces=a", Caller::new("td/ns/a/ns/b/sa/x"), false),
        ("AZ-4g", "ip=127.0.0.1/32", Caller::plain().at("127.0.0.1"), true),
        ("AZ-4g", "ip=127.0.0.1/32", Caller::plain().at("127.0.0.3"), false),
        ("AZ-4k", "ip=127.0.0.1/24", Caller::plain().at("127.0.0.3"), true),
        (
            "391",
            "ip=10.0.0.0/8 not_ip=10.1.2.3/32",
            Caller::plain().at("10.1.2.3"),
            false,
        ),
        (
            "391",
            "ip=10.0.0.0/8 not_ip=10.1.2.3/32",
            Caller::plain().at("10.1.2.4"),
            true,
        ),
        ("E9", "ip=10.0.0.0/8", Caller::plain().at("::ffff:10.0.0.1"), true),
        ("E9", "ip=::ffff:10.0.0.0/104", Caller::plain().at("10.0.0.1"), true),
        ("v6", "ip=fd00::/8", Caller::plain().at("fd00::1"), true),
        ("not", "not_namespaces=a", my.clone(), true),
        ("not", "not_namespaces=my-ns", my.clone(), false),
        ("not", "namespaces=my-* not_principals=*/my-sa", my, false),
    ] {
        assert_eq!(
            allows(&[from], &[], &caller, &get("/")),
            matches,
            "{row}: {from} {caller:?}"
        );
    }
}

#[test]
fn operations_match_by_host_port_method_and_path() {
    for (row, to, method, host, path, matches) in [
        ("364", "paths=/info*", "GET", "h", "/information", true),
        ("366", "paths=*abc*", "GET", "h", "/xabcx", false),
        ("366", "paths=*abc*", "GET", "h", "/x/abc*", true),
        ("368", "paths=/foo/{*}", "GET", "h", "/foo/bar", true),
        ("369", "paths=/foo/{**}/", "GET", "h", "/foo/bar/baz/", true),
        ("A10", "paths=/admin", "GET", "h", "/admin/", false),
        ("A19", "paths=/health", "GET", "h", "/health?x=1", true),
        ("A19", "paths=/health", "GET", "h", "/health%3F/x", false),
        ("A20", "paths=/healthz", "GET", "h", "/secret?x=/healthz", false),
        ("A20", "paths=/healthz", "GET", "h", "/secret/healthz", false),
        ("A20", "paths=/healthz", "GET", "h", "/healthz/../secret", false),
        ("A26", "paths=/*", "OPTIONS", "h", "*", false),
        ("400", "methods=POST paths=/pkg.Svc/*", "POST", "h", "/pkg.Svc/M", true),
        ("374", "methods=get", "GET", "h", "/", false),
        ("methods", "methods=P*", "PUT", "h", "/", true),
        ("methods", "not_methods=GET|HEAD", "GET", "h", "/", false),
        ("373", "hosts=Example.com", "GET", "example.COM", "/", true),
        ("B3", "hosts=example.com", "GET", "example.com:8080", "/", true),
        ("port", "hosts=example.com:8080", "GET", "Example.com:8080", "/", true),
        ("port", "hosts=example.com:8080", "GET", "example.com:9090", "/", false),
        ("port", "hosts=example.com:80", "GET", "example.com", "/", true),
        ("port", "hosts=example.com:*", "GET", "example.com:1234", "/", true),
        ("port", "hosts=example.com:*", "GET", "example.com", "/", true),
        ("port", "hosts=example.com:*", "GET", "example.com.evil", "/", false),
        ("port", "hosts=example.com:80*", "GET", "example.com:8080", "/", true),
        ("port", "hosts=example.com:80*", "GET", "example.com:9080", "/", false),
        ("port", "hosts=*.foo.com:80", "GET", "a.foo.com:81", "/", false),
        ("wildcard", "hosts=*.foo.com", "GET", "a.b.foo.com:81", "/", true),
        ("wildcard", "hosts=*.foo.com", "GET", "foo.com", "/", false),
        ("wildcard", "hosts=prefix.*", "GET", "Prefix.com", "/", true),
        ("address", "hosts=[::1]", "GET", "[::1]:80", "/", true),
        ("address", "hosts=[0::1]:80", "GET", "[::1]", "/", true),
        ("not", "not_hosts=a.com paths=/x", "GET", "a.com", "/x", false),
        ("AZ-4l", "ports=8080", "GET", "h", "/", true),
        ("AZ-4m", "not_ports=8080", "GET", "h", "/", false),
        ("I17", "ports=9999", "GET", "h:9999", "/", false),
        ("I17", "ports=9090|8080|80|8080", "GET", "h", "/", true),
        ("I17", "not_ports=9090|8080|80", "GET", "h", "/", false),
        ("I17", "ports=8080", "GET", "h:9999", "/", true),
    ] {
        let request = request(method, host, path);
        assert_eq!(
            allows(&[], &[to], &Caller::plain(), &request),
            matches,
            "{row}: {to} {method} {host} {path}"
        );
    }
}

/// I6, F17, AZ-4b, AZ-4d: on plain text there is no identity.
#[test]
fn what_is_not_known_denies_and_never_allows() {
    let nameless = Caller::new("td/workload");
    for (caller, from, denied) in [
        (Caller::plain(), "principals=td/ns/a/sa/evil", true),
        (Caller::plain(), "not_principals=td/ns/a/sa/good", true),
        (Caller::plain(), "namespaces=evil", true),
        (Caller::plain(), "not_namespaces=good", true),
        (Caller::plain(), "not_accounts=a/good", true),
        (Caller::plain(), "principals=evil ip=192.0.2.0/24", false),
        (nameless.clone(), "namespaces=evil", true),
        (nameless.clone(), "accounts=a/evil", true),
        (nameless, "principals=td/ns/a/sa/evil", false),
        (Caller::new(A), "not_principals=cluster.local/ns/a/sa/x", false),
        (Caller::new(A), "not_principals=cluster.local/ns/a/sa/y", true),
    ] {
        let denies = deny(vec![rule(&[from], &[])]);
        let expected = if denied { 403 } else { 200 };
        assert_eq!(
            status(&[denies], &caller, &get("/")),
            expected,
            "DENY {from} {caller:?}"
        );
        if caller.identity.is_none() {
            assert!(!allows(&[from], &[], &caller, &get("/")), "ALLOW {from}");
        }
    }
}

/// Rows 355, 357: a connection without HTTP.
#[test]
fn what_only_requests_have_is_not_known_on_a_connection() {
    let denies = compile(&[deny(vec![rule(&[], &["methods=POST ports=8080"])])]);
    for (port, expected) in [(8080, 403), (9090, 200)] {
        let decision = denies
            .authorize_connection(&Caller::plain().on_port(port).peer())
            .status();
        assert_eq!(decision.as_u16(), expected, "{port}");
    }
    let allows = compile(&[allow(vec![rule(&[], &["paths=/a*"])])]);
    assert!(!allows.authorize_connection(&sleep().peer()).is_allowed());
    let by_port = compile(&[allow(vec![rule(&["namespaces=default"], &["ports=8080"])])]);
    assert!(by_port.authorize_connection(&sleep().peer()).is_allowed());
}

/// AZ-6: the decision names what made it.
#[test]
fn a_decision_says_why() {
    let policies = [
        policy(
            "by-ns",
            Action::Allow,
            vec![rule(&["namespaces=nobody"], &[]), rule(&["namespaces=default"], &[])],
        ),
        policy("no-put", Action::Deny, vec![rule(&[], &["methods=PUT"])]),
        policy("no-evil", Action::Deny, vec![rule(&["principals=evil"], &[])]),
    ];
    let authorizer = compile(&policies);
    let put = request("PUT", "h", "/");
    let get = get("/");
    for (caller, request, policy, index, text) in [
        (
            sleep(),
            &get,
            Some("by-ns"),
            Some(1),
            "rule 1 of policy `foo/by-ns` allows it",
        ),
        (
            sleep(),
            &put,
            Some("no-put"),
            Some(0),
            "rule 0 of policy `foo/no-put` denies it",
        ),
        (Caller::new(A), &get, None, None, "no rule of an ALLOW policy matched"),
        (
            Caller::plain(),
            &get,
            Some("no-evil"),
            Some(0),
            "rule 0 of policy `foo/no-evil` denies it: the peer or the request lacks what the rule looks at",
        ),
    ] {
        let canonical = canonicalize(request, Options::default()).unwrap();
        let decision = authorizer.authorize(&canonical.view(), &caller.peer());
        assert_eq!(
            (decision.policy(), decision.rule_index()),
            (policy, index),
            "{caller:?}"
        );
        assert_eq!(decision.to_string(), text);
    }
    let canonical = canonicalize(&get, Options::default()).unwrap();
    let none = compile(&[]);
    let decision = none.authorize(&canonical.view(), &sleep().peer());
    assert_eq!(decision.to_string(), "no authorization policy holds for this workload");
    assert_eq!(decision.origin(), None);
}

#[test]
fn a_decision_points_at_the_rule_in_its_file() {
    let mut policy = allow(anything());
    policy.meta.origin.line = 1;
    let mut second = Rule::default();
    second.origin.line = 12;
    policy.rules = vec![rule(&["namespaces=nobody"], &[]), second].into();
    let authorizer = compile(std::slice::from_ref(&policy));
    let request = get("/");
    let canonical = canonicalize(&request, Options::default()).unwrap();
    let decision = authorizer.authorize(&canonical.view(), &sleep().peer());
    assert_eq!(decision.origin().unwrap().line, 12);
    assert_eq!(decision.rule().unwrap().policy.origin.line, 1);
}

#[test]
fn rules_that_cannot_match_are_refused_all_at_once() {
    let policy = deny(vec![
        rule(&[], &["paths=/a%2fb"]),
        rule(&[], &["paths=/ok"]),
        rule(&[], &["paths=/a;b"]),
        rule(&[], &["paths=/x/{y}"]),
        rule(&[], &["hosts=a:http"]),
    ]);
    let invalid = Authorizer::compile([&policy], &httpbin(), ROOT).unwrap_err();
    let texts: Vec<_> = invalid.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "policy `foo/deny`: no request is served whose path matches `/a%2fb`: it holds an escaped slash",
            "policy `foo/deny`: no request is served whose path matches `/a;b`: `;` is refused while rules look at paths",
            "policy `foo/deny`: `/x/{y}` is not a path template: `{*}` and `{**}` must be whole segments",
            "policy `foo/deny`: `a:http` names a port that is not a number up to 65535",
        ]
    );
    assert_eq!(check(&policy), invalid);
}

#[test]
fn rules_of_a_connection_know_their_policies() {
    let before = compile(&[allow(anything())]);
    let after = compile(&[allow(vec![])]);
    let rules = before.for_peer(&sleep().peer());
    let same = before.clone();
    assert!(rules.are_of(&before) && rules.are_of(&same));
    assert!(!rules.are_of(&after));
}

#[test]
fn only_rules_about_paths_make_semicolons_ambiguous() {
    let path_rules = |to: &str| compile(&[allow(vec![rule(&[], &[to])])]).path_rules();
    assert_eq!(path_rules("methods=GET"), PathRules::Absent);
    assert_eq!(path_rules("paths=/a"), PathRules::Present);
    assert_eq!(path_rules("not_paths=/a"), PathRules::Present);
}

/// The seeds' policies: tenants, two principals for two paths.
#[test]
fn tenants_reach_their_own_paths_only() {
    let policy = allow(vec![
        rule(&["principals=cluster.local/ns/tenant-a/*"], &["paths=/api/tenant-a/*"]),
        rule(&["principals=cluster.local/ns/tenant-b/*"], &["paths=/api/tenant-b/*"]),
    ]);
    for (tenant, path, expected) in [
        ("tenant-a", "/api/tenant-a/x", 200),
        ("tenant-a", "/api/tenant-b/x", 403),
        ("tenant-a", "/api/tenant-a/../tenant-b/x", 403),
        ("tenant-b", "/api/tenant-b/x", 200),
        ("tenant-c", "/api/tenant-a/x", 403),
    ] {
        let caller = Caller::new(&format!("cluster.local/ns/{tenant}/sa/app"));
        assert_eq!(
            status(std::slice::from_ref(&policy), &caller, &get(path)),
            expected,
            "{tenant} {path}"
        );
    }
}

/// Groups large enough to be indexed by path, reached by each kind of source.
#[test]
fn the_rules_of_many_principals_are_found() {
    let rules = (0..500)
        .map(|i| {
            let from = match i % 4 {
                0 => format!("principals=td/ns/n{i}/sa/s"),
                1 => "principals=td/ns/shared/*".into(),
                2 => "namespaces=shared".into(),
                _ => "accounts=shared/s".into(),
            };
            rule(&[&from], &[&format!("paths=/p{i}"), &format!("paths=/q{i}/*")])
        })
        .collect();
    let policies = [allow(rules)];
    for i in (0..500).step_by(37) {
        let caller = if i % 4 == 0 {
            format!("td/ns/n{i}/sa/s")
        } else {
            "td/ns/shared/sa/s".into()
        };
        let caller = Caller::new(&caller);
        for (path, expected) in [
            (format!("/p{i}"), 200),
            (format!("/q{i}/x"), 200),
            (format!("/r{i}"), 403),
        ] {
            assert_eq!(status(&policies, &caller, &get(&path)), expected, "{i} {path}");
        }
    }
}
