//! Which service, and which table, a name stands for.

use super::*;

fn endpoints(snapshot: &Snapshot, uri: &str) -> Vec<String> {
    target(snapshot, uri)
        .endpoints
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn entry(namespace: &str, name: &str, host: &str, address: &str, more: &str) -> String {
    let spec = format!("{{ hosts: [{host}], resolution: STATIC, endpoints: [{{ address: {address} }}]{more} }}");
    object("ServiceEntry", namespace, name, &spec)
}

/// A table with one rule, which has the name of the table.
fn table(namespace: &str, name: &str, host: &str, more: &str) -> String {
    let spec = format!(
        "{{ hosts: [\"{host}\"], http: [{{ name: {name}, route: [{{ destination: {{ host: elsewhere }} }}] }}]{more} }}"
    );
    object("VirtualService", namespace, name, &spec)
}

#[test]
fn a_service_is_the_same_under_each_of_its_names() {
    let text = "
services:
  orders:
    hosts: [orders.example.com]
    endpoints: [10.0.0.1:8080]
    limits: { requests: 7 }
    tls: mutual
profiles:
  orders: { routes: [{ name: reads, method: GET, timeout: 3s }] }
";
    let snapshot = compile(text, &Workload::default());
    let [full, further] = ["http://orders/", "http://orders.example.com/"].map(|uri| target(&snapshot, uri));
    assert_eq!(further.key, full.key);
    assert_eq!(further.settings.limits.requests, Some(7));
    assert_eq!(further.endpoints[0].tls, EndpointTls::Mutual([].into()));
    assert_eq!(route(&snapshot, "http://orders.example.com/"), "reads");
}

#[test]
fn a_further_name_follows_the_table_of_the_full_one_and_its_rule_of_settings() {
    let text = [
        "services: { orders: { hosts: [orders.example.com], endpoints: [10.0.0.1:8080] } }\n".to_owned(),
        table("default", "by-full-name", "orders", ""),
        object(
            "DestinationRule",
            "default",
            "by-further-name",
            "{ host: orders.example.com, trafficPolicy: { connectionPool: { http: { http2MaxRequests: 7 } } } }",
        ),
    ];
    let snapshot = compile(&text.concat(), &Workload::default());
    assert_eq!(route(&snapshot, "http://orders.example.com/"), "by-full-name");
    let settings = compile(&[&*text[0], &*text[2]].concat(), &Workload::default());
    assert_eq!(target(&settings, "http://orders/").settings.limits.requests, Some(7));
}

#[test]
fn dns_is_asked_for_the_name_that_was_called_with_the_settings_of_the_service() {
    let text = "services: { orders: { hosts: [orders.example.com], limits: { requests: 7 } } }\n";
    let snapshot = compile(text, &Workload::default());
    assert_eq!(
        endpoints(&snapshot, "http://orders.example.com/"),
        ["orders.example.com:80"]
    );
    let limits = target(&snapshot, "http://orders.example.com/").settings.limits.clone();
    assert_eq!(limits.requests, Some(7));
}

#[test]
fn nobody_adds_endpoints_to_the_service_of_another_namespace() {
    let host = "orders.shop.svc.cluster.local";
    let squatter = created(&entry("evil", "a", host, "6.6.6.6", ""), "a", 2001);
    let own = entry("shop", "b", host, "10.0.0.1", "");
    let orders = [[squatter.clone(), own.clone()], [own, squatter]];
    for text in orders {
        let snapshot = compile(&text.concat(), &in_namespace("web"));
        assert_eq!(endpoints(&snapshot, "http://orders.shop/"), ["10.0.0.1:80"]);
    }
    let oldest = created(&entry("z", "z", "db.example.com", "10.0.0.1", ""), "z", 2001);
    let younger = created(&entry("a", "a", "db.example.com", "10.0.0.2", ""), "a", 2002);
    let snapshot = compile(&[younger, oldest].concat(), &in_namespace("web"));
    assert_eq!(endpoints(&snapshot, "http://db.example.com/"), ["10.0.0.1:80"]);
}

#[test]
fn entries_of_one_namespace_for_one_host_are_one_service_in_any_order() {
    let port = |target: u16| format!(", ports: [{{ number: 80, name: http, protocol: HTTP, targetPort: {target} }}]");
    let one = entry("shop", "a", "db.example.com", "10.0.0.1", &port(8080));
    let two = entry("shop", "b", "db.example.com", "10.0.0.2", &port(9090));
    for text in [[one.clone(), two.clone()], [two, one]] {
        let snapshot = compile(&text.concat(), &in_namespace("shop"));
        assert_eq!(
            endpoints(&snapshot, "http://db.example.com/"),
            ["10.0.0.1:8080", "10.0.0.2:8080"]
        );
    }
}

#[test]
fn a_further_name_loses_to_the_service_whose_full_name_it_is() {
    let text = "
services:
  a-orders: { hosts: [orders], endpoints: [10.0.0.1:80] }
  orders: { endpoints: [10.0.0.2:80] }
";
    let snapshot = compile(text, &Workload::default());
    assert_eq!(endpoints(&snapshot, "http://orders/"), ["10.0.0.2:80"]);
}

#[test]
fn what_a_caller_cannot_see_makes_no_host_known() {
    let text = [
        "mesh: { outbound: registry_only }\nservices: { elsewhere: { endpoints: [10.0.0.1:80] } }\nnamespace: shop\n"
            .to_owned(),
        table("shop", "hidden", "hidden.example.com", ", exportTo: [.]"),
        object(
            "DestinationRule",
            "shop",
            "hidden",
            "{ host: tuned.example.com, exportTo: [.], trafficPolicy: { loadBalancer: { simple: RANDOM } } }",
        ),
        entry("shop", "hidden", "entry.example.com", "10.0.0.1", ", exportTo: [.]"),
    ]
    .concat();
    for host in ["hidden", "tuned", "entry"] {
        let uri = format!("http://{host}.example.com/");
        assert_eq!(
            explained(&compile(&text, &in_namespace("web")), &uri, &[]).outcome,
            "refused",
            "{host}"
        );
        assert_eq!(
            explained(&compile(&text, &in_namespace("shop")), &uri, &[]).outcome,
            "routed",
            "{host}"
        );
    }
}

#[test]
fn settings_for_a_name_with_one_dot_do_not_hide_the_service_that_has_it_as_a_short_form() {
    let text = [
        "namespace: prod\nservices: { reviews: { endpoints: [10.0.0.1:80] } }\n".to_owned(),
        object(
            "DestinationRule",
            "prod",
            "mistake",
            "{ host: reviews.prod, trafficPolicy: { loadBalancer: { simple: RANDOM } } }",
        ),
    ];
    let snapshot = compile(&text.concat(), &in_namespace("web"));
    assert_eq!(endpoints(&snapshot, "http://reviews.prod/"), ["10.0.0.1:80"]);
}

#[test]
fn a_name_with_one_dot_is_not_completed() {
    let to = "{ hosts: [front], http: [{ route: [{ destination: { host: reviews.prod } }] }] }";
    let text = [
        "namespace: prod\nservices: { reviews: { endpoints: [10.0.0.1:80] } }\n".to_owned(),
        object("VirtualService", "shop", "front", to),
    ];
    let snapshot = compile(&text.concat(), &in_namespace("shop"));
    assert_eq!(endpoints(&snapshot, "http://front/"), ["reviews.prod:80"]);
}

#[test]
fn a_bare_name_is_that_of_the_callers_namespace_and_others_get_a_hint() {
    let text = table("shop", "orders", "orders", "");
    let names = [
        "orders",
        "orders.shop",
        "orders.shop.svc",
        "orders.shop.svc.cluster.local",
    ];
    for name in names {
        assert_eq!(
            route(&compile(&text, &in_namespace("shop")), &format!("http://{name}/")),
            "orders"
        );
    }
    let web = compile(&text, &in_namespace("web"));
    for name in &names[1..] {
        assert_eq!(route(&web, &format!("http://{name}/")), "orders", "{name}");
    }
    let bare = explained(&web, "http://orders/", &[]);
    assert_eq!(
        (bare.outcome, &*bare.destinations[0].service),
        ("passthrough", "orders")
    );
    let hint = "`orders.shop.svc.cluster.local` is known: short names are read in the caller's namespace, `web`";
    assert!(bare.reason.ends_with(hint), "{}", bare.reason);
}

#[test]
fn of_tables_for_one_host_the_first_counts_alone() {
    let [a, b] = ["a", "b"].map(|name| table("shop", name, "orders", ""));
    assert_eq!(
        route(&compile(&[&*b, &*a].concat(), &in_namespace("shop")), "http://orders/"),
        "a"
    );
    let older = created(&b, "b", 2001);
    let younger = created(&a, "a", 2002);
    let snapshot = compile(&[younger, older].concat(), &in_namespace("shop"));
    assert_eq!(route(&snapshot, "http://orders/"), "b");
}

#[test]
fn tables_kept_to_the_namespace_go_before_exported_and_these_before_public_ones() {
    let host = "api.example.com";
    let public = table("shop", "a-public", host, "");
    let exported = table("web", "b-exported", host, ", exportTo: [shop]");
    let private = table("shop", "c-private", host, ", exportTo: [.]");
    let of = |text: &[&str]| {
        route(
            &compile(&text.concat(), &in_namespace("shop")),
            "http://api.example.com/",
        )
    };
    assert_eq!(of(&[&public, &exported, &private]), "c-private");
    assert_eq!(of(&[&public, &exported]), "b-exported");
    assert_eq!(of(&[&public]), "a-public");
}

#[test]
fn a_table_without_a_rule_for_the_caller_is_as_if_absent() {
    let rules = "http: [{ name: batch, match: [{ sourceNamespace: batch }], route: [{ destination: { host: x } }] }]";
    let exact = object(
        "VirtualService",
        "shop",
        "exact",
        &format!("{{ hosts: [orders], {rules} }}"),
    );
    let wildcard = object(
        "VirtualService",
        "shop",
        "wildcard",
        &format!("{{ hosts: [\"*.example.com\"], {rules} }}"),
    );
    let text = [exact, wildcard].concat();
    let snapshot = compile(&text, &in_namespace("shop"));
    assert_eq!(route(&snapshot, "http://orders/"), "default");
    assert_eq!(route(&snapshot, "http://a.example.com/"), "passthrough");
    assert_eq!(
        route(&compile(&text, &in_namespace("batch")), "http://a.example.com/"),
        "batch"
    );
}

#[test]
fn a_service_without_a_table_of_its_own_follows_the_most_specific_wildcard() {
    let text = [
        entry("shop", "a", "a.foo.example.com", "10.0.0.1", ""),
        table("shop", "wide", "*.example.com", ""),
        table("shop", "narrow", "*.foo.example.com", ""),
    ];
    let snapshot = compile(&text.concat(), &in_namespace("shop"));
    assert_eq!(route(&snapshot, "http://a.foo.example.com/"), "narrow");
}

#[test]
fn addresses_are_hosts_in_any_spelling() {
    let hosts = "{ hosts: [10.1.2.3, \"2001:DB8:0::0001\", Api.Example.COM.], http: [{ name: taken, route: [{ destination: { host: x } }] }] }";
    let snapshot = compile(&object("VirtualService", "shop", "v", hosts), &in_namespace("shop"));
    for uri in [
        "http://10.1.2.3/",
        "http://10.1.2.3:8080/",
        "http://[2001:db8::1]/",
        "http://[2001:DB8::0:1]:8080/",
        "http://api.example.com./",
        "http://API.example.com:81/",
    ] {
        assert_eq!(route(&snapshot, uri), "taken", "{uri}");
    }
}

#[test]
fn a_host_with_a_port_is_refused() {
    let text = table("shop", "v", "orders:8080", "");
    let loaded = Loaded::from_files([("policy.yaml", text)]);
    assert!(loaded.policy.is_none());
}

#[test]
fn a_rule_is_for_the_port_that_is_dialled() {
    let spec = "{ hosts: [orders], http: [{ name: admin, match: [{ port: 8080 }], route: [{ destination: { host: orders } }] }] }";
    let snapshot = compile(&object("VirtualService", "shop", "v", spec), &in_namespace("shop"));
    assert_eq!(route(&snapshot, "http://orders:8080/"), "admin");
    assert_eq!(route(&snapshot, "http://orders/"), "default");
}

#[test]
fn a_match_that_names_gateways_asks_for_no_labels() {
    let with = |gateways: &str| {
        let spec = format!(
            "{{ hosts: [orders], gateways: [mesh, door], http: [{{ name: taken, match: [{{ gateways: [{gateways}], sourceLabels: {{ app: other }} }}], route: [{{ destination: {{ host: orders }} }}] }}] }}"
        );
        let text = object("VirtualService", "shop", "v", &spec);
        route(
            &compile(&text, &in_namespace("shop").label("app", "web")),
            "http://orders/",
        )
    };
    assert_eq!(with("mesh"), "taken");
    assert_eq!(with("door"), "default");
}

#[test]
fn a_path_is_found_in_whatever_spelling_the_policy_has() {
    let spec = "
  hosts: [orders]
  http:
    - { name: exact, match: [{ uri: { exact: /%61dmin/caf\u{e9} } }], route: [{ destination: { host: orders } }] }
    - { name: prefix, match: [{ uri: { prefix: /a%2db } }], route: [{ destination: { host: orders } }] }
";
    let snapshot = compile(&object("VirtualService", "shop", "v", spec), &in_namespace("shop"));
    assert_eq!(route(&snapshot, "http://orders/admin/caf%c3%a9"), "exact");
    assert_eq!(route(&snapshot, "http://orders/a-b/c"), "prefix");
    assert_eq!(route(&snapshot, "http://orders/a%2Db"), "prefix");
    assert_eq!(route(&snapshot, "http://orders/other"), "no_route");
}

#[test]
fn a_rule_and_its_match_name_a_route_together() {
    let spec = "{ hosts: [orders], http: [{ name: r, match: [{ name: m, uri: { prefix: /a } }, { uri: { prefix: /b } }], route: [{ destination: { host: orders } }] }, { route: [{ destination: { host: orders } }] }] }";
    let snapshot = compile(&object("VirtualService", "shop", "v", spec), &in_namespace("shop"));
    assert_eq!(
        ["/a", "/b", "/c"].map(|path| route(&snapshot, &format!("http://orders{path}"))),
        ["r.m", "r", "v#1"]
    );
}

#[test]
fn a_profile_holds_for_callers_of_its_namespace_and_of_its_service() {
    let profile = |namespace: &str| {
        format!(
            "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {{ name: orders.shop.svc.cluster.local, namespace: {namespace} }}\nspec: {{ routes: [{{ name: {namespace}, condition: {{ method: GET }} }}] }}\n"
        )
    };
    let all = ["shop", "web", "third"].map(profile);
    let of = |text: &[String], namespace| {
        route(
            &compile(&text.concat(), &in_namespace(namespace)),
            "http://orders.shop/",
        )
    };
    assert_eq!(of(&all, "web"), "web");
    assert_eq!(of(&all, "other"), "shop");
    assert_eq!(of(&all[2..], "other"), "passthrough");
    assert_eq!(of(&all[2..], "third"), "third");
    let closed = ["mesh: { outbound: registry_only }\n", all[2].as_str()].concat();
    assert_eq!(
        route(&compile(&closed, &in_namespace("other")), "http://orders.shop/"),
        "refused"
    );
}

#[test]
fn where_a_profile_sends_requests_its_budget_counts() {
    let text = "
services:
  - { name: orders, hosts: [orders.default.svc.cluster.local], endpoints: [10.0.0.1:80] }
  - { name: next, hosts: [next.default.svc.cluster.local], endpoints: [10.0.0.2:80] }
  - { name: other, hosts: [other.default.svc.cluster.local], endpoints: [10.0.0.3:80] }
profiles:
  - name: orders
    host: orders.default.svc.cluster.local
    retry_budget: { percent: 7 }
    overrides: [{ service: next.default.svc.cluster.local, weight: 1 }]
";
    let snapshot = compile(text, &Workload::default());
    let percent = |uri| target(&snapshot, uri).settings.budget.percent;
    assert_eq!(percent("http://orders/"), 7);
    assert_eq!(percent("http://next/"), 7);
    assert_eq!(percent("http://other/"), 20);
}

#[test]
fn a_split_sends_its_root_to_backends_and_itself() {
    let split = "---\napiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: { name: s, namespace: shop }\nspec: { service: site, backends: [{ service: site, weight: 3 }, { service: site-v2, weight: 1 }, { service: site-v3, weight: 0 }] }\n";
    let services =
        "namespace: shop\nservices: { site: { endpoints: [10.0.0.1:80] }, site-v2: { endpoints: [10.0.0.2:80] } }\n";
    let snapshot = compile(&[services, split].concat(), &in_namespace("shop"));
    let shares = |uri: &str| {
        let answer = explained(&snapshot, uri, &[]);
        let share = |to: &explain::Destination| (to.endpoints.join(","), to.share);
        answer.destinations.iter().map(share).collect::<Vec<_>>()
    };
    assert_eq!(
        shares("http://site/"),
        [("10.0.0.1:80".into(), 0.75), ("10.0.0.2:80".into(), 0.25)]
    );
    assert_eq!(shares("http://site-v2/"), [("10.0.0.2:80".into(), 1.0)]);
}

#[test]
fn an_endpoint_gets_no_requests_for_a_port_that_it_does_not_have() {
    let slice = |name: &str, address: &str, ports: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: {name}, namespace: shop, labels: {{ kubernetes.io/service-name: orders }} }}\naddressType: IPv4\nendpoints: [{{ addresses: [{address}] }}]\nports: [{ports}]\n"
        )
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: orders, namespace: shop }\nspec: { selector: { app: orders }, ports: [{ name: http, port: 80, targetPort: 8080 }, { name: admin, port: 90, targetPort: 9090 }, { name: idle, port: 91 }] }\n";
    let text = [
        service.into(),
        slice("a", "10.0.0.4", "{ name: http, port: 8080 }"),
        slice(
            "b",
            "10.0.0.5",
            "{ name: http, port: 8080 }, { name: admin, port: 9090 }",
        ),
    ]
    .concat();
    let snapshot = compile(&text, &in_namespace("shop"));
    let endpoints = |uri: &str| explained(&snapshot, uri, &[]).destinations[0].endpoints.clone();
    assert_eq!(endpoints("http://orders/"), ["10.0.0.4:8080", "10.0.0.5:8080"]);
    assert_eq!(endpoints("http://orders:90/"), ["10.0.0.5:9090"]);
    assert!(endpoints("http://orders:91/").is_empty());
    let reason = explained(&snapshot, "http://orders:91/", &[]).reason;
    assert!(
        reason.ends_with("answers 503 (UH): none of its endpoints has the port"),
        "{reason}"
    );
}

#[test]
fn a_table_is_absent_on_ports_that_none_of_its_rules_is_for() {
    let entry = "{ hosts: [api.example.com], ports: [{ number: 80, name: http, protocol: HTTP }, { number: 90, name: admin, protocol: HTTP }], resolution: DNS }";
    let rule = |port: u16, path: &str| {
        format!(
            "{{ name: r{port}, match: [{{ port: {port}, uri: {{ prefix: {path} }} }}], route: [{{ destination: {{ host: api.example.com, port: {{ number: {port} }} }} }}] }}"
        )
    };
    let routes = |rules: &str| {
        let text = [
            object("ServiceEntry", "shop", "api", entry),
            object(
                "VirtualService",
                "shop",
                "api",
                &format!("{{ hosts: [api.example.com], http: [{rules}] }}"),
            ),
        ]
        .concat();
        let snapshot = compile(&text, &in_namespace("shop"));
        let uris = [
            "http://api.example.com/a",
            "http://api.example.com/b",
            "http://api.example.com:90/b",
        ];
        uris.map(|uri| route(&snapshot, uri))
    };
    assert_eq!(routes(&rule(80, "/a")), ["r80", "no_route", "default"]);
    let both = [rule(80, "/a"), rule(90, "/a")].join(", ");
    assert_eq!(routes(&both), ["r80", "no_route", "no_route"]);
    let any = format!(
        "{}, {{ name: any, match: [{{ uri: {{ prefix: /c }} }}], route: [{{ destination: {{ host: api.example.com }} }}] }}",
        rule(80, "/a")
    );
    assert_eq!(routes(&any), ["r80", "no_route", "no_route"]);
}
