//! The conditions of a retry.

use http::StatusCode;

use super::Attempt;
use crate::policy::model::traffic::RetryCondition;

/// A row of [`CONDITIONS`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConditionRow {
    /// The name, as Envoy, Istio and native policies write it.
    pub name: &'static str,
    /// When it holds, in a sentence.
    pub doc: &'static str,
    /// Its variant in the model.
    pub condition: RetryCondition,
    rule: Rule,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// A status of a response, or no response at all, which becomes a 5xx.
    StatusOrNone(fn(u16) -> bool),
    /// A status that the server sent.
    Status(fn(u16) -> bool),
    /// One of the codes of the policy, sent by the server.
    Codes,
    /// The way in which the try failed.
    Failure(fn(&Attempt) -> bool),
    /// A gRPC status in the response headers.
    Grpc(u8),
    /// The response says that the server refused it for its rate.
    RateLimited,
    /// Nothing that can happen here.
    Never,
}

impl ConditionRow {
    /// Whether the condition holds for a try. `codes` are those of the policy ([`RetryCondition::RetriableStatusCodes`]).
    #[must_use]
    pub fn holds(&self, attempt: &Attempt, codes: &[StatusCode]) -> bool {
        match self.rule {
            Rule::StatusOrNone(matches) => attempt.status().map_or_else(|| attempt.is_unanswered(), matches),
            Rule::Status(matches) => attempt.status().is_some_and(matches),
            Rule::Codes => attempt
                .status()
                .is_some_and(|status| codes.iter().any(|code| *code == status)),
            Rule::Failure(matches) => matches(attempt),
            Rule::Grpc(status) => attempt.grpc_status() == Some(status),
            Rule::RateLimited => attempt.is_rate_limited(),
            Rule::Never => false,
        }
    }

    /// Whether it looks at gRPC statuses, and therefore at POSTs only.
    #[must_use]
    pub const fn is_grpc(&self) -> bool {
        matches!(self.rule, Rule::Grpc(_))
    }

    /// Whether it can hold at all: some of Envoy's conditions are about what does not exist here.
    #[must_use]
    pub const fn can_hold(&self) -> bool {
        !matches!(self.rule, Rule::Never)
    }
}

const fn row(name: &'static str, condition: RetryCondition, rule: Rule, doc: &'static str) -> ConditionRow {
    ConditionRow {
        name,
        doc,
        condition,
        rule,
    }
}

/// Every condition, with Envoy's names and meaning (`retry_state_impl.cc`).
///
/// "No answer" is a failed connection, a disconnect, a reset, a refused stream or a per-try timeout. It is not the limit
/// of the whole request, nor anything that the mesh itself refused.
pub const CONDITIONS: &[ConditionRow] = &[
    row(
        "5xx",
        RetryCondition::FiveXx,
        Rule::StatusOrNone(|status| status >= 500),
        "any 5xx response, or no answer",
    ),
    row(
        "gateway-error",
        RetryCondition::GatewayError,
        Rule::StatusOrNone(|status| matches!(status, 502..=504)),
        "a 502, 503 or 504 response, or no answer",
    ),
    row(
        "reset",
        RetryCondition::Reset,
        Rule::Failure(Attempt::is_unanswered),
        "no answer",
    ),
    row(
        "reset-before-request",
        RetryCondition::ResetBeforeRequest,
        Rule::Failure(Attempt::is_not_sent),
        "no answer, and the request was not sent",
    ),
    row(
        "connect-failure",
        RetryCondition::ConnectFailure,
        Rule::Failure(Attempt::is_connect_failure),
        "connecting failed or took too long, TLS included",
    ),
    row(
        "refused-stream",
        RetryCondition::RefusedStream,
        Rule::Failure(Attempt::is_refused),
        "the server refused the HTTP/2 stream unread",
    ),
    row(
        "retriable-4xx",
        RetryCondition::Retriable4xx,
        Rule::Status(|status| status == 409),
        "a 409 response",
    ),
    row(
        "retriable-status-codes",
        RetryCondition::RetriableStatusCodes,
        Rule::Codes,
        "a response of the server with one of the codes in the list",
    ),
    row(
        "retriable-headers",
        RetryCondition::RetriableHeaders,
        Rule::Never,
        "headers of the response that a policy would name: none can, so that it never holds",
    ),
    row(
        "envoy-ratelimited",
        RetryCondition::EnvoyRatelimited,
        Rule::RateLimited,
        "a response with `x-envoy-ratelimited`, which no other condition tries again",
    ),
    row(
        "http3-post-connect-failure",
        RetryCondition::Http3PostConnectFailure,
        Rule::Never,
        "an HTTP/3 connection that failed after it was made: HTTP/3 is not spoken, so that it never holds",
    ),
    row(
        "cancelled",
        RetryCondition::Cancelled,
        Rule::Grpc(1),
        "gRPC status 1 in the response headers",
    ),
    row(
        "deadline-exceeded",
        RetryCondition::DeadlineExceeded,
        Rule::Grpc(4),
        "gRPC status 4 in the response headers",
    ),
    row(
        "internal",
        RetryCondition::Internal,
        Rule::Grpc(13),
        "gRPC status 13 in the response headers",
    ),
    row(
        "resource-exhausted",
        RetryCondition::ResourceExhausted,
        Rule::Grpc(8),
        "gRPC status 8 in the response headers",
    ),
    row(
        "unavailable",
        RetryCondition::Unavailable,
        Rule::Grpc(14),
        "gRPC status 14 in the response headers",
    ),
];

/// The row of a condition.
pub(super) fn row_of(condition: RetryCondition) -> Option<&'static ConditionRow> {
    CONDITIONS.iter().find(|row| row.condition == condition)
}
