//! The tables of a pool, behind its lock. Nothing here waits, spawns or does I/O.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use hyper::client::conn::{http1, http2};
use rustc_hash::FxHashMap;
use tokio::{sync::oneshot, time::Instant};

use super::{PoolConfig, PoolStats, Security, connection::Connection, error::WaitError, send::Awaited};
use crate::{
    body::Body,
    client::connect::{HttpVersion, Peer},
};

/// What a connection turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// The right to send on a connection.
pub(super) enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A connection on its way to a request. Whoever holds one owes the pool a release.
pub(super) struct Grant {
    pub(super) connection: Arc<Connection>,
    pub(super) sender: Sender,
    pub(super) origin: Origin,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Opened for a request that waits, and never out of anybody's hands.
    Fresh,
    /// Kept open for a while, so that the peer may have closed it meanwhile.
    Kept,
}

pub(super) type Granted = Result<Grant, WaitError>;

struct Waiter {
    id: u64,
    sender: oneshot::Sender<Granted>,
}

pub(super) struct IdleHttp1 {
    connection: Arc<Connection>,
    sender: http1::SendRequest<Body>,
    since: Instant,
}

pub(super) struct Http2 {
    connection: Arc<Connection>,
    sender: http2::SendRequest<Body>,
    active: usize,
    idle_since: Instant,
}

/// What is to be dropped once the lock is free.
pub(super) type Discarded = (Vec<IdleHttp1>, Vec<Http2>);

pub(super) struct State {
    pub(super) config: Arc<PoolConfig>,
    /// A stack: what was used last is used next, so that the rest can time out.
    idle: Vec<IdleHttp1>,
    http2: Vec<Http2>,
    /// First come, first served; ids grow from front to back.
    waiters: VecDeque<Waiter>,
    open: FxHashMap<u64, Arc<Connection>>,
    connecting: usize,
    /// Requests that have a connection.
    pub(super) active: usize,
    protocol: Option<Protocol>,
    closed: bool,
    next_id: u64,
    pub(super) has_sweeper: bool,
}

impl State {
    pub(super) fn new(config: PoolConfig) -> Self {
        Self {
            config: Arc::new(config),
            idle: Vec::new(),
            http2: Vec::new(),
            waiters: VecDeque::new(),
            open: FxHashMap::default(),
            connecting: 0,
            active: 0,
            protocol: None,
            closed: false,
            next_id: 0,
            has_sweeper: false,
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_unused(&self) -> bool {
        self.open.is_empty() && self.connecting == 0
    }

    /// Takes a connection that can serve a request now.
    pub(super) fn take_ready(&mut self, now: Instant) -> Option<Grant> {
        let grant = self.take_idle(now).or_else(|| self.take_stream())?;
        self.active += 1;
        Some(grant)
    }

    fn take_idle(&mut self, now: Instant) -> Option<Grant> {
        while let Some(idle) = self.idle.pop() {
            if idle.sender.is_ready()
                && !is_idle_over(&self.config, idle.since, now)
                && self.may_serve(&idle.connection)
            {
                idle.connection.count_request();
                return Some(Grant {
                    connection: idle.connection,
                    sender: Sender::Http1(idle.sender),
                    origin: Origin::Kept,
                });
            }
        }
        None
    }

    fn take_stream(&mut self) -> Option<Grant> {
        if self.http2.is_empty() {
            return None;
        }
        drop(self.discard_http2());
        let limit = self.config.stream_limit();
        let entry = self
            .http2
            .iter_mut()
            .find(|entry| entry.active < limit.min(entry.connection.max_streams()))?;
        entry.active += 1;
        entry.connection.count_request();
        Some(Grant {
            connection: Arc::clone(&entry.connection),
            sender: Sender::Http2(entry.sender.clone()),
            origin: Origin::Kept,
        })
    }

    /// Whether a connection may take another request.
    pub(super) fn may_serve(&self, connection: &Connection) -> bool {
        !self.closed && may_serve(&self.config, connection)
    }

    /// Queues a request behind those that wait already.
    pub(super) fn wait(&mut self) -> (u64, oneshot::Receiver<Granted>) {
        let id = self.next_id();
        let (sender, receiver) = oneshot::channel();
        self.waiters.push_back(Waiter { id, sender });
        (id, receiver)
    }

    /// What the requests in the queue wait for.
    pub(super) fn awaited(&self) -> Awaited {
        match self.connecting {
            0 => Awaited::Turn,
            _ => Awaited::Connection,
        }
    }

    pub(super) fn stop_waiting(&mut self, id: u64) {
        if let Ok(position) = self.waiters.binary_search_by_key(&id, |waiter| waiter.id) {
            self.waiters.remove(position);
        }
    }

    /// Hands an HTTP/1 connection to the request that waits longest, else keeps it as idle.
    pub(super) fn put_http1(&mut self, connection: Arc<Connection>, sender: http1::SendRequest<Body>) -> Option<Grant> {
        let mut grant = Grant {
            connection,
            sender: Sender::Http1(sender),
            origin: Origin::Fresh,
        };
        if !self.may_serve(&grant.connection) {
            return Some(grant);
        }
        while let Some(waiter) = self.waiters.pop_front() {
            if grant.connection.requests() > 0 {
                grant.origin = Origin::Kept;
            }
            let connection = Arc::clone(&grant.connection);
            match waiter.sender.send(Ok(grant)) {
                Ok(()) => {
                    connection.count_request();
                    self.active += 1;
                    return None;
                }
                Err(Ok(returned)) => grant = returned,
                Err(Err(_)) => return None,
            }
        }
        if let Sender::Http1(sender) = grant.sender {
            let since = Instant::now();
            self.idle.push(IdleHttp1 {
                connection: grant.connection,
                sender,
                since,
            });
        }
        None
    }

    /// Adds an HTTP/2 connection, which serves as many waiting requests as it may.
    pub(super) fn put_http2(&mut self, connection: Arc<Connection>, sender: http2::SendRequest<Body>) {
        if !self.may_serve(&connection) {
            return;
        }
        let idle_since = Instant::now();
        self.http2.push(Http2 {
            connection,
            sender,
            active: 0,
            idle_since,
        });
        self.serve_streams();
    }

    /// Ends one stream of an HTTP/2 connection. A connection that was retired is not in the table.
    pub(super) fn end_stream(&mut self, id: u64) {
        self.free_stream(id);
        self.serve_streams();
    }

    fn serve_streams(&mut self) {
        while !self.waiters.is_empty() {
            let Some(mut grant) = self.take_stream() else {
                return;
            };
            if grant.connection.requests() == 1 {
                grant.origin = Origin::Fresh;
            }
            let id = grant.connection.id();
            let Some(waiter) = self.waiters.pop_front() else {
                return;
            };
            match waiter.sender.send(Ok(grant)) {
                Ok(()) => self.active += 1,
                Err(Ok(grant)) => {
                    grant.connection.forget_request();
                    self.free_stream(id);
                }
                Err(Err(_)) => {}
            }
        }
    }

    fn free_stream(&mut self, id: u64) {
        let Some(entry) = self.http2.iter_mut().find(|entry| entry.connection.id() == id) else {
            return;
        };
        entry.active = entry.active.saturating_sub(1);
        if entry.active == 0 {
            entry.idle_since = Instant::now();
        }
    }

    pub(super) fn end_request(&mut self) {
        self.active = self.active.saturating_sub(1);
    }

    /// Whether the waiting requests need one more connection than is on its way.
    pub(super) fn wants_connection(&self, security: Security) -> bool {
        let waiting = self.waiters.len();
        if self.closed || waiting == 0 {
            return false;
        }
        let protocol = match self.config.version {
            HttpVersion::Http1 => Some(Protocol::Http1),
            HttpVersion::Http2PriorKnowledge => Some(Protocol::Http2),
            HttpVersion::Auto if security == Security::PlainText => Some(Protocol::Http1),
            HttpVersion::Auto => self.protocol,
        };
        let served = match protocol {
            Some(Protocol::Http1) => self.connecting,
            Some(Protocol::Http2) => self
                .connecting
                .saturating_mul(self.config.stream_limit().min(ASSUMED_STREAMS)),
            // One connection finds out; requests would otherwise open many that HTTP/2 makes idle.
            None if self.connecting > 0 => waiting,
            None => 0,
        };
        served < waiting
    }

    pub(super) fn start_connect(&mut self) {
        self.connecting += 1;
    }

    pub(super) fn end_connect(&mut self) {
        self.connecting = self.connecting.saturating_sub(1);
    }

    /// Enters a new connection, unless its socket is closed again already.
    pub(super) fn opened(&mut self, connection: &Arc<Connection>, protocol: Protocol) -> bool {
        self.end_connect();
        self.protocol = Some(protocol);
        let is_open = !connection.is_retired();
        if is_open {
            self.open.insert(connection.id(), Arc::clone(connection));
        }
        is_open
    }

    /// Forgets a connection whose socket is closed.
    pub(super) fn closed_connection(&mut self, connection: &Connection) {
        connection.retire();
        self.open.remove(&connection.id());
        drop(self.discard());
    }

    /// Fails the request that waits longest; all of them when there is no connection left that one
    /// of the others could get.
    pub(super) fn fail_waiters(&mut self, error: &WaitError) {
        let all = self.is_unused();
        while let Some(waiter) = self.waiters.pop_front() {
            if waiter.sender.send(Err(error.clone())).is_ok() && !all {
                return;
            }
        }
    }

    pub(super) fn fail_all_waiters(&mut self, error: &WaitError) {
        for waiter in std::mem::take(&mut self.waiters) {
            drop(waiter.sender.send(Err(error.clone())));
        }
    }

    /// Retires the connections that `choose` names: idle ones close, others finish their requests.
    pub(super) fn retire(&mut self, mut choose: impl FnMut(&Peer) -> bool) -> Discarded {
        for connection in self.open.values() {
            if choose(connection.peer()) {
                connection.retire();
            }
        }
        self.discard()
    }

    /// The same for connections that are to be cut later; tells which are news.
    pub(super) fn doom(&mut self, mut choose: impl FnMut(&Peer) -> bool) -> (Vec<Arc<Connection>>, Discarded) {
        let chosen = self.open.values().filter(|connection| choose(connection.peer()));
        let doomed = chosen.filter(|connection| connection.doom()).cloned().collect();
        (doomed, self.discard())
    }

    pub(super) fn close(&mut self) -> Discarded {
        self.closed = true;
        self.fail_all_waiters(&WaitError::Closed);
        self.retire(|_| true)
    }

    /// Takes out what is idle or old for too long.
    pub(super) fn sweep(&mut self) -> Discarded {
        for connection in self.open.values() {
            if is_old(&self.config, connection) {
                connection.retire();
            }
        }
        self.discard()
    }

    fn discard(&mut self) -> Discarded {
        let (config, now) = (&self.config, Instant::now());
        let is_over = |idle: &mut IdleHttp1| {
            !idle.sender.is_ready() || is_idle_over(config, idle.since, now) || !may_serve(config, &idle.connection)
        };
        let http1 = self.idle.extract_if(.., is_over).collect();
        (http1, self.discard_http2())
    }

    fn discard_http2(&mut self) -> Vec<Http2> {
        let (config, now) = (&self.config, Instant::now());
        let is_over = |entry: &mut Http2| {
            entry.sender.is_closed()
                || entry.active == 0 && is_idle_over(config, entry.idle_since, now)
                || !may_serve(config, &entry.connection)
        };
        self.http2.extract_if(.., is_over).collect()
    }

    /// How long until a connection can become idle or old for too long.
    pub(super) fn next_sweep(&self) -> Option<Duration> {
        let now = Instant::now();
        let idle = self.config.idle_timeout.map(|limit| {
            let idle = self.idle.iter().map(|idle| idle.since);
            let unused = self
                .http2
                .iter()
                .filter(|entry| entry.active == 0)
                .map(|entry| entry.idle_since);
            idle.chain(unused).min().unwrap_or(now) + limit
        });
        let old = self.config.max_connection_duration.map(|limit| {
            let alive = self.open.values().filter(|connection| !connection.is_retired());
            alive.map(|connection| connection.since()).min().unwrap_or(now) + limit
        });
        let next = [idle, old].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now).max(SHORTEST_SWEEP))
    }

    pub(super) fn stats(&self) -> PoolStats {
        let idle = self.http2.iter().filter(|entry| entry.active == 0).count() + self.idle.len();
        PoolStats {
            open: self.open.len(),
            connecting: self.connecting,
            active: self.active,
            idle,
            pending: self.waiters.len(),
        }
    }
}

/// Streams that a peer is taken to allow before it says so (RFC 9113 section 6.5.2 recommends no
/// fewer).
const ASSUMED_STREAMS: usize = 100;

/// Bounds what sweeping costs when a policy asks for tiny time limits.
const SHORTEST_SWEEP: Duration = Duration::from_millis(10);

fn may_serve(config: &PoolConfig, connection: &Connection) -> bool {
    !connection.is_retired() && connection.requests() < config.request_limit() && !is_old(config, connection)
}

fn is_old(config: &PoolConfig, connection: &Connection) -> bool {
    config
        .max_connection_duration
        .is_some_and(|limit| connection.since().elapsed() >= limit)
}

fn is_idle_over(config: &PoolConfig, since: Instant, now: Instant) -> bool {
    config
        .idle_timeout
        .is_some_and(|limit| now.saturating_duration_since(since) >= limit)
}
