//! An authorizer over HTTP: it gets the request's head, and says with its status what becomes of it.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use mesh_core::policy::model::authorizer::HttpCheck;
use mesh_core::policy::model::authz::Pattern;
use mesh_core::request::{is_grpc, is_mesh_managed};

use super::changes::{Changes, HeaderChange, How, is_of_connection, is_untouchable};
use super::sample::Sample;
use super::{Answer, Denial, Failure};
use crate::body::Body;

/// Of an answer that allows: headers that the application does not get.
const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// Whether the check has the whole body.
const PARTIAL: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");

/// The check of a request whose URI is canonical.
pub(super) fn check<B>(
    settings: &HttpCheck,
    at: (&str, u16),
    request: &Request<B>,
    sample: Option<Sample>,
) -> Result<Request<Body>, Failure> {
    let mut check = Request::new(Body::empty());
    *check.uri_mut() = target(settings, at, request)?;
    check.method_mut().clone_from(request.method());
    let (headers, is_grpc) = (check.headers_mut(), is_grpc(request.headers()));
    for (name, value) in request.headers() {
        // A check is no call of gRPC, though it may be about one: who refuses it has to say so in HTTP.
        let is_misleading = is_grpc && *name == CONTENT_TYPE;
        let is_asked_for = is_chosen(&settings.request_headers, name) && !is_of_connection(name) && !is_misleading;
        if *name == AUTHORIZATION || is_asked_for {
            headers.append(name, value.clone());
        }
    }
    for (name, value) in &settings.extra_headers {
        headers.insert(name, value.clone());
    }
    if let Some(host) = host(request) {
        headers.insert(http::header::HOST, host);
    }
    if let Some(sample) = sample {
        headers.insert(
            PARTIAL,
            HeaderValue::from_static(if sample.is_partial { "true" } else { "false" }),
        );
        *check.body_mut() = Body::full(sample.bytes);
    }
    Ok(check)
}

/// The authorizer sees the host that was asked for, not its own.
fn host<B>(request: &Request<B>) -> Option<HeaderValue> {
    let authority = request.uri().authority();
    let named = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    named.or_else(|| request.headers().get(http::header::HOST).cloned())
}

fn target<B>(settings: &HttpCheck, (service, port): (&str, u16), request: &Request<B>) -> Result<Uri, Failure> {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    if *request.method() == Method::CONNECT || !path.starts_with('/') {
        return Err(Failure::new(
            "a request without a path cannot be sent to an authorizer over HTTP",
        ));
    }
    let prefix = settings.path_prefix.trim_end_matches('/');
    let uri = Uri::builder().scheme("http").authority(format!("{service}:{port}"));
    let uri = uri.path_and_query(format!("{prefix}{path}")).build();
    uri.map_err(|_| Failure::new("the path of the check is none"))
}

/// Reads the answer: 200 allows, 5xx is none, anything else denies.
pub(super) fn answer(settings: &HttpCheck, response: Response<Bytes>) -> Result<Answer, Failure> {
    let (parts, body) = response.into_parts();
    match parts.status {
        StatusCode::OK if is_grpc(&parts.headers) || parts.headers.contains_key("grpc-status") => {
            Err(Failure::new("the authorizer over HTTP answers in gRPC"))
        }
        StatusCode::OK => Ok(Answer::Allowed(allowed(settings, &parts.headers))),
        status if status.is_server_error() => Err(Failure::new(format!("the authorizer answers {status}"))),
        status if status.is_informational() => Err(Failure::new(format!("the authorizer answers {status}"))),
        status => Ok(Answer::Denied(Denial {
            status,
            headers: denied(settings, &parts.headers),
            body,
        })),
    }
}

fn allowed(settings: &HttpCheck, headers: &HeaderMap) -> Changes {
    let chosen = |patterns: &[Pattern], how| {
        let chosen = headers
            .iter()
            .filter(|(name, _)| is_chosen(patterns, name) && !is_untouchable(name));
        let changes = chosen.map(|(name, value)| HeaderChange {
            name: name.clone(),
            value: value.clone(),
            how,
        });
        changes.collect()
    };
    Changes {
        request: chosen(&settings.to_server_on_allow, How::Set),
        response: chosen(&settings.to_caller_on_allow, How::Append),
        removed: names(headers, &TO_REMOVE),
        ..Changes::default()
    }
}

/// The names that a header lists.
fn names(headers: &HeaderMap, list: &HeaderName) -> Vec<HeaderName> {
    let lines = headers.get_all(list).iter().filter_map(|line| line.to_str().ok());
    let names = lines.flat_map(|line| line.split(','));
    names
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect()
}

/// What the caller sees of an answer that denies: what the policy names, or all of it.
fn denied(settings: &HttpCheck, headers: &HeaderMap) -> HeaderMap {
    let patterns = &settings.to_caller_on_deny;
    let is_seen = |name: &HeaderName| {
        let is_always = *name == LOCATION || *name == WWW_AUTHENTICATE;
        patterns.is_empty() || is_always || is_chosen(patterns, name)
    };
    let mut seen = HeaderMap::new();
    for (name, value) in headers {
        if is_seen(name) && !is_of_connection(name) && *name != CONTENT_LENGTH && !is_mesh_managed(name.as_str()) {
            seen.append(name, value.clone());
        }
    }
    seen
}

fn is_chosen(patterns: &[Pattern], name: &HeaderName) -> bool {
    let name = name.as_str();
    patterns.iter().any(|pattern| match pattern {
        Pattern::Exact(text) => name == text,
        Pattern::Prefix(start) => name.starts_with(start.as_str()),
        Pattern::Suffix(end) => name.ends_with(end.as_str()),
        Pattern::Present => true,
        _ => false,
    })
}
