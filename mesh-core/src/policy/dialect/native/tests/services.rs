//! `services`, `workloads`, `profiles` and `mtls`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::policy::model::identity::MtlsMode;
use crate::policy::model::profile::Retryable;
use crate::policy::model::service::{Endpoint, EndpointSource, Location, Protocol, Service};
use crate::policy::model::traffic::RetryBudget;
use crate::policy::model::{Export, Labels};

fn service(fields: &str) -> Service {
    clean(&format!("namespace: shop\nservices: {{ orders: {{ {fields} }} }}"))
        .services
        .remove(0)
}

fn endpoints(list: &str) -> Vec<Endpoint> {
    match service(&format!("port: 80, endpoints: {list}")).endpoints {
        EndpointSource::Listed(endpoints) => endpoints.to_vec(),
        other => panic!("endpoints are listed: {other:?}"),
    }
}

#[test]
fn a_service_is_called_by_its_key_and_its_other_hosts() {
    for (hosts, expected) in [
        ("", vec!["orders.shop.svc.cluster.local"]),
        ("hosts: [orders]", vec!["orders.shop.svc.cluster.local"]),
        (
            "hosts: [Orders.Example.com, ord]",
            vec![
                "orders.shop.svc.cluster.local",
                "orders.example.com",
                "ord.shop.svc.cluster.local",
            ],
        ),
    ] {
        assert_eq!(service(hosts).hosts, expected, "{hosts}");
    }
    assert_eq!(
        clean("services: { api.example.com: {} }").services[0].hosts,
        ["api.example.com"]
    );
}

#[test]
fn a_service_without_endpoints_is_resolved_by_dns() {
    assert_eq!(service("").endpoints, EndpointSource::Dns);
    assert_eq!(
        service("endpoints: []").endpoints,
        EndpointSource::Listed(Vec::new().into())
    );
    let selected = service("endpoints: { selector: { app: orders } }").endpoints;
    assert_eq!(
        selected,
        EndpointSource::Selected(Labels::from([("app".into(), "orders".into())]))
    );
}

#[test]
fn addresses_have_every_usual_form() {
    for (text, address, port) in [
        ("10.0.0.4:8080", "10.0.0.4", Some(8080)),
        ("10.0.0.4", "10.0.0.4", None),
        ("'[::1]:8080'", "::1", Some(8080)),
        ("'[::1]'", "::1", None),
        ("'fd00::7'", "fd00::7", None),
        ("Orders.example.com:80", "orders.example.com", Some(80)),
        ("localhost", "localhost", None),
    ] {
        let found = endpoints(&format!("[{text}]"));
        assert_eq!((found[0].address.as_str(), found[0].port), (address, port), "{text}");
    }
    for text in [
        "'10.0.0.4:'",
        "10.0.0.4:0",
        "10.0.0.4:080",
        "a:65536",
        "'[::1'",
        "'[10.0.0.1]:80'",
        "a_b:80",
        "'a:b:80'",
        "'http://a'",
        "''",
        "10.0.0.400:80",
    ] {
        let loaded = load(&format!("services: {{ a: {{ port: 80, endpoints: [{text}] }} }}"));
        assert!(loaded.policy.is_none(), "{text}");
    }
}

#[test]
fn an_endpoint_says_all_about_itself() {
    let found = &service(
        "ports: [{ number: 80, name: web }], service_account: all, endpoints: [{ address: a.example, ports: { web: 8080 }, locality: eu/west/a, service_account: own }, { address: 10.0.0.1, port: 81 }]",
    );
    let EndpointSource::Listed(endpoints) = &found.endpoints else {
        panic!("endpoints are listed");
    };
    assert_eq!(endpoints[0].ports, BTreeMap::from([("web".into(), 8080)]));
    assert_eq!(endpoints[0].locality, "eu/west/a");
    assert_eq!(endpoints[0].service_account.as_deref(), Some("own"));
    assert_eq!(
        (endpoints[1].port, endpoints[1].service_account.as_deref()),
        (Some(81), Some("all"))
    );
}

#[test]
fn ports_have_protocols_names_and_targets() {
    let found = service("protocol: grpc, ports: [50051, { number: 80, protocol: http, name: web, target: 8080 }]");
    let ports: Vec<_> = found
        .ports
        .iter()
        .map(|port| (port.number, port.name.as_str(), port.protocol, port.target))
        .collect();
    assert_eq!(
        ports,
        [
            (50051, "grpc-50051", Protocol::Grpc, None),
            (80, "web", Protocol::Http, Some(8080))
        ]
    );
    assert_eq!(service("port: 443, protocol: https").ports[0].name, "https-443");
    assert_eq!(
        service("port: { number: 1, protocol: http2 }").ports[0].protocol,
        Protocol::Http2
    );
}

#[test]
fn a_service_says_where_it_is_who_serves_it_and_who_sees_it() {
    let found =
        service("location: external, identities: [td.example/ns/a/sa/b, 'spiffe://td.example/c'], visible_to: [., a]");
    assert_eq!(found.location, Location::MeshExternal);
    assert_eq!(
        found.subject_alt_names,
        ["spiffe://td.example/ns/a/sa/b", "spiffe://td.example/c"]
    );
    assert_eq!(found.export, Export::Namespaces(vec!["shop".into(), "a".into()]));
    assert_eq!(service("visible_to: []").export, Export::Namespaces(Vec::new()));
    assert_eq!(service("").location, Location::MeshInternal);
}

/// Fields of a service, beside what is said about each.
const WRONG_SERVICES: &[(&str, &[&str])] = &[
    ("enpoints: []", &["23: error[MESH0101]: unknown field `enpoints`"]),
    (
        "hosts: ['*.example.com', 5]",
        &[
            "31: error[MESH0104]: `hosts`: expected the name of a service, found `*.example.com`",
            "48: error[MESH0102]: `hosts`: expected text, found the number `5`",
        ],
    ),
    (
        "endpoints: [10.0.0.4]",
        &["35: error[MESH0301]: endpoint `10.0.0.4` has no port, and its service has none either"],
    ),
    (
        "endpoints: [8080, a b]",
        &[
            "35: error[MESH0102]: `endpoints`: expected text, found the number `8080`",
            "41: error[MESH0104]: `endpoints`: expected an address such as `10.0.0.4:8080`, `[::1]:8080` or `orders.example.com:8080`, found `a b`",
        ],
    ),
    (
        "endpoints: { selector: {} }",
        &["34: error[MESH0104]: `endpoints`: expected labels to select workloads by, found none"],
    ),
    (
        "port: 80, endpoints: [{ address: a:1, port: 2 }]",
        &["67: error[MESH0104]: `endpoints`: the address has a port already"],
    ),
    (
        "port: 80, endpoints: [{ address: a, ports: { web: 1 }, weight: 0, zone: a/b, labels: { 'a b': c } }]",
        &[
            "68: error[MESH0201]: the service has no port `web`",
            "86: error[MESH0104]: `weight`: expected a whole number of 1 to 2147483647, found `0`",
            "95: error[MESH0104]: `zone`: expected one zone, write `locality: region/zone/subzone` for more",
            "110: error[MESH0104]: key `a b`: expected a label such as `app` or `example.com/app`",
        ],
    ),
    (
        "port: 80, ports: [81]",
        &["33: error[MESH0105]: fields `port` and `ports` exclude each other"],
    ),
    (
        "ports: [80, { number: 80, name: a }, { number: 81, name: a }]",
        &[
            "35: error[MESH0202]: port number `80` is given twice",
            "60: error[MESH0202]: port name `a` is given twice",
        ],
    ),
    (
        "protocol: grpc",
        &["23: error[MESH0301]: `protocol` needs a `port`: it is that of the service's ports"],
    ),
    (
        "protocol: udp, port: 0",
        &[
            "33: error[MESH0104]: `protocol`: unknown value `udp`, expected `http`, `http2`, `grpc`, `https`, `tls` or `tcp`",
            "44: error[MESH0104]: `port`: expected a whole number of 1 to 65535, found `0`",
        ],
    ),
    (
        "service_account: a",
        &["40: error[MESH0301]: `service_account` needs listed `endpoints`: it is the account of each of them"],
    ),
    (
        "identities: ['*', 'td/a b', td]",
        &[
            "36: error[MESH0104]: `identities`: expected an identity such as `cluster.local/ns/shop/sa/orders`, found `*`",
            "41: error[MESH0104]: `identities`: expected an identity such as `cluster.local/ns/shop/sa/orders`, found `td/a b`",
            "51: error[MESH0104]: `identities`: expected an identity such as `cluster.local/ns/shop/sa/orders`, found `td`",
        ],
    ),
    (
        "location: external, mtls: strict",
        &["49: error[MESH0301]: `mtls` is for servers of the mesh, and this service is external"],
    ),
    (
        "visible_to: ['*', a, a]",
        &[
            "36: error[MESH0104]: `visible_to`: leave `visible_to` out to be seen by all namespaces",
            "44: error[MESH0202]: namespace `a` is given twice",
        ],
    ),
];

#[test]
fn services_that_are_wrong_are_told() {
    assert_lines("services: { orders: { @ } }", WRONG_SERVICES);
    assert_lines(
        "services: { @: {} }",
        &[(
            "Orders",
            &["13: error[MESH0104]: key `Orders`: expected the name of a service: a DNS name in lower case"],
        )],
    );
}

#[test]
fn workloads_are_endpoints_with_a_name() {
    let policy = clean("namespace: shop\nworkloads: { w-1: { address: 10.0.0.1:80, labels: { app: orders } } }");
    let entry = &policy.workload_entries[0];
    assert_eq!(
        (entry.meta.name.as_str(), entry.meta.namespace.as_str()),
        ("w-1", "shop")
    );
    assert_eq!(
        (entry.endpoint.port, entry.endpoint.labels["app"].as_str()),
        (Some(80), "orders")
    );
    assert_lines(
        "workloads: { @ }",
        &[
            ("a: { adress: b }", &["19: error[MESH0101]: unknown field `adress`"]),
            (
                "A: a",
                &["14: error[MESH0104]: key `A`: expected a name of lower-case letters, digits, `-` and `.`"],
            ),
        ],
    );
}

#[test]
fn profiles_have_classes_and_a_budget() {
    let policy = clean(
        "profiles: { orders: { routes: [{ name: list, method: get, path_regex: /o, retryable: true, timeout: 1s }, { name: rest, path_regex: '.*' }], retry_budget: { percent: 50, min_per_second: 1, ttl: 5s } } }",
    );
    let profile = &policy.profiles[0];
    assert_eq!(profile.host, "orders.default.svc.cluster.local");
    assert_eq!(profile.budget, RetryBudget::new(50, 1, Duration::from_secs(5)));
    assert_eq!(
        (profile.routes[0].retryable, profile.routes[0].timeout),
        (Retryable::Yes, Some(Duration::from_secs(1)))
    );
    assert_eq!(
        (profile.routes[1].retryable, profile.routes[1].timeout),
        (Retryable::No, None)
    );
    assert_lines(
        "profiles: { a: { routes: [{ @ }] } }",
        &[
            (
                "name: r",
                &["27: error[MESH0104]: `routes`: route `r` needs a `method` or a `path_regex`"],
            ),
            (
                "name: r, method: get, retry: 1",
                &["51: error[MESH0101]: unknown field `retry`"],
            ),
        ],
    );
}

#[test]
fn mtls_is_set_for_namespaces_workloads_ports_and_services() {
    let policy = clean(
        "namespace: shop\nmtls:\n- { name: all, mode: strict }\n- { name: old, selector: { app: old }, mode: permissive, ports: { 8080: disable } }\nservices: { orders: { mtls: disable } }",
    );
    let found: Vec<_> = policy
        .peer_authentications
        .iter()
        .map(|one| {
            (
                one.meta.name.as_str(),
                one.mode,
                one.selector.get("app").map(String::as_str),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("orders", Some(MtlsMode::Disable), Some("orders")),
            ("all", Some(MtlsMode::Strict), None),
            ("old", Some(MtlsMode::Permissive), Some("old")),
        ]
    );
    assert_eq!(
        policy.peer_authentications[2].ports,
        BTreeMap::from([(8080, Some(MtlsMode::Disable))])
    );
    assert_lines(
        "mtls: [{ @ }]",
        &[
            ("name: a", &["8: error[MESH0103]: missing field `mode`"]),
            (
                "name: a, ports: { 0: strict, 80: on }",
                &[
                    "19: error[MESH0301]: `ports` needs a `service` or `selector`: ports are those of workloads",
                    "28: error[MESH0104]: key `0`: expected a port of 1 to 65535",
                    "43: error[MESH0104]: `ports`: unknown value `on`, expected `strict`, `permissive`, `disable` or `inherit`",
                ],
            ),
            (
                "name: a, mode: strict, selector: {}",
                &[
                    "43: error[MESH0104]: `selector`: expected labels, leave `selector` out to select the whole namespace",
                ],
            ),
        ],
    );
}

#[test]
fn a_port_that_cannot_be_read_is_not_missed_by_endpoints() {
    assert_lines(
        "services: { web: { @ } }",
        &[
            (
                "port: 99999, endpoints: [10.0.0.1]",
                &["26: error[MESH0104]: `port`: expected a whole number of 1 to 65535, found `99999`"],
            ),
            (
                "ports: [{ number: 0, name: a }], endpoints: [{ address: 10.0.0.1, ports: { a: 80 } }]",
                &["38: error[MESH0104]: `number`: expected a whole number of 1 to 65535, found `0`"],
            ),
            (
                "endpoints: [10.0.0.1]",
                &["32: error[MESH0301]: endpoint `10.0.0.1` has no port, and its service has none either"],
            ),
        ],
    );
}
