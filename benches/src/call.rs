//! What is asked.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Request, Uri};

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `GET`, with no body.
    Get,
    /// What is shaped as a unary call of gRPC: 64 bytes, and a status in the trailers of the answer.
    Unary,
}

impl Call {
    /// Its method, as policies write it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Unary => "POST",
        }
    }

    /// A request of this kind, with its body.
    #[must_use]
    pub fn request(self, uri: Uri) -> Request<Bytes> {
        let mut request = Request::new(self.message());
        *request.uri_mut() = uri;
        if self == Self::Unary {
            *request.method_mut() = Method::POST;
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        request
    }

    const fn message(self) -> Bytes {
        match self {
            Self::Get => Bytes::new(),
            Self::Unary => Bytes::from_static(&[0; 64]),
        }
    }
}
