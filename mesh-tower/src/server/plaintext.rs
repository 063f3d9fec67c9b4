//! Who still speaks plain text: what has to be known before a port is made `STRICT`.
//!
//! A caller is an address and the port that it called. A request costs it two atomic writes; the list is looked at when a
//! connection comes and when somebody reads it. It is bounded: the callers that were seen least lately make room.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::USER_AGENT;
use mesh_core::policy::seen::{PlainCaller, PlainCallers, SeenWorkload};
use mesh_core::time::Timestamp;
use mesh_core::workload::Workload;
use rustc_hash::FxHashMap;

use crate::clock::Clock;
use crate::mesh::unix_seconds;
use crate::telemetry::metrics::{Metrics, PlaintextCounter};

/// So many callers are known at a time.
const CALLERS: usize = 4_096;
/// So many make room at once: looking for the oldest is a look at all.
const ROOM: usize = 256;
/// Longer names of a caller's own are cut off.
const AGENT: usize = 128;

/// The callers of one process that speak plain text.
#[derive(Debug)]
pub(crate) struct PlainText {
    service: Arc<str>,
    metrics: Metrics,
    clock: Clock,
    limit: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    callers: FxHashMap<(IpAddr, u16), Arc<Caller>>,
    forgotten: u64,
}

/// A caller, to one port. A connection keeps it.
#[derive(Debug)]
pub(crate) struct Caller {
    address: IpAddr,
    port: u16,
    first: Timestamp,
    /// Milliseconds since `first`.
    last: AtomicU64,
    requests: AtomicU64,
    user_agent: OnceLock<Box<str>>,
    is_listed: AtomicBool,
    counter: PlaintextCounter,
}

impl PlainText {
    pub(crate) fn new(service: Arc<str>, metrics: Metrics, clock: Clock) -> Self {
        Self {
            service,
            metrics,
            clock,
            limit: CALLERS,
            known: Mutex::default(),
        }
    }

    /// The caller of a connection; one that nobody told of (an address without port) is counted and not listed.
    pub(super) fn caller(&self, remote: SocketAddr, local: SocketAddr) -> Arc<Caller> {
        let address = remote.ip().to_canonical();
        let is_told = remote.port() != 0;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caller) = known.callers.get(&(address, local.port())) {
            return Arc::clone(caller);
        }
        let caller = Arc::new(Caller {
            address,
            port: local.port(),
            first: self.clock.now(),
            last: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            user_agent: OnceLock::new(),
            is_listed: AtomicBool::new(is_told),
            counter: self
                .metrics
                .plaintext(is_told.then_some(address), &self.service, local.port()),
        });
        if is_told {
            known.add(Arc::clone(&caller), self.limit);
        }
        caller
    }

    /// Counts a request.
    pub(super) fn request(&self, caller: &Arc<Caller>, headers: &HeaderMap) {
        caller.seen(self.clock.now(), headers);
        // A connection may outlive its caller's place in the list.
        if !caller.is_listed.load(Ordering::Relaxed) && caller.port != 0 {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.add(Arc::clone(caller), self.limit);
        }
    }

    /// The callers that have sent requests, the latest first.
    pub(crate) fn list(&self, workload: &Workload, wall: SystemTime) -> PlainCallers {
        let now = self.clock.now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let called = known.callers.values().filter(|caller| caller.count() > 0);
        let mut callers: Vec<PlainCaller> = called.map(|caller| caller.told(now, wall)).collect();
        callers.sort_by_key(|caller| (std::cmp::Reverse(caller.last_seen), caller.address, caller.port));
        PlainCallers {
            now: unix_seconds(wall),
            workload: SeenWorkload::from(workload),
            service: self.service.to_string(),
            callers,
            forgotten: known.forgotten,
        }
    }
}

impl Known {
    fn add(&mut self, caller: Arc<Caller>, limit: usize) {
        if self.callers.len() >= limit {
            self.make_room(limit);
        }
        caller.is_listed.store(true, Ordering::Relaxed);
        let replaced = self.callers.insert((caller.address, caller.port), caller);
        if let Some(replaced) = replaced {
            replaced.is_listed.store(false, Ordering::Relaxed);
        }
    }

    /// Drops those that were seen least lately.
    fn make_room(&mut self, limit: usize) {
        let mut last: Vec<Timestamp> = self.callers.values().map(|caller| caller.last_seen()).collect();
        let room = ROOM.min(limit / 2);
        if last.len() <= room {
            return;
        }
        let (_, &mut newest, _) = last.select_nth_unstable(room);
        let before = self.callers.len();
        let mut left = room + 1;
        self.callers.retain(|_, caller| {
            let goes = left > 0 && caller.last_seen() <= newest;
            if goes {
                left -= 1;
                caller.is_listed.store(false, Ordering::Relaxed);
            }
            !goes
        });
        self.forgotten += (before - self.callers.len()) as u64;
    }
}

impl Caller {
    fn seen(&self, now: Timestamp, headers: &HeaderMap) {
        let since = u64::try_from(now.since(self.first).as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(since, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.counter.increment();
        if self.user_agent.get().is_none()
            && let Some(agent) = headers.get(USER_AGENT)
        {
            let _ = self.user_agent.set(told(agent.as_bytes()));
        }
    }

    fn count(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn last_seen(&self) -> Timestamp {
        self.first + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    fn told(&self, now: Timestamp, wall: SystemTime) -> PlainCaller {
        let at = |time: Timestamp| unix_seconds(wall.checked_sub(now.since(time)).unwrap_or(wall));
        PlainCaller {
            address: self.address,
            port: self.port,
            requests: self.count(),
            first_seen: at(self.first),
            last_seen: at(self.last_seen()),
            user_agent: self.user_agent.get().map(|agent| agent.to_string()),
        }
    }
}

/// What is told of a caller's own name. A copy: the value itself is a piece of what was read from the connection, and would keep
/// all of that for as long as the caller is listed.
fn told(agent: &[u8]) -> Box<str> {
    const LONGEST: usize = 4;
    let begin = agent.get(..AGENT * LONGEST).unwrap_or(agent);
    let text: String = String::from_utf8_lossy(begin).chars().take(AGENT).collect();
    text.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::telemetry::metrics::MetricsOptions;

    fn plain(limit: usize) -> PlainText {
        let metrics = Metrics::new(MetricsOptions::default());
        PlainText {
            limit,
            ..PlainText::new("orders.shop".into(), metrics, Clock::new())
        }
    }

    fn remote(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 999))
    }

    fn call(plain: &PlainText, last: u8, port: u16) -> Arc<Caller> {
        let caller = plain.caller(remote(last), SocketAddr::from(([127, 0, 0, 1], port)));
        plain.request(&caller, &HeaderMap::new());
        caller
    }

    fn addresses(plain: &PlainText) -> Vec<(String, u16, u64)> {
        let list = plain.list(&Workload::default(), SystemTime::now());
        let row = |caller: PlainCaller| (caller.address.to_string(), caller.port, caller.requests);
        list.callers.into_iter().map(row).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_first_and_last_requests_and_a_name() {
        let plain = plain(10);
        let caller = call(&plain, 1, 80);
        tokio::time::advance(Duration::from_secs(60)).await;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("curl/8"));
        plain.request(&caller, &headers);
        tokio::time::advance(Duration::from_secs(30)).await;

        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let list = plain.list(&Workload::new("shop", "orders"), wall);
        assert_eq!((list.now, list.workload.namespace.as_str()), (1_000, "shop"));
        let [caller] = list.callers.as_slice() else {
            panic!("{list:?}")
        };
        assert_eq!((caller.first_seen, caller.last_seen, caller.requests), (910, 970, 2));
        assert_eq!(caller.user_agent.as_deref(), Some("curl/8"));
    }

    #[test]
    fn the_name_of_a_caller_is_copied_out_of_its_head() {
        for (agent, told) in [
            ("curl/8".to_owned(), 6),
            ("x".repeat(1_000), AGENT),
            ("ä€𐍈".repeat(100), AGENT),
            ("𐍈".repeat(1_000), AGENT),
        ] {
            let head = bytes::Bytes::from(agent.clone());
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, HeaderValue::from_maybe_shared(head.clone()).unwrap());
            let plain = plain(10);
            let caller = plain.caller(remote(1), SocketAddr::from(([127, 0, 0, 1], 80)));
            plain.request(&caller, &headers);
            drop(headers);
            assert!(head.is_unique(), "the list holds on to the head");
            let list = plain.list(&Workload::default(), SystemTime::now());
            let name = list.callers[0].user_agent.clone().unwrap();
            assert_eq!(name, agent.chars().take(told).collect::<String>());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_of_an_address_are_one_caller_and_ports_are_others() {
        let plain = plain(10);
        call(&plain, 1, 80);
        tokio::time::advance(Duration::from_secs(2)).await;
        call(&plain, 1, 81);
        tokio::time::advance(Duration::from_secs(2)).await;
        call(&plain, 1, 80);
        let _ = plain.caller(remote(9), remote(8));
        let expected = [("10.0.0.1".to_owned(), 80, 2), ("10.0.0.1".to_owned(), 81, 1)];
        assert_eq!(addresses(&plain), expected, "who sent nothing is not listed");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_make_room_and_come_back_with_their_next_request() {
        let plain = plain(4);
        let first = call(&plain, 1, 80);
        for last in 2..=5 {
            tokio::time::advance(Duration::from_secs(1)).await;
            call(&plain, last, 80);
        }
        let list = plain.list(&Workload::default(), SystemTime::now());
        assert_eq!(list.callers.len() as u64 + list.forgotten, 5);
        assert!(list.callers.len() <= 4 && list.forgotten > 0, "{list:?}");
        assert!(addresses(&plain).iter().all(|(address, ..)| address != "10.0.0.1"));

        tokio::time::advance(Duration::from_secs(1)).await;
        plain.request(&first, &HeaderMap::new());
        assert_eq!(addresses(&plain)[0], ("10.0.0.1".to_owned(), 80, 2));
    }
}
