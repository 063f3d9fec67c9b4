//! Which settings a service, a subset and a port end up with.

use super::*;

/// The settings of the target of a route that names this subset and port of `orders`.
fn settled(rules: &[String], subset: &str, port: u16) -> ResolvedTarget {
    let spec = format!(
        "{{ hosts: [front], http: [{{ route: [{{ destination: {{ host: orders{subset}, port: {{ number: {port} }} }} }}] }}] }}"
    );
    let text = [rules.concat(), object("VirtualService", "shop", "front", &spec)].concat();
    target(&compile(&text, &in_namespace("shop")), "http://front/")
}

fn rule(name: &str, spec: &str) -> String {
    object("DestinationRule", "shop", name, &format!("{{ host: orders, {spec} }}"))
}

const POOL: &str = "connectionPool: { http: { http2MaxRequests: 10 } }";

#[test]
fn a_port_of_the_service_stands_alone_and_under_the_blocks_of_a_subset() {
    let ports = "portLevelSettings: [{ port: { number: 80 }, outlierDetection: { interval: 3s } }]";
    let rules = [rule(
        "r",
        &format!(
            "trafficPolicy: {{ {POOL}, {ports} }}, subsets: [{{ name: v1, trafficPolicy: {{ loadBalancer: {{ simple: RANDOM }} }} }}]"
        ),
    )];
    let subset = settled(&rules, ", subset: v1", 80).settings;
    assert_eq!(subset.algorithm, Algorithm::Random);
    assert!(subset.outliers.is_some());
    assert_eq!(subset.limits.requests, None);
    let elsewhere = settled(&rules, ", subset: v1", 81).settings;
    assert_eq!(
        (elsewhere.outliers.clone(), elsewhere.limits.requests),
        (None, Some(10))
    );
}

#[test]
fn a_port_of_a_subset_resets_what_it_leaves_out() {
    let ports = "portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: RANDOM } }]";
    let rules = [rule(
        "r",
        &format!(
            "trafficPolicy: {{ {POOL}, tls: {{ mode: ISTIO_MUTUAL }} }}, subsets: [{{ name: v1, trafficPolicy: {{ outlierDetection: {{}}, {ports} }} }}]"
        ),
    )];
    let at_80 = settled(&rules, ", subset: v1", 80);
    assert_eq!(
        (at_80.settings.algorithm, at_80.settings.limits.requests),
        (Algorithm::Random, None)
    );
    assert!(at_80.settings.outliers.is_none());
    assert_eq!(settled(&rules, ", subset: v1", 81).settings.limits.requests, Some(10));
}

#[test]
fn of_several_rules_for_one_host_subsets_are_united_and_the_first_settings_kept_whole() {
    let rules = [
        rule("b", "subsets: [{ name: v1, labels: { version: wrong } }, { name: v2, labels: { version: v2 } }], trafficPolicy: { loadBalancer: { simple: RANDOM }, outlierDetection: {} }"),
        rule("a", &format!("subsets: [{{ name: v1, labels: {{ version: v1 }} }}], trafficPolicy: {{ {POOL} }}")),
        "---\nnamespace: shop\nservices: { orders: { endpoints: [{ address: \"10.0.0.1:80\", labels: { version: v1 } }, { address: \"10.0.0.2:80\", labels: { version: v2 } }] } }\n".into(),
    ];
    let at = |subset: &str| settled(&rules, &format!(", subset: {subset}"), 80);
    assert_eq!(at("v1").endpoints[0].to_string(), "10.0.0.1:80");
    assert_eq!(at("v2").endpoints[0].to_string(), "10.0.0.2:80");
    let settings = at("v2").settings;
    assert_eq!(
        (settings.limits.requests, settings.algorithm),
        (Some(10), Algorithm::LeastRequest)
    );
    assert!(settings.outliers.is_none());
}

#[test]
fn a_wildcard_of_the_callers_namespace_goes_before_an_exact_rule_of_the_services() {
    let exact = rule("exact", &format!("trafficPolicy: {{ {POOL} }}"));
    let wildcard = |namespace: &str, host: &str, balance: &str| {
        let spec = format!("{{ host: \"{host}\", trafficPolicy: {{ loadBalancer: {{ simple: {balance} }} }} }}");
        object("DestinationRule", namespace, "wildcard", &spec)
    };
    let of = |text: &[String]| target(&compile(&text.concat(), &in_namespace("web")), "http://orders.shop/").settings;
    let wide = wildcard("web", "*.svc.cluster.local", "RANDOM");
    assert_eq!(of(&[exact.clone(), wide]).limits.requests, None);
    let beside = wildcard("shop", "*.shop.svc.cluster.local", "RANDOM");
    assert_eq!(of(&[exact, beside]).limits.requests, Some(10));
    let [wide, narrow] = [
        ("*.svc.cluster.local", "RANDOM"),
        ("*.shop.svc.cluster.local", "ROUND_ROBIN"),
    ]
    .map(|(host, balance)| wildcard("web", host, balance));
    let narrow = narrow.replace("name: wildcard", "name: narrow");
    let known = table_of("orders.shop.svc.cluster.local");
    assert_eq!(of(&[wide, narrow, known]).algorithm, Algorithm::RoundRobin);
}

#[test]
fn a_rule_that_is_kept_to_its_namespace_holds_there_alone() {
    let text = rule("r", &format!("exportTo: [.], trafficPolicy: {{ {POOL} }}"));
    let of = |namespace| target(&compile(&text, &in_namespace(namespace)), "http://orders.shop/").settings;
    // The web's host is known by another rule.
    let known = table_of("orders.shop.svc.cluster.local");
    let web = target(
        &compile(&[text.clone(), known].concat(), &in_namespace("web")),
        "http://orders.shop/",
    );
    assert_eq!(web.settings.limits.requests, None);
    assert_eq!(of("shop").limits.requests, Some(10));
}

fn table_of(host: &str) -> String {
    let spec = format!("{{ hosts: [{host}], http: [{{ route: [{{ destination: {{ host: {host} }} }}] }}] }}");
    object("VirtualService", "shop", "known", &spec)
}

#[test]
fn the_tls_of_a_port_holds_where_the_caller_chooses_it() {
    let tls = "tls: { mode: ISTIO_MUTUAL }, portLevelSettings: [{ port: { number: 8080 }, tls: { mode: DISABLE } }]";
    let snapshot = compile(
        &rule("r", &format!("trafficPolicy: {{ {tls} }}")),
        &in_namespace("shop"),
    );
    let at = |uri: &str| target(&snapshot, uri).endpoints[0].tls.clone();
    assert_eq!(at("http://orders/"), EndpointTls::Mutual([].into()));
    assert_eq!(at("http://orders:8080/"), EndpointTls::Plain);
}

#[test]
fn the_mode_of_a_servers_port_holds_where_the_caller_chooses_the_service_port() {
    let entry = "{ hosts: [orders.shop.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{ number: 80, name: a, protocol: HTTP, targetPort: 8080 }, { number: 90, name: b, protocol: HTTP }], endpoints: [{ address: 10.0.0.1, labels: { app: orders } }, { address: 10.0.0.2, labels: { app: orders }, ports: { b: 8080 } }] }";
    let modes = "{ selector: { matchLabels: { app: orders } }, mtls: { mode: STRICT }, portLevelMtls: { 8080: { mode: DISABLE } } }";
    let text = [
        object("ServiceEntry", "shop", "orders", entry),
        object("PeerAuthentication", "shop", "orders", modes),
    ];
    let snapshot = compile(&text.concat(), &in_namespace("shop"));
    let at = |uri: &str| {
        let endpoints = target(&snapshot, uri).endpoints;
        endpoints
            .iter()
            .map(|endpoint| (endpoint.port, endpoint.tls == EndpointTls::Plain))
            .collect::<Vec<_>>()
    };
    assert_eq!(at("http://orders/"), [(8080, true), (8080, true)]);
    assert_eq!(at("http://orders:90/"), [(90, false), (8080, true)]);
    assert_eq!(at("http://orders:8080/"), [(8080, true), (8080, true)]);
    assert_eq!(at("http://orders:9999/"), [(9999, false), (9999, false)]);
}

#[test]
fn the_retries_of_a_port_hold_where_the_caller_chooses_it() {
    let text = "services: { orders: { ports: [80, 90], endpoints: [10.0.0.1], retry: { attempts: 1, on: [reset] }, by_port: { 90: { retry: { attempts: 4, on: [reset] } } } } }\n";
    let snapshot = compile(text, &Workload::default());
    let attempts = |uri: &str| explained(&snapshot, uri, &[]).retry.unwrap().attempts;
    assert_eq!([attempts("http://orders/"), attempts("http://orders:90/")], [1, 4]);
}

#[test]
fn what_no_document_defines_speaks_mtls_only_with_a_name_of_the_mesh() {
    let strict = object(
        "PeerAuthentication",
        "istio-system",
        "mesh",
        "{ mtls: { mode: STRICT } }",
    );
    let text = [
        strict,
        table_of("api.example.com"),
        table_of("orders").replace("name: known", "name: other"),
    ]
    .concat();
    let snapshot = compile(&text, &in_namespace("shop"));
    assert_eq!(
        target(&snapshot, "http://api.example.com/").endpoints[0].tls,
        EndpointTls::Plain
    );
    assert_eq!(
        target(&snapshot, "http://orders/").endpoints[0].tls,
        EndpointTls::Mutual([].into())
    );
}

#[test]
fn a_destination_without_a_port_is_the_only_one_or_the_dialled_one() {
    let entry = |ports: &str| {
        let spec = format!(
            "{{ hosts: [orders.shop.svc.cluster.local], resolution: STATIC, endpoints: [{{ address: 10.0.0.1 }}], ports: [{ports}] }}"
        );
        let text = [object("ServiceEntry", "shop", "orders", &spec), table_of("orders")].concat();
        target(&compile(&text, &in_namespace("shop")), "http://orders:8080/")
            .key
            .port
    };
    let [one, two] = [
        "{ number: 80, name: a, protocol: HTTP }",
        "{ number: 8080, name: b, protocol: HTTP }",
    ];
    assert_eq!(entry(one), 80);
    assert_eq!(entry(&format!("{one}, {two}")), 8080);
}

#[test]
fn a_rule_for_some_workloads_goes_before_that_for_all_and_inherits_nothing() {
    let rules = [
        rule("a", &format!("trafficPolicy: {{ {POOL} }}, subsets: [{{ name: v1 }}]")),
        rule(
            "b",
            "workloadSelector: { matchLabels: { app: front } }, trafficPolicy: { loadBalancer: { simple: RANDOM } }",
        ),
    ];
    let of = |app: &str| {
        let mut workload = in_namespace("shop");
        workload.labels = [("app".to_owned(), app.to_owned())].into();
        target(&compile(&rules.concat(), &workload), "http://orders/").settings
    };
    let (front, other) = (of("front"), of("other"));
    assert_eq!((front.algorithm, front.limits.requests), (Algorithm::Random, None));
    assert_eq!(
        (other.algorithm, other.limits.requests),
        (Algorithm::LeastRequest, Some(10))
    );
}

#[test]
fn rules_for_other_workloads_only_leave_the_service_without_settings() {
    let rules = [
        rule(
            "a",
            "workloadSelector: { matchLabels: { app: other } }, trafficPolicy: { loadBalancer: { simple: RANDOM } }",
        ),
        object(
            "DestinationRule",
            "istio-system",
            "all",
            &format!("{{ host: \"*.local\", trafficPolicy: {{ {POOL} }} }}"),
        ),
    ];
    let settings = target(&compile(&rules.concat(), &in_namespace("shop")), "http://orders/").settings;
    assert_eq!(
        (settings.algorithm, settings.limits.requests),
        (Algorithm::LeastRequest, None)
    );
}

#[test]
fn in_the_root_namespace_the_services_rules_go_before_those_for_the_mesh() {
    let mesh = |export: &str| {
        let spec = format!("{{ host: \"*.local\", {export}trafficPolicy: {{ loadBalancer: {{ simple: RANDOM }} }} }}");
        object("DestinationRule", "istio-system", "mesh", &spec)
    };
    let of = |export: &str| {
        let text = [rule("r", &format!("trafficPolicy: {{ {POOL} }}")), mesh(export)].concat();
        target(&compile(&text, &in_namespace("istio-system")), "http://orders.shop/").settings
    };
    assert_eq!(of("").limits.requests, Some(10));
    assert_eq!(of("exportTo: ['.'], ").algorithm, Algorithm::Random);
}

#[test]
fn a_budget_of_retries_holds_on_the_ports_of_a_subset() {
    let ports = "portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: RANDOM } }]";
    let rules = [rule(
        "r",
        &format!(
            "trafficPolicy: {{ retryBudget: {{ percent: 50 }} }}, subsets: [{{ name: v1, trafficPolicy: {{ {ports} }} }}, {{ name: v2, trafficPolicy: {{ retryBudget: {{ percent: 10, minRetryConcurrency: 1 }}, {ports} }} }}]"
        ),
    )];
    let share = |subset: &str, port: u16| {
        let limit = settled(&rules, subset, port).settings.retry_concurrency.unwrap();
        (limit.share.millionths(), limit.min)
    };
    assert_eq!(share("", 80), (500_000, 3));
    assert_eq!(share(", subset: v1", 80), (500_000, 3));
    // The entry of the port stands in the place of all that the subset says, but not of what the service does.
    assert_eq!(share(", subset: v2", 80), (500_000, 3));
    assert_eq!(share(", subset: v2", 81), (100_000, 1));
}

#[test]
fn what_is_not_yet_in_force_compiles_and_is_explained() {
    let balancers = [
        "simple: PASSTHROUGH",
        "consistentHash: { useSourceIp: true }",
        "consistentHash: { httpHeaderName: x, maglev: { tableSize: 65537 } }",
        "warmup: { duration: 10s }",
        "localityLbSetting: { distribute: [{ from: a, to: { b: 100 } }] }",
    ];
    let mut rules: Vec<String> = balancers
        .iter()
        .map(|balancer| rule("r", &format!("trafficPolicy: {{ loadBalancer: {{ {balancer} }} }}")))
        .collect();
    rules.push(rule("r", "trafficPolicy: { tls: { mode: SIMPLE, sni: a.com } }"));
    rules.push(object(
        "ServiceEntry",
        "shop",
        "r",
        "{ hosts: [\"*.example.com\", orders.shop.svc.cluster.local], ports: [{ number: 443, name: tls, protocol: TLS }] }",
    ));
    rules.push(object(
        "VirtualService",
        "shop",
        "r",
        "{ hosts: [orders], http: [{ route: [{ destination: { host: \"*.example.com\" } }] }] }",
    ));
    for text in rules {
        let snapshot = compile(&text, &in_namespace("shop"));
        assert_eq!(explained(&snapshot, "http://orders/", &[]).outcome, "routed", "{text}");
    }
}
