//! Endpoints of services that name none: their host is resolved by DNS, again and again.
//!
//! How long an answer holds is what DNS says of it. An empty or failed answer never replaces a good one:
//! a name server that is down takes no service down with it.

mod follow;
mod system;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

pub(crate) use follow::{Update, follow};
pub use system::SystemResolver;

/// What a name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The addresses, at least one.
    pub addresses: Vec<IpAddr>,
    /// How long they hold (the records' time to live).
    pub valid_for: Duration,
}

impl Answer {
    /// An answer.
    #[must_use]
    pub const fn new(addresses: Vec<IpAddr>, valid_for: Duration) -> Self {
        Self { addresses, valid_for }
    }
}

/// Why a name has no addresses.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is no such name, or it has no addresses.
    #[error("`{name}` has no addresses in DNS")]
    NotFound {
        /// The name.
        name: String,
    },
    /// DNS did not answer, or not sensibly.
    #[error("`{name}` could not be resolved: {reason}")]
    Failed {
        /// The name.
        name: String,
        /// What went wrong.
        reason: String,
    },
}

/// The future of [`Resolve::resolve`].
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Answer, ResolveError>> + Send + 'a>>;

/// Finds the addresses of a name.
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// Resolves `name`, a host name in lower case.
    ///
    /// # Errors
    ///
    /// [`ResolveError`], where it has no address.
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a>;
}
