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
    let not_yet =
        "1:45: warning[MESH0401]: kind `Sidecar` is not yet in force: every service of the mesh can be called";
    assert_eq!(load_spec("Sidecar", "").lines, [not_yet]);
    for (version, kind) in [
        ("security.istio.io/v1", "RequestAuthentication"),
        ("telemetry.istio.io/v1", "Telemetry"),
    ] {
        let lines = load(&format!("apiVersion: {version}\nkind: {kind}\nspec: {{}}\n")).lines;
        let expected = format!("2:7: warning[MESH0401]: kind `{kind}`");
        assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{lines:?}");
    }
    let never = "1:45: error[MESH0402]: kind `EnvoyFilter` is not supported in a process: there is no Envoy to patch";
    assert_eq!(load_spec("EnvoyFilter", "anything: 1").lines, [never]);
    for (version, kind, code) in [
        ("networking.istio.io/v1beta1", "ProxyConfig", "MESH0402"),
        ("networking.istio.io/v1", "WorkloadGroup", "MESH0402"),
        ("extensions.istio.io/v1alpha1", "WasmPlugin", "MESH0402"),
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
