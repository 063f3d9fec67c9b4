//! What a document is, and what its envelope may hold.

use super::*;
use crate::policy::dialect::DIALECTS;

#[test]
fn metadata_is_read_and_what_the_server_keeps_is_passed_over() {
    let text = r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: strict
  namespace: shop
  creationTimestamp: "2026-11-21T00:00:00Z"
  labels: { team: a }
  annotations: { note: "1" }
  uid: 0a-1
  resourceVersion: "7"
  generation: 3
  generateName: x-
  finalizers: []
  ownerReferences: [{ kind: Deployment }]
  managedFields: [{ manager: kubectl }]
spec: { mtls: { mode: STRICT } }
status: { conditions: [] }
"#;
    let policy = Loaded::from_files([("a.yaml", text)]).policy.unwrap();
    let meta = &policy.peer_authentications[0].meta;
    assert_eq!((meta.name.as_str(), meta.namespace.as_str()), ("strict", "shop"));
    assert_eq!(meta.created, 1_795_219_200);
    assert_eq!(meta.origin.to_string(), "a.yaml:2:1");
}

#[test]
fn an_object_without_namespace_or_time_has_the_defaults() {
    let text = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: a, creationTimestamp: null }\nspec: {}\n";
    let policy = Loaded::from_files([("a.yaml", text)]).policy.unwrap();
    let meta = &policy.peer_authentications[0].meta;
    assert_eq!((meta.namespace.as_str(), meta.created), ("default", 0));
}

#[test]
fn wrong_envelopes_are_told_field_by_field() {
    assert_lines(&[
        (
            "kind: VirtualService",
            &["1:1: error[MESH0103]: missing field `apiVersion`"],
        ),
        (
            "apiVersion: networking.istio.io/v1",
            &["1:1: error[MESH0103]: missing field `kind`"],
        ),
        (
            "apiVersion: 1\nkind: [x]",
            &[
                "1:13: error[MESH0102]: expected text, found the number `1`",
                "2:7: error[MESH0102]: expected text, found a list",
            ],
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nspec: {}",
            &["1:1: error[MESH0103]: missing field `metadata`"],
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {}\nspec: {}",
            &["3:11: error[MESH0103]: missing field `name`"],
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nspecs: {}\nmetadata:\n  name: A\n  namespace: a.b\n  nam: b\n  creationTimestamp: now\n  labels: { a: 1 }",
            &[
                "3:1: error[MESH0101]: unknown field `specs`",
                "5:9: error[MESH0104]: `name`: expected a name of lower-case letters, digits, `-` and `.`, found `A`",
                "6:14: error[MESH0104]: `namespace`: expected a namespace of lower-case letters, digits and `-`, at most 63, found `a.b`",
                "7:3: error[MESH0101]: unknown field `nam`",
                "8:22: error[MESH0104]: `creationTimestamp`: expected a time such as `2026-01-31T12:00:00Z`, found `now`",
                "9:16: error[MESH0102]: `a`: expected text, found the number `1`",
            ],
        ),
    ]);
}

/// Version and kind, beside what is said about such an object.
const UNREAD: &[(&str, &str, &str)] = &[
    (
        "v1",
        "Namespace",
        "warning[MESH0504]: kind `Namespace` configures no mesh: only gateways that choose namespaces look at its labels",
    ),
    (
        "apps/v1",
        "Deployment",
        "warning[MESH0504]: kind `Deployment` configures no mesh: it changes nothing here",
    ),
    (
        "gateway.networking.x-k8s.io/v1alpha1",
        "XBackendTrafficPolicy",
        "warning[MESH0401]: kind `XBackendTrafficPolicy` is not yet in force: of Gateway API's objects routes, gateways, grants and TLS policies are read",
    ),
    (
        "policy.linkerd.io/v1alpha9",
        "Server",
        "warning[MESH0401]: kind `Server` is not yet in force: of Linkerd's policies these kinds and versions are not read",
    ),
    (
        "workload.linkerd.io/v1beta1",
        "ExternalWorkload",
        "error[MESH0402]: kind `ExternalWorkload` is not supported in a process: endpoints are read from `services`, `ServiceEntry` and `WorkloadEntry`",
    ),
    (
        "access.smi-spec.io/v1alpha4",
        "IdentityBinding",
        "warning[MESH0401]: kind `IdentityBinding` is not yet in force: of SMI's objects splits, targets and groups of requests are read",
    ),
    (
        "cilium.io/v2",
        "CiliumNode",
        "error[MESH0402]: kind `CiliumNode` is not supported in a process: there is no node agent to configure",
    ),
    (
        "networking.istio.io/v1",
        "VirtualServce",
        "error[MESH0106]: unknown kind `VirtualServce` of `networking.istio.io/v1`",
    ),
    (
        "networking.istio.io/v9",
        "VirtualService",
        "error[MESH0106]: unknown kind `VirtualService` of `networking.istio.io/v9`",
    ),
    (
        "kustomize.config.k8s.io/v1beta1",
        "Kustomization",
        "warning[MESH0504]: kind `Kustomization` configures no mesh: it changes nothing here",
    ),
    (
        "gateway.networking.k8s.io/v1",
        "HttpRoute",
        "error[MESH0106]: unknown kind `HttpRoute` of `gateway.networking.k8s.io/v1`",
    ),
    (
        "gateway.networking.k8s.io/v1beta2",
        "HTTPRoute",
        "error[MESH0106]: unknown kind `HTTPRoute` of `gateway.networking.k8s.io/v1beta2`",
    ),
    (
        "policy.linkerd.io/v1beta3",
        "Servers",
        "error[MESH0106]: unknown kind `Servers` of `policy.linkerd.io/v1beta3`",
    ),
    (
        "example.com/v1",
        "Widget",
        "error[MESH0106]: unknown kind `Widget` of `example.com/v1`",
    ),
];

#[test]
fn kinds_that_nobody_reads_are_told_with_what_becomes_of_them() {
    let mesh = "mesh: { mtls: strict }\n---\n";
    let object =
        |api_version: &str, kind: &str| format!("{mesh}apiVersion: {api_version}\nkind: {kind}\nanything: 1\n");
    for (api_version, kind, expected) in UNREAD {
        assert_eq!(lines(&object(api_version, kind)), [format!("4:7: {expected}")]);
    }
}

#[test]
fn an_unknown_kind_is_helped_with_the_nearest() {
    for (api_version, kind, expected) in [
        (
            "networking.istio.io/v1",
            "VirtualServce",
            "did you mean `VirtualService` of `networking.istio.io/v1`?",
        ),
        (
            "split.smi-spec.io/v1",
            "TrafficSplit",
            "`TrafficSplit` is known as a kind of `split.smi-spec.io/v1alpha4`",
        ),
        (
            "example.com/v1",
            "Widget",
            "`docs/dialects.md` lists the kinds that are read",
        ),
    ] {
        let loaded = Loaded::from_files([("f", format!("apiVersion: {api_version}\nkind: {kind}\n"))]);
        assert_eq!(loaded.report.sorted(&loaded.sources)[0].help.as_deref(), Some(expected));
    }
}

#[test]
fn kinds_named_in_messages_are_read() {
    for (api_version, kind) in dialect::beside::READ {
        let knows = |one: &dialect::Dialect| (one.knows)(api_version, kind);
        assert!(DIALECTS.iter().any(knows), "{api_version} {kind}");
    }
}

#[test]
fn files_that_are_no_policy_are_told_so() {
    assert_lines(&[
        (
            "groups:\n- name: mesh\n  rules: []\n",
            &["1:1: error[MESH0106]: this is no policy: it looks like rules of Prometheus"],
        ),
        (
            "name: ci\non: push\n",
            &["1:1: error[MESH0106]: this is no policy: it has only `name` and `on`"],
        ),
        (
            "- a\n- b\n",
            &["1:1: error[MESH0106]: this is no policy: expected a mapping, found a list or plain text"],
        ),
        (
            "hello",
            &["1:1: error[MESH0106]: this is no policy: expected a mapping, found a list or plain text"],
        ),
        (
            "{}",
            &["1:1: error[MESH0006]: the document is empty: it says nothing about a mesh"],
        ),
    ]);
}

#[test]
fn fields_of_istio_may_be_in_snake_case_and_those_of_others_not() {
    let split = "apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: { name: a.b }\nspec: { retry_budget: { ttl: 1s } }\n";
    assert_eq!(lines(split), ["4:9: error[MESH0101]: unknown field `retry_budget`"]);
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: a }\nspec: { host: a, traffic_policy: { load_balancer: { simple: RANDOM } } }\n";
    assert_eq!(lines(rule), [""; 0]);
}
