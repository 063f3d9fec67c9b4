//! What a route does to a request beside choosing its destination: answers, faults, CORS, rewrites, header changes.
//!
//! The decisions are [`mesh_core::decide::shape`]'s; here they meet the request. All of it is found out before the first
//! wait, while the canonical view of the request is at hand.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use mesh_core::decide::shape::{
    CorsDecision, Edit, HeaderEdit, LocalAnswer, LocalAnswerKind, NewAuthority, Shape, Variables, draw_fault, location,
};
use mesh_core::outcome::{Outcome, grpc_of_http};
use mesh_core::policy::model::filter::Abort;
use mesh_core::random::Rng;
use mesh_core::request::{RequestView, has_dot_segments, is_grpc};

use super::error::Error;
use super::exchange::Exchange;
use crate::body::Body;

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");

/// What is known of a request beside its canonical view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    pub(super) version: Version,
    pub(super) path_and_query: &'a str,
    /// The port that the request came in by.
    pub(super) port: u16,
    pub(super) caller: Option<IpAddr>,
    pub(super) route: &'a str,
    pub(super) hostname: &'a str,
}

impl<'a> Setting<'a> {
    fn variables(self, view: &'a RequestView<'a>) -> Variables<'a> {
        Variables {
            method: view.method,
            scheme: view.scheme,
            authority: view.authority,
            path: self.path_and_query,
            version: self.version,
            headers: view.headers,
            route: self.route,
            caller: self.caller,
            hostname: self.hostname,
        }
    }
}

/// What a rule does before its request goes on.
#[derive(Debug, Default)]
pub(super) struct Shaped {
    /// The request waits this long first.
    pub(super) delay: Option<Duration>,
    /// The mesh's own answer.
    pub(super) answer: Option<Local>,
    /// Headers that the response gets in place of its own.
    decoration: Option<HeaderMap>,
}

/// An answer that the mesh gives itself.
#[derive(Debug)]
pub(super) struct Local {
    response: Response<Body>,
    outcome: Outcome,
}

impl Local {
    /// The response, with the accounts settled.
    pub(super) fn settle(self, mut exchange: Box<Exchange>) -> Response<Body> {
        exchange.answered(&self.response);
        exchange.settle(self.outcome);
        self.response
    }
}

/// Finds out what a rule does: faults first, then CORS, then the rule's own answer, as Envoy's filters stand.
pub(super) fn shape(shape: &Shape, view: &RequestView<'_>, setting: Setting<'_>, rng: &mut impl Rng) -> Shaped {
    let drawn = shape
        .fault
        .as_ref()
        .map(|fault| draw_fault(fault, rng))
        .unwrap_or_default();
    let mut shaped = Shaped {
        delay: drawn.delay,
        ..Shaped::default()
    };
    if let Some(abort) = drawn.abort {
        shaped.answer = Some(aborted(abort, is_grpc(view.headers)));
        return shaped;
    }
    match shape.cors.as_ref().map(|cors| cors.decide(view.method, view.headers)) {
        Some(CorsDecision::Answer(headers)) => {
            shaped.answer = Some(preflight(headers));
            return shaped;
        }
        Some(CorsDecision::Decorate(headers)) => shaped.decoration = Some(headers),
        _ => {}
    }
    shaped.answer = shape.answer.as_ref().map(|answer| {
        let mut local = own_answer(answer, view, setting);
        decorate(local.response.headers_mut(), shaped.decoration.take());
        local
    });
    shaped
}

fn aborted(abort: Abort, is_grpc: bool) -> Local {
    let text = "fault filter abort";
    let response = match abort {
        Abort::Grpc(status) => grpc(status, text),
        Abort::Http(status) if is_grpc => grpc(grpc_of_http(status), text),
        Abort::Http(status) => plain(status, Body::from(text)),
        _ => plain(StatusCode::SERVICE_UNAVAILABLE, Body::from(text)),
    };
    let outcome = Outcome::FaultAbort;
    Local { response, outcome }
}

fn preflight(headers: HeaderMap) -> Local {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = headers;
    let outcome = Outcome::Preflight;
    Local { response, outcome }
}

fn own_answer(answer: &LocalAnswer, view: &RequestView<'_>, setting: Setting<'_>) -> Local {
    let mut response = match &answer.kind {
        LocalAnswerKind::Redirect(redirect) => redirected(redirect.status(), &location(redirect, view, setting.port)),
        LocalAnswerKind::Direct(direct) if is_grpc(view.headers) => {
            let text = direct.body.as_ref().and_then(|body| std::str::from_utf8(body).ok());
            grpc(grpc_of_http(direct.status), text.unwrap_or_default())
        }
        LocalAnswerKind::Direct(direct) => match &direct.body {
            Some(body) => plain(direct.status, Body::from(body.clone())),
            None => empty(direct.status),
        },
        _ => empty(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let bound = answer.response.bind(&setting.variables(view));
    let edit = bound.as_ref().unwrap_or(&answer.response);
    edit.apply_to_response(response.status(), response.headers_mut());
    let outcome = Outcome::OwnAnswer;
    Local { response, outcome }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn plain(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A gRPC status without a message body, in the headers.
fn grpc(status: u8, message: &str) -> Response<Body> {
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(status)));
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert("grpc-message", message);
    }
    response
}

fn redirected(status: StatusCode, location: &str) -> Response<Body> {
    match HeaderValue::try_from(location) {
        Ok(location) => {
            let mut response = empty(status);
            response.headers_mut().insert(LOCATION, location);
            response
        }
        // A canonical request has no such characters, and a policy's own are checked.
        Err(_) => empty(StatusCode::BAD_REQUEST),
    }
}

fn decorate(headers: &mut HeaderMap, decoration: Option<HeaderMap>) {
    for (name, value) in decoration.unwrap_or_default() {
        if let Some(name) = name {
            headers.insert(name, value);
        }
    }
}

/// What is changed in a request that goes on, and later in its response.
#[derive(Debug, Default)]
pub(super) struct Changes {
    edit: Option<Arc<Edit>>,
    path: Option<String>,
    /// The edits with the values that the request gives them, where it gives any.
    request: Option<HeaderEdit>,
    response: Option<HeaderEdit>,
    decoration: Option<HeaderMap>,
}

impl Changes {
    /// Finds out what is changed, while the request is still as it came.
    pub(super) fn new(edit: Option<Arc<Edit>>, shaped: Shaped, view: &RequestView<'_>, setting: Setting<'_>) -> Self {
        let mut changes = Self {
            decoration: shaped.decoration,
            ..Self::default()
        };
        if let Some(edit) = edit {
            let variables = setting.variables(view);
            changes.path = edit
                .path
                .as_ref()
                .map(|path| with_query(&path.rewrite(view.path), view.query));
            changes.request = edit.request.bind(&variables);
            changes.response = edit.response.bind(&variables);
            changes.edit = Some(edit);
        }
        changes
    }

    /// Changes the request.
    ///
    /// # Errors
    ///
    /// Where the new path or authority is none.
    pub(super) fn apply(&self, request: &mut Request<Body>) -> Result<(), Error> {
        let Some(edit) = &self.edit else { return Ok(()) };
        if let Some(path) = &self.path {
            set_path(request, path)?;
        }
        if let Some(authority) = &edit.authority {
            set_authority(request, authority)?;
        }
        let headers = self.request.as_ref().unwrap_or(&edit.request);
        headers.apply_to_request(request.headers_mut());
        Ok(())
    }

    /// Changes the response.
    pub(super) fn finish(self, response: &mut Response<Body>) {
        let status = response.status();
        decorate(response.headers_mut(), self.decoration);
        if let Some(edit) = &self.edit {
            let headers = self.response.as_ref().unwrap_or(&edit.response);
            headers.apply_to_response(status, response.headers_mut());
        }
    }
}

/// The query stays; a new path may have one of its own.
fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) if path.contains('?') => format!("{path}&{query}"),
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

fn set_path(request: &mut Request<Body>, path: &str) -> Result<(), Error> {
    let old = request
        .uri()
        .path_and_query()
        .map(PathAndQuery::as_str)
        .unwrap_or_default();
    if old == path {
        return Ok(());
    }
    let unusable = || Error::new(Outcome::BadRequest).message(format!("the rewritten path `{path}` is none"));
    let new = PathAndQuery::try_from(path).map_err(|_| unusable())?;
    // A prefix may have been cut off in the middle of a segment: `/a` of `/a../b` leaves `/../b`.
    if !path.starts_with('/') || has_dot_segments(new.path()) {
        return Err(unusable());
    }
    let old = HeaderValue::try_from(old);
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(new);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| unusable())?;
    if let Ok(old) = old {
        request.headers_mut().insert(ORIGINAL_PATH, old);
    }
    Ok(())
}

fn set_authority(request: &mut Request<Body>, new: &NewAuthority) -> Result<(), Error> {
    let unusable = || Error::new(Outcome::BadRequest).message(format!("the request cannot be for `{}`", new.uri()));
    let old = match request.uri().authority() {
        Some(authority) => HeaderValue::try_from(authority.as_str()).ok(),
        None => request.headers().get(HOST).cloned(),
    };
    if request.uri().authority().is_some() {
        let mut parts = request.uri().clone().into_parts();
        parts.authority = Some(new.uri().clone());
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| unusable())?;
    }
    request.headers_mut().insert(HOST, new.header().clone());
    if let Some(old) = old {
        request.headers_mut().insert(ORIGINAL_HOST, old);
    }
    Ok(())
}
