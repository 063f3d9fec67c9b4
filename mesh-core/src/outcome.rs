//! What can happen to a request: one vocabulary for errors, responses, logs, metrics, spans and `explain`.
//!
//! Flags are Envoy's (`%RESPONSE_FLAGS%`), details are Envoy's `%RESPONSE_CODE_DETAILS%`, the gRPC
//! codes are those that Envoy's status mapping gives, but for timeouts and rate limits, where gRPC's own words are used.

use http::StatusCode;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Outcome {
    /// The server answered, whatever the status.
    Response,
    /// No route matched.
    NoRoute,
    /// The route names a service or subset that is not there.
    NoService,
    /// The host is not in the policy, and the mesh forwards to known hosts only.
    UnknownHost,
    /// No endpoint can take the request.
    NoHealthyEndpoint,
    /// The name of the service could not be resolved.
    DnsFailure,
    /// Connecting failed or took too long.
    ConnectFailure,
    /// The TLS handshake failed.
    TlsFailure,
    /// The server is not who the policy expects.
    IdentityMismatch,
    /// A limit on connections, pending or active requests was reached.
    Overflow,
    /// The whole exchange took too long.
    RequestTimeout,
    /// A single try took too long.
    PerTryTimeout,
    /// The server reset the stream before it answered.
    UpstreamReset,
    /// The server closed the connection before it answered.
    UpstreamClosed,
    /// The server broke the protocol.
    UpstreamProtocol,
    /// The caller is not allowed to.
    Denied,
    /// An external authorizer does not allow it.
    DeniedExternally,
    /// An external authorizer had to be asked, and there is no answer.
    AuthorizerFailed,
    /// The part of a body that an external authorizer sees is larger than it may be.
    CheckedBodyTooLarge,
    /// The caller has to show an identity and has none.
    Unauthenticated,
    /// The request has no unambiguous form.
    BadRequest,
    /// The request came over a connection that was made for another host.
    Misdirected,
    /// The caller went away before the response was complete.
    CallerGone,
    /// The rule answers itself: a redirect or a direct response.
    OwnAnswer,
    /// The rule makes an error on purpose.
    FaultAbort,
    /// The mesh answers a preflight request of a browser.
    Preflight,
    /// The route leads to something that cannot be called.
    UnresolvedBackend,
}

/// The fixed words of an outcome; one row a variant.
struct Words {
    status: u16,
    grpc: u8,
    flag: &'static str,
    error_type: &'static str,
    details: &'static str,
}

impl Outcome {
    /// Every outcome, in the order of the enum.
    pub const ALL: [Self; 27] = [
        Self::Response,
        Self::NoRoute,
        Self::NoService,
        Self::UnknownHost,
        Self::NoHealthyEndpoint,
        Self::DnsFailure,
        Self::ConnectFailure,
        Self::TlsFailure,
        Self::IdentityMismatch,
        Self::Overflow,
        Self::RequestTimeout,
        Self::PerTryTimeout,
        Self::UpstreamReset,
        Self::UpstreamClosed,
        Self::UpstreamProtocol,
        Self::Denied,
        Self::DeniedExternally,
        Self::AuthorizerFailed,
        Self::CheckedBodyTooLarge,
        Self::Unauthenticated,
        Self::BadRequest,
        Self::Misdirected,
        Self::CallerGone,
        Self::OwnAnswer,
        Self::FaultAbort,
        Self::Preflight,
        Self::UnresolvedBackend,
    ];

    #[rustfmt::skip]
    const fn words(self) -> Words {
        const fn row(status: u16, grpc: u8, flag: &'static str, error_type: &'static str, details: &'static str) -> Words {
            Words { status, grpc, flag, error_type, details }
        }
        match self {
            Self::Response => row(200, 0, "-", "", "via_upstream"),
            Self::NoRoute => row(404, 12, "NR", "mesh.no_route", "route_not_found"),
            Self::NoService => row(503, 14, "NC", "mesh.no_service", "cluster_not_found"),
            Self::UnknownHost => row(502, 14, "NR", "mesh.unknown_host", "host_not_in_registry"),
            Self::NoHealthyEndpoint => row(503, 14, "UH", "mesh.no_healthy_endpoint", "no_healthy_upstream"),
            Self::DnsFailure => row(503, 14, "DF", "mesh.dns_failure", "dns_resolution_failure"),
            Self::ConnectFailure => row(503, 14, "UF", "mesh.connect_failure", "upstream_reset_before_response_started{connection_failure}"),
            Self::TlsFailure => row(503, 14, "UF", "mesh.tls_failure", "upstream_reset_before_response_started{TLS_error}"),
            Self::IdentityMismatch => row(503, 14, "UF", "mesh.identity_mismatch", "upstream_reset_before_response_started{identity_mismatch}"),
            Self::Overflow => row(503, 14, "UO", "mesh.overflow", "upstream_reset_before_response_started{overflow}"),
            Self::RequestTimeout => row(504, 4, "UT", "timeout", "response_timeout"),
            Self::PerTryTimeout => row(504, 4, "UT", "timeout", "upstream_per_try_timeout"),
            Self::UpstreamReset => row(503, 14, "UR", "mesh.upstream_reset", "upstream_reset_before_response_started{remote_reset}"),
            Self::UpstreamClosed => row(503, 14, "UC", "mesh.upstream_closed", "upstream_reset_before_response_started{connection_termination}"),
            Self::UpstreamProtocol => row(502, 14, "UPE", "mesh.upstream_protocol", "upstream_reset_before_response_started{protocol_error}"),
            Self::Denied => row(403, 7, "-", "mesh.denied", "rbac_access_denied"),
            Self::DeniedExternally => row(403, 7, "UAEX", "mesh.denied_externally", "ext_authz_denied"),
            Self::AuthorizerFailed => row(403, 7, "UAEX", "mesh.authorizer_failed", "ext_authz_error"),
            Self::CheckedBodyTooLarge => row(413, 8, "-", "mesh.checked_body_too_large", "request_payload_too_large"),
            Self::Unauthenticated => row(401, 16, "-", "mesh.unauthenticated", "mtls_required"),
            Self::BadRequest => row(400, 3, "IH", "mesh.bad_request", "request_not_canonical"),
            Self::Misdirected => row(421, 14, "-", "mesh.misdirected", "misdirected_request"),
            Self::CallerGone => row(0, 1, "DC", "", "downstream_remote_disconnect"),
            Self::OwnAnswer => row(200, 0, "-", "", "direct_response"),
            Self::FaultAbort => row(503, 14, "FI", "mesh.fault_abort", "fault_filter_abort"),
            Self::Preflight => row(200, 0, "-", "", "cors_response"),
            Self::UnresolvedBackend => row(500, 14, "NC", "mesh.unresolved_backend", "cluster_not_found"),
        }
    }

    /// The HTTP status of the answer that the mesh makes; 200 for [`Outcome::Response`], whose status is the server's.
    ///
    /// 400 for [`Outcome::CallerGone`]: who is still there to read it has sent a body that failed.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.words().status).unwrap_or(StatusCode::BAD_REQUEST)
    }

    /// The `response_code` of logs and metrics: 0 where the caller got no answer.
    #[must_use]
    pub const fn response_code(self) -> u16 {
        self.words().status
    }

    /// The gRPC status of the answer that the mesh makes.
    #[must_use]
    pub const fn grpc_status(self) -> u8 {
        self.words().grpc
    }

    /// Envoy's response flag, `-` for none.
    #[must_use]
    pub const fn flag(self) -> &'static str {
        self.words().flag
    }

    /// OpenTelemetry's `error.type`; empty where nothing failed.
    #[must_use]
    pub const fn error_type(self) -> &'static str {
        self.words().error_type
    }

    /// What happened, in the words of Envoy's `%RESPONSE_CODE_DETAILS%`.
    #[must_use]
    pub const fn details(self) -> &'static str {
        self.words().details
    }

    /// Whether the mesh itself made the answer, without asking a server.
    #[must_use]
    pub const fn is_local(self) -> bool {
        !matches!(self, Self::Response)
    }

    /// Whether an endpoint is to blame: such outcomes count in outlier detection.
    #[must_use]
    pub const fn blames_endpoint(self) -> bool {
        matches!(
            self,
            Self::ConnectFailure
                | Self::TlsFailure
                | Self::IdentityMismatch
                | Self::PerTryTimeout
                | Self::RequestTimeout
                | Self::UpstreamReset
                | Self::UpstreamClosed
                | Self::UpstreamProtocol
        )
    }
}

/// The gRPC status that stands for an HTTP status, by gRPC's own mapping of responses that are not its own.
#[must_use]
pub const fn grpc_of_http(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// An outcome's flags, and those of what happened before it.
struct Flags {
    delayed: &'static str,
    spent: &'static str,
    both: &'static str,
}

const fn flags_after(outcome: Outcome) -> Flags {
    macro_rules! and {
        ($($flag:literal)?) => {
            Flags {
                delayed: concat!($($flag, ",",)? "DI"),
                spent: concat!($($flag, ",",)? "URX"),
                both: concat!($($flag, ",",)? "DI,URX"),
            }
        };
    }
    match outcome {
        Outcome::FaultAbort => Flags {
            delayed: "DI,FI",
            ..and!()
        },
        Outcome::NoHealthyEndpoint => and!("UH"),
        Outcome::DnsFailure => and!("DF"),
        Outcome::ConnectFailure | Outcome::TlsFailure | Outcome::IdentityMismatch => and!("UF"),
        Outcome::Overflow => and!("UO"),
        Outcome::RequestTimeout | Outcome::PerTryTimeout => and!("UT"),
        Outcome::UpstreamReset => and!("UR"),
        Outcome::UpstreamClosed => and!("UC"),
        Outcome::UpstreamProtocol => and!("UPE"),
        Outcome::CallerGone => and!("DC"),
        _ => and!(),
    }
}

/// The flags of a request that a fault has delayed: its outcome's, and `DI`.
#[must_use]
pub const fn flags_after_delay(outcome: Outcome) -> &'static str {
    flags_after(outcome).delayed
}

/// The flags of a request that used up its retries: its outcome's, and `URX`.
#[must_use]
pub const fn flags_with_retries_spent(outcome: Outcome) -> &'static str {
    flags_after(outcome).spent
}

/// The flags of a request that a fault has delayed, and that used up its retries.
#[must_use]
pub const fn flags_after_delay_with_retries_spent(outcome: Outcome) -> &'static str {
    flags_after(outcome).both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_valid_status() {
        for outcome in Outcome::ALL {
            let code = outcome.response_code();
            assert!(code == 0 || StatusCode::from_u16(code).is_ok(), "{outcome:?}");
            assert!(outcome.grpc_status() <= 16, "{outcome:?}");
        }
    }

    #[test]
    fn no_failure_is_answered_as_a_success() {
        let is_success = |outcome: Outcome| outcome.status().is_success();
        let answered: Vec<_> = Outcome::ALL
            .into_iter()
            .filter(|outcome| is_success(*outcome))
            .collect();
        assert_eq!(answered, [Outcome::Response, Outcome::OwnAnswer, Outcome::Preflight]);
    }

    #[test]
    fn flags_are_those_that_envoy_users_alert_on() {
        for (outcome, code, flag) in [
            (Outcome::NoRoute, 404, "NR"),
            (Outcome::Overflow, 503, "UO"),
            (Outcome::RequestTimeout, 504, "UT"),
            (Outcome::NoHealthyEndpoint, 503, "UH"),
            (Outcome::CallerGone, 0, "DC"),
        ] {
            assert_eq!((outcome.response_code(), outcome.flag()), (code, flag));
        }
    }

    #[test]
    fn spent_retries_are_added_to_the_flag() {
        for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.blames_endpoint()) {
            assert_eq!(flags_with_retries_spent(outcome), format!("{},URX", outcome.flag()));
        }
    }

    #[test]
    fn a_delay_hides_no_failure_that_may_follow_it() {
        let others = [
            Outcome::Overflow,
            Outcome::DnsFailure,
            Outcome::NoHealthyEndpoint,
            Outcome::CallerGone,
        ];
        let failures = Outcome::ALL.into_iter().filter(|outcome| outcome.blames_endpoint());
        for outcome in failures.chain(others) {
            let flag = outcome.flag();
            assert_eq!(flags_after_delay(outcome), format!("{flag},DI"));
            assert_eq!(flags_after_delay_with_retries_spent(outcome), format!("{flag},DI,URX"));
        }
        assert_eq!(flags_after_delay(Outcome::FaultAbort), "DI,FI");
        assert_eq!(flags_after_delay_with_retries_spent(Outcome::Response), "DI,URX");
    }

    #[test]
    fn what_the_caller_did_blames_no_endpoint() {
        for outcome in [
            Outcome::CallerGone,
            Outcome::BadRequest,
            Outcome::Overflow,
            Outcome::Denied,
            Outcome::Response,
        ] {
            assert!(!outcome.blames_endpoint(), "{outcome:?}");
        }
    }
}
