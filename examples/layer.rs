//! One layer alone: retries with a budget around any tower client, without policy files.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response, StatusCode};
use mesh_tower::Body;
use mesh_tower::layer::RetryLayer;
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    // A service that is unavailable twice. Any `tower::Service` of HTTP would do.
    let flaky = service_fn(move |_: Request<Body>| {
        let status = match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        let mut response = Response::new(Body::from("hello"));
        *response.status_mut() = status;
        std::future::ready(Ok::<_, std::io::Error>(response))
    });
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new(3, "5xx,reset".parse()?))
        .service(flaky);

    let request = Request::get("http://orders/").body(Body::empty())?;
    let response = client.oneshot(request).await.map_err(anyhow::Error::from_boxed)?;

    println!("{} after {} calls", response.status(), calls.load(Ordering::SeqCst));
    anyhow::ensure!(response.status() == StatusCode::OK && calls.load(Ordering::SeqCst) == 3);
    Ok(())
}
