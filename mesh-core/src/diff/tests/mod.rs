mod access;
mod routes;

use super::impact::{read, replay};
use super::{Area, Change, Changes, changes, workloads};
use crate::policy::Loaded;
use crate::policy::diagnostic::Paint;
use crate::policy::model::Policy;
use crate::workload::Workload;

const SHOP: &str = "\
namespace: shop
mesh: { mtls: strict }
services:
  orders:
    endpoints:
      - { address: 10.0.0.4:8080, labels: { version: v1 } }
      - { address: 10.0.0.5:8080, labels: { version: v2 } }
    subsets: { v1: { version: v1 }, v2: { version: v2 } }
    routes:
      - { name: testers, match: { headers: { x-version: canary } }, to: v2 }
      - { name: split, match: { path: { prefix: /api } }, to: { v1: 90, v2: 10 }, timeout: 10s, retry: { attempts: 3, on: [5xx, reset] } }
    balance: least_request
authorization:
  - { name: readers, service: orders, allow: [{ from: [cluster.local/ns/shop/sa/web], methods: [GET], paths: [/api/*] }] }
";

fn load(text: &str) -> Policy {
    let loaded = Loaded::from_files([("shop.yaml", text)]);
    loaded
        .policy
        .unwrap_or_else(|| panic!("{}", loaded.report.render(&loaded.sources, Paint::Plain)))
}

fn diff(old: &str, new: &str) -> Changes {
    let (old, new) = (load(old), load(new));
    changes(&old, &new, &workloads(&old, &new)).unwrap()
}

fn line(change: &Change) -> String {
    let facts: Vec<String> = change.facts.iter().map(ToString::to_string).collect();
    format!(
        "{:?} {:?} {} [{}]",
        change.area,
        change.kind,
        change.subject,
        facts.join("; ")
    )
}

/// What changes where this text of the shop becomes that one.
#[track_caller]
fn edit(from: &str, to: &str) -> Vec<String> {
    assert!(SHOP.contains(from), "{from}");
    diff(SHOP, &SHOP.replacen(from, to, 1))
        .changes
        .iter()
        .map(line)
        .collect()
}

#[test]
fn what_means_the_same_is_no_change() {
    for (from, to) in [
        ("namespace: shop\n", "# A comment.\nnamespace: shop\n"),
        ("timeout: 10s", "timeout: 10000ms"),
        ("{ v1: 90, v2: 10 }", "{ v1: 9, v2: 1 }"),
        ("{ v1: 90, v2: 10 }", "{ v2: 10, v1: 90 }"),
        ("[5xx, reset]", "[reset, 5xx]"),
        ("    balance: least_request\n", ""),
        ("name: testers", "name: canary"),
        ("sa/web]", "sa/web, cluster.local/ns/shop/sa/web]"),
        ("[/api/*]", "[/api/*, /api/x]"),
    ] {
        assert_eq!(edit(from, to), Vec::<String>::new(), "{from} → {to}");
    }
}

#[test]
fn order_of_documents_and_of_rules_that_do_not_overlap_says_nothing() {
    let one = "{ name: a, match: { path: { prefix: /a } }, to: v1 }";
    let other = "{ name: b, match: { path: { exact: /b } }, to: v2 }";
    let shop = |first: &str, second: &str| {
        format!(
            "services: {{ s: {{ endpoints: [{{ address: 10.0.0.1:80, labels: {{ v: '1' }} }}], subsets: {{ v1: {{ v: '1' }}, v2: {{ v: '2' }} }}, routes: [{first}, {second}] }} }}\n"
        )
    };
    assert!(diff(&shop(one, other), &shop(other, one)).changes.is_empty());
    let overlapping = "{ name: b, match: { headers: { x: y } }, to: v2 }";
    let found = diff(&shop(one, overlapping), &shop(overlapping, one)).changes;
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].subject,
        "s.default.svc.cluster.local: requests move from route `a` to `b`"
    );
    assert_eq!(found[0].requests, ["GET /a x: y", "GET /ax x: y"][..1]);
}

#[test]
fn an_istio_spelling_of_a_native_policy_is_no_change() {
    let native = "namespace: shop\nservices: { orders: { endpoints: [10.0.0.4:80], routes: [{ name: r, match: { path: { prefix: /api } }, to: [{ service: orders }], timeout: 5s }] } }\n";
    let istio = "namespace: shop\nservices: { orders: { endpoints: [10.0.0.4:80] } }\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: other, namespace: shop }\nspec: { hosts: [orders], http: [{ match: [{ uri: { prefix: /api } }], route: [{ destination: { host: orders } }], timeout: 5s }] }\n";
    let found = diff(native, istio);
    assert!(found.changes.is_empty(), "{:#?}", found.changes);
}

#[test]
fn whether_a_rule_was_delegated_and_where_is_no_change() {
    let service = |name: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ {spec} }}\n---\n"
        )
    };
    let to = "route: [{ destination: { host: orders } }], timeout: 5s";
    let root = service("root", "hosts: [orders], http: [{ delegate: { name: leaf } }]");
    let leaf = service("leaf", &format!("http: [{{ {to} }}]"));
    let plain = service("root", &format!("hosts: [orders], http: [{{ {to} }}]"));
    let (one, other) = (format!("{root}{leaf}"), format!("{leaf}{root}"));
    for (old, new) in [(&one, &other), (&one, &plain)] {
        let found = diff(old, new);
        assert!(found.changes.is_empty(), "{:#?}", found.changes);
    }
}

#[test]
fn shares_timeouts_and_retries_are_told_by_route() {
    const SPLIT: &str = "Routes Changed orders.shop.svc.cluster.local: route `split`";
    let service = "destination orders.shop.svc.cluster.local:80 subset";
    assert_eq!(
        edit("{ v1: 90, v2: 10 }", "{ v1: 50, v2: 50 }"),
        [format!("{SPLIT} [{service} v1: 90% → 50%; {service} v2: 10% → 50%]")]
    );
    assert_eq!(
        edit("timeout: 10s", "timeout: 1500ms"),
        [format!("{SPLIT} [timeout: 10s → 1500ms]")]
    );
    assert_eq!(edit("timeout: 10s, ", ""), [format!("{SPLIT} [timeout: 10s → none]")]);
    assert_eq!(
        edit("attempts: 3, on: [5xx, reset]", "attempts: 1, on: [5xx]"),
        [format!("{SPLIT} [retry.attempts: 3 → 1; retry.on: 5xx, reset → 5xx]")]
    );
}

#[test]
fn routes_come_go_and_take_other_requests() {
    let host = "orders.shop.svc.cluster.local";
    let added = edit(
        "    balance:",
        "      - { name: beta, match: { headers: { x-version: beta } }, to: v2 }\n    balance:",
    );
    assert_eq!(added.len(), 1, "{added:#?}");
    assert!(
        added[0].starts_with(&format!("Routes Added {host}: route `beta` [")),
        "{added:#?}"
    );

    let removed = edit(
        "      - { name: testers, match: { headers: { x-version: canary } }, to: v2 }\n",
        "",
    );
    assert!(
        removed
            .iter()
            .all(|line| line.contains("Removed") && line.contains("route `testers`")),
        "{removed:#?}"
    );
    assert!(!removed.is_empty());

    let narrowed = edit("{ prefix: /api }", "{ exact: /api }");
    let lost = "outcome: routed → no_route; ";
    assert_eq!(narrowed.len(), 1);
    assert!(
        narrowed[0].starts_with(&format!(
            "Routes Changed {host}: route `split` takes fewer requests [{lost}"
        )),
        "{narrowed:#?}"
    );
    assert!(narrowed[0].ends_with("; status: none → 404]"), "{narrowed:#?}");
}

#[test]
fn an_edit_within_a_regex_is_seen_where_its_samples_show_it() {
    let policy = |regex: &str| {
        format!(
            "services: {{ s: {{ endpoints: [10.0.0.1:80], routes: [{{ name: a, match: {{ path: {{ regex: '{regex}' }} }}, to: [{{ service: s }}] }}] }} }}\n"
        )
    };
    assert!(diff(&policy("/v[12]/.*"), &policy("/v[12]/.*")).changes.is_empty());
    assert_eq!(diff(&policy("/v[12]/.*"), &policy("/v[123]/.*")).changes.len(), 1);
    assert_eq!(diff(&policy("/(a|b)"), &policy("/(a|b|c)")).changes.len(), 1);
}

#[test]
fn endpoints_and_settings_are_told_by_service() {
    let added = edit(
        "    subsets:",
        "      - { address: 10.0.0.6:8080, weight: 2, labels: { version: v2 } }\n    subsets:",
    );
    assert!(added.iter().any(|line| line == "Services Changed orders.shop.svc.cluster.local:80 subset v2 [endpoint 10.0.0.6:8080: none → weight 2, mTLS]"), "{added:#?}");
    let balanced = edit(
        "least_request",
        "round_robin\n    limits: { connections: 10 }\n    outliers: { consecutive_5xx: 3 }",
    );
    assert!(balanced.iter().all(|line| line.contains("balance: least_request → round_robin; limits.connections: none → 10; outliers.")), "{balanced:#?}");
}

#[test]
fn callers_gain_and_lose_what_rules_give_and_take() {
    let gained = edit("methods: [GET]", "methods: [GET, DELETE]");
    assert_eq!(
        gained,
        [
            "Access Gained cluster.local/ns/shop/sa/web [decision: deny: no rule of an ALLOW policy matched → allow: rule 0 of policy `shop/readers` allows it]"
        ]
    );
    let lost = edit("sa/web]", "sa/admin]");
    assert_eq!(lost.len(), 2, "{lost:#?}");
    assert!(lost[0].starts_with("Access Gained cluster.local/ns/shop/sa/admin ["));
    assert!(lost[1].starts_with("Access Lost cluster.local/ns/shop/sa/web ["));

    let denied = edit(
        "authorization:\n",
        "authorization:\n  - { name: keep, service: orders, deny: [{ paths: [/api/keys*] }] }\n",
    );
    assert_eq!(
        denied,
        [
            "Access Lost cluster.local/ns/shop/sa/web [decision: allow: rule 0 of policy `shop/readers` allows it → deny: rule 0 of policy `shop/keep` denies it]"
        ]
    );
}

#[test]
fn who_and_what_is_told_with_the_places_of_both_rules() {
    let found = diff(SHOP, &SHOP.replace("paths: [/api/*]", "paths: [/api/*, /admin]"));
    let [change] = found.changes.as_slice() else {
        panic!("{found:#?}")
    };
    assert_eq!(change.requests, ["GET /admin"]);
    assert_eq!(change.workloads, ["namespace=shop,app=orders"]);
    assert_eq!(found.workloads, ["namespace=shop", "namespace=shop,app=orders"]);
    assert_eq!((change.old.is_none(), change.new.as_ref().unwrap().line), (true, 14));
}

#[test]
fn who_is_asked_is_part_of_what_callers_may_do() {
    const ASKED: &str = "  - { name: ask, service: orders, provider: opa, custom: [{ paths: [/api/keys*] }] }
authorizers:
  - { name: opa, protocol: { grpc: true }, service: orders, port: 80 }
  - { name: other, protocol: { http: {} }, service: orders, port: 80 }
";
    let asked = format!("{SHOP}{ASKED}");
    let lines = |old: &str, new: &str| -> Vec<String> { diff(old, new).changes.iter().map(line).collect() };

    let lost = lines(SHOP, &asked);
    assert!(
        lost[0].starts_with("Access Lost cluster.local/ns/shop/sa/web [decision: allow"),
        "{lost:#?}"
    );
    assert!(
        lost[0].contains("→ ask: rule 0 of policy `shop/ask` asks `opa`"),
        "{lost:#?}"
    );
    assert!(
        lost.iter().any(|line| line.starts_with("Mesh Added authorizer opa [")),
        "{lost:#?}"
    );
    assert!(lines(&asked, SHOP)[0].starts_with("Access Gained cluster.local/ns/shop/sa/web ["));

    let changed = lines(&asked, &asked.replace("provider: opa", "provider: other"));
    assert!(
        changed[0].starts_with("Access Changed cluster.local/ns/shop/sa/web [decision: ask"),
        "{changed:#?}"
    );
    let slower = lines(
        &asked,
        &asked.replace("{ grpc: true }, ", "{ grpc: true }, timeout: 3s, on_failure: allow, "),
    );
    assert_eq!(
        slower,
        ["Mesh Changed authorizer opa [on_failure: deny → allow; timeout: 1s → 3s]"]
    );
    assert!(lines(&asked, &format!("# a comment\n{asked}")).is_empty());
}

#[test]
fn plain_text_gains_with_the_mode_of_the_ports() {
    let found = edit("mtls: strict", "mtls: permissive");
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].starts_with("Access Gained plain text ["), "{found:#?}");
    assert_eq!(found[1], "Mtls Changed all ports [mtls: strict → permissive]");
    assert!(
        found[2].ends_with("[endpoint 10.0.0.4:8080: weight 1, mTLS → weight 1, plain text]"),
        "{found:#?}"
    );
}

#[test]
fn ports_with_modes_of_their_own_are_told_apart() {
    let policy = |mode: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{ name: a, namespace: shop }}\nspec: {{ selector: {{ matchLabels: {{ app: a }} }}, mtls: {{ mode: STRICT }}, portLevelMtls: {{ 8080: {{ mode: {mode} }} }} }}\n"
        )
    };
    let found = diff(&policy("STRICT"), &policy("DISABLE")).changes;
    let lines: Vec<String> = found.iter().map(line).collect();
    assert!(
        lines.contains(&"Mtls Changed port 8080 [mtls: strict → disable]".to_owned()),
        "{lines:#?}"
    );
    assert!(
        found.iter().all(|change| change.workloads == ["namespace=shop,app=a"]),
        "{found:#?}"
    );
}

#[test]
fn hosts_come_and_go_as_a_whole() {
    let more = format!("{SHOP}---\nnamespace: shop\nservices: {{ payments: {{ endpoints: [10.0.0.9:80] }} }}\n");
    let found = diff(SHOP, &more).changes;
    let lines: Vec<String> = found.iter().map(line).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].starts_with("Routes Added payments.shop.svc.cluster.local ["),
        "{lines:#?}"
    );
    assert_eq!(
        lines[1],
        "Services Added payments.shop.svc.cluster.local:80 [endpoint 10.0.0.9:80: none → weight 1, mTLS]"
    );
    let back: Vec<String> = diff(&more, SHOP).changes.iter().map(line).collect();
    assert!(
        back[0].starts_with("Routes Removed") && back[1].starts_with("Services Removed"),
        "{back:#?}"
    );
}

#[test]
fn gateways_are_compared_with_their_routes() {
    let policy = |hosts: &str, weight: u32| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{ name: front, namespace: shop }}\nspec: {{ selector: {{ app: front }}, servers: [{{ port: {{ number: 443, name: https, protocol: HTTPS }}, tls: {{ mode: SIMPLE, credentialName: {hosts} }}, hosts: ['*'] }}] }}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: shop, namespace: shop }}\nspec: {{ hosts: [shop.example], gateways: [front], http: [{{ name: all, route: [{{ destination: {{ host: a }}, weight: {weight} }}, {{ destination: {{ host: b }}, weight: 50 }}] }}] }}\n---\nnamespace: shop\nservices: {{ a: {{ endpoints: [10.0.0.1:80] }}, b: {{ endpoints: [10.0.0.2:80] }} }}\n"
        )
    };
    let found = diff(&policy("one", 50), &policy("two", 150)).changes;
    let lines: Vec<String> = found.iter().map(line).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].starts_with("Routes Changed shop.example at gateway front:443: route `all` [")
            && lines[0].contains("50% → 75%"),
        "{lines:#?}"
    );
    assert_eq!(
        lines[1],
        "Gateways Changed front [port 443 *: certificate one → certificate two]"
    );
}

#[test]
fn settings_of_the_mesh_hold_for_all() {
    let found = edit(
        "mesh: { mtls: strict }",
        "mesh: { mtls: strict, outbound: registry_only }",
    );
    assert_eq!(found, ["Mesh Changed settings [outbound: allow_any → registry_only]"]);
    let found = edit(
        "mesh: { mtls: strict }",
        "mesh: { mtls: strict, path_normalization: merge_slashes, forwarding: { client_cert: append, trusted_callers: ['edge/*', a], trusted_proxies: 1 } }",
    );
    let expected = "Mesh Changed settings [forwarding.client_cert: strip → append; forwarding.trusted_callers: none → a, edge/*; forwarding.trusted_proxies: 0 → 1; path_normalization: base → merge_slashes]";
    assert_eq!(found, [expected]);
}

#[test]
fn a_workload_can_be_chosen() {
    let (old, new) = (load(SHOP), load(&SHOP.replace("methods: [GET]", "methods: [POST]")));
    let of = |workload: Workload| changes(&old, &new, &[workload]).unwrap().changes.len();
    assert_eq!(of(Workload::new("shop", "orders").label("app", "orders")), 2);
    assert_eq!(of(Workload::new("shop", "web").label("app", "web")), 0);
}

const REQUESTS: &str = "\
{\"as\": {\"namespace\": \"shop\"}, \"url\": \"http://orders/api/1\"}
{\"as\": {\"namespace\": \"shop\"}, \"url\": \"orders/api/2\", \"headers\": {\"x-version\": \"canary\"}}

{\"as\": {\"namespace\": \"shop\"}, \"url\": \"http://orders/api/3\"}
{\"direction\": \"inbound\", \"as\": {\"namespace\": \"shop\", \"app\": \"orders\"}, \"from\": \"cluster.local/ns/shop/sa/web\", \"url\": \"http://orders/api/1\", \"port\": 8080, \"source_ip\": \"10.0.0.9\"}
";

/// The shop, and one with another timeout and another caller.
fn shops() -> (Policy, Policy) {
    let changed = SHOP.replace("timeout: 10s", "timeout: 1s");
    (load(SHOP), load(&changed.replace("sa/web", "sa/admin")))
}

#[test]
fn recorded_requests_are_counted_by_how_they_change() {
    let (old, new) = shops();
    let impact = replay(&old, &new, &read("r.jsonl", REQUESTS, None).unwrap()).unwrap();
    assert_eq!((impact.requests, impact.changed), (4, 3));
    assert_eq!(
        (
            impact.groups[0].requests,
            impact.groups[0].facts[0].to_string().as_str()
        ),
        (2, "timeout: 10s → 1s")
    );
    assert_eq!(
        (
            impact.groups[0].examples[1].line,
            impact.groups[0].examples[1].request.as_str()
        ),
        (4, "GET http://orders/api/3")
    );
    assert_eq!(
        (
            impact.groups[1].direction,
            impact.groups[1].facts[0].to_string().as_str()
        ),
        ("inbound", "decision: allow → deny")
    );
}

#[test]
fn lines_of_the_access_log_are_recorded_requests() {
    let log = "\
{\"reporter\":\"source\",\"method\":\"GET\",\"path\":\"/api/1\",\"authority\":\"orders\",\"source_principal\":\"spiffe://cluster.local/ns/shop/sa/web\",\"response_code\":200,\"user_agent\":\"curl\"}
{\"reporter\":\"destination\",\"method\":\"GET\",\"path\":\"/api/1\",\"authority\":\"orders\",\"source_principal\":\"spiffe://cluster.local/ns/shop/sa/web\",\"downstream_remote_address\":\"10.0.0.9:5000\",\"downstream_local_address\":\"10.0.0.4:8080\"}
{\"reporter\":\"destination\",\"method\":\"GET\",\"path\":\"/api/1\",\"authority\":null}
";
    let (old, new) = shops();
    let orders = Workload::new("shop", "orders").label("app", "orders");
    let impact = replay(&old, &new, &read("r.jsonl", log, Some(&orders)).unwrap()).unwrap();
    assert_eq!((impact.requests, impact.changed, impact.skipped), (2, 2, 1));
    let own = replay(&old, &new, &read("r.jsonl", log, None).unwrap()).unwrap();
    assert_eq!(
        own.changed, 1,
        "the sender is known by its identity, the receiver is not"
    );
}

#[test]
fn lines_that_are_no_requests_are_told_by_place() {
    for (line, reason) in [
        ("{", "no JSON object: EOF while parsing an object at line 1 column 1"),
        ("[]", "expected a JSON object"),
        ("{}", "missing field `url`"),
        ("{\"url\": 1}", "`url`: expected text, found 1"),
        (
            "{\"url\": \"http://a\", \"heders\": {}}",
            "unknown field `heders`, did you mean `headers`?",
        ),
        (
            "{\"url\": \"http://a\", \"from\": \"a\"}",
            "`from` is for requests whose `direction` is `inbound`",
        ),
        (
            "{\"url\": \"http://a\", \"direction\": \"up\"}",
            "`direction`: expected `outbound` or `inbound`, found `up`",
        ),
        (
            "{\"url\": \"http://a\", \"direction\": \"inbound\", \"port\": 70000}",
            "`port`: expected a port number, found 70000",
        ),
        (
            "{\"url\": \"http://a\", \"headers\": {\"a b\": \"c\"}}",
            "`a b` is no name of a header",
        ),
        (
            "{\"url\": \"http://a\", \"as\": []}",
            "`as`: expected an object, found []",
        ),
    ] {
        let error = read("r.jsonl", &format!("{{\"url\": \"http://a\"}}\n{line}\n"), None).unwrap_err();
        assert_eq!(error.to_string(), format!("r.jsonl:2: {reason}"), "{line}");
    }
    assert_eq!(
        read("r.jsonl", "\n", None).unwrap_err().to_string(),
        "r.jsonl:1: there is no request to ask for"
    );
}

/// An `AuthorizationPolicy` for the orders.
fn access(rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: p, namespace: shop }}\nspec: {{ action: ALLOW, rules: [{rules}] }}\n"
    )
}

#[test]
fn conditions_on_headers_ports_and_sources_are_asked_for() {
    for (old, new) in [
        (
            "{ when: [{ key: 'request.headers[x]', values: [a] }] }",
            "{ when: [{ key: 'request.headers[x]', values: [a, b] }] }",
        ),
        (
            "{ when: [{ key: source.ip, values: [10.0.0.0/24] }] }",
            "{ when: [{ key: source.ip, values: [10.0.0.0/24, 10.1.0.0/24] }] }",
        ),
        (
            "{ when: [{ key: source.namespace, values: [a] }] }",
            "{ when: [{ key: source.namespace, values: [a, b] }] }",
        ),
        (
            "{ when: [{ key: destination.port, values: ['80'] }] }",
            "{ when: [{ key: destination.port, values: ['81'] }] }",
        ),
        (
            "{ from: [{ source: { ipBlocks: [10.0.0.1/32] } }] }",
            "{ from: [{ source: { ipBlocks: [10.0.0.2/32] } }] }",
        ),
        (
            "{ from: [{ source: { notNamespaces: [a] } }] }",
            "{ from: [{ source: { notNamespaces: [b] } }] }",
        ),
        (
            "{ to: [{ operation: { hosts: [a.example] } }] }",
            "{ to: [{ operation: { hosts: [b.example] } }] }",
        ),
        (
            "{ to: [{ operation: { paths: ['/a/{*}/b'] } }] }",
            "{ to: [{ operation: { paths: ['/a/{**}/b'] } }] }",
        ),
        (
            "{ to: [{ operation: { notMethods: [GET] } }] }",
            "{ to: [{ operation: { notMethods: [POST] } }] }",
        ),
    ] {
        let found = diff(&access(old), &access(new)).changes;
        assert!(!found.is_empty(), "{old} → {new}");
        assert!(found.iter().all(|change| change.area == Area::Access), "{found:#?}");
        assert!(diff(&access(old), &access(old)).changes.is_empty());
    }
}

#[test]
fn a_policy_on_trial_means_nothing() {
    let policy = |annotation: &str| {
        access("{ to: [{ operation: { methods: [GET] } }] }").replace(
            "namespace: shop }",
            &format!("namespace: shop, annotations: {{ {annotation} }} }}"),
        )
    };
    let (on_trial, in_force) = (policy("istio.io/dry-run: 'true'"), policy("note: x"));
    let other = access("{ to: [{ operation: { methods: [POST] } }] }").replace(
        "namespace: shop }",
        "namespace: shop, annotations: { istio.io/dry-run: 'true' } }",
    );
    assert!(diff(&on_trial, &other).changes.is_empty());
    assert!(!diff(&on_trial, &in_force).changes.is_empty());
}
