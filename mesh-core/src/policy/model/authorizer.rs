//! Who is asked about requests beside the policies: external authorizers (Envoy's `ext_authz`).

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::Meta;
use super::authz::Pattern;

/// A service that decides on requests, by the name that rules of [`Action::Custom`](super::authz::Action::Custom) give it
/// (Istio's `extensionProviders`, native `authorizers`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExternalAuthorizer {
    /// Its name, which is unique in the mesh, whatever the namespace.
    pub meta: Meta,
    /// What is spoken with it.
    pub protocol: Protocol,
    /// The service's full name.
    pub service: String,
    /// The service's port.
    pub port: u16,
    /// How long a check may take as a whole, the part of the body that it reads included. Default [`TIMEOUT`](Self::TIMEOUT).
    pub timeout: Duration,
    /// What becomes of a request of which there is no answer. Default [`OnFailure::Deny`].
    pub on_failure: OnFailure,
    /// The status of a request that is denied since there is no answer. Default 403.
    pub failure_status: StatusCode,
    /// What the check has of the request's body. Default nothing.
    pub body: Option<CheckedBody>,
}

impl ExternalAuthorizer {
    /// How long a check may take where nothing says it: whoever waits longer serves nobody.
    pub const TIMEOUT: Duration = Duration::from_secs(1);

    /// How long a check may take where an `extensionProvider` of Istio does not say it.
    pub const ISTIO_TIMEOUT: Duration = Duration::from_secs(600);
}

impl Default for ExternalAuthorizer {
    fn default() -> Self {
        Self {
            meta: Meta::default(),
            protocol: Protocol::Grpc,
            service: String::new(),
            port: 0,
            timeout: Self::TIMEOUT,
            on_failure: OnFailure::Deny,
            failure_status: StatusCode::FORBIDDEN,
            body: None,
        }
    }
}

/// What is spoken with an authorizer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Protocol {
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc,
    /// The request itself, of which 200 says that it is allowed.
    Http(HttpCheck),
}

impl Protocol {
    /// `grpc` or `http`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http(_) => "http",
        }
    }
}

/// What an authorizer over HTTP sees of a request, and what its answer changes.
///
/// Names of headers are exact, or begin or end with `*`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct HttpCheck {
    /// Stands before the path; empty for none.
    pub path_prefix: String,
    /// Headers of the request that the check has, beside host, method, path and `authorization`.
    pub request_headers: Vec<Pattern>,
    /// Headers that each check has, in place of those of the request.
    pub extra_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers of an answer that allows which the application sees, in place of the request's.
    pub to_server_on_allow: Vec<Pattern>,
    /// Headers of an answer that allows which the caller sees beside those of the response.
    pub to_caller_on_allow: Vec<Pattern>,
    /// Headers of an answer that denies which the caller sees; where there are none, all of them.
    pub to_caller_on_deny: Vec<Pattern>,
}

/// What becomes of a request of which there is no answer: the authorizer is not there, too slow, or broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing between the two")]
pub enum OnFailure {
    /// It is denied.
    #[default]
    Deny,
    /// It goes on to the other rules, as if it were allowed (Istio's `failOpen`).
    Allow,
}

/// What a check has of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckedBody {
    /// The most bytes of it, at least 1.
    pub limit: u32,
    /// What becomes of a larger one.
    pub larger: LargerBody,
    /// How gRPC carries it.
    pub form: BodyForm,
}

impl CheckedBody {
    /// The first `limit` bytes as text; a larger body is refused.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self {
            limit,
            larger: LargerBody::Refuse,
            form: BodyForm::Text,
        }
    }
}

/// What becomes of a body that is larger than a check may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing between the two")]
pub enum LargerBody {
    /// The request is answered with 413.
    #[default]
    Refuse,
    /// The check has its beginning (Istio's `allowPartialMessage`).
    Part,
}

/// How a gRPC check carries a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the message has these two fields")]
pub enum BodyForm {
    /// As text, in which what is not UTF-8 is replaced.
    #[default]
    Text,
    /// As bytes (Istio's `packAsBytes`).
    Bytes,
}
