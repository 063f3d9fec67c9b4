//! Rules that hide what others say from most callers, and servers.

use super::{diff, line};
use crate::diff::{Area, Change, Kind};

/// The orders, whose clients bear tokens of one issuer.
fn with_tokens(rules: &str) -> String {
    format!(
        "namespace: shop
request_authentication:
  - {{ name: jwt, selector: {{ app: orders }}, rules: [{{ issuer: 'https://id.example.com', audiences: [orders], keys: {{ discovered: true }} }}] }}
authorization:
{rules}"
    )
}

const NEED_TOKEN: &str =
    "  - { name: need-jwt, selector: { app: orders }, deny: [{ not_request_principals: ['*'] }] }\n";
const ALLOW_WEB: &str = "  - { name: orders, selector: { app: orders }, allow: [{ from: [cluster.local/ns/shop/sa/web], methods: [GET] }] }\n";

/// Who gains and who loses access.
fn access(old: &str, new: &str) -> Vec<(Kind, String)> {
    let found = diff(old, new).changes;
    assert!(diff(old, old).changes.is_empty() && diff(new, new).changes.is_empty());
    let of_access = found.into_iter().filter(|change| change.area == Area::Access);
    of_access.map(|change| (change.kind, change.subject)).collect()
}

#[test]
fn callers_bear_tokens_where_a_rule_denies_those_without() {
    let old = with_tokens(&format!("{NEED_TOKEN}{ALLOW_WEB}"));
    let found = diff(&old, &old.replace("sa/web", "sa/attacker")).changes;
    let lines: Vec<String> = found.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "Access Gained cluster.local/ns/shop/sa/attacker with a token of https://id.example.com/x [decision: deny: no rule of an ALLOW policy matched → allow: rule 0 of policy `shop/orders` allows it]",
            "Access Lost cluster.local/ns/shop/sa/web with a token of https://id.example.com/x [decision: allow: rule 0 of policy `shop/orders` allows it → deny: no rule of an ALLOW policy matched]",
        ]
    );
    assert_eq!(found[0].requests, ["GET /"]);
}

#[test]
fn callers_bear_tokens_where_requests_have_to() {
    let old = with_tokens(ALLOW_WEB).replace("audiences:", "presence: required, audiences:");
    let found = access(&old, &old.replace("sa/web", "sa/attacker"));
    assert_eq!(
        found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        [Kind::Gained, Kind::Lost],
        "{found:#?}"
    );
}

#[test]
fn a_token_is_told_only_where_it_matters() {
    let rules =
        "  - { name: staff, selector: { app: orders }, allow: [{ request_principals: ['*'], methods: [GET] }] }\n";
    let old = with_tokens(&format!("{rules}{ALLOW_WEB}"));
    let found = access(&old, &old.replace("sa/web]", "sa/web, cluster.local/ns/shop/sa/web2]"));
    assert_eq!(found, [(Kind::Gained, "cluster.local/ns/shop/sa/web2".to_owned())]);
}

#[test]
fn principals_audiences_and_claims_of_tokens_are_asked_for() {
    let rules = |rule: &str| {
        with_tokens(&format!(
            "{NEED_TOKEN}  - {{ name: orders, selector: {{ app: orders }}, allow: [{{ {rule} }}] }}\n"
        ))
    };
    for (old, new) in [
        (
            "request_principals: ['https://id.example.com/ann']",
            "request_principals: ['https://id.example.com/bob']",
        ),
        (
            "request_principals: ['https://id.example.com/ann']",
            "request_principals: ['https://id.example.com/*']",
        ),
        ("request_principals: ['*/ann']", "request_principals: ['*/bob']"),
        (
            "when: [{ attribute: 'request.auth.claims[groups]', values: [staff] }]",
            "when: [{ attribute: 'request.auth.claims[groups]', values: [staff, admins] }]",
        ),
        (
            "when: [{ attribute: 'request.auth.claims[realm][roles]', values: [staff] }]",
            "when: [{ attribute: 'request.auth.claims[realm][roles]', values: ['st*'] }]",
        ),
        (
            "when: [{ attribute: request.auth.audiences, values: [orders] }]",
            "when: [{ attribute: request.auth.audiences, values: [shop] }]",
        ),
        (
            "when: [{ attribute: request.auth.presenter, values: [app] }]",
            "when: [{ attribute: request.auth.presenter, not_values: [app] }]",
        ),
    ] {
        let found = access(&rules(old), &rules(new));
        assert!(!found.is_empty(), "{old} → {new}");
    }
}

#[test]
fn callers_come_from_where_a_rule_lets_them_pass() {
    for only in ["not_ip: [10.0.0.0/8]", "not_remote_ip: [10.0.0.0/8, 10.7.0.0/16]"] {
        let rules = format!(
            "namespace: shop\nauthorization:\n  - {{ name: inside, selector: {{ app: orders }}, deny: [{{ {only} }}] }}\n{ALLOW_WEB}"
        );
        let found = access(&rules, &rules.replace("sa/web", "sa/attacker"));
        let told: Vec<&str> = found.iter().map(|(_, subject)| subject.as_str()).collect();
        assert!(
            told.iter()
                .any(|one| one.starts_with("cluster.local/ns/shop/sa/attacker from 10."))
                && told
                    .iter()
                    .any(|one| one.starts_with("cluster.local/ns/shop/sa/web from 10.")),
            "{told:#?}"
        );
    }
}

#[test]
fn addresses_and_tokens_may_be_needed_together() {
    let inside = "  - { name: inside, selector: { app: orders }, deny: [{ not_ip: [10.0.0.0/8] }] }\n";
    let old = with_tokens(&format!("{NEED_TOKEN}{inside}{ALLOW_WEB}"));
    let found = access(&old, &old.replace("methods: [GET]", "methods: [GET, PUT]"));
    let web = "cluster.local/ns/shop/sa/web from 10.0.0.1 with a token of https://id.example.com/x";
    assert_eq!(found, [(Kind::Gained, web.to_owned())]);
}

const SERVER: &str = "\
namespace: shop
services: { orders: { endpoints: [{ address: 10.0.0.4:8080, labels: { app: orders } }] } }
servers:
  - name: orders
    selector: [{ label: app, is: { in: [orders] } }]
    ports: [8080]
    policies: [{ name: web, namespace: shop, allow: [{ from: [cluster.local/ns/shop/sa/web] }] }]
";

#[test]
fn servers_are_compared() {
    let orders = |changes: &[Change]| {
        let of_orders = |change: &&Change| change.workloads == ["namespace=shop,app=orders"];
        let lines: Vec<String> = changes.iter().filter(of_orders).map(line).collect();
        lines
    };
    let found = orders(&diff(SERVER, &SERVER.replace("sa/web", "sa/attacker")).changes);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("Access Gained cluster.local/ns/shop/sa/attacker ["),
        "{found:#?}"
    );
    assert!(
        found[1].starts_with("Access Lost cluster.local/ns/shop/sa/web ["),
        "{found:#?}"
    );

    let (open, _) = SERVER.split_once("servers:").unwrap();
    let found = orders(&diff(SERVER, open).changes);
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("Access Gained") && line.contains("plain text")),
        "{found:#?}"
    );
    assert!(!orders(&diff(open, SERVER).changes).is_empty());
    assert!(diff(SERVER, SERVER).changes.is_empty());
}

#[test]
fn routes_of_servers_and_labels_that_they_look_at_are_compared() {
    let routed = SERVER
        .replace("is: { in: [orders] }", "is: { present: true }")
        .replace(
            "    policies: [{ name: web, namespace: shop, allow: [{ from: [cluster.local/ns/shop/sa/web] }] }]\n",
            "    rules: [{ hosts: [orders.example.com], match: { path: { prefix: /v1 }, method: PUT }, route: 0 }]
    routes: [{ meta: { name: v1, namespace: shop }, policies: [{ name: web, namespace: shop, allow: [{ from: [cluster.local/ns/shop/sa/web] }] }] }]
",
        );
    for (from, to) in [
        ("sa/web", "sa/attacker"),
        ("/v1", "/v2"),
        ("PUT", "POST"),
        ("orders.ex", "shop.ex"),
    ] {
        let found = diff(&routed, &routed.replace(from, to)).changes;
        let is_ours =
            |change: &&Change| change.area == Area::Access && change.workloads == ["namespace=shop,app=orders"];
        assert!(found.iter().any(|change| is_ours(&change)), "{from} → {to}: {found:#?}");
    }
    assert!(diff(&routed, &routed).changes.is_empty());
}

#[test]
fn operations_are_asked_for_as_a_rule_exempts_them() {
    for (exempted, taken) in [
        ("not_paths: ['/public*']", "methods: [DELETE]"),
        ("not_methods: [PUT]", "paths: [/a]"),
        ("not_hosts: [orders.shop]", "paths: [/a]"),
        ("not_ports: [8080]", "paths: [/a]"),
    ] {
        let policy = |account: &str| {
            format!(
                "namespace: shop
authorization:
  - {{ name: most, selector: {{ app: orders }}, deny: [{{ {exempted} }}] }}
  - {{ name: orders, selector: {{ app: orders }}, allow: [{{ from: [cluster.local/ns/shop/sa/{account}], {taken} }}] }}
"
            )
        };
        let found = access(&policy("web"), &policy("attacker"));
        assert_eq!(found.len(), 2, "{exempted}: {found:#?}");
    }
}

#[test]
fn a_condition_on_the_host_header_is_asked_for_as_the_host() {
    let policy = |host: &str| {
        format!(
            "namespace: shop
authorization:
  - {{ name: hosts, selector: {{ app: orders }}, deny: [{{ when: [{{ attribute: 'request.headers[host]', values: [{host}] }}] }}] }}
"
        )
    };
    assert!(!access(&policy("admin.shop"), &policy("staff.shop")).is_empty());
}
