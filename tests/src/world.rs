//! A directory of policies, a certificate authority, and meshes of any workload in it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_core::workload::Workload;
use mesh_tls::authority::DevCa;
use mesh_tls::clock::Clock;
use mesh_tls::source::{IdentitySource, StaticSource};
use mesh_tower::client::{Client, Error};
use mesh_tower::clock::Entropy;
use mesh_tower::mesh::MeshBuilder;
use mesh_tower::{Body, Mesh};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// How often files are looked at in tests.
const POLL: Duration = Duration::from_millis(20);

/// A small world.
#[derive(Debug)]
pub struct World {
    directory: TempDir,
    ca: DevCa,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A world without policies.
    #[must_use]
    pub fn new() -> Self {
        let domain = TrustDomain::parse("cluster.local").unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            ca: DevCa::new(domain, SystemTime::now()).unwrap(),
        }
    }

    /// The certificate authority.
    #[must_use]
    pub fn ca(&self) -> &DevCa {
        &self.ca
    }

    /// The directory of the policies.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        let path = self.directory.path().join("policy");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Any other directory of the test.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes a policy file, as an editor does: a new file takes the place of the old one.
    pub fn write(&self, name: &str, text: &str) {
        let (path, draft) = (self.policies().join(name), self.policies().join(format!(".{name}.tmp")));
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, path).unwrap();
    }

    /// An identity that this authority vouches for.
    #[must_use]
    pub fn identity(&self, namespace: &str, account: &str) -> IdentitySource {
        let id = SpiffeId::for_workload(self.ca.trust_domain(), namespace, account).unwrap();
        let issued = self
            .ca
            .issue(&id, Duration::from_secs(3600), SystemTime::now())
            .unwrap();
        let source = StaticSource::new(issued.svid().unwrap(), self.ca.bundles().unwrap(), Clock::system());
        source.unwrap().source()
    }

    /// Describes the mesh of a workload: identity and all, but for the admin pages.
    pub fn builder(&self, workload: &Workload) -> MeshBuilder {
        Mesh::builder()
            .policy(self.policies())
            .identity(self.identity(&workload.namespace, &workload.service_account))
            .workload(workload.clone())
            .poll(POLL)
            .entropy(Entropy::seeded(7))
            .without_admin()
    }

    /// Starts the mesh of a workload.
    pub async fn mesh(&self, workload: &Workload) -> Mesh {
        match self.builder(workload).build().await {
            Ok(mesh) => mesh,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts the mesh of a workload under a policy of its own, which says nothing.
    pub async fn mesh_without_policy(&self, namespace: &str, account: &str) -> Mesh {
        let empty = self.folder("empty");
        std::fs::write(empty.join("mesh.yaml"), "mesh: {}\n").unwrap();
        let workload = Workload::new(namespace, account);
        let builder = Mesh::builder()
            .policy(empty)
            .identity(self.identity(namespace, account));
        builder.workload(workload).without_admin().build().await.unwrap()
    }

    /// Starts the mesh of a caller, and gives its client.
    pub async fn client(&self, namespace: &str, account: &str) -> (Mesh, Client) {
        let mesh = self.mesh(&Workload::new(namespace, account)).await;
        let client = mesh.client();
        (mesh, client)
    }

    /// Serves an application behind the mesh of a workload; gives its address.
    pub async fn serve(&self, mesh: &Mesh, app: axum::Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mesh = mesh.clone();
        tokio::spawn(async move { mesh.serve(listener, app).await.unwrap() });
        address
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

/// Sends a request and reads the answer.
///
/// # Errors
///
/// Those of the client.
pub async fn send(client: &Client, request: http::request::Builder) -> Result<Answer, Error> {
    send_body(client, request, Body::empty()).await
}

/// Sends a request with a body and reads the answer.
///
/// # Errors
///
/// Those of the client.
pub async fn send_body(client: &Client, request: http::request::Builder, body: Body) -> Result<Answer, Error> {
    let response = client.send(request.body(body).unwrap()).await?;
    let (parts, body) = response.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(text.to_vec()).unwrap(),
    })
}

/// A body of unknown length: what is sent, until the sender is dropped.
#[must_use]
pub fn streamed() -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let chunks = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|data| data.map(Ok::<_, Error>)));
    (sender, Body::new(axum::body::Body::from_stream(chunks)))
}

/// Sends plain text to an address, and gives what comes back; empty where the connection is closed.
pub async fn plain_text(address: SocketAddr, path: &str) -> String {
    plain_text_of("service", address, path).await
}

/// The same for a host of any name.
pub async fn plain_text_of(host: &str, address: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is a refusal, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a GET and gives the text of its answer.
///
/// # Errors
///
/// Those of the client.
pub async fn get(client: &Client, uri: &str) -> Result<Answer, Error> {
    send(client, Request::get(uri)).await
}

/// Waits until something holds, for ten seconds at most.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {what}");
}

/// Waits until the mesh has a policy of at least this generation in force.
pub async fn generation(mesh: &Mesh, at_least: u64) {
    let mut generations = mesh.generations();
    let waited = tokio::time::timeout(Duration::from_secs(10), generations.wait_for(|now| *now >= at_least)).await;
    assert!(waited.is_ok(), "no reload: {:?}", mesh.policy_status());
}
