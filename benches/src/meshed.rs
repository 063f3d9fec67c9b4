//! The same hop through the mesh: client and server with routes, retries, outlier detection, authorization and metrics.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use http::{Request, Uri};
use http_body_util::BodyExt;
use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_core::workload::Workload;
use mesh_tls::authority::DevCa;
use mesh_tower::client::Client;
use mesh_tower::{Body, Mesh};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::Sending;
use crate::call::Call;

/// Files do not change while a benchmark runs.
const POLL: Duration = Duration::from_secs(3600);

/// What a hop is made with.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// Names the policy file.
    pub name: &'static str,
    /// The mode of mTLS: `disable` or `strict`.
    pub mtls: &'static str,
    /// The version of HTTP: `h1` or `h2`.
    pub http: &'static str,
    /// What is asked.
    pub call: Call,
}

/// Where policies and identities are kept, and who signs these.
#[derive(Debug)]
pub struct World {
    directory: TempDir,
    ca: DevCa,
}

impl World {
    /// An empty one.
    ///
    /// # Panics
    ///
    /// Where no directory can be made.
    #[must_use]
    pub fn new() -> Self {
        let domain = TrustDomain::parse("cluster.local").unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            ca: DevCa::new(domain, SystemTime::now()).unwrap(),
        }
    }

    /// A caller and a server behind meshes of their own, with routes, retries, outlier detection and authorization.
    ///
    /// # Panics
    ///
    /// Where a socket cannot be opened.
    pub async fn hop(&self, app: Router, hop: Hop) -> impl Fn() -> Sending + use<> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let policy = self.directory.path().join(format!("{}.yaml", hop.name));
        std::fs::write(&policy, text(&listener.local_addr().unwrap().to_string(), hop)).unwrap();
        let workload = Workload::new("shop", "orders").label("app", "orders");
        let server = self.start(&policy, workload).await;
        let caller = self.start(&policy, Workload::new("shop", "web")).await;
        tokio::spawn(async move { server.serve(listener, app).await });
        let client: Arc<(Client, Mesh)> = Arc::new((caller.client(), caller));
        let uri = Uri::from_static("http://orders/api/orders");
        move || send(Arc::clone(&client), hop.call.request(uri.clone()).map(Body::from))
    }

    async fn start(&self, policy: &Path, workload: Workload) -> Mesh {
        let identity = self.directory.path().join(&workload.service_account);
        let (namespace, account) = (&workload.namespace, &workload.service_account);
        let id = SpiffeId::for_workload(self.ca.trust_domain(), namespace, account).unwrap();
        let (day, now) = (Duration::from_secs(86_400), SystemTime::now());
        self.ca.write_workload(&identity, &id, day, now).unwrap();
        let builder = Mesh::builder().policy(policy).identity_directory(identity);
        let builder = builder.workload(workload).poll(POLL);
        builder.without_admin().build().await.unwrap()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn send(client: Arc<(Client, Mesh)>, request: Request<Body>) -> Sending {
    Box::pin(async move {
        let response = client.0.send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap().to_bytes().len()
    })
}

fn text(address: &str, Hop { mtls, http, call, .. }: Hop) -> String {
    let method = call.method();
    let from = match mtls {
        "strict" => "from: [cluster.local/ns/shop/sa/web], ",
        _ => "",
    };
    format!(
        "
namespace: shop
mesh: {{ mtls: {mtls} }}
services:
  orders:
    endpoints: [{{ address: \"{address}\", service_account: orders }}]
    routes:
      - {{ match: {{ headers: {{ x-version: canary }} }}, timeout: 1s }}
      - {{ match: {{ path: {{ prefix: /api }} }}, timeout: 10s, retry: {{ attempts: 2, on: [5xx, connect-failure] }} }}
    limits: {{ http: {http}, requests: 1000 }}
    outliers: {{ consecutive_5xx: 5 }}
authorization:
  - {{ name: api, service: orders, allow: [{{ {from}methods: [{method}], paths: [\"/api/*\"] }}] }}
"
    )
}
