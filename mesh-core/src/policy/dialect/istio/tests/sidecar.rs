use super::*;
use crate::policy::model::OutboundMode;
use crate::policy::model::service::{EgressHost, Sidecar};

const KIND: &str = "Sidecar";

fn sidecar(spec: &str) -> Sidecar {
    clean(KIND, spec).sidecars.remove(0)
}

#[test]
fn hosts_of_all_listeners_are_seen() {
    let found = sidecar(
        "workloadSelector: { labels: { app: web } }, egress: [{ hosts: ['./*', 'prod/Reviews.prod.svc.cluster.local', '*/*.example.com', '~/*'] }]",
    );
    let host = |namespace: &str, host: &str| EgressHost {
        namespace: namespace.into(),
        host: host.into(),
    };
    assert_eq!(
        found.egress,
        Some(vec![
            host("shop", "*"),
            host("prod", "reviews.prod.svc.cluster.local"),
            host("*", "*.example.com")
        ])
    );
    assert_eq!(found.selector["app"], "web");
    assert_eq!((found.meta.namespace.as_str(), found.outbound), ("shop", None));
}

#[test]
fn nothing_may_be_seen_and_everything() {
    assert_eq!(sidecar("egress: [{ hosts: ['~/*'] }]").egress, Some(Vec::new()));
    assert_eq!(sidecar("outboundTrafficPolicy: { mode: ALLOW_ANY }").egress, None);
    assert_eq!(sidecar("egress: [], outboundTrafficPolicy: {}").egress, None);
}

#[test]
fn requests_to_unknown_hosts_have_a_mode() {
    let mode = |text: &str| sidecar(&format!("outboundTrafficPolicy: {{ {text} }}")).outbound;
    assert_eq!(mode("mode: ALLOW_ANY"), Some(OutboundMode::AllowAny));
    assert_eq!(mode("mode: REGISTRY_ONLY"), Some(OutboundMode::RegistryOnly));
    assert_eq!(mode(""), Some(OutboundMode::RegistryOnly), "the first of Istio's list");
}

#[test]
fn sidecars_are_checked() {
    let expected =
        "expected `namespace/host`, such as `./*`, `shop/orders.shop.svc.cluster.local` or `*/*.example.com`";
    assert_lines(
        KIND,
        &[
            (
                "workloadSelector: { labels: { app: web } }",
                &[
                    "2:1: error[MESH0103]: missing field `egress`, `ingress`, `outboundTrafficPolicy` or `inboundConnectionPool`",
                ],
            ),
            ("egress: [{}]", &["3:10: error[MESH0103]: missing field `hosts`"]),
            (
                "egress: [{ hosts: [a.com, 'a b/c', 'x/*c.com', '/c'] }]",
                &[
                    &format!("3:20: error[MESH0104]: `hosts`: {expected}, found `a.com`"),
                    &format!("3:27: error[MESH0104]: `hosts`: {expected}, found `a b/c`"),
                    &format!("3:36: error[MESH0104]: `hosts`: {expected}, found `x/*c.com`"),
                    &format!("3:48: error[MESH0104]: `hosts`: {expected}, found `/c`"),
                ],
            ),
            (
                "egress: [{ hosts: ['./*'] }, { hosts: ['*/*'] }]",
                &[
                    "3:10: error[MESH0301]: `egress`: the entry without `port` takes what is left, it must be the last one",
                ],
            ),
            (
                "outboundTrafficPolicy: { mode: NONE, egressProxy: { host: a } }",
                &[
                    "3:32: error[MESH0104]: `mode`: unknown value `NONE`, expected `REGISTRY_ONLY` or `ALLOW_ANY`",
                    "3:38: warning[MESH0401]: field `egressProxy` is not yet in force: requests to unknown hosts go there themselves",
                ],
            ),
            (
                "ingress: [{ port: { number: 80 }, defaultEndpoint: '10.0.0.1:80' }, { port: { number: 80 } }]",
                &[
                    "3:1: warning[MESH0505]: `ingress` has no effect: a process listens where its server does",
                    "3:52: error[MESH0104]: `defaultEndpoint`: expected `127.0.0.1:PORT`, `0.0.0.0:PORT` or `unix://…`, found `10.0.0.1:80`",
                    "3:69: error[MESH0202]: port `80` is given twice",
                ],
            ),
        ],
    );
}

#[test]
fn what_captures_connections_has_no_effect() {
    assert_lines(
        KIND,
        &[(
            "inboundConnectionPool: { http: { maxRetries: 1 } }, egress: [{\nport: { number: 80, name: a, protocol: HTTP }, bind: 127.0.0.1, captureMode: NONE, hosts: ['./*'] }], \
             ingress: [{ port: { number: 80, protocol: HTTP, name: a }, captureMode: DEFAULT, defaultEndpoint: '127.0.0.1:80', connectionPool: { tcp: {} } }]",
            &[
                "3:1: warning[MESH0505]: `inboundConnectionPool` has no effect: a process takes what reaches its listeners",
                "4:1: warning[MESH0505]: `port` has no effect: hosts are seen on each of their ports",
                "4:48: warning[MESH0505]: `bind` has no effect: connections are not captured, callers ask the mesh",
                "4:65: warning[MESH0505]: `captureMode` has no effect: connections are not captured, callers ask the mesh",
                "4:103: warning[MESH0505]: `ingress` has no effect: a process listens where its server does",
            ],
        )],
    );
}
