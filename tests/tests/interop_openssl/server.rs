//! A client of the mesh against `openssl s_server`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use mesh_core::workload::Workload;
use mesh_tests::World;
use mesh_tests::world::{Answer, get};
use mesh_tower::client::Error;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::*;

/// A running `openssl s_server`, killed with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _process: Child,
}

/// Starts it, and waits until it listens.
pub(crate) async fn start(openssl: &Path, certificate: &[String], arguments: &[&str]) -> Server {
    let mut command = Command::new(openssl);
    command.args(["s_server", "-accept", "127.0.0.1:0"]);
    command.args(certificate).args(arguments);
    command
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                return address.parse().unwrap();
            }
        }
        panic!("openssl does not listen: {arguments:?}");
    };
    let address = tokio::time::timeout(Duration::from_secs(10), listening).await.unwrap();
    // What it says later has to go somewhere.
    tokio::spawn(async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} });
    Server {
        address,
        _process: process,
    }
}

/// A client of the mesh whose service `orders` is this server.
struct Scene {
    openssl: PathBuf,
    forge: Forge,
    files: Files,
}

impl Scene {
    fn new(openssl: PathBuf) -> Self {
        let (forge, files) = (Forge::new(DOMAIN), Files::new());
        files.write("ca.crt", &forge.certificate());
        Self { openssl, forge, files }
    }

    async fn server(&self, forged: &Forged, arguments: &[&str]) -> Server {
        let ca = self.files.path("ca.crt");
        let mut all = vec!["-www", "-CAfile", &ca, "-alpn", "http/1.1"];
        all.extend(arguments);
        start(&self.openssl, &self.files.show("server", forged), &all).await
    }

    /// What a client gets from the server, in two requests on connections of their own.
    async fn ask(&self, server: &Server) -> [Result<Answer, Error>; 2] {
        let world = World::new();
        let policy = format!(
            "namespace: shop
services:
  orders:
    endpoints: [{{ address: \"{}\", service_account: orders }}]
    limits: {{ http: h1, requests_per_connection: 1 }}\n",
            server.address
        );
        world.write("orders.yaml", &policy);
        let builder = world.builder(&Workload::new("shop", "web"));
        let mesh = builder
            .identity(self.forge.identity(WEB).source())
            .build()
            .await
            .unwrap();
        let client = mesh.client();
        [
            get(&client, "http://orders/").await,
            get(&client, "http://orders/").await,
        ]
    }
}

/// G1, on the side of the client: tickets are offered, and none is used.
#[tokio::test]
async fn a_good_server_gets_our_certificate_in_a_full_handshake_each_time() {
    let scene = Scene::new(openssl!());
    for version in ["-tls1_2", "-tls1_3"] {
        let server = scene
            .server(&good(&scene.forge, ORDERS), &[version, "-Verify", "3"])
            .await;
        for answer in scene.ask(&server).await {
            let page = answer.unwrap().text;
            assert!(page.contains("New, TLSv1"), "{version}: {page}");
            assert!(!page.contains("Reused, "), "{version}: {page}");
            assert!(
                page.contains("URI:spiffe://cluster.local/ns/shop/sa/web") || page.contains("Client certificate"),
                "{version}: {page}"
            );
        }
    }
}

/// F1, F3, F18, F26, on the side of the client.
#[tokio::test]
async fn servers_that_prove_nothing() {
    let scene = Scene::new(openssl!());
    let mut expired = Forge::leaf(&[ORDERS]);
    expired.not_after = (SystemTime::now() - Duration::from_secs(1)).into();
    let cases = [
        ("another service", good(&scene.forge, WEB)),
        ("another authority", good(&Forge::new(DOMAIN), ORDERS)),
        ("expired", scene.forge.sign(&expired)),
        ("two names", scene.forge.sign(&Forge::leaf(&[ORDERS, WEB]))),
        ("no name", scene.forge.sign(&Forge::leaf(&[]))),
    ];
    for version in ["-tls1_2", "-tls1_3"] {
        for (what, forged) in &cases {
            let server = scene.server(forged, &[version, "-Verify", "3"]).await;
            for answer in scene.ask(&server).await {
                let error = answer.unwrap_err();
                assert!(error.is_identity_mismatch(), "{what} {version}: {error}");
            }
        }
    }
}

/// G9: where no handshake succeeds, nothing is said.
#[tokio::test]
async fn servers_that_speak_otherwise() {
    let scene = Scene::new(openssl!());
    let weak = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let server = scene.server(&good(&scene.forge, ORDERS), &weak).await;
    for answer in scene.ask(&server).await {
        let error = answer.unwrap_err();
        assert!(error.is_connect() && !error.is_identity_mismatch(), "{error}");
    }
    // One that serves in plain text at the place where TLS is expected.
    let plain = mesh_tests::Backend::start("plain").await;
    let server = Server {
        address: plain.address,
        _process: Command::new("true").spawn().unwrap(),
    };
    for answer in scene.ask(&server).await {
        assert!(answer.unwrap_err().is_connect());
    }
    assert_eq!(plain.hits(), 0);
}
