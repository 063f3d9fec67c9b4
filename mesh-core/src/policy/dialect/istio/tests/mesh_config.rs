use super::*;
use crate::policy::model::forwarding::ClientCertHeader;
use crate::policy::model::{AccessLog, AccessLogEncoding, MeshSettings, OutboundMode};

/// An `IstioOperator` with this mesh configuration, written in line 4.
fn load_config(config: &str) -> Loaded {
    load(&format!(
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {{ meshConfig: {{\n{config} }} }}\n"
    ))
}

#[test]
fn settings_are_read() {
    let loaded = load_config(
        "accessLogFile: /dev/stdout, accessLogEncoding: JSON, trustDomain: prod.example, rootNamespace: root, \
         outboundTrafficPolicy: { mode: REGISTRY_ONLY }, enableTracing: false",
    );
    assert_eq!(loaded.lines, [""; 0]);
    let expected = MeshSettings {
        access_log: Some(AccessLog::new("/dev/stdout".into(), AccessLogEncoding::Json)),
        trust_domain: "prod.example".into(),
        root_namespace: "root".into(),
        outbound: OutboundMode::RegistryOnly,
        ..MeshSettings::default()
    };
    assert_eq!(loaded.policy.mesh, expected);
}

#[test]
fn a_log_is_text_and_goes_nowhere_without_a_file() {
    let log = |config: &str| load_config(config).policy.mesh.access_log;
    assert_eq!(
        log("accessLogFile: a").map(|log| log.encoding),
        Some(AccessLogEncoding::Text)
    );
    assert_eq!(log("accessLogFile: ''"), None);
    let line = "4:1: warning[MESH0505]: `accessLogEncoding` has no effect without `accessLogFile`";
    assert_eq!(load_config("accessLogEncoding: JSON").lines, [line]);
}

#[test]
fn tracing_loads_with_a_warning() {
    let loaded = load_config(
        "enableTracing: true, defaultConfig: { tracing: { sampling: 1.0, zipkin: { address: 'a:9411' } } }",
    );
    assert_eq!(
        loaded.lines,
        [
            "4:1: warning[MESH0501]: field `enableTracing` is not yet in force: spans are not exported",
            "4:39: warning[MESH0501]: field `tracing` is not yet in force: spans are not exported",
        ]
    );
    let misspelt = load_config("defaultConfig: { tracing: { smapling: 1.0 } }");
    assert_eq!(misspelt.lines[1], "4:29: error[MESH0101]: unknown field `smapling`");
}

#[test]
fn paths_are_normalised_as_it_says() {
    use crate::request::PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};
    for (written, mode) in [
        ("{}", Base),
        ("{ normalization: DEFAULT }", Base),
        ("{ normalization: NONE }", None),
        ("{ normalization: BASE }", Base),
        ("{ normalization: MERGE_SLASHES }", MergeSlashes),
        ("{ normalization: DECODE_AND_MERGE_SLASHES }", DecodeAndMergeSlashes),
    ] {
        let loaded = load_config(&format!("pathNormalization: {written}"));
        assert_eq!(loaded.lines, [""; 0], "{written}");
        assert_eq!(loaded.policy.mesh.path_normalization, mode, "{written}");
    }
    let misspelt = load_config("pathNormalization: { normalization: MERGE }");
    assert_eq!(misspelt.lines.len(), 1, "{:?}", misspelt.lines);
}

#[test]
fn the_topology_says_whom_to_believe() {
    let forwarding = |written: &str| {
        let loaded = load_config(&format!("defaultConfig: {{ gatewayTopology: {{ {written} }} }}"));
        assert_eq!(loaded.lines, [""; 0], "{written}");
        loaded.policy.mesh.forwarding
    };
    for (written, client_cert, trusts) in [
        ("numTrustedProxies: 2", ClientCertHeader::Strip, false),
        ("forwardClientCertDetails: SANITIZE", ClientCertHeader::Strip, false),
        (
            "forwardClientCertDetails: FORWARD_ONLY",
            ClientCertHeader::Forward,
            true,
        ),
        (
            "forwardClientCertDetails: APPEND_FORWARD",
            ClientCertHeader::Append,
            true,
        ),
        ("forwardClientCertDetails: SANITIZE_SET", ClientCertHeader::Set, false),
        (
            "forwardClientCertDetails: ALWAYS_FORWARD_ONLY",
            ClientCertHeader::AlwaysForward,
            false,
        ),
    ] {
        let found = forwarding(written);
        assert_eq!(found.client_cert, client_cert, "{written}");
        assert_eq!(!found.trusted_callers.is_empty(), trusts, "{written}");
    }
    assert_eq!(forwarding("numTrustedProxies: 2").trusted_proxies, 2);
    let refused = load_config("defaultConfig: { gatewayTopology: { proxyProtocol: {} } }");
    let line =
        "4:37: warning[MESH0401]: field `proxyProtocol` is not yet in force: listeners do not read PROXY headers";
    assert_eq!(refused.lines, [line]);
}

#[test]
fn the_rest_is_refused() {
    for (config, line) in [
        (
            "enableAutoMtls: true",
            "4:1: warning[MESH0401]: field `enableAutoMtls` is not yet in force: endpoints with an identity are always called with mTLS",
        ),
        (
            "accessLogFormat: a",
            "4:1: warning[MESH0401]: field `accessLogFormat` is not yet in force: lines have the default fields",
        ),
        (
            "defaultConfig: { concurrency: 2 }",
            "4:18: error[MESH0402]: field `concurrency` is not supported in a process: there is no proxy to configure",
        ),
        ("trustDomian: a", "4:1: error[MESH0101]: unknown field `trustDomian`"),
        (
            "trustDomain: A_b",
            "4:14: error[MESH0104]: `trustDomain`: expected a trust domain such as `cluster.local`, found `A_b`",
        ),
    ] {
        assert_eq!(load_config(config).lines, [line]);
    }
    let installation = load("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: { profile: demo }\n");
    let line = "3:9: error[MESH0402]: field `profile` is not supported in a process: nothing is installed";
    assert_eq!(installation.lines, [line]);
}
