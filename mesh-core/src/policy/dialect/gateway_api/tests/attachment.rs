//! Which routes are served where.

use super::*;
use crate::policy::model::route::Binding;

const PLAIN: &str = "{ name: plain, port: 80, protocol: HTTP }";

fn rule_to_a() -> String {
    format!("{{ {TO_A} }}")
}

/// The listeners that each route is attached to: `route: listener, …`.
fn attached(text: &str) -> Vec<String> {
    let policy = warned(text);
    let names = |table: &RouteTable| {
        let listeners: Vec<_> = table
            .bindings
            .iter()
            .map(|binding| match binding {
                Binding::Gateway { section, .. } => section.clone().unwrap_or_default(),
                Binding::Mesh => "mesh".into(),
            })
            .collect();
        format!("{}: {}", table.meta.name, listeners.join(", "))
    };
    policy.routes.iter().map(names).collect()
}

#[test]
fn a_route_is_attached_to_the_listeners_that_take_it() {
    let listeners = "{ name: any, port: 80, protocol: HTTP }, \
                     { name: shop, port: 80, protocol: HTTP, hostname: '*.shop.example' }, \
                     { name: other, port: 8080, protocol: HTTP, hostname: other.example }";
    let text = [
        door(listeners),
        at_door("HTTPRoute", "r", "a.shop.example", &rule_to_a()),
    ]
    .concat();
    assert_eq!(attached(&text), ["r: any, shop"]);
    clean(&text);
    let section = text.replace("{ name: door }", "{ name: door, sectionName: shop }");
    assert_eq!(attached(&section), ["r: shop"]);
    let port = text
        .replace("{ name: door }", "{ name: door, port: 8080 }")
        .replace("a.shop.example", "other.example");
    assert_eq!(attached(&port), ["r: other"]);
    let without = text.replace("hostnames: [a.shop.example]", "hostnames: []");
    assert_eq!(attached(&without), ["r: any, shop, other"]);
    assert_eq!(warned(&without).routes[0].hosts[0].host, "*");
}

#[test]
fn what_attaches_nowhere_is_told_with_the_reason() {
    let route = at_door("HTTPRoute", "r", "a.example", &rule_to_a());
    let with = |listener: &str, route: &str| [door(listener), route.to_owned()].concat();
    let tcp_only = "{ name: plain, port: 80, protocol: HTTP, allowedRoutes: { kinds: [{ kind: GRPCRoute }] } }";
    let far = route
        .replace("namespace: shop", "namespace: far")
        .replace("{ name: door }", "{ name: door, namespace: shop }");
    let host = "{ name: plain, port: 80, protocol: HTTP, hostname: b.example }";
    assert_told(&[
        (with(PLAIN, &route), &[]),
        (
            with(PLAIN, &route.replace("{ name: door }", "{ name: dor }")),
            &["11:18: warning[MESH0506]: no file defines the gateway `shop/dor`"],
        ),
        (
            with(
                PLAIN,
                &route.replace("{ name: door }", "{ name: door, sectionName: plan }"),
            ),
            &["11:18: warning[MESH0505]: HTTPRoute `r` is not served by gateway `door`: it has no such listener"],
        ),
        (
            with(PLAIN, &route.replace("{ name: door }", "{ name: door, port: 81 }")),
            &["11:18: warning[MESH0505]: HTTPRoute `r` is not served by gateway `door`: it has no such listener"],
        ),
        (
            with(tcp_only, &route),
            &[
                "11:18: warning[MESH0505]: HTTPRoute `r` is not served by gateway `door`: no listener takes routes of its kind",
            ],
        ),
        (
            with(host, &route),
            &[
                "11:18: warning[MESH0505]: HTTPRoute `r` is not served by gateway `door`: no listener has one of its `hostnames`",
            ],
        ),
        (
            with(PLAIN, &far),
            &[
                "11:18: warning[MESH0505]: HTTPRoute `r` is not served by gateway `door`: no listener takes routes of its namespace, see `allowedRoutes`",
            ],
        ),
    ]);
}

#[test]
fn namespaces_are_selected_by_their_labels() {
    let from = |text: &str| {
        door(&format!(
            "{{ name: plain, port: 80, protocol: HTTP, allowedRoutes: {{ namespaces: {text} }} }}"
        ))
    };
    let route = at_door("HTTPRoute", "r", "a.example", &rule_to_a())
        .replace("namespace: shop", "namespace: far")
        .replace("{ name: door }", "{ name: door, namespace: shop }");
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: { name: far, labels: { team: a } }\n---\n";
    let attached = |listener: &str| {
        let text = [from(listener), route.clone(), namespace.to_owned()].concat();
        !attached(&text).is_empty()
    };
    assert!(attached("{ from: All }"));
    assert!(!attached("{ from: Same }"));
    let selector = |text: &str| format!("{{ from: Selector, selector: {text} }}");
    let takes = [
        "{}",
        "{ matchLabels: { team: a } }",
        "{ matchLabels: { kubernetes.io/metadata.name: far } }",
        "{ matchExpressions: [{ key: team, operator: In, values: [a, b] }, { key: x, operator: DoesNotExist }] }",
        "{ matchExpressions: [{ key: team, operator: Exists }, { key: x, operator: NotIn, values: [a] }] }",
    ];
    for text in takes {
        assert!(attached(&selector(text)), "{text}");
    }
    let refuses = [
        "{ matchLabels: { team: b } }",
        "{ matchLabels: { kubernetes.io/metadata.name: shop } }",
        "{ matchExpressions: [{ key: team, operator: NotIn, values: [a] }] }",
        "{ matchExpressions: [{ key: team, operator: DoesNotExist }] }",
        "{ matchExpressions: [{ key: x, operator: Exists }] }",
    ];
    for text in refuses {
        assert!(!attached(&selector(text)), "{text}");
    }
}

#[test]
fn a_namespace_with_other_labels_elsewhere_is_an_error_where_a_listener_asks_for_them() {
    let namespace = |team: &str| {
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: far, labels: {{ team: {team} }} }}\n---\n")
    };
    let listener = "{ name: plain, port: 80, protocol: HTTP, allowedRoutes: { namespaces: \
                    { from: Selector, selector: { matchLabels: { team: a } } } } }";
    let told = |listener: &str, second: &str| {
        let text = [door(listener), namespace("a"), namespace(second)].concat();
        let mut lines = lines(&text);
        // Of every namespace it is told that it configures no mesh.
        lines.retain(|line| !line.contains("MESH0504"));
        lines
    };
    assert_eq!(
        told(listener, "b"),
        ["13:19: error[MESH0202]: `Namespace` `far` is defined twice, with other labels"]
    );
    assert_eq!(told(listener, "a"), [""; 0]);
    assert_eq!(told(PLAIN, "b"), [""; 0]);
}

#[test]
fn the_nearest_gateway_is_looked_for_a_limited_number_of_times() {
    let route = |one: u32| at_door("HTTPRoute", &format!("r{one}"), "a.example", &rule_to_a());
    let routes: String = (0..60).map(route).collect();
    let text = door(PLAIN) + &routes.replace("{ name: door }", "{ name: dor }");
    let loaded = Loaded::from_files([("f", text)]);
    let told = loaded.report.sorted(&loaded.sources);
    let helped = told
        .iter()
        .filter(|one| one.help.as_deref() == Some("did you mean `shop/door`?"));
    assert_eq!((told.len(), helped.count()), (60, 50));
}

#[test]
fn of_http_and_grpc_routes_of_one_host_the_older_has_it() {
    let http = at_door("HTTPRoute", "b", "a.example", &rule_to_a());
    let grpc = at_door("GRPCRoute", "a", "'*.example'", &rule_to_a());
    let text = [door(PLAIN), http.clone(), grpc.clone()].concat();
    assert_eq!(attached(&text), ["a: plain"]);
    let older = http.replace("{ name: b,", "{ name: b, creationTimestamp: 2020-01-01T00:00:00Z,");
    let younger = grpc.replace(
        "metadata: { name: a,",
        "metadata: { name: a, creationTimestamp: 2021-01-01T00:00:00Z,",
    );
    assert_eq!(attached(&[door(PLAIN), younger, older].concat()), ["b: plain"]);
    let apart = grpc.replace("'*.example'", "b.example");
    assert_eq!(attached(&[door(PLAIN), http, apart].concat()), ["a: plain", "b: plain"]);
    assert_told(&[(
        text,
        &["11:18: warning[MESH0505]: HTTPRoute `b` takes no request here: GRPCRoute `a` has one of its hosts already"],
    )]);
}

#[test]
fn of_http_and_grpc_routes_of_one_service_the_older_has_it() {
    let one = http(&rule_to_a());
    let other = one.replace("HTTPRoute", "GRPCRoute").replace("name: r,", "name: s,");
    let text = [one.clone(), other.clone()].concat();
    assert_eq!(attached(&text), ["r: mesh"]);
    let on = |text: &str, port: u16| text.replace("name: echo", &format!("name: echo, port: {port}"));
    assert_eq!(
        attached(&[on(&one, 80), on(&other, 90)].concat()),
        ["r: mesh", "s: mesh"]
    );
    assert_eq!(attached(&[on(&one, 80), other].concat()), ["r: mesh"]);
}

#[test]
fn backends_of_other_namespaces_need_their_consent_at_gateways_alone() {
    let route = |kind: &str, parent: &str| {
        let rule = "{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: m, namespace: far, port: 80 } } }], \
                    backendRefs: [{ name: a, namespace: far, port: 80 }] }";
        at_door(kind, "r", "a.example", rule).replace("{ name: door }", parent)
    };
    let grant = |from: &str, to: &str| {
        let spec =
            format!("{{ from: [{{ group: gateway.networking.k8s.io, kind: {from} }}], to: [{{ group: '', {to} }}] }}");
        object("ReferenceGrant", "far", "g", &spec)
    };
    let at_gateway = [door(PLAIN), route("HTTPRoute", "{ name: door }")].concat();
    let state = |text: &str| {
        let policy = warned(text);
        let rule = &policy.routes[0].rules[0];
        (rule.destinations[0].unresolved.is_none(), rule.mirrors.len())
    };
    assert_eq!(state(&at_gateway), (false, 0));
    let with = |grant: String| [at_gateway.clone(), grant].concat();
    assert_eq!(
        state(&with(grant("HTTPRoute, namespace: shop", "kind: Service"))),
        (true, 1)
    );
    assert_eq!(
        state(&with(grant("HTTPRoute, namespace: shop", "kind: Service, name: a"))),
        (true, 0)
    );
    assert_eq!(
        state(&with(grant("HTTPRoute, namespace: other", "kind: Service"))),
        (false, 0)
    );
    assert_eq!(
        state(&with(grant("GRPCRoute, namespace: shop", "kind: Service"))),
        (false, 0)
    );
    assert_eq!(
        state(&with(grant("HTTPRoute, namespace: shop", "kind: Secret"))),
        (false, 0)
    );
    let in_mesh = route("HTTPRoute", "{ group: '', kind: Service, name: echo }");
    assert_eq!(state(&in_mesh), (true, 1));
    assert_told(&[(
        at_gateway,
        &[
            "11:131: warning[MESH0506]: no `ReferenceGrant` of namespace `far` lets routes of `shop` refer to `m`: it gets no copies",
            "11:189: warning[MESH0506]: no `ReferenceGrant` of namespace `far` lets routes of `shop` refer to `a`: its share of the requests is answered with 500",
        ],
    )]);
}

#[test]
fn a_certificate_of_another_namespace_needs_its_consent() {
    let listener = "{ name: web, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: c, namespace: far }] } }";
    let text = door(listener);
    assert!(warned(&text).gateways[0].servers.is_empty());
    assert_told(&[(
        text.clone(),
        &[
            "5:41: warning[MESH0506]: no `ReferenceGrant` of namespace `far` lets gateways of `shop` refer to `c`: listener `web` is not served",
        ],
    )]);
    let grant = "{ from: [{ group: gateway.networking.k8s.io, kind: Gateway, namespace: shop }], to: [{ group: '', kind: Secret }] }";
    let policy = clean(&[text, object("ReferenceGrant", "far", "g", grant)].concat());
    let tls = policy.gateways[0].servers[0].tls.as_ref().unwrap();
    assert_eq!(tls.credential_name, "far.c");
}

#[test]
fn routes_of_a_service_entry_are_for_its_hosts() {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: { name: api, namespace: shop }\nspec:\n  \
                 hosts: [api.example.com]\n  resolution: DNS\n  ports: [{ number: 443, name: web, protocol: HTTP }]\n";
    let route = http(&rule_to_a()).replace(
        "{ group: '', kind: Service, name: echo }",
        "{ group: networking.istio.io, kind: ServiceEntry, name: api }",
    );
    let policy = clean(&[route.clone(), entry.to_owned()].concat());
    assert_eq!(table(&policy).hosts[0].host, "api.example.com");
    assert_told(&[(
        route,
        &["5:16: warning[MESH0506]: no file defines the `ServiceEntry` `api`"],
    )]);
}

#[test]
fn a_known_mesh_answers_500_for_a_service_that_nobody_defines() {
    let mesh = "mesh: { outbound: registry_only }\nservices: { echo: {} }\n---\n";
    let text = [mesh.to_owned(), http(&rule_to_a()).replace("shop", "default")].concat();
    assert_told(&[(
        text.clone(),
        &[
            "10:21: warning[MESH0506]: no file defines the service `a.default.svc.cluster.local`: its share of the requests is answered with 500",
        ],
    )]);
    assert!(rule(&warned(&text)).destinations[0].unresolved.is_some());
}
