//! The policy's words for TLS, as `mesh_tls` has them.

use mesh_core::policy::model::connections::{InDoubt, Resumption, TlsSettings};
use mesh_tls::config::{self, TlsPolicy};
use mesh_tls::svid::{self, RevocationPolicy};

/// How TLS is spoken.
pub(crate) fn tls_policy(settings: &TlsSettings) -> TlsPolicy {
    let resumption = match settings.resumption {
        Resumption::Off => config::Resumption::Off,
        Resumption::On => config::Resumption::On,
    };
    let revocation = RevocationPolicy::new(
        in_doubt(settings.revocation.unknown),
        in_doubt(settings.revocation.expired),
    );
    TlsPolicy::new(resumption, revocation)
}

const fn in_doubt(verdict: InDoubt) -> svid::InDoubt {
    match verdict {
        InDoubt::Deny => svid::InDoubt::Deny,
        InDoubt::Allow => svid::InDoubt::Allow,
    }
}
