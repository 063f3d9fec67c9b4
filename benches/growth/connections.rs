//! Connections, 1 to 10 000: what each idle one holds in the server, and what a request costs with so many.

use std::path::Path;

use mesh_benches::curve::Curve;

use crate::process::{Process, least};
use crate::report::Report;
use crate::{Options, world};

/// The server and its client are processes of their own, since each needs a descriptor for each connection.
const COUNTS: [usize; 9] = [1, 10, 100, 300, 1_000, 2_000, 4_000, 7_000, 10_000];
/// The largest that `--quick` looks at.
const QUICK: usize = 1_000;
/// Requests of a sample, at least.
const REQUESTS: usize = 4_000;
/// Below so many, what the process needs for itself hides what a connection needs.
const TELLING: usize = 1_000;

const POLICY: &str = "
namespace: shop
mesh: { mtls: strict }
services:
  orders:
    endpoints: [\"127.0.0.1:80\"]
authorization:
  - { name: api, service: orders, allow: [{ from: [cluster.local/ns/shop/sa/web], methods: [GET], paths: [\"/api/*\"] }] }
";

pub(crate) fn run(options: &Options, report: &mut Report) {
    let world = world::directory(Some(POLICY));
    let counts: Vec<usize> = COUNTS
        .into_iter()
        .filter(|count| !options.is_quick || *count <= QUICK)
        .collect();
    let (bare, mesh) = (grow("bare", world.path(), &counts), grow("mesh", world.path(), &counts));
    let curves = |unit: &str, of: fn(&Holding) -> f64| {
        let curve = |name: &str, all: &[Holding]| {
            let points = all.iter().map(|holding| (holding.connections as f64, of(holding)));
            Curve::new(name, "connections", unit, points.filter(|(_, y)| *y > 0.0).collect())
        };
        vec![curve("hyper and rustls", &bare), curve("mesh", &mesh)]
    };
    let title = "Server memory above that of one connection, by idle mTLS connections";
    let memory = curves("MiB", |holding| holding.memory / 1024.0 / 1024.0);
    report.plot("connections-memory", title, memory);
    let title = "Processor time a request in the server, by open mTLS connections, each used in turn";
    report.plot(
        "connections-request",
        title,
        curves("microseconds", |holding| holding.request / 1e3),
    );
    for (kind, all) in [("hyper and rustls", &bare), ("mesh", &mesh)] {
        for holding in all.iter().filter(|holding| holding.connections >= TELLING) {
            let each = holding.memory / 1024.0 / holding.connections as f64;
            let name = format!("{kind}: an idle mTLS connection, of {}", holding.connections);
            report.figure(name, "KiB", each);
        }
    }
}

/// What a server is like with so many connections.
struct Holding {
    connections: usize,
    /// Bytes resident, above what the server had with one: the first takes what the code itself needs.
    memory: f64,
    /// Nanoseconds of processor time that a request takes in the server.
    request: f64,
}

/// Lets connections of a server grow: `mesh`, or `bare` hyper over rustls.
fn grow(kind: &str, directory: &Path, counts: &[usize]) -> Vec<Holding> {
    let (server, address) = Process::start(&format!("server {kind} {}", directory.display()));
    let (mut client, _) = Process::start(&format!("holder {} {address}", directory.display()));
    client.tell("hold 1");
    let before = server.resident();
    let holding = |&connections: &usize| {
        client.tell(&format!("hold {connections}"));
        let (memory, requests) = (server.resident() - before, REQUESTS.max(connections));
        let spent = least(|| {
            let before = server.processor_time();
            client.tell(&format!("send {requests}"));
            (server.processor_time() - before).as_nanos()
        });
        Holding {
            connections,
            memory,
            request: spent / requests as f64,
        }
    };
    counts.iter().map(holding).collect()
}
