//! The specification of a known kind: the first byte chooses the kind, the rest is its `spec`, whatever comes after it.
#![no_main]

use http::Request;
use libfuzzer_sys::fuzz_target;
use mesh_core::explain;
use mesh_core::policy::{Loaded, convert};
use mesh_core::request::{Options, canonicalize};
use mesh_core::snapshot::Snapshot;
use mesh_core::workload::Workload;

const KINDS: &[(&str, &str)] = &[
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "ServiceEntry"),
    ("networking.istio.io/v1", "WorkloadEntry"),
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "Sidecar"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("security.istio.io/v1", "RequestAuthentication"),
    ("telemetry.istio.io/v1", "Telemetry"),
    ("install.istio.io/v1alpha1", "IstioOperator"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "BackendTLSPolicy"),
    ("linkerd.io/v1alpha2", "ServiceProfile"),
    ("networking.istio.io/v1", "WorkloadGroup"),
    ("gateway.networking.k8s.io/v1", "TLSRoute"),
    ("gateway.networking.k8s.io/v1alpha2", "TCPRoute"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    ("policy.linkerd.io/v1beta1", "ServerAuthorization"),
    ("policy.linkerd.io/v1alpha1", "HTTPLocalRateLimitPolicy"),
    ("policy.linkerd.io/v1alpha1", "EgressNetwork"),
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
    ("v1", "Pod"),
    ("policy.linkerd.io/v1beta3", "Server"),
    ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"),
    ("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication"),
    ("policy.linkerd.io/v1alpha1", "NetworkAuthentication"),
    ("policy.linkerd.io/v1beta3", "HTTPRoute"),
    ("split.smi-spec.io/v1alpha4", "TrafficSplit"),
    ("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup"),
    ("access.smi-spec.io/v1alpha3", "TrafficTarget"),
    ("cilium.io/v2", "CiliumNetworkPolicy"),
    ("v1", "Service"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
];

/// A service that the routes may name.
const BESIDE: &str = "---
services:
  orders: { endpoints: [10.0.0.1:80, { address: 10.0.0.2:80, labels: { version: v2 } }] }
";

fn document(choice: u8, spec: &str) -> String {
    let Some((api_version, kind)) = KINDS.get(usize::from(choice) % (KINDS.len() + 1)) else {
        return format!("{spec}\n{BESIDE}");
    };
    let spec = spec.replace('\n', "\n  ");
    format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{ name: orders }}\nspec:\n  {spec}\n{BESIDE}")
}

fn native(loaded: &Loaded) -> String {
    let documents = convert::to_native(loaded).expect("a policy");
    let texts = documents.iter().map(|one| serde_json::to_string(one).expect("text"));
    texts.map(|text| format!("---\n{text}\n")).collect()
}

/// What loads can be printed as native documents, which load and print the same.
fn same_when_converted(loaded: &Loaded) {
    let text = native(loaded);
    if text.is_empty() {
        return;
    }
    let again = Loaded::from_files([("native.yaml", &text)]);
    assert!(again.policy.is_some(), "{:#?}\n{text}", again.report.lines(&again.sources));
    assert_eq!(native(&again), text);
}

fuzz_target!(|input: (u8, &str)| {
    let text = document(input.0, input.1);
    let loaded = Loaded::from_files([("policy.yaml", text)]);
    let Some(policy) = &loaded.policy else {
        assert!(loaded.report.has_errors());
        return;
    };
    same_when_converted(&loaded);
    let Ok(snapshot) = Snapshot::compile(policy, &Workload::new("default", "web").label("app", "web"), 1) else {
        return;
    };
    let request = Request::get("http://orders/api/v1?x=1").header("x-version", "v2").body(()).expect("a request");
    let canonical = canonicalize(&request, Options::outbound()).expect("a canonical request");
    let answer = explain::outbound(&snapshot, &canonical.view());
    let shares: f64 = answer.destinations.iter().map(|to| to.share).sum();
    assert!(answer.destinations.is_empty() || shares <= 1.000_001, "{shares}");
});
