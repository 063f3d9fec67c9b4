//! What a `Gateway` becomes.

use super::*;
use crate::policy::model::gateway::Listeners;

#[test]
fn listeners_are_servers_of_the_processes_that_name_the_gateway() {
    let policy = clean(&door(
        "{ name: plain, port: 80, protocol: HTTP }, \
         { name: web, port: 443, protocol: HTTPS, hostname: '*.shop.example', tls: { certificateRefs: [{ name: web-cert }] } }",
    ));
    let [gateway] = policy.gateways.as_slice() else {
        panic!()
    };
    assert_eq!(gateway.listeners, Listeners::Isolated);
    let selector: Vec<_> = gateway
        .selector
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(selector, [("gateway.networking.k8s.io/gateway-name", "door")]);
    let servers: Vec<_> = gateway
        .servers
        .iter()
        .map(|server| {
            let folder = server.tls.as_ref().map(|tls| tls.credential_name.as_str());
            (
                server.port_name.as_str(),
                server.port,
                server.hosts[0].host.as_str(),
                folder,
            )
        })
        .collect();
    assert_eq!(
        servers,
        [
            ("plain", 80, "*", None),
            ("web", 443, "*.shop.example", Some("web-cert"))
        ]
    );
}

#[test]
fn listeners_are_checked() {
    let plain = "{ name: a, port: 80, protocol: HTTP }";
    assert_told(&[
        (
            door(&format!("{plain}, {plain}")),
            &["5:80: error[MESH0202]: listener `a` is given twice"],
        ),
        (
            door("{ name: a, port: 80, protocol: HTTP }, { name: b, port: 80, protocol: HTTP }"),
            &["5:80: error[MESH0202]: two listeners take host `*` on port 80"],
        ),
        (
            door(
                "{ name: a, port: 80, protocol: HTTP }, { name: b, port: 80, protocol: HTTPS, tls: { certificateRefs: [{ name: c }] } }",
            ),
            &["5:80: error[MESH0301]: port 80 has another protocol already: a port is plain text or TLS"],
        ),
        (
            door("{ name: 'bad>', port: 80, protocol: HTTP }"),
            &[
                "5:49: error[MESH0104]: `name`: expected a name of lower-case letters, digits, `-` and `.`, found `bad>`",
            ],
        ),
        (
            door("{ name: a, port: 123456, protocol: HTTP }"),
            &["5:58: error[MESH0104]: `port`: expected a whole number of 1 to 65535, found `123456`"],
        ),
        (
            door("{ name: a, port: 80, protocol: HTTP2 }"),
            &[
                "5:72: error[MESH0104]: `protocol`: unknown protocol `HTTP2`, expected `HTTP`, `HTTPS`, `TLS`, `TCP` or `UDP`",
            ],
        ),
        (
            door("{ name: a, port: 80, protocol: HTTP, tls: { certificateRefs: [{ name: c }] } }"),
            &["5:78: error[MESH0301]: `tls` does not belong to this protocol: it is for `HTTPS` and `TLS`"],
        ),
    ]);
}

#[test]
fn certificates_are_checked() {
    let web = |more: &str| door(&format!("{{ name: a, port: 443, protocol: HTTPS{more} }}"));
    assert_told(&[
        (web(""), &["5:41: error[MESH0103]: missing field `tls`"]),
        (
            web(", tls: {}"),
            &["5:85: error[MESH0103]: missing field `certificateRefs`"],
        ),
        (
            web(", tls: { mode: Passthrough }"),
            &["5:85: error[MESH0301]: `mode: Passthrough` needs the protocol `TLS`: with `HTTPS` TLS ends here"],
        ),
        (
            web(", tls: { certificateRefs: [{ name: c, kind: Vault, group: x.example }] }"),
            &["5:105: warning[MESH0506]: certificates are secrets, not `Vault`: the listener is not served"],
        ),
        (
            web(", tls: { certificateRefs: [{ name: c }, { name: d }] }"),
            &["5:118: warning[MESH0401]: certificate `d` is not yet in force: a listener shows one"],
        ),
        (
            web(", tls: { certificateRefs: [{ name: c }], options: { a: b } }"),
            &[
                "5:119: warning[MESH0505]: `options` has no effect: versions and cipher suites are those of the TLS library",
            ],
        ),
        (door(""), &["5:3: error[MESH0103]: missing field `listeners`"]),
    ]);
}

#[test]
fn protocols_of_connections_are_not_yet_in_force() {
    assert_told(&[
        (
            door("{ name: a, port: 443, protocol: TLS, tls: { mode: Passthrough } }"),
            &["5:73: warning[MESH0401]: protocol `TLS` is not yet in force: gateways speak HTTP"],
        ),
        (
            door("{ name: a, port: 80, protocol: TCP }"),
            &["5:72: warning[MESH0401]: protocol `TCP` is not yet in force: gateways speak HTTP"],
        ),
        (
            door("{ name: a, port: 80, protocol: TCP, hostname: a.example }"),
            &[
                "5:72: warning[MESH0401]: protocol `TCP` is not yet in force: gateways speak HTTP",
                "5:77: error[MESH0301]: `hostname` does not belong to this protocol: only HTTP and TLS name a host",
            ],
        ),
        (
            door("{ name: a, port: 80, protocol: UDP, tls: { certificateRefs: [{ name: c }] } }"),
            &[
                "5:72: warning[MESH0401]: protocol `UDP` is not yet in force: gateways speak HTTP",
                "5:77: error[MESH0301]: `tls` does not belong to this protocol: it is for `HTTPS` and `TLS`",
            ],
        ),
        (
            door("{ name: a, port: 15008, protocol: HBONE }"),
            &["5:75: warning[MESH0401]: protocol `HBONE` is not yet in force: gateways speak HTTP"],
        ),
    ]);
}

#[test]
fn allowed_routes_are_checked() {
    let allowed = |text: &str| {
        door(&format!(
            "{{ name: a, port: 80, protocol: HTTP, allowedRoutes: {text} }}"
        ))
    };
    assert_told(&[
        (
            allowed("{ namespaces: { from: Some } }"),
            &["5:115: error[MESH0104]: `from`: unknown value `Some`, expected `All`, `Selector` or `Same`"],
        ),
        (
            allowed("{ namespaces: { from: Selector } }"),
            &["5:107: error[MESH0104]: `namespaces`: `from: Selector` needs a `selector`"],
        ),
        (
            allowed("{ namespaces: { from: Same, selector: {} } }"),
            &["5:121: warning[MESH0505]: `selector` has no effect without `from: Selector`"],
        ),
        (
            allowed("{ namespaces: { from: Selector, selector: { matchExpressions: [{ key: a, operator: In }] } } }"),
            &["5:156: error[MESH0104]: `matchExpressions`: this operator needs `values`"],
        ),
        (
            allowed(
                "{ namespaces: { from: Selector, selector: { matchExpressions: [{ key: a, operator: Exists, values: [b] }] } } }",
            ),
            &["5:156: error[MESH0104]: `matchExpressions`: `values` does not belong to this operator"],
        ),
        (
            allowed("{ kinds: [{ kind: TCPRoute }] }"),
            &["5:103: warning[MESH0505]: the listener takes no routes of kind `TCPRoute`: its protocol is another"],
        ),
    ]);
}

#[test]
fn what_is_no_listener_has_no_effect_or_is_not_yet_in_force() {
    let with = |text: &str| {
        let spec =
            format!("{{ gatewayClassName: mesh, listeners: [{{ name: a, port: 80, protocol: HTTP }}], {text} }}");
        object("Gateway", "shop", "door", &spec)
    };
    assert_told(&[
        (
            with("addresses: [{ value: 10.0.0.1 }]"),
            &["5:81: warning[MESH0505]: `addresses` has no effect: a gateway listens where its process does"],
        ),
        (
            with("infrastructure: { labels: { a: b }, annotations: { c: d } }"),
            &["5:81: warning[MESH0505]: `infrastructure` has no effect: nothing is deployed for a gateway"],
        ),
        (with("allowedListeners: { namespaces: { from: None } }"), &[]),
        (
            with("allowedListeners: { namespaces: { from: All } }"),
            &[
                "5:99: warning[MESH0505]: `allowedListeners` has no effect: gateways have only the listeners that they list themselves",
            ],
        ),
        (
            with("tls: { backend: { clientCertificateRef: { name: c } } }"),
            &[
                "5:88: warning[MESH0401]: field `backend` is not yet in force: TLS is spoken to the mesh's own workloads only",
            ],
        ),
        (
            with(
                "tls: { frontend: { default: { validation: { caCertificateRefs: [{ kind: ConfigMap, name: c }] } } } }",
            ),
            &[
                "5:88: warning[MESH0401]: field `frontend` is not yet in force: clients of a gateway show no certificate",
            ],
        ),
        (
            with("tls: { frontend: { default: { validation: {} } } }"),
            &[
                "5:88: warning[MESH0401]: field `frontend` is not yet in force: clients of a gateway show no certificate",
                "5:123: error[MESH0103]: missing field `caCertificateRefs`",
            ],
        ),
        (
            with("listener: []"),
            &["5:81: error[MESH0101]: unknown field `listener`"],
        ),
        (
            object("GatewayClass", "shop", "c", "{ controllerName: x.example/c }"),
            &[
                "2:7: warning[MESH0505]: a gateway class chooses a controller: a process serves the gateways that its labels name",
            ],
        ),
        (
            object("GatewayClass", "shop", "c", "{ description: x }"),
            &["5:3: error[MESH0103]: missing field `controllerName`"],
        ),
    ]);
}
