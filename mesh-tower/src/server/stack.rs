//! The order of the way in, stated once.
//!
//! | step | why it stands here |
//! |---|---|
//! | 1. headers that only the mesh may set are removed | nothing below may believe them |
//! | 2. trace, log, metrics ([`Exchange`]) | they must see every ending, refusals included |
//! | 3. connection still allowed: mTLS mode, trust | a change of policy or trust holds for open connections, too |
//! | 4. canonical view; host of the connection | what is matched is what the application sees |
//! | 5. authorization | last before the application; fails closed |
//! | 6. application | in the scope of the trace, so that its own requests belong to it; until the rules deny the request, where the policy wants that asked |

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use mesh_core::decide::authz::Decision;
use mesh_core::outcome::Outcome;
use mesh_core::request::{BadRequest, Options, canonicalize, strip_h2c, strip_mesh_managed};
use mesh_core::snapshot::Snapshot;
use tracing::Instrument;

use super::connection::{Connection, Ended, Security};
use super::exchange::Exchange;
use super::peer::Peer;
use super::respond::Refusal;
use super::running;
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
    strip_mesh_managed(request.headers_mut());
    strip_h2c(request.headers_mut());
    let correlation = Correlation::ensure(request.headers_mut(), Sampling::default(), &mut &shared.entropy);
    let mut exchange = Exchange::begin(&connection, live.snapshot.generation, &correlation, &request);
    let standing = match admit(&live.snapshot, &connection, &mut request, &mut exchange) {
        Ok(standing) => standing,
        Err(refusal) => {
            let response = refusal.response(exchange.is_grpc(), exchange.is_http1());
            return Ok(exchange.settle_later(response, refusal.outcome));
        }
    };
    let peer = Peer {
        connection: Arc::clone(&connection),
    };
    request.extensions_mut().insert(peer);
    let span = exchange.span.span().clone();
    let kept = running::keep(&connection, &live.snapshot, &request);
    let mut answering = pin!(correlation.scope(app(request)).instrument(span));
    let answered = std::future::poll_fn(|cx| match &kept {
        Some(running) if running.poll_ended(cx).is_ready() => Poll::Ready(None),
        _ => answering.as_mut().poll(cx).map(Some),
    });
    let Some(answered) = answered.await else {
        let refusal = Refusal::new(Outcome::Denied, DENIED);
        let response = refusal.response(exchange.is_grpc(), exchange.is_http1());
        return Ok(exchange.settle_later(response, refusal.outcome));
    };
    match answered {
        Ok(response) => {
            let mut response = response.map(Body::new);
            if standing == Standing::Ending && exchange.is_http1() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            let response = match kept {
                Some(running) => running.hold(&connection, response),
                None => response,
            };
            Ok(exchange.settle_later(response, Outcome::Response))
        }
        Err(error) => {
            exchange.settle(Outcome::UpstreamReset);
            Err(error)
        }
    }
}

/// Whether a connection may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Firm,
    /// Its peer is trusted no more, and is told so.
    Ending,
}

fn admit(
    snapshot: &Snapshot,
    connection: &Connection,
    request: &mut Request<Body>,
    exchange: &mut Exchange,
) -> Result<Standing, Refusal> {
    let standing = still_allowed(snapshot, connection)?;
    let authorizer = &snapshot.inbound.authorizer;
    let options = Options::inbound(connection.transport(), authorizer.path_rules());
    let canonical = canonicalize(&*request, options).map_err(bad_request)?;
    misdirected(connection, canonical.view().host)?;
    let rules = connection.rules(authorizer);
    let decision = rules.authorize(&canonical.view());
    exchange.decided(&decision);
    if !decision.is_allowed() {
        return Err(denied(&decision));
    }
    if let Some(uri) = canonical.into_rewritten() {
        *request.uri_mut() = uri;
    }
    Ok(standing)
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
fn still_allowed(snapshot: &Snapshot, connection: &Connection) -> Result<Standing, Refusal> {
    match connection.still_allowed(snapshot) {
        Err(Ended::NotTrusted(_)) if connection.is_draining(snapshot) => return Ok(Standing::Ending),
        Err(ended) => return Err(not_allowed(connection, &ended)),
        Ok(()) => {}
    }
    if let Security::Plain = connection.security {
        connection.shared.metrics.plaintext_request();
    }
    Ok(Standing::Firm)
}

fn not_allowed(connection: &Connection, ended: &Ended) -> Refusal {
    let text = match ended {
        Ended::PlainTextOnly => "this port takes plain text only",
        Ended::MutualTlsOnly => "this port takes mTLS only",
        Ended::NotTrusted(_) | Ended::Revoked(_) => "the caller's certificate is not valid any more",
        Ended::Denied => DENIED,
    };
    tracing::debug!(peer = %connection.remote, "request refused: {ended}");
    Refusal::new(Outcome::Unauthenticated, text).closing()
}

/// What a caller is told whom no rule lets in, as Envoy says it.
const DENIED: &str = "RBAC: access denied";

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
        _ => Refusal::new(Outcome::Denied, DENIED),
    }
}
