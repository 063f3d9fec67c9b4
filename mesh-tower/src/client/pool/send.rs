use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{HOST, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::body::Incoming;

use super::{
    Pool, Security,
    checkout::After,
    error::SendError,
    state::{Origin, Sender},
};
use crate::{
    body::Body,
    client::hop::{has_hop_by_hop, strip_hop_by_hop},
};

impl Pool {
    /// Sends a request on a free connection, waiting for one if need be.
    ///
    /// Hop-by-hop headers are removed. HTTP/1.1 gets the path alone in its request line and `Host`
    /// as given, else from the URI; HTTP/2 gets `:authority` from `Host`, else from the URI. The
    /// connection is free again when the body of the response has ended.
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
        self.send_boxed(request.into())
    }

    async fn send_boxed(&self, mut request: Box<Request<Body>>) -> Result<Response<Body>, SendError> {
        let shared = self.shared();
        if has_hop_by_hop(request.headers()) {
            strip_hop_by_hop(request.headers_mut(), shared.config().upgrades);
        }
        loop {
            let (lease, mut sender) = match shared.checkout().await {
                Ok(granted) => granted,
                Err(error) => return Err(SendError::waiting(error, request)),
            };
            let after = after(&request);
            let sent = match &mut sender {
                Sender::Http1(sender) => sender.try_send_request(for_http1(*request)).await,
                Sender::Http2(sender) => sender.try_send_request(for_http2(*request, shared.security)).await,
            };
            let mut error = match sent {
                Ok(response) if is_unasked_switch(&response, after) => {
                    let origin = lease.origin();
                    drop(lease.attach(response, sender, After::Close));
                    return Err(SendError::switched(origin));
                }
                Ok(response) => return Ok(lease.attach(response, sender, after)),
                Err(error) => error,
            };
            let returned = error.take_message().map(Box::new);
            if let Some(refusal) = lease.refusal() {
                return Err(SendError::refused(refusal, returned));
            }
            match returned {
                // The peer closed a kept-alive connection before it saw the request.
                Some(returned) if lease.origin() == Origin::Kept => request = returned,
                returned => return Err(SendError::sending(error.into_error(), lease.origin(), returned)),
            }
        }
    }
}

/// Whether the peer leaves HTTP although nobody asked it to.
fn is_unasked_switch(response: &Response<Incoming>, after: After) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS && after == After::Keep
}

/// Bytes that follow a `CONNECT` or an upgrade are not HTTP, whatever the peer answered: such a
/// connection could hand one request's bytes to another as a response.
fn after(request: &Request<Body>) -> After {
    if request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE) {
        After::Close
    } else {
        After::Keep
    }
}

fn for_http1(mut request: Request<Body>) -> Request<Body> {
    *request.version_mut() = Version::HTTP_11;
    let Some(authority) = request.uri().authority() else {
        return request;
    };
    if !request.headers().contains_key(HOST)
        && let Ok(host) = host_of(authority).parse()
    {
        request.headers_mut().insert(HOST, host);
    }
    if request.method() != Method::CONNECT {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    }
    request
}

/// The authority without user information, which does not belong into `Host` (RFC 9110 section 7.2).
fn host_of(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

fn for_http2(mut request: Request<Body>, security: Security) -> Request<Body> {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    let named = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if host.is_none() || host == named {
        request.headers_mut().remove(HOST);
        return request;
    }
    // A `Host` that is no authority is forwarded as it is: the peer may refuse it, we don't guess.
    let Some(Ok(authority)) = host.map(Authority::try_from) else {
        return request;
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
    request
}
