//! Whether a request reaches the application: connection, canonical view, token, external authorizer, rules.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use http::{HeaderMap, Request, Response, Uri};
use mesh_core::decide::authz::{Decision, PeerRules};
use mesh_core::outcome::Outcome;
use mesh_core::request::{BadRequest, CanonicalRequest, RequestView, canonicalize};
use mesh_core::snapshot::{AskedAuthorizer, Snapshot};
use mesh_core::time::Timestamp;

use super::connection::{Connection, Ended, Security};
use super::exchange::Exchange;
use super::ext_authz::{self, Checked, Denial, ForResponse};
use super::jwt::{self, Claims};
use super::respond::Refusal;
use crate::body::Body;
use crate::mesh::Live;

/// What a caller is told whom no rule lets in, as Envoy says it.
pub(super) const DENIED: &str = "RBAC: access denied";

/// How far a request has come without waiting.
pub(super) enum Admission {
    Judged(Admitted),
    /// Its token has to be verified first, if it bears one.
    Bearing(Standing),
}

/// What becomes of a request whose connection is in order.
pub(super) enum Admitted {
    Through(Judged),
    /// One of these rules has an external authorizer asked.
    Ask(Judged, Arc<PeerRules>),
}

/// How a request was judged.
pub(super) struct Judged {
    pub(super) standing: Standing,
    /// What servers may take the path for in which it came.
    pub(super) readings: Vec<String>,
}

/// Whether a connection may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Firm,
    /// Its peer is trusted no more, and is told so.
    Ending,
}

/// Judges a request in the form in which the application gets it.
pub(super) fn admit(
    snapshot: &Snapshot,
    connection: &Connection,
    request: &mut Request<Body>,
    exchange: &mut Exchange,
) -> Result<Admission, Refusal> {
    let tokens = &snapshot.inbound.tokens;
    if !tokens.is_empty() {
        // ORDER: whatever becomes of the request is logged.
        exchange.hide_tokens(tokens);
    }
    let standing = still_allowed(snapshot, connection, request.headers(), exchange.start)?;
    // Another mesh of this process may have verified a token by other rules.
    request.extensions_mut().remove::<Claims>();
    if !tokens.is_empty() {
        return Ok(Admission::Bearing(standing));
    }
    let canonical = canonical_of(snapshot, connection, request)?;
    not_over_yet(&canonical)?;
    let rules = connection.rules(&snapshot.inbound.authorizer);
    let asks = judge(&rules, &view_of(&canonical, request), exchange)?;
    let readings = rewrite(request, canonical.into_parts());
    let judged = Judged { standing, readings };
    Ok(Admission::Judged(admitted(asks, judged, rules)))
}

/// The same for a request that may bear a token.
pub(super) async fn admit_bearer(
    snapshot: &Snapshot,
    connection: &Connection,
    request: &mut Request<Body>,
    exchange: &mut Exchange,
    standing: Standing,
) -> Result<Admitted, Refusal> {
    let tokens = &snapshot.inbound.tokens;
    let mut canonical = canonical_of(snapshot, connection, request)?;
    not_over_yet(&canonical)?;
    let bearer = jwt::authenticate(snapshot, &connection.shared.tokens, &canonical.view(), exchange).await?;
    if let Some(bearer) = bearer {
        let readings = rewrite(request, canonical.into_parts());
        // ORDER: rules see the request without its token, and with the headers that the token fills.
        bearer.introduce(tokens, request);
        canonical = canonical_of(snapshot, connection, request)?.also_read_as(&readings);
    }
    let rules = connection.rules(&snapshot.inbound.authorizer);
    let asks = judge(&rules, &view_of(&canonical, request), exchange)?;
    let readings = rewrite(request, canonical.into_parts());
    Ok(admitted(asks, Judged { standing, readings }, rules))
}

fn admitted(asks: bool, judged: Judged, rules: Guard<Arc<PeerRules>>) -> Admitted {
    match asks {
        true => Admitted::Ask(judged, Guard::into_inner(rules)),
        false => Admitted::Through(judged),
    }
}

/// Whether somebody has to be asked; else the decision.
fn judge(rules: &PeerRules, view: &RequestView<'_>, exchange: &mut Exchange) -> Result<bool, Refusal> {
    let asks = rules.question(view).is_some();
    if !asks {
        authorized(rules.authorize(view), exchange)?;
    }
    Ok(asks)
}

/// Gives the request the form that was judged.
fn rewrite(request: &mut Request<Body>, (uri, readings): (Option<Uri>, Vec<String>)) -> Vec<String> {
    if let Some(uri) = uri {
        *request.uri_mut() = uri;
    }
    readings
}

fn canonical_of<'r>(
    snapshot: &Snapshot,
    connection: &Connection,
    request: &'r Request<Body>,
) -> Result<CanonicalRequest<'r>, Refusal> {
    let options = snapshot.inbound_options(connection.transport());
    let canonical = canonicalize(request, options).map_err(bad_request)?;
    misdirected(connection, canonical.view().host)?;
    Ok(canonical)
}

/// What rules look at, with the token that was verified before.
fn view_of<'a>(canonical: &'a CanonicalRequest<'_>, request: &'a Request<Body>) -> RequestView<'a> {
    let claims = request.extensions().get::<Claims>();
    canonical.view().bearing(claims.map(Claims::token))
}

fn authorized(decision: Decision<'_>, exchange: &mut Exchange) -> Result<(), Refusal> {
    exchange.decided(&decision);
    match decision.is_allowed() {
        true => Ok(()),
        false => Err(denied(&decision)),
    }
}

/// Has the external authorizer asked, then the other rules, about the request as the answer leaves it.
pub(super) async fn ask(
    live: &Live,
    connection: &Connection,
    (rules, readings): (&PeerRules, &[String]),
    request: &mut Request<Body>,
    exchange: &mut Exchange,
    depth: u8,
) -> Result<ForResponse, Refused> {
    let snapshot = &live.snapshot;
    let authorizer = who_is_asked(snapshot, connection, (rules, readings), request, exchange)?;
    let (result, checked) = ext_authz::check(connection, live, &authorizer, request, depth).await;
    exchange.asked(&authorizer.name, result);
    let canonical = canonical_of(snapshot, connection, request)?.also_read_as(readings);
    let view = view_of(&canonical, request);
    let for_response = match checked {
        Checked::Allowed(for_response) => for_response,
        Checked::Denied(outcome, denial) => {
            // Which rule it is, and what marks the request, is told of it as of any other denial.
            exchange.decided(&rules.authorize(&view));
            return Err(Refused::Externally(outcome, Box::new(denial)));
        }
    };
    authorized(rules.authorize_allowed(&view), exchange)?;
    rewrite(request, canonical.into_parts());
    Ok(for_response)
}

/// The authorizer that a rule demands; where nobody can be asked, the rule denies.
fn who_is_asked(
    snapshot: &Snapshot,
    connection: &Connection,
    (rules, readings): (&PeerRules, &[String]),
    request: &Request<Body>,
    exchange: &mut Exchange,
) -> Result<Arc<AskedAuthorizer>, Refusal> {
    let canonical = canonical_of(snapshot, connection, request)?.also_read_as(readings);
    let view = view_of(&canonical, request);
    let asked = rules.question(&view).map(|question| {
        let asked = snapshot.inbound.asked(&question).cloned();
        asked.inspect_err(|reason| tracing::debug!(%question, %reason, "nobody can be asked: the request is denied"))
    });
    match asked {
        Some(Ok(authorizer)) => Ok(authorizer),
        _ => {
            authorized(rules.authorize(&view), exchange)?;
            Err(Refusal::new(Outcome::Denied, DENIED))
        }
    }
}

/// A request that does not reach the application.
pub(super) enum Refused {
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
    pub(super) fn answer(self, exchange: Box<Exchange>) -> Response<Body> {
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

/// Nobody waits for the answer to a gRPC call whose time is up.
fn not_over_yet(canonical: &CanonicalRequest<'_>) -> Result<(), Refusal> {
    match canonical.grpc_timeout() {
        Some(Duration::ZERO) => Err(Refusal::new(Outcome::RequestTimeout, "the deadline is over")),
        _ => Ok(()),
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
fn still_allowed(
    snapshot: &Snapshot,
    connection: &Connection,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Standing, Refusal> {
    match connection.still_allowed(snapshot, now) {
        Err(Ended::NotTrusted(_)) if connection.is_draining(snapshot) => return Ok(Standing::Ending),
        Err(ended) => return Err(not_allowed(connection, &ended)),
        Ok(()) => {}
    }
    if let Some(caller) = &connection.plain {
        connection.shared.plain_text.request(caller, headers);
    }
    Ok(Standing::Firm)
}

fn not_allowed(connection: &Connection, ended: &Ended) -> Refusal {
    let text = match ended {
        Ended::PlainTextOnly => "this port takes plain text only",
        Ended::MutualTlsOnly => "this port takes mTLS only",
        Ended::TlsOnly => "this port takes TLS only",
        Ended::NotTrusted(_) | Ended::Revoked(_) => "the caller's certificate is not valid any more",
        Ended::Denied => DENIED,
    };
    tracing::debug!(peer = %connection.remote, "request refused: {ended}");
    Refusal::new(Outcome::Unauthenticated, text).closing()
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
        _ => Refusal::new(Outcome::Denied, DENIED),
    }
}
