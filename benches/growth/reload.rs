//! The request path while a policy of 10 MB is read, compiled and put in force: is any request late?
//!
//! Requests set out at a fixed rate, whatever becomes of those before; a latency counts from the instant at which its
//! request had to set out, so that a pause of the whole process shows. Rounds without a reload and with one alternate.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use http::Request;
use http_body_util::BodyExt;
use mesh_benches::curve::Curve;
use mesh_tower::{Body, Mesh};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::process::{self, Process};
use crate::report::Report;
use crate::server::{self, app};
use crate::{Options, world};

/// Bytes of the policy, in two files: one above 8 MiB would be refused.
const SIZE: usize = 10_000_000;
/// Rounds of each kind.
const ROUNDS: usize = 4;
/// How long a round is, at least: a reload takes a part of it, where it has a processor.
const ROUND: Duration = Duration::from_secs(6);
/// Between one request and the next.
const PACE: Duration = Duration::from_millis(2);
/// The parts of the requests that are slower: half of them, one in ten …
const SLOWER: [f64; 5] = [2.0, 10.0, 100.0, 1_000.0, 10_000.0];

pub(crate) fn run(options: &Options, report: &mut Report) {
    let world = world::directory(None);
    let (mut process, _) = Process::start(&format!("reloading {}", world.path().display()));
    let (mut quiet, mut reloading, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..if options.is_quick { 1 } else { ROUNDS } {
        quiet.extend(latencies(&process.tell("quiet")));
        let mut found = latencies(&process.tell(&format!("reload {round}")));
        took.push(found.remove(0));
        reloading.extend(found);
    }
    quiet.sort_by(f64::total_cmp);
    reloading.sort_by(f64::total_cmp);
    took.sort_by(f64::total_cmp);
    report.figure(
        "from the policy's last byte to its being in force, 10 MB",
        "ms",
        took[took.len() / 2] / 1e3,
    );
    let mut curves = Vec::new();
    for (name, found) in [("nothing is reloaded", &quiet), ("10 MB are reloaded", &reloading)] {
        let slowest = found.last().copied().unwrap_or_default();
        report.figure(
            format!("slowest of {} requests while {name}", found.len()),
            "us",
            slowest,
        );
        let points = SLOWER.iter().filter(|one| **one <= found.len() as f64);
        let points = points.map(|one| (*one, quantile(found, 1.0 - 1.0 / one)));
        curves.push(Curve::unfitted(
            name,
            "one request in so many is slower",
            "microseconds",
            points.collect(),
        ));
    }
    report.plot("reload-latency", "Latency of a request during a reload", curves);
}

/// Microseconds, as the process tells them.
fn latencies(told: &str) -> Vec<f64> {
    told.split(' ').map(|latency| latency.parse().unwrap()).collect()
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place).or_else(|| sorted.last()).copied().unwrap_or_default()
}

/// Plays an application that calls itself through the mesh. Told `reload`, its policy changes at the start of a round,
/// and its first answer is how long that took.
pub(crate) async fn play(directory: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = write_rules(directory);
    world::write(directory, "routes", &routes(address, count, "none"));
    let mesh = server::mesh(directory, "orders").await;
    tokio::spawn(serve(mesh.clone(), listener, app()));
    process::answer("ready");
    for order in process::orders() {
        let routes = order.get(1).map(|round| routes(address, count, round));
        let reload = routes.map(|routes| tokio::spawn(reload(mesh.clone(), directory.to_owned(), routes)));
        let is_over = || reload.as_ref().is_none_or(JoinHandle::is_finished);
        let mut told = paced(&mesh, is_over).await;
        if let Some(reload) = reload {
            told.insert(0, reload.await.unwrap());
        }
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        process::answer(told.join(" "));
    }
}

async fn serve(mesh: Mesh, listener: TcpListener, app: Router) {
    mesh.serve(listener, app).await.unwrap();
}

/// Changes the routes, for which all is read and compiled anew; microseconds until it is in force.
async fn reload(mesh: Mesh, directory: PathBuf, routes: String) -> u128 {
    let mut generations = mesh.generations();
    generations.mark_unchanged();
    let writing = tokio::task::spawn_blocking(move || world::write(&directory, "routes", &routes));
    writing.await.unwrap();
    let begun = Instant::now();
    generations.changed().await.unwrap();
    begun.elapsed().as_micros()
}

/// Sends requests at a fixed rate for a round, and until it is over; microseconds that each took from the instant it had to set out.
async fn paced(mesh: &Mesh, is_over: impl Fn() -> bool) -> Vec<u128> {
    let (begun, mut under_way, mut told) = (Instant::now(), JoinSet::new(), Vec::new());
    let requests = u32::try_from(ROUND.as_micros() / PACE.as_micros()).unwrap();
    for number in (0..).take_while(|number| *number < requests || !is_over()) {
        let due = begun + PACE * number;
        tokio::time::sleep_until(due).await;
        let client = mesh.client();
        under_way.spawn(async move {
            let request = Request::get("http://orders/api/orders").body(Body::empty()).unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
            due.elapsed().as_micros()
        });
        while let Some(done) = under_way.try_join_next() {
            told.push(done.unwrap());
        }
    }
    told.extend(under_way.join_all().await);
    told
}

/// As many rules of authorization as a half of the policy holds; tells how many.
fn write_rules(directory: &Path) -> usize {
    let mut text = String::from("namespace: shop\nauthorization:\n  - name: api\n    service: orders\n    allow:\n");
    text += "      - { from: [cluster.local/ns/shop/sa/orders] }\n";
    let mut count = 0;
    while text.len() < SIZE / 2 {
        let (from, path) = (format!("cluster.local/ns/shop/sa/s{count}"), format!("/api/v{count}/*"));
        let _ = writeln!(
            text,
            "      - {{ from: [{from}], methods: [GET], paths: [\"{path}\"] }}"
        );
        count += 1;
    }
    world::write(directory, "rules", &text);
    count
}

/// As many routes; those of a round differ from those of others.
fn routes(address: SocketAddr, count: usize, round: &str) -> String {
    let endpoint = format!("{{ address: \"{address}\", service_account: orders }}");
    let mut text =
        format!("namespace: shop\nmesh: {{ mtls: strict }}\nservices:\n  orders:\n    endpoints: [{endpoint}]\n");
    text += "    routes:\n";
    for number in 0..count {
        let matched = format!("path: {{ prefix: /api/v{number} }}, headers: {{ x-round: r{round} }}");
        let _ = writeln!(text, "      - {{ match: {{ {matched} }}, timeout: 1s }}");
    }
    text + "      - { timeout: 2s }\n"
}
