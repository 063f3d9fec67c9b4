//! Values of headers with variables in them, as Envoy writes them: `%REQ(x-user?x-client):8%`.

use http::HeaderName;

use crate::decide::shape::is_fixed;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::filter::{HeaderPart, HeaderText, HeaderVariable};
use crate::policy::reader::Reader;
use crate::policy::source::{Key, Node};

/// Why a text is no value.
enum Problem {
    /// It breaks the syntax, in this way.
    Invalid(String),
    /// It has a variable that Envoy knows, and this version does not.
    NotYet(String),
}

/// Reads a value. A percent sign begins a variable; `%%` is one percent sign.
pub(super) fn header_text(cx: &Reader<'_>, node: &Node) -> Option<HeaderText> {
    let text = cx.any_text(node)?;
    if text.contains(|c: char| c.is_control() && c != '\t') {
        return cx.invalid(
            node,
            format!("expected text without control characters, found {}", quoted(&text)),
        );
    }
    match parse(&text) {
        Ok(parts) => Some(HeaderText { parts }),
        Err(Problem::Invalid(reason)) => cx.invalid(node, reason),
        Err(Problem::NotYet(variable)) => {
            let title = Code::NOT_YET_IN_FORCE.title();
            let message = format!(
                "variable {} is {title}: values take parts of requests and responses",
                quoted(&variable)
            );
            cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, node.span, message));
            None
        }
    }
}

/// Reads the name of a header that is changed.
pub(super) fn header_key(cx: &Reader<'_>, key: &Key) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(key.name.to_ascii_lowercase().as_bytes());
    if name.is_err() {
        cx.invalid_key(key, "expected the name of a header");
    }
    name.ok()
}

/// The same for headers that may be changed.
pub(super) fn changed_header(cx: &Reader<'_>, key: &Key) -> Option<HeaderName> {
    let name = header_key(cx, key)?;
    if is_fixed(&name) {
        cx.invalid_key(key, format!("the header {FIXED}"));
        return None;
    }
    Some(name)
}

/// Reads the name of a header that is removed.
pub(super) fn removed_header(cx: &Reader<'_>, node: &Node) -> Option<HeaderName> {
    let text = cx.text(node)?;
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if is_fixed(&name) => cx.invalid(node, format!("header {} {FIXED}", quoted(name.as_str()))),
        Ok(name) => Some(name),
        Err(_) => cx.invalid(node, format!("expected the name of a header, found {}", quoted(text))),
    }
}

const FIXED: &str = "cannot be changed: it says how the message is framed or routed";

fn parse(text: &str) -> Result<Vec<HeaderPart>, Problem> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let Some((variable, after)) = after.split_once('%') else {
            let help = "a literal percent sign is written twice";
            return Err(Problem::Invalid(format!(
                "`%` begins a variable that does not end in {}: {help}",
                quoted(text)
            )));
        };
        if !literal.is_empty() {
            parts.push(HeaderPart::Text(std::mem::take(&mut literal)));
        }
        parts.push(part(variable)?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(HeaderPart::Text(literal));
    }
    Ok(parts)
}

fn part(text: &str) -> Result<HeaderPart, Problem> {
    let (name, argument) = match text.split_once('(') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    Ok(match (name, argument) {
        ("REQ", Some(argument)) => HeaderPart::Request(variable(text, argument)?),
        ("RESP", Some(argument)) => HeaderPart::Response(variable(text, argument)?),
        ("PROTOCOL", None) => HeaderPart::Protocol,
        ("RESPONSE_CODE", None) => HeaderPart::ResponseCode,
        ("ROUTE_NAME", None) => HeaderPart::RouteName,
        ("HOSTNAME", None) => HeaderPart::Hostname,
        ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", None) => HeaderPart::CallerAddress,
        _ if is_operator(name) => return Err(Problem::NotYet(format!("%{text}%"))),
        _ => {
            return Err(Problem::Invalid(format!(
                "{} is no variable, a literal percent sign is written twice",
                quoted(&format!("%{text}%"))
            )));
        }
    })
}

/// Whether a text has the form of Envoy's command operators.
fn is_operator(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
}

/// `name?or)` or `name?or):limit`.
fn variable(text: &str, argument: &str) -> Result<HeaderVariable, Problem> {
    let broken = || {
        Problem::Invalid(format!(
            "expected `%REQ(name)%`, `%REQ(name?other)%` or `%REQ(name):length%`, found {}",
            quoted(&format!("%{text}%"))
        ))
    };
    let (names, limit) = argument.rsplit_once(')').ok_or_else(broken)?;
    let limit = match limit {
        "" => None,
        limit => Some(
            limit
                .strip_prefix(':')
                .and_then(|limit| limit.parse().ok())
                .ok_or_else(broken)?,
        ),
    };
    let (name, or) = match names.split_once('?') {
        Some((name, or)) => (name, Some(or)),
        None => (names, None),
    };
    let is_name = |name: &str| {
        let name = name.strip_prefix(':').unwrap_or(name);
        HeaderName::from_bytes(name.as_bytes()).is_ok()
    };
    if !is_name(name) || or.is_some_and(|or| !is_name(or)) {
        return Err(broken());
    }
    let mut variable = HeaderVariable::new(name.to_ascii_lowercase());
    variable.or = or.map(str::to_ascii_lowercase);
    variable.limit = limit;
    Ok(variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_written_alike() {
        for text in [
            "",
            "a",
            "100%%",
            "%REQ(x-a)%",
            "a-%REQ(x-a?:path):12%-b%RESP(server)%%PROTOCOL%",
            "%HOSTNAME%",
        ] {
            let parts = parse(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(HeaderText { parts }.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_value_is_told() {
        for text in ["abc%123", "%", "%REQ(x%", "%REQ(a b)%", "%REQ(x):y%", "%no%"] {
            assert!(matches!(parse(text), Err(Problem::Invalid(_))), "{text}");
        }
        assert!(matches!(parse("%UPSTREAM_HOST%"), Err(Problem::NotYet(_))));
    }
}
