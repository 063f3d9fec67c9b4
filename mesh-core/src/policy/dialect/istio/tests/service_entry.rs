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
                "hosts: [a.com], endpoints: [{ address: 1.2.3.4 }]",
                &["2:1: error[MESH0301]: `endpoints` need the resolution `STATIC` or `DNS`"],
            ),
            (
                "hosts: [a.com], resolution: DNS_ROUND_ROBIN, endpoints: [{ address: b.com }, { address: c.com }]",
                &["3:29: error[MESH0301]: resolution `DNS_ROUND_ROBIN` takes one endpoint"],
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
fn what_a_library_cannot_serve_is_refused() {
    assert_lines(
        KIND,
        &[
            (
                "hosts: [a.com]",
                &[
                    "2:1: error[MESH0402]: resolution `NONE` is not supported in a process: callers dial no address that could be kept",
                ],
            ),
            (
                "hosts: [a.com], resolution: DYNAMIC_DNS",
                &["3:29: warning[MESH0401]: resolution `DYNAMIC_DNS` is not yet in force: a service has one name"],
            ),
            (
                "hosts: ['*.a.com'], resolution: DNS, addresses: [1.2.3.4]",
                &[
                    "3:9: warning[MESH0401]: host `*.a.com` is not yet in force: a service has one name",
                    "3:38: error[MESH0402]: field `addresses` is not supported in a process: callers name hosts, addresses are not taken over",
                ],
            ),
            (
                "hosts: [a.com], resolution: DNS, ports: [{ number: 1, name: a, protocol: mongo }]",
                &["3:74: warning[MESH0401]: protocol `MONGO` is not yet in force: services speak HTTP"],
            ),
            (
                "hosts: [a.com], resolution: STATIC, endpoints: [{ address: 'unix:///tmp/a' }, { address: 'unix://tmp' }, { network: n }]",
                &[
                    "3:60: warning[MESH0401]: endpoint `/tmp/a` is not yet in force: connections are TCP",
                    "3:90: error[MESH0104]: `address`: expected the absolute path of a socket, found `tmp`",
                    "3:108: warning[MESH0401]: field `network` is not yet in force: endpoints are called directly, not through a gateway",
                ],
            ),
        ],
    );
}
