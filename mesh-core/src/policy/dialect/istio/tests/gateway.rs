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
    let line = "4:39: warning[MESH0401]: protocol `TLS` is not yet in force: gateways speak HTTP";
    assert_server(streams, &[line]);
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

#[test]
fn tls_is_checked() {
    let sources = "`credentialName`, `credentialNames`, `tlsCertificates` or `serverCertificate`";
    let options = "versions and cipher suites are those of the TLS library";
    assert_server(HTTPS, &["3:11: error[MESH0103]: missing field `tls`"]);
    let cases: [(&str, &str, &[&str]); 6] = [
        (
            HTTPS,
            "mode: SIMPLE",
            &[&format!("4:73: error[MESH0103]: missing field {sources}")],
        ),
        (
            HTTPS,
            "mode: SIMPLE, credentialName: ../../etc",
            &["4:105: error[MESH0104]: `credentialName`: expected the name of a folder, found `../../etc`"],
        ),
        (
            HTTPS,
            "",
            &[
                "4:73: warning[MESH0401]: TLS mode `PASSTHROUGH` is not yet in force: connections are not forwarded as they are",
            ],
        ),
        (
            HTTPS,
            "mode: MUTUAL, credentialName: a, caCertificates: b",
            &[
                "4:81: warning[MESH0401]: TLS mode `MUTUAL` is not yet in force: clients of a gateway show no certificate",
            ],
        ),
        (
            HTTPS,
            "mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_3, httpsRedirect: true",
            &[
                &format!("4:108: warning[MESH0401]: field `minProtocolVersion` is not yet in force: {options}"),
                "4:137: error[MESH0301]: `httpsRedirect` needs a port with the protocol `HTTP`",
            ],
        ),
        (
            HTTP,
            "mode: SIMPLE",
            &["4:65: error[MESH0301]: `tls` needs a port with the protocol `HTTPS`"],
        ),
    ];
    for (server, tls, expected) in cases {
        assert_server(&format!("{server}, tls: {{ {tls} }}"), expected);
    }
}
