use super::findings;

/// An `AuthorizationPolicy` of namespace `shop` with this action and these rules.
fn policy(action: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: p, namespace: shop }}\n\
         spec: {{ selector: {{ matchLabels: {{ app: web }} }}, action: {action}, rules: [{rules}] }}\n"
    )
}

fn modes(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ {spec} }}\n"
    )
}

fn from(principal: &str) -> String {
    policy(
        "ALLOW",
        &format!("{{ from: [{{ source: {{ principals: ['{principal}'] }} }}] }}"),
    )
}

fn to(action: &str, paths: &str) -> String {
    policy(action, &format!("{{ to: [{{ operation: {{ paths: [{paths}] }} }}] }}"))
}

/// Without the place and the severity.
fn messages(files: &[&str]) -> Vec<String> {
    let found = findings(files);
    found
        .into_iter()
        .map(|one| one.split_once("warning").unwrap().1.to_owned())
        .collect()
}

#[test]
fn a_principal_that_no_peer_of_the_mesh_can_have_is_told() {
    for (principal, reason) in [
        ("td2/ns/a/sa/b", "trust domain `td2` is not the mesh's, `cluster.local`"),
        ("td2/ns/a/*", "trust domain `td2` is not the mesh's, `cluster.local`"),
        ("web", "it is no identity"),
        ("shop*", "it is no identity"),
        (
            "cluster.local/sa/web",
            "identities of workloads have a namespace and an account",
        ),
        (
            "cluster.local/ns/shop",
            "identities of workloads have a namespace and an account",
        ),
        (
            "cluster.local/shop/*",
            "identities of workloads have a namespace and an account",
        ),
    ] {
        let expected = format!("[MESH0512]: principal `{principal}` can never match: {reason}");
        assert_eq!(messages(&[&from(principal)]), [expected]);
    }
    let when = "{ when: [{ key: source.principal, values: [td2/ns/a/sa/b] }] }";
    assert_eq!(messages(&[&policy("DENY", when)]).len(), 1);
}

#[test]
fn a_principal_that_some_peer_can_have_is_not_told() {
    for principal in [
        "cluster.local/ns/shop/sa/web",
        "cluster.local/ns/shop/*",
        "cluster.local/*",
        "cluster*",
        "*/sa/web",
        "*",
    ] {
        assert_eq!(messages(&[&from(principal)]), [""; 0], "{principal}");
    }
    let mesh = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n\
                spec: { meshConfig: { trustDomain: td1, trustDomainAliases: [td2] } }\n";
    for principal in ["td1/ns/a/sa/b", "td2/ns/a/sa/b", "td2/ns/a/*"] {
        assert_eq!(messages(&[mesh, &from(principal)]), [""; 0], "{principal}");
    }
}

#[test]
fn a_path_that_no_request_has_is_told() {
    for (path, reason) in [
        ("admin*", "paths begin with `/`"),
        ("/a//b", "slashes are merged before paths are compared"),
        ("/a?b=c", "paths are compared without their query"),
    ] {
        let expected = format!("[MESH0512]: path `{path}` can never match: {reason}");
        assert_eq!(messages(&[&to("DENY", path)]), [expected]);
    }
    assert_eq!(
        messages(&[&to("ALLOW", "/, /a/b, '/a*', '*.html', '*', '/a/{*}'")]),
        [""; 0]
    );
}

#[test]
fn a_rule_without_a_condition_is_told_where_it_allows() {
    let told = "[MESH0514]: the rule has no condition: it allows every request";
    assert_eq!(messages(&[&policy("ALLOW", "{}")]), [told]);
    assert_eq!(messages(&[&policy("DENY", "{}")]), [""; 0]);
    assert_eq!(messages(&[&policy("ALLOW", "")]), [""; 0]);
    let get = "{ to: [{ operation: { methods: [GET] } }] }";
    assert_eq!(messages(&[&policy("ALLOW", get)]), [""; 0]);
}

#[test]
fn a_denied_path_with_a_near_one_that_is_not_denied_is_told() {
    assert_eq!(
        messages(&[&to("DENY", "/admin/*")]),
        ["[MESH0515]: `/admin` is not denied: the rule denies what is below it"]
    );
    assert_eq!(
        messages(&[&to("DENY", "'*/admin'")]),
        ["[MESH0515]: paths that go on after `/admin` are not denied"]
    );
    for paths in [
        "/admin/*, /admin",
        "'/admin*', /admin/*",
        "/admin",
        "'/admin*'",
        "'/*'",
        "'*'",
    ] {
        assert_eq!(messages(&[&to("DENY", paths)]), [""; 0], "{paths}");
    }
    assert_eq!(messages(&[&to("ALLOW", "/admin/*")]), [""; 0]);
}

#[test]
fn a_star_that_stands_for_itself_is_told() {
    for path in ["*/a/*", "/a*b", "/*/b"] {
        let found = messages(&[&to("ALLOW", &format!("'{path}'"))]);
        assert!(
            found.len() == 1 && found[0].starts_with("[MESH0519]: in `"),
            "{found:?}"
        );
    }
    let header = "{ when: [{ key: 'request.headers[a]', values: ['*b*'] }] }";
    assert_eq!(
        messages(&[&policy("ALLOW", header)]),
        ["[MESH0519]: in `*b*` only one `*` stands for any text, the rest is compared as it is"]
    );
    let namespaces = "{ from: [{ source: { namespaces: ['a*b*'] } }] }";
    assert_eq!(messages(&[&policy("ALLOW", namespaces)]), [""; 0]);
}

#[test]
fn a_rule_on_identities_is_told_where_callers_may_have_none() {
    let rule = from("cluster.local/ns/shop/sa/web");
    let told = |files: &[&str]| {
        messages(files)
            .iter()
            .filter(|one| one.starts_with("[MESH0516]"))
            .count()
    };
    let (strict, open) = (
        modes("a", "mtls: { mode: STRICT }"),
        modes("a", "mtls: { mode: PERMISSIVE }"),
    );
    assert_eq!(told(&[&rule, &strict]), 0);
    assert_eq!(told(&[&rule, &open]), 1);
    assert_eq!(told(&[&rule]), 0, "another place may set the mode");
    let own = "selector: { matchLabels: { app: web } }, mtls: { mode: STRICT }";
    assert_eq!(told(&[&rule, &open, &modes("b", own)]), 0);
    let other = own.replace("web", "db");
    assert_eq!(told(&[&rule, &open, &modes("b", &other)]), 1);
    assert_eq!(told(&[&to("DENY", "/admin"), &open]), 0);
    assert_eq!(
        messages(&[&rule, &modes("a", "mtls: { mode: DISABLE }")]),
        ["[MESH0516]: the rule never allows callers without an identity, and its workloads take only plain text"]
    );
}

#[test]
fn what_a_policy_on_trial_would_do_is_not_told() {
    let trial = policy("ALLOW", "{}").replace(
        "namespace: shop",
        "namespace: shop, annotations: { istio.io/dry-run: 'true' }",
    );
    assert!(!messages(&[&trial]).iter().any(|one| one.contains("MESH0514")));
}

#[test]
fn modes_of_workloads_with_the_same_labels_overlap() {
    let of = |name: &str, labels: &str, mode: &str| {
        modes(
            name,
            &format!("selector: {{ matchLabels: {{ {labels} }} }}, mtls: {{ mode: {mode} }}"),
        )
    };
    let wide = of("wide", "app: web", "STRICT");
    assert_eq!(
        messages(&[&wide, &of("one", "app: web, version: v1", "DISABLE")]),
        ["[MESH0522]: workloads of `one` are those of `wide`, too: only the modes of `one` count for them"]
    );
    assert_eq!(
        messages(&[&wide, &of("one", "app: web, version: v1", "STRICT")]),
        [""; 0]
    );
    assert_eq!(
        messages(&[&wide, &of("one", "app: db, version: v1", "DISABLE")]),
        [""; 0]
    );
}

#[test]
fn methods_and_regexes_in_another_form_are_told() {
    let policy = |operation: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: a }}\nspec: {{ action: DENY, rules: [{{ to: [{{ operation: {{ {operation} }} }}] }}] }}\n"
        )
    };
    for (operation, expected, help) in [
        (
            "methods: [delete]",
            "warning[MESH0512]: method `delete` can never match: methods are compared with their case",
            "write `DELETE`",
        ),
        (
            "paths: ['/api/.*']",
            "warning[MESH0519]: in `/api/.*` the `.` is compared as it is: this is no regex",
            "write `/api/*`",
        ),
    ] {
        let text = policy(operation);
        assert_eq!(findings(&[&text]), [format!("a:4:31: {expected}")], "{operation}");
        assert_eq!(super::help(&[&text]), [Some(help.to_owned())], "{operation}");
    }
    for operation in ["methods: [DELETE, purge]", "paths: [/api.*]", "paths: ['/a*', /b]"] {
        assert_eq!(findings(&[&policy(operation)]), [""; 0], "{operation}");
    }
}

#[test]
fn an_end_of_hosts_within_a_name_is_told() {
    let hosts = |hosts: &str| {
        findings(&[&format!(
            "authorization: [{{ name: a, deny: [{{ hosts: [{hosts}], not_hosts: [\"*.b.example\", \"*\"] }}] }}]\n"
        )])
    };
    let told = "a:1:35: warning[MESH0527]: `hosts`: `*a.example` takes any host that ends so, such as `xa.example`";
    assert_eq!(hosts("\"*a.example\""), [told]);
    assert_eq!(hosts("\"*.a.example\", a.example"), [""; 0]);
}
