//! Who the peer is: SPIFFE verification for both sides of a handshake.
//!
//! A peer's certificate passes, in this order: the leaf rules of X509-SVID, its validity, its
//! allowed side, the bundle of *its own* trust domain, the chain to that bundle and, where this
//! process opened the connection, the identity that was expected. Host names play no part: a name
//! from DNS says where a connection went, not who answered.
//!
//! A refusal keeps its reason ([`PeerError`]) on the way through rustls and comes back in
//! [`HandshakeError::Peer`](crate::handshake::HandshakeError::Peer).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use mesh_core::identity::{SpiffeId, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};

use crate::leaf::{Leaf, LeafError, Role};
use crate::provider::provider;
use crate::svid::{ChainError, RevocationPolicy, TrustBundles};

/// The most certificates of one chain, the leaf included. More are refused unread, since path
/// building over a crafted chain costs time without end (RUSTSEC-2023-0053).
pub const MAX_CHAIN: usize = 8;

/// Why a peer's certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The peer presented no certificate.
    #[error("peer presented no certificate")]
    NoCertificate,
    /// The chain has more than [`MAX_CHAIN`] certificates.
    #[error("peer presented {0} certificates, expected at most 8")]
    ChainTooLong(usize),
    /// The leaf breaks a rule of X509-SVID or is not valid now.
    #[error("peer's {0}")]
    Leaf(#[from] LeafError),
    /// There is no bundle for the peer's trust domain.
    #[error("no trust bundle for `{domain}`, the trust domain of peer `{id}`", domain = .0.trust_domain(), id = .0)]
    UnknownTrustDomain(SpiffeId),
    /// The bundle of the peer's trust domain is empty.
    #[error("trust bundle of `{domain}` is empty, so peer `{id}` is not trusted", domain = .0.trust_domain(), id = .0)]
    EmptyBundle(SpiffeId),
    /// The chain does not lead to the bundle of the peer's trust domain.
    #[error("certificate of peer `{id}` does not chain to the bundle of its trust domain: {reason}")]
    Untrusted {
        /// The id that the certificate claims.
        id: SpiffeId,
        /// What is wrong with the chain.
        reason: ChainError,
    },
    /// The certificate, or that of an issuer, is revoked.
    #[error("certificate of peer `{0}` is revoked")]
    Revoked(SpiffeId),
    /// Whether it is revoked cannot be told, and the policy does not take such certificates.
    #[error("certificate of peer `{id}` may be revoked: {reason}")]
    RevocationInDoubt {
        /// The id that the certificate claims.
        id: SpiffeId,
        /// Why it cannot be told.
        reason: &'static str,
    },
    /// The peer is somebody else than the one that was called.
    #[error("peer is `{found}`, expected {expected}")]
    Unexpected {
        /// The peer's proven certificate says this.
        found: SpiffeId,
        /// The caller expected this.
        expected: ExpectedPeer,
    },
    /// The peer does not hold the private key of the certificate that it presented.
    #[error("peer does not hold the key of the certificate that it presented")]
    KeyNotProven,
}

impl PeerError {
    /// The reason that a rustls error carries, if it comes from these verifiers.
    #[must_use]
    pub fn of(error: &rustls::Error) -> Option<&Self> {
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(error))) = error else {
            return None;
        };
        error.downcast_ref()
    }
}

impl From<PeerError> for rustls::Error {
    fn from(error: PeerError) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}

/// Whom a client accepts as its server. There is no default: a certificate that is valid for
/// *some* workload proves nothing about the one that was called (CVE-2021-32574).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExpectedPeer {
    /// One of these identities. An empty set accepts nobody.
    OneOf(BTreeSet<SpiffeId>),
    /// Any workload of this trust domain.
    AnyIn(TrustDomain),
}

impl ExpectedPeer {
    /// Exactly this identity.
    #[must_use]
    pub fn exactly(id: SpiffeId) -> Self {
        Self::OneOf(BTreeSet::from([id]))
    }

    /// One of these identities.
    #[must_use]
    pub fn one_of(ids: impl IntoIterator<Item = SpiffeId>) -> Self {
        Self::OneOf(ids.into_iter().collect())
    }

    /// Any workload of this trust domain, whichever answers.
    #[must_use]
    pub fn any_in(trust_domain: TrustDomain) -> Self {
        Self::AnyIn(trust_domain)
    }

    /// Whether `id` is accepted.
    #[must_use]
    pub fn accepts(&self, id: &SpiffeId) -> bool {
        match self {
            Self::OneOf(ids) => ids.contains(id),
            Self::AnyIn(trust_domain) => id.trust_domain() == trust_domain,
        }
    }
}

impl fmt::Display for ExpectedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyIn(trust_domain) => write!(f, "any workload of `{trust_domain}`"),
            Self::OneOf(ids) if ids.is_empty() => f.write_str("nobody"),
            Self::OneOf(ids) => {
                for (at, id) in ids.iter().enumerate() {
                    let or = if at == 0 { "" } else { " or " };
                    write!(f, "{or}`{id}`")?;
                }
                Ok(())
            }
        }
    }
}

/// A leaf and what stands between it and an authority.
pub(crate) type Chain<'a> = (&'a CertificateDer<'a>, &'a [CertificateDer<'a>]);

/// Judges a chain that a peer presents in `role`.
pub(crate) fn verify_chain(
    bundles: &TrustBundles,
    chain: Chain<'_>,
    role: Role,
    now: UnixTime,
) -> Result<Leaf, PeerError> {
    verify(bundles, chain, (role, Some(bundles.revocation())), now)
}

/// The same, whatever is revoked.
pub(crate) fn verify_trust(
    bundles: &TrustBundles,
    chain: Chain<'_>,
    role: Role,
    now: UnixTime,
) -> Result<Leaf, PeerError> {
    verify(bundles, chain, (role, None), now)
}

fn verify(
    bundles: &TrustBundles,
    chain: Chain<'_>,
    (role, revocation): (Role, Option<RevocationPolicy>),
    now: UnixTime,
) -> Result<Leaf, PeerError> {
    let (certificate, intermediates) = chain;
    if intermediates.len() >= MAX_CHAIN {
        return Err(PeerError::ChainTooLong(intermediates.len() + 1));
    }
    let leaf = Leaf::parse(certificate)?;
    leaf.check_time(now)?;
    leaf.check_role(role)?;
    let Some(bundle) = bundles.bundle(leaf.id.trust_domain()) else {
        return Err(PeerError::UnknownTrustDomain(leaf.id));
    };
    if bundle.is_empty() {
        return Err(PeerError::EmptyBundle(leaf.id));
    }
    match bundle.verify(role, chain, revocation, now) {
        Ok(()) => Ok(leaf),
        Err(reason) => Err(refused(leaf.id, reason)),
    }
}

fn refused(id: SpiffeId, reason: ChainError) -> PeerError {
    match reason {
        ChainError::Revoked => PeerError::Revoked(id),
        ChainError::RevocationInDoubt(reason) => PeerError::RevocationInDoubt { id, reason },
        reason => PeerError::Untrusted { id, reason },
    }
}

/// A server's judge of its clients. Every client must present an SVID.
#[derive(Debug)]
pub struct SpiffeClientVerifier {
    bundles: TrustBundles,
}

impl SpiffeClientVerifier {
    /// Accepts every workload that `bundles` vouch for; what it may do is authorization's question.
    #[must_use]
    pub fn new(bundles: TrustBundles) -> Self {
        Self { bundles }
    }
}

impl ClientCertVerifier for SpiffeClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: clients have one identity, and the list would tell anybody whom we trust.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        verify_chain(&self.bundles, (end_entity, intermediates), Role::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &algorithms()).map_err(key_not_proven)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &algorithms()).map_err(key_not_proven)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// A client's judge of the server that answers it.
#[derive(Debug)]
pub struct SpiffeServerVerifier {
    bundles: TrustBundles,
    expected: ExpectedPeer,
}

impl SpiffeServerVerifier {
    /// Accepts `expected` where `bundles` vouch for it.
    #[must_use]
    pub fn new(bundles: TrustBundles, expected: ExpectedPeer) -> Self {
        Self { bundles, expected }
    }
}

impl ServerCertVerifier for SpiffeServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let leaf = verify_chain(&self.bundles, (end_entity, intermediates), Role::Server, now)?;
        if !self.expected.accepts(&leaf.id) {
            let expected = self.expected.clone();
            return Err(PeerError::Unexpected {
                found: leaf.id,
                expected,
            }
            .into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &algorithms()).map_err(key_not_proven)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &algorithms()).map_err(key_not_proven)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

fn key_not_proven(error: rustls::Error) -> rustls::Error {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => PeerError::KeyNotProven.into(),
        other => other,
    }
}
