use super::*;

#[test]
fn all_served_versions_are_known_and_no_others() {
    let knows = super::super::DIALECT.knows;
    for (version, kind, expected) in [
        ("networking.istio.io/v1", "VirtualService", true),
        ("networking.istio.io/v1beta1", "VirtualService", true),
        ("networking.istio.io/v1alpha3", "VirtualService", true),
        ("networking.istio.io/v2", "VirtualService", false),
        ("security.istio.io/v1beta1", "PeerAuthentication", true),
        ("security.istio.io/v1alpha3", "PeerAuthentication", false),
        ("networking.istio.io/v1", "PeerAuthentication", false),
        ("install.istio.io/v1alpha1", "IstioOperator", true),
        ("gateway.networking.k8s.io/v1", "Gateway", false),
        ("v1", "Service", false),
    ] {
        assert_eq!(knows(version, kind), expected, "{version} {kind}");
    }
}

#[test]
fn kinds_that_are_not_in_force_are_refused_at_their_name() {
    let lines = load("apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nspec: {}\n").lines;
    let expected = "2:7: warning[MESH0401]: kind `Telemetry`";
    assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
    let never = "1:45: error[MESH0402]: kind `EnvoyFilter` is not supported in a process: there is no Envoy to patch";
    assert_eq!(load_spec("EnvoyFilter", "anything: 1").lines, [never]);
    for (version, kind, code) in [
        ("extensions.istio.io/v1alpha1", "WasmPlugin", "MESH0402"),
        ("extensions.istio.io/v1alpha1", "TrafficExtension", "MESH0402"),
    ] {
        let lines = load(&format!("apiVersion: {version}\nkind: {kind}\n")).lines;
        assert!(
            lines.len() == 1 && lines[0].starts_with(&format!("2:7: error[{code}]: kind `{kind}`")),
            "{lines:?}"
        );
    }
}

#[test]
fn a_missing_spec_is_told() {
    for kind in [
        "VirtualService",
        "DestinationRule",
        "ServiceEntry",
        "WorkloadEntry",
        "Gateway",
        "PeerAuthentication",
    ] {
        let group = if kind == "PeerAuthentication" {
            "security"
        } else {
            "networking"
        };
        let lines = load(&format!("apiVersion: {group}.istio.io/v1\nkind: {kind}\nspec:\n")).lines;
        assert_eq!(lines, ["1:1: error[MESH0103]: missing field `spec`"], "{kind}");
    }
}

#[test]
fn what_configures_proxies_is_checked_and_has_no_effect() {
    let group = "1:45: warning[MESH0505]: kind `WorkloadGroup` has no effect in a process: no control plane registers workloads, name each in a `WorkloadEntry`";
    let proxy =
        "1:45: warning[MESH0505]: kind `ProxyConfig` has no effect in a process: there is no proxy to configure";
    let cases: [(&str, &str, &[&str]); 7] = [
        (
            "WorkloadGroup",
            "metadata: { labels: { app: a }, annotations: { b: c } }, template: { ports: { http: 8080 }, serviceAccount: sa }, \
             probe: { initialDelaySeconds: 1, httpGet: { path: /, port: 80, scheme: HTTP, httpHeaders: [{ name: a, value: b }] } }",
            &[group],
        ),
        (
            "WorkloadGroup",
            "template: {}, probe: { exec: { command: [ls, '-l'] } }",
            &[group],
        ),
        (
            "WorkloadGroup",
            "template: {}, probe: { grpc: { port: 1, service: s } }",
            &[group],
        ),
        (
            "WorkloadGroup",
            "",
            &[group, "2:1: error[MESH0103]: missing field `template`"],
        ),
        (
            "WorkloadGroup",
            "template: { ports: { '@': 1 } }, probe: { tcpSocket: { port: 65536 } }",
            &[
                group,
                "3:22: error[MESH0104]: key `@`: expected the name of a port",
                "3:62: error[MESH0104]: `port`: expected a whole number of 1 to 65535, found `65536`",
            ],
        ),
        (
            "WorkloadGroup",
            "template: {}, probe: { tcpSocket: { port: 1 }, exec: {} }",
            &[
                group,
                "3:48: error[MESH0105]: fields `tcpSocket` and `exec` exclude each other",
            ],
        ),
        (
            "ProxyConfig",
            "selector: { matchLabels: { app: a } }, concurrency: -1, environmentVariables: { A: '1' }, image: { imageType: distroless }",
            &[
                proxy,
                "3:53: error[MESH0104]: `concurrency`: expected a whole number of 0 to 2147483647, found `-1`",
            ],
        ),
    ];
    for (kind, spec, expected) in cases {
        assert_lines(kind, &[(spec, expected)]);
    }
}

#[test]
fn all_versions_of_a_kind_are_read_alike() {
    for (kind, spec) in [
        (
            "VirtualService",
            "hosts: [a], http: [{ route: [{ destination: { host: a } }] }]",
        ),
        ("DestinationRule", "host: a, subsets: [{ name: v1 }]"),
        ("ServiceEntry", "hosts: [a.com]"),
        ("WorkloadEntry", "address: 1.2.3.4"),
        (
            "Gateway",
            "servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'] }]",
        ),
        ("Sidecar", "egress: [{ hosts: ['./*'] }]"),
    ] {
        let at = |version: &str| load(&object(kind, spec).replace("io/v1,", &format!("io/{version},")));
        let (v1, v1beta1, v1alpha3) = (at("v1"), at("v1beta1"), at("v1alpha3"));
        assert_eq!(v1.lines, [""; 0], "{kind}");
        assert_ne!(v1.policy, Policy::default(), "{kind}");
        for other in [v1beta1, v1alpha3] {
            let places = |policy: &Policy| format!("{policy:?}").replace(char::is_numeric, "");
            assert_eq!(places(&other.policy), places(&v1.policy), "{kind}");
        }
    }
}
