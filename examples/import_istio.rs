//! Istio's YAML as it is: a VirtualService, a DestinationRule and a ServiceEntry route the requests of this process.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use http::{Request, StatusCode};
use mesh_core::workload::Workload;
use mesh_examples::Workshop;
use mesh_tower::Body;
use tokio::net::TcpListener;

const POLICY: &str = r#"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: reviews }
spec:
  hosts: [reviews.example.com]
  ports: [{ number: 80, name: http, protocol: HTTP }]
  resolution: STATIC
  location: MESH_EXTERNAL
  endpoints:
    - { address: 127.0.0.1, ports: { http: PORT } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews }
spec:
  hosts: [reviews.example.com]
  http:
    - match: [{ uri: { prefix: /api } }]
      route: [{ destination: { host: reviews.example.com } }]
      timeout: 2s
      retries: { attempts: 3, perTryTimeout: 500ms, retryOn: 5xx }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews }
spec:
  host: reviews.example.com
  trafficPolicy:
    connectionPool: { http: { http2MaxRequests: 100 } }
    outlierDetection: { consecutive5xxErrors: 10, baseEjectionTime: 30s }
"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port().to_string();
    let flaky = move || async move {
        if count.fetch_add(1, Ordering::SeqCst) < 2 {
            StatusCode::BAD_GATEWAY
        } else {
            StatusCode::OK
        }
    };
    let app = Router::new().route("/api/reviews", get(flaky));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let workshop = Workshop::open()?;
    workshop.write("istio.yaml", &POLICY.replace("PORT", &port))?;
    let mesh = workshop.builder(Workload::default())?.build().await?;

    let request = Request::get("http://reviews.example.com/api/reviews").body(Body::empty())?;
    let status = mesh.client().send(request).await?.status();
    println!(
        "{status} after {} tries: retryOn 5xx is in force",
        calls.load(Ordering::SeqCst)
    );
    anyhow::ensure!(status == StatusCode::OK && calls.load(Ordering::SeqCst) == 3);

    let request = Request::get("http://reviews.example.com/other").body(Body::empty())?;
    match mesh.client().send(request).await {
        Err(error) => println!("{}: {error}", error.status()),
        Ok(response) => anyhow::bail!("{} for a path without a route", response.status()),
    }
    Ok(())
}
