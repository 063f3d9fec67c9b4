//! `mesh explain --inbound`.

use serde_json::{Value, json};

use crate::mesh::{Folder, Run, keys};

const SHOP: &str = "\
namespace: production
mesh: { mtls: strict }
authorization:
  - name: orders-api
    service: orders
    allow:
      - { from: [cluster.local/ns/production/sa/web], methods: [GET, DELETE], paths: ['/api/orders*'] }
      - { ip: [10.0.0.0/8], ports: [9000] }
  - name: keep-orders
    service: orders
    deny:
      - { methods: [DELETE] }
";

fn shop() -> Folder {
    Folder::new(&[("shop.yaml", SHOP)])
}

const WEB: &str = "cluster.local/ns/production/sa/web";
const ORDERS: [&str; 5] = [
    "--inbound",
    "--as",
    "namespace=production,sa=orders,app=orders",
    "--from",
    WEB,
];

#[track_caller]
fn explain(folder: &Folder, arguments: &[&str]) -> (Run, Value) {
    let run = folder.explain(arguments);
    let answer = run.json();
    assert_eq!(
        keys(&answer),
        [
            "decision",
            "direction",
            "mtls",
            "origin",
            "policy",
            "reason",
            "rule",
            "status"
        ]
    );
    let decision = answer["decision"].as_str().unwrap();
    assert_eq!(
        (decision, run.code),
        if run.code == 0 { ("allow", 0) } else { ("deny", 3) },
        "{run:#?}"
    );
    (run, answer)
}

#[test]
fn a_caller_that_a_rule_allows_is_told_with_the_rule() {
    let (run, answer) = explain(
        &shop(),
        &[&ORDERS, ["http://orders:8080/api/orders"].as_slice()].concat(),
    );

    assert_eq!(run.code, 0);
    let expected = json!({
        "direction": "inbound",
        "decision": "allow",
        "status": 200,
        "mtls": "strict",
        "policy": "orders-api",
        "rule": 0,
        "origin": { "file": "policy/shop.yaml", "line": 7 },
        "reason": "rule 0 of policy `production/orders-api` allows it",
    });
    assert_eq!(answer, expected);
}

#[test]
fn an_id_is_the_same_with_and_without_its_scheme() {
    let folder = shop();
    let long = format!("spiffe://{WEB}");
    let arguments = [
        "--inbound",
        "--as",
        ORDERS[2],
        "--from",
        &long,
        "http://orders/api/orders",
    ];
    assert_eq!(explain(&folder, &arguments).1["decision"], "allow");
}

#[test]
fn what_no_rule_allows_is_denied() {
    let folder = shop();
    for arguments in [
        &["-X", "POST", "http://orders/api/orders"] as &[&str],
        &["http://orders/admin"],
        &["http://orders/api/orders/../../admin"],
    ] {
        let (run, answer) = explain(&folder, &[&ORDERS, arguments].concat());
        assert_eq!(
            (run.code, &answer["status"], &answer["policy"]),
            (3, &json!(403), &json!(null)),
            "{arguments:?}"
        );
    }
    let other = [
        "--inbound",
        "--as",
        ORDERS[2],
        "--from",
        "cluster.local/ns/production/sa/x",
        "http://orders/api/orders",
    ];
    assert_eq!(explain(&folder, &other).0.code, 3);
}

#[test]
fn a_denial_comes_before_an_allowance() {
    let (run, answer) = explain(
        &shop(),
        &[&ORDERS, ["-X", "DELETE", "http://orders/api/orders"].as_slice()].concat(),
    );

    assert_eq!(run.code, 3);
    assert_eq!(
        (&answer["policy"], &answer["rule"], &answer["origin"]["line"]),
        (&json!("keep-orders"), &json!(0), &json!(12))
    );
    assert_eq!(answer["status"], 403);
}

#[test]
fn address_and_port_of_the_connection_count() {
    let folder = shop();
    for (address, url, code) in [
        ("10.1.2.3", "http://orders:9000/any", 0),
        ("10.1.2.3", "http://orders/any", 3),
        ("192.168.0.1", "http://orders:9000/any", 3),
    ] {
        let (run, _) = explain(&folder, &[&ORDERS, ["--source-ip", address, url].as_slice()].concat());
        assert_eq!(run.code, code, "{address} {url}");
    }
}

#[test]
fn plain_text_is_refused_where_mtls_is_strict() {
    let folder = shop();
    for arguments in [
        &[
            "--inbound",
            "--as",
            ORDERS[2],
            "--plaintext",
            "http://orders/api/orders",
        ] as &[&str],
        &["--inbound", "--as", ORDERS[2], "http://orders/api/orders"],
        &["--inbound", "--as", ORDERS[2], "http://orders/api%2Forders"],
    ] {
        let (run, answer) = explain(&folder, arguments);
        assert_eq!(
            (run.code, &answer["status"], &answer["mtls"]),
            (3, &json!(403), &json!("strict"))
        );
        let reason = answer["reason"].as_str().unwrap();
        assert_eq!(
            reason,
            "the port takes mTLS only (STRICT), and the caller uses plain text"
        );
        assert_eq!(answer["origin"]["line"], 2);
    }
}

#[test]
fn plain_text_is_taken_where_mtls_is_permissive_and_mtls_is_not_where_it_is_off() {
    let url = "http://orders/";
    let folder = Folder::new(&[("shop.yaml", "mesh: { mtls: permissive }\n")]);
    for caller in [&["--plaintext"] as &[&str], &["--from", WEB]] {
        let (_, answer) = explain(&folder, &[&["--inbound"], caller, &[url]].concat());
        assert_eq!(
            (&answer["decision"], &answer["mtls"]),
            (&json!("allow"), &json!("permissive"))
        );
    }

    let folder = Folder::new(&[("shop.yaml", "mesh: { mtls: disable }\n")]);
    assert_eq!(
        explain(&folder, &["--inbound", "--plaintext", url]).1["mtls"],
        "disable"
    );
    assert_eq!(explain(&folder, &["--inbound", "--from", WEB, url]).0.code, 3);
}

#[test]
fn a_policy_for_others_does_not_hold() {
    let (run, answer) = explain(
        &shop(),
        &[
            "--inbound",
            "--as",
            "namespace=production,app=search",
            "--from",
            WEB,
            "http://search/",
        ],
    );

    assert_eq!((run.code, &answer["policy"]), (0, &json!(null)));
    assert_eq!(answer["reason"], "no authorization policy holds for this workload");
}

#[test]
fn a_request_without_an_unambiguous_form_is_denied_with_its_status() {
    let folder = shop();
    for (arguments, status) in [
        (&["http://orders/api%2Forders"] as &[&str], 400),
        (&["http://orders/api/orders;x=1"], 400),
        (&["http://admin@orders/api/orders"], 400),
        (&["-H", "host: a", "-H", "host: b", "http://orders/api/orders"], 400),
        (&["-X", "TRACE", "http://orders/"], 405),
        (&["-X", "BREW", "http://orders/"], 501),
    ] {
        let (run, answer) = explain(&folder, &[&ORDERS, arguments].concat());
        assert_eq!((run.code, &answer["status"]), (3, &json!(status)), "{arguments:?}");
        assert_eq!(answer["policy"], json!(null));
    }
}

#[test]
fn a_host_header_names_the_host_as_on_the_wire() {
    let text = "authorization: [{ name: by-host, allow: [{ hosts: [shop.example.com] }] }]\n";
    let folder = Folder::new(&[("shop.yaml", text)]);
    let url = "http://10.0.0.4:8080/";

    assert_eq!(
        explain(&folder, &["--inbound", "-H", "Host: shop.example.com", url])
            .0
            .code,
        0
    );
    assert_eq!(explain(&folder, &["--inbound", url]).0.code, 3);
}

#[test]
fn people_get_the_same_facts_in_lines() {
    let run = shop().tell(&[&ORDERS, ["-X", "DELETE", "https://orders/api/orders"].as_slice()].concat());

    assert_eq!(run.code, 3);
    let expected = "\
request      DELETE https://orders/api/orders
caller       127.0.0.1 over mTLS as spiffe://cluster.local/ns/production/sa/web
received by  port 443 of service account orders of namespace production, app=orders
decision     deny, answered with 403
mtls         strict: mTLS only
policy       keep-orders, rule 0  (policy/shop.yaml:12)
reason       rule 0 of policy `production/keep-orders` denies it
";
    assert_eq!(run.out, expected);
}

#[test]
fn people_see_which_policies_there_are_where_none_decided() {
    let folder = shop();
    let search = [
        "--inbound",
        "--as",
        "app=search",
        "--from",
        "other.example/ns/a/sa/b",
        "http://search/",
    ];

    let run = folder.tell(&search);

    let policies = run.fact("policies");
    assert_eq!(policies.len(), 2);
    assert_eq!(
        policies[0],
        "production/orders-api: ALLOW for app=orders  (policy/shop.yaml:4)"
    );
    assert!(
        run.fact("caller")[1].starts_with("of another trust domain than `cluster.local`"),
        "{run:#?}"
    );
}

#[test]
fn people_see_that_strict_mtls_closes_the_connection() {
    let run = shop().tell(&["--inbound", "--as", ORDERS[2], "http://orders/api/orders"]);

    assert_eq!(run.fact("decision"), ["deny, the connection is closed"]);
    assert_eq!(run.fact("set at"), ["policy/shop.yaml:2"]);
}

const MARKED: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: records, namespace: production }
spec: { action: AUDIT, rules: [{ to: [{ operation: { paths: [/records*] } }] }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: soon, namespace: production, annotations: { istio.io/dry-run: 'true' } }
spec: { action: DENY, rules: [{ to: [{ operation: { methods: [DELETE] } }] }] }
";

#[test]
fn what_marks_a_request_and_what_is_on_trial_is_told() {
    let folder = Folder::new(&[("marked.yaml", MARKED)]);
    let arguments = [&ORDERS, ["-X", "DELETE", "http://orders/records/1"].as_slice()].concat();

    let run = folder.explain(&arguments);
    let answer = run.json();
    assert_eq!((run.code, &answer["decision"]), (0, &json!("allow")));
    assert_eq!(answer["audited"], "rule 0 of policy `production/records`");
    let trial = json!({
        "decision": "deny",
        "policy": "soon",
        "reason": "rule 0 of policy `production/soon` denies it",
    });
    assert_eq!(answer["trial"], trial);

    let lines = folder.tell(&arguments);
    assert_eq!(lines.fact("audited by"), ["rule 0 of policy `production/records`"]);
    assert_eq!(
        lines.fact("on trial"),
        ["deny: rule 0 of policy `production/soon` denies it"]
    );
}

const ASKED: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: production }
spec: { action: CUSTOM, provider: { name: authorizer }, rules: [{ to: [{ operation: { paths: [/admin] } }] }] }
";

#[test]
fn where_nobody_can_be_asked_the_request_is_denied() {
    let folder = Folder::new(&[("ask.yaml", ASKED)]);
    let (run, answer) = explain(&folder, &[&ORDERS, ["http://orders/admin"].as_slice()].concat());

    assert_eq!((run.code, &answer["policy"]), (3, &json!("ask")));
    assert_eq!(
        answer["reason"],
        "rule 0 of policy `production/ask` asks `authorizer`, and nobody can be asked: no file defines it"
    );
    let (run, _) = explain(&folder, &[&ORDERS, ["http://orders/"].as_slice()].concat());
    assert_eq!(run.code, 0);
}

const AUTHORIZER: &str = "\
namespace: production
services: { authz: { endpoints: [10.0.0.9:9191] } }
authorizers: [{ name: authorizer, protocol: { grpc: true }, service: authz, port: 9191, on_failure: allow }]
authorization: [{ name: keep, deny: [{ methods: [DELETE] }] }]
";

#[test]
fn who_is_asked_is_told_and_what_the_other_rules_say_then() {
    let folder = Folder::new(&[("ask.yaml", ASKED), ("authorizer.yaml", AUTHORIZER)]);
    let arguments = [&ORDERS, ["http://orders/admin"].as_slice()].concat();
    let run = folder.explain(&arguments);
    let answer = run.json();

    assert_eq!(
        (run.code, &answer["decision"], &answer["policy"]),
        (0, &json!("ask"), &json!("ask"))
    );
    let asks = json!({
        "authorizer": "authorizer",
        "protocol": "grpc",
        "service": "authz.production.svc.cluster.local:9191",
        "origin": { "file": "policy/authorizer.yaml", "line": 3 },
        "on_failure": "allow",
        "then": "allow",
    });
    assert_eq!(answer["asks"], asks);

    let lines = folder.tell(&arguments);
    assert_eq!(
        lines.fact("asks"),
        [
            "authorizer  (policy/authorizer.yaml:3)",
            "grpc to authz.production.svc.cluster.local:9191; without an answer: allow",
        ]
    );
    assert_eq!(lines.fact("decision"), ["ask"]);

    let answer = folder
        .explain(&[&arguments, ["-X", "DELETE"].as_slice()].concat())
        .json();
    assert_eq!(
        (&answer["decision"], &answer["asks"]["then"]),
        (&json!("ask"), &json!("deny"))
    );
}

/// A3: a path that servers may take for another is asked about as both.
#[test]
fn a_path_with_several_readings_tells_them() {
    let policy = "services:\n  web: { endpoints: [10.0.0.4:8080] }\nauthorization:\n  - { name: keep, deny: [{ paths: [/admin] }] }\n";
    let folder = Folder::new(&[("web.yaml", policy)]);

    let denied = folder.tell(&["--inbound", "http://web//admin"]);
    assert_eq!(denied.code, 3, "{denied:#?}");
    assert_eq!(denied.fact("asked about"), ["//admin", "/admin"]);
    let denied = folder.explain(&["--inbound", "http://web//admin"]).json();
    assert_eq!(denied["paths"], json!(["//admin", "/admin"]));
    let plain = folder.explain(&["--inbound", "http://web/x"]);
    assert!(plain.code == 0 && plain.json().get("paths").is_none(), "{plain:#?}");
}

#[test]
fn policies_are_listed_with_what_they_hold_for() {
    let targets = "[{ kind: service, name: orders }, { kind: gateway_class, name: mesh }]";
    let folder = Folder::new(&[(
        "shop.yaml",
        &format!(
            "namespace: shop\nauthorization:\n  - {{ name: x, targets: {targets}, deny: [{{}}] }}\n  \
             - {{ name: y, selector: {{ app: y }}, accounts: [a, b], deny: [{{}}] }}\n"
        ),
    )]);
    let run = folder.tell(&["--inbound", "--as", "namespace=shop,app=orders", "http://orders/"]);
    for line in [
        "policies     shop/x: DENY for service orders, gateway class mesh  (policy/shop.yaml:3)\n",
        "             shop/y: DENY for app=y, of the accounts a, b  (policy/shop.yaml:4)\n",
    ] {
        assert!(run.out.contains(line), "{run:#?}");
    }
}

#[test]
fn a_policy_for_a_gateway_holds_for_the_process_that_serves_it() {
    let folder = Folder::new(&[(
        "shop.yaml",
        "namespace: shop\n\
         services: { orders: { endpoints: [10.0.0.4:8080] } }\n\
         gateways: { front: { selector: { app: front }, servers: [{ port: 80, hosts: ['*'] }] } }\n\
         routes: [{ name: r, hosts: [shop.example.com], gateways: [front], rules: [{ to: orders }] }]\n\
         authorization: [{ name: x, targets: [{ kind: gateway, name: front }], deny: [{}] }]\n",
    )]);
    for (app, code) in [("front", 3), ("orders", 0)] {
        let workload = format!("namespace=shop,app={app}");
        let arguments = ["--inbound", "--as", &workload, "http://shop.example.com/"];
        let (run, answer) = explain(&folder, &arguments);
        assert_eq!(run.code, code, "{answer:#}");
        let policy = if code == 3 { json!("x") } else { Value::Null };
        assert_eq!(answer["policy"], policy);
    }
}
