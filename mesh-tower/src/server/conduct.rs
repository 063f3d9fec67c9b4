//! How the peer of a connection behaves: what it asks for and gives up, how it takes what it asked for.
//!
//! Two things cost a server dearly and the caller nothing. Requests that are reset as soon as they have begun start
//! handlers for nobody, however few of them are open at a time (HTTP/2 "rapid reset"). Answers that nobody takes hold
//! their handlers and permits. Neither breaks the protocol; both end the connection here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mesh_core::time::Timestamp;
use tokio::sync::Notify;

use crate::body::OnSlow;
use crate::clock::Clock;
use crate::stream::Switch;
use crate::telemetry::metrics::{Cut, Metrics};

/// Requests of a connection before its conduct is judged; Envoy's `premature_reset_total_stream_count`. Of twice as
/// many, half are forgotten: a good past is no licence. More than three quarters given up are too many, where Envoy has a
/// half: a caller that always hedges gives a half up.
const JUDGED_FROM: u32 = 500;
/// A request that is given up sooner than this was given up too soon; Envoy's `premature_reset_min_stream_lifetime_seconds`.
const TOO_SOON: Duration = Duration::from_secs(1);
/// How often answers that do not move are looked for, in parts of what they may take.
const LOOKS: u32 = 4;

/// What is counted of a connection's peer.
#[derive(Debug)]
pub(crate) struct Conduct {
    clock: Clock,
    metrics: Metrics,
    /// How long no answer may move while one waits for its reader; `None` for peers that are not hurried.
    limit: Option<Duration>,
    requests: AtomicU32,
    given_up: AtomicU32,
    /// Answers that wait for the peer to take what there is.
    waiting: AtomicU32,
    /// When an answer last moved, in nanoseconds.
    moved: AtomicU64,
    judged: Notify,
}

impl Conduct {
    pub(super) fn new(clock: Clock, metrics: Metrics, limit: Option<Duration>) -> Self {
        Self {
            clock,
            metrics,
            limit,
            requests: AtomicU32::new(0),
            given_up: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            moved: AtomicU64::new(0),
            judged: Notify::new(),
        }
    }

    /// A request has begun.
    pub(super) fn begins(&self) {
        if self.requests.fetch_add(1, Ordering::Relaxed) >= 2 * JUDGED_FROM {
            // Counts that are lost between these lines change nothing for who behaves.
            self.requests.store(JUDGED_FROM, Ordering::Relaxed);
            let given_up = self.given_up.load(Ordering::Relaxed);
            self.given_up.store(given_up / 2, Ordering::Relaxed);
        }
    }

    /// Whether there was a request.
    pub(super) fn has_begun(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// A request was given up without an answer, this long after it had begun.
    pub(super) fn given_up(&self, after: Duration) {
        if after >= TOO_SOON {
            return;
        }
        let given_up = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        let requests = self.requests.load(Ordering::Relaxed);
        if requests >= JUDGED_FROM && given_up > requests / 4 * 3 {
            self.judged.notify_one();
        }
    }

    /// Follows an answer, where answers are hurried.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.limit.map(|_| Answer::default())
    }

    fn moved(&self) {
        let now = self.clock.now().since(Timestamp::ZERO);
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    /// Whether an answer waits for its reader, and none has moved for this long.
    fn is_stalled(&self, limit: Duration) -> bool {
        let moved = Timestamp::ZERO + Duration::from_nanos(self.moved.load(Ordering::Relaxed));
        self.waiting.load(Ordering::Relaxed) > 0 && self.clock.now().since(moved) >= limit
    }

    /// Waits until the connection has to end, for its peer's conduct; for ever where that is good.
    pub(super) async fn ends(&self, switch: &Switch) -> Cut {
        let cut = tokio::select! {
            () = self.judged.notified() => Cut::GivenUp,
            () = self.stalls(switch) => Cut::SlowResponse,
        };
        self.metrics.cut(cut);
        cut
    }

    /// An answer that is handed on whole may still be on its way: then its stream is stuck, look after look.
    async fn stalls(&self, switch: &Switch) {
        let Some(limit) = self.limit else {
            return std::future::pending().await;
        };
        let (mut stuck, mut looks) = (None, 0);
        while !self.is_stalled(limit) && looks < LOOKS {
            tokio::time::sleep(limit / LOOKS).await;
            let now = switch.stuck();
            looks = if now.is_some() && now == stuck { looks + 1 } else { 0 };
            stuck = now;
        }
    }
}

impl OnSlow for Conduct {
    fn too_slow(&self) {
        self.metrics.cut(Cut::SlowRequest);
    }
}

/// An answer on its way: whose turn it is, the peer's or the application's.
#[derive(Debug, Default)]
pub(super) struct Answer {
    waits: bool,
}

impl Answer {
    /// There is more for the peer to take.
    pub(super) fn given(&mut self, conduct: &Conduct) {
        conduct.moved();
        if !std::mem::replace(&mut self.waits, true) {
            conduct.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The peer has taken all there was, or takes no more.
    pub(super) fn taken(&mut self, conduct: &Conduct) {
        if std::mem::take(&mut self.waits) {
            conduct.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What is told when the body of a request comes too slowly.
pub(super) fn listener(conduct: &Arc<Conduct>) -> Arc<dyn OnSlow> {
    Arc::clone(conduct) as Arc<dyn OnSlow>
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::MetricsOptions;

    const LIMIT: Duration = Duration::from_secs(60);

    fn conduct(limit: Option<Duration>) -> Conduct {
        Conduct::new(Clock::new(), Metrics::new(MetricsOptions::default()), limit)
    }

    /// Whether the connection ends before this time is over.
    async fn ends(conduct: &Conduct, within: Duration) -> Option<Cut> {
        tokio::time::timeout(within, conduct.ends(&Switch::default()))
            .await
            .ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_gives_most_requests_up_is_cut() {
        let conduct = conduct(None);
        for _ in 0..JUDGED_FROM - 1 {
            conduct.begins();
            conduct.given_up(Duration::ZERO);
        }
        assert_eq!(ends(&conduct, LIMIT).await, None);
        conduct.begins();
        conduct.given_up(Duration::ZERO);
        assert_eq!(ends(&conduct, LIMIT).await, Some(Cut::GivenUp));
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_them_and_late_ones_are_no_offence() {
        let conduct = conduct(None);
        for turn in 0..10 * JUDGED_FROM {
            conduct.begins();
            match turn % 2 {
                0 => conduct.given_up(TOO_SOON),
                _ => conduct.given_up(Duration::ZERO),
            }
        }
        assert_eq!(ends(&conduct, LIMIT).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_past_is_no_licence() {
        let conduct = conduct(None);
        (0..100 * JUDGED_FROM).for_each(|_| conduct.begins());
        for _ in 0..2 * JUDGED_FROM {
            conduct.begins();
            conduct.given_up(Duration::ZERO);
        }
        assert_eq!(ends(&conduct, LIMIT).await, Some(Cut::GivenUp));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_takes_end_the_connection() {
        let conduct = conduct(Some(LIMIT));
        let mut answer = conduct.answer().unwrap();
        answer.given(&conduct);
        assert_eq!(ends(&conduct, LIMIT / 2).await, None);
        assert_eq!(ends(&conduct, LIMIT * 2).await, Some(Cut::SlowResponse));
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_that_takes_its_time_is_no_stall() {
        let conduct = conduct(Some(LIMIT));
        let mut answer = conduct.answer().unwrap();
        for _ in 0..2 {
            answer.given(&conduct);
            answer.taken(&conduct);
        }
        assert_eq!(ends(&conduct, LIMIT * 10).await, None);
        assert_eq!(conduct.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn peers_that_are_not_hurried_may_wait() {
        assert!(conduct(None).answer().is_none());
    }
}
