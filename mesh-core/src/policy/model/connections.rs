//! What holds for connections beside routes and rules: how long old ones live, and how TLS is spoken.

use std::time::Duration;

/// What becomes of open connections and requests when policy or trust changes (native `mesh.live`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveSettings {
    /// How long a connection that is trusted or allowed no more may finish what it has begun. Default 5 s.
    pub drain: Duration,
    /// What is authorized again when the rules change. Default [`Recheck::Upgrades`].
    pub recheck: Recheck,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            drain: Duration::from_secs(5),
            recheck: Recheck::Upgrades,
        }
    }
}

/// What is authorized again when the rules change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each is more than the one before")]
pub enum Recheck {
    /// Nothing: a request is judged when it comes.
    Off,
    /// Connections that a request has upgraded, to a WebSocket say.
    Upgrades,
    /// These, and requests that are under way. Costs a copy of the headers of each request.
    Requests,
}

/// How TLS is spoken within the mesh (native `mesh.tls`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSettings {
    /// Whether sessions are resumed. Default [`Resumption::Off`].
    pub resumption: Resumption,
    /// What certificates are taken for whose revocation is in doubt.
    pub revocation: Revocation,
}

/// Whether TLS sessions are resumed (RFC 8446 section 2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they are or they are not")]
pub enum Resumption {
    /// Each handshake is a whole one.
    #[default]
    Off,
    /// Sessions of the same generation of identity and trust are; the peer's certificate is verified again each time.
    On,
}

/// What certificates are taken for whose revocation is in doubt. Only where there are revocation lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocation {
    /// No list is of the certificate's issuer. Default [`InDoubt::Deny`].
    pub unknown: InDoubt,
    /// The list should have been replaced by now. Default [`InDoubt::Deny`].
    pub expired: InDoubt,
}

/// What to do where it is not known whether a certificate is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "one of the two")]
pub enum InDoubt {
    /// It is refused.
    #[default]
    Deny,
    /// It is taken as good.
    Allow,
}
