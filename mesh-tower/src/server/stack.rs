//! The order of the way in, stated once.
//!
//! | step | why it stands here |
//! |---|---|
//! | 1. headers that only the mesh may set are removed | nothing below may believe them |
//! | 2. trace, log, metrics ([`Exchange`]) | they must see every ending, refusals included |
//! | 3. connection still allowed: mTLS mode, trust | a change of policy or trust holds for open connections, too |
//! | 4. canonical view; host of the connection | what is matched is what the application sees |
//! | 5. external authorizer ([`ext_authz`]), where a `CUSTOM` rule demands it | rules behind it see what it changes |
//! | 6. authorization | last before the application; fails closed |
//! | 7. application | in the scope of the trace, so that its own requests belong to it |

use std::future::Future;
use std::sync::Arc;

use http::{Request, Response};
use mesh_core::decide::authz::{Decision, PeerRules};
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::identity::MtlsMode;
use mesh_core::request::{BadRequest, CanonicalRequest, Options, canonicalize, strip_h2c, strip_mesh_managed};
use mesh_core::snapshot::{AskedAuthorizer, Snapshot};
use tracing::Instrument;

use super::connection::{Connection, Security};
use super::exchange::Exchange;
use super::ext_authz::{self, Checked, Denial, ForResponse};
use super::peer::Peer;
use super::respond::Refusal;
use crate::body::{Body, BoxError};
use crate::mesh::Live;
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
    let depth = ext_authz::depth(&live.snapshot.inbound.authorizer, request.headers());
    strip_mesh_managed(request.headers_mut());
    strip_h2c(request.headers_mut());
    let correlation = Correlation::ensure(request.headers_mut(), Sampling::default(), &mut &shared.entropy);
    let mut exchange = Exchange::begin(&connection, live.snapshot.generation, &correlation, &request);
    let admitted = match admit(&live.snapshot, &connection, &mut request, &mut exchange) {
        Ok(Admitted::Through) => Ok(ForResponse::default()),
        // Boxed: requests that nobody is asked about need not carry its state.
        Ok(Admitted::Ask(rules)) => {
            let span = exchange.span.span().clone();
            let asking = ask(&live, &connection, &rules, &mut request, &mut exchange, depth);
            Box::pin(correlation.clone().scope(asking).instrument(span)).await
        }
        Err(refusal) => Err(refusal.into()),
    };
    let for_response = match admitted {
        Ok(for_response) => for_response,
        Err(refused) => return Ok(refused.answer(exchange)),
    };
    let peer = Peer {
        connection: Arc::clone(&connection),
    };
    request.extensions_mut().insert(peer);
    let span = exchange.span.span().clone();
    match correlation.scope(app(request)).instrument(span).await {
        Ok(response) => {
            let mut response = response.map(Body::new);
            for_response.apply(&mut response);
            Ok(exchange.settle_later(response, Outcome::Response))
        }
        Err(error) => {
            exchange.settle(Outcome::UpstreamReset);
            Err(error)
        }
    }
}

/// What becomes of a request whose connection is in order.
enum Admitted {
    Through,
    /// One of these rules has an external authorizer asked.
    Ask(Arc<PeerRules>),
}

fn admit(
    snapshot: &Snapshot,
    connection: &Connection,
    request: &mut Request<Body>,
    exchange: &mut Exchange,
) -> Result<Admitted, Refusal> {
    still_allowed(snapshot, connection)?;
    let rules = connection.rules(&snapshot.inbound.authorizer);
    let canonical = canonical(snapshot, connection, request)?;
    let asks = rules.question(&canonical.view()).is_some();
    if !asks {
        authorized(rules.authorize(&canonical.view()), exchange)?;
    }
    if let Some(uri) = canonical.into_rewritten() {
        *request.uri_mut() = uri;
    }
    Ok(if asks { Admitted::Ask(rules) } else { Admitted::Through })
}

fn canonical<'r>(
    snapshot: &Snapshot,
    connection: &Connection,
    request: &'r Request<Body>,
) -> Result<CanonicalRequest<'r>, Refusal> {
    let options = Options::inbound(connection.transport(), snapshot.inbound.authorizer.path_rules());
    let canonical = canonicalize(request, options).map_err(bad_request)?;
    misdirected(connection, canonical.view().host)?;
    Ok(canonical)
}

fn authorized(decision: Decision<'_>, exchange: &mut Exchange) -> Result<(), Refusal> {
    exchange.decided(&decision);
    match decision.is_allowed() {
        true => Ok(()),
        false => Err(denied(&decision)),
    }
}

/// Has the external authorizer asked, then the other rules, about the request as the answer leaves it.
async fn ask(
    live: &Live,
    connection: &Connection,
    rules: &PeerRules,
    request: &mut Request<Body>,
    exchange: &mut Exchange,
    depth: u8,
) -> Result<ForResponse, Refused> {
    let snapshot = &live.snapshot;
    let authorizer = who_is_asked(snapshot, connection, rules, request, exchange)?;
    let (result, checked) = ext_authz::check(connection, live, &authorizer, request, depth).await;
    exchange.asked(&authorizer.name, result);
    let canonical = canonical(snapshot, connection, request)?;
    let for_response = match checked {
        Checked::Allowed(for_response) => for_response,
        Checked::Denied(outcome, denial) => {
            // Which rule it is, and what marks the request, is told of it as of any other denial.
            exchange.decided(&rules.authorize(&canonical.view()));
            return Err(Refused::Externally(outcome, Box::new(denial)));
        }
    };
    authorized(rules.authorize_allowed(&canonical.view()), exchange)?;
    if let Some(uri) = canonical.into_rewritten() {
        *request.uri_mut() = uri;
    }
    Ok(for_response)
}

/// The authorizer that a rule demands; where nobody can be asked, the rule denies.
fn who_is_asked(
    snapshot: &Snapshot,
    connection: &Connection,
    rules: &PeerRules,
    request: &Request<Body>,
    exchange: &mut Exchange,
) -> Result<Arc<AskedAuthorizer>, Refusal> {
    let canonical = canonical(snapshot, connection, request)?;
    let asked = rules.question(&canonical.view()).map(|question| {
        let asked = snapshot.inbound.asked(&question).cloned();
        asked.inspect_err(|reason| tracing::debug!(%question, %reason, "nobody can be asked: the request is denied"))
    });
    match asked {
        Some(Ok(authorizer)) => Ok(authorizer),
        _ => {
            authorized(rules.authorize(&canonical.view()), exchange)?;
            Err(Refusal::new(Outcome::Denied, "RBAC: access denied"))
        }
    }
}

/// A request that does not reach the application.
enum Refused {
    Here(Refusal),
    /// By an external authorizer, or for want of its answer.
    Externally(Outcome, Box<Denial>),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Here(refusal)
    }
}

impl Refused {
    fn answer(self, exchange: Exchange) -> Response<Body> {
        let is_grpc = exchange.is_grpc();
        match self {
            Self::Here(refusal) => {
                let response = refusal.response(is_grpc, exchange.is_http1());
                exchange.settle_later(response, refusal.outcome)
            }
            Self::Externally(outcome, denial) => exchange.settle_later(denial.response(is_grpc), outcome),
        }
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
fn still_allowed(snapshot: &Snapshot, connection: &Connection) -> Result<(), Refusal> {
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
            connection.shared.metrics.plaintext_request();
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
