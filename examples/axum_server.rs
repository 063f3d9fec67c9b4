//! An axum service behind mTLS, served by `axum::serve`, and a client that calls it.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use axum::Router;
use axum::routing::get;
use http::Request;
use mesh_core::workload::Workload;
use mesh_examples::{Workshop, text};
use mesh_tower::Body;
use mesh_tower::server::{Identity, Peer};
use tokio::net::TcpListener;

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
  orders:
    endpoints: [{{ address: \"{address}\", service_account: orders }}]
"
        ),
    )?;

    let mesh = workshop
        .builder(Workload::new("shop", "orders").label("app", "orders"))?
        .build()
        .await?;
    let hello = |Identity(caller): Identity, peer: Peer| async move {
        format!("hello {caller} at {}", peer.remote_addr().ip())
    };
    let app = Router::new().route("/", get(hello)).layer(mesh.layer());
    let listener = mesh.listener(listener);
    tokio::spawn(async move { axum::serve(listener, app.into_make_service_with_connect_info::<Peer>()).await });

    let web = workshop.builder(Workload::new("shop", "web"))?.build().await?;
    let response = web
        .client()
        .send(Request::get("http://orders/").body(Body::empty())?)
        .await?;
    let answer = text(response).await?;

    println!("{answer}");
    anyhow::ensure!(
        answer == "hello spiffe://cluster.local/ns/shop/sa/web at 127.0.0.1",
        "{answer}"
    );
    Ok(())
}
