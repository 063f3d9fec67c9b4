//! What the caller of a request that is not allowed gets.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use mesh_core::outcome::grpc_of_http;

use crate::body::Body;

/// The longest text of a gRPC status: it is a header.
const MESSAGE_LIMIT: usize = 1024;

/// A denial in the authorizer's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Denial {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Default for Denial {
    fn default() -> Self {
        Self::of(StatusCode::FORBIDDEN)
    }
}

impl Denial {
    /// A denial of this status, of which nothing else is said.
    pub(super) fn of(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// The answer: for a gRPC call a status of gRPC, with the body as its text.
    pub(in crate::server) fn response(self, is_grpc: bool) -> Response<Body> {
        if is_grpc { self.grpc() } else { self.http() }
    }

    fn http(self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    fn grpc(mut self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let status = HeaderValue::from(u16::from(grpc_of_http(self.status)));
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.headers.insert("grpc-status", status);
        if let Ok(message) = HeaderValue::try_from(grpc_message(&self.body)) {
            self.headers.insert("grpc-message", message);
        }
        *response.headers_mut() = self.headers;
        response
    }
}

/// The text of a status: printable ASCII, the rest in escapes, as gRPC has it.
fn grpc_message(body: &[u8]) -> String {
    let mut message = String::new();
    for byte in body.iter().take(MESSAGE_LIMIT) {
        match byte {
            b'%' => message.push_str("%25"),
            0x20..=0x7e => message.push(char::from(*byte)),
            _ => _ = write!(message, "%{byte:02X}"),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial() -> Denial {
        let mut denial = Denial::of(StatusCode::UNAUTHORIZED);
        denial
            .headers
            .insert("www-authenticate", HeaderValue::from_static("Bearer"));
        denial.body = Bytes::from_static("näh, 100%\n".as_bytes());
        denial
    }

    #[test]
    fn http_gets_the_denial_as_it_is() {
        let response = denial().response(false);
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }

    #[test]
    fn grpc_gets_a_status_of_its_own_with_the_body_as_text() {
        let response = denial().response(true);
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header("grpc-status"), "16");
        assert_eq!(header("grpc-message"), "n%C3%A4h, 100%25%0A");
        assert_eq!(header("content-type"), "application/grpc");
    }
}
