//! Changes of a cluster: settings, endpoints, ejections, returns.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use super::set::{EndpointSet, Mode};
use super::{Cluster, ClusterSettings, Endpoint, EndpointSpec, Watch};
use crate::decide::health::{HealthEvent, Ticks, ejection_time, may_eject};
use crate::policy::model::traffic::OutlierDetection;
use crate::time::Timestamp;

/// Events that are kept for [`Cluster::sweep`]; older ones are dropped.
const MAX_EVENTS: usize = 1024;

/// What [`Cluster::set_endpoints`] changed.
#[derive(Debug)]
#[non_exhaustive]
pub struct EndpointChanges<T> {
    /// Endpoints that were not there before.
    pub added: Vec<Arc<Endpoint<T>>>,
    /// Endpoints that are there no more; requests may still be in flight at them.
    pub removed: Vec<Arc<Endpoint<T>>>,
}

impl<T> Cluster<T> {
    /// Puts new settings in force. Counters, ejections, permits and tokens stay.
    ///
    /// Without outlier detection the ejected endpoints return at once. A new ejection time holds for ejections under way, too.
    pub fn configure(&self, settings: impl Into<Arc<ClusterSettings>>) {
        let settings: Arc<ClusterSettings> = settings.into();
        let mut watch = self.watch();
        self.thresholds.configure(settings.outliers.as_ref());
        self.has_listed_errors.store(settings.lists_errors(), Relaxed);
        self.circuit.configure(&settings);
        self.budget.configure(settings.budget);
        self.settings.store(settings);
        if self.settings.load().outliers.is_none() {
            self.restore_all(&mut watch);
        }
        self.schedule(&watch);
        self.rebuild(self.set.load().all().to_vec(), &mut watch);
    }

    /// Replaces the endpoints. Those that stay, by address, keep their state.
    ///
    /// `make` is called for each new endpoint, `update` for each that stays, both with the driver's own `label` of it: labels or
    /// an identity that changed reach the attachment so. Of an address that is given twice the weights are added and the first
    /// label is taken. The order given is kept. `make` and `update` must not call this function.
    pub fn set_endpoints<L>(
        &self,
        endpoints: Vec<(EndpointSpec, L)>,
        mut make: impl FnMut(&EndpointSpec, L) -> T,
        mut update: impl FnMut(&Arc<Endpoint<T>>, L),
    ) -> EndpointChanges<T> {
        let _alone = self.update.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.set.load_full();
        let mut known: BTreeMap<SocketAddr, &Arc<Endpoint<T>>> = BTreeMap::new();
        known.extend(before.all().iter().map(|endpoint| (endpoint.address(), endpoint)));
        let (mut all, mut added) = (Vec::with_capacity(endpoints.len()), Vec::new());
        for (spec, label) in merged(endpoints) {
            let endpoint = match known.remove(&spec.address) {
                Some(endpoint) => {
                    endpoint.set_weight(spec.weight);
                    update(endpoint, label);
                    Arc::clone(endpoint)
                }
                None => {
                    let endpoint = Arc::new(Endpoint::new(&spec, make(&spec, label)));
                    added.push(Arc::clone(&endpoint));
                    endpoint
                }
            };
            all.push(endpoint);
        }
        let removed = known.into_values().cloned().collect();
        self.rebuild(all, &mut self.watch());
        EndpointChanges { added, removed }
    }

    /// The endpoints, ejected ones included, in the order given.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Arc<Endpoint<T>>> {
        self.set.load().all().to_vec()
    }

    /// Ejects an endpoint whose counters have reached a threshold, or says why not.
    #[cold]
    #[inline(never)]
    pub(super) fn eject(&self, endpoint: &Endpoint<T>, now: Timestamp) -> Option<HealthEvent> {
        let mut watch = self.watch();
        let settings = self.settings.load();
        let rules = settings.outliers.as_ref()?;
        // Another thread may have been here since the counter was read, and the endpoint may be gone.
        let reason = endpoint.health().reached(&self.thresholds)?;
        let set = self.set.load_full();
        if !set.contains(endpoint) {
            return None;
        }
        let (address, ejected, endpoints) = (endpoint.address(), set.ejected(), set.all().len());
        if !may_eject(ejected, endpoints, rules.max_ejected_percent) {
            endpoint.health().reset_reached(&self.thresholds);
            return Some(HealthEvent::Refused {
                address,
                reason,
                ejected,
                endpoints,
                max_ejected_percent: rules.max_ejected_percent,
            });
        }
        let count = endpoint.health().eject(rules, now);
        endpoint.health().reset_reached(&self.thresholds);
        self.rebuild(set.all().to_vec(), &mut watch);
        Some(HealthEvent::Ejected {
            address,
            reason,
            duration: ejection_time(rules, count),
            count,
        })
    }

    /// Makes up for the sweeps that are due; the first call of all only starts the clock.
    #[cold]
    #[inline(never)]
    pub(super) fn sweep_now(&self, now: Timestamp) {
        let mut watch = self.watch();
        let settings = self.settings.load();
        let Some(rules) = settings.outliers.as_ref() else {
            return;
        };
        let last = *watch.last_sweep.get_or_insert(now);
        let ticks = Ticks::between(last, now, rules.interval);
        watch.last_sweep = Some(ticks.latest());
        self.schedule(&watch);
        if ticks.count() > 0 && self.sweep_members(rules, ticks, &mut watch) {
            self.rebuild(self.set.load().all().to_vec(), &mut watch);
        }
    }

    /// Sweeps all endpoints; returns whether one is in use again.
    fn sweep_members(&self, rules: &OutlierDetection, ticks: Ticks, watch: &mut Watch) -> bool {
        let mut is_changed = false;
        for endpoint in self.set.load().all() {
            if endpoint.health().sweep(rules, ticks) {
                is_changed = true;
                watch.push(HealthEvent::Returned {
                    address: endpoint.address(),
                });
            }
        }
        is_changed
    }

    fn restore_all(&self, watch: &mut Watch) {
        for endpoint in self.set.load().all() {
            if endpoint.health().is_ejected() {
                endpoint.health().restore();
                watch.push(HealthEvent::Returned {
                    address: endpoint.address(),
                });
            }
        }
    }

    /// Sets the time at which the fast path looks again.
    fn schedule(&self, watch: &Watch) {
        let due = match (&self.settings.load().outliers, watch.last_sweep) {
            (None, _) => u64::MAX,
            (Some(_), None) => 0,
            (Some(rules), Some(last)) => Ticks::between(last, last, rules.interval).next().as_nanos(),
        };
        self.due.store(due, Relaxed);
    }

    /// Puts a new set in force. The lock on `watch` keeps two rebuilds apart.
    fn rebuild(&self, all: Vec<Arc<Endpoint<T>>>, watch: &mut Watch) {
        let before = self.set.load().mode();
        let set = EndpointSet::new(all, &self.settings.load(), &self.position);
        let (healthy, endpoints) = (set.healthy(), set.all().len());
        match (before, set.mode()) {
            (Mode::Normal, Mode::Panic) => watch.push(HealthEvent::PanicStarted { healthy, endpoints }),
            (Mode::Panic, Mode::Normal) => watch.push(HealthEvent::PanicEnded { healthy, endpoints }),
            _ => {}
        }
        self.set.store(Arc::new(set));
    }
}

impl Watch {
    fn push(&mut self, event: HealthEvent) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// Adds up the weights of equal addresses, in the order of their first appearance.
fn merged<L>(endpoints: Vec<(EndpointSpec, L)>) -> Vec<(EndpointSpec, L)> {
    let mut places: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    let mut merged: Vec<(EndpointSpec, L)> = Vec::with_capacity(endpoints.len());
    for (spec, label) in endpoints {
        let place = *places.entry(spec.address).or_insert(merged.len());
        match merged.get_mut(place) {
            Some((known, _)) => known.weight = known.weight.saturating_add(spec.weight),
            None => merged.push((spec, label)),
        }
    }
    merged
}
