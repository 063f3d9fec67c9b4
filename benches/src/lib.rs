//! Policies of any size, for the benchmarks.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a benchmark of a policy that is none has nothing to measure"
)]

use std::fmt::Write as _;

use mesh_core::policy::Loaded;
use mesh_core::snapshot::Snapshot;
use mesh_core::workload::Workload;

/// The snapshot of a policy for the workload `orders` in `shop`.
#[must_use]
pub fn snapshot(policy: &str) -> Snapshot {
    let loaded = Loaded::from_files([("policy.yaml", policy.as_bytes())]);
    let policy = loaded.policy.as_ref().expect("a policy without errors");
    let workload = Workload::new("shop", "orders").label("app", "orders");
    Snapshot::compile(policy, &workload, 1).expect("a policy that compiles")
}

/// A service with `rules` routes by prefix and header; the last one takes what no other does.
#[must_use]
pub fn routes(rules: usize) -> String {
    let mut text = String::from("namespace: shop\nservices:\n  orders:\n    endpoints: [10.0.0.1:80]\n    routes:\n");
    for number in 1..rules {
        let _ = writeln!(
            text,
            "      - {{ match: {{ path: {{ prefix: /api/v{number} }}, headers: {{ x-tenant: t{number} }} }}, timeout: 1s }}"
        );
    }
    text.push_str("      - { timeout: 2s }\n");
    text
}

/// A service with `endpoints` endpoints.
#[must_use]
pub fn endpoints(endpoints: usize) -> String {
    let mut text = String::from("namespace: shop\nservices:\n  orders:\n    endpoints:\n");
    for number in 0..endpoints {
        let (high, middle, low) = (number / 65_536, number / 256 % 256, number % 256);
        let _ = writeln!(text, "      - 10.{high}.{middle}.{low}:80");
    }
    text
}

/// `rules` rules that each let one caller do one thing.
#[must_use]
pub fn authorization(rules: usize) -> String {
    let mut text = String::from("namespace: shop\nauthorization:\n  - name: api\n    service: orders\n    allow:\n");
    for number in 0..rules {
        let _ = writeln!(
            text,
            "      - {{ from: [cluster.local/ns/shop/sa/s{number}], methods: [GET], paths: [\"/api/v{number}/*\"] }}"
        );
    }
    text
}
