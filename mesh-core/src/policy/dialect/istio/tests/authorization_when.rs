use super::*;
use crate::policy::model::authz::{Attribute, When};

const KIND: &str = "AuthorizationPolicy";

fn spec(condition: &str) -> String {
    format!("rules: [{{ when: [{{\n{condition} }}] }}]")
}

/// The only condition of a policy, with all that is said about it.
fn condition(text: &str) -> (When, Vec<String>) {
    let loaded = load_spec(KIND, &spec(text));
    let when = loaded.policy.authorizations[0].rules[0].when[0].clone();
    (when, loaded.lines)
}

/// Findings about a condition, which is written in line 4.
#[track_caller]
fn assert_conditions(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_lines(KIND, &[(&spec(text), expected)]);
    }
}

#[test]
fn every_key_has_its_attribute() {
    let claims = |names: &[&str]| Attribute::Claims(names.iter().map(|name| (*name).to_owned()).collect());
    for (key, value, attribute, is_in_force) in [
        ("source.ip", "10.0.0.0/8", Attribute::SourceIp, true),
        ("remote.ip", "10.0.0.1", Attribute::RemoteIp, true),
        ("source.namespace", "a*b", Attribute::SourceNamespace, true),
        ("source.principal", "td/ns/a/sa/b", Attribute::SourcePrincipal, true),
        ("source.serviceAccount", "a/b", Attribute::SourceServiceAccount, true),
        ("source.trustDomain", "td*", Attribute::SourceTrustDomain, true),
        ("request.auth.principal", "iss/sub", Attribute::RequestPrincipal, true),
        ("request.auth.audiences", "a", Attribute::Audiences, true),
        ("request.auth.presenter", "a", Attribute::Presenter, true),
        ("request.auth.claims[iss]", "a", claims(&["iss"]), true),
        ("request.auth.claims[a][b.c]", "a", claims(&["a", "b.c"]), true),
        ("destination.ip", "::1", Attribute::DestinationIp, true),
        ("destination.port", "80", Attribute::DestinationPort, true),
        ("connection.sni", "*.a", Attribute::Sni, true),
        (
            "request.headers[X-A]",
            "*",
            Attribute::Header(http::HeaderName::from_static("x-a")),
            true,
        ),
        (
            "request.headers[:method]",
            "GET",
            Attribute::Pseudo(":method".into()),
            true,
        ),
        (
            "request.headers[:authority]",
            "a",
            Attribute::Pseudo(":authority".into()),
            true,
        ),
        ("request.headers[:path]", "/a", Attribute::Pseudo(":path".into()), false),
        (
            "experimental.envoy.filters.a[b]",
            "c",
            Attribute::Foreign("experimental.envoy.filters.a[b]".into()),
            false,
        ),
    ] {
        let (when, lines) = condition(&format!("key: '{key}', values: ['{value}'], notValues: ['{value}']"));
        assert_eq!(when.attribute, attribute, "{key}");
        assert_eq!(when.values.any_of, [value], "{key}");
        assert_eq!(when.values.none_of, [value], "{key}");
        let is_late = |line: &String| line.starts_with("4:6: warning[MESH0401]: key `");
        assert_eq!(
            (lines.is_empty(), lines.iter().all(is_late)),
            (is_in_force, true),
            "{lines:?}"
        );
    }
}

#[test]
fn short_accounts_are_of_the_policys_namespace() {
    let (when, lines) = condition("key: source.serviceAccount, values: [web], notValues: [other/web]");
    assert_eq!(lines, [""; 0]);
    assert_eq!(
        (when.values.any_of, when.values.none_of),
        (vec!["shop/web".into()], vec!["other/web".into()])
    );
}

#[test]
fn conditions_are_checked() {
    assert_conditions(&[
        ("values: [a]", &["3:18: error[MESH0103]: missing field `key`"]),
        (
            "key: source.ip",
            &["3:18: error[MESH0103]: missing field `values` or `notValues`"],
        ),
        (
            "key: source.ip, values: []",
            &["3:18: error[MESH0103]: missing field `values` or `notValues`"],
        ),
        (
            "key: source.namespace, values: ['']",
            &["4:33: error[MESH0104]: `values`: expected a name, found empty text"],
        ),
        (
            "key: source.ip, values: [a]",
            &["4:26: error[MESH0104]: `values`: expected an IP address or a block such as `10.0.0.0/8`, found `a`"],
        ),
        (
            "key: destination.ip, notValues: [10.0.0.0/33]",
            &[
                "4:34: error[MESH0104]: `notValues`: expected an IP address or a block such as `10.0.0.0/8`, found `10.0.0.0/33`",
            ],
        ),
        (
            "key: destination.port, values: ['65536']",
            &["4:33: error[MESH0104]: `values`: expected a port of 0 to 65535 in quotes, found `65536`"],
        ),
        (
            "key: source.trustDomain, values: [a/b]",
            &["4:35: error[MESH0104]: `values`: expected a trust domain, with one `*` at most, found `a/b`"],
        ),
        (
            "key: source.principal, values: ['spiffe://a/b']",
            &["4:33: error[MESH0104]: `values`: a principal is written without `spiffe://`: `a/b`"],
        ),
        (
            "key: source.serviceAccount, values: ['a*']",
            &[
                "4:38: error[MESH0104]: `values`: expected `name` or `namespace/name` of at most 320 characters, found `a*`",
            ],
        ),
    ]);
}

#[test]
fn unknown_keys_are_refused() {
    for key in [
        "destination.namespace",
        "destination.labels[a]",
        "destination.name",
        "destination.user",
        "source.user",
        "request.headers",
        "request.headers[]",
        "request.headers[a b]",
        "request.auth.claims",
        "request.auth.claims[]",
        "request.auth.claims[a][]",
        "request.auth.claims[a",
    ] {
        let expected = format!("4:6: error[MESH0104]: `key`: unknown key `{key}`");
        assert_conditions(&[(&format!("key: '{key}', values: [a]"), &[&expected])]);
    }
}

#[test]
fn aliases_stand_for_the_trust_domain_and_it_for_them() {
    let principals = |domain: &str, aliases: &str, principal: &str| {
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nspec:\n  rules:\n    - when:\n        \
             - {{ key: source.principal, values: ['{principal}'] }}\n---\napiVersion: install.istio.io/v1alpha1\n\
             kind: IstioOperator\nspec: {{ meshConfig: {{ trustDomain: {domain}, trustDomainAliases: [{aliases}] }} }}\n"
        );
        let loaded = load(&text);
        assert_eq!(loaded.lines, [""; 0]);
        loaded.policy.authorizations[0].rules[0].when[0].values.any_of.join(" ")
    };
    const ID: &str = "ns/foo/sa/bar";
    for (domain, aliases, principal, expected) in [
        ("td2", "td1", "td1/ID", "td2/ID td1/ID"),
        ("td1", "cluster.local", "cluster.local/ID", "td1/ID cluster.local/ID"),
        ("td1", "", "cluster.local/ID", "td1/ID"),
        ("td1", "td2", "*/ID", "*/ID"),
        ("td1", "td2", "*", "*"),
        ("td1", "td2", "*sa/zzz", "*sa/zzz"),
        (
            "td2",
            "foo-td1, cluster.local",
            "*-td1/ID",
            "td2/ID *-td1/ID cluster.local/ID",
        ),
        ("td1", "td2", "foreign/ID", "foreign/ID"),
        ("td1", "td2", "td1/ns/foo", "td1/ns/foo"),
        ("new-td", "old-td", "*-td/ID", "*-td/ID"),
    ] {
        let found = principals(domain, aliases, &principal.replace("ID", ID));
        assert_eq!(found, expected.replace("ID", ID), "{domain} ({aliases}): {principal}");
    }
}
