//! What a gateway serves: its own routes, on its own ports, under the hosts of its servers.

use super::*;

fn gateway(servers: &[(u16, &str)]) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|(port, hosts)| {
            format!("{{ port: {{ number: {port}, name: http-{port}, protocol: HTTP }}, hosts: [{hosts}] }}")
        })
        .collect();
    let spec = format!("{{ selector: {{ istio: door }}, servers: [{}] }}", servers.join(", "));
    object("Gateway", "edge", "door", &spec)
}

/// A table of another namespace, bound to the gateway.
fn table(namespace: &str, name: &str, host: &str, rules: &str, more: &str) -> String {
    let spec = format!("{{ hosts: [\"{host}\"], gateways: [edge/door], http: [{rules}]{more} }}");
    object("VirtualService", namespace, name, &spec)
}

fn rule(name: &str, conditions: &str) -> String {
    format!("{{ name: {name}, match: {conditions}, route: [{{ destination: {{ host: orders }} }}] }}")
}

fn door(text: &[String]) -> Snapshot {
    compile(&text.concat(), &in_namespace("edge").label("istio", "door"))
}

/// The route of a GET at a port of the gateway, or the outcome.
fn taken(snapshot: &Snapshot, port: u16, uri: &str) -> String {
    let request = Request::get(uri).body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    let ports = &snapshot.gateways[0].ports;
    let port = ports.iter().find(|known| known.number == port).unwrap();
    match port.router.route(&canonical.view()) {
        RouteResult::Route(selected) => selected.name().to_string(),
        RouteResult::NoRoute(_) => "no_route".into(),
        RouteResult::UnknownHost => "unknown_host".into(),
    }
}

#[test]
fn routes_that_are_not_exported_to_a_gateway_are_not_served_beside_those_that_are() {
    let all = "[{ uri: { prefix: /public } }]";
    let hidden = "[{ uri: { prefix: /hidden } }]";
    let snapshot = door(&[
        gateway(&[(80, "'*'")]),
        table("shop", "a", "shop.example.com", &rule("public", all), ""),
        table(
            "shop",
            "b",
            "shop.example.com",
            &rule("hidden", hidden),
            ", exportTo: [.]",
        ),
    ]);
    assert_eq!(taken(&snapshot, 80, "http://shop.example.com/public"), "public");
    assert_eq!(taken(&snapshot, 80, "http://shop.example.com/hidden"), "no_route");
}

#[test]
fn tables_of_one_host_are_joined_and_what_takes_everything_goes_last() {
    for catch_all in ["[]", "[{ uri: { prefix: / } }]", "[{ uri: { regex: '.*' } }]", "[{}]"] {
        let first = [
            rule("one", "[{ uri: { prefix: /one } }]"),
            rule("rest", catch_all),
            rule("dead", "[{ uri: { prefix: /dead } }]"),
        ];
        let snapshot = door(&[
            gateway(&[(80, "'*'")]),
            table("shop", "a", "shop.example.com", &first.join(", "), ""),
            table(
                "web",
                "b",
                "shop.example.com",
                &rule("two", "[{ uri: { prefix: /two } }]"),
                "",
            ),
        ]);
        let at = |path: &str| taken(&snapshot, 80, &format!("http://shop.example.com{path}"));
        assert_eq!(
            [at("/one"), at("/two"), at("/other")],
            ["one", "two", "rest"],
            "{catch_all}"
        );
        // Behind a rule of its own table that takes everything, it is not revived by the joining.
        assert_eq!(at("/dead"), "rest", "{catch_all}");
    }
    let limited = rule("get", "[{ uri: { prefix: / }, method: { exact: GET } }]");
    let snapshot = door(&[
        gateway(&[(80, "'*'")]),
        table("shop", "a", "shop.example.com", &limited, ""),
        table(
            "web",
            "b",
            "shop.example.com",
            &rule("two", "[{ uri: { prefix: /two } }]"),
            "",
        ),
    ]);
    assert_eq!(taken(&snapshot, 80, "http://shop.example.com/two"), "get");
}

#[test]
fn older_tables_go_first() {
    let conditions = "[{ uri: { prefix: /x } }]";
    let [a, b] = ["a", "b"].map(|name| table("shop", name, "shop.example.com", &rule(name, conditions), ""));
    let older = created(&b, "b", 2001);
    let younger = created(&a, "a", 2002);
    let uri = "http://shop.example.com/x";
    assert_eq!(taken(&door(&[gateway(&[(80, "'*'")]), b, a]), 80, uri), "a");
    assert_eq!(taken(&door(&[gateway(&[(80, "'*'")]), younger, older]), 80, uri), "b");
}

#[test]
fn the_port_of_a_rule_is_the_gateways_whatever_the_client_writes() {
    let rules = [rule("plain", "[{ port: 80 }]"), rule("admin", "[{ port: 8443 }]")].join(", ");
    let snapshot = door(&[
        gateway(&[(80, "'*'"), (8443, "'*'")]),
        table("shop", "a", "shop.example.com", &rules, ""),
    ]);
    for uri in [
        "http://shop.example.com/",
        "http://shop.example.com:8443/",
        "http://shop.example.com:9/",
    ] {
        assert_eq!(
            [taken(&snapshot, 80, uri), taken(&snapshot, 8443, uri)],
            ["plain", "admin"],
            "{uri}"
        );
    }
}

#[test]
fn clients_of_a_gateway_do_not_choose_the_port_of_a_service() {
    let to = |host: &str| format!("{{ route: [{{ destination: {{ host: {host} }} }}] }}");
    let ports = "[{ number: 8080, name: a, protocol: HTTP }, { number: 9090, name: admin, protocol: HTTP }]";
    let entry = |host: &str, ports: &str| {
        let spec =
            format!("{{ hosts: [{host}], resolution: STATIC, endpoints: [{{ address: 10.0.0.1 }}], ports: {ports} }}");
        object("ServiceEntry", "shop", host, &spec)
    };
    let snapshot = door(&[
        gateway(&[(8080, "'*'")]),
        entry("many.example.com", ports),
        entry("one.example.com", "[{ number: 7070, name: a, protocol: HTTP }]"),
        table("shop", "a", "many.example.org", &to("many.example.com"), ""),
        table("shop", "b", "one.example.org", &to("one.example.com"), ""),
    ]);
    let endpoint = |uri: &str| explained(&snapshot, uri, &[]).destinations[0].endpoints.join(",");
    assert_eq!(endpoint("http://many.example.org/"), "10.0.0.1:8080");
    assert_eq!(endpoint("http://many.example.org:9090/"), "10.0.0.1:8080");
    assert_eq!(endpoint("http://one.example.org:9090/"), "10.0.0.1:7070");
}

#[test]
fn a_request_is_explained_by_the_port_that_it_names() {
    let rules = |name: &str, port: u16| rule(name, &format!("[{{ port: {port}, uri: {{ prefix: /{name} }} }}]"));
    let snapshot = door(&[
        gateway(&[(80, "'*'"), (8443, "'*'")]),
        table(
            "shop",
            "a",
            "shop.example.com",
            &[rules("a", 80), rules("b", 8443)].join(", "),
            "",
        ),
    ]);
    let outcome = |uri: &str| explained(&snapshot, uri, &[]).outcome;
    assert_eq!(outcome("http://shop.example.com/a"), "routed");
    assert_eq!(outcome("http://shop.example.com/b"), "no_route");
    assert_eq!(outcome("http://shop.example.com:8443/b"), "routed");
    assert_eq!(
        explained(&snapshot, "http://shop.example.com/a", &[])
            .gateway
            .as_deref(),
        Some("door")
    );
}

#[test]
fn the_narrower_of_two_names_is_served() {
    let any = rule("taken", "[]");
    let cases: [(&str, &str, &[&str], &[&str]); 5] = [
        (
            "'*.example.com'",
            "shop.example.com",
            &["shop.example.com"],
            &["web.example.com"],
        ),
        (
            "shop.example.com",
            "*.example.com",
            &["shop.example.com"],
            &["web.example.com"],
        ),
        (
            "'*.example.com'",
            "*.shop.example.com",
            &["a.b.shop.example.com"],
            &["shop.example.com", "a.example.com"],
        ),
        ("'*.example.com'", "example.com", &[], &["example.com", "a.example.com"]),
        ("shop.example.com.", "*.example.com", &["shop.example.com"], &[]),
    ];
    for (server, host, served, unknown) in cases {
        let snapshot = door(&[gateway(&[(80, server)]), table("shop", "a", host, &any, "")]);
        for name in served {
            assert_eq!(
                taken(&snapshot, 80, &format!("http://{name}/")),
                "taken",
                "{server} {host} {name}"
            );
        }
        for name in unknown {
            assert_eq!(
                taken(&snapshot, 80, &format!("http://{name}/")),
                "unknown_host",
                "{server} {host} {name}"
            );
        }
    }
}

#[test]
fn a_server_takes_tables_of_the_namespaces_that_it_names() {
    let snapshot = door(&[
        gateway(&[(80, "shop/a.example.com, ./b.example.com")]),
        table("shop", "a", "a.example.com", &rule("shop", "[]"), ""),
        table(
            "web",
            "a",
            "a.example.com",
            &rule("web", "[{ uri: { prefix: /web } }]"),
            "",
        ),
        table("shop", "b", "b.example.com", &rule("shop", "[]"), ""),
        table(
            "edge",
            "b",
            "b.example.com",
            &rule("edge", "[{ uri: { prefix: /edge } }]"),
            "",
        ),
    ]);
    assert_eq!(taken(&snapshot, 80, "http://a.example.com/web"), "shop");
    assert_eq!(taken(&snapshot, 80, "http://b.example.com/edge"), "edge");
    assert_eq!(taken(&snapshot, 80, "http://b.example.com/"), "no_route");
}

#[test]
fn a_table_for_gateways_alone_is_nothing_to_the_clients_of_the_mesh() {
    let text = [
        "namespace: shop\nmesh: { outbound: registry_only }\nservices: { orders: {} }\n".to_owned(),
        gateway(&[(80, "'*'")]),
        table("shop", "a", "orders.shop.svc.cluster.local", &rule("outside", "[]"), ""),
        table("shop", "b", "shop.example.com", &rule("outside", "[]"), ""),
    ];
    let client = compile(&text.concat(), &in_namespace("shop"));
    assert_eq!(route(&client, "http://orders/"), "default");
    assert_eq!(route(&client, "http://shop.example.com/"), "refused");
}

/// A server that redirects, beside one that does not.
fn away(hosts: &str) -> String {
    let spec = format!(
        "{{ selector: {{ istio: door }}, servers: [{{ port: {{ number: 80, name: http, protocol: HTTP }}, hosts: [{hosts}], tls: {{ httpsRedirect: true }} }}, {{ port: {{ number: 8080, name: other, protocol: HTTP }}, hosts: [{hosts}] }}] }}"
    );
    object("Gateway", "edge", "door", &spec)
}

#[test]
fn callers_are_sent_to_https_with_or_without_a_route() {
    let bound = table("shop", "a", "shop.example.com", &rule("taken", "[]"), "");
    for text in [vec![away("'*'")], vec![away("'*.example.com'"), bound]] {
        let snapshot = door(&text);
        for host in ["shop.example.com", "web.example.com"] {
            let uri = format!("http://{host}/");
            assert_eq!(taken(&snapshot, 80, &uri), "https-redirect", "{host}");
            let told = explained(&snapshot, &uri, &[]);
            assert_eq!((told.outcome, told.status), ("redirect", Some(301)), "{host}");
        }
        assert_eq!(taken(&snapshot, 8080, "http://web.example.com/"), "unknown_host");
    }
    let snapshot = door(&[away("shop.example.com.")]);
    assert_eq!(taken(&snapshot, 80, "http://shop.example.com/"), "https-redirect");
    assert_eq!(taken(&snapshot, 80, "http://web.example.com/"), "unknown_host");
}

#[test]
fn of_gateways_that_share_a_port_the_most_specific_host_decides() {
    let door_of = |name: &str, host: &str| gateway(&[(80, host)]).replace("name: door", &format!("name: {name}"));
    let bound = |name: &str, host: &str| {
        table("shop", name, host, &rule(name, "[]"), "").replace("edge/door", &format!("edge/{name}"))
    };
    let text = [
        door_of("a", "'*'"),
        bound("a", "*"),
        door_of("b", "shop.example.com"),
        bound("b", "shop.example.com"),
        door_of("c", "'*.example.com'"),
        bound("c", "*.example.com"),
        door_of("d", "shop.example.com"),
        bound("d", "shop.example.com"),
    ];
    let snapshot = door(&text);
    for (host, name) in [
        ("other.example.org", "a"),
        ("shop.example.com", "b"),
        ("web.example.com", "c"),
    ] {
        let uri = format!("http://{host}/");
        let request = Request::get(&uri).body(()).unwrap();
        let canonical = canonicalize(&request, Options::outbound()).unwrap();
        let RouteResult::Route(selected) = snapshot.route_at_gateways(80, &canonical.view()) else {
            panic!("{host}");
        };
        assert_eq!(&**selected.name(), name, "{host}");
        let told = explained(&snapshot, &uri, &[]);
        assert_eq!(
            (told.route.as_deref(), told.gateway.as_deref()),
            (Some(name), Some(name))
        );
    }
}
