//! The order of the way in, stated once.
//!
//! | step | why it stands here |
//! |---|---|
//! | 1. headers that only the mesh may set are removed, or set by it | nothing below may believe them |
//! | 2. trace, log, metrics ([`Exchange`]) | they must see every ending, refusals included |
//! | 3. connection still allowed: mTLS mode, trust | a change of policy or trust holds for open connections, too |
//! | 4. canonical view; host of the connection | what is matched is what the application sees |
//! | 5. authorization | last before the application; fails closed |
//! | 6. application | in the scope of the trace, so that its own requests belong to it |

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use mesh_core::decide::authz::Decision;
use mesh_core::decide::deadline::grpc_timeout;
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::identity::MtlsMode;
use mesh_core::request::{BadRequest, canonicalize, strip_h2c};
use mesh_core::snapshot::Snapshot;
use tracing::Instrument;

use super::client_cert;
use super::connection::{Connection, Security};
use super::exchange::Exchange;
use super::peer::Peer;
use super::respond::Refusal;
use crate::body::{Body, BoxError};
use crate::telemetry::trace::{Correlation, Sampling};

/// Serves one request: by the application, or by a refusal.
///
/// # Errors
///
/// Those of the application.
pub(crate) async fn serve<F, B, E>(
    connection: Arc<Connection>,
    mut request: Request<Body>,
    app: impl FnOnce(Request<Body>) -> F,
) -> Result<Response<Body>, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let shared = &connection.shared;
    let live = shared.live.load_full();
    let client = client_cert::settle(&live.snapshot.client_certs, &connection, request.headers_mut());
    strip_h2c(request.headers_mut());
    let correlation = Correlation::ensure(request.headers_mut(), Sampling::default(), &mut &shared.entropy);
    let mut exchange = Exchange::begin(&connection, live.snapshot.generation, &correlation, &request);
    if let Some(client) = client {
        exchange.forwarded_client = client.uri().map(Arc::from);
        request.extensions_mut().insert(client);
    }
    if let Err(refusal) = admit(&live.snapshot, &connection, &mut request, &mut exchange) {
        let response = refusal.response(exchange.is_grpc(), exchange.is_http1());
        return Ok(exchange.settle_later(response, refusal.outcome));
    }
    let peer = Peer {
        connection: Arc::clone(&connection),
    };
    request.extensions_mut().insert(peer);
    let span = exchange.span.span().clone();
    match correlation.scope(app(request)).instrument(span).await {
        Ok(response) => Ok(exchange.settle_later(response.map(Body::new), Outcome::Response)),
        Err(error) => {
            exchange.settle(Outcome::UpstreamReset);
            Err(error)
        }
    }
}

fn admit(
    snapshot: &Snapshot,
    connection: &Connection,
    request: &mut Request<Body>,
    exchange: &mut Exchange,
) -> Result<(), Refusal> {
    still_allowed(snapshot, connection, request.headers())?;
    let authorizer = &snapshot.inbound.authorizer;
    let canonical = canonicalize(&*request, snapshot.inbound_options(connection.transport())).map_err(bad_request)?;
    misdirected(connection, canonical.view().host)?;
    not_over_yet(exchange, request.headers())?;
    let rules = connection.rules(authorizer);
    let decision = rules.authorize(&canonical.view());
    exchange.decided(&decision);
    if !decision.is_allowed() {
        return Err(denied(&decision));
    }
    if let Some(uri) = canonical.into_rewritten() {
        *request.uri_mut() = uri;
    }
    Ok(())
}

/// Nobody waits for the answer to a gRPC call whose time is up.
fn not_over_yet(exchange: &Exchange, headers: &HeaderMap) -> Result<(), Refusal> {
    match exchange.is_grpc() && matches!(grpc_timeout(headers), Ok(Some(Duration::ZERO))) {
        true => Err(Refusal::new(Outcome::RequestTimeout, "the deadline is over")),
        false => Ok(()),
    }
}

/// A connection that was made for one host carries no requests for another: its certificate did not speak for it.
fn misdirected(connection: &Connection, host: &str) -> Result<(), Refusal> {
    let Security::Web {
        server_name: Some(name),
        ..
    } = &connection.security
    else {
        return Ok(());
    };
    match name.eq_ignore_ascii_case(host) {
        true => Ok(()),
        false => Err(Refusal::new(
            Outcome::Misdirected,
            "the connection was made for another host",
        )),
    }
}

/// The policy and the trust of now, not those of the handshake.
fn still_allowed(snapshot: &Snapshot, connection: &Connection, headers: &HeaderMap) -> Result<(), Refusal> {
    let refused = |text| Err(Refusal::new(Outcome::Unauthenticated, text).closing());
    let mode = || snapshot.inbound.mtls(connection.local.port()).0;
    match connection.security {
        Security::Web { .. } => Ok(()),
        Security::Mutual(..) if mode() == MtlsMode::Disable => refused("this port takes plain text only"),
        Security::Mutual(..) => connection.still_trusted().or_else(|ended| {
            tracing::warn!(peer = %connection.remote, "{ended}");
            refused("the caller's certificate is not valid any more")
        }),
        Security::Plain if mode() == MtlsMode::Strict => refused("this port takes mTLS only"),
        Security::Plain => {
            if let Some(caller) = &connection.plain {
                connection.shared.plain_text.request(caller, headers);
            }
            Ok(())
        }
    }
}

fn bad_request(reason: BadRequest) -> Refusal {
    let mut refusal = Refusal::new(Outcome::BadRequest, "the request has no unambiguous form");
    refusal.status = reason.status();
    refusal.grpc_status = reason.grpc_status();
    tracing::debug!(%reason, "request refused");
    refusal
}

fn denied(decision: &Decision<'_>) -> Refusal {
    tracing::debug!(%decision, "request denied");
    match decision.outcome() {
        Some(Outcome::NoRoute) => Refusal::new(Outcome::NoRoute, "no route takes the request"),
        _ => Refusal::new(Outcome::Denied, "RBAC: access denied"),
    }
}
