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
//! Steps 3 to 7 are [`admission`](super::admission)'s, 8 is [`answer`](super::answer)'s. Most requests wait for nothing before the
//! application: they are let in before there is a future, which then holds little but the application's own.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::Guard;
use http::{Request, Response};
use mesh_core::request::{strip_h2c, strip_listed};
use tracing::Instrument;

use super::admission::{Admission, Admitted, Judged, Refused, admit, admit_bearer, ask};
use super::answer::answer;
use super::client_cert;
use super::connection::Connection;
use super::exchange::Exchange;
use super::ext_authz::{self, ForResponse};
use crate::body::{Body, BoxError};
use crate::brought::Brought;
use crate::mesh::Live;
use crate::telemetry::trace::Correlation;

/// A request whose accounts are open.
pub(super) struct Arrived {
    pub(super) exchange: Box<Exchange>,
    pub(super) correlation: Correlation,
    pub(super) brought: Brought,
    depth: u8,
}

/// The answer to a request.
pub(crate) type Answered<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

/// Serves one request: by the application, or by a refusal. It is judged at once, and answered by the future.
///
/// # Errors
///
/// Those of the application.
pub(crate) fn serve<F, B, E, X>(
    connection: &Arc<Connection>,
    mut request: Request<Body>,
    app: impl FnOnce(Request<Body>) -> F + Send + 'static,
) -> Answered<X>
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    E: Into<X> + 'static,
    X: Send + 'static,
{
    let live = connection.shared.live.load();
    let mut arrived = Arrived::begin(connection, &live, &mut request);
    match admit(&live.snapshot, connection, &mut request, &mut arrived.exchange) {
        Ok(Admission::Judged(Admitted::Through(judged))) => {
            Box::pin(answer(arrived, &live, request, judged, ForResponse::default(), app))
        }
        Ok(admission) => Box::pin(serve_later(Guard::into_inner(live), arrived, request, admission, app)),
        Err(refusal) => Box::pin(ready(Ok(Refused::from(refusal).answer(arrived.exchange)))),
    }
}

/// Serves a request whose token is to be verified, or about which somebody is to be asked.
async fn serve_later<F, B, E, X>(
    live: Arc<Live>,
    mut arrived: Arrived,
    mut request: Request<Body>,
    admission: Admission,
    app: impl FnOnce(Request<Body>) -> F,
) -> Result<Response<Body>, X>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    E: Into<X>,
{
    match arrived.let_in(&live, &mut request, admission).await {
        Ok((judged, for_response)) => {
            let answering = answer(arrived, &live, request, judged, for_response, app);
            // Answers that take their time must not keep a policy that is replaced meanwhile.
            drop(live);
            answering.await
        }
        Err(refused) => Ok(refused.answer(arrived.exchange)),
    }
}

impl Arrived {
    /// Steps 1 and 2.
    fn begin(connection: &Arc<Connection>, live: &Live, request: &mut Request<Body>) -> Self {
        let snapshot = &live.snapshot;
        let depth = ext_authz::depth(&snapshot.inbound.authorizer, request.headers());
        let brought = Brought::by(request.headers());
        if brought.connection {
            strip_listed(request.headers_mut());
        }
        let client = client_cert::settle(&snapshot.client_certs, connection, brought, request.headers_mut());
        if brought.upgrade {
            strip_h2c(request.headers_mut());
        }
        snapshot.inbound.tokens.strip_outputs(request.headers_mut());
        let (correlation, mut exchange) = Exchange::begin(connection, snapshot, request, brought);
        if let Some(client) = client {
            exchange.forwarded_client = client.uri().map(Arc::from);
            request.extensions_mut().insert(client);
        }
        Self {
            exchange,
            correlation,
            brought,
            depth,
        }
    }

    /// Steps 4 to 7, as far as they have to wait.
    async fn let_in(
        &mut self,
        live: &Live,
        request: &mut Request<Body>,
        admission: Admission,
    ) -> Result<(Judged, ForResponse), Refused> {
        let exchange = &mut *self.exchange;
        let connection = &Arc::clone(&exchange.connection);
        let admitted = match admission {
            Admission::Judged(admitted) => admitted,
            Admission::Bearing(standing) => {
                admit_bearer(&live.snapshot, connection, request, exchange, standing).await?
            }
        };
        match admitted {
            Admitted::Through(judged) => Ok((judged, ForResponse::default())),
            Admitted::Ask(judged, rules) => {
                let span = exchange.span.span().clone();
                let rules = (&*rules, judged.readings.as_slice());
                let asking = ask(live, connection, rules, request, exchange, self.depth);
                let for_response = self.correlation.clone().scope(asking).instrument(span).await?;
                Ok((judged, for_response))
            }
        }
    }
}
