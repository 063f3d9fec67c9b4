//! What a result says about its endpoint.

use http::StatusCode;

use crate::outcome::Outcome;

/// What the result of a request says about the endpoint that it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It answered with 1xx, 2xx or 3xx: failures in a row end here.
    Success,
    /// It answered with a 5xx other than the gateway errors.
    ServerError,
    /// It answered with 502, 503 or 504.
    GatewayError,
    /// It did not answer.
    LocalOrigin(LocalError),
    /// Nothing: what the caller or the mesh itself did. Neither counts nor ends a row of failures.
    Neutral,
}

/// Why an endpoint did not answer. Each counts like a response code (Envoy, without `split_external_local_origin_errors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalError {
    /// No connection, TLS included. Counts as 503.
    Connect,
    /// The connection or stream ended before the answer. Counts as 503.
    Reset,
    /// No answer in time. Counts as 504.
    Timeout,
    /// Anything else. Counts as 500.
    Other,
}

impl Verdict {
    /// The verdict of a response.
    ///
    /// Differs from Envoy, where 4xx ends a row of failures: a caller could keep a broken endpoint in use with requests that
    /// it answers with 404.
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        match status.as_u16() {
            502..=504 => Self::GatewayError,
            500.. => Self::ServerError,
            400..=499 => Self::Neutral,
            _ => Self::Success,
        }
    }

    /// The verdict of a response, where only these statuses are errors: any other 5xx is a success, as in Envoy.
    #[must_use]
    pub fn from_listed_status(status: StatusCode, errors: &[StatusCode]) -> Self {
        if errors.contains(&status) {
            return Self::ServerError;
        }
        match Self::from_status(status) {
            Self::ServerError | Self::GatewayError => Self::Success,
            verdict => verdict,
        }
    }

    /// The verdict of a gRPC response, by its `grpc-status` in headers or trailers.
    ///
    /// Envoy maps the status to HTTP: 14 is 503; 2, 13 and 15 are 500; 0 is a success, the rest is 4xx. Differs for 4
    /// (deadline exceeded, 504 there) and 12 (unimplemented, 501 there): the caller chooses its deadline and its method.
    #[must_use]
    pub const fn from_grpc_status(status: u8) -> Self {
        match status {
            0 => Self::Success,
            14 => Self::GatewayError,
            2 | 13 | 15 => Self::ServerError,
            _ => Self::Neutral,
        }
    }

    /// The verdict of a request without a response; [`Verdict::Neutral`] for [`Outcome::Response`], whose status decides.
    ///
    /// A [`Outcome::RequestTimeout`] counts only where the policy set the limit; where the caller did,
    /// [`crate::decide::deadline::Expiry::verdict`] says so.
    #[must_use]
    pub const fn from_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::ConnectFailure | Outcome::TlsFailure | Outcome::IdentityMismatch => {
                Self::LocalOrigin(LocalError::Connect)
            }
            Outcome::UpstreamReset | Outcome::UpstreamClosed | Outcome::UpstreamProtocol => {
                Self::LocalOrigin(LocalError::Reset)
            }
            Outcome::PerTryTimeout | Outcome::RequestTimeout => Self::LocalOrigin(LocalError::Timeout),
            _ => Self::Neutral,
        }
    }

    /// The weight of the verdict in the two counters.
    pub(super) const fn severity(self) -> Severity {
        match self {
            Self::Neutral => Severity::None,
            Self::Success => Severity::Healthy,
            Self::ServerError | Self::LocalOrigin(LocalError::Other) => Severity::Server,
            Self::GatewayError | Self::LocalOrigin(LocalError::Connect | LocalError::Reset | LocalError::Timeout) => {
                Severity::Gateway
            }
        }
    }
}

/// Which counters a verdict moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// None.
    None,
    /// Both go to zero.
    Healthy,
    /// 5xx counts, gateway errors go to zero.
    Server,
    /// Both count.
    Gateway,
}
