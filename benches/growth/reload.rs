//! The request path while a policy of 10 MB is read, compiled and put in force: is any request late?
//!
//! Requests set out at a fixed rate, whatever becomes of those before; a latency counts from the instant at which its
//! request had to set out, so that a pause of the whole process shows. Those count that were due after the files had
//! changed and before the policy was in force, and as many in a row, after each reload, while nothing is reloaded.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use http::Request;
use http_body_util::BodyExt;
use mesh_benches::curve::Curve;
use mesh_tower::{Body, Mesh};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::process::{self, Process};
use crate::report::Report;
use crate::server::{self, app};
use crate::{Options, world};

/// Bytes of the policy, in two files: one above 8 MiB would be refused.
const SIZE: usize = 10_000_000;
/// Between one request and the next.
const PACE: Duration = Duration::from_millis(2);
/// Reloads are repeated until so many requests were due during one, at least.
const REQUESTS: usize = 4_000;
/// The same for `--quick`.
const QUICK: usize = 400;
/// Requests that open connections, and do not count.
const FIRST: usize = 500;
/// Requests of one round, at most: a policy that is not in force by then never will be.
const MOST: u32 = 60_000;
/// The mesh frees the policy before within three seconds: that is neither a reload nor quiet.
const FREED: Duration = Duration::from_secs(4);
/// The parts of the requests that are slower: half of them, one in ten …
const SLOWER: [f64; 4] = [2.0, 10.0, 100.0, 1_000.0];

pub(crate) fn run(options: &Options, report: &mut Report) {
    let world = world::directory(None);
    let (mut process, _) = Process::start(&format!("reloading {}", world.path().display()));
    let found = Found::of(&mut process, if options.is_quick { QUICK } else { REQUESTS });
    let took = found.took[found.took.len() / 2] / 1e3;
    report.figure("from the files' change to its being in force, 10 MB", "ms", took);
    let mut curves = Vec::new();
    for (name, latencies) in [
        ("nothing is reloaded", &found.quiet),
        ("10 MB are reloaded", &found.reloading),
    ] {
        let slowest = latencies.last().copied().unwrap_or_default();
        report.figure(
            format!("slowest of {} requests while {name}", latencies.len()),
            "us",
            slowest,
        );
        let points = SLOWER.iter().filter(|one| **one <= latencies.len() as f64);
        let points = points.map(|one| (*one, quantile(latencies, 1.0 - 1.0 / one)));
        curves.push(Curve::unfitted(
            name,
            "one request in so many is slower",
            "microseconds",
            points.collect(),
        ));
    }
    report.plot("reload-latency", "Latency of a request during a reload", curves);
}

/// Microseconds, from the least to the most.
#[derive(Default)]
struct Found {
    /// Until a policy was in force.
    took: Vec<f64>,
    /// Until a request was answered that was due meanwhile.
    reloading: Vec<f64>,
    /// The same of as many requests while nothing was reloaded.
    quiet: Vec<f64>,
}

impl Found {
    /// Reloads, and lets the process be, in turn.
    fn of(process: &mut Process, requests: usize) -> Self {
        let mut found = Self::default();
        process.tell(&format!("quiet {FIRST}"));
        for round in 1.. {
            let mut reloading = microseconds(&process.tell(&format!("reload {round}")));
            found.took.push(reloading.remove(0));
            let quiet = process.tell(&format!("quiet {}", reloading.len()));
            found.quiet.extend(microseconds(&quiet));
            found.reloading.extend(reloading);
            if found.reloading.len() >= requests {
                break;
            }
        }
        for values in [&mut found.took, &mut found.reloading, &mut found.quiet] {
            values.sort_by(f64::total_cmp);
        }
        found
    }
}

/// As the process tells them.
fn microseconds(told: &str) -> Vec<f64> {
    told.split(' ').map(|value| value.parse().unwrap()).collect()
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place).or_else(|| sorted.last()).copied().unwrap_or_default()
}

/// Plays an application that calls itself through the mesh. Told `reload N`, its policy becomes that of a round, and its
/// first answer is how long that took; told `quiet N`, it sends so many requests.
pub(crate) async fn play(directory: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let policy = Policy {
        directory: directory.to_owned(),
        address: listener.local_addr().unwrap(),
    };
    policy.put(&policy.write(0));
    let mesh = server::mesh(directory, "orders").await;
    // A warning for each of the rules would be what the reload costs.
    assert_eq!(mesh.policy_status().warnings, [""; 0]);
    tokio::spawn(serve(mesh.clone(), listener, app()));
    process::answer("ready");
    for order in process::orders() {
        let number = order[1].parse().unwrap();
        let told = match order[0].as_str() {
            "reload" => reload(&mesh, &policy, number).await,
            _ => quiet(&mesh, number).await,
        };
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        process::answer(told.join(" "));
    }
}

async fn serve(mesh: Mesh, listener: TcpListener, app: Router) {
    mesh.serve(listener, app).await.unwrap();
}

/// Sends so many requests; microseconds that each took.
async fn quiet(mesh: &Mesh, requests: u32) -> Vec<u128> {
    let begun = Instant::now();
    paced(mesh, begun, &OnceLock::from(begun + PACE * requests)).await
}

/// Changes the policy; microseconds until it was in force, and those of each request that was due before.
async fn reload(mesh: &Mesh, policy: &Policy, round: u32) -> Vec<u128> {
    let next = policy.write(round);
    let over = in_force(mesh);
    let begun = Instant::now();
    policy.put(&next);
    let mut told = paced(mesh, begun, &over).await;
    let status = mesh.policy_status();
    assert!(over.get().is_some(), "the policy is not in force: {status:?}");
    told.insert(0, (*over.get().unwrap() - begun).as_micros());
    tokio::time::sleep(FREED).await;
    told
}

/// When the next policy was in force, once it is. Of one that is refused there is no such instant, ever.
fn in_force(mesh: &Mesh) -> Arc<OnceLock<Instant>> {
    let (mut generations, over) = (mesh.generations(), Arc::new(OnceLock::new()));
    let told = Arc::clone(&over);
    tokio::spawn(async move {
        generations.changed().await.unwrap();
        told.set(Instant::now())
    });
    over
}

/// Sends the requests that are due before it is over; microseconds that each took from the instant it had to set out.
async fn paced(mesh: &Mesh, begun: Instant, over: &OnceLock<Instant>) -> Vec<u128> {
    let (mut under_way, mut told) = (JoinSet::new(), Vec::new());
    for due in (0..MOST).map(|number| begun + PACE * number) {
        tokio::time::sleep_until(due).await;
        // Not whether it is over by now: after a pause, those are sent, too, that were due before its end.
        if over.get().is_some_and(|over| *over <= due) {
            break;
        }
        under_way.spawn(request(mesh.clone(), due));
        while let Some(done) = under_way.try_join_next() {
            told.push(done.unwrap());
        }
    }
    told.extend(under_way.join_all().await);
    told
}

async fn request(mesh: Mesh, due: Instant) -> u128 {
    let request = Request::get("http://orders/api/orders").body(Body::empty()).unwrap();
    let response = mesh.client().send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
    due.elapsed().as_micros()
}

/// Where the policy lies, and where its routes lead.
struct Policy {
    directory: PathBuf,
    address: SocketAddr,
}

impl Policy {
    /// Writes that of a round beside the one in force. It differs in each route and each rule, since of a file that has not
    /// changed nothing is read, and of its lists nothing compiled, again.
    fn write(&self, round: u32) -> PathBuf {
        let folder = self.directory.join(format!("policy-{}", round % 2));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("rules.yaml"), rules(round)).unwrap();
        fs::write(folder.join("routes.yaml"), routes(self.address, round)).unwrap();
        folder
    }

    /// Changes all files at once, as Kubernetes does: of two that change one after the other, the first might be in force
    /// alone.
    fn put(&self, folder: &Path) {
        let link = self.directory.join("new");
        symlink(folder, &link).unwrap();
        fs::rename(link, self.directory.join("policy")).unwrap();
    }
}

/// Rules of authorization, a half of the policy.
fn rules(round: u32) -> String {
    let head = "namespace: shop\nauthorization:\n  - name: api\n    service: orders\n    allow:\n";
    let caller = "      - { from: [cluster.local/ns/shop/sa/orders] }\n";
    half(format!("{head}{caller}"), |number| {
        let from = format!("cluster.local/ns/shop/sa/r{round}s{number}");
        format!("      - {{ from: [{from}], methods: [GET], paths: [\"/api/v{number}/*\"] }}\n")
    })
}

/// Routes, the other half. Requests take the last one.
fn routes(address: SocketAddr, round: u32) -> String {
    let endpoint = format!("{{ address: \"{address}\", service_account: orders }}");
    let head = "namespace: shop\nmesh: { mtls: strict }\nservices:\n  orders:\n";
    let routes = half(format!("{head}    endpoints: [{endpoint}]\n    routes:\n"), |number| {
        let matched = format!("path: {{ prefix: /api/v{number}/ }}, headers: {{ x-round: r{round} }}");
        format!("      - {{ match: {{ {matched} }}, timeout: 1s }}\n")
    });
    routes + "      - { timeout: 2s }\n"
}

/// A file of half the policy's size.
fn half(mut text: String, line: impl Fn(usize) -> String) -> String {
    for number in 0.. {
        if text.len() >= SIZE / 2 {
            break;
        }
        text += &line(number);
    }
    text
}
