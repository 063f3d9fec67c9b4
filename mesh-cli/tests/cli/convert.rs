//! `mesh convert` and `mesh schema`.

use crate::mesh::{Folder, keys};
use crate::seeds::seeds;

const ISTIO: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: shop, creationTimestamp: \"2026-01-31T12:00:00Z\" }
spec:
  hosts: [reviews]
  http:
  - match: [{ uri: { prefix: /api }, headers: { end-user: { exact: jason } } }]
    rewrite: { uri: /v2 }
    route: [{ destination: { host: reviews, subset: v2 } }]
    retries: { attempts: 2, retryOn: \"5xx,retriable-status-codes,409\" }
  - fault: { delay: { fixedDelay: 7s, percentage: { value: 10 } } }
    route:
    - { destination: { host: reviews, subset: v1 }, weight: 3 }
    - { destination: { host: reviews, subset: v3 }, weight: 1 }
";

#[test]
fn a_policy_is_printed_in_the_native_dialect() {
    let folder = Folder::new(&[("istio.yaml", ISTIO)]);
    let run = folder.mesh(&["convert", "policy"]);
    let warning = "warning[MESH0506]: no file defines subsets of `reviews.shop.svc.cluster.local`, such as `v2`\n";
    assert!(run.code == 0 && run.err.starts_with(warning), "{run:#?}");
    assert_eq!(
        run.out,
        "\
namespace: shop
routes:
- name: reviews
  hosts:
  - reviews.shop.svc.cluster.local
  created: \"2026-01-31T12:00:00Z\"
  rules:
  - match:
      path:
        prefix: /api
      headers:
        end-user: jason
    to:
    - service: reviews.shop.svc.cluster.local
      subset: v2
    rewrite:
      path:
        prefix: /v2
    retry:
      attempts: 2
      \"on\":
      - 5xx
      - retriable-status-codes
      - 409
  - to:
    - service: reviews.shop.svc.cluster.local
      subset: v1
      weight: 3
    - service: reviews.shop.svc.cluster.local
      subset: v3
      weight: 1
    fault:
      delay:
        duration: 7s
        percent: 10.0
"
    );
}

#[test]
fn seeds_mean_the_same_when_they_are_converted() {
    for path in seeds() {
        let folder = Folder::new(&[]);
        let seed = path.to_str().unwrap();
        let run = folder.mesh(&["convert", "--to", "native", seed]);
        assert_eq!(run.code, 0, "{seed}: {}", run.err);
        folder.write("../native.yaml", run.out.as_bytes());
        let diff = folder.mesh(&["diff", seed, "native.yaml"]);
        assert_eq!(diff.code, 0, "{seed}: {}{}", diff.out, diff.err);
        let again = folder.mesh(&["convert", "native.yaml"]);
        assert_eq!(again.out, run.out, "{seed}");
    }
}

#[test]
fn what_is_not_yet_in_force_stays_so() {
    let folder = Folder::new(&[(
        "s.yaml",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: { name: w }\n\
         spec: { hosts: ['*.wikipedia.org'], resolution: NONE, ports: [{ number: 443, name: tls, protocol: TLS }] }\n",
    )]);
    let run = folder.mesh(&["convert", "policy"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("warning[MESH0401]"), "{}", run.err);
    folder.write("../native.yaml", run.out.as_bytes());
    let check = folder.mesh(&["check", "-o", "json", "native.yaml"]).json();
    let codes: Vec<&str> = check["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["code"].as_str().unwrap())
        .collect();
    assert!(codes.contains(&"MESH0401"), "{codes:?} of {}", run.out);
}

#[test]
fn errors_exit_1_and_print_nothing() {
    let folder = Folder::new(&[("istio.yaml", &ISTIO.replace("attempts", "attempt"))]);
    let run = folder.mesh(&["convert", "policy"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(
        run.err.contains("error[MESH0101]: unknown field `attempt`"),
        "{}",
        run.err
    );
    assert_eq!(folder.mesh(&["convert", "nowhere"]).code, 2);
}

#[test]
fn the_schema_describes_every_section() {
    let folder = Folder::new(&[]);
    let run = folder.mesh(&["schema"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let schema = run.json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let sections = keys(&schema["properties"]);
    for section in mesh_core::policy::dialect::native::SECTIONS {
        assert!(
            sections.iter().any(|known| known == section),
            "{section} of {sections:?}"
        );
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn what_hangs_on_a_gateway_that_no_file_defines_is_told_to_be_left_out() {
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: shop }\n\
                 spec: { parentRefs: [{ name: front }], rules: [{ backendRefs: [{ name: orders, port: 80 }] }] }\n";
    let folder = Folder::new(&[("route.yaml", route)]);
    let run = folder.mesh(&["convert", "policy"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:#?}");
    for line in [
        "warning[MESH0506]: no file defines the gateway `shop/front`",
        "help: its routes are served where a file defines it, and are left out here",
        "error: nothing is left to print",
    ] {
        assert!(run.err.contains(line), "{line}: {run:#?}");
    }
    folder.write(
        "../policy/orders.yaml",
        b"services: { orders: { endpoints: [10.0.0.4:80] } }\n",
    );
    let run = folder.mesh(&["convert", "policy"]);
    assert!(run.code == 0 && !run.out.contains("routes"), "{run:#?}");
    assert!(run.err.contains("left out here"), "{run:#?}");
}
