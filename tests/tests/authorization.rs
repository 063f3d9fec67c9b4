//! What authorization policies do beyond allowing and denying, over sockets: marks and trials.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;

use http::Request;
use mesh_core::workload::Workload;
use mesh_tests::seeds::secured;
use mesh_tests::world::{generation, send, until};
use mesh_tests::{Backend, World};
use mesh_tower::Mesh;
use mesh_tower::client::Client;
use serde_json::Value;
use tokio::net::TcpListener;

const AUDIT: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: records, namespace: shop }
spec:
  action: AUDIT
  rules: [{ to: [{ operation: { paths: [/records*] } }] }]
";

/// Only reads of `/records` and all of `/free` would be allowed, and nothing of `/free/now`.
const TRIAL: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: soon, namespace: shop, annotations: { istio.io/dry-run: 'true' } }
spec:
  rules:
    - to: [{ operation: { paths: [/records*], methods: [GET] } }, { operation: { paths: [/free*] } }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: never, namespace: shop, annotations: { istio.io/dry-run: 'true' } }
spec:
  action: DENY
  rules: [{ to: [{ operation: { paths: [/free/now] } }] }]
";

const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: keep, namespace: shop }
spec:
  action: DENY
  rules: [{ to: [{ operation: { methods: [DELETE] } }] }]
";

/// Orders behind its mesh, and a caller.
struct Scene {
    world: World,
    backend: Backend,
    mesh: Mesh,
    log: PathBuf,
    client: Client,
    _web: Mesh,
}

impl Scene {
    async fn new(policies: &[&str]) -> Self {
        let (world, backend) = (World::new(), Backend::start("orders").await);
        let log = world.folder("logs").join("access.log");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.write("orders.yaml", &secured("shop", "orders", "orders", address));
        world.write("rules.yaml", &policies.join("---\n"));
        let (web, client) = world.client("shop", "web").await;
        let settings = format!(
            "mesh: {{ access_log: {{ path: {}, encoding: json }} }}\n",
            log.display()
        );
        world.write("mesh.yaml", &settings);
        let mesh = world
            .mesh(&Workload::new("shop", "orders").label("app", "orders"))
            .await;
        let (serving, app) = (mesh.clone(), backend.router());
        tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
        Self {
            world,
            backend,
            mesh,
            log,
            client,
            _web: web,
        }
    }

    async fn status(&self, method: &str, path: &str) -> u16 {
        let request = Request::builder().method(method).uri(format!("http://orders{path}"));
        send(&self.client, request).await.unwrap().status
    }

    #[track_caller]
    fn counts(&self, line: &str) {
        let metrics = self.mesh.metrics().render();
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }

    /// The server's lines of the access log, once there are so many.
    async fn logged(&self, count: usize) -> Vec<Value> {
        let lines = || -> Vec<Value> {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            lines.filter(|line: &Value| line["reporter"] == "destination").collect()
        };
        until("the server has logged", || lines().len() >= count).await;
        lines()
    }
}

#[tokio::test]
async fn audit_marks_requests_whatever_is_decided() {
    let scene = Scene::new(&[AUDIT, DENY]).await;

    assert_eq!(scene.status("GET", "/records/1").await, 200);
    assert_eq!(scene.status("DELETE", "/records/1").await, 403);
    assert_eq!(scene.status("GET", "/else").await, 200);

    assert_eq!(scene.backend.hits(), 2);
    scene.counts("mesh_authorization_audited_total 2");
    scene.counts("mesh_authorization_trial_total{decision=\"allow\"} 0");
    let lines = scene.logged(3).await;
    let audited: Vec<_> = lines.iter().map(|line| (&line["path"], &line["audited_by"])).collect();
    assert_eq!(audited[0], (&Value::from("/records/1"), &Value::from("shop/records")));
    assert_eq!(audited[1], audited[0]);
    assert_eq!(audited[2], (&Value::from("/else"), &Value::Null));
    assert_eq!(lines[1]["response_code_details"], "rbac_access_denied");
}

#[tokio::test]
async fn what_is_on_trial_changes_nothing_and_is_counted() {
    let scene = Scene::new(&[TRIAL, DENY]).await;

    for (method, path, status) in [
        ("GET", "/records/1", 200),
        ("POST", "/records/1", 200),
        ("GET", "/free", 200),
        ("GET", "/free/now", 200),
        ("DELETE", "/free", 403),
    ] {
        assert_eq!(scene.status(method, path).await, status, "{method} {path}");
    }

    assert_eq!(scene.backend.hits(), 4);
    scene.counts("mesh_authorization_trial_total{decision=\"allow\"} 3");
    scene.counts("mesh_authorization_trial_total{decision=\"deny\"} 2");
    scene.counts("mesh_authorization_audited_total 0");
    let lines = scene.logged(5).await;
    let trials: Vec<_> = lines.iter().map(|line| line["trial"].as_str().unwrap()).collect();
    assert_eq!(trials, ["allow", "deny", "allow", "deny", "allow"]);
}

#[tokio::test]
async fn a_trial_that_ends_holds_for_the_next_request() {
    let scene = Scene::new(&[TRIAL]).await;
    assert_eq!(scene.status("POST", "/records/1").await, 200);

    scene.world.write("rules.yaml", &TRIAL.replace("'true'", "'false'"));
    generation(&scene.mesh, 2).await;

    assert_eq!(scene.status("GET", "/free/now").await, 403);
    assert_eq!(scene.status("POST", "/records/1").await, 403);
    assert_eq!(scene.status("GET", "/records/1").await, 200);
    assert_eq!(scene.logged(4).await.last().unwrap()["trial"], Value::Null);
}
