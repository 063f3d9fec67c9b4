//! What the application learns of a token.

use std::sync::Arc;

use mesh_core::decide::jwt::VerifiedToken;
use serde_json::{Map, Value};

/// What the token of a request says: in the extensions of requests whose token the mesh has verified, and of no others.
///
/// With axum it is an extractor, which answers 401 to a request without a verified token; `Option<Claims>` takes both.
#[derive(Clone, Debug)]
pub struct Claims {
    token: Arc<VerifiedToken>,
}

impl Claims {
    pub(super) const fn new(token: Arc<VerifiedToken>) -> Self {
        Self { token }
    }

    /// Issuer and subject as `iss/sub`; `None` where the token lacks one of them.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.token.principal()
    }

    /// Who issued the token.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.token.issuer()
    }

    /// Whom it is about.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.token.subject()
    }

    /// A claim by its name.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.token.claims().get(name)
    }

    /// All claims.
    #[must_use]
    pub fn all(&self) -> &Map<String, Value> {
        self.token.claims()
    }

    /// Whether the claim at a path of names is this text, or a list with it.
    #[must_use]
    pub fn has(&self, path: &[&str], text: &str) -> bool {
        self.token.texts(path).is_some_and(|texts| texts.any(|one| one == text))
    }

    /// What rules look at.
    pub(crate) fn token(&self) -> &VerifiedToken {
        &self.token
    }
}

#[cfg(feature = "axum")]
mod extract {
    use std::convert::Infallible;
    use std::future::{Future, ready};

    use axum::extract::{FromRequestParts, OptionalFromRequestParts};
    use http::StatusCode;
    use http::request::Parts;

    use super::Claims;

    impl<S: Sync> FromRequestParts<S> for Claims {
        type Rejection = (StatusCode, &'static str);

        fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<Self, Self::Rejection>> + Send {
            let claims = parts.extensions.get::<Self>().cloned();
            ready(claims.ok_or((StatusCode::UNAUTHORIZED, "a token is needed")))
        }
    }

    impl<S: Sync> OptionalFromRequestParts<S> for Claims {
        type Rejection = Infallible;

        fn from_request_parts(
            parts: &mut Parts,
            _: &S,
        ) -> impl Future<Output = Result<Option<Self>, Self::Rejection>> + Send {
            ready(Ok(parts.extensions.get::<Self>().cloned()))
        }
    }
}
