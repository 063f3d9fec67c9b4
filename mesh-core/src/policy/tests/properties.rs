//! Whatever is in the files, they are read or refused.

use proptest::prelude::*;

use super::*;
use crate::policy::diagnostic::{Code, JsonDiagnostic, Paint};

/// A document with every section, which is cut and changed.
const SAMPLE: &str = r#"
namespace: shop
mesh: { trust_domain: td.example, mtls: strict, outbound: registry_only, access_log: { path: /dev/stdout } }
services:
  orders:
    port: 80
    endpoints: [{ address: "[::1]:8080", labels: { version: v2 }, zone: a, weight: 2, service_account: o }]
    subsets: { v2: { labels: { version: v2 }, tls: { mutual: { identities: [td.example/ns/a/sa/b] } } } }
    routes:
    - { match: [{ path: { prefix: /a }, methods: [GET, PUT], headers: { a: { regex: b+ } } }], to: { v2: 1 }, timeout: 1s }
    - { to: [{ service: other, weight: 1 }, { subset: v2, weight: 3 }], retry: { attempts: 1, on: [5xx, 503], backoff: 1ms } }
    limits: { idle_timeout: never }
    outliers: { max_ejected_percent: 50% }
gateways: { g: { servers: [{ port: 443, hosts: ["*"], tls: { credential: c } }] } }
routes: [{ name: front, hosts: ["*"], gateways: [g], rules: [{ to: orders }] }]
authorization: [{ name: a, service: orders, deny: [{ from: ["*"], ip: [10.0.0.0/8], paths: ["/a/{*}"] }] }]
profiles: { orders: { routes: [{ name: r, method: get, retryable: true }] } }
---
{ apiVersion: split.smi-spec.io/v1alpha1, kind: TrafficSplit, metadata: { name: s }, spec: { service: s, backends: [{ service: t, weight: 500m }] } }
---
{ apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: { name: s.ns }, spec: { routes: [{ name: r, condition: { pathRegex: /a }, timeout: 1s }], retryBudget: { retryRatio: 0.2, ttl: 1s } } }
"#;

/// Codes of what is missing as a whole, which has no place.
const PLACELESS: [Code; 1] = [Code::NO_DOCUMENT];

/// Reads bytes: a policy and an error exclude each other, and each error has line and column.
pub(super) fn read(bytes: &[u8]) {
    let loaded = Loaded::from_files([("f", bytes)]);
    assert_eq!(loaded.policy.is_none(), loaded.report.has_errors());
    let is_placed =
        |one: &JsonDiagnostic| one.line >= Some(1) && one.column >= Some(1) && one.file.as_deref() == Some("f");
    for one in loaded.report.json(&loaded.sources).diagnostics {
        let has_no_place = PLACELESS.iter().any(|code| code.id() == one.code);
        assert!(is_placed(&one) || has_no_place, "{one:?}");
    }
    assert!(!loaded.report.render(&loaded.sources, Paint::Plain).contains('\0'));
}

#[test]
fn the_sample_is_clean_but_for_two_unknown_services() {
    assert_eq!(
        lines(SAMPLE),
        [
            "11:14: error[MESH0201]: no file defines the service `other.shop.svc.cluster.local`, and the mesh calls known services only",
            "19:117: error[MESH0201]: no file defines the service `t.default.svc.cluster.local`, and the mesh calls known services only"
        ]
    );
}

#[test]
fn a_sample_that_is_cut_anywhere_is_read_or_refused() {
    for (end, _) in SAMPLE.char_indices() {
        read(&SAMPLE.as_bytes()[..end]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }

    #[test]
    fn a_changed_sample_never_panics(at in 0..SAMPLE.len(), with in "[-\\[\\]{}:,#&*!|>'\"%@` a0/~\n]{1,3}") {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        bytes.splice(at..(at + with.len()).min(SAMPLE.len()), with.bytes());
        read(&bytes);
    }

    #[test]
    fn any_value_of_any_field_never_panics(
        field in "(mesh|services|destinations|routes|profiles|gateways|mtls|authorization|workloads)",
        value in "[\\[{]?[a-z]{1,9}: ?[\\[{]?[-a-z0-9.*/:]{0,9}[\\]}]?[\\]}]?",
    ) {
        read(format!("{field}: {value}\n").as_bytes());
    }
}
