//! Zero trust: strict mTLS, one caller allowed, all else refused, certificates rotated while it runs.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use axum::Router;
use axum::routing::get;
use http::Request;
use mesh_core::workload::Workload;
use mesh_examples::Workshop;
use mesh_tower::Body;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

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
  ledger:
    endpoints: [{{ address: \"{address}\", service_account: ledger }}]
authorization:
  - name: readers
    service: ledger
    allow: [{{ from: [cluster.local/ns/shop/sa/reports], methods: [GET], paths: [\"/entries*\"] }}]
"
        ),
    )?;
    let mesh = workshop
        .builder(Workload::new("shop", "ledger").label("app", "ledger"))?
        .build()
        .await?;
    let app = Router::new().route("/entries", get(|| async { "entries" }));
    tokio::spawn(async move { mesh.serve(listener, app).await });

    for (account, path, expected) in [
        ("reports", "/entries", 200),
        ("reports", "/admin", 403),
        ("web", "/entries", 403),
    ] {
        let mesh = workshop.builder(Workload::new("shop", account))?.build().await?;
        let request = Request::get(format!("http://ledger{path}")).body(Body::empty())?;
        let status = mesh.client().send(request).await?.status();
        println!("{account:>8} GET {path:<9} {status}");
        anyhow::ensure!(status == expected);
    }

    let mut plain = TcpStream::connect(address).await?;
    plain
        .write_all(b"GET /entries HTTP/1.1\r\nhost: ledger\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    // The connection is closed, or reset; either way nothing is said.
    let _ = plain.read_to_end(&mut answer).await;
    println!("plain text gets {} bytes", answer.len());
    anyhow::ensure!(answer.is_empty());

    // New certificates: the file is replaced, the service goes on.
    workshop.identity("shop", "ledger")?;
    let mesh = workshop.builder(Workload::new("shop", "reports"))?.build().await?;
    let request = Request::get("http://ledger/entries").body(Body::empty())?;
    println!("after the rotation: {}", mesh.client().send(request).await?.status());
    Ok(())
}
