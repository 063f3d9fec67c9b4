//! A request that can be sent again, as cheaply as the policy allows.

use http::request::Parts;
use http::{Extensions, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body::Body as _;

use super::replay::ReplayBody;
use crate::body::Body;

/// Whether a copy of the request stays when it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    /// It does: the try may use the request up.
    Keep,
    /// It does not: a request that was not sent comes back.
    None,
}

/// A request and what is left of it for another try.
#[derive(Debug)]
pub(crate) struct Repeatable {
    kept: Kept,
    /// Bytes of the body that are kept.
    limit: usize,
}

#[derive(Debug)]
enum Kept {
    /// All of it: it was not sent yet, or came back unsent.
    Whole(Box<Request<Body>>),
    /// A copy of its head, and of its body, where it has one, as far as that was read.
    Copy(Box<KeptHead>, Option<ReplayBody>),
    Gone,
}

impl Repeatable {
    pub(crate) fn new(request: Box<Request<Body>>, limit: usize) -> Self {
        Self {
            kept: Kept::Whole(request),
            limit,
        }
    }

    /// Whether there is a request for another try.
    pub(crate) fn can_repeat(&self) -> bool {
        match &self.kept {
            Kept::Whole(_) => true,
            Kept::Copy(_, body) => body.as_ref().is_none_or(|body| !body.is_capped()),
            Kept::Gone => false,
        }
    }

    /// Ends what earlier tries still send of the body, for another try that comes for certain. `false` where there can be none.
    pub(crate) fn take_over(&self) -> bool {
        match &self.kept {
            Kept::Copy(_, Some(body)) => body.take_over(),
            _ => self.can_repeat(),
        }
    }

    /// The request for the next try; `None` where nothing is left of it.
    pub(crate) fn take(&mut self, copies: Copies) -> Option<Box<Request<Body>>> {
        match std::mem::replace(&mut self.kept, Kept::Gone) {
            Kept::Whole(request) if copies == Copies::None => Some(request),
            Kept::Whole(request) if request.body().is_end_stream() => {
                self.kept = Kept::Copy(Box::new(KeptHead::of(&request)), None);
                Some(request)
            }
            Kept::Whole(mut request) => {
                let body = ReplayBody::new(std::mem::take(request.body_mut()), self.limit);
                if let Some(again) = body.try_clone() {
                    self.kept = Kept::Copy(Box::new(KeptHead::of(&request)), Some(again));
                }
                *request.body_mut() = Body::from(body);
                Some(request)
            }
            Kept::Copy(head, None) => {
                let again = Request::from_parts(head.parts(), Body::empty());
                self.kept = Kept::Copy(head, None);
                Some(Box::new(again))
            }
            Kept::Copy(head, Some(body)) => {
                let parts = head.parts();
                if let Some(again) = body.try_clone() {
                    self.kept = Kept::Copy(head, Some(again));
                }
                Some(Box::new(Request::from_parts(parts, Body::from(body))))
            }
            Kept::Gone => None,
        }
    }

    /// Takes back a request of which nothing was sent.
    pub(crate) fn give_back(&mut self, request: Box<Request<Body>>) {
        if matches!(self.kept, Kept::Gone) {
            self.kept = Kept::Whole(request);
        }
    }
}

/// A request's head, kept for a try that mostly does not come: a list of headers costs a fraction of a map of them.
#[derive(Debug)]
struct KeptHead {
    method: Method,
    uri: Uri,
    version: Version,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
}

impl KeptHead {
    fn of(request: &Request<Body>) -> Self {
        let headers = request.headers().iter();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
            extensions: request.extensions().clone(),
        }
    }

    fn parts(&self) -> Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.uri = self.uri.clone();
        parts.version = self.version;
        // A name that comes again is one more value.
        parts.headers.extend(self.headers.iter().cloned());
        parts.extensions = self.extensions.clone();
        parts
    }
}
