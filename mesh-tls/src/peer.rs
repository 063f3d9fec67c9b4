//! The proven identity of a connection's other side.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::identity::SpiffeId;
use rustls::pki_types::CertificateDer;
use rustls::{CommonState, HandshakeKind};

use crate::clock::Clock;
pub use crate::describe::Description;
use crate::leaf::{Leaf, Role};
use crate::svid::TrustBundles;
use crate::verify::{PeerError, verify_chain};

/// Who is on the other side of a connection, proven by a handshake. Cheap to clone.
///
/// F36: only [`accept_tls`](crate::handshake::accept_tls) and
/// [`connect_tls`](crate::handshake::connect_tls) make one, so that no header and no request
/// extension of somebody else's making can pass for it:
///
/// ```compile_fail
/// use mesh_tls::peer::PeerIdentity;
///
/// let id = "spiffe://cluster.local/ns/shop/sa/admin".parse().unwrap();
/// let forged = PeerIdentity { id };
/// ```
///
/// ```compile_fail
/// let forged = mesh_tls::peer::PeerIdentity::default();
/// ```
#[derive(Clone)]
pub struct PeerIdentity {
    leaf: Arc<Leaf>,
    /// Kept for [`verify_again`](Self::verify_again).
    chain: Arc<[CertificateDer<'static>]>,
    role: Role,
    resumed: bool,
}

impl PeerIdentity {
    /// Reads what a finished handshake has verified, or has taken from an earlier one.
    pub(crate) fn verified(session: &CommonState, role: Role) -> Result<Self, PeerError> {
        let chain = session.peer_certificates().unwrap_or_default();
        let first = chain.first().ok_or(PeerError::NoCertificate)?;
        Ok(Self {
            leaf: Arc::new(Leaf::parse(first)?),
            chain: chain.into(),
            role,
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    /// The identity.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// The first second at which the peer's certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before()
    }

    /// The last second at which the peer's certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after()
    }

    /// Whether the peer opened the connection or accepted it.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the handshake resumed a session, in which the peer had proven to hold its key.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.chain.first().map(AsRef::as_ref)
    }

    /// Judges the peer's certificate anew, as a handshake with it would now.
    ///
    /// For connections that live on while trust changes: call it for each when the identity
    /// source reports a new generation, and drain those that fail. Whom a client expected is not
    /// asked again: where that changed, compare [`id`](Self::id) with the new expectation.
    ///
    /// # Errors
    ///
    /// [`PeerError`] where a handshake would be refused now.
    pub fn verify_again(&self, bundles: &TrustBundles, clock: &Clock) -> Result<(), PeerError> {
        let chain = self.chain.split_first().ok_or(PeerError::NoCertificate)?;
        verify_chain(bundles, chain, self.role, clock.unix_now()).map(|_| ())
    }
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerIdentity")
            .field("id", &self.leaf.id.as_str())
            .field("role", &self.role)
            .field("not_after", &self.not_after())
            .finish_non_exhaustive()
    }
}
