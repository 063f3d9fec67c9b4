//! Scripts of servers: what they answer, one try after the other.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::request;
use crate::explain::AuthorizerSays;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::reader::{Reader, within};
use crate::policy::source::Node;

/// What a server does with one try.
#[derive(Clone, Debug)]
pub(in crate::trial) struct Step {
    /// How long it takes.
    pub(in crate::trial) after: Duration,
    pub(in crate::trial) answer: StepAnswer,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::trial) enum StepAnswer {
    Response {
        status: StatusCode,
        grpc: Option<u8>,
        limited: RateLimited,
    },
    /// The stream ends without an answer.
    Reset,
    /// There is no connection.
    ConnectFailure,
    /// The server refuses the stream unread.
    Refused,
}

/// Whether an answer says that a rate limit made it (`x-envoy-ratelimited`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trial) enum RateLimited {
    Yes,
    No,
}

/// Reads what an external authorizer says: `allow`, `nothing`, or the status that it denies with.
pub(super) fn authorizer(cx: &Reader<'_>, node: &Node) -> Option<AuthorizerSays> {
    match node.as_text() {
        Some("allow") => Some(AuthorizerSays::Allow),
        Some("deny") => Some(AuthorizerSays::Deny(StatusCode::FORBIDDEN)),
        Some("nothing") => Some(AuthorizerSays::Nothing),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let status = within::<u16>(201..=499)(cx, node)?;
            StatusCode::from_u16(status).ok().map(AuthorizerSays::Deny)
        }
        _ => cx.invalid(
            node,
            "expected `allow`, `deny`, `nothing`, or the status that it denies with",
        ),
    }
}

pub(super) fn step(cx: &Reader<'_>, node: &Node) -> Option<Step> {
    let mut fields = cx.mapping(node)?;
    let kind = fields.required_one_of(&["status", "reset", "connect_failure", "refused"]);
    let grpc = fields.optional("grpc_status", within(0..=16));
    let headers = fields.optional("headers", request::headers);
    let limited = fields.optional("rate_limited", Reader::bool);
    if !matches!(kind, Some(("status", _))) {
        for name in ["grpc_status", "headers", "rate_limited"] {
            if let Some((key, _)) = fields.entry(name) {
                let message = format!("`{name}` is part of a response: it needs `status`");
                cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
            }
        }
    }
    let after = fields.optional("after", Reader::duration).unwrap_or_default();
    fields.finish();
    let answer = match kind? {
        ("status", node) => response(cx, node, (grpc, limited == Some(true)), &headers.unwrap_or_default())?,
        (name, node) if cx.bool(node)? => failure(name),
        (_, node) => return cx.invalid(node, "expected `true`, or the field left out"),
    };
    Some(Step { after, answer })
}

/// Headers say what the fields say: they are what a driver looks at.
fn response(
    cx: &Reader<'_>,
    node: &Node,
    (grpc, limited): (Option<u8>, bool),
    headers: &HeaderMap,
) -> Option<StepAnswer> {
    let of_header = headers
        .get("grpc-status")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let limited = match limited || headers.contains_key("x-envoy-ratelimited") {
        true => RateLimited::Yes,
        false => RateLimited::No,
    };
    Some(StepAnswer::Response {
        status: StatusCode::from_u16(within::<u16>(100..=599)(cx, node)?).ok()?,
        grpc: grpc.or(of_header),
        limited,
    })
}

fn failure(name: &str) -> StepAnswer {
    match name {
        "connect_failure" => StepAnswer::ConnectFailure,
        "refused" => StepAnswer::Refused,
        _ => StepAnswer::Reset,
    }
}
