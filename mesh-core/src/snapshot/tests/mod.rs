//! What a policy means for a workload, by the semantics of the dialect that it is written in.

mod compiler;
mod gateways;
mod names;
mod seeds;
mod settings;
mod sidecars;

use http::Request;

use super::*;
use crate::decide::authz::Peer;
use crate::decide::route::RouteResult;
use crate::explain::{self, Outbound};
use crate::policy::Loaded;
use crate::policy::model::traffic::Algorithm;
use crate::request::{Options, canonicalize};

fn compile(text: &str, workload: &Workload) -> Snapshot {
    let loaded = Loaded::from_files([("policy.yaml", text.as_bytes())]);
    let report = loaded.report.lines(&loaded.sources);
    let policy = loaded.policy.unwrap_or_else(|| panic!("{report:#?}"));
    Snapshot::compile(&policy, workload, 1).unwrap()
}

fn explained(snapshot: &Snapshot, uri: &str, headers: &[(&str, &str)]) -> Outbound {
    let request = headers.iter().fold(Request::get(uri), |request, (name, value)| {
        request.header(*name, *value)
    });
    let request = request.body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    explain::outbound(snapshot, &canonical.view())
}

/// The route that takes a GET, or the outcome where none does.
fn route(snapshot: &Snapshot, uri: &str) -> String {
    let answer = explained(snapshot, uri, &[]);
    answer.route.unwrap_or_else(|| answer.outcome.into())
}

/// The target that a GET would be sent to.
fn target(snapshot: &Snapshot, uri: &str) -> ResolvedTarget {
    let request = Request::get(uri).body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    let RouteResult::Route(selected) = snapshot.outbound.route(&canonical.view()) else {
        panic!("no route for {uri}");
    };
    let index = selected.route.choices[0].index().unwrap();
    snapshot
        .target(index)
        .unwrap()
        .resolve(canonical.view().effective_port())
}

fn in_namespace(namespace: &str) -> Workload {
    Workload::new(namespace, "caller")
}

fn object(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    let group = match kind {
        "PeerAuthentication" => "security.istio.io/v1",
        _ => "networking.istio.io/v1",
    };
    format!(
        "---\napiVersion: {group}\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {namespace} }}\nspec: {spec}\n"
    )
}

/// An object of this name as if made in `year`.
fn created(object: &str, name: &str, year: u16) -> String {
    let metadata = format!("metadata: {{ name: {name},");
    object.replace(
        &metadata,
        &format!("{metadata} creationTimestamp: {year}-01-01T00:00:00Z,"),
    )
}

#[test]
fn settings_come_from_the_callers_namespace_then_the_services_then_the_root() {
    let rule = |namespace: &str, limit: u32| {
        let spec = format!(
            "{{ host: orders.shop.svc.cluster.local, trafficPolicy: {{ connectionPool: {{ http: {{ http2MaxRequests: {limit} }} }} }} }}"
        );
        object("DestinationRule", namespace, "rule", &spec)
    };
    let limit = |text: &str, namespace: &str| {
        let snapshot = compile(text, &in_namespace(namespace));
        target(&snapshot, "http://orders.shop.svc.cluster.local/")
            .settings
            .limits
            .requests
    };
    let (own, of_service, root) = (rule("web", 1), rule("shop", 2), rule("istio-system", 3));
    let all = [own.clone(), of_service, root.clone()].concat();
    assert_eq!(limit(&all, "web"), Some(1));
    assert_eq!(limit(&all, "other"), Some(2));
    assert_eq!(limit(&[own.clone(), root].concat(), "other"), Some(3));
    assert_eq!(limit(&own, "other"), None);
}

#[test]
fn a_subset_replaces_block_by_block_and_a_port_stands_alone() {
    let spec = "
  host: orders
  trafficPolicy:
    loadBalancer: { simple: ROUND_ROBIN }
    connectionPool: { http: { http2MaxRequests: 10 } }
    portLevelSettings:
      - { port: { number: 9000 }, loadBalancer: { simple: RANDOM } }
  subsets:
    - { name: v1, labels: { version: v1 }, trafficPolicy: { loadBalancer: { simple: LEAST_REQUEST } } }
";
    let subset = "{ hosts: [orders], http: [{ match: [{ headers: { x-v: { exact: \"1\" } } }], route: [{ destination: { host: orders, subset: v1, port: { number: 80 } } }] }, { route: [{ destination: { host: orders } }] }] }";
    let text = [
        object("DestinationRule", "shop", "orders", spec),
        object("VirtualService", "shop", "orders", subset),
    ]
    .concat();
    let snapshot = compile(&text, &in_namespace("shop"));

    let whole = target(&snapshot, "http://orders/").settings;
    assert_eq!(
        (whole.algorithm, whole.limits.requests),
        (Algorithm::RoundRobin, Some(10))
    );
    let port = target(&snapshot, "http://orders:9000/").settings;
    assert_eq!((port.algorithm, port.limits.requests), (Algorithm::Random, None));
    let part = snapshot
        .targets
        .iter()
        .find(|target| target.subset.as_deref() == Some("v1"))
        .unwrap();
    let part = part.resolve(80).settings;
    assert_eq!(
        (part.algorithm, part.limits.requests),
        (Algorithm::LeastRequest, Some(10))
    );
}

#[test]
fn gateways_and_clients_of_the_mesh_have_their_own_routes() {
    let table = |name: &str, gateways: &str| {
        let spec = format!(
            "{{ hosts: [shop.example.com], gateways: {gateways}, http: [{{ name: {name}, route: [{{ destination: {{ host: orders }} }}] }}] }}"
        );
        object("VirtualService", "shop", name, &spec)
    };
    let gateway = "{ selector: { istio: ingressgateway }, servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: [shop.example.com] }] }";
    let gateway = object("Gateway", "shop", "door", gateway);
    let text = [gateway, table("outside", "[door]"), table("inside", "[mesh]")].concat();

    let client = compile(&text, &in_namespace("shop"));
    assert!(client.gateways.is_empty());
    assert_eq!(route(&client, "http://shop.example.com/"), "inside");

    let door = compile(&text, &in_namespace("shop").label("istio", "ingressgateway"));
    let request = Request::get("http://shop.example.com/").body(()).unwrap();
    let canonical = canonicalize(&request, Options::outbound()).unwrap();
    let RouteResult::Route(selected) = door.gateways[0].ports[0].router.route(&canonical.view()) else {
        panic!("no route at the gateway");
    };
    assert_eq!(&**selected.name(), "outside");
}

#[test]
fn a_gateway_takes_only_the_hosts_of_its_servers() {
    let gateway = "{ selector: { istio: ingressgateway }, servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: [\"*.example.com\"] }] }";
    let spec = "{ hosts: [shop.example.com, shop.example.org], gateways: [door], http: [{ route: [{ destination: { host: orders } }] }] }";
    let text = [
        object("Gateway", "shop", "door", gateway),
        object("VirtualService", "shop", "all", spec),
    ]
    .concat();
    let door = compile(&text, &in_namespace("shop").label("istio", "ingressgateway"));
    let router = &door.gateways[0].ports[0].router;

    assert!(router.virtual_host("shop.example.com").is_some());
    assert!(router.virtual_host("shop.example.org").is_none());
    assert!(router.virtual_host("other.example.com").is_none());
}

#[test]
fn conditions_on_the_caller_are_decided_when_compiling() {
    let spec = "
  hosts: [orders]
  http:
    - { name: by-label, match: [{ sourceLabels: { app: web } }], route: [{ destination: { host: orders } }] }
    - { name: by-namespace, match: [{ sourceNamespace: batch }], route: [{ destination: { host: orders } }] }
    - { name: others, route: [{ destination: { host: orders } }] }
";
    let text = object("VirtualService", "shop", "orders", spec);
    let uri = "http://orders.shop.svc.cluster.local/";
    assert_eq!(
        route(&compile(&text, &in_namespace("shop").label("app", "web")), uri),
        "by-label"
    );
    assert_eq!(route(&compile(&text, &in_namespace("batch")), uri), "by-namespace");
    assert_eq!(route(&compile(&text, &in_namespace("shop")), uri), "others");
}

#[test]
fn a_table_is_seen_where_it_is_exported_to() {
    let spec = "{ hosts: [orders.example.com], exportTo: [.], http: [{ name: own, route: [{ destination: { host: orders.example.com } }] }] }";
    let text = object("VirtualService", "shop", "orders", spec);
    assert_eq!(
        route(&compile(&text, &in_namespace("shop")), "http://orders.example.com/"),
        "own"
    );
    assert_ne!(
        route(&compile(&text, &in_namespace("web")), "http://orders.example.com/"),
        "own"
    );
}

#[test]
fn exact_hosts_go_before_wildcards_and_longer_wildcards_before_shorter() {
    let table = |name: &str, host: &str| {
        let spec = format!(
            "{{ hosts: [\"{host}\"], http: [{{ name: {name}, route: [{{ destination: {{ host: orders }} }}] }}] }}"
        );
        object("VirtualService", "shop", name, &spec)
    };
    let text = [
        table("com", "*.com"),
        table("foo", "*.foo.com"),
        table("exact", "a.foo.com"),
    ]
    .concat();
    let snapshot = compile(&text, &in_namespace("shop"));
    for (host, name) in [
        ("a.foo.com", "exact"),
        ("b.foo.com", "foo"),
        ("x.y.foo.com", "foo"),
        ("bar.com", "com"),
        ("elsewhere.org", "passthrough"),
    ] {
        assert_eq!(route(&snapshot, &format!("http://{host}/")), name, "{host}");
    }
}

#[test]
fn a_service_entry_selects_workload_entries_of_its_namespace() {
    let entry = "{ hosts: [db.example.com], ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 8080 }], resolution: STATIC, workloadSelector: { labels: { app: db } } }";
    let vm = |namespace: &str, name: &str, address: &str, app: &str| {
        object(
            "WorkloadEntry",
            namespace,
            name,
            &format!("{{ address: {address}, labels: {{ app: {app} }} }}"),
        )
    };
    let text = [
        object("ServiceEntry", "shop", "db", entry),
        vm("shop", "one", "10.0.0.1", "db"),
        vm("shop", "two", "10.0.0.2", "other"),
        vm("web", "three", "10.0.0.3", "db"),
    ];
    let snapshot = compile(&text.concat(), &in_namespace("shop"));
    let endpoints: Vec<String> = target(&snapshot, "http://db.example.com/")
        .endpoints
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(endpoints, ["10.0.0.1:8080"]);
}

#[test]
fn hosts_are_read_in_any_case_with_a_final_dot_and_a_port() {
    let text = "services:\n  orders: { endpoints: [10.0.0.1:80] }\n";
    let snapshot = compile(text, &Workload::default());
    for host in [
        "orders",
        "ORDERS.default",
        "orders.default.svc.cluster.local.",
        "orders:8080",
    ] {
        assert_eq!(route(&snapshot, &format!("http://{host}/")), "default", "{host}");
    }
    assert_eq!(route(&snapshot, "http://[::1]/"), "passthrough");
}

/// How an endpoint with and without an account is spoken to.
fn tls(modes: &str, settings: &str) -> [EndpointTls; 2] {
    let text = format!(
        "namespace: shop\nservices:\n  orders:\n    endpoints: [{{ address: \"10.0.0.1:80\", service_account: orders }}, 10.0.0.2:80]\n{settings}{modes}"
    );
    let snapshot = compile(&text, &in_namespace("web"));
    let endpoints = target(&snapshot, "http://orders.shop/").endpoints;
    [endpoints[0].tls.clone(), endpoints[1].tls.clone()]
}

/// Endpoints next to each other share what is made of them only where they are alike.
#[test]
fn endpoints_have_their_own_accounts_labels_localities_and_ports() {
    let text = "namespace: shop
services:
  orders:
    ports: [{ number: 80, name: http }]
    endpoints:
    - { address: 10.0.0.1, service_account: a, labels: { version: v1 }, locality: r/a }
    - { address: 10.0.0.2, service_account: a, labels: { version: v1 }, locality: r/a, weight: 3 }
    - { address: 10.0.0.3, service_account: b, labels: { version: v1 }, locality: r/a }
    - { address: 10.0.0.4, service_account: b, labels: { version: v2 }, locality: r/a }
    - { address: 10.0.0.5, service_account: b, labels: { version: v2 }, locality: r/b }
    - { address: \"10.0.0.6:81\", service_account: b, labels: { version: v2 }, locality: r/b }
mtls: [{ name: m, mode: permissive, service: orders, ports: { 81: disable } }]
";
    let endpoints = target(&compile(text, &in_namespace("web")), "http://orders.shop/").endpoints;
    let told = endpoints.iter().map(|one| {
        let version = one.labels.get("version").map(String::as_str);
        let account = match &one.tls {
            EndpointTls::Mutual(ids) => ids[0].to_string().pop(),
            _ => None,
        };
        (
            one.socket_address().unwrap().to_string(),
            one.weight,
            version,
            &*one.locality,
            account,
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("10.0.0.1:80".into(), 1, Some("v1"), "r/a", Some('a')),
            ("10.0.0.2:80".into(), 3, Some("v1"), "r/a", Some('a')),
            ("10.0.0.3:80".into(), 1, Some("v1"), "r/a", Some('b')),
            ("10.0.0.4:80".into(), 1, Some("v2"), "r/a", Some('b')),
            ("10.0.0.5:80".into(), 1, Some("v2"), "r/b", Some('b')),
            ("10.0.0.6:81".into(), 1, Some("v2"), "r/b", None),
        ]
    );
}

fn exactly(id: &str) -> EndpointTls {
    EndpointTls::Mutual([crate::identity::SpiffeId::parse(id).unwrap()].into())
}

#[test]
fn mtls_follows_the_policy_of_the_server_and_what_is_known_of_the_endpoint() {
    let orders = || exactly("spiffe://cluster.local/ns/shop/sa/orders");
    let anybody = || EndpointTls::Mutual([].into());
    assert_eq!(tls("", ""), [orders(), EndpointTls::Plain], "permissive by default");
    assert_eq!(tls("mesh: { mtls: strict }\n", ""), [orders(), anybody()]);
    assert_eq!(
        tls("mesh: { mtls: disable }\n", ""),
        [EndpointTls::Plain, EndpointTls::Plain]
    );
    assert_eq!(tls("", "    mtls: strict\n"), [orders(), anybody()]);
    assert_eq!(
        tls("mesh: { mtls: strict }\n", "    tls: disable\n"),
        [EndpointTls::Plain, EndpointTls::Plain]
    );
    assert_eq!(tls("", "    tls: mutual\n"), [orders(), anybody()]);
    assert_eq!(
        tls("mesh: { mtls: strict }\n", "    location: external\n"),
        [EndpointTls::Plain, EndpointTls::Plain]
    );
    let named = exactly("spiffe://cluster.local/ns/x/sa/y");
    assert_eq!(
        tls("", "    tls: { mutual: { identities: [cluster.local/ns/x/sa/y] } }\n"),
        [named.clone(), named.clone()]
    );
    assert_eq!(
        tls(
            "mesh: { mtls: strict }\n",
            "    identities: [cluster.local/ns/x/sa/y]\n"
        ),
        [named.clone(), named]
    );
}

#[test]
fn a_profile_fills_what_the_route_leaves_open() {
    let text = "
services:
  orders: { endpoints: [10.0.0.1:80] }
  users:
    endpoints: [10.0.0.1:80]
    routes: [{ name: own, timeout: 1s, retry: { attempts: 1, on: [reset] } }]
profiles:
  orders:
    routes:
      - { name: reads, method: GET, timeout: 3s, retryable: true }
  users:
    routes:
      - { name: reads, method: GET, timeout: 3s, retryable: true }
";
    let snapshot = compile(text, &Workload::default());
    let orders = explained(&snapshot, "http://orders/", &[]);
    assert_eq!(
        (orders.route.as_deref(), orders.timeout_ms),
        (Some("reads"), Some(3_000))
    );
    assert_eq!(orders.retry.map(|retry| retry.on), Some(vec!["5xx".to_owned()]));
    let users = explained(&snapshot, "http://users/", &[]);
    assert_eq!((users.route.as_deref(), users.timeout_ms), (Some("own"), Some(1_000)));
    assert_eq!(
        users.retry.map(|retry| (retry.attempts, retry.on)),
        Some((1, vec!["reset".to_owned()]))
    );
}

#[test]
fn a_subset_that_nobody_defines_has_no_endpoints_of_its_own_accord() {
    let spec = "{ hosts: [orders], http: [{ route: [{ destination: { host: orders, subset: v1 } }] }] }";
    let snapshot = compile(&object("VirtualService", "shop", "orders", spec), &in_namespace("shop"));
    let target = snapshot.targets.iter().find(|target| target.subset.is_some()).unwrap();
    assert!(matches!(target.endpoints, TargetEndpoints::Undefined));
}

#[test]
fn modes_of_ports_go_before_those_of_workload_namespace_and_mesh() {
    let text = [
        object(
            "PeerAuthentication",
            "istio-system",
            "mesh",
            "{ mtls: { mode: DISABLE } }",
        ),
        object("PeerAuthentication", "shop", "all", "{ mtls: { mode: STRICT } }"),
        object(
            "PeerAuthentication",
            "shop",
            "orders",
            "{ selector: { matchLabels: { app: orders } }, mtls: { mode: UNSET }, portLevelMtls: { 8080: { mode: PERMISSIVE } } }",
        ),
    ];
    let orders = compile(&text.concat(), &in_namespace("shop").label("app", "orders"));
    assert_eq!(
        orders.inbound.mtls(8080).0,
        crate::policy::model::identity::MtlsMode::Permissive
    );
    assert_eq!(
        orders.inbound.mtls(80).0,
        crate::policy::model::identity::MtlsMode::Strict
    );
    let elsewhere = compile(&text.concat(), &in_namespace("web"));
    assert_eq!(
        elsewhere.inbound.mtls(80).0,
        crate::policy::model::identity::MtlsMode::Disable
    );
}

#[test]
fn the_port_of_a_gateway_is_its_own_whatever_its_clients_write() {
    let gateway = "{ selector: { istio: ingressgateway }, servers: [{ port: { number: 443, name: http, protocol: HTTP }, hosts: [shop.example.com] }] }";
    let spec = "{ hosts: [shop.example.com], gateways: [door], http: [{ name: other, match: [{ port: 80 }], route: [{ destination: { host: orders } }] }, { name: own, match: [{ port: 443 }], route: [{ destination: { host: orders } }] }] }";
    let text = [
        object("Gateway", "shop", "door", gateway),
        object("VirtualService", "shop", "all", spec),
    ]
    .concat();
    let door = compile(&text, &in_namespace("shop").label("istio", "ingressgateway"));
    for uri in [
        "http://shop.example.com/",
        "http://shop.example.com:8443/",
        "http://shop.example.com:80/",
    ] {
        let request = Request::get(uri).body(()).unwrap();
        let canonical = canonicalize(&request, Options::outbound()).unwrap();
        let RouteResult::Route(selected) = door.gateways[0].ports[0].router.route(&canonical.view()) else {
            panic!("no route for {uri}");
        };
        assert_eq!(&**selected.name(), "own", "{uri}");
    }
}

#[test]
fn addresses_and_final_dots_are_read_in_one_spelling() {
    let table = |name: &str, host: &str| {
        let spec = format!(
            "{{ hosts: [\"{host}\"], http: [{{ name: {name}, route: [{{ destination: {{ host: orders }} }}] }}] }}"
        );
        object("VirtualService", "shop", name, &spec)
    };
    let snapshot = compile(&table("dotted", "api.example.com."), &in_namespace("shop"));
    assert_eq!(route(&snapshot, "http://api.example.com/"), "dotted");
}
