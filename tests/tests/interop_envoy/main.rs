//! Envoy as it stands in an Istio mesh, on the other side of our connections: both directions, HTTP/1.1 and HTTP/2, TLS
//! 1.2 and 1.3, right and wrong identities, rotation, gRPC.
//!
//! `MESH_ENVOY` names the binary; `.ci/run` fetches one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod called;
mod calling;
mod envoy;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mesh_core::identity::SpiffeId;
use mesh_tests::World;
use mesh_tls::authority::{DevCa, Issued};
use serde_json::json;

use envoy::Context;

/// What Istio's sidecars offer for HTTP/1.1 and HTTP/2: their own names first.
const ISTIO: [&[&str]; 2] = [&["istio-http/1.1", "istio", "http/1.1"], &["istio-h2", "istio", "h2"]];
const PLAIN: [&[&str]; 2] = [&["http/1.1"], &["h2"]];
const VERSIONS: [&str; 2] = ["TLSv1_2", "TLSv1_3"];

const ORDERS: &str = "spiffe://cluster.local/ns/shop/sa/orders";

/// An identity of the namespace `shop`.
fn issue(ca: &DevCa, account: &str) -> Issued {
    let id = SpiffeId::for_workload(ca.trust_domain(), "shop", account).unwrap();
    ca.issue(&id, Duration::from_secs(3600), SystemTime::now()).unwrap()
}

/// An Envoy that takes exactly this peer, in every way that Istio can ask for.
fn expecting(id: &str) -> Context {
    Context {
        version: "TLSv1_3",
        alpn: PLAIN[0],
        peer: json!({ "exact": id }),
    }
}

/// A request in HTTP/1.1 to a plain listener, with more lines in its head; all that comes back.
async fn ask(address: SocketAddr, path: &str, lines: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n{lines}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let limit = Duration::from_secs(20);
    let read = tokio::time::timeout(limit, stream.read_to_end(&mut answer)).await;
    read.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

/// A world, and a folder for an Envoy in it.
fn world() -> (World, std::path::PathBuf) {
    let world = World::new();
    let folder = world.folder("envoy");
    (world, folder)
}

/// The binary, or the end of the test.
#[macro_export]
macro_rules! envoy {
    () => {
        match $crate::envoy::binary() {
            Some(binary) => binary,
            None => return,
        }
    };
}
