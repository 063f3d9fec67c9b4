//! What happens to endpoints, for logs and metrics.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::time::format_duration;

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EjectReason {
    /// `consecutive_5xx` failures in a row.
    Consecutive5xx,
    /// `consecutive_gateway_errors` gateway errors in a row.
    ConsecutiveGatewayErrors,
    /// `consecutive_local_failures` failures to answer in a row, where they are counted apart.
    ConsecutiveLocalFailures,
}

impl EjectReason {
    /// Envoy's name of the event type, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGatewayErrors => "consecutive_gateway_failure",
            Self::ConsecutiveLocalFailures => "consecutive_local_origin_failure",
        }
    }
}

/// A change in the health of a cluster. Its text is a log message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthEvent {
    /// An endpoint gets no requests for a while.
    Ejected {
        /// The endpoint.
        address: SocketAddr,
        /// Why.
        reason: EjectReason,
        /// The least time; it returns at the first sweep after.
        duration: Duration,
        /// Ejections that are not yet forgiven, this one included; the factor in `duration`.
        count: u32,
    },
    /// An endpoint failed enough, and stays in use since too many others are ejected.
    Refused {
        /// The endpoint.
        address: SocketAddr,
        /// Why it should have been ejected.
        reason: EjectReason,
        /// Endpoints that are ejected.
        ejected: usize,
        /// Endpoints in all.
        endpoints: usize,
        /// The policy's limit.
        max_ejected_percent: u8,
    },
    /// An endpoint is in use again.
    Returned {
        /// The endpoint.
        address: SocketAddr,
    },
    /// Fewer endpoints are healthy than the policy wants: all are used.
    PanicStarted {
        /// Endpoints that are not ejected.
        healthy: usize,
        /// Endpoints in all.
        endpoints: usize,
    },
    /// Enough endpoints are healthy again.
    PanicEnded {
        /// Endpoints that are not ejected.
        healthy: usize,
        /// Endpoints in all.
        endpoints: usize,
    },
}

impl fmt::Display for HealthEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ejected {
                address,
                reason,
                duration,
                count,
            } => {
                let time = format_duration(*duration);
                write!(f, "ejected {address} for {time}: {}, ejection {count}", reason.as_str())
            }
            Self::Refused {
                address,
                reason,
                ejected,
                endpoints,
                max_ejected_percent,
            } => write!(
                f,
                "kept {address} despite {}: {ejected} of {endpoints} endpoints are ejected, \
                 one more would exceed {max_ejected_percent} %",
                reason.as_str()
            ),
            Self::Returned { address } => write!(f, "{address} is in use again"),
            Self::PanicStarted { healthy, endpoints } => {
                write!(
                    f,
                    "only {healthy} of {endpoints} endpoints are healthy: using all of them"
                )
            }
            Self::PanicEnded { healthy, endpoints } => {
                write!(f, "{healthy} of {endpoints} endpoints are healthy: using those only")
            }
        }
    }
}
