//! Methods: which are taken, in which spelling.

use http::Method;

use super::{BadRequest, Methods};

/// The methods of RFC 9110 and RFC 5789.
const STANDARD: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// The other methods of the IANA registry, in its order.
const REGISTERED: [&str; 31] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Refuses misspelt, traced and unknown methods.
#[inline]
pub(super) fn check(method: &Method, methods: Methods) -> Result<(), BadRequest> {
    match *method {
        Method::GET
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS
        | Method::PATCH
        | Method::CONNECT => Ok(()),
        Method::TRACE => Err(BadRequest::Trace),
        _ => extension(method.as_str(), methods),
    }
}

fn extension(name: &str, methods: Methods) -> Result<(), BadRequest> {
    if name.eq_ignore_ascii_case("TRACK") {
        return Err(BadRequest::Trace);
    }
    if STANDARD.iter().any(|standard| standard.eq_ignore_ascii_case(name)) {
        return Err(BadRequest::MethodCase);
    }
    if methods == Methods::Any || REGISTERED.contains(&name) {
        return Ok(());
    }
    Err(BadRequest::UnknownMethod)
}
