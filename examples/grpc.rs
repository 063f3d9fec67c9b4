//! gRPC with tonic: a server behind mTLS and authorization, a client with retries, statuses on both sides.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::post;
use http::uri::PathAndQuery;
use mesh_core::workload::Workload;
use mesh_examples::Workshop;
use mesh_tower::client::Client;
use tokio::net::TcpListener;
use tonic::server::UnaryService;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

/// The messages, as `prost-build` would write them.
#[derive(Clone, PartialEq, prost::Message)]
struct Hello {
    #[prost(string, tag = "1")]
    name: String,
}

/// Greets; is unavailable once.
#[derive(Clone, Default)]
struct Greeter {
    calls: Arc<AtomicUsize>,
}

impl UnaryService<Hello> for Greeter {
    type Response = Hello;
    type Future = Ready<Result<Response<Hello>, Status>>;

    fn call(&mut self, request: Request<Hello>) -> Self::Future {
        ready(match self.calls.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Status::unavailable("starting")),
            _ => Ok(Response::new(Hello {
                name: format!("hello {}", request.into_inner().name),
            })),
        })
    }
}

/// What `tonic-build` generates for a client, by hand.
async fn call(client: Client, path: &'static str, name: &str) -> Result<String, Status> {
    let mut grpc = tonic::client::Grpc::with_origin(client, http::Uri::from_static("http://greeter"));
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let request = Request::new(Hello { name: name.to_owned() });
    let codec = ProstCodec::<Hello, Hello>::default();
    let response = grpc.unary(request, PathAndQuery::from_static(path), codec).await?;
    Ok(response.into_inner().name)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let workshop = Workshop::open()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    workshop.write(
        "mesh.yaml",
        &format!(
            "
namespace: shop
mesh: {{ mtls: strict }}
services:
  greeter:
    ports: [{{ number: 80, protocol: grpc }}]
    endpoints: [{{ address: \"{address}\", service_account: greeter }}]
    retry: {{ attempts: 2, on: [unavailable] }}
authorization:
  - name: greet
    service: greeter
    allow: [{{ from: [cluster.local/ns/shop/sa/web], paths: [/greeter.Greeter/Hello] }}]
"
        ),
    )?;

    let mesh = workshop
        .builder(Workload::new("shop", "greeter").label("app", "greeter"))?
        .build()
        .await?;
    let greeter = Greeter::default();
    let calls = Arc::clone(&greeter.calls);
    let hello = move |request: http::Request<axum::body::Body>| async move {
        tonic::server::Grpc::new(ProstCodec::<Hello, Hello>::default())
            .unary(greeter.clone(), request)
            .await
    };
    let app = Router::new().route("/greeter.Greeter/Hello", post(hello));
    tokio::spawn(async move { mesh.serve(listener, app).await });

    let web = workshop.builder(Workload::new("shop", "web"))?.build().await?;
    let answer = call(web.client(), "/greeter.Greeter/Hello", "tonic").await?;
    println!("{answer}, after {} calls", calls.load(Ordering::SeqCst));
    anyhow::ensure!(answer == "hello tonic" && calls.load(Ordering::SeqCst) == 2);

    let stranger = workshop.builder(Workload::new("shop", "stranger"))?.build().await?;
    let denied = call(stranger.client(), "/greeter.Greeter/Hello", "stranger").await;
    println!("a stranger gets {denied:?}");
    anyhow::ensure!(denied.is_err_and(|status| status.code() == Code::PermissionDenied));
    Ok(())
}
