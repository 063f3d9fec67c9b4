//! A request with an answer of 1 KiB, client and server on one thread.

use axum::Router;
use axum::routing::get;
use http::Version;
use mesh_benches::meshed::{Hop, World};
use mesh_benches::{Sending, bare};
use tokio::runtime::{Builder, Runtime};

use crate::{Case, Work};

pub(crate) const ITERATIONS: u64 = 250;
pub(crate) const ANSWER: [u8; 1024] = [b'a'; 1024];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("request_bare_pool", || bare_pool(None)),
        case("request_full_mesh", || full_mesh("disable", "h1")),
        case("request_bare_pool_mtls", || bare_pool(Some(Version::HTTP_11))),
        case("request_full_mesh_mtls", || full_mesh("strict", "h1")),
        case("request_bare_pool_mtls_h2", || bare_pool(Some(Version::HTTP_2))),
        case("request_full_mesh_mtls_h2", || full_mesh("strict", "h2")),
    ]
}

fn case(name: &str, prepare: impl Fn() -> Work + 'static) -> Case {
    Case::new(name, ITERATIONS, prepare)
}

pub(crate) fn app() -> Router {
    Router::new().route("/api/orders", get(|| async { &ANSWER[..] }))
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn bare_pool(tls: Option<Version>) -> Work {
    let runtime = runtime();
    match tls {
        None => {
            let send = runtime.block_on(bare::plain(app()));
            sending(runtime, send)
        }
        Some(version) => {
            let send = runtime.block_on(bare::mutual_tls(app(), version));
            sending(runtime, send)
        }
    }
}

fn full_mesh(mtls: &'static str, http: &'static str) -> Work {
    let (runtime, world) = (runtime(), World::new());
    let hop = Hop {
        name: "hop",
        mtls,
        http,
    };
    let send = runtime.block_on(world.hop(app(), hop));
    sending(runtime, move || {
        let _ = &world;
        send()
    })
}

/// Sends one after the other, on the runtime's thread.
pub(crate) fn sending(runtime: Runtime, send: impl Fn() -> Sending + 'static) -> Work {
    Box::new(move |iterations| {
        runtime.block_on(async {
            for _ in 0..iterations {
                assert_eq!(send().await, ANSWER.len());
            }
        });
    })
}
