//! Orders behind its mesh, which verifies tokens, and a caller.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use http::request::Builder;
use mesh_core::workload::Workload;
use mesh_tests::issuer::unix_now;
use mesh_tests::seeds::secured;
use mesh_tests::world::{send, until};
use mesh_tests::{Answer, Backend, SigningKey, World};
use mesh_tower::Mesh;
use mesh_tower::client::Client;
use mesh_tower::mesh::MeshBuilder;
use mesh_tower::server::Claims;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const ISSUER: &str = "https://id.example.com";

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) backend: Backend,
    pub(crate) mesh: Mesh,
    pub(crate) client: Client,
    /// The server's.
    pub(crate) address: SocketAddr,
    log: PathBuf,
    _web: Mesh,
}

/// A token's claims, valid for an hour.
pub(crate) fn claims(more: &Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "sub": "ann", "exp": unix_now() + 3_600 });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// A native rule with these fields, keys included.
pub(crate) fn rules(fields: &str) -> String {
    format!(
        "namespace: shop\nrequest_authentication:\n  - name: tokens\n    selector: {{ app: orders }}\n    rules:\n      - {{ issuer: \"{ISSUER}\", {fields} }}\n"
    )
}

/// The `keys` of a rule whose keys are in the policy.
pub(crate) fn inline(keys: &[&SigningKey]) -> String {
    format!("keys: {{ inline: '{}' }}", mesh_tests::issuer::key_set(keys))
}

impl Scene {
    pub(crate) async fn new(policies: &[&str]) -> Self {
        Self::with(World::new(), policies, |builder| builder).await
    }

    pub(crate) async fn with(
        world: World,
        policies: &[&str],
        configure: impl FnOnce(MeshBuilder) -> MeshBuilder,
    ) -> Self {
        let backend = Backend::start("orders").await;
        let log = world.folder("logs").join("access.log");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.write("orders.yaml", &secured("shop", "orders", "orders", address));
        for (number, policy) in policies.iter().enumerate() {
            world.write(&format!("rules-{number}.yaml"), policy);
        }
        let (web, client) = world.client("shop", "web").await;
        let settings = format!(
            "mesh: {{ access_log: {{ path: {}, encoding: json }} }}\n",
            log.display()
        );
        world.write("mesh.yaml", &settings);
        let workload = Workload::new("shop", "orders").label("app", "orders");
        let mesh = match configure(world.builder(&workload)).build().await {
            Ok(mesh) => mesh,
            Err(error) => panic!("{error}"),
        };
        let (serving, app) = (mesh.clone(), application(&backend));
        tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
        Self {
            world,
            backend,
            mesh,
            client,
            address,
            log,
            _web: web,
        }
    }

    /// The answer to a `GET` with this token.
    pub(crate) async fn bearing(&self, token: &str) -> Answer {
        let request = Request::get("http://orders/").header("authorization", format!("Bearer {token}"));
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: Builder) -> Answer {
        send(&self.client, request).await.unwrap()
    }

    /// Waits until a token gets this status.
    pub(crate) async fn until_status(&self, token: &str, status: u16) {
        let mut last = 0;
        for _ in 0..1_000 {
            last = self.bearing(token).await.status;
            if last == status {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {status}, the last was {last}");
    }

    #[track_caller]
    pub(crate) fn counts(&self, line: &str) {
        let metrics = self.mesh.metrics().render();
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }

    /// The server's lines of the access log, once there are so many.
    pub(crate) async fn logged(&self, count: usize) -> Vec<Value> {
        let lines = || -> Vec<Value> {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            lines.filter(|line: &Value| line["reporter"] == "destination").collect()
        };
        until("the server has logged", || lines().len() >= count).await;
        lines()
    }
}

/// Tells who asks at `/me` and `/maybe`; counts all else.
fn application(backend: &Backend) -> Router {
    let me =
        |claims: Claims| async move { json!({ "principal": claims.principal(), "all": claims.all() }).to_string() };
    let maybe = |claims: Option<Claims>| async move {
        claims.map_or_else(|| "nobody".to_owned(), |c| c.subject().unwrap().into())
    };
    Router::new()
        .route("/me", get(me))
        .route("/maybe", get(maybe))
        .fallback_service(backend.router())
}
