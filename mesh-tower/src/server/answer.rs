//! The application's answer to a request that was let in.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::Either;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use mesh_core::outcome::Outcome;
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span};

use super::admission::{DENIED, Judged, Refused, Standing};
use super::exchange::Exchange;
use super::ext_authz::ForResponse;
use super::peer::Peer;
use super::respond::Refusal;
use super::running::{self, Running};
use super::stack::Arrived;
use crate::body::{Body, BoxError};
use crate::mesh::Live;
use crate::telemetry::trace::Correlation;

/// Has the application answer.
pub(super) fn answer<F, B, E, X>(
    arrived: Arrived,
    live: &Live,
    mut request: Request<Body>,
    judged: Judged,
    for_response: ForResponse,
    app: impl FnOnce(Request<Body>) -> F,
) -> Answering<F, X>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    let Arrived {
        exchange,
        correlation,
        brought,
        ..
    } = arrived;
    let peer = Peer {
        connection: Arc::clone(&exchange.connection),
    };
    request.extensions_mut().insert(peer);
    let kept = running::keep(
        &exchange.connection,
        &live.snapshot,
        (&request, brought),
        exchange.was_asked(),
        judged.readings,
    );
    Answering {
        application: traced(correlation, exchange.span.span(), app(request)),
        accounts: Some(Accounts {
            exchange,
            standing: judged.standing,
            for_response,
            kept,
        }),
        is_begun: false,
        error: PhantomData,
    }
}

/// A future that may have a trace. Boxed where it has: requests that nobody traces need not carry its state.
type Traced<F> = Either<F, Pin<Box<Instrumented<TaskLocalFuture<Correlation, F>>>>>;

/// Runs a future in the scope of its trace, where it has one: else what it sends has nothing to belong to.
#[inline]
fn traced<F: Future>(correlation: Correlation, span: &Span, future: F) -> Traced<F> {
    // Served within another request, it has a scope of its own all the same.
    match correlation.is_empty() && span.is_disabled() && !Correlation::is_in_scope() {
        true => Either::Left(future),
        false => Either::Right(Box::pin(correlation.scope(future).instrument(span.clone()))),
    }
}

pin_project! {
    /// The application at work. By hand, since a future of the compiler's would keep what it is made of twice.
    ///
    /// Its errors are `X`, which the application's become.
    pub(super) struct Answering<F, X> {
        #[pin]
        application: Traced<F>,
        // Taken with the answer.
        accounts: Option<Accounts>,
        is_begun: bool,
        error: PhantomData<fn() -> X>,
    }
}

/// What the answer is settled with.
struct Accounts {
    exchange: Box<Exchange>,
    standing: Standing,
    for_response: ForResponse,
    /// Where the request is judged again while it runs.
    kept: Option<Arc<Running>>,
}

impl<F, B, E, X> Future for Answering<F, X>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    E: Into<X>,
{
    type Output = Result<Response<Body>, X>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let is_first = !std::mem::replace(this.is_begun, true);
        let is_denied = match this.accounts {
            Some(accounts) => accounts.is_denied(is_first, cx),
            None => return Poll::Pending,
        };
        let answered = match is_denied {
            true => None,
            false => Some(ready!(this.application.poll(cx))),
        };
        match this.accounts.take() {
            Some(accounts) => Poll::Ready(accounts.settle(answered)),
            None => Poll::Pending,
        }
    }
}

impl Accounts {
    /// Whether the rules have come to deny the request. They may have changed while it was let in, or while it upgraded its
    /// connection, when nobody could end it.
    fn is_denied(&self, is_first: bool, cx: &Context<'_>) -> bool {
        let Some(kept) = &self.kept else { return false };
        kept.poll_ended(cx).is_ready() || (is_first && self.is_denied_by_now(kept))
    }

    fn is_denied_by_now(&self, kept: &Running) -> bool {
        self.exchange.connection.denies_by_now(self.exchange.generation, kept)
    }

    /// The answer as its caller gets it; `None` where the rules deny the request by now.
    fn settle<B, E, X>(mut self, answered: Option<Result<Response<B>, E>>) -> Result<Response<Body>, X>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        E: Into<X>,
    {
        let is_denied = || self.kept.as_deref().is_some_and(|kept| self.is_denied_by_now(kept));
        match answered {
            Some(Err(error)) => {
                self.exchange.settle(Outcome::UpstreamReset);
                Err(error.into())
            }
            Some(Ok(response)) if !is_denied() => Ok(self.tell(response.map(Body::new))),
            _ => Ok(Refused::from(Refusal::new(Outcome::Denied, DENIED)).answer(self.exchange)),
        }
    }

    fn tell(self, mut response: Response<Body>) -> Response<Body> {
        self.for_response.apply(&mut response);
        tell_end(self.standing, &self.exchange, &mut response);
        let held = match self.kept {
            Some(running) => running.hold(&self.exchange.connection, self.exchange.generation, response),
            None => Ok(response),
        };
        match held {
            Ok(response) => self.exchange.settle_later(response, Outcome::Response),
            Err(refusal) => Refused::from(refusal).answer(self.exchange),
        }
    }
}

/// A peer that is trusted no more is told that its connection ends with this response.
fn tell_end(standing: Standing, exchange: &Exchange, response: &mut Response<Body>) {
    if standing == Standing::Ending && exchange.is_http1() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}
