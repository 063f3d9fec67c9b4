//! Handshakes of the mesh beside those of bare tokio-rustls with the verifiers of webpki: whole ones and resumed ones,
//! in one interleaved run.
//!
//! `cargo bench --bench handshake`. Each is a connection over loopback, a mutual handshake and a byte from the server,
//! which the tickets of TLS 1.3 come before. Prints medians over rounds and their ratios; only the ratios mean
//! something, since machines differ.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark may stop, and prints"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::Version;
use mesh_benches::bare;
use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_tls::authority::DevCa;
use mesh_tls::clock::Clock;
use mesh_tls::config::{Alpn, Resumption, TlsPolicy};
use mesh_tls::handshake::{accept_tls, connect_tls};
use mesh_tls::source::{IdentitySource, StaticSource};
use mesh_tls::svid::RevocationPolicy;
use mesh_tls::verify::ExpectedPeer;
use rustls::HandshakeKind;
use rustls::server::NoServerSessionStorage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const ROUNDS: usize = 40;
const HANDSHAKES: usize = 50;
const WARM_UP: usize = 3;
const LIMIT: Duration = Duration::from_secs(10);

type Shaking<'a> = Pin<Box<dyn Future<Output = HandshakeKind> + 'a>>;

/// A way to shake hands.
struct Variant<'a> {
    name: &'static str,
    /// The variant that it is compared with.
    baseline: usize,
    shake: Box<dyn Fn() -> Shaking<'a> + 'a>,
    rounds: Vec<Duration>,
    resumed: usize,
}

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` ask for names only.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(run());
}

async fn run() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut variants = vec![
        variant("bare, whole", 0, bare(&listener, Resumption::Off)),
        variant("mesh, whole", 0, mesh(&listener, Resumption::Off)),
        variant("bare, resumed", 2, bare(&listener, Resumption::On)),
        variant("mesh, resumed", 2, mesh(&listener, Resumption::On)),
    ];
    for round in 0..ROUNDS + WARM_UP {
        for offset in 0..variants.len() {
            let index = (round + offset) % variants.len();
            one_round(&mut variants[index], round >= WARM_UP).await;
        }
    }
    report(&mut variants);
}

fn variant<'a>(name: &'static str, baseline: usize, shake: impl Fn() -> Shaking<'a> + 'a) -> Variant<'a> {
    Variant {
        name,
        baseline,
        shake: Box::new(shake),
        rounds: Vec::new(),
        resumed: 0,
    }
}

async fn one_round(variant: &mut Variant<'_>, counts: bool) {
    let (start, mut resumed) = (Instant::now(), 0);
    for _ in 0..HANDSHAKES {
        if (variant.shake)().await == HandshakeKind::Resumed {
            resumed += 1;
        }
    }
    if counts {
        variant
            .rounds
            .push(start.elapsed() / u32::try_from(HANDSHAKES).unwrap());
        variant.resumed += resumed;
    }
}

async fn sockets(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(listener.local_addr().unwrap()));
    let (near, far) = (accepted.unwrap().0, connected.unwrap());
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

async fn say(stream: &mut (impl AsyncWrite + Unpin)) {
    stream.write_all(b"x").await.unwrap();
    stream.flush().await.unwrap();
}

async fn hear(stream: &mut (impl AsyncRead + Unpin)) {
    stream.read_exact(&mut [0]).await.unwrap();
}

/// tokio-rustls with the verifiers of webpki, with rustls's default sessions or none.
fn bare(listener: &TcpListener, resumption: Resumption) -> impl Fn() -> Shaking<'_> {
    let (server, client) = bare::configs(Version::HTTP_2);
    let (mut server, mut client) = (
        rustls::ServerConfig::clone(&server),
        rustls::ClientConfig::clone(&client),
    );
    if resumption == Resumption::Off {
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        client.resumption = rustls::client::Resumption::disabled();
    }
    let (acceptor, connector) = (
        TlsAcceptor::from(Arc::new(server)),
        TlsConnector::from(Arc::new(client)),
    );
    move || {
        let (acceptor, connector) = (acceptor.clone(), connector.clone());
        Box::pin(async move {
            let (near, far) = sockets(listener).await;
            let accept = async { say(&mut acceptor.accept(near).await.unwrap()).await };
            let connect = async {
                let mut stream = connector.connect("localhost".try_into().unwrap(), far).await.unwrap();
                hear(&mut stream).await;
                stream.get_ref().1.handshake_kind().unwrap()
            };
            tokio::join!(accept, connect).1
        })
    }
}

/// An identity of an account in `shop`.
fn source(ca: &DevCa, account: &str) -> IdentitySource {
    let id = SpiffeId::for_workload(ca.trust_domain(), "shop", account).unwrap();
    let issued = ca.issue(&id, Duration::from_secs(3600), SystemTime::now()).unwrap();
    let source = StaticSource::new(issued.svid().unwrap(), ca.bundles().unwrap(), Clock::system());
    source.unwrap().source()
}

/// The mesh's, as its servers and clients shake hands.
fn mesh(listener: &TcpListener, resumption: Resumption) -> impl Fn() -> Shaking<'_> {
    let ca = DevCa::new(TrustDomain::parse("cluster.local").unwrap(), SystemTime::now()).unwrap();
    let (orders, web) = (source(&ca, "orders"), source(&ca, "web"));
    let expected = ExpectedPeer::exactly("spiffe://cluster.local/ns/shop/sa/orders".parse().unwrap());
    let policy = TlsPolicy::new(resumption, RevocationPolicy::default());
    move || {
        // Asked for each connection, as it is in the mesh.
        let server = orders
            .current()
            .server_config_under(policy, &[Alpn::H2, Alpn::Http1])
            .unwrap();
        let client = web
            .current()
            .client_config_under(policy, &expected, &[Alpn::H2])
            .unwrap();
        Box::pin(async move {
            let (near, far) = sockets(listener).await;
            let accept = async {
                let (mut stream, _, _) = accept_tls(near, server, LIMIT).await.unwrap();
                say(&mut stream).await;
            };
            let connect = async {
                let (mut stream, _, _) = connect_tls(far, client, "orders", LIMIT).await.unwrap();
                hear(&mut stream).await;
                stream.get_ref().1.handshake_kind().unwrap()
            };
            tokio::join!(accept, connect).1
        })
    }
}

fn report(variants: &mut [Variant<'_>]) {
    let medians: Vec<Duration> = variants.iter_mut().map(|variant| median(&mut variant.rounds)).collect();
    println!("\nmutual handshakes, TLS 1.3: median of {ROUNDS} rounds of {HANDSHAKES}");
    for (variant, median) in variants.iter().zip(&medians) {
        let ratio = median.as_secs_f64() / medians[variant.baseline].as_secs_f64();
        let micros = median.as_nanos() as f64 / 1_000.0;
        let resumed = variant.resumed as f64 * 100.0 / (ROUNDS * HANDSHAKES) as f64;
        println!(
            "  {:<14} {micros:>8.1} us   {ratio:>5.2} x {:<14} {resumed:>5.1} % resumed",
            variant.name, variants[variant.baseline].name
        );
    }
}

fn median(rounds: &mut [Duration]) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}
