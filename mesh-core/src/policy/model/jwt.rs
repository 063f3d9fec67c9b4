//! Which tokens requests may carry.

use std::time::Duration;

use super::authz::Target;
use super::{Labels, Meta, Origin, selects};
use crate::workload::Workload;

/// A `RequestAuthentication`: a request without a token passes, one with a token that is not valid does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestAuthentication {
    /// Name and place.
    pub meta: Meta,
    /// Workloads that it holds for; empty is the whole namespace.
    pub selector: Labels,
    /// Where non-empty, only gateways that one of these names.
    pub targets: Vec<Target>,
    /// The tokens.
    pub rules: Vec<JwtRule>,
}

impl RequestAuthentication {
    /// Whether it holds for a workload: by its namespace, and by targets or labels.
    #[must_use]
    pub fn holds_for(&self, workload: &Workload, root_namespace: &str) -> bool {
        let namespace = &self.meta.namespace;
        let (of_own, in_root) = (*namespace == workload.namespace, namespace == root_namespace);
        let is_picked = || match self.targets.as_slice() {
            [] => selects(&self.selector, &workload.labels),
            targets => targets.iter().any(|target| target.is(workload, of_own, in_root)),
        };
        (of_own || in_root) && is_picked()
    }
}

/// One kind of token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtRule {
    /// Where it was written.
    pub origin: Origin,
    /// Who issues it.
    pub issuer: String,
    /// For whom it is issued; empty is anybody.
    pub audiences: Vec<String>,
    /// Where the issuer's keys are.
    pub keys: JwtKeys,
    /// Headers that it is in, each with the text before it.
    pub from_headers: Vec<(String, String)>,
    /// Query parameters that it is in.
    pub from_params: Vec<String>,
    /// Cookies that it is in.
    pub from_cookies: Vec<String>,
    /// The header that the application gets its payload in.
    pub payload_header: Option<String>,
    /// Whether the application gets it.
    pub forward: Forward,
    /// Claims that the application gets in headers: header and claim.
    pub claim_headers: Vec<(String, String)>,
    /// Limit for fetching keys.
    pub timeout: Option<Duration>,
    /// How long fetched keys are taken as they are.
    pub refresh: Option<Duration>,
    /// How long keys are used that cannot be fetched again.
    pub stale: Option<Duration>,
    /// How far the issuer's clock may be from ours, in whole seconds. Default: not at all.
    pub leeway: Option<Duration>,
    /// Whether requests must bear one.
    pub presence: Presence,
    /// Claims whose text is a list, separated by blanks.
    pub space_delimited_claims: Vec<String>,
}

/// Whether requests must bear a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they must or they need not")]
pub enum Presence {
    /// They need not.
    #[default]
    Optional,
    /// They must.
    Required,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwtKeys {
    /// Where OpenID Connect's discovery of the issuer says.
    #[default]
    Discovered,
    /// At this address.
    Fetched(String),
    /// In this file, which is read again when it changes.
    File(String),
    /// These: a JSON Web Key Set.
    Inline(String),
}

/// Whether the application gets the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it does or it does not")]
pub enum Forward {
    /// It is removed.
    #[default]
    Remove,
    /// It stays.
    Keep,
}
