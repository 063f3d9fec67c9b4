//! `gateways`.

use super::*;
use crate::policy::model::Labels;
use crate::policy::model::gateway::GatewayHost;

#[test]
fn a_gateway_has_servers_with_hosts_and_certificates() {
    let policy = clean(
        "namespace: shop\ngateways:\n  front:\n    selector: { app: gateway }\n    servers:\n    - { port: 443, hosts: ['*.Example.com', ./a.example.com, other/b.example.com], tls: { credential: shop-tls } }\n    - { port: 80, name: plain, hosts: ['*'] }\n",
    );
    let gateway = &policy.gateways[0];
    assert_eq!(
        (gateway.meta.name.as_str(), gateway.meta.namespace.as_str()),
        ("front", "shop")
    );
    assert_eq!(gateway.selector, Labels::from([("app".into(), "gateway".into())]));
    let [tls, plain] = gateway.servers.as_slice() else {
        panic!("two servers");
    };
    assert_eq!((tls.port, tls.port_name.as_str()), (443, "https-443"));
    assert_eq!(
        tls.tls.as_ref().map(|tls| tls.credential_name.as_str()),
        Some("shop-tls")
    );
    let host = |namespace: Option<&str>, host: &str| GatewayHost {
        namespace: namespace.map(Into::into),
        host: host.into(),
    };
    let hosts = [
        host(None, "*.example.com"),
        host(Some("shop"), "a.example.com"),
        host(Some("other"), "b.example.com"),
    ];
    assert_eq!(tls.hosts, hosts);
    assert_eq!((plain.port_name.as_str(), &plain.tls), ("plain", &None));
    assert_eq!(plain.origin.to_string(), "f:7:7");
}

#[test]
fn gateways_that_are_wrong_are_told() {
    assert_lines(
        "gateways: { g: { @ } }",
        &[
            ("selector: {}", &["16: error[MESH0103]: missing field `servers`"]),
            (
                "servers: []",
                &["27: error[MESH0104]: `servers`: expected at least one server, found an empty list"],
            ),
            (
                "servers: [{ port: 80, hosts: [short, '*a.com', a/b/c.com] }]",
                &[
                    "48: error[MESH0104]: `hosts`: expected a full name, `*.example.com` or `*`, after `namespace/` where it is for one only, found `short`",
                    "55: error[MESH0104]: `hosts`: expected a full name, `*.example.com` or `*`, after `namespace/` where it is for one only, found `*a.com`",
                    "65: error[MESH0104]: `hosts`: expected a full name, `*.example.com` or `*`, after `namespace/` where it is for one only, found `a/b/c.com`",
                ],
            ),
            (
                "servers: [{ port: 443, hosts: ['*'], tls: { credential: ../other } }]",
                &[
                    "74: error[MESH0104]: `credential`: expected the name of a folder with `tls.crt` and `tls.key`, found `../other`",
                ],
            ),
            (
                "servers: [{ port: 443, hosts: ['*'], tls: {} }, { port: 443, hosts: ['*'], name: https-443 }]",
                &["60: error[MESH0103]: missing field `credential`"],
            ),
            (
                "servers: [{ port: 80, hosts: ['*'], name: a }, { port: 81, hosts: ['*'], name: a }]",
                &["65: error[MESH0202]: port name `a` is given twice"],
            ),
        ],
    );
}
