//! The service that answers, the same for all: axum, with small and large bodies and two gRPC methods.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body::Frame;

use crate::matrix::Traffic;

const SMALL: [u8; 1_024] = [b'a'; 1_024];
static LARGE: [u8; 65_536] = [b'a'; 65_536];
/// The five bytes before a message in gRPC: not compressed, and the length.
const PREFIX: usize = 5;
/// A message of 1 KiB as it goes over the wire.
const MESSAGE: [u8; PREFIX + 1_024] = message();
/// A question of 16 bytes.
const QUESTION: [u8; PREFIX + 16] = question();
/// How many messages a stream has.
const STREAM: usize = 100;

pub(crate) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

const fn message() -> [u8; PREFIX + 1_024] {
    let mut bytes = [b'a'; PREFIX + 1_024];
    [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]] = [0, 0, 0, 4, 0];
    bytes
}

const fn question() -> [u8; PREFIX + 16] {
    let mut bytes = [b'q'; PREFIX + 16];
    [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]] = [0, 0, 0, 0, 16];
    bytes
}

/// The service. Handlers of gRPC read the question, as any would.
pub(crate) fn router() -> Router {
    Router::new()
        .route(path(Traffic::Http1Small), get(|| async { &SMALL[..] }))
        .route(path(Traffic::Http1Large), get(|| async { &LARGE[..] }))
        .route(path(Traffic::GrpcUnary), post(|_: Bytes| async { answer(1) }))
        .route(path(Traffic::GrpcStreaming), post(|_: Bytes| async { answer(STREAM) }))
}

const fn path(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::Http1Small | Traffic::Http2Small => "/api/orders",
        Traffic::Http1Large | Traffic::Http2Large => "/api/archive",
        Traffic::GrpcUnary => "/shop.Orders/Get",
        Traffic::GrpcStreaming => "/shop.Orders/List",
    }
}

fn answer(messages: usize) -> Response<Body> {
    let mut response = Response::new(Body::new(Messages {
        left: messages,
        is_ended: false,
    }));
    response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC);
    response
}

/// Messages, one a frame, and the status after them.
struct Messages {
    left: usize,
    is_ended: bool,
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left > 0 {
            self.left -= 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&MESSAGE)))));
        }
        if std::mem::replace(&mut self.is_ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

/// What the client asks, and how many bytes are the answer.
#[derive(Clone)]
pub(crate) struct Question {
    uri: Uri,
    is_http2: bool,
    pub(crate) is_grpc: bool,
    pub(crate) answer: usize,
}

impl Question {
    /// The question of some traffic to an authority, `127.0.0.1:1234` or a name of the mesh.
    pub(crate) fn new(traffic: Traffic, authority: &str) -> Self {
        let uri = format!("http://{authority}{}", path(traffic));
        let answer = match traffic {
            Traffic::Http1Small | Traffic::Http2Small => SMALL.len(),
            Traffic::Http1Large | Traffic::Http2Large => LARGE.len(),
            Traffic::GrpcUnary => MESSAGE.len(),
            Traffic::GrpcStreaming => MESSAGE.len() * STREAM,
        };
        Self {
            uri: uri.parse().unwrap(),
            is_http2: traffic.is_http2(),
            is_grpc: matches!(traffic, Traffic::GrpcUnary | Traffic::GrpcStreaming),
            answer,
        }
    }

    /// A request with the few headers that an ordinary client sends.
    pub(crate) fn request(&self) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.uri.clone();
        if self.is_http2 {
            *request.version_mut() = http::Version::HTTP_2;
        }
        let headers = request.headers_mut();
        headers.insert(http::header::USER_AGENT, HeaderValue::from_static("side-by-side"));
        if self.is_grpc {
            headers.insert(http::header::CONTENT_TYPE, GRPC);
            headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
            *request.method_mut() = Method::POST;
            *request.body_mut() = Bytes::from_static(&QUESTION);
        }
        request
    }
}
