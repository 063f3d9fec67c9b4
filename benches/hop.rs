//! One hop through the whole stack beside the bare hyper-util client and axum server: plain text and mTLS, in one interleaved run.
//!
//! `cargo bench --bench hop`. Prints medians over rounds and their ratios; only the ratios mean something, since machines differ. A round
//! sends the same requests through every variant, in an order that turns, so that a busy moment hits all of them.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark may stop, and prints"
)]

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use http::Version;
use mesh_benches::call::Call;
use mesh_benches::meshed::{Hop, World};
use mesh_benches::{Sending, bare};

const ROUNDS: usize = 40;
const REQUESTS: usize = 250;
const WARM_UP: usize = 3;

/// A way to send a request and read its answer.
struct Variant {
    name: &'static str,
    /// The variant that it is compared with.
    baseline: usize,
    send: Box<dyn Fn() -> Sending + Send + Sync>,
    rounds: Vec<Duration>,
}

fn app() -> Router {
    Router::new().route(
        "/api/orders",
        get(|| async { "an answer of some forty bytes, no more." }),
    )
}

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` ask for names only.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}

async fn run() {
    let world = World::new();
    let hop = |name, mtls, http| {
        world.hop(
            app(),
            Hop {
                name,
                mtls,
                http,
                call: Call::Get,
            },
        )
    };
    let plain = bare::plain(app()).await;
    let tls = bare::mutual_tls(app(), Version::HTTP_11, Call::Get).await;
    let tls_h2 = bare::mutual_tls(app(), Version::HTTP_2, Call::Get).await;
    let mesh_plain = hop("plain", "disable", "h1").await;
    let mesh_tls = hop("mtls", "strict", "h1").await;
    let mesh_h2 = hop("mtls-h2", "strict", "h2").await;
    let mut variants = vec![
        variant("bare, plain text", 0, plain),
        variant("mesh, plain text", 0, mesh_plain),
        variant("bare, mTLS", 2, tls),
        variant("mesh, mTLS", 2, mesh_tls),
        variant("bare, mTLS, HTTP/2", 4, tls_h2),
        variant("mesh, mTLS, HTTP/2", 4, mesh_h2),
    ];
    for (name, width) in [("one request at a time", 1), ("16 requests at a time", 16)] {
        measure(&mut variants, width).await;
        report(name, &mut variants);
    }
}

fn variant(name: &'static str, baseline: usize, send: impl Fn() -> Sending + Send + Sync + 'static) -> Variant {
    Variant {
        name,
        baseline,
        send: Box::new(send),
        rounds: Vec::new(),
    }
}

async fn measure(variants: &mut [Variant], width: usize) {
    variants.iter_mut().for_each(|variant| variant.rounds.clear());
    for round in 0..ROUNDS + WARM_UP {
        for offset in 0..variants.len() {
            let index = (round + offset) % variants.len();
            let took = one_round(&variants[index], width).await;
            if round >= WARM_UP {
                variants[index].rounds.push(took);
            }
        }
    }
}

async fn one_round(variant: &Variant, width: usize) -> Duration {
    let start = Instant::now();
    let lanes: Vec<_> = (0..width)
        .map(|_| {
            let sends: Vec<Sending> = (0..REQUESTS / width).map(|_| (variant.send)()).collect();
            tokio::spawn(async move {
                for send in sends {
                    assert!(send.await > 0);
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
    start.elapsed() / u32::try_from(REQUESTS / width * width).unwrap()
}

fn report(name: &str, variants: &mut [Variant]) {
    let medians: Vec<Duration> = variants.iter_mut().map(|variant| median(&mut variant.rounds)).collect();
    println!("\n{name}: median of {ROUNDS} rounds of {REQUESTS} requests");
    for (variant, median) in variants.iter().zip(&medians) {
        let ratio = median.as_secs_f64() / medians[variant.baseline].as_secs_f64();
        let micros = median.as_nanos() as f64 / 1_000.0;
        println!(
            "  {:<20} {micros:>8.1} us   {ratio:>5.2} x {}",
            variant.name, variants[variant.baseline].name
        );
    }
}

fn median(rounds: &mut [Duration]) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}
