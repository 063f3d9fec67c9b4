//! `openssl s_client` against a server of the mesh that takes mTLS only.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mesh_core::workload::Workload;
use mesh_tests::process::{Said, converse, run};
use mesh_tests::seeds::secured;
use mesh_tests::world::plain_text;
use mesh_tests::{Backend, World};
use mesh_tower::Mesh;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::*;

const REQUEST: &[u8] = b"GET /reached HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n";

/// Orders behind its mesh, under an authority that signs anything.
struct Scene {
    openssl: PathBuf,
    forge: Forge,
    files: Files,
    backend: Backend,
    mesh: Mesh,
    address: SocketAddr,
    _world: World,
}

impl Scene {
    async fn new(openssl: PathBuf) -> Self {
        let (world, forge, backend) = (World::new(), Forge::new(DOMAIN), Backend::start("orders").await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.write("orders.yaml", &secured("shop", "orders", "orders", address));
        world.write("mesh.yaml", "mesh: { mtls: strict }\n");
        let builder = world.builder(&Workload::new("shop", "orders").label("app", "orders"));
        let mesh = builder.identity(forge.identity(ORDERS).source()).build().await.unwrap();
        let (serving, app) = (mesh.clone(), backend.router());
        tokio::spawn(async move { serving.serve(listener, app).await.unwrap() });
        let files = Files::new();
        files.write("ca.crt", &forge.certificate());
        Self {
            openssl,
            forge,
            files,
            backend,
            mesh,
            address,
            _world: world,
        }
    }

    /// Runs `openssl s_client` with these arguments, and what it is to send.
    async fn connect(&self, arguments: &[impl AsRef<str>], input: &[u8]) -> Said {
        self.connect_to(self.address, arguments, input).await
    }

    async fn connect_to(&self, address: SocketAddr, arguments: &[impl AsRef<str>], input: &[u8]) -> Said {
        let mut command = Command::new(&self.openssl);
        command.args(["s_client", "-ign_eof", "-connect", &address.to_string()]);
        command.args(["-CAfile", &self.files.path("ca.crt"), "-verify_return_error"]);
        command.args(arguments.iter().map(AsRef::as_ref));
        run(command, input).await
    }

    /// Arguments that show a good certificate, and these.
    fn good(&self, more: &[&str]) -> Vec<String> {
        let mut arguments = self.files.show("good", &good(&self.forge, WEB));
        arguments.extend(more.iter().map(ToString::to_string));
        arguments
    }

    /// The server still serves who may call it.
    async fn lives(&self) {
        let before = self.backend.hits();
        let said = self.connect(&self.good(&[]), REQUEST).await;
        assert!(said.text.contains("HTTP/1.1 200"), "{}", said.text);
        assert_eq!(self.backend.hits(), before + 1);
    }

    /// Nothing of what was sent has reached the application.
    async fn refused(&self, what: &str, said: &Said) {
        assert!(!said.text.contains("HTTP/1.1 200"), "{what}: {}", said.text);
        assert!(said.status.is_some(), "{what}: still open: {}", said.text);
        assert_eq!(self.backend.hits_of("/reached"), 0, "{what}");
    }
}

#[tokio::test]
async fn good_certificates_in_both_versions() {
    let scene = Scene::new(openssl!()).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let said = scene.connect(&scene.good(&[version]), REQUEST).await;
        assert!(said.text.contains("HTTP/1.1 200"), "{version}: {}", said.text);
        assert!(
            said.text.contains("Verify return code: 0 (ok)"),
            "{version}: {}",
            said.text
        );
    }
    assert_eq!(scene.backend.hits_of("/reached"), 2);
}

/// F1, F3, F7, F26.
#[tokio::test]
async fn certificates_that_prove_nothing() {
    let scene = Scene::new(openssl!()).await;
    let (own, stranger) = (&scene.forge, Forge::new(DOMAIN));
    let hour = Duration::from_secs(3600);
    let changed = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = Forge::leaf(&[WEB]);
        change(&mut params);
        own.sign(&params)
    };
    let mut expired = Forge::leaf(&[WEB]);
    expired.not_after = (SystemTime::now() - Duration::from_secs(1)).into();
    let mut early = Forge::leaf(&[WEB]);
    early.not_before = (SystemTime::now() + hour / 2).into();
    let cases = [
        ("another authority", good(&stranger, WEB)),
        ("expired", own.sign(&expired)),
        ("not yet valid", own.sign(&early)),
        ("two names", own.sign(&Forge::leaf(&[WEB, ORDERS]))),
        ("no name", own.sign(&Forge::leaf(&[]))),
        (
            "a name of no workload",
            own.sign(&Forge::leaf(&["https://cluster.local/ns/shop/sa/web"])),
        ),
        (
            "another trust domain",
            own.sign(&Forge::leaf(&["spiffe://elsewhere/ns/shop/sa/web"])),
        ),
        (
            "for servers only",
            changed(|params| drop(params.extended_key_usages.pop())),
        ),
        (
            "of an authority",
            changed(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        ),
    ];
    for version in ["-tls1_2", "-tls1_3"] {
        for (what, forged) in &cases {
            let mut arguments = scene.files.show("bad", forged);
            arguments.push(version.to_owned());
            let said = scene.connect(&arguments, REQUEST).await;
            scene.refused(&format!("{what} {version}"), &said).await;
            assert!(said.text.contains("alert"), "{what} {version}: {}", said.text);
        }
        let said = scene.connect(&[version], REQUEST).await;
        scene.refused(&format!("none {version}"), &said).await;
    }
    let text = scene.mesh.metrics().render();
    let failed = text
        .lines()
        .filter(|line| line.starts_with("mesh_tls_handshakes_total{side=\"server\",result=\"failed\","));
    let counts = failed.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok());
    assert_eq!(counts.sum::<u32>(), 20, "{text}");
    scene.lives().await;
}

/// G6, G7.
#[tokio::test]
async fn hellos_that_agree_on_nothing() {
    let scene = Scene::new(openssl!()).await;
    let weak = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let old = ["-tls1", "-cipher", "ALL:@SECLEVEL=0"];
    let rsa = ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"];
    let curve = ["-tls1_3", "-groups", "ffdhe2048"];
    let alpn = ["-alpn", "foo"];
    for arguments in [&weak[..], &old, &rsa, &curve, &alpn] {
        let said = scene.connect(&scene.good(arguments), REQUEST).await;
        scene.refused(arguments[0], &said).await;
        assert!(said.text.contains("alert"), "{arguments:?}: {}", said.text);
    }
    assert_eq!(plain_text(scene.address, "/reached").await, "");
    assert_eq!(scene.backend.hits(), 0);
    scene.lives().await;
}

/// G6, B14: the name that is asked for is no proof of anything, and takes none away.
#[tokio::test]
async fn names_that_are_asked_for() {
    let scene = Scene::new(openssl!()).await;
    let long = "a.".repeat(120) + "a";
    for (served, name) in [
        (true, "orders"),
        (true, "orders.shop.svc.cluster.local"),
        (true, "outbound_.80_._.orders.shop.svc.cluster.local"),
        (true, "EVIL.example"),
        (false, "a b"),
        (false, "orders\n"),
        (false, &*long),
    ] {
        let before = scene.backend.hits();
        let said = scene.connect(&scene.good(&["-servername", name]), REQUEST).await;
        let reached = said.text.contains("HTTP/1.1 200");
        assert!(
            reached == (scene.backend.hits() == before + 1),
            "{name:?}: {}",
            said.text
        );
        assert!(reached || !served, "{name:?}: {}", said.text);
        // Nobody is let in for a name.
        let said = scene.connect(&["-servername", name], REQUEST).await;
        assert!(!said.text.contains("HTTP/1.1 200"), "{name:?}: {}", said.text);
    }
    let said = scene.connect(&scene.good(&["-noservername"]), REQUEST).await;
    assert!(said.text.contains("HTTP/1.1 200"), "{}", said.text);
    scene.lives().await;
}

/// G1: whatever is offered again, each handshake is a full one.
#[tokio::test]
async fn no_session_is_taken_up_again() {
    let scene = Scene::new(openssl!()).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let session = scene.files.path("session.pem");
        let said = scene
            .connect(&scene.good(&[version, "-sess_out", &session]), REQUEST)
            .await;
        assert!(said.text.contains("HTTP/1.1 200"), "{version}: {}", said.text);
        assert!(
            !said.text.contains("Post-Handshake New Session Ticket"),
            "{version}: {}",
            said.text
        );
        let mut again = scene.good(&[version]);
        if Path::new(&session).exists() {
            again.extend(["-sess_in".to_owned(), session.clone()]);
        }
        let said = scene.connect(&again, REQUEST).await;
        assert!(said.text.contains("HTTP/1.1 200"), "{version}: {}", said.text);
        assert!(said.text.contains("New, TLSv1"), "{version}: {}", said.text);
        assert!(!said.text.contains("Reused, "), "{version}: {}", said.text);
        let _ = std::fs::remove_file(session);
    }
    let said = scene.connect(&scene.good(&["-tls1_2", "-reconnect"]), REQUEST).await;
    let handshakes = said.text.matches("New, TLSv1").count();
    assert_eq!(
        (handshakes, said.text.contains("Reused, ")),
        (6, false),
        "{}",
        said.text
    );
    scene.lives().await;
}

/// G4, G5: a ticket that another server gave, and early data under it.
#[tokio::test]
async fn tickets_and_early_data_of_another_server() {
    let scene = Scene::new(openssl!()).await;
    let other = server::start(
        &scene.openssl,
        &scene.files.show("other", &good(&scene.forge, ORDERS)),
        &["-www", "-tls1_3", "-max_early_data", "16384"],
    )
    .await;
    let session = scene.files.path("ticket.pem");
    let said = scene
        .connect_to(
            other.address,
            &scene.good(&["-tls1_3", "-sess_out", &session]),
            b"GET / HTTP/1.0\r\n\r\n",
        )
        .await;
    assert!(Path::new(&session).exists(), "no ticket: {}", said.text);
    let early = scene.files.path("early");
    std::fs::write(&early, REQUEST).unwrap();

    let arguments = ["-tls1_3", "-sess_in", &session, "-early_data", &early];
    let said = scene.connect(&scene.good(&arguments), REQUEST).await;

    assert!(said.text.contains("Early data was rejected"), "{}", said.text);
    assert!(
        said.text.contains("New, TLSv1.3") && !said.text.contains("Reused, "),
        "{}",
        said.text
    );
    assert!(said.text.contains("HTTP/1.1 200"), "{}", said.text);
    assert_eq!(scene.backend.hits_of("/reached"), 1, "the early request was not served");

    // Without a certificate the ticket is worth nothing.
    let arguments = ["-tls1_3", "-sess_in", &session, "-early_data", &early];
    let said = scene.connect(&arguments, REQUEST).await;
    assert!(!said.text.contains("HTTP/1.1 200"), "{}", said.text);
    assert_eq!(scene.backend.hits_of("/reached"), 1);
    scene.lives().await;
}

/// Renegotiation (TLS 1.2) and key updates (TLS 1.3), asked for in the middle of a connection.
#[tokio::test]
async fn handshakes_in_the_middle_of_a_connection() {
    let scene = Scene::new(openssl!()).await;
    for (version, command, done) in [
        ("-tls1_3", "k\n", "KEYUPDATE"),
        ("-tls1_3", "K\n", "KEYUPDATE"),
        ("-tls1_2", "R\n", "RENEGOTIATING"),
    ] {
        let before = scene.backend.hits_of("/reached");
        let mut child = Command::new(&scene.openssl);
        child.args(["s_client", "-connect", &scene.address.to_string()]);
        child.args(["-CAfile", &scene.files.path("ca.crt")]);
        child.args(scene.good(&[version]));
        let steps = [("Verify return code", command.as_bytes()), (done, REQUEST)];
        let said = converse(child, &steps).await;
        // New keys are taken; a second handshake, which could bring another identity, is not.
        assert!(said.status.is_some(), "{version} {command}: {}", said.text);
        let reached = scene.backend.hits_of("/reached") - before;
        assert_eq!(
            reached,
            usize::from(done == "KEYUPDATE"),
            "{version} {command}: {}",
            said.text
        );
        scene.lives().await;
    }
}
