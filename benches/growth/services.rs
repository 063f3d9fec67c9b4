//! Services, 1 to 1 000: what the mesh adds to the memory of a process, with ten endpoints each, and what a request costs.
//!
//! A process serves and calls itself, at as many loopback addresses as there are endpoints; one does so through the
//! mesh, one with hyper-util's client and axum. Nothing is encrypted, since connections have a measure of their own.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mesh_benches::curve::Curve;
use mesh_benches::{Sending, bare};
use mesh_tower::{Body, Mesh};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::process::{self, Process, least};
use crate::report::Report;
use crate::server::{self, app};
use crate::{Options, world};

const COUNTS: [usize; 5] = [1, 10, 100, 300, 1_000];
/// The largest that `--quick` looks at.
const QUICK: usize = 100;
const ENDPOINTS: usize = 10;
/// Requests of a sample, at least.
const REQUESTS: usize = 4_000;
/// Memory has jitter of its own; the middle of so many processes counts.
const PROCESSES: usize = 3;

/// What of a process's memory is told.
const MEMORY: [&str; 3] = [
    "resident, policy in force",
    "resident, after a request to each service",
    "of this not code, which is read from the program's file",
];

pub(crate) fn run(options: &Options, report: &mut Report) {
    let counts: Vec<usize> = COUNTS
        .into_iter()
        .filter(|count| !options.is_quick || *count <= QUICK)
        .collect();
    let of = "services of ten endpoints";
    let added: Vec<[f64; 3]> = counts.iter().map(|count| added(*count)).collect();
    let mut curves = Vec::new();
    for (place, name) in MEMORY.into_iter().enumerate() {
        let points = counts
            .iter()
            .zip(&added)
            .map(|(count, memory)| (*count as f64, memory[place]));
        curves.push(Curve::new(name, of, "MiB", points.collect()));
    }
    report.plot(
        "services-memory",
        "Memory that the mesh adds to a process, by services",
        curves,
    );
    let curve = |name: &str, kind: &str| {
        let points = counts.iter().map(|count| (*count as f64, request(kind, *count) / 1e3));
        Curve::new(name, "services of one endpoint", "microseconds", points.collect())
    };
    let costs = vec![curve("hyper-util and axum", "bare"), curve("mesh", "mesh")];
    let title = "Processor time a request, client and server, by services, each called in turn";
    report.plot("services-request", title, costs);
}

/// Mebibytes that a process has more with the mesh.
fn added(services: usize) -> [f64; 3] {
    let (bare, mesh) = (middle("bare", services), middle("mesh", services));
    std::array::from_fn(|place| (mesh[place] - bare[place]) / 1024.0 / 1024.0)
}

/// Bytes, see [`MEMORY`]: the middle ones of some processes.
fn middle(kind: &str, services: usize) -> [f64; 3] {
    let all: Vec<[f64; 3]> = (0..PROCESSES).map(|_| memory(kind, services)).collect();
    std::array::from_fn(|place| {
        let mut values: Vec<f64> = all.iter().map(|memory| memory[place]).collect();
        values.sort_by(f64::total_cmp);
        values[PROCESSES / 2]
    })
}

fn memory(kind: &str, services: usize) -> [f64; 3] {
    let (mut process, _world) = start(kind, services, ENDPOINTS);
    let idle = process.resident();
    process.tell(&format!("send {services}"));
    [idle, process.resident(), process.anonymous()]
}

/// Nanoseconds of processor time a request, of services with one endpoint each: all connections are open by then.
fn request(kind: &str, services: usize) -> f64 {
    let (mut process, _world) = start(kind, services, 1);
    process.tell(&format!("send {services}"));
    let requests = REQUESTS.max(services);
    least(|| spent(&mut process, requests)) / requests as f64
}

fn start(kind: &str, services: usize, endpoints: usize) -> (Process, TempDir) {
    let world = world::directory(None);
    let directory = world.path().display();
    let (process, _) = Process::start(&format!("services {kind} {services} {endpoints} {directory}"));
    (process, world)
}

/// Nanoseconds of processor time that so many requests take.
fn spent(process: &mut Process, requests: usize) -> u128 {
    let before = process.processor_time();
    process.tell(&format!("send {requests}"));
    (process.processor_time() - before).as_nanos()
}

/// Plays an application that serves itself.
pub(crate) async fn play(kind: &str, (services, endpoints): (usize, usize), directory: &Path) {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let send: Box<dyn Fn(usize) -> Sending> = match kind {
        "mesh" => {
            world::write(directory, "policy", &policy(services, endpoints, port));
            let mesh = server::mesh(directory, "orders").await;
            let serving = mesh.clone();
            tokio::spawn(async move { serving.serve(listener, app()).await });
            through(mesh)
        }
        _ => {
            tokio::spawn(bare::serve(listener, app()));
            without(port)
        }
    };
    process::answer("ready");
    for order in process::orders() {
        for number in 0..order[1].parse().unwrap() {
            assert_eq!(send(number % services).await, 1024);
        }
        process::answer("sent");
    }
}

fn through(mesh: Mesh) -> Box<dyn Fn(usize) -> Sending> {
    let client = mesh.client();
    Box::new(move |service| {
        let (client, mesh) = (client.clone(), mesh.clone());
        Box::pin(async move {
            let request = Request::get(format!("http://s{service}/api/orders"))
                .body(Body::empty())
                .unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), 200);
            drop(mesh);
            response.into_body().collect().await.unwrap().to_bytes().len()
        })
    })
}

fn without(port: u16) -> Box<dyn Fn(usize) -> Sending> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    Box::new(move |service| {
        let client = client.clone();
        Box::pin(async move {
            let uri: Uri = format!("http://{}/api/orders", address(service, 0, port))
                .parse()
                .unwrap();
            let response = client.get(uri).await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap().to_bytes().len()
        })
    })
}

fn policy(services: usize, endpoints: usize, port: u16) -> String {
    let mut text = String::from("namespace: shop\nmesh: { mtls: disable }\nservices:\n");
    for service in 0..services {
        let all = (0..endpoints).map(|endpoint| format!("\"{}\"", address(service, endpoint, port)));
        let all: Vec<String> = all.collect();
        let _ = writeln!(text, "  s{service}: {{ endpoints: [{}] }}", all.join(", "));
    }
    text
}

/// One of the sixteen million addresses of this host.
fn address(service: usize, endpoint: usize, port: u16) -> SocketAddr {
    let number = u8::try_from(endpoint + 1).unwrap();
    let (high, low) = (
        u8::try_from(service / 256).unwrap(),
        u8::try_from(service % 256).unwrap(),
    );
    SocketAddr::from(([127, high, low, number], port))
}
