//! Orders behind its mesh, a caller, and an authorizer.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::Request;
use mesh_core::workload::Workload;
use mesh_tests::seeds::secured;
use mesh_tests::world::{send, send_body, until};
use mesh_tests::{Answer, Backend, World};
use mesh_tower::client::Client;
use mesh_tower::{Body, Mesh};
use serde_json::Value;
use tokio::net::TcpListener;

/// Requests below `/admin` are asked about.
pub(super) const CUSTOM: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  action: CUSTOM
  provider: { name: authz }
  rules: [{ to: [{ operation: { paths: [/admin*] } }] }]
";

/// Istio's settings of an authorizer over HTTP, with these further fields.
pub(super) fn http_provider(fields: &str) -> String {
    provider("envoyExtAuthzHttp", fields)
}

/// The same over gRPC.
pub(super) fn grpc_provider(fields: &str) -> String {
    provider("envoyExtAuthzGrpc", fields)
}

fn provider(kind: &str, fields: &str) -> String {
    format!(
        "
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  meshConfig:
    accessLogFile: LOG
    accessLogEncoding: JSON
    extensionProviders:
      - name: authz
        {kind}: {{ service: authz.shop.svc.cluster.local, port: 80, {fields} }}
"
    )
}

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) orders: Backend,
    pub(super) mesh: Mesh,
    pub(super) client: Client,
    pub(super) log: PathBuf,
    pub(super) address: SocketAddr,
    _web: Mesh,
}

impl Scene {
    /// `authorizer` is where the service `authz` is, `provider` the settings of the mesh.
    pub(super) async fn new(authorizer: SocketAddr, provider: &str, policies: &[&str]) -> Self {
        let services = format!("namespace: shop\nservices:\n  authz: {{ endpoints: [\"{authorizer}\"] }}\n");
        Self::with_services(&services, provider, policies).await
    }

    /// The same with a service `authz` of one's own.
    pub(super) async fn with_services(services: &str, provider: &str, policies: &[&str]) -> Self {
        Self::in_world(World::new(), services, provider, policies).await
    }

    pub(super) async fn in_world(world: World, services: &str, provider: &str, policies: &[&str]) -> Self {
        let orders = Backend::start("orders").await;
        let log = world.folder("logs").join("access.log");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.write("orders.yaml", &secured("shop", "orders", "orders", address));
        world.write("authz.yaml", services);
        let (web, client) = world.client("shop", "web").await;
        world.write("mesh.yaml", &provider.replace("LOG", &log.display().to_string()));
        world.write("rules.yaml", &policies.join("---\n"));
        let workload = Workload::new("shop", "orders").label("app", "orders");
        let mesh = world.mesh(&workload).await;
        let (serving, app) = (mesh.clone(), orders.router());
        tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
        Self {
            world,
            orders,
            mesh,
            client,
            log,
            address,
            _web: web,
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(format!("http://orders{path}"))).await
    }

    pub(super) async fn send(&self, request: http::request::Builder) -> Answer {
        send(&self.client, request).await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(format!("http://orders{path}"));
        send_body(&self.client, request, body.into()).await.unwrap()
    }

    /// How often the authorizer was asked with this result.
    pub(super) fn checks(&self, result: &str) -> u64 {
        let start = format!("mesh_ext_authz_total{{provider=\"authz\",result=\"{result}\"}} ");
        let metrics = self.mesh.metrics().render();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        line.map_or(0, |count| count.parse().unwrap())
    }

    /// The server's lines of the access log, once there are so many.
    pub(super) async fn logged(&self, count: usize) -> Vec<Value> {
        let lines = || -> Vec<Value> {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            lines.filter(|line: &Value| line["reporter"] == "destination").collect()
        };
        until("the server has logged", || lines().len() >= count).await;
        lines()
    }
}
