//! The connections to one endpoint.
//!
//! A pool belongs to one endpoint *and* to what its policy expects of the peer: two policies for
//! one address that differ in the expected identity or in their own certificate have two pools,
//! since a connection is only as good as the handshake that opened it.
//!
//! # How it decides
//!
//! - **HTTP/1.1**: a request has its connection for itself. Idle ones are a stack. A connection
//!   comes back when its response has arrived whole or was read to the end, and hyper is ready for the next request;
//!   never after an error, a body that was dropped before the peer had sent all of it,
//!   `Connection: close`, `CONNECT` or an upgrade.
//! - **HTTP/2**: requests share a connection up to the smaller of the peer's and the policy's
//!   limit on streams, then another one is opened.
//! - Without a free connection a request waits, first come, first served, and a connection is
//!   opened if the cluster's limit ([`ConnectionPermits`]) admits one, or if the endpoint has none.
//!   The request takes whatever is free first: its own new connection or one that came back.
//!   Connections are made by their own tasks, so a request that is given up wastes none.
//! - A kept-alive connection that the peer closed before the request was written is replaced
//!   without the caller noticing. Nothing else is retried here; [`SendError`] tells what may be.
//!
//! An idle connection costs no timer: the look when it is taken and one sweep per pool close what
//! is idle or old for too long.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use mesh_tower::{Body, client::pool::{Pool, PoolConfig, Unlimited}};
//!
//! let pool = Pool::new("10.0.0.4:8080".parse()?, None, PoolConfig::default(), Unlimited);
//! let request = http::Request::get("/orders").header("host", "orders").body(Body::empty())?;
//! let response = pool.send(request).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(()) }
//! ```

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use hyper::client::conn::{http1, http2};
use mesh_tls::config::ClientConfig;
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    body::Body,
    client::connect::{ConnectError, Peer, TlsTarget},
};

mod checkout;
mod config;
mod connection;
mod driver;
mod error;
mod permits;
mod send;
mod state;
#[cfg(test)]
mod tests;
mod timer;
mod turns;

pub(crate) use checkout::Lease;
pub use config::{Http2Keepalive, PoolConfig};
pub(crate) use error::is_of_request;
pub use error::{SendError, SendErrorKind};
pub use permits::{ConnectionPermits, Permit, Unlimited};
pub(crate) use send::{Awaited, Failure};

use connection::{Connection, Opening};
use error::WaitError;
use permits::AnyPermits;
use state::{Discarded, Protocol, State};
use turns::Turns;

/// The connections to one endpoint. Clones share them.
///
/// Dropping the last clone closes idle connections; others close when their response has ended.
#[derive(Clone)]
pub struct Pool {
    handle: Arc<Owner>,
}

/// What a pool has at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections whose socket is open.
    pub open: usize,
    /// Connections that are being made.
    pub connecting: usize,
    /// Requests that have a connection, up to the end of their response as far as it is under way.
    pub active: usize,
    /// Open connections without a request.
    pub idle: usize,
    /// Requests that wait for a connection.
    pub pending: usize,
}

/// Closes the pool with its last clone; connections and requests hold [`Shared`] alone.
struct Owner {
    shared: Arc<Shared>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    PlainText,
    Tls,
}

struct Shared {
    address: SocketAddr,
    security: Security,
    tls: ArcSwapOption<TlsTarget>,
    permits: Box<dyn AnyPermits>,
    state: Mutex<State>,
    newest_peer: ArcSwapOption<Peer>,
    sweeper: Mutex<Option<AbortHandle>>,
    turns: Turns,
}

impl Pool {
    /// Makes a pool without connections.
    ///
    /// `tls` is `None` for plain text.
    #[must_use]
    pub fn new(
        address: SocketAddr,
        tls: Option<TlsTarget>,
        config: PoolConfig,
        permits: impl ConnectionPermits,
    ) -> Self {
        let shared = Arc::new(Shared {
            address,
            security: if tls.is_some() {
                Security::Tls
            } else {
                Security::PlainText
            },
            tls: ArcSwapOption::from_pointee(tls),
            permits: Box::new(permits),
            state: Mutex::new(State::new(config)),
            newest_peer: ArcSwapOption::empty(),
            sweeper: Mutex::new(None),
            turns: Turns::default(),
        });
        Self {
            handle: Arc::new(Owner { shared }),
        }
    }

    /// The endpoint's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared().address
    }

    /// Who answered the newest handshake, for metrics and logs.
    #[must_use]
    pub fn newest_peer(&self) -> Option<Arc<Peer>> {
        self.shared().newest_peer.load_full()
    }

    /// Counts connections and requests.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.shared().state().stats()
    }

    /// Changes the parameters. Connections that exist are held to the new limits; when the HTTP
    /// version changes they are drained.
    pub fn configure(&self, config: PoolConfig) {
        let changes_version = {
            let mut state = self.shared().state();
            let changes_version = state.config.version != config.version;
            state.config = Arc::new(config);
            changes_version
        };
        if changes_version {
            self.drain();
        }
        self.shared().restart_sweeper();
        self.shared().open_connections();
    }

    /// Uses `config`, with its identity and trust, for new connections; open ones stay as they are
    /// ([`Self::retire`] closes those that no longer pass). Returns whether the pool uses TLS at
    /// all: in a plain-text pool nothing changes.
    #[must_use]
    pub fn set_tls(&self, config: &Arc<ClientConfig>) -> bool {
        let tls = &self.shared().tls;
        let previous = tls.rcu(|target| {
            target.as_ref().map(|target| {
                let server_name = target.server_name.clone();
                Arc::new(TlsTarget {
                    config: Arc::clone(config),
                    server_name,
                })
            })
        });
        previous.is_some()
    }

    /// Closes idle connections and lets others finish the requests that they have. The pool stays
    /// in use, with new connections.
    pub fn drain(&self) {
        self.retire(|_| true);
    }

    /// Drains the connections to the peers that `choose` names.
    ///
    /// For a change of trust: a connection must not outlive the identity that it was opened with.
    pub fn retire(&self, choose: impl FnMut(&Peer) -> bool) {
        let discarded = self.shared().state().retire(choose);
        drop(discarded);
        self.shared().open_connections();
    }

    /// As [`retire`](Self::retire), and ends what is still open after `limit`, its requests included. Returns how many
    /// connections that are, without those of an earlier call.
    pub fn end_within(&self, limit: Duration, choose: impl FnMut(&Peer) -> bool) -> usize {
        let (doomed, discarded) = self.shared().state().doom(choose);
        drop(discarded);
        self.shared().open_connections();
        let ended = doomed.len();
        if ended > 0
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                tokio::time::sleep(limit).await;
                doomed.iter().for_each(|connection| connection.cut());
            });
        }
        ended
    }

    /// Refuses further requests and those that wait, and drains all connections.
    pub fn close(&self) {
        self.shared().close();
    }

    /// Looks again whether a waiting request may have a new connection. Call it when a permit
    /// became free outside of this pool.
    pub fn permit_released(&self) {
        self.shared().open_connections();
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("address", &self.address())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> Arc<PoolConfig> {
        Arc::clone(&self.state().config)
    }

    /// Opens the connections that waiting requests need and limits admit.
    fn open_connections(self: &Arc<Self>) {
        while let Some(opening) = self.admit_connection() {
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(opening.run())),
                // The pool outlived its runtime: nobody could drive a connection.
                Err(_) => drop(opening),
            }
        }
    }

    fn admit_connection(self: &Arc<Self>) -> Option<Opening> {
        let mut state = self.state();
        if !state.wants_connection(self.security) {
            return None;
        }
        let permit = match state.is_unused() {
            true => self.permits.first(),
            false => Some(self.permits.connect()?),
        };
        state.start_connect();
        Some(Opening::new(Arc::clone(self), permit))
    }

    fn opened(self: &Arc<Self>, connection: &Arc<Connection>, protocol: Protocol) {
        self.newest_peer.store(Some(Arc::clone(connection.peer())));
        self.turns.opened(protocol);
        {
            let mut state = self.state();
            if !state.opened(connection, protocol) {
                let address = self.address;
                let error = ConnectError::Http { address, source: None };
                state.fail_waiters(&WaitError::Connect(Arc::new(error)));
            }
        }
        // ORDER: after it was entered. A change of trust before that has not seen it.
        if !connection.is_accepted_by(self.tls.load().as_deref()) {
            connection.retire();
        }
        self.start_sweeper();
    }

    fn put_http1(self: &Arc<Self>, connection: Arc<Connection>, sender: http1::SendRequest<Body>) {
        let refused = self.state().put_http1(connection, sender);
        drop(refused);
        // The protocol may just have become known, and with it how many connections are needed.
        self.open_connections();
    }

    fn put_http2(self: &Arc<Self>, connection: &Arc<Connection>, sender: http2::SendRequest<Body>) {
        self.state().put_http2(Arc::clone(connection), sender);
        self.open_connections();
    }

    fn closed_connection(self: &Arc<Self>, connection: &Connection) {
        self.state().closed_connection(connection);
        self.open_connections();
    }

    fn connect_failed(self: &Arc<Self>, error: &WaitError) {
        {
            let mut state = self.state();
            state.end_connect();
            state.fail_waiters(error);
        }
        self.open_connections();
    }

    /// The runtime dropped a connect: there will be no other.
    fn connect_aborted(&self) {
        let mut state = self.state();
        state.end_connect();
        state.fail_all_waiters(&WaitError::Closed);
    }

    fn close(&self) {
        let discarded: Discarded = self.state().close();
        drop(discarded);
        if let Some(sweeper) = self.sweeper().take() {
            sweeper.abort();
        }
    }

    fn sweeper(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.sweeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the sweep, unless one runs or nothing ever expires.
    fn start_sweeper(self: &Arc<Self>) {
        {
            let mut state = self.state();
            if state.has_sweeper || state.is_closed() || state.next_sweep().is_none() {
                return;
            }
            state.has_sweeper = true;
        }
        let task = Handle::try_current().map(|runtime| runtime.spawn(sweep(Arc::downgrade(self))));
        *self.sweeper() = task.ok().map(|task| task.abort_handle());
    }

    fn restart_sweeper(self: &Arc<Self>) {
        if let Some(sweeper) = self.sweeper().take() {
            sweeper.abort();
        }
        let is_unused = {
            let mut state = self.state();
            state.has_sweeper = false;
            state.is_unused()
        };
        if !is_unused {
            self.start_sweeper();
        }
    }

    /// Sweeps once. Returns when to look again; `None` when there is nothing to look at.
    fn sweep(&self) -> Option<Duration> {
        let (discarded, next) = {
            let mut state = self.state();
            let discarded = state.sweep();
            let next = if state.is_unused() { None } else { state.next_sweep() };
            state.has_sweeper = next.is_some();
            (discarded, next)
        };
        drop(discarded);
        next
    }
}

async fn sweep(pool: std::sync::Weak<Shared>) {
    let mut next = pool.upgrade().and_then(|pool| pool.sweep());
    while let Some(delay) = next {
        tokio::time::sleep(delay).await;
        next = pool.upgrade().and_then(|pool| pool.sweep());
    }
}
