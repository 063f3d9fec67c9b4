use super::*;
use crate::policy::model::Labels;
use crate::policy::model::service::{Endpoint, EndpointSource, Location, Protocol, Service, ServicePort};

const KIND: &str = "ServiceEntry";

fn services(spec: &str) -> Vec<Service> {
    clean(KIND, spec).services
}

#[test]
fn each_host_is_a_service() {
    let found = services(
        "hosts: [A.example.com, b.example.com], resolution: DNS, ports: [{ number: 80, name: http, protocol: http }]",
    );
    let hosts: Vec<&[String]> = found.iter().map(|service| service.hosts.as_slice()).collect();
    assert_eq!(hosts, [["a.example.com".to_owned()], ["b.example.com".to_owned()]]);
    assert_eq!(found[0].endpoints, EndpointSource::Dns);
    assert_eq!(found[0].location, Location::MeshExternal, "the first of Istio's list");
}

#[test]
fn endpoints_are_listed() {
    let found = services(
        "hosts: [a.com], location: MESH_INTERNAL, resolution: STATIC, subjectAltNames: ['spiffe://td/ns/a/sa/b'], \
         ports: [{ number: 80, name: web, targetPort: 8080 }, { number: 90, name: rpc, protocol: GRPC }], \
         endpoints: [{ address: 10.0.0.1, ports: { web: 1 }, labels: { app: a, istio-locality: r.z }, weight: 3, serviceAccount: sa }, \
         { address: '::1', locality: r/z/s }]",
    );
    let service = &found[0];
    assert_eq!(service.location, Location::MeshInternal);
    assert_eq!(service.subject_alt_names, ["spiffe://td/ns/a/sa/b"]);
    let web = ServicePort {
        number: 80,
        name: "web".into(),
        protocol: Protocol::Http,
        target: Some(8080),
    };
    let rpc = ServicePort {
        number: 90,
        name: "rpc".into(),
        protocol: Protocol::Grpc,
        target: None,
    };
    assert_eq!(service.ports, [web, rpc]);
    let EndpointSource::Listed(endpoints) = &service.endpoints else {
        panic!("a list")
    };
    let [first, second] = endpoints.as_slice() else {
        panic!("two endpoints")
    };
    assert_eq!(
        (first.address.as_str(), first.weight, first.locality.as_str()),
        ("10.0.0.1", 3, "r/z")
    );
    assert_eq!((first.ports["web"], first.service_account.as_deref()), (1, Some("sa")));
    assert_eq!(
        (second.address.as_str(), second.weight, second.locality.as_str()),
        ("::1", 1, "r/z/s")
    );
}

#[test]
fn endpoints_are_selected_by_label() {
    let found = services("hosts: [a.com], resolution: STATIC, workloadSelector: { labels: { app: a } }");
    assert_eq!(
        found[0].endpoints,
        EndpointSource::Selected(Labels::from([("app".into(), "a".into())]))
    );
}

#[test]
fn a_workload_entry_is_an_endpoint() {
    let policy = clean(
        "WorkloadEntry",
        "address: Vm1.example.com, labels: { app: a }, ports: { http: 8080 }",
    );
    let entry = &policy.workload_entries[0];
    assert_eq!(
        (entry.meta.name.as_str(), entry.meta.namespace.as_str()),
        ("test", "shop")
    );
    let expected = Endpoint {
        address: "vm1.example.com".into(),
        labels: Labels::from([("app".into(), "a".into())]),
        ports: [("http".to_owned(), 8080)].into(),
        weight: 1,
        origin: entry.endpoint.origin.clone(),
        ..Endpoint::default()
    };
    assert_eq!(entry.endpoint, expected);
    assert_eq!(entry.endpoint.origin.line, 2);
}

#[test]
fn service_entries_are_checked() {
    assert_lines(
        KIND,
        &[
            ("resolution: DNS", &["2:1: error[MESH0103]: missing field `hosts`"]),
            (
                "hosts: ['*'], resolution: DNS",
                &["3:9: error[MESH0104]: `hosts`: expected a host name, found `*`"],
            ),
            (
                "hosts: [a.com, A.com], resolution: DNS",
                &["3:16: error[MESH0202]: host `a.com` is given twice"],
            ),
            (
                "hosts: [a.com], resolution: DNS, ports: [{ number: 99999, name: a }, { number: 1 }, { number: 2, name: b }, { number: 2, name: b }]",
                &[
                    "3:52: error[MESH0104]: `number`: expected a whole number of 1 to 65535, found `99999`",
                    "3:70: error[MESH0103]: missing field `name`",
                    "3:109: error[MESH0202]: port number `2` is given twice",
                    "3:109: error[MESH0202]: port name `b` is given twice",
                ],
            ),
            (
                "hosts: [a.com], resolution: STATIC, endpoints: [{ address: b.com }, {}]",
                &[
                    "3:60: error[MESH0104]: `address`: expected an IP address, found `b.com`",
                    "3:69: error[MESH0103]: missing field `address`",
                ],
            ),
            (
                "hosts: [a.com], resolution: DNS, endpoints: [], workloadSelector: { labels: { a: b } }",
                &["3:49: error[MESH0105]: fields `endpoints` and `workloadSelector` exclude each other"],
            ),
            (
                "hosts: [a.com], resolution: STATIC, ports: [{ number: 1, name: a }], endpoints: [{ address: 1.2.3.4, ports: { b: 2 } }]",
                &["3:111: error[MESH0201]: the service has no port `b`"],
            ),
            (
                "hosts: [a.com], resolution: DNS, ports: [{ number: 1, name: a, protocol: HTPP }]",
                &[
                    "3:74: error[MESH0104]: `protocol`: unknown protocol `HTPP`, expected `HTTP`, `HTTP2`, `GRPC`, `GRPC-WEB`, `HTTPS`, `TCP`, `TLS`, `MONGO`, `REDIS`, `MYSQL`, `UDP` or `HTTP_PROXY`",
                ],
            ),
        ],
    );
}

#[test]
fn every_protocol_of_istio_is_read() {
    for (name, protocol) in [
        ("HTTP", Protocol::Http),
        ("http2", Protocol::Http2),
        ("GRPC", Protocol::Grpc),
        ("grpc-web", Protocol::Http),
        ("HTTPS", Protocol::Https),
        ("TLS", Protocol::Tls),
        ("TCP", Protocol::Tcp),
        ("Mongo", Protocol::Tcp),
        ("REDIS", Protocol::Tcp),
        ("MYSQL", Protocol::Tcp),
        ("UDP", Protocol::Tcp),
        ("HTTP_PROXY", Protocol::Http),
        ("''", Protocol::Http),
    ] {
        let found = services(&format!(
            "hosts: [a.com], resolution: DNS, ports: [{{ number: 1, name: a, protocol: {name} }}]"
        ));
        assert_eq!(found[0].ports[0].protocol, protocol, "{name}");
    }
}

#[test]
fn without_a_resolution_names_are_asked_of_dns() {
    let found = services("hosts: [a.com], addresses: [1.2.3.4]");
    assert_eq!(found[0].endpoints, EndpointSource::Dns);
    assert_eq!(found[0].hosts, ["a.com", "1.2.3.4"]);
}

#[test]
fn addresses_are_further_names_of_a_service() {
    let found = services(
        "hosts: [a.com, b.com], resolution: DNS, addresses: [1.2.3.4, 001:db8::], ports: [{ number: 80, name: a, protocol: HTTP }]",
    );
    let [first, second] = found.as_slice() else {
        panic!("two services")
    };
    assert_eq!(first.hosts, ["a.com", "1.2.3.4", "1:db8::"]);
    assert_eq!(second.hosts, ["b.com", "1.2.3.4", "1:db8::"]);
    assert_eq!(first.addresses.len(), 2);
    let EndpointSource::Listed(endpoints) = &second.endpoints else {
        panic!("the name behind the address")
    };
    assert_eq!((endpoints[0].address.as_str(), endpoints[0].weight), ("b.com", 1));
}

#[test]
fn addresses_are_checked() {
    assert_lines(
        KIND,
        &[
            (
                "hosts: [a.com], addresses: [10.0.0.0/8]",
                &["3:29: warning[MESH0505]: `addresses`: the range `10.0.0.0/8` has no effect"],
            ),
            (
                "hosts: [a.com], addresses: [1.2.3.4/16], resolution: DNS",
                &[
                    "3:29: error[MESH0301]: `addresses`: the range `1.2.3.4/16` needs the resolution `NONE` or `STATIC`",
                    "3:29: warning[MESH0505]: `addresses`: the range `1.2.3.4/16` has no effect",
                ],
            ),
            (
                "hosts: [a.com], addresses: [b.com]",
                &[
                    "3:29: error[MESH0104]: `addresses`: expected an address or a range such as `10.0.0.0/8`, found `b.com`",
                ],
            ),
        ],
    );
}

#[test]
fn resolutions_are_checked() {
    assert_lines(
        KIND,
        &[
            (
                "hosts: [a.com], endpoints: [{ address: 1.2.3.4 }]",
                &["3:28: error[MESH0301]: `endpoints` cannot stand beside the resolution `NONE`"],
            ),
            (
                "hosts: [a.com], workloadSelector: { labels: { a: b } }",
                &["3:35: warning[MESH0505]: `workloadSelector` has no effect beside the resolution `NONE`"],
            ),
            (
                "hosts: [a.com], resolution: DNS_ROUND_ROBIN, endpoints: [{ address: b.com }, { address: c.com }]",
                &[
                    "3:29: warning[MESH0401]: resolution `DNS_ROUND_ROBIN` is not yet in force: all addresses of an answer are used",
                    "3:57: error[MESH0301]: resolution `DNS_ROUND_ROBIN` takes one endpoint",
                ],
            ),
            (
                "hosts: ['*.a.com'], resolution: DNS",
                &[
                    "3:9: warning[MESH0401]: host `*.a.com` is not yet in force: a service has one name",
                    "3:9: error[MESH0301]: `hosts`: DNS knows no address of `*.a.com`, give `endpoints`",
                ],
            ),
            (
                "hosts: ['*.a.com'], resolution: DYNAMIC_DNS, ports: [{ number: 80, name: a, protocol: HTTP }]",
                &[
                    "3:9: warning[MESH0401]: host `*.a.com` is not yet in force: a service has one name",
                    "3:33: warning[MESH0401]: resolution `DYNAMIC_DNS` is not yet in force: a service has one name",
                ],
            ),
            (
                "hosts: [a.com], resolution: DYNAMIC_DNS, addresses: [1.2.3.4], endpoints: [{ address: b.com }], ports: [{ number: 1, name: a, protocol: TCP }]",
                &[
                    "3:9: error[MESH0301]: `hosts`: `a.com` is no pattern, as the resolution `DYNAMIC_DNS` needs",
                    "3:29: warning[MESH0401]: resolution `DYNAMIC_DNS` is not yet in force: a service has one name",
                    "3:42: error[MESH0301]: `addresses` cannot stand beside the resolution `DYNAMIC_DNS`",
                    "3:75: error[MESH0301]: `endpoints` cannot stand beside the resolution `DYNAMIC_DNS`",
                    "3:105: error[MESH0301]: port `a` says no host, as the resolution `DYNAMIC_DNS` needs",
                ],
            ),
        ],
    );
}

#[test]
fn hosts_that_share_a_port_are_told_apart_by_what_is_spoken() {
    let spec = |protocol: &str, more: &str| {
        format!("hosts: [a.com, b.com], {more}ports: [{{ number: 1, name: db{protocol} }}]")
    };
    for protocol in [
        ", protocol: HTTP",
        ", protocol: TLS",
        ", protocol: HTTPS",
        ", protocol: GRPC",
    ] {
        clean(KIND, &spec(protocol, "resolution: DNS, "));
    }
    clean(KIND, &spec(", protocol: TCP", ""));
    let told = "3:49: error[MESH0301]: port `db` says no host, so that the hosts of this service cannot be told apart";
    for protocol in [", protocol: TCP", ", protocol: MONGO", ""] {
        assert_lines(KIND, &[(&spec(protocol, "resolution: DNS, "), &[told])]);
    }
}

#[test]
fn endpoints_that_are_no_tcp_addresses_are_not_yet_in_force() {
    let port = "ports: [{ number: 80, name: http, protocol: HTTP }]";
    let cases: [(String, &[&str]); 4] = [
        (
            format!(
                "hosts: [a.com], {port}, resolution: STATIC, endpoints: [{{ address: 'unix:///tmp/a' }}, {{ network: n }}]"
            ),
            &[
                "3:113: warning[MESH0401]: endpoint `/tmp/a` is not yet in force: connections are TCP",
                "3:134: warning[MESH0401]: field `network` is not yet in force: endpoints are called directly, not through a gateway",
            ],
        ),
        (
            format!(
                "hosts: [a.com], {port}, resolution: STATIC, endpoints: [{{ address: 'unix://tmp' }}, {{ address: 'unix:///tmp/' }}]"
            ),
            &[
                "3:113: error[MESH0104]: `address`: expected the absolute path of a socket, found `tmp`",
                "3:140: error[MESH0104]: `address`: expected the absolute path of a socket, found `/tmp/`",
            ],
        ),
        (
            "hosts: [a.com], resolution: STATIC, endpoints: [{ address: 'unix://@a', ports: { b: 1 } }]".into(),
            &[
                "3:60: error[MESH0301]: `address`: a socket needs a service with exactly one port, this has 0",
                "3:60: warning[MESH0401]: endpoint `@a` is not yet in force: connections are TCP",
                "3:73: error[MESH0301]: `ports` cannot stand beside the `address` of a socket",
                "3:82: error[MESH0201]: the service has no port `b`",
            ],
        ),
        (
            format!("hosts: [a.com], {port}, resolution: DNS, endpoints: [{{ address: 'unix:///tmp/a' }}]"),
            &["3:110: error[MESH0104]: `address`: expected an IP address or a DNS name, found `unix:///tmp/a`"],
        ),
    ];
    for (spec, expected) in cases {
        let mut found = load_spec(KIND, &spec).lines;
        let mut expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{spec}");
    }
}

#[test]
fn a_workload_entry_may_be_a_socket_or_in_another_network() {
    for (spec, line) in [
        (
            "address: 'unix://@foo'",
            "3:10: warning[MESH0401]: endpoint `@foo` is not yet in force: connections are TCP",
        ),
        (
            "network: net",
            "3:1: warning[MESH0401]: field `network` is not yet in force: endpoints are called directly, not through a gateway",
        ),
    ] {
        let loaded = load_spec("WorkloadEntry", spec);
        assert_eq!(loaded.lines, [line]);
        assert!(loaded.policy.workload_entries.is_empty(), "it has no address to call");
    }
}

#[test]
fn the_account_of_a_workload_is_a_name() {
    for account in ["other/web", "We b"] {
        let loaded = load_spec(
            "WorkloadEntry",
            &format!("address: 10.0.0.4, serviceAccount: {account}"),
        );
        let line = format!(
            "3:36: error[MESH0104]: `serviceAccount`: expected the name of a service account in this namespace, found `{account}`"
        );
        assert_eq!(loaded.lines, [line]);
    }
}
