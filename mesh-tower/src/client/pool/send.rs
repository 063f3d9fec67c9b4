use std::pin::pin;

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{Entry, HOST, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::{task::unconstrained, time::Instant};

use super::{
    Pool, Security,
    checkout::{After, Lease},
    connection::Connection,
    driver::Truncated,
    error::{SendError, WaitError},
    state::{Origin, Sender},
    timer::Elapsed,
};
use crate::{
    body::Body,
    client::hop::{has_hop_by_hop, strip_hop_by_hop},
};

/// Why there is no response.
pub(crate) enum Failure {
    Send(SendError),
    /// The limit is over.
    Elapsed,
    /// It was over before there was a connection: nothing was sent.
    Unsent(Box<Request<Body>>, Awaited),
}

/// What a request has waited for whose limit is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A connection that was being made.
    Connection,
    /// Others, which had all the connections that there may be.
    Turn,
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl Pool {
    /// Sends a request on a free connection, waiting for one if need be.
    ///
    /// Hop-by-hop headers are removed. HTTP/1.1 gets the path alone in its request line and `Host`
    /// as given, else from the URI; HTTP/2 gets `:authority` from `Host`, else from the URI. The
    /// connection is free again when the response has arrived whole, or its body has ended.
    ///
    /// # Errors
    ///
    /// See [`super::SendErrorKind`]. A request of which nothing was sent is in the error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the request: it leaves the queue, or its HTTP/1 connection is
    /// closed, or its HTTP/2 stream is reset.
    pub fn send(
        &self,
        request: impl Into<Box<Request<Body>>>,
    ) -> impl Future<Output = Result<Response<Body>, SendError>> + Send {
        let sent = self.send_until(request.into(), None, Instant::now());
        async move {
            sent.await.map_err(|failure| match failure {
                Failure::Send(error) => error,
                // INVARIANT: without a limit, none is over.
                Failure::Elapsed => SendError::waiting(WaitError::Closed, Box::default()),
                Failure::Unsent(request, _) => SendError::waiting(WaitError::Closed, request),
            })
        }
    }

    /// The same from `now` until `limit`, connecting included.
    pub(crate) async fn send_until(
        &self,
        mut request: Box<Request<Body>>,
        limit: Option<Instant>,
        mut now: Instant,
    ) -> Result<Response<Body>, Failure> {
        let shared = self.shared();
        let is_plain = !has_hop_by_hop(request.headers());
        if !is_plain {
            strip_hop_by_hop(request.headers_mut(), shared.config().upgrades);
        }
        shared.turns.after_others().await;
        loop {
            let (lease, mut sender) = match shared.take(now) {
                Some(granted) => granted,
                // Boxed: a request that need not wait need not carry its state.
                None => match Box::pin(shared.checkout(limit, now)).await {
                    Ok(Ok(granted)) => granted,
                    Ok(Err(error)) => return Err(SendError::waiting(error, request).into()),
                    Err(awaited) => return Err(Failure::Unsent(request, awaited)),
                },
            };
            let after = after(&request, is_plain);
            let connection = lease.connection();
            let mut whole = Ok(None);
            let sent = match &mut sender {
                Sender::Http1(sender) => {
                    for_http1(&mut request, connection);
                    let lent = connection.driver.lend();
                    // ORDER: whatever the task has done before, an answer that has come is taken: nobody tells of it again.
                    let sending = pin!(unconstrained(sender.try_send_request(*request)));
                    let (timers, waker) = (&connection.timers, connection.driver.waker());
                    let mut sent = timers.until_woken_by(waker, limit, pin!(lent.until(sending))).await;
                    if let Ok(Ok(response)) = &mut sent
                        && after == After::Keep
                        && sender.is_ready()
                    {
                        whole = lent.whole(response.body_mut());
                    }
                    sent
                }
                Sender::Http2(sender) => {
                    for_http2(&mut request, shared.security);
                    let sending = pin!(sender.try_send_request(*request));
                    connection.timers.until(limit, sending).await
                }
            };
            let error = match sent.map_err(|Elapsed| Failure::Elapsed)? {
                Ok(response) if is_unasked_switch(&response, after) => {
                    let origin = lease.origin();
                    drop(lease.attach(response, sender, After::Close));
                    return Err(SendError::invalid(origin).into());
                }
                Ok(response) => {
                    let whole = whole.map_err(|Truncated| SendError::invalid(lease.origin()))?;
                    return Ok(match whole {
                        Some(data) => lease.settle(response, data, sender),
                        None => lease.attach(response, sender, after),
                    });
                }
                Err(error) => error,
            };
            request = resend(&lease, error)?;
            now = Instant::now();
        }
    }
}

/// The request of which nothing was sent, for another connection: the peer closed a kept-alive one before it saw it.
fn resend(lease: &Lease, mut error: TrySendError<Request<Body>>) -> Result<Box<Request<Body>>, SendError> {
    let returned = error.take_message().map(Box::new);
    if let Some(refusal) = lease.refusal() {
        return Err(SendError::refused(refusal, returned));
    }
    match returned {
        Some(returned) if lease.origin() == Origin::Kept => Ok(returned),
        returned => Err(SendError::sending(error.into_error(), lease.origin(), returned)),
    }
}

/// Whether the peer leaves HTTP although nobody asked it to.
fn is_unasked_switch(response: &Response<Incoming>, after: After) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS && after == After::Keep
}

/// Bytes that follow a `CONNECT` or an upgrade are not HTTP, whatever the peer answered: such a
/// connection could hand one request's bytes to another as a response.
fn after(request: &Request<Body>, is_plain: bool) -> After {
    let upgrades = !is_plain && request.headers().contains_key(UPGRADE);
    match request.method() == Method::CONNECT || upgrades {
        true => After::Close,
        false => After::Keep,
    }
}

fn for_http1(request: &mut Request<Body>, connection: &Connection) {
    *request.version_mut() = Version::HTTP_11;
    let Some(authority) = request.uri().authority() else {
        return;
    };
    let host = connection.host(authority, host_of);
    if let (Some(host), Entry::Vacant(place)) = (host, request.headers_mut().entry(HOST)) {
        place.insert(host);
    }
    if request.method() != Method::CONNECT {
        let path = std::mem::take(request.uri_mut()).into_parts().path_and_query;
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    }
}

/// The authority without user information, which does not belong into `Host` (RFC 9110 section 7.2).
fn host_of(authority: &Authority) -> Option<HeaderValue> {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host).parse().ok()
}

fn for_http2(request: &mut Request<Body>, security: Security) {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    let named = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if host.is_none() || host == named {
        request.headers_mut().remove(HOST);
        return;
    }
    // A `Host` that is no authority is forwarded as it is: the peer may refuse it, we don't guess.
    let Some(Ok(authority)) = host.map(Authority::try_from) else {
        return;
    };
    request.headers_mut().remove(HOST);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = Some(authority);
    if request.method() != Method::CONNECT {
        parts.scheme = Some(match security {
            Security::PlainText => Scheme::HTTP,
            Security::Tls => Scheme::HTTPS,
        });
        parts
            .path_and_query
            .get_or_insert_with(|| PathAndQuery::from_static("/"));
    }
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}
