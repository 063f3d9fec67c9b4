//! A request with an answer of 1 KiB, client and server on one thread.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};
use http_body_util::{BodyExt, Full};
use mesh_benches::call::Call;
use mesh_benches::meshed::{Hop, World};
use mesh_benches::{Sending, bare};
use tokio::runtime::{Builder, Runtime};

use crate::{Case, Work};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const ITERATIONS: u64 = 250;
/// Until a mesh has had its first two upkeeps, one a second. Each publishes the descriptions of its metrics, which takes
/// 36 000 instructions once; they would be counted on a slow machine, and not on a quick one.
const SETTLING: Duration = Duration::from_millis(2_500);
pub(crate) const ANSWER: [u8; 1024] = [b'a'; 1024];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("request_bare_pool", || bare_pool(None)),
        case("request_full_mesh", || full_mesh("disable", "h1", Call::Get)),
        case("request_bare_pool_mtls", || bare_pool(Some(Version::HTTP_11))),
        case("request_full_mesh_mtls", || full_mesh("strict", "h1", Call::Get)),
        case("request_bare_pool_mtls_h2", || bare_pool(Some(Version::HTTP_2))),
        case("request_full_mesh_mtls_h2", || full_mesh("strict", "h2", Call::Get)),
        case("request_bare_pool_mtls_grpc", bare_grpc),
        case("request_full_mesh_mtls_grpc", || full_mesh("strict", "h2", Call::Unary)),
    ]
}

fn case(name: &str, prepare: impl Fn() -> Work + 'static) -> Case {
    Case::new(name, ITERATIONS, prepare)
}

pub(crate) fn app() -> Router {
    let orders = get(|| async { &ANSWER[..] }).post(unary);
    Router::new().route("/api/orders", orders)
}

/// A message and its status, as a server of gRPC answers.
async fn unary(_: Bytes) -> Response<Body> {
    let status = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let message = Full::new(Bytes::from_static(&ANSWER)).with_trailers(async { Some(Ok(status)) });
    let mut response = Response::new(Body::new(message));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
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
            let send = runtime.block_on(bare::mutual_tls(app(), version, Call::Get));
            sending(runtime, send)
        }
    }
}

fn bare_grpc() -> Work {
    let runtime = runtime();
    let send = runtime.block_on(bare::mutual_tls(app(), Version::HTTP_2, Call::Unary));
    sending(runtime, send)
}

fn full_mesh(mtls: &'static str, http: &'static str, call: Call) -> Work {
    let (runtime, world) = (runtime(), World::new());
    let hop = Hop {
        name: "hop",
        mtls,
        http,
        call,
    };
    let send = runtime.block_on(world.hop(app(), hop));
    settled(runtime, move || {
        let _ = &world;
        send()
    })
}

/// Sends one, and lets what has been started by it come to rest before anybody counts.
pub(crate) fn settled(runtime: Runtime, send: impl Fn() -> Sending + 'static) -> Work {
    runtime.block_on(async {
        send().await;
        tokio::time::sleep(SETTLING).await;
    });
    sending(runtime, send)
}

/// Sends one after the other, on the runtime's thread.
fn sending(runtime: Runtime, send: impl Fn() -> Sending + 'static) -> Work {
    Box::new(move |iterations| {
        runtime.block_on(async {
            for _ in 0..iterations {
                assert_eq!(send().await, ANSWER.len());
            }
        });
    })
}
