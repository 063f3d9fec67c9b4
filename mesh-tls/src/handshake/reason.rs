//! Why handshakes fail, in few words: for labels of metrics and for counting alike.

use std::fmt;

use super::HandshakeError;
use crate::leaf::LeafError;
use crate::verify::PeerError;

/// Declares the reasons with their words.
macro_rules! reasons {
    ($( $(#[doc = $doc:literal])* $name:ident = $word:literal, )*) => {
        /// Why a handshake failed, as one of few values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $( $(#[doc = $doc])* $name, )*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it, of small letters and `_`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$name => $word, )*
                }
            }
        }
    };
}

reasons! {
    /// The time ran out.
    Timeout = "timeout",
    /// This process's own certificate is not valid now.
    OwnIdentity = "own_identity",
    /// The name to send is none.
    ServerName = "server_name",
    /// The peer presented no certificate.
    NoCertificate = "no_certificate",
    /// The peer's certificate breaks a rule of X509-SVID.
    NoSvid = "no_svid",
    /// The peer's certificate has expired.
    Expired = "expired",
    /// The peer's certificate is not valid yet.
    NotYetValid = "not_yet_valid",
    /// There is no bundle for the peer's trust domain, or an empty one.
    UnknownTrustDomain = "unknown_trust_domain",
    /// The chain does not lead to the bundle, or is too long.
    Untrusted = "untrusted",
    /// The peer's certificate is revoked.
    Revoked = "revoked",
    /// Whether it is cannot be told.
    RevocationInDoubt = "revocation_in_doubt",
    /// The peer is somebody else than the one that was called.
    Unexpected = "unexpected_peer",
    /// The peer does not hold the key of its certificate.
    KeyNotProven = "key_not_proven",
    /// The peer refused.
    PeerRefused = "peer_refused",
    /// No version, cipher or protocol is shared, or the peer does not speak TLS.
    Protocol = "protocol",
    /// The connection failed.
    Io = "io",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl HandshakeError {
    /// Why, as one of few values.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout(_) => Reason::Timeout,
            Self::OwnIdentity(_) => Reason::OwnIdentity,
            Self::ServerName(_) => Reason::ServerName,
            Self::Peer(error) => error.reason(),
            Self::PeerRefused(_) => Reason::PeerRefused,
            Self::Protocol(_) => Reason::Protocol,
            Self::Io(_) => Reason::Io,
        }
    }
}

impl PeerError {
    /// Why, as one of few values.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoCertificate => Reason::NoCertificate,
            Self::Leaf(LeafError::Expired(_)) => Reason::Expired,
            Self::Leaf(LeafError::NotYetValid(_)) => Reason::NotYetValid,
            Self::Leaf(_) => Reason::NoSvid,
            Self::UnknownTrustDomain(_) | Self::EmptyBundle(_) => Reason::UnknownTrustDomain,
            Self::ChainTooLong(_) | Self::Untrusted { .. } => Reason::Untrusted,
            Self::Revoked(_) => Reason::Revoked,
            Self::RevocationInDoubt { .. } => Reason::RevocationInDoubt,
            Self::Unexpected { .. } => Reason::Unexpected,
            Self::KeyNotProven => Reason::KeyNotProven,
        }
    }
}
