//! Values of filters that several dialects take: authorities, statuses, substitutions, lists of CORS.

use http::{HeaderName, Method, StatusCode};

use super::names::is_dns_name;
use super::values::duration;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::reader::{Reader, within};
use crate::policy::source::Node;

/// The largest body of a direct response.
const BODY_BYTES: usize = 1 << 20;

/// Reads a host that may have a port.
pub(super) fn authority(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    match text.parse::<http::uri::Authority>() {
        Ok(authority) if !text.contains('@') && is_host(authority.host()) => Some(text.into()),
        _ => cx.invalid(
            node,
            format!("expected a host, with or without a port, found {}", quoted(text)),
        ),
    }
}

fn is_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    is_dns_name(host) || address.parse::<std::net::IpAddr>().is_ok()
}

/// Reads a status of an answer.
pub(super) fn status(cx: &Reader<'_>, node: &Node) -> Option<StatusCode> {
    StatusCode::from_u16(within::<u16>(200..=600)(cx, node)?).ok()
}

/// Reads a status of a redirect.
pub(super) fn redirect_status(cx: &Reader<'_>, node: &Node) -> Option<StatusCode> {
    match within::<u16>(0..=599)(cx, node)? {
        code @ (301 | 302 | 303 | 307 | 308) => StatusCode::from_u16(code).ok(),
        code => cx.invalid(node, format!("expected 301, 302, 303, 307 or 308, found `{code}`")),
    }
}

/// Takes a body that is not too long.
pub(super) fn bounded_body(cx: &Reader<'_>, node: &Node, body: Vec<u8>) -> Option<Vec<u8>> {
    if body.len() > BODY_BYTES {
        return cx.invalid(
            node,
            format!("expected at most {BODY_BYTES} bytes, found {}", body.len()),
        );
    }
    Some(body)
}

/// A backslash stands before the number of a group that the regex has, or before another backslash.
pub(super) fn check_groups(cx: &Reader<'_>, (field, node): (&str, &Node), pattern: &str, substitution: &str) {
    let groups = regex::Regex::new(pattern).map_or(0, |regex| regex.captures_len() - 1);
    let mut letters = substitution.chars();
    while letters.by_ref().any(|letter| letter == '\\') {
        let problem = match letters.next() {
            Some('\\') => continue,
            Some(digit) if digit.to_digit(10).is_some_and(|group| group as usize <= groups) => continue,
            Some(digit) if digit.is_ascii_digit() => {
                format!("the last group of the regex is {groups}, found `\\{digit}`")
            }
            _ => "expected the number of a group behind `\\`, such as `\\1`".into(),
        };
        let message = format!("{}: {problem}", quoted(field));
        cx.report(Diagnostic::new(Code::INVALID_VALUE, node.span, message));
        return;
    }
}

/// Reads a method of a list of CORS.
pub(super) fn cors_method(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    if text == "*" || known.iter().any(|method| method.as_str() == text) {
        return Some(text.into());
    }
    cx.invalid(
        node,
        format!("expected a method such as `GET`, or `*`, found {}", quoted(text)),
    )
}

/// Reads the name of a header of a list of CORS.
pub(super) fn cors_header(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if text == "*" || HeaderName::from_bytes(text.as_bytes()).is_ok() {
        return Some(text.into());
    }
    cx.invalid(
        node,
        format!("expected the name of a header, or `*`, found {}", quoted(text)),
    )
}

/// Reads how long browsers keep an answer.
pub(super) fn whole_seconds(cx: &Reader<'_>, node: &Node) -> Option<std::time::Duration> {
    let age = duration(cx, node)?;
    if age.subsec_nanos() == 0 {
        return Some(age);
    }
    cx.invalid(
        node,
        format!(
            "expected whole seconds, found {}",
            quoted(node.as_text().unwrap_or_default())
        ),
    )
}
