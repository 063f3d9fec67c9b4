use std::any::Any;

use crate::client::connect::{ConnectError, Peer};

/// The limits that all pools of a cluster share: connections, and requests that wait for one.
///
/// All are called under the pool's lock: they must be quick and must not call the pool.
pub trait ConnectionPermits: Send + Sync + 'static {
    /// One connection; dropped when the connection is closed.
    type Permit: Send + 'static;
    /// One waiting request; dropped when it gets a connection or gives up.
    type Pending: Send + 'static;

    /// Admits one more connection, or `None` at the limit.
    fn try_connect(&self) -> Option<Self::Permit>;

    /// Counts the first connection of an endpoint, which it gets even at the limit, as with Envoy: otherwise the endpoints of
    /// a cluster could starve each other for ever. `None` is not counted.
    fn connect_first(&self) -> Option<Self::Permit> {
        self.try_connect()
    }

    /// Admits one more waiting request, or `None` at the limit.
    fn try_pending(&self) -> Option<Self::Pending>;

    /// Hears of a connection that stands. What it returns is dropped when the connection is closed.
    fn opened(&self, peer: &Peer) -> Option<Permit> {
        let _ = peer;
        None
    }

    /// Hears of a connection that did not come about.
    fn failed(&self, error: &ConnectError) {
        let _ = error;
    }
}

/// No limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl ConnectionPermits for Unlimited {
    type Permit = ();
    type Pending = ();

    fn try_connect(&self) -> Option<()> {
        Some(())
    }

    fn try_pending(&self) -> Option<()> {
        Some(())
    }
}

/// A permit of any type; boxed, since it is taken off the hot path only.
pub type Permit = Box<dyn Any + Send>;

/// [`ConnectionPermits`] as an object, which keeps the pool and with it every body free of a type
/// parameter.
pub(super) trait AnyPermits: Send + Sync {
    fn connect(&self) -> Option<Permit>;
    fn first(&self) -> Option<Permit>;
    fn pending(&self) -> Option<Permit>;
    fn has_opened(&self, peer: &Peer) -> Option<Permit>;
    fn has_failed(&self, error: &ConnectError);
}

impl<P: ConnectionPermits> AnyPermits for P {
    fn connect(&self) -> Option<Permit> {
        self.try_connect().map(|permit| Box::new(permit) as Permit)
    }

    fn first(&self) -> Option<Permit> {
        self.connect_first().map(|permit| Box::new(permit) as Permit)
    }

    fn pending(&self) -> Option<Permit> {
        self.try_pending().map(|permit| Box::new(permit) as Permit)
    }

    fn has_opened(&self, peer: &Peer) -> Option<Permit> {
        self.opened(peer)
    }

    fn has_failed(&self, error: &ConnectError) {
        self.failed(error);
    }
}
