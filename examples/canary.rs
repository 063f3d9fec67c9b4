//! A canary release: 10 % to v2, testers by header, then all of it, by editing a file.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use axum::Router;
use axum::routing::get;
use http::Request;
use mesh_core::workload::Workload;
use mesh_examples::{Workshop, text};
use mesh_tower::Body;
use mesh_tower::client::Client;
use tokio::net::TcpListener;

/// Starts a version of the service in plain text; gives its address.
async fn version(name: &'static str) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/", get(move || async move { name }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address.to_string())
}

fn policy(addresses: &[String; 2], v2: u32) -> String {
    let [first, second] = addresses;
    format!(
        "
services:
  orders:
    endpoints:
      - {{ address: \"{first}\", labels: {{ version: v1 }} }}
      - {{ address: \"{second}\", labels: {{ version: v2 }} }}
    subsets: {{ v1: {{ version: v1 }}, v2: {{ version: v2 }} }}
    routes:
      - {{ name: testers, match: {{ headers: {{ x-version: canary }} }}, to: v2 }}
      - {{ name: canary, to: {{ v1: {}, v2: {v2} }} }}
",
        100 - v2
    )
}

async fn share_of_v2(client: &Client) -> anyhow::Result<usize> {
    let mut hits = 0;
    for _ in 0..1_000 {
        let response = client.send(Request::get("http://orders/").body(Body::empty())?).await?;
        hits += usize::from(text(response).await? == "v2");
    }
    Ok(hits)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let workshop = Workshop::open()?;
    let addresses = [version("v1").await?, version("v2").await?];
    workshop.write("orders.yaml", &policy(&addresses, 10))?;
    let mesh = workshop.builder(Workload::default())?.build().await?;
    let client = mesh.client();

    let hits = share_of_v2(&client).await?;
    println!("canary at 10 %: {hits} of 1000 requests");
    anyhow::ensure!((50..=150).contains(&hits));

    let tester = Request::get("http://orders/")
        .header("x-version", "canary")
        .body(Body::empty())?;
    println!("a tester gets {}", text(client.send(tester).await?).await?);

    workshop.write("orders.yaml", &policy(&addresses, 100))?;
    mesh.generations().wait_for(|generation| *generation >= 2).await?;
    let hits = share_of_v2(&client).await?;
    println!("after the edit: {hits} of 1000 requests");
    anyhow::ensure!(hits == 1_000);
    Ok(())
}
