//! No form of a request reaches what a DENY names: random spellings of paths, hosts, methods and headers, sent as raw
//! HTTP/1.1, as frames of HTTP/2 and in memory, against a reading of our own that is as generous as the most generous
//! server could be.
//!
//! A fixed seed and hundreds of cases for each mode and transport; `PROPTEST_CASES` asks for more.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking, and tells its figures"
)]

mod form;
mod reference;
mod transport;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use mesh_core::workload::Workload;
use mesh_tests::World;
use mesh_tests::seeds::secured;
use mesh_tower::Mesh;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::net::TcpListener;

use form::Form;
use transport::{Http1, Http2, Transport};

/// How far paths are normalised. `none` is not among them: no rule may deny by path then.
const MODES: [&str; 3] = ["base", "merge_slashes", "decode_and_merge_slashes"];

/// Cases for each mode and transport, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 600;

/// A server, and what its application was asked that it should not have been.
struct Scene {
    _world: World,
    mesh: Mesh,
    app: Router,
    address: std::net::SocketAddr,
    reached: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    async fn new(mode: &str) -> Self {
        let world = World::new();
        world.write("rules.yaml", reference::RULES);
        world.write("mesh.yaml", &format!("mesh: {{ path_normalization: {mode} }}\n"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        world.write("orders.yaml", &secured("shop", "orders", "orders", address));
        let mesh = world.mesh(&Workload::new("shop", "orders")).await;
        let reached = Arc::new(Mutex::new(Vec::new()));
        let app = application(&reached);
        let (serving, served) = (mesh.clone(), app.clone());
        tokio::spawn(async move { serving.serve(listener, served).await.unwrap() });
        Self {
            _world: world,
            mesh,
            app,
            address,
            reached,
        }
    }
}

/// Serves whatever it is asked, and notes what it should not have been.
fn application(reached: &Arc<Mutex<Vec<String>>>) -> Router {
    let reached = Arc::clone(reached);
    Router::new().fallback(move |request: Request| {
        let seen = Form::of(&request);
        if let Some(rule) = reference::denied(&seen) {
            reached.lock().unwrap().push(format!("{rule}: {seen:?}"));
        }
        async { "served" }
    })
}

/// Sends random forms; none that was answered with 200 may be one that the reference denies.
fn try_all<T: Transport>(make: &impl AsyncFn(&Scene) -> T) {
    MODES.iter().for_each(|mode| try_mode(mode, make));
}

fn try_mode<T: Transport>(mode: &str, make: &impl AsyncFn(&Scene) -> T) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let scene = runtime.block_on(Scene::new(mode));
    let transport = Mutex::new(runtime.block_on(make(&scene)));
    let seen = Mutex::new(BTreeMap::<String, u32>::new());
    let check = |form: Form| {
        let status = runtime.block_on(transport.lock().unwrap().send(&form));
        let denied = reference::denied(&form);
        let key = format!("{status:?}{}", if denied.is_some() { " of what is denied" } else { "" });
        *seen.lock().unwrap().entry(key).or_default() += 1;
        let reached = std::mem::take(&mut *scene.reached.lock().unwrap());
        assert!(status != Some(200) || denied.is_none(), "served: {denied:?}");
        assert!(reached.is_empty(), "{reached:?}");
        Ok(())
    };
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&form::forms(), check);
    let seen = seen.into_inner().unwrap();
    println!("{mode}: {seen:?}");
    result.unwrap_or_else(|failure| panic!("{failure}"));
    // A server that refuses everything, or a generator that hits nothing, would prove nothing.
    let of = |key: &str| seen.get(key).copied().unwrap_or_default();
    let all: u32 = seen.values().sum();
    assert!(of("Some(200)") > all / 20, "{seen:?}");
    assert!(of("Some(403) of what is denied") > all / 20, "{seen:?}");
}

/// A3, A4, A5, A7, A8, A9, A10, A12, A13, A14, A18, A26, B1, B2, B3, B7, B8, B9, B12, C1, D1, D2: over a socket.
#[test]
fn http1_by_hand() {
    try_all(&async |scene| Http1::new(scene.address));
}

/// The same as frames.
#[test]
fn http2_by_hand() {
    try_all(&async |scene| Http2::new(scene.address).await);
}

/// The same as values, for whoever uses the layer alone.
#[test]
fn in_memory() {
    use tower::Layer;
    try_all(&async |scene| scene.mesh.layer().layer(scene.app.clone()));
}
