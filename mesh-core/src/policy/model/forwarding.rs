//! What requests tell of those that sent them before, and how far it is believed.

use super::authz::Pattern;

/// What is believed of the hops before the caller (Istio's `gatewayTopology`). Default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forwarding {
    /// What becomes of `x-forwarded-client-cert` before a request is handed on.
    pub client_cert: ClientCertHeader,
    /// The identities, without `spiffe://`, whose `x-forwarded-client-cert` is kept where `client_cert` keeps any.
    pub trusted_callers: Vec<Pattern>,
    /// How many addresses at the end of `x-forwarded-for` proxies of one's own have written.
    pub trusted_proxies: u32,
}

/// What becomes of `x-forwarded-client-cert` (Envoy's `forward_client_cert_details`).
///
/// The header is data for the application. Authorization looks at the certificate of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "Envoy's five modes")]
pub enum ClientCertHeader {
    /// It is removed.
    #[default]
    Strip,
    /// That of a trusted caller is kept.
    Forward,
    /// The caller's certificate is added to that of a trusted caller, and stands alone for others.
    Append,
    /// The caller's certificate takes its place.
    Set,
    /// Anybody's is kept, over plain text too.
    AlwaysForward,
}
