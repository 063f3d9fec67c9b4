//! The counters of an endpoint.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::verdict::Severity;
use super::{EjectReason, Ticks, Verdict, ejection_time};
use crate::policy::model::traffic::OutlierDetection;
use crate::time::Timestamp;

/// The thresholds of a cluster, changed in place by a reload.
#[derive(Debug, Default)]
pub struct Thresholds {
    server: AtomicU32,
    gateway: AtomicU32,
    local: AtomicU32,
    /// Whether failures to answer are counted apart.
    is_split: AtomicBool,
}

impl Thresholds {
    /// Puts the thresholds of `rules` in force; `None` ejects nothing.
    pub fn configure(&self, rules: Option<&OutlierDetection>) {
        let (server, gateway) = rules.map_or((0, 0), |rules| {
            (rules.consecutive_5xx, rules.consecutive_gateway_errors)
        });
        let local = rules.and_then(|rules| rules.consecutive_local_failures);
        self.server.store(server, Relaxed);
        self.gateway.store(gateway, Relaxed);
        self.local.store(local.unwrap_or(0), Relaxed);
        self.is_split.store(local.is_some(), Relaxed);
    }
}

/// Not ejected. No clock gets there: it is 584 years after its origin.
const IN_USE: u64 = u64::MAX;

/// The health of one endpoint: failures in a row, and its ejections. Counting is lock-free.
#[derive(Debug)]
pub struct Health {
    server_errors: AtomicU32,
    gateway_errors: AtomicU32,
    /// Failures to answer, where they are counted apart.
    local_failures: AtomicU32,
    ejected_at: AtomicU64,
    /// Ejections that are not yet forgiven.
    unforgiven: AtomicU32,
    ejections: AtomicU64,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            server_errors: AtomicU32::new(0),
            gateway_errors: AtomicU32::new(0),
            local_failures: AtomicU32::new(0),
            ejected_at: AtomicU64::new(IN_USE),
            unforgiven: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
        }
    }
}

impl Health {
    /// Counts a verdict; returns why the endpoint should be ejected, where it should.
    pub fn count(&self, verdict: Verdict, thresholds: &Thresholds) -> Option<EjectReason> {
        if thresholds.is_split.load(Relaxed) && verdict != Verdict::Neutral {
            if matches!(verdict, Verdict::LocalOrigin(_)) {
                increment(&self.local_failures);
                return self.reached(thresholds);
            }
            // It answered, whatever the answer was.
            clear(&self.local_failures);
        }
        match verdict.severity() {
            Severity::None => return None,
            Severity::Healthy => {
                clear(&self.server_errors);
                clear(&self.gateway_errors);
                return None;
            }
            Severity::Server => clear(&self.gateway_errors),
            Severity::Gateway => increment(&self.gateway_errors),
        }
        increment(&self.server_errors);
        self.reached(thresholds)
    }

    /// Which threshold the counters have reached. An ejected endpoint reaches none.
    #[must_use]
    pub fn reached(&self, thresholds: &Thresholds) -> Option<EjectReason> {
        if self.is_ejected() {
            return None;
        }
        if has_reached(&self.gateway_errors, &thresholds.gateway) {
            Some(EjectReason::ConsecutiveGatewayErrors)
        } else if has_reached(&self.server_errors, &thresholds.server) {
            Some(EjectReason::Consecutive5xx)
        } else if has_reached(&self.local_failures, &thresholds.local) {
            Some(EjectReason::ConsecutiveLocalFailures)
        } else {
            None
        }
    }

    /// Sets those counters to zero that have reached their threshold.
    pub fn reset_reached(&self, thresholds: &Thresholds) {
        if has_reached(&self.gateway_errors, &thresholds.gateway) {
            clear(&self.gateway_errors);
        }
        if has_reached(&self.server_errors, &thresholds.server) {
            clear(&self.server_errors);
        }
        if has_reached(&self.local_failures, &thresholds.local) {
            clear(&self.local_failures);
        }
    }

    /// Ejects the endpoint; returns its unforgiven ejections, this one included.
    ///
    /// The number stops to grow where the ejection time does, as in Envoy.
    pub fn eject(&self, rules: &OutlierDetection, now: Timestamp) -> u32 {
        let count = self.unforgiven.load(Relaxed);
        let is_growing = rules.base_ejection.saturating_mul(count) < rules.max_ejection + rules.base_ejection;
        let count = if is_growing { count.saturating_add(1) } else { count };
        self.unforgiven.store(count, Relaxed);
        self.ejections.fetch_add(1, Relaxed);
        self.ejected_at.store(now.as_nanos().min(IN_USE - 1), Relaxed);
        count
    }

    /// Lets the sweeps that fell due pass over the endpoint; returns whether it is in use again.
    pub fn sweep(&self, rules: &OutlierDetection, ticks: Ticks) -> bool {
        let Some(until) = self.ejected_until(rules) else {
            self.forgive(ticks.count());
            return false;
        };
        let Some(left) = ticks.left_after(until) else {
            return false;
        };
        self.restore();
        self.forgive(left);
        true
    }

    /// Ends the ejection, and all rows of failures.
    pub fn restore(&self) {
        self.server_errors.store(0, Relaxed);
        self.gateway_errors.store(0, Relaxed);
        self.local_failures.store(0, Relaxed);
        self.ejected_at.store(IN_USE, Relaxed);
    }

    fn forgive(&self, sweeps: u64) {
        let count = self.unforgiven.load(Relaxed);
        if count != 0 {
            let sweeps = u32::try_from(sweeps).unwrap_or(u32::MAX);
            self.unforgiven.store(count.saturating_sub(sweeps), Relaxed);
        }
    }

    /// Whether the endpoint is ejected.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejected_at.load(Relaxed) != IN_USE
    }

    /// The earliest time at which a sweep ends the ejection, where there is one.
    #[must_use]
    pub fn ejected_until(&self, rules: &OutlierDetection) -> Option<Timestamp> {
        let at = self.ejected_at.load(Relaxed);
        (at != IN_USE).then(|| Timestamp::from_nanos(at) + ejection_time(rules, self.unforgiven.load(Relaxed)))
    }

    /// Ejections since the endpoint is known.
    #[must_use]
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    /// 5xx and failures to answer, in a row.
    #[must_use]
    pub fn consecutive_5xx(&self) -> u32 {
        self.server_errors.load(Relaxed)
    }

    /// Gateway errors in a row.
    #[must_use]
    pub fn consecutive_gateway_errors(&self) -> u32 {
        self.gateway_errors.load(Relaxed)
    }
}

fn has_reached(counter: &AtomicU32, threshold: &AtomicU32) -> bool {
    let threshold = threshold.load(Relaxed);
    threshold != 0 && counter.load(Relaxed) >= threshold
}

/// A load costs nothing where the counter is zero, which it nearly always is; a store would take the cache line.
fn clear(counter: &AtomicU32) {
    if counter.load(Relaxed) != 0 {
        counter.store(0, Relaxed);
    }
}

fn increment(counter: &AtomicU32) {
    // 2^32 failures in a row without a threshold wrap to zero, which no threshold can tell.
    counter.fetch_add(1, Relaxed);
}
