//! The process of the service.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use mesh_core::workload::Workload;
use mesh_tower::Mesh;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::identities::{ORDERS, server_config};
use crate::matrix::Flavour;
use crate::role::Side;
use crate::service::router;

/// Files do not change while a benchmark runs.
pub(crate) const POLL: Duration = Duration::from_secs(3_600);
/// As in the policy of the mesh.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const AT_A_TIME: usize = 1_000;

/// Serves until somebody ends the process; says `ready` once it listens.
pub(crate) async fn run(side: Side) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(side.address).await?;
    let mesh = match side.flavour {
        Flavour::Mesh => Some(mesh(&side, Workload::new("shop", ORDERS).label("app", ORDERS)).await?),
        Flavour::Bare | Flavour::Tower => None,
    };
    std::io::stdout().write_all(b"ready\n")?;
    if let Some(mesh) = mesh {
        mesh.serve(listener, router()).await?;
        return Ok(());
    }
    let app = match side.flavour {
        Flavour::Tower => layered(router()),
        _ => router(),
    };
    let is_http2 = side.traffic.is_http2();
    let tls = match side.is_tls {
        true => Some(TlsAcceptor::from(Arc::new(server_config(&side.identities, is_http2)?))),
        false => None,
    };
    serve(listener, tls, app, is_http2).await
}

/// A mesh with the identity of its workload.
pub(crate) async fn mesh(side: &Side, workload: Workload) -> Result<Mesh, Box<dyn std::error::Error>> {
    let identity: &Path = &side.identities.join(&workload.service_account);
    let builder = Mesh::builder().policy(&side.policy).identity_directory(identity);
    Ok(builder.workload(workload).poll(POLL).without_admin().build().await?)
}

/// What tower and tower-http have for a server.
fn layered(app: Router) -> Router {
    app.layer(
        ServiceBuilder::new()
            .layer(TraceLayer::new_for_http())
            .layer(GlobalConcurrencyLimitLayer::new(AT_A_TIME))
            .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT)),
    )
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    is_http2: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let app = app.clone();
        match tls.clone() {
            None => drop(tokio::spawn(connection(stream, app, is_http2))),
            Some(tls) => drop(tokio::spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    connection(stream, app, is_http2).await;
                }
            })),
        }
    }
}

/// One connection, by the builder of its version: cheaper than the one that finds out by itself.
async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: Router, is_http2: bool) {
    let app = ServiceBuilder::new()
        .map_request(|request: Request<hyper::body::Incoming>| request.map(Body::new))
        .service(app);
    let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(app));
    // A client that goes away is no failure of the service.
    let _ = match is_http2 {
        true => {
            http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await
        }
        false => http1::Builder::new().serve_connection(io, service).await,
    };
}
