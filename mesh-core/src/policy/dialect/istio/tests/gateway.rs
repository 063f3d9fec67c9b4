use super::*;
use crate::policy::model::gateway::GatewayHost;

const KIND: &str = "Gateway";

/// A gateway with one server, which is written in line 4.
fn server(server: &str) -> String {
    format!("servers: [{{\n{server} }}]")
}

const HTTP: &str = "port: { number: 80, name: http, protocol: HTTP }, hosts: ['*']";
const HTTPS: &str = "port: { number: 443, name: https, protocol: HTTPS }, hosts: ['*']";

#[test]
fn servers_take_hosts_on_ports() {
    let spec = "selector: { istio: ingressgateway }, servers: [{ port: { number: 80, name: http, protocol: http2 }, \
                hosts: ['*', './a.Example.com', 'ns/*.example.com', '*/b.com'], name: front }]";
    let gateway = clean(KIND, spec).gateways.remove(0);
    assert_eq!(gateway.selector["istio"], "ingressgateway");
    let server = &gateway.servers[0];
    assert_eq!(
        (server.port, server.port_name.as_str(), &server.tls),
        (80, "http", &None)
    );
    let host = |namespace: Option<&str>, host: &str| GatewayHost {
        namespace: namespace.map(Into::into),
        host: host.into(),
    };
    let expected = [
        host(None, "*"),
        host(Some("shop"), "a.example.com"),
        host(Some("ns"), "*.example.com"),
        host(None, "b.com"),
    ];
    assert_eq!(server.hosts, expected);
}

#[test]
fn tls_ends_with_a_named_certificate() {
    let spec = server(&format!("{HTTPS}, tls: {{ mode: SIMPLE, credentialName: shop-tls }}"));
    let server = clean(KIND, &spec).gateways[0].servers[0].clone();
    assert_eq!(server.tls.unwrap().credential_name, "shop-tls");
}

/// Findings about the server that is written in line 4.
#[track_caller]
fn assert_server(text: &str, expected: &[&str]) {
    assert_lines(KIND, &[(&server(text), expected)]);
}

#[test]
fn servers_are_checked() {
    assert_lines(
        KIND,
        &[("selector: {}", &["2:1: error[MESH0103]: missing field `servers`"])],
    );
    assert_server("hosts: [a.com]", &["3:11: error[MESH0103]: missing field `port`"]);
    let port = "port: { number: 80, name: a, protocol: HTTP }";
    assert_server(port, &["3:11: error[MESH0103]: missing field `hosts`"]);
    let twice = format!("{HTTP} }}, {{\n{HTTP}");
    assert_server(&twice, &["4:67: error[MESH0202]: port name `http` is given twice"]);
    let bind = "4:65: warning[MESH0401]: field `bind` is not yet in force: a gateway listens where its process does";
    assert_server(&format!("{HTTP}, bind: 127.0.0.1"), &[bind]);
    let streams = "port: { number: 1, name: a, protocol: TLS }, hosts: ['*'], tls: { mode: AUTO_PASSTHROUGH }";
    assert_server(
        streams,
        &[
            "4:39: warning[MESH0401]: protocol `TLS` is not yet in force: gateways speak HTTP",
            "4:73: warning[MESH0401]: TLS mode `AUTO_PASSTHROUGH` is not yet in force: connections are not forwarded as they are",
        ],
    );
    let socket = |number: u16| {
        format!("port: {{ number: {number}, name: a, protocol: HTTP }}, hosts: ['*'], bind: 'unix:///tmp/a'")
    };
    let bind = "4:61: warning[MESH0401]: field `bind` is not yet in force: a gateway listens where its process does";
    assert_server(&socket(0), &[bind]);
    let port = "4:17: error[MESH0104]: `number`: a socket has no port, expected `0`, found `80`";
    assert_server(&socket(80), &[port, &bind.replace("4:61", "4:62")]);
    assert_server(
        &format!("{HTTP}, bind: a b, defaultEndpoint: '127.0.0.1:80'"),
        &[
            "4:65: warning[MESH0401]: field `bind` is not yet in force: a gateway listens where its process does",
            "4:71: error[MESH0104]: `bind`: expected an IP address or a socket, found `a b`",
            "4:76: warning[MESH0401]: field `defaultEndpoint` is not yet in force: connections are not forwarded as they are",
        ],
    );
    assert_server(
        "port: { number: 80, name: a, protocol: HTTP, targetPort: 8080 }, hosts: ['*']",
        &["4:46: warning[MESH0503]: `targetPort` is deprecated, and has no effect in Istio and here"],
    );
}

#[test]
fn ports_and_hosts_are_checked() {
    let expected = "expected a full name, `*.example.com` or `*`, after `namespace/` where it is for one only";
    let protocols = "expected `HTTP`, `HTTPS`, `GRPC`, `GRPC-WEB`, `HTTP2`, `MONGO`, `TCP` or `TLS`";
    assert_server(
        "port: { number: 80, protocol: HTPP }, hosts: [a, '*a.com', 'x y/a.com']",
        &[
            "4:7: error[MESH0103]: missing field `name`",
            &format!("4:31: error[MESH0104]: `protocol`: unknown protocol `HTPP`, {protocols}"),
            &format!("4:47: error[MESH0104]: `hosts`: {expected}, found `a`"),
            &format!("4:50: error[MESH0104]: `hosts`: {expected}, found `*a.com`"),
            &format!("4:60: error[MESH0104]: `hosts`: {expected}, found `x y/a.com`"),
        ],
    );
}

const SOURCES: &str = "`credentialName`, `credentialNames`, `tlsCertificates` or `serverCertificate`";
const LIBRARY: &str = "versions and cipher suites are those of the TLS library";
const CLIENTS: &str = "is not yet in force: clients of a gateway show no certificate";
const ONE: &str = "a gateway has one certificate, in the folder that `credentialName` names";

/// Findings about the TLS of a server, which begins in line 5.
#[track_caller]
fn assert_tls(server: &str, table: &[(&str, &[&str])]) {
    for (tls, expected) in table {
        assert_server(&format!("{server}, tls: {{\n{tls} }}"), expected);
    }
}

#[test]
fn tls_belongs_to_ports_that_begin_with_it() {
    assert_server(HTTPS, &["3:11: error[MESH0103]: missing field `tls`"]);
    let told = "4:65: error[MESH0301]: `tls` needs a port with the protocol `HTTPS` or `TLS`";
    assert_tls(
        HTTP,
        &[
            ("mode: SIMPLE", &[told]),
            ("httpsRedirect: true, credentialName: a", &[told]),
            ("httpsRedirect: true", &[]),
            ("httpsRedirect: false", &[]),
        ],
    );
    assert_tls(
        HTTPS,
        &[(
            "mode: SIMPLE, credentialName: a, httpsRedirect: true",
            &["5:34: error[MESH0301]: `httpsRedirect` needs a port with the protocol `HTTP`"],
        )],
    );
}

#[test]
fn the_servers_certificate_has_one_source() {
    assert_tls(
        HTTPS,
        &[
            (
                "mode: SIMPLE",
                &[&format!("4:73: error[MESH0103]: missing field {SOURCES}")],
            ),
            (
                "mode: SIMPLE, credentialName: ../../etc",
                &["5:31: error[MESH0104]: `credentialName`: expected the name of a folder, found `../../etc`"],
            ),
            (
                "mode: SIMPLE, credentialName: a, serverCertificate: /c.pem, privateKey: /k.pem",
                &[
                    "5:34: error[MESH0105]: fields `credentialName` and `serverCertificate` exclude each other",
                    &format!("5:34: warning[MESH0401]: field `serverCertificate` is not yet in force: {ONE}"),
                ],
            ),
            (
                "mode: SIMPLE, serverCertificate: /c.pem",
                &[
                    "5:15: error[MESH0103]: `serverCertificate` needs `privateKey`",
                    &format!("5:15: warning[MESH0401]: field `serverCertificate` is not yet in force: {ONE}"),
                ],
            ),
            (
                "mode: SIMPLE, credentialNames: [a, b, c]",
                &[
                    "5:15: error[MESH0104]: `credentialNames`: expected at most 2, found 3",
                    &format!("5:15: warning[MESH0401]: field `credentialNames` is not yet in force: {ONE}"),
                ],
            ),
            (
                "mode: SIMPLE, tlsCertificates: [{ serverCertificate: /c.pem }]",
                &[
                    &format!("5:15: warning[MESH0401]: field `tlsCertificates` is not yet in force: {ONE}"),
                    "5:33: error[MESH0103]: missing field `privateKey`",
                ],
            ),
        ],
    );
}

#[test]
fn clients_are_verified_by_authorities() {
    let mutual = format!("5:7: warning[MESH0401]: TLS mode `MUTUAL` {CLIENTS}");
    let files =
        |column: u32| format!("5:{column}: warning[MESH0401]: field `serverCertificate` is not yet in force: {ONE}");
    assert_tls(
        HTTPS,
        &[
            ("mode: MUTUAL, credentialName: a", &[&mutual]),
            (
                "mode: MUTUAL, serverCertificate: c, privateKey: k",
                &[
                    "4:73: error[MESH0103]: mode `MUTUAL` needs `caCertificates`, or `credentialName`",
                    &mutual,
                    &files(15),
                ],
            ),
            (
                "mode: MUTUAL, serverCertificate: c, privateKey: k, caCertificates: a, caCrl: r, subjectAltNames: [s], verifyCertificateSpki: [x], verifyCertificateHash: [y]",
                &[&mutual, &files(15)],
            ),
            (
                "mode: OPTIONAL_MUTUAL, credentialName: a, caCrl: r",
                &[
                    &format!("5:7: warning[MESH0401]: TLS mode `OPTIONAL_MUTUAL` {CLIENTS}"),
                    "5:43: error[MESH0301]: `caCrl` needs a mode that verifies clients, by `caCertificates`",
                ],
            ),
            (
                "mode: SIMPLE, credentialName: a, caCrl: r, caCertificates: c",
                &[
                    "5:34: error[MESH0301]: `caCrl` needs a mode that verifies clients, by `caCertificates`",
                    "5:44: warning[MESH0505]: `caCertificates` has no effect in the mode `SIMPLE`: clients show no certificate",
                ],
            ),
        ],
    );
}

#[test]
fn modes_without_certificates_are_told_so() {
    let passed = "is not yet in force: connections are not forwarded as they are";
    assert_tls(
        HTTPS,
        &[
            (
                "",
                &[&format!("4:73: warning[MESH0401]: TLS mode `PASSTHROUGH` {passed}")],
            ),
            (
                "mode: PASSTHROUGH, credentialName: a",
                &[
                    &format!("5:7: warning[MESH0401]: TLS mode `PASSTHROUGH` {passed}"),
                    "5:20: warning[MESH0505]: `credentialName` has no effect in the mode `PASSTHROUGH`",
                ],
            ),
            (
                "mode: ISTIO_MUTUAL, serverCertificate: c",
                &[
                    &format!("5:7: warning[MESH0401]: TLS mode `ISTIO_MUTUAL` {CLIENTS}"),
                    "5:21: error[MESH0301]: `serverCertificate` cannot stand beside the mode `ISTIO_MUTUAL`",
                ],
            ),
            (
                "mode: TLS",
                &[
                    "5:7: error[MESH0104]: `mode`: unknown value `TLS`, expected `PASSTHROUGH`, `SIMPLE`, `MUTUAL`, `OPTIONAL_MUTUAL`, `AUTO_PASSTHROUGH` or `ISTIO_MUTUAL`",
                ],
            ),
        ],
    );
}

#[test]
fn versions_and_suites_are_checked() {
    assert_tls(
        HTTPS,
        &[
            (
                "mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_2, maxProtocolVersion: TLSV1_3",
                &[],
            ),
            (
                "mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2",
                &[
                    &format!("5:34: warning[MESH0401]: field `minProtocolVersion` is not yet in force: {LIBRARY}"),
                    &format!("5:63: warning[MESH0401]: field `maxProtocolVersion` is not yet in force: {LIBRARY}"),
                    "5:83: error[MESH0301]: `maxProtocolVersion` is below `minProtocolVersion`",
                ],
            ),
            (
                "mode: SIMPLE, credentialName: a, cipherSuites: [A, A]",
                &[
                    &format!("5:34: warning[MESH0401]: field `cipherSuites` is not yet in force: {LIBRARY}"),
                    "5:52: warning[MESH0505]: `cipherSuites`: `A` is given twice",
                ],
            ),
        ],
    );
}
