#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::policy::Loaded;
use crate::policy::model::authz::{Action, AuthorizationPolicy};
use crate::trial::{Verdict, run};

/// A policy of the namespace `shop` for the workloads `app: web`.
fn policy(rest: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{ name: p, namespace: shop }}\nspec:\n  endpointSelector: {{ matchLabels: {{ 'k8s:app': web }} }}\n{rest}\n"
    )
}

fn lines(document: &str) -> Vec<String> {
    let loaded = Loaded::from_files([("f", document)]);
    loaded.report.lines(&loaded.sources)
}

/// The policies of a document without errors.
fn authorizations(document: &str) -> Vec<AuthorizationPolicy> {
    let loaded = Loaded::from_files([("f", document)]);
    assert!(!loaded.report.has_errors(), "{}", lines(document).join("\n"));
    loaded.policy.unwrap().authorizations
}

/// Sends requests to `app: web` of `shop`, port 80: the peer's id (or none), method and URL, and whether it is allowed.
fn decide(document: &str, requests: &[(&str, &str, &str, bool)]) {
    let indented: String = document.lines().map(|line| format!("  {line}\n")).collect();
    let mut text = format!("policy: |\n{indented}tests:\n");
    for (from, method, url, is_allowed) in requests {
        let from = match *from {
            "" => String::new(),
            address if address.contains('.') && !address.contains('/') => format!("source_ip: {address}, "),
            id => format!("from: {id}, "),
        };
        let decision = if *is_allowed { "allow" } else { "deny" };
        text.push_str(&format!(
            "  - {{ name: '{from}{method} {url}', inbound: {{ as: {{ namespace: shop, app: web }}, {from}method: {method}, url: '{url}' }}, expect: {{ decision: {decision} }} }}\n"
        ));
    }
    let report = run("f", &text, &mut |_| Err(String::new()));
    let passed = report
        .results
        .iter()
        .filter(|one| one.verdict == Verdict::Passed)
        .count();
    assert!(report.problems.is_none() && passed == requests.len(), "{report}");
}

const WEB: &str = "cluster.local/ns/shop/sa/front";
const OTHER: &str = "cluster.local/ns/other/sa/front";

#[test]
fn rules_of_http_match_whole_texts_and_the_query_is_part_of_the_path() {
    let document = policy(
        "  ingress:
  - toPorts:
    - ports: [{ port: '80', protocol: TCP }, { port: '8080' }]
      rules: { http: [{ method: GET, path: '/a|/b[?]x=.*' }, { method: 'P.*', host: 'web:8080' }, { method: '', path: /any }] }",
    );
    decide(
        &document,
        &[
            (WEB, "GET", "http://web/a", true),
            ("", "GET", "http://web/a", true),
            (WEB, "GET", "http://web/ab", false),
            (WEB, "GET", "http://web/a?x=1", false),
            (WEB, "GET", "http://web/b?x=1", true),
            (WEB, "GET", "http://web/b", false),
            (WEB, "POST", "http://web:8080/a", true),
            (WEB, "POST", "http://web/a", false),
            (WEB, "DELETE", "http://web/any", true),
        ],
    );
}

#[test]
fn peers_are_namespaces_and_service_accounts_of_this_mesh() {
    let document = policy(
        "  ingress:
  - fromEndpoints: [{ matchLabels: { io.cilium.k8s.policy.serviceaccount: front } }]
    toPorts: [{ ports: [{ port: '80' }], rules: { http: [{ method: GET }] } }]
  - fromEndpoints:
    - matchExpressions: [{ key: 'k8s:io.kubernetes.pod.namespace', operator: In, values: [other, more] }]
    toPorts: [{ ports: [{ port: '80' }], rules: { http: [{ method: PUT }] } }]",
    );
    decide(
        &document,
        &[
            (WEB, "GET", "http://web/", true),
            (WEB, "PUT", "http://web/", false),
            ("cluster.local/ns/shop/sa/back", "GET", "http://web/", false),
            ("elsewhere.org/ns/shop/sa/front", "GET", "http://web/", false),
            (OTHER, "GET", "http://web/", false),
            (OTHER, "PUT", "http://web/", true),
            ("", "GET", "http://web/", false),
        ],
    );
}

#[test]
fn an_entry_without_requests_voids_those_with_them_for_its_peers() {
    let document = policy(
        "  ingress:
  - toPorts: [{ ports: [{ port: '80' }], rules: { http: [{ method: GET }] } }]
  - fromEndpoints: [{}]
    toPorts: [{ ports: [{ port: '79', endPort: 81 }], rules: { http: [] } }]
  - fromEntities: [cluster]
    toPorts: [{ ports: [{ port: '80' }], rules: { http: [{ method: PATCH }] } }]",
    );
    decide(
        &document,
        &[
            (WEB, "POST", "http://web/", true),
            (OTHER, "GET", "http://web/", true),
            (OTHER, "PATCH", "http://web/", true),
            (OTHER, "POST", "http://web/", false),
            ("", "PATCH", "http://web/", false),
        ],
    );
}

#[test]
fn address_ranges_have_exceptions_and_denials_go_before() {
    let document = policy(
        "  ingress:
  - fromCIDRSet: [{ cidr: 10.0.0.0/8, except: [10.1.0.0/16] }]
  - fromCIDR: [10.1.2.3/32]
  - fromEntities: [all]
    toPorts: [{ ports: [{ port: '80' }], rules: { http: [{ path: /open }] } }]
  ingressDeny:
  - fromCIDR: [10.2.0.0/16]
    toPorts: [{ ports: [{ port: '80' }] }]",
    );
    decide(
        &document,
        &[
            ("10.0.0.1", "GET", "http://web/", true),
            ("10.1.0.1", "GET", "http://web/", false),
            ("10.1.2.3", "GET", "http://web/", true),
            ("10.1.0.1", "GET", "http://web/open", true),
            ("10.2.0.1", "GET", "http://web/open", false),
            (WEB, "GET", "http://web/open", true),
        ],
    );
}

#[test]
fn who_is_not_known_may_be_one_who_is_denied() {
    let document = policy(
        "  ingress: [{ fromEntities: [all] }]
  ingressDeny: [{ fromEndpoints: [{ matchLabels: { io.kubernetes.pod.namespace: other } }] }]",
    );
    decide(
        &document,
        &[
            (WEB, "GET", "http://web/", true),
            (OTHER, "GET", "http://web/", false),
            ("elsewhere.org/ns/other/sa/front", "GET", "http://web/", false),
            ("", "GET", "http://web/", false),
        ],
    );
}

#[test]
fn only_what_an_entry_is_for_is_closed() {
    let open = [("", "GET", "http://web/", true)];
    let closed = [("", "GET", "http://web/", false), (WEB, "GET", "http://web/", false)];
    decide(&policy("  ingress: []"), &open);
    decide(&policy("  description: none"), &open);
    decide(&policy("  ingress: [{}]"), &closed);
    decide(&policy("  ingress: [{ fromEndpoints: [] }]"), &closed);
    decide(&policy("  ingress: [{ fromEntities: [none] }]"), &closed);
    decide(&policy("  enableDefaultDeny: { ingress: true }"), &closed);
    decide(&policy("  ingress: [{ icmps: [{ fields: [{ type: 8 }] }] }]"), &closed);
    decide(
        &policy("  ingress: [{ toPorts: [{ ports: [{ port: '80', protocol: UDP }] }] }]"),
        &closed,
    );
    decide(
        &policy("  ingress: [{ toPorts: [{ ports: [{ port: '81' }] }] }]"),
        &closed,
    );
    decide(&policy("  ingress: [{ toPorts: [{ ports: [{ port: '0' }] }] }]"), &open);
    decide(
        &policy("  ingress: [{ authentication: { mode: required }, fromEntities: [all] }]"),
        &closed[..1],
    );
    decide(
        &policy("  ingress: [{ authentication: { mode: disabled }, fromEntities: [all] }]"),
        &open,
    );
}

#[test]
fn what_no_identity_proves_never_allows_and_always_denies() {
    for (peers, told) in [
        (
            "fromEndpoints: [{ matchLabels: { env: prod } }]",
            "the label `env` of a peer is no part of its identity",
        ),
        ("fromEntities: [world]", "entity `world` is no identity of the mesh"),
        ("fromNodes: [{}]", "nodes have no identity of the mesh"),
        (
            "fromCIDRSet: [{ cidrGroupRef: g }]",
            "groups of address ranges are not read",
        ),
        (
            "fromEndpoints: [{}], fromRequires: [{}]",
            "requirements on peers are not read",
        ),
        (
            "toPorts: [{ ports: [{ port: http }] }]",
            "the number of port `http` is not known to a process",
        ),
    ] {
        let allows = policy(&format!("  ingress: [{{ {peers} }}]"));
        assert!(
            lines(&allows)[0].ends_with(&format!("warning[MESH0505]: {told}: it allows nobody")),
            "{:?}",
            lines(&allows)
        );
        decide(
            &allows,
            &[(WEB, "GET", "http://web/", false), ("", "GET", "http://web/", false)],
        );

        let denies = policy(&format!(
            "  ingress: [{{ fromEntities: [all] }}]\n  ingressDeny: [{{ {peers} }}]"
        ));
        let expected = format!("warning[MESH0505]: {told}: it denies everyone whom it may mean");
        assert!(lines(&denies)[0].ends_with(&expected), "{:?}", lines(&denies));
        decide(&denies, &[("", "GET", "http://web/", false)]);
    }
}

#[test]
fn policies_of_the_cluster_hold_where_their_selector_says() {
    let document = |selector: &str| {
        format!(
            "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {{ name: p }}\nspecs: [{{ endpointSelector: {selector}, ingress: [{{ fromEndpoints: [{{}}] }}] }}]\n"
        )
    };
    let all = &authorizations(&document("{}"))[0];
    assert_eq!(
        (&*all.meta.namespace, all.selector.len(), all.action),
        ("istio-system", 0, Action::Allow)
    );
    decide(
        &document("{}"),
        &[(OTHER, "GET", "http://web/", true), ("", "GET", "http://web/", false)],
    );
    let named = authorizations(&document(
        "{ matchLabels: { io.cilium.k8s.policy.serviceaccount: web }, matchExpressions: [{ key: io.kubernetes.pod.namespace, operator: In, values: [a, b] }] }",
    ));
    let found: Vec<_> = named
        .iter()
        .map(|one| (&*one.meta.namespace, &*one.service_accounts[0]))
        .collect();
    assert_eq!(found, [("a", "web"), ("b", "web")]);
}

#[test]
fn what_is_wrong_or_not_in_force_is_told() {
    for (rest, expected) in [
        (
            "  ingress:\n  - toPorts:\n    - ports: [{ port: '80' }]\n      rules:\n        HTTP: [{ method: GET }]",
            &["f:10:9: error[MESH0101]: unknown field `HTTP`"][..],
        ),
        (
            "  egress: [{}]\n  nodeSelector: {}",
            &[
                "f:6:3: warning[MESH0401]: field `egress` is not yet in force: what a workload may call is not limited",
                "f:7:3: error[MESH0402]: field `nodeSelector` is not supported in a process: a process is no node",
            ],
        ),
        (
            "  ingress: [{ fromCIDRSet: [{ cidr: 10.0.0.0/8, except: [11.0.0.0/8] }, {}], fromEntities: [al] }]",
            &[
                "f:6:58: error[MESH0104]: `except`: expected a part of the range, found `11.0.0.0/8`",
                "f:6:73: error[MESH0103]: missing field `cidr`, `cidrGroupRef` or `cidrGroupSelector`",
                "f:6:93: error[MESH0104]: `fromEntities`: unknown value `al`, expected `all`, `cluster`, `none`, `world`, `world-ipv4`, `world-ipv6`, `host`, `remote-node`, `kube-apiserver`, `ingress`, `init`, `health` or `unmanaged`",
            ],
        ),
        (
            "  ingress: [{ toPorts: [{ ports: [{ port: '90', endPort: 80 }, { port: '99999' }, { port: a_b }], rules: { http: [{ path: '(', headers: ['a b'] }], dns: [] } }] }]",
            &[
                "f:6:35: error[MESH0301]: `endPort` 80 lies before `port` 90",
                "f:6:72: error[MESH0104]: `port`: expected a port or the name of one, found `99999`",
                "f:6:91: error[MESH0104]: `port`: expected a port or the name of one, found `a_b`",
                "f:6:123: error[MESH0104]: `path`: regex `(` does not compile: unclosed group",
                "f:6:138: error[MESH0104]: `headers`: expected `Name` or `Name: value`, found `a b`",
                "f:6:149: error[MESH0105]: fields `http` and `dns` exclude each other",
                "f:6:149: warning[MESH0401]: field `dns` is not yet in force: only requests of HTTP are taken",
            ],
        ),
        (
            "  ingressDeny: [{ toPorts: [{ rules: { http: [{}] } }] }]",
            &["f:6:31: error[MESH0101]: unknown field `rules`"],
        ),
        (
            "  ingress: [{ toPorts: [{ rules: { http: [{ headerMatches: [{ name: a, mismatch: LOG }, { name: b, mismatch: X }] }] } }] }]",
            &[
                "f:6:72: warning[MESH0401]: field `mismatch` is not yet in force: a request without the header is denied",
                "f:6:110: error[MESH0104]: `mismatch`: unknown value `X`, expected `LOG`, `ADD`, `DELETE` or `REPLACE`",
            ],
        ),
        (
            "  ingress: [{ fromEndpoints: [{ matchLabels: { 'a b': c }, matchExpressions: [{ key: io.kubernetes.pod.namespace, operator: In }] }] }]",
            &[
                "f:6:48: error[MESH0104]: key `a b`: expected a label such as `app`, `k8s:app` or `example.com/app`",
                "f:6:79: error[MESH0301]: operators `In` and `NotIn` need `values`",
            ],
        ),
    ] {
        assert_eq!(lines(&policy(rest)), expected, "{rest}");
    }
    let selected = policy("  ingress: [{}]").replace("'k8s:app': web", "io.kubernetes.pod.namespace: other");
    assert_eq!(
        lines(&selected),
        ["f:5:38: warning[MESH0505]: a policy of a namespace holds for none of another: it changes nothing"]
    );
}
