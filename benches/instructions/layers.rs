//! What the mesh costs where no policy asks it for anything, over an inner service that does nothing.
//!
//! The client is no layer and has no inner service: what it costs shows in a request to a server without a mesh, beside
//! `request_bare_pool`.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use mesh_benches::bare;
use mesh_core::workload::Workload;
use mesh_tower::layer::RetryLayer;
use mesh_tower::{Body, Mesh};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower::{Layer, Service, service_fn};

use crate::requests::{ANSWER, ITERATIONS as REQUESTS, app, runtime, settled};
use crate::{Case, Work};

const ITERATIONS: u64 = 1_000;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("layer_noop", ITERATIONS, || calling(service_fn(nothing))),
        Case::new("layer_empty_server", ITERATIONS, server),
        Case::new("layer_empty_retry", ITERATIONS, retry),
        Case::new("request_empty_client", REQUESTS, client),
    ]
}

fn nothing(_: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    ready(Ok(Response::new(Body::empty())))
}

/// Calls a service that is ready at once, and has its answer at once.
fn calling<S>(mut service: S) -> Work
where
    S: Service<Request<Body>, Response = Response<Body>> + 'static,
    S::Error: std::fmt::Debug,
{
    Box::new(move |iterations| {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..iterations {
            let request = Request::get(Uri::from_static("/api/orders")).header("host", "orders");
            let request = request.body(Body::empty()).unwrap();
            assert!(service.poll_ready(&mut cx).is_ready());
            let mut answering = pin!(service.call(black_box(request)));
            let Poll::Ready(answer) = answering.as_mut().poll(&mut cx) else {
                unreachable!("nothing in it waits");
            };
            assert_eq!(black_box(answer.unwrap()).status(), 200);
        }
    })
}

/// A mesh whose policy says what holds without one, too: an empty one is refused.
async fn mesh() -> (TempDir, Mesh) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.yaml"), "mesh: { mtls: permissive }\n").unwrap();
    let builder = Mesh::builder()
        .policy(directory.path())
        .workload(Workload::new("shop", "orders"));
    let mesh = builder.without_admin().build().await.unwrap();
    (directory, mesh)
}

fn server() -> Work {
    let runtime = runtime();
    let mesh = runtime.block_on(mesh());
    let mut work = calling(mesh.1.layer().layer(service_fn(nothing)));
    Box::new(move |iterations| {
        let _entered = runtime.enter();
        work(iterations);
        black_box(&mesh);
    })
}

/// No attempt after the first.
fn retry() -> Work {
    let layer = RetryLayer::new(0, "5xx".parse().unwrap());
    let (runtime, mut work) = (runtime(), calling(layer.layer(service_fn(nothing))));
    Box::new(move |iterations| {
        let _entered = runtime.enter();
        work(iterations);
    })
}

fn client() -> Work {
    let runtime = runtime();
    let (mesh, uri) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/api/orders", listener.local_addr().unwrap());
        tokio::spawn(bare::serve(listener, app()));
        (mesh().await, uri.parse::<Uri>().unwrap())
    });
    let client = mesh.1.client();
    settled(runtime, move || {
        let (client, uri) = (client.clone(), uri.clone());
        let _ = &mesh;
        Box::pin(async move {
            let request = Request::get(uri).body(Body::empty()).unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let answer = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(answer.len(), ANSWER.len());
            answer.len()
        })
    })
}
