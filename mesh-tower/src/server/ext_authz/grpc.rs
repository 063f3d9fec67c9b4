//! An authorizer over gRPC: one unary call of `envoy.service.auth.v3.Authorization/Check`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, TE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use mesh_core::policy::model::authorizer::BodyForm;
use mesh_core::request::joined;
use prost::Message;

use super::changes::{Changes, HeaderChange, How};
use super::proto::{
    Address, AppendAction, AttributeContext, AttributeRequest, CHECK, CheckRequest, CheckResponse, DeniedHttpResponse,
    HeaderValueOption, HttpRequest, HttpResponse, OkHttpResponse, Peer, SocketAddress, Timestamp, TlsSession,
};
use super::sample::Sample;
use super::{Answer, Denial, Failure};
use crate::body::Body;
use crate::telemetry::head::grpc_status;

/// A message begins with a byte for its compression and four for its length.
const PREFIX: usize = 5;

/// Who asks and who is asked, as a check tells it.
pub(super) struct Parties<'a> {
    pub(super) source: SocketAddr,
    pub(super) source_principal: &'a str,
    pub(super) destination: SocketAddr,
    pub(super) destination_principal: &'a str,
    pub(super) server_name: Option<&'a str>,
    pub(super) scheme: &'a str,
    pub(super) now: SystemTime,
}

/// The call that asks about a request. Each try tells how much time is left for it.
pub(super) fn call((service, port): (&str, u16), message: &CheckRequest) -> Result<Request<Body>, Failure> {
    let uri = Uri::builder().scheme("http").authority(format!("{service}:{port}"));
    let uri = uri.path_and_query(CHECK).build();
    let mut call = Request::new(Body::full(framed(message)));
    *call.uri_mut() = uri.map_err(|_| Failure::new("the authorizer has no authority"))?;
    *call.method_mut() = Method::POST;
    *call.version_mut() = Version::HTTP_2;
    let headers = call.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    Ok(call)
}

fn framed(message: &CheckRequest) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// What is told of a request whose URI is canonical.
pub(super) fn question<B>(
    request: &Request<B>,
    parties: &Parties<'_>,
    sample: Option<(Sample, BodyForm)>,
) -> CheckRequest {
    let peer = |address: SocketAddr, principal: &str| Peer {
        address: (address.port() != 0).then(|| socket_address(address)),
        service: String::new(),
        principal: principal.to_owned(),
    };
    let attributes = AttributeContext {
        source: Some(peer(parties.source, parties.source_principal)),
        destination: Some(peer(parties.destination, parties.destination_principal)),
        request: Some(AttributeRequest {
            time: Some(timestamp(parties.now)),
            http: Some(http_request(request, parties.scheme, sample)),
        }),
        context_extensions: HashMap::new(),
        tls_session: parties.server_name.map(|name| TlsSession { sni: name.to_owned() }),
    };
    CheckRequest {
        attributes: Some(attributes),
    }
}

fn socket_address(address: SocketAddr) -> Address {
    Address {
        socket_address: Some(SocketAddress {
            address: address.ip().to_canonical().to_string(),
            port_value: u32::from(address.port()),
        }),
    }
}

fn timestamp(now: SystemTime) -> Timestamp {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

fn http_request<B>(request: &Request<B>, scheme: &str, sample: Option<(Sample, BodyForm)>) -> HttpRequest {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => request.headers().get(HOST).map(text).unwrap_or_default(),
    };
    let mut headers = header_map(request.headers());
    for (name, value) in [
        (":authority", host.as_str()),
        (":method", request.method().as_str()),
        (":path", path),
        (":scheme", scheme),
    ] {
        headers.insert(name.to_owned(), value.to_owned());
    }
    let mut told = HttpRequest {
        id: request.headers().get("x-request-id").map(text).unwrap_or_default(),
        method: request.method().as_str().to_owned(),
        path: path.to_owned(),
        host,
        scheme: scheme.to_owned(),
        size: content_length(request.headers()),
        protocol: protocol(request.version()).to_owned(),
        headers,
        ..HttpRequest::default()
    };
    if let Some((sample, form)) = sample {
        told.headers
            .insert("x-envoy-auth-partial-body".into(), sample.is_partial.to_string());
        match form {
            BodyForm::Text => told.body = String::from_utf8_lossy(&sample.bytes).into_owned(),
            BodyForm::Bytes => told.raw_body = sample.bytes,
        }
    }
    told
}

/// -1 stands for a length that is not known.
fn content_length(headers: &HeaderMap) -> i64 {
    let length = headers.get(http::header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(-1)
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn header_map(headers: &HeaderMap) -> HashMap<String, String> {
    let values = headers.keys().filter(|name| **name != HOST).filter_map(|name| {
        let value = joined(headers, name)?;
        Some((name.as_str().to_owned(), String::from_utf8_lossy(&value).into_owned()))
    });
    values.collect()
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Reads the answer of the call, its trailers in place of those that a body without data has in its headers.
pub(super) fn answer(response: &Response<Bytes>, trailers: Option<&HeaderMap>) -> Result<Answer, Failure> {
    if response.status() != StatusCode::OK {
        return Err(Failure::new(format!("the authorizer answers {}", response.status())));
    }
    let status = trailers
        .and_then(grpc_status)
        .or_else(|| grpc_status(response.headers()));
    match status {
        Some(0) => decided(message(response.body())?),
        Some(status) => Err(Failure::new(format!(
            "the authorizer answers with the gRPC status {status}"
        ))),
        None => Err(Failure::new("the authorizer's answer has no gRPC status")),
    }
}

fn message(body: &[u8]) -> Result<CheckResponse, Failure> {
    let ([0, length @ ..], message) = body
        .split_first_chunk::<PREFIX>()
        .ok_or_else(|| Failure::new("the authorizer's answer is cut"))?
    else {
        return Err(Failure::new(
            "the authorizer's answer is compressed, which nobody asked for",
        ));
    };
    if usize::try_from(u32::from_be_bytes(*length)).ok() != Some(message.len()) {
        return Err(Failure::new("the authorizer's answer is not one message"));
    }
    CheckResponse::decode(message).map_err(|error| Failure::new(format!("the authorizer's answer is none: {error}")))
}

/// What the answer says. One that says nothing, or two things, is none.
fn decided(response: CheckResponse) -> Result<Answer, Failure> {
    let code = response.status.as_ref().map(|status| status.code);
    match (code, response.http_response) {
        (_, Some(HttpResponse::Error(_))) => Err(Failure::new("the authorizer says that it failed")),
        (None, None) => Err(Failure::new("the authorizer's answer says nothing")),
        (None | Some(0), Some(HttpResponse::Ok(ok))) => Ok(Answer::Allowed(allowed(ok)?)),
        (Some(0), None) => Ok(Answer::Allowed(Changes::default())),
        (None | Some(0), Some(HttpResponse::Denied(_))) => {
            Err(Failure::new("the authorizer's answer denies with a status that allows"))
        }
        (Some(_), Some(HttpResponse::Denied(denied))) => Ok(Answer::Denied(denial(denied)?)),
        (Some(_), _) => Ok(Answer::Denied(Denial::default())),
    }
}

fn allowed(ok: OkHttpResponse) -> Result<Changes, Failure> {
    let parameters = ok.query_parameters_to_set.into_iter();
    let removed = ok.headers_to_remove.iter();
    Ok(Changes {
        request: header_changes(ok.headers)?,
        removed: removed
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .collect(),
        response: header_changes(ok.response_headers_to_add)?,
        query_set: parameters.map(|one| (one.key, one.value)).collect(),
        query_removed: ok.query_parameters_to_remove,
    })
}

fn denial(denied: DeniedHttpResponse) -> Result<Denial, Failure> {
    let status = denied.status.map(|status| status.code).filter(|code| *code != 0);
    let status = match status {
        None => StatusCode::FORBIDDEN,
        Some(code) => u16::try_from(code)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            .filter(|status| (200..600).contains(&status.as_u16()))
            .ok_or_else(|| Failure::new(format!("the authorizer denies with {code}, which is no status")))?,
    };
    let mut headers = HeaderMap::new();
    super::changes::change(&mut headers, header_changes(denied.headers)?);
    Ok(Denial {
        status,
        headers,
        body: Bytes::from(denied.body),
    })
}

/// A value that no header can have makes the whole answer none; parts of a request that are no headers stay as they are.
fn header_changes(options: Vec<HeaderValueOption>) -> Result<Vec<HeaderChange>, Failure> {
    let mut changes = Vec::with_capacity(options.len());
    for option in options {
        let how = how(&option);
        let Some(header) = option.header else { continue };
        if header.key.starts_with(':') {
            tracing::debug!(
                header = header.key,
                "an authorizer may not change this part of a message"
            );
            continue;
        }
        let value = match header.raw_value.is_empty() {
            true => HeaderValue::from_maybe_shared(Bytes::from(header.value)),
            false => HeaderValue::from_maybe_shared(header.raw_value),
        };
        let name = HeaderName::from_bytes(header.key.as_bytes());
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Failure::new(format!(
                "the authorizer's answer has a header {:?} that is none",
                header.key
            )));
        };
        changes.push(HeaderChange { name, value, how });
    }
    Ok(changes)
}

/// `append` counts where it is given. The first action is what an answer that names none has, which means to set here.
fn how(option: &HeaderValueOption) -> How {
    match (option.append, option.append_action()) {
        (Some(append), _) if append.value => How::Append,
        (Some(_), _) => How::Set,
        (None, AppendAction::AppendIfExistsOrAdd | AppendAction::OverwriteIfExistsOrAdd) => How::Set,
        (None, AppendAction::AddIfAbsent) => How::AddIfAbsent,
        (None, AppendAction::OverwriteIfExists) => How::Overwrite,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &[u8], status: Option<&'static str>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::copy_from_slice(body));
        if let Some(status) = status {
            response
                .headers_mut()
                .insert("grpc-status", HeaderValue::from_static(status));
        }
        response
    }

    #[test]
    fn a_message_that_is_not_whole_is_no_answer() {
        // `status` with a code of 0, and one of 7.
        let (allowed, denied) = (&[0, 0, 0, 0, 2, 0x0a, 0][..], &[0, 0, 0, 0, 4, 0x0a, 2, 0x08, 7][..]);
        let say = |body: &[u8], status| answer(&response(body, status), None).ok();
        assert_eq!(say(allowed, Some("0")), Some(Answer::Allowed(Changes::default())));
        assert_eq!(say(denied, Some("0")), Some(Answer::Denied(Denial::default())));
        for (body, status) in [
            (allowed, None),
            (allowed, Some("13")),
            (allowed, Some("x")),
            (&[], Some("0")),
            (&allowed[..4], Some("0")),
            (&allowed[..6], Some("0")),
            (&[allowed, allowed].concat(), Some("0")),
            (&[1, 0, 0, 0, 2, 0x0a, 0], Some("0")),
            (&[0, 0, 0, 0, 0], Some("0")),
            (&[0, 0, 0, 0, 2, 0xff, 0xff], Some("0")),
        ] {
            assert_eq!(say(body, status), None, "{body:?} {status:?}");
        }
        let mut unauthorized = response(allowed, Some("0"));
        *unauthorized.status_mut() = StatusCode::UNAUTHORIZED;
        assert!(answer(&unauthorized, None).is_err());
    }

    #[test]
    fn trailers_have_the_last_word() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("13"));
        let response = response(&[0, 0, 0, 0, 2, 0x0a, 0], Some("0"));
        assert!(answer(&response, Some(&trailers)).is_err());
    }
}
