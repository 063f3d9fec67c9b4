//! The order of the way in, stated once.
//!
//! | step | why it stands here |
//! |---|---|
//! | 1. headers of the connection, and those that only the mesh may set, are removed, or set by it | nothing below may believe them |
//! | 2. trace, log, metrics ([`Exchange`]) | they must see every ending, refusals included |
//! | 3. connection still allowed: mTLS mode, trust | a change of policy or trust holds for open connections, too |
//! | 4. canonical view; host of the connection | what is matched is what the application sees |
//! | 5. token ([`jwt`](super::jwt)) | authorization looks at its claims |
//! | 6. external authorizer ([`ext_authz`]), where a `CUSTOM` rule demands it | rules behind it see what it changes |
//! | 7. authorization | last before the application; fails closed |
//! | 8. application | in the scope of the trace, so that its own requests belong to it; until the rules deny the request, where the policy wants that asked |
//!
//! Steps 3 to 7 are [`admission`](super::admission)'s.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::Either;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use mesh_core::outcome::Outcome;
use mesh_core::request::{strip_h2c, strip_listed};
use tracing::{Instrument, Span};

use super::admission::{Admitted, DENIED, Judged, Refused, Standing, admit, ask};
use super::brought::Brought;
use super::client_cert;
use super::connection::Connection;
use super::exchange::Exchange;
use super::ext_authz::{self, ForResponse};
use super::peer::Peer;
use super::respond::Refusal;
use super::running::{self, Running};
use crate::body::{Body, BoxError};
use crate::mesh::Live;
use crate::telemetry::trace::Correlation;

/// Serves one request: by the application, or by a refusal.
///
/// # Errors
///
/// Those of the application.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn would keep each of its arguments twice"
)]
pub(crate) fn serve<F, B, E>(
    connection: Arc<Connection>,
    mut request: Request<Body>,
    app: impl FnOnce(Request<Body>) -> F,
) -> impl Future<Output = Result<Response<Body>, E>>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async move {
        let shared = &connection.shared;
        let live = shared.live.load_full();
        let depth = ext_authz::depth(&live.snapshot.inbound.authorizer, request.headers());
        let brought = Brought::by(request.headers());
        if brought.connection {
            strip_listed(request.headers_mut());
        }
        let client = client_cert::settle(&live.snapshot.client_certs, &connection, brought, request.headers_mut());
        if brought.upgrade {
            strip_h2c(request.headers_mut());
        }
        live.snapshot.inbound.tokens.strip_outputs(request.headers_mut());
        let (correlation, mut exchange) = Exchange::begin(&connection, &live.snapshot, &mut request);
        if let Some(client) = client {
            exchange.forwarded_client = client.uri().map(Arc::from);
            request.extensions_mut().insert(client);
        }
        let span = exchange.span.span().clone();
        let way = (depth, &correlation);
        let (judged, for_response) = match let_in(&live, &connection, &mut request, &mut exchange, way).await {
            Ok(admitted) => admitted,
            Err(refused) => return Ok(refused.answer(exchange)),
        };
        let peer = Peer {
            connection: Arc::clone(&connection),
        };
        request.extensions_mut().insert(peer);
        let kept = running::keep(
            &connection,
            &live.snapshot,
            (&request, brought),
            exchange.was_asked(),
            judged.readings,
        );
        let answering = pin!(traced(correlation, span, || app(request)));
        let answered = match kept.as_deref() {
            Some(running) => until_denied(&connection, &live, running, answering).await,
            None => Some(answering.await),
        };
        match answered {
            Some(Err(error)) => {
                exchange.settle(Outcome::UpstreamReset);
                Err(error)
            }
            Some(Ok(response)) => {
                let mut response = response.map(Body::new);
                for_response.apply(&mut response);
                tell_end(judged.standing, &exchange, &mut response);
                let response = match kept {
                    Some(running) => running.hold(&connection, response),
                    None => response,
                };
                Ok(exchange.settle_later(response, Outcome::Response))
            }
            None => Ok(Refused::from(Refusal::new(Outcome::Denied, DENIED)).answer(exchange)),
        }
    }
}

/// Runs a future in the scope of its trace, where it has one: else what it sends has nothing to belong to.
#[inline]
fn traced<F: Future>(
    correlation: Correlation,
    span: Span,
    make: impl FnOnce() -> F,
) -> impl Future<Output = F::Output> {
    // Served within another request, it has a scope of its own all the same.
    match correlation.is_empty() && span.is_disabled() && !Correlation::is_in_scope() {
        true => Either::Left(make()),
        false => Either::Right(correlation.scope(make()).instrument(span)),
    }
}

/// Steps 3 to 7.
async fn let_in(
    live: &Live,
    connection: &Connection,
    request: &mut Request<Body>,
    exchange: &mut Exchange,
    (depth, correlation): (u8, &Correlation),
) -> Result<(Judged, ForResponse), Refused> {
    match admit(&live.snapshot, connection, request, exchange).await? {
        Admitted::Through(judged) => Ok((judged, ForResponse::default())),
        // Boxed: requests that nobody is asked about need not carry its state.
        Admitted::Ask(judged, rules) => {
            let span = exchange.span.span().clone();
            let rules = (&*rules, judged.readings.as_slice());
            let asking = ask(live, connection, rules, request, exchange, depth);
            let for_response = Box::pin(correlation.clone().scope(asking).instrument(span)).await?;
            Ok((judged, for_response))
        }
    }
}

/// What the application answers; `None` where the rules come to deny the request first. They may have changed while it was let
/// in, or while it upgraded its connection, when nobody could end it.
async fn until_denied<T, E>(
    connection: &Connection,
    live: &Live,
    running: &Running,
    mut answering: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Option<Result<T, E>> {
    let is_denied = || connection.denies_by_now(live, running);
    if is_denied() {
        return None;
    }
    let answered = std::future::poll_fn(|cx| match running.poll_ended(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => answering.as_mut().poll(cx).map(Some),
    });
    answered.await.filter(|answered| answered.is_err() || !is_denied())
}

/// A peer that is trusted no more is told that its connection ends with this response.
fn tell_end(standing: Standing, exchange: &Exchange, response: &mut Response<Body>) {
    if standing == Standing::Ending && exchange.is_http1() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}
