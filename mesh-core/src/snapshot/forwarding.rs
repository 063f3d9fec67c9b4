//! Whose word on earlier hops is handed on.

use crate::decide::route::string::{PatternMatcher, PatternSet};
use crate::identity::SpiffeId;
use crate::policy::model::forwarding::{ClientCertHeader, Forwarding};

/// What becomes of `x-forwarded-client-cert`, compiled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientCerts {
    /// What becomes of the header.
    pub mode: ClientCertHeader,
    trusted: PatternSet,
}

impl ClientCerts {
    pub(super) fn compile(forwarding: &Forwarding) -> Self {
        Self {
            mode: forwarding.client_cert,
            trusted: forwarding.trusted_callers.iter().map(PatternMatcher::compile).collect(),
        }
    }

    /// Whether the header of a caller is kept.
    #[must_use]
    pub fn trusts(&self, caller: &SpiffeId) -> bool {
        self.trusted.is_match(caller.without_scheme())
    }
}
