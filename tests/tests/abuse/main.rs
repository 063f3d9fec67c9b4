//! Peers that abuse the protocols: what a server, a gateway and a client of the mesh do about each, and that they go on.
//!
//! The ids in the comments are those of the table in docs/security.md.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking, and tells its figures"
)]

mod http1;
mod http2;
mod reload;
mod steering;
mod tls;
mod upstream;

use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::workload::Workload;
use mesh_tests::seeds::secured;
use mesh_tests::{Backend, World};
use mesh_tower::Mesh;
use mesh_tower::mesh::MeshBuilder;
use tokio::net::TcpListener;

/// Orders behind its mesh, on a port that takes plain text, too.
struct Scene {
    world: World,
    backend: Backend,
    mesh: Mesh,
    address: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(change: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Self {
        let (world, backend) = (World::new(), Backend::start("orders").await);
        let rules = "namespace: shop\nauthorization:\n  - { name: no-admin, service: orders, deny: [{ paths: [\"/admin*\"] }] }\n";
        world.write("rules.yaml", rules);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.write("orders.yaml", &secured("shop", "orders", "orders", address));
        let builder = world.builder(&Workload::new("shop", "orders").label("app", "orders"));
        let mesh = change(builder).build().await.unwrap();
        let (serving, app) = (mesh.clone(), backend.router());
        tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
        Self {
            world,
            backend,
            mesh,
            address,
        }
    }

    /// The server serves who behaves.
    async fn lives(&self) {
        let answer = mesh_tests::world::plain_text(self.address, "/alive").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// How many peers were cut for this reason.
    fn cut(&self, reason: &str) -> u64 {
        let name = format!("mesh_peers_cut_total{{reason=\"{reason}\"}} ");
        let text = self.mesh.metrics().render();
        let line = text.lines().find_map(|line| line.strip_prefix(&*name));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
    }
}

/// A time that a test can wait for, where the default is for production.
const SHORT: Duration = Duration::from_millis(300);
