//! What operators learn of handshakes: each is counted, and failures are told with their reason, but not each of them.
//!
//! Whoever can connect can fail a handshake. Of each reason the log gets one line in ten seconds, which says how many
//! it stands for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use mesh_core::time::Timestamp;
use mesh_tls::handshake::{HandshakeError, Reason};
use mesh_tls::peer::PeerIdentity;

use super::metrics::{HandshakeResult, Metrics, Side};
use crate::clock::Clock;

/// Milliseconds between two lines about the same reason.
const PAUSE: u64 = 10_000;

/// Counts and tells the handshakes of one side.
#[derive(Debug)]
pub(crate) struct Handshakes {
    metrics: Metrics,
    clock: Clock,
    side: Side,
    /// By reason.
    gates: Vec<Gate>,
}

/// Lets a line through once in a while.
#[derive(Debug, Default)]
struct Gate {
    /// When the next line may be written, in milliseconds of the process's clock.
    opens: AtomicU64,
    kept_back: AtomicU64,
}

impl Handshakes {
    pub(crate) fn new(metrics: Metrics, clock: Clock, side: Side) -> Self {
        Self {
            metrics,
            clock,
            side,
            gates: Reason::ALL.iter().map(|_| Gate::default()).collect(),
        }
    }

    /// A handshake has succeeded; without an identity it was one with the world outside.
    pub(crate) fn succeeded(&self, peer: Option<&PeerIdentity>) {
        let result = match peer.is_some_and(PeerIdentity::is_resumed) {
            true => HandshakeResult::Resumed,
            false => HandshakeResult::Ok,
        };
        self.metrics.handshake(self.side, result);
    }

    /// A handshake has failed.
    pub(crate) fn failed(&self, remote: SocketAddr, error: &HandshakeError) {
        let reason = error.reason();
        self.metrics.handshake(self.side, HandshakeResult::Failed(reason));
        let gate = self.gates.get(reason as usize);
        match gate.and_then(|gate| gate.pass(self.clock.now())) {
            Some(kept_back) => {
                let side = self.side.as_str();
                tracing::warn!(side, %remote, %reason, kept_back, %error, "TLS handshake failed");
            }
            None => tracing::debug!(%remote, %error, "TLS handshake failed"),
        }
    }
}

impl Gate {
    /// How many lines were kept back since the last one, where another may be written.
    fn pass(&self, now: Timestamp) -> Option<u64> {
        let now = u64::try_from(now.since(Timestamp::ZERO).as_millis()).unwrap_or(u64::MAX);
        let opens = self.opens.load(Ordering::Relaxed);
        let next = now.saturating_add(PAUSE);
        let is_open = now >= opens;
        let exchanged = || {
            self.opens
                .compare_exchange(opens, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        if is_open && exchanged().is_ok() {
            return Some(self.kept_back.swap(0, Ordering::Relaxed));
        }
        self.kept_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reason_is_told_once_in_a_while_with_the_number_of_the_others() {
        let (gate, start) = (Gate::default(), Timestamp::ZERO + Duration::from_secs(100));
        assert_eq!(gate.pass(start), Some(0));
        for millis in [0, 1, 9_999] {
            assert_eq!(gate.pass(start + Duration::from_millis(millis)), None);
        }
        assert_eq!(gate.pass(start + Duration::from_secs(10)), Some(3));
        assert_eq!(gate.pass(start + Duration::from_secs(30)), Some(0));
    }

    #[test]
    fn every_reason_has_a_gate_of_its_own() {
        let handshakes = Handshakes::new(Metrics::default(), Clock::new(), Side::Server);
        let places = Reason::ALL.iter().map(|reason| *reason as usize);
        assert!(places.eq(0..handshakes.gates.len()));
    }
}
