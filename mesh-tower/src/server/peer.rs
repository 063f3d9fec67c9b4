//! Who sent a request, for the application.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::identity::SpiffeId;
use mesh_core::request::Transport;
use mesh_tls::peer::PeerIdentity;

use super::connection::Connection;

/// Who sent a request: in the extensions of every request that the mesh serves. Cheap to clone.
///
/// With axum it is an extractor; [`Identity`] is one that refuses callers without an identity.
#[derive(Clone)]
pub struct Peer {
    pub(super) connection: Arc<Connection>,
}

impl Peer {
    /// The caller's identity, proven by its certificate; `None` over plain text.
    #[must_use]
    pub fn identity(&self) -> Option<&PeerIdentity> {
        self.connection.security.identity()
    }

    /// The caller's SPIFFE id.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.identity().map(PeerIdentity::id)
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.connection.transport()
    }

    /// The address that the connection came from.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.connection.remote
    }

    /// The address that the connection came to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.connection.local
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.spiffe_id().map(SpiffeId::as_str))
            .field("remote", &self.remote_addr())
            .finish_non_exhaustive()
    }
}

/// The caller's SPIFFE id, as an axum extractor: a request without one is answered with 401.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an extractor is taken apart by its users")]
pub struct Identity(pub SpiffeId);

#[cfg(feature = "axum")]
mod extract {
    use std::convert::Infallible;
    use std::future::{Future, ready};

    use axum::extract::{FromRequestParts, OptionalFromRequestParts};
    use http::StatusCode;
    use http::request::Parts;

    use super::{Identity, Peer};

    /// Why there is no peer: the request did not come through the mesh.
    const NOT_SERVED: (StatusCode, &str) = (
        StatusCode::INTERNAL_SERVER_ERROR,
        "the mesh does not serve this request",
    );

    impl<S: Sync> FromRequestParts<S> for Peer {
        type Rejection = (StatusCode, &'static str);

        fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<Self, Self::Rejection>> + Send {
            ready(parts.extensions.get::<Self>().cloned().ok_or(NOT_SERVED))
        }
    }

    impl<S: Sync> FromRequestParts<S> for Identity {
        type Rejection = (StatusCode, &'static str);

        fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<Self, Self::Rejection>> + Send {
            let id = parts
                .extensions
                .get::<Peer>()
                .and_then(|peer| peer.spiffe_id().cloned());
            ready(id.map(Self).ok_or((StatusCode::UNAUTHORIZED, "an identity is needed")))
        }
    }

    impl<S: Sync> OptionalFromRequestParts<S> for Identity {
        type Rejection = Infallible;

        fn from_request_parts(
            parts: &mut Parts,
            _: &S,
        ) -> impl Future<Output = Result<Option<Self>, Self::Rejection>> + Send {
            let id = parts
                .extensions
                .get::<Peer>()
                .and_then(|peer| peer.spiffe_id().cloned());
            ready(Ok(id.map(Self)))
        }
    }
}
