#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::policy::Loaded;
use crate::policy::model::Export;
use crate::policy::model::service::{EndpointSource, Location, Protocol, Service};

/// A `Service` of the namespace `shop` with this name and spec.
fn service(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ {spec} }}\n")
}

/// An `EndpointSlice` of a service, with its fields beside the envelope.
fn slice(name: &str, of: &str, fields: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: {name}, namespace: shop, labels: {{ kubernetes.io/service-name: {of} }} }}\naddressType: IPv4\n{fields}\n"
    )
}

fn load(documents: &[String]) -> Loaded {
    Loaded::from_files([("f", documents.join("---\n"))])
}

fn lines(documents: &[String]) -> Vec<String> {
    let loaded = load(documents);
    loaded.report.lines(&loaded.sources)
}

/// The services of documents that have no problem.
fn services(documents: &[String]) -> Vec<Service> {
    let loaded = load(documents);
    assert_eq!(loaded.report.lines(&loaded.sources), Vec::<String>::new());
    loaded.policy.unwrap().services
}

/// Addresses with their ports, as `address[name:port]`.
fn endpoints(service: &Service) -> Vec<String> {
    let EndpointSource::Listed(endpoints) = &service.endpoints else {
        panic!("{:?}", service.endpoints);
    };
    let ports = |ports: &std::collections::BTreeMap<String, u16>| {
        let ports: Vec<String> = ports.iter().map(|(name, port)| format!("{name}:{port}")).collect();
        ports.join(" ")
    };
    endpoints
        .iter()
        .map(|one| format!("{}[{}]", one.address, ports(&one.ports)))
        .collect()
}

#[test]
fn a_service_has_the_full_name_and_the_protocols_of_its_ports() {
    let spec =
        "clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 'fd00::7'], type: NodePort, selector: { app: web }, ports: [
      { name: http-web, port: 80, targetPort: 8080, nodePort: 30080 },
      { name: a, port: 81, appProtocol: kubernetes.io/h2c },
      { name: grpc, port: 82 }, { name: grpc-web-ui, port: 83 }, { name: https, port: 84 },
      { name: tls-x, port: 85 }, { name: redis, port: 86 }, { name: http2-tcp, port: 87, appProtocol: tcp },
      { name: db, port: 3306 }, { name: mine, port: 88 }, { name: HTTP2, port: 89, protocol: TCP } ]";
    let found = services(&[service("web", spec)]);
    assert_eq!(found[0].hosts, ["web.shop.svc.cluster.local", "10.96.0.7", "fd00::7"]);
    assert_eq!(found[0].location, Location::MeshInternal);
    let protocols: Vec<Protocol> = found[0].ports.iter().map(|port| port.protocol).collect();
    let expected = [
        Protocol::Http,
        Protocol::Http2,
        Protocol::Grpc,
        Protocol::Http,
        Protocol::Https,
        Protocol::Tls,
        Protocol::Tcp,
        Protocol::Tcp,
        Protocol::Tcp,
        Protocol::Http,
        Protocol::Http2,
    ];
    assert_eq!(protocols, expected);
}

#[test]
fn a_service_without_endpoints_is_left_to_dns() {
    let ports = "ports: [{ port: 80, targetPort: 8080 }]";
    let found = services(&[
        service("vip", ports),
        service("headless", &format!("clusterIP: None, {ports}")),
    ]);
    let by_dns: Vec<_> = found
        .iter()
        .map(|one| (one.endpoints == EndpointSource::Dns, one.ports[0].target))
        .collect();
    // The address of a service takes the service's port; those of pods take theirs.
    assert_eq!(by_dns, [(true, None), (true, Some(8080))]);
}

#[test]
fn slices_are_the_endpoints_of_their_service_wherever_they_stand() {
    let found = services(&[
        slice(
            "web-1",
            "web",
            "ports: [{ name: http, port: 8080 }]\nendpoints:\n- { addresses: [10.0.0.4, 10.0.0.40], zone: a, nodeName: n, hints: { forZones: [{ name: a }] } }\n- { addresses: [10.0.0.5], conditions: { ready: false, serving: true, terminating: true } }\n- { addresses: [10.0.0.6], conditions: { ready: true } }",
        ),
        service(
            "web",
            "selector: { app: web }, ports: [{ name: http, port: 80, targetPort: main }, { name: admin, port: 90 }]",
        ),
        slice(
            "web-2",
            "web",
            "ports: [{ name: admin, port: 9090 }]\nendpoints: [{ addresses: [10.0.0.4] }]",
        ),
        slice(
            "web-3",
            "web",
            "ports: [{ name: http, port: 8081 }]\nendpoints: [{ addresses: [10.0.0.4] }]",
        ),
    ]);
    let expected = [
        "10.0.0.4[admin:9090 http:8080]",
        "10.0.0.6[http:8080]",
        "10.0.0.4[http:8081]",
    ];
    assert_eq!(endpoints(&found[0]), expected);
    let EndpointSource::Listed(listed) = &found[0].endpoints else {
        panic!()
    };
    assert_eq!(listed[0].locality, "/a");
    assert_eq!(listed[0].labels["app"], "web", "the labels that it is selected by");
    assert_eq!(listed[0].origin.to_string(), "f:7:3");
}

#[test]
fn an_endpoint_lacks_the_ports_that_nothing_lists_for_it() {
    let web = service(
        "web",
        "selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }, { name: admin, port: 90, targetPort: 9090 }]",
    );
    let of = |ports: &str| {
        let slice = slice(
            "web-1",
            "web",
            &format!("{ports}\nendpoints: [{{ addresses: [10.0.0.4] }}]"),
        );
        let found = services(&[web.clone(), slice]);
        let EndpointSource::Listed(listed) = &found[0].endpoints else {
            panic!()
        };
        listed
            .iter()
            .map(|one| one.closed_ports.join(" "))
            .collect::<Vec<String>>()
    };
    assert_eq!(of("ports: [{ name: http, port: 8080 }]"), ["admin"]);
    assert_eq!(
        of("ports: [{ name: admin, port: 9090 }, { name: http, port: 8080 }]"),
        [""]
    );
    assert_eq!(of("ports: [{ name: other, port: 8080 }]"), ["http admin"]);
    // What restricts nothing, and what carries no TCP at all.
    assert_eq!(of("ports: []"), [""]);
    assert_eq!(of("ports: [{ name: http }]"), [""]);
    assert_eq!(of("ports: [{ name: dns, port: 53, protocol: UDP }]"), [""; 0]);
}

#[test]
fn addresses_that_are_not_ready_are_published_where_the_service_says_so() {
    let endpoints_object = "apiVersion: v1\nkind: Endpoints\nmetadata: { name: db, namespace: shop }\nsubsets:\n- addresses: [{ ip: 10.0.0.1, nodeName: n }]\n  notReadyAddresses: [{ ip: 10.0.0.2, hostname: h }]\n  ports: [{ port: 8080, protocol: TCP, appProtocol: http }, { name: dns, port: 53, protocol: UDP }]\n";
    let of = |spec: &str| services(&[service("db", spec), endpoints_object.to_owned()]);
    let ports = "ports: [{ port: 80 }]";
    assert_eq!(endpoints(&of(ports)[0]), ["10.0.0.1[:8080]"]);
    let all = of(&format!("publishNotReadyAddresses: true, {ports}"));
    assert_eq!(endpoints(&all[0]), ["10.0.0.1[:8080]", "10.0.0.2[:8080]"]);
    let slice = slice("db-1", "db", "endpoints: [{ addresses: [10.0.0.9] }]");
    let both = services(&[service("db", ports), endpoints_object.to_owned(), slice]);
    assert_eq!(endpoints(&both[0]), ["10.0.0.9[]"], "slices go before endpoints");
}

/// A pod of the namespace `shop` with labels, containers' ports and status.
fn pod(name: &str, labels: &str, status: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ {name}, namespace: shop, labels: {{ {labels} }} }}\nspec:\n  serviceAccountName: web\n  containers: [{{ name: c, image: i, ports: [{{ name: main, containerPort: 8080 }}] }}]\nstatus: {{ {status} }}\n"
    )
}

#[test]
fn pods_are_endpoints_where_nothing_else_lists_any() {
    let pods = [
        pod(
            "generateName: web-",
            "app: web, version: v2, security.istio.io/tlsMode: istio",
            "podIP: 10.0.0.1, phase: Running",
        ),
        pod("generateName: web-", "app: web", "podIP: 10.0.0.2, phase: Failed"),
        pod("name: other", "app: other", "podIP: 10.0.0.3"),
    ];
    let web = service(
        "web",
        "selector: { app: web }, ports: [{ name: http, port: 80, targetPort: main }, { name: x, port: 81, targetPort: none }]",
    );
    let found = services(&[vec![web.clone()], pods.to_vec()].concat());
    assert_eq!(endpoints(&found[0]), ["10.0.0.1[http:8080]"]);
    let EndpointSource::Listed(listed) = &found[0].endpoints else {
        panic!()
    };
    assert_eq!(listed[0].labels["version"], "v2");
    assert_eq!(listed[0].service_account.as_deref(), Some("web"));

    let slice = slice(
        "web-1",
        "web",
        "ports: [{ name: http, port: 8080 }]\nendpoints: [{ addresses: [10.0.0.1] }]",
    );
    let found = services(&[vec![web, slice], pods.to_vec()].concat());
    let EndpointSource::Listed(listed) = &found[0].endpoints else {
        panic!()
    };
    assert_eq!(
        listed[0].labels["version"], "v2",
        "an endpoint has the labels of its pod"
    );
}

#[test]
fn workload_entries_that_a_service_selects_are_its_endpoints() {
    let entry = |name: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ {spec} }}\n"
        )
    };
    let found = services(&[
        service(
            "web",
            "selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }]",
        ),
        entry("a", "address: 10.0.0.1, labels: { app: web }"),
        entry("b", "address: 10.0.0.2, labels: { app: web }, ports: { http: 7070 }"),
        entry("c", "address: 10.0.0.3, labels: { app: other }"),
    ]);
    assert_eq!(endpoints(&found[0]), ["10.0.0.1[http:8080]", "10.0.0.2[http:7070]"]);
}

#[test]
fn an_external_name_is_that_of_a_known_service_or_left_to_dns() {
    let found = services(&[
        service(
            "outside",
            "type: ExternalName, externalName: API.example.com., ports: [{ port: 443, targetPort: 1 }]",
        ),
        service("alias", "type: ExternalName, externalName: web.shop.svc.cluster.local"),
        service("web", "ports: [{ port: 80 }]"),
    ]);
    assert_eq!(
        found[0].hosts,
        ["web.shop.svc.cluster.local", "alias.shop.svc.cluster.local"]
    );
    assert_eq!(endpoints(&found[1]), ["api.example.com[]"]);
    assert_eq!(
        (found[1].location, found[1].ports[0].target),
        (Location::MeshExternal, None)
    );
}

/// The names of each service, and its address where it is outside of the mesh.
fn named(documents: &[String]) -> Vec<String> {
    let services = load(documents).policy.unwrap().services;
    let text = |one: &Service| {
        let hosts: Vec<&str> = one.hosts.iter().map(|host| host.split('.').next().unwrap()).collect();
        let outside = match one.location {
            Location::MeshExternal => format!(" at {}", endpoints(one).join(" ")),
            _ => String::new(),
        };
        hosts.join(" ") + &outside
    };
    services.iter().map(text).collect()
}

#[test]
fn names_that_stand_for_names_are_resolved_in_any_order() {
    let name = |name: &str, target: &str| service(name, &format!("type: ExternalName, externalName: {target}"));
    let of_shop = |one: &str| format!("{one}.shop.svc.cluster.local");
    let mut documents = [
        name("one", &of_shop("two")),
        name("two", &of_shop("three")),
        name("three", &of_shop("web")),
        service("web", "ports: [{ port: 80 }]"),
        name("here", &of_shop("there")),
        name("there", "api.example.com"),
    ];
    let expected = ["web three two one", "there here at api.example.com[]"];
    assert_eq!(named(&documents), expected);
    documents.reverse();
    assert_eq!(named(&documents), expected);
    documents.swap(2, 4);
    assert_eq!(named(&documents), expected);
    assert_eq!(lines(&documents), [""; 0]);
}

#[test]
fn names_that_stand_for_each_other_are_told_and_end() {
    let name = |name: &str, target: &str| {
        let target = format!("{target}.shop.svc.cluster.local");
        service(name, &format!("type: ExternalName, externalName: {target}"))
    };
    let documents = [
        name("one", "two"),
        name("two", "one"),
        name("self", "self"),
        name("to", "one"),
    ];
    assert_eq!(named(&documents).len(), 4);
    let told = |line: u32, to: &str| {
        format!(
            "f:{line}:7: warning[MESH0506]: the external name `{to}.shop.svc.cluster.local` leads to no service: names stand for each other in a circle"
        )
    };
    assert_eq!(
        lines(&documents),
        [told(4, "two"), told(9, "one"), told(14, "self"), told(19, "one")]
    );
}

#[test]
fn lists_hold_objects_of_all_dialects_in_json_and_yaml() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": [
      {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "uid": "u", "managedFields": [{"manager": "m"}],
        "annotations": {"networking.istio.io/exportTo": ".,other"}},
       "spec": {"ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}], "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}, "status": {"loadBalancer": {}}},
      {"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSliceList", "items": [
        {"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "addressType": "FQDN",
         "metadata": {"generateName": "web-", "labels": {"kubernetes.io/service-name": "web"}},
         "endpoints": [{"addresses": ["Web.example.com"], "topology": {"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z"}}], "ports": null}]},
      {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "web"}, "spec": {"host": "web"}}]}"#;
    let loaded = Loaded::from_files([
        ("all.json", json),
        (
            "more.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: { name: x }\n---\nmesh: { mtls: strict }\n",
        ),
    ]);
    let told = loaded.report.lines(&loaded.sources);
    assert_eq!(
        told,
        [
            "more.yaml:2:7: warning[MESH0504]: kind `Namespace` configures no mesh: only gateways that choose namespaces look at its labels"
        ]
    );
    let policy = loaded.policy.unwrap();
    assert_eq!(endpoints(&policy.services[0]), ["web.example.com[]"]);
    assert_eq!(
        policy.services[0].export,
        Export::Namespaces(vec!["default".into(), "other".into()])
    );
    assert_eq!(policy.destinations.len(), 1);
    let EndpointSource::Listed(listed) = &policy.services[0].endpoints else {
        panic!()
    };
    assert_eq!(listed[0].locality, "r/z");
}

fn are_told(cases: &[(String, &[&str])]) {
    for (document, expected) in cases {
        assert_eq!(lines(std::slice::from_ref(document)), *expected, "{document}");
    }
}

#[test]
fn what_is_not_followed_or_wrong_in_services_is_told() {
    are_told(&[
        (
            service(
                "a",
                "sessionAffinity: ClientIP, sessionAffinityConfig: {}, trafficDistribution: PreferClose, internalTrafficPolicy: Local",
            ),
            &[
                "f:4:26: warning[MESH0505]: `sessionAffinity` has no effect: each request is balanced, whatever its caller's address",
                "f:4:63: warning[MESH0501]: field `trafficDistribution` is not yet in force: endpoints are not preferred by their zone",
                "f:4:97: warning[MESH0401]: field `internalTrafficPolicy` is not yet in force: endpoints are not chosen by their node",
            ][..],
        ),
        (
            service("a", "type: Foo, port: 80, clusterIP: x, selector: { app: 1 }"),
            &[
                "f:4:15: error[MESH0104]: `type`: unknown value `Foo`, expected `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`",
                "f:4:20: error[MESH0101]: unknown field `port`",
                "f:4:41: error[MESH0104]: `clusterIP`: expected an IP address or `None`, found `x`",
                "f:4:61: error[MESH0102]: `selector`: expected text, found the number `1`",
            ],
        ),
        (
            service(
                "a",
                "type: ExternalName, ports: [{ port: 80, targetPort: '8080' }, { port: 53, protocol: UDP }]",
            ),
            &[
                "f:4:7: error[MESH0103]: missing field `externalName`",
                "f:4:61: error[MESH0104]: `targetPort`: expected a number or a name, found `8080` in quotes",
            ],
        ),
        (
            service(
                "a",
                "ports: [{ name: a, port: 80 }, { name: a, port: 80 }, { port: 81 }]",
            ),
            &[
                "f:4:40: error[MESH0202]: port name `a` is given twice",
                "f:4:40: error[MESH0202]: port number 80 is given twice",
                "f:4:63: error[MESH0103]: port 81 has no name: of several ports each needs one",
            ],
        ),
    ]);
}

#[test]
fn what_is_wrong_or_of_no_use_in_other_objects_is_told() {
    are_told(&[
        (
            slice("s", "web", "endpoints: [{ addresses: [a.b], condition: {} }, {}]\nport: []"),
            &[
                "f:5:27: error[MESH0104]: `addresses`: expected an IP address, found `a.b`",
                "f:5:33: error[MESH0101]: unknown field `condition`",
                "f:5:50: error[MESH0103]: missing field `addresses`",
                "f:6:1: error[MESH0101]: unknown field `port`",
            ],
        ),
        (
            slice("s", "web", "endpoints: []"),
            &["f:1:1: warning[MESH0506]: no file defines the service `web` of namespace `shop`: its endpoints change nothing"],
        ),
        (
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: s }\naddressType: IPv4\nendpoints: []\n".to_owned(),
            &["f:1:1: warning[MESH0505]: the slice has no label `kubernetes.io/service-name`: it is of no service"],
        ),
        (
            pod("name: p", "app: web", "phase: Pending"),
            &[
                "warning[MESH0403]: no policy found: no document configures a mesh",
                "f:2:7: warning[MESH0504]: kind `Pod` configures no mesh: it changes nothing here",
            ],
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: { name: a, annotations: { retry.linkerd.io/http: 5xx, note: x } }\nspec: {}\n".to_owned(),
            &["f:3:37: warning[MESH0401]: annotation `retry.linkerd.io/http` is not yet in force: write a route of Gateway API, or a `ServiceProfile`"],
        ),
    ]);
}

#[test]
fn kinds_that_configure_no_mesh_are_told_once_a_file() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- { apiVersion: v1, kind: Secret, metadata: { name: a } }\n- { apiVersion: v1, kind: Secret, metadata: { name: b } }\n- { apiVersion: apps/v1, kind: Deployment, metadata: { name: b } }\n- { apiVersion: v1, kind: Pod, metadata: { generateName: b- } }\n- { apiVersion: v1, kind: Pod, metadata: { name: c } }\n";
    let loaded = Loaded::from_files([("a", text), ("b", text), ("c", "mesh: { mtls: strict }\n")]);
    let told = loaded.report.lines(&loaded.sources);
    let of_file = |file: &str| -> Vec<String> {
        let own = told.iter().filter(|line| line.starts_with(file));
        own.map(|line| line.split('`').nth(1).unwrap().to_owned()).collect()
    };
    for file in ["a:", "b:"] {
        assert_eq!(of_file(file), ["Secret", "Deployment", "Pod"]);
    }
    assert_eq!(told.len(), 6);
}
