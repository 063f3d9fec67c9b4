//! What the mesh answers in place of the application.

use http::header::{CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use mesh_core::outcome::Outcome;

use crate::body::Body;

/// A refusal, ready to be said in HTTP or in gRPC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) outcome: Outcome,
    pub(super) status: StatusCode,
    pub(super) grpc_status: u8,
    /// What the caller reads: no more than it may know.
    pub(super) text: &'static str,
    /// What the caller may do about it (`WWW-Authenticate`).
    pub(super) challenge: Option<&'static str>,
    /// Whether the connection serves nothing any more.
    pub(super) closes: bool,
}

impl Refusal {
    pub(super) fn new(outcome: Outcome, text: &'static str) -> Self {
        Self {
            outcome,
            status: outcome.status(),
            grpc_status: outcome.grpc_status(),
            text,
            challenge: None,
            closes: false,
        }
    }

    pub(super) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// A gRPC call is answered in its own words: HTTP 200, and the status in the headers, as the trailers of an empty body.
    pub(super) fn response(&self, is_grpc: bool, is_http1: bool) -> Response<Body> {
        let mut response = if is_grpc { self.grpc() } else { self.http() };
        if let Some(challenge) = self.challenge {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if self.closes && is_http1 {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn http(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.text));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    }

    fn grpc(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(u16::from(self.grpc_status)));
        headers.insert("grpc-message", HeaderValue::from_static(self.text));
        response
    }
}
