//! Callers that try to steer what protects others.

use mesh_core::policy::Loaded;
use mesh_tests::world::{get, send};
use mesh_tower::Body;

use super::*;

/// K3: deadlines that have passed, answers that blame the caller and calls that are given up eject nobody.
#[tokio::test]
async fn failures_that_callers_make_themselves() {
    let (world, backend) = (World::new(), Backend::start("orders").await);
    let text = format!(
        "namespace: shop
services:
  orders:
    endpoints: [\"{}\"]
    outliers: {{ consecutive_5xx: 1, consecutive_gateway_errors: 1, interval: 10ms, base_ejection: 1h, max_ejected_percent: 100 }}
    limits: {{ requests: 10 }}\n",
        backend.address
    );
    world.write("orders.yaml", &text);
    let (mesh, client) = world.client("shop", "web").await;

    backend.answer_with(404);
    for _ in 0..500 {
        assert_eq!(get(&client, "http://orders/").await.unwrap().status, 404);
    }
    backend.answer_with(200);
    for limit in ["0n", "1n", "1u"] {
        for _ in 0..200 {
            let call = http::Request::post("http://orders/hold")
                .header("content-type", "application/grpc")
                .header("grpc-timeout", limit);
            let answer = send(&client, call).await.unwrap();
            assert_eq!(answer.headers["grpc-status"], "4", "{answer:?}");
        }
    }
    for _ in 0..500 {
        let request = http::Request::get("http://orders/hold").body(Body::empty()).unwrap();
        let given_up = tokio::time::timeout(Duration::from_micros(500), client.send(request)).await;
        assert!(given_up.is_err());
    }

    let metrics = mesh.metrics().render();
    assert!(
        !metrics.contains("mesh_outlier_ejections_total{service=\"orders.shop.svc.cluster.local\"} 1"),
        "{metrics}"
    );
    // All places are free again.
    let calls = (0..10).map(|_| get(&client, "http://orders/"));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap().status, 200);
    }
}

/// I16: the order of the way in is the library's, not the application's: each request is judged once, also behind a layer that
/// retries.
#[tokio::test]
async fn a_request_is_judged_once() {
    let scene = Scene::new().await;
    let audit = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: all, namespace: shop }
spec: { action: AUDIT, rules: [{}] }
";
    scene.world.write("audit.yaml", audit);
    let retried =
        secured("shop", "orders", "orders", scene.address) + "    routes: [{ retry: { attempts: 2, on: [5xx] } }]\n";
    scene.world.write("orders.yaml", &retried);
    let audits = || scene.mesh.policy_status().files.len() == 3;
    mesh_tests::world::until("the policies are read", audits).await;
    let (_web, client) = scene.world.client("shop", "web").await;
    scene.backend.fail(2);
    let answer = get(&client, "http://orders/").await.unwrap();
    assert_eq!(answer.status, 200, "two tries failed, the third did not");
    for _ in 0..7 {
        scene.lives().await;
    }
    let metrics = scene.mesh.metrics().render();
    assert!(metrics.contains("mesh_authorization_audited_total 10\n"), "{metrics}");
    assert_eq!(scene.backend.hits(), 10);
}

/// B15: no two rules for one host leave the weaker demand in force: what could is refused, and TLS on a port is TLS for all.
#[test]
fn demands_of_tls_that_conflict() {
    let gateway = |servers: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{ name: door, namespace: shop }}\nspec: {{ selector: {{ app: door }}, servers: [{servers}] }}\n"
        )
    };
    let server = |tls: &str| {
        format!("{{ port: {{ number: 443, name: https, protocol: HTTPS }}, hosts: [a.example.com], tls: {{ {tls} }} }}")
    };
    let simple = server("mode: SIMPLE, credentialName: shop");
    for demand in [
        "mode: MUTUAL, credentialName: shop",
        "mode: OPTIONAL_MUTUAL, credentialName: shop",
        "mode: ISTIO_MUTUAL",
    ] {
        for servers in [
            server(demand),
            format!("{simple}, {}", server(demand)),
            format!("{}, {simple}", server(demand)),
        ] {
            let text = gateway(&servers);
            let loaded = Loaded::from_files([("gateway.yaml", text.as_bytes())]).in_force();
            assert!(loaded.policy.is_none(), "{servers}: taken");
        }
    }
}
